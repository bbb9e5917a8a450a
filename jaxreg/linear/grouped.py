"""The group lasso for scikit-learn."""

from typing import Any, Self

import numpy as np

from jaxreg.linear._base import LinearRegressor
from jaxreg.linear._cross_validation import (
    RESCALE,
    CrossValidated,
    alphas_of,
    folds_of,
    index_by_rule,
)
from jaxreg.linear._parameters import check_alpha, check_number
from jaxreg.solve.glm.paths import group_lasso_path
from jaxreg.solve.glm.result import GLMPath


class _Grouped(LinearRegressor):
    _takes_sparse = True
    groups: Any
    scale: Any
    tol: float

    def _path(self, x: Any, y: Any, weights: Any, **options: Any) -> GLMPath:
        check_number("tol", self.tol, above=0.0)
        labels = labels_of(self.groups, x.shape[1])
        return group_lasso_path(
            x,
            y,
            labels,
            scale=self.scale,
            intercept=self.fit_intercept,
            sample_weight=weights,
            tol=self.tol,
            **options,
        )

    def _chosen(self, found: GLMPath, index: int, **attributes: Any) -> Self:
        return self._fitted(
            found.coefficients[index],
            float(found.intercepts[index]),
            dual_gap=float(found.absolute_gaps[index]),
            n_iter=int(found.steps[index]),
            **attributes,
        )


def labels_of(groups: Any, features: int) -> np.ndarray:
    """The number of each feature's group; without `groups` each is a group of its own."""
    labels = np.arange(features) if groups is None else np.asarray(groups)
    if labels.shape != (features,):
        raise ValueError(
            f"groups must hold a label for each of the {features} features, got shape "
            f"{labels.shape}."
        )
    return np.unique(labels, return_inverse=True)[1]


class GroupLasso(_Grouped):
    """Least squares whose groups of features are used or left out as a whole.

        min  ½ · mean of (X @ w + b − y)²  +  alpha · Σ_g scale_g · ‖w_g‖₂

    as scikit-learn's `Lasso`, which it is with a group for each feature.

    Args:
        alpha: The strength, positive.
        groups: A label for each feature: features with the same label are one group. With
            `None` each is a group of its own.
        scale: A factor for each group: `"sqrt_size"`, `"none"`, a number, or one for each
            of the sorted labels.
        fit_intercept: Whether there is an intercept, which is not penalised.
        tol: The duality gap to reach, as a fraction of the loss of the null model.

    Attributes:
        coef_: A coefficient for each feature.
        intercept_: A number.
        dual_gap_: An upper bound on objective − minimum, in units of the objective.
        n_iter_: The number of Newton steps.
        n_features_in_: The number of features.

    Example:
        >>> x = np.array([[1, 1, 1], [1, -1, 0], [-1, 1, 0], [-1, -1, -1]])
        >>> model = GroupLasso(alpha=1.0, groups=["a", "a", "b"], scale="none")
        >>> model.fit(x, x @ [3, 4, 0]).coef_.round(3)
        array([2.4, 3.2, 0. ])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        groups: Any = None,
        scale: Any = "sqrt_size",
        fit_intercept: bool = True,
        tol: float = 1e-9,
    ) -> None:
        self.alpha = alpha
        self.groups = groups
        self.scale = scale
        self.fit_intercept = fit_intercept
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: A number for each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        check_number("alpha", self.alpha, above=0.0)
        check_alpha(self.alpha)
        x, y, weights = self._validated(X, y, sample_weight)
        path = self._path(x, y, weights, strengths=[self.alpha])
        return self._chosen(path, 0)


class GroupLassoCV(CrossValidated, _Grouped):
    """The group lasso with the strength of the least error in cross-validation.

    All folds, strengths and the fit to all data are one batched program.

    Args:
        groups: A label for each feature; see `GroupLasso`.
        scale: A factor for each group; see `GroupLasso`.
        eps: The last alpha by the first, the smallest at which all coefficients are zero.
        alphas: How many alphas, or the alphas themselves, positive.
        fit_intercept: Whether there is an intercept, which is not penalised.
        cv: The number of folds, a splitter or pairs of indices; five folds if `None`.
        tol: The duality gap to reach, as a fraction of the loss of the null model.
        verbose: Whether to show a bar of the alphas on all folds (needs tqdm): `True` or a
            positive integer.
        rule: `"best"` for the least error; `"1se"` for the largest alpha whose error is
            within one standard error of it, see `one_standard_error`.

    Attributes:
        coef_: A coefficient for each feature.
        intercept_: A number.
        alpha_: The chosen alpha.
        alphas_: All alphas.
        mse_path_: Mean squared errors, an array (alphas, folds).
        cross_validation_: The same, for `one_standard_error` and `plot.cross_validation`.
        path_: The models at all alphas on all data, a `GLMPath`.
        dual_gap_: An upper bound on objective − minimum, in units of the objective of
            `GroupLasso`.
        n_iter_: The number of Newton steps.
        n_features_in_: The number of features.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 4))
        >>> model = GroupLassoCV(groups=[0, 0, 1, 1], alphas=20).fit(x, x @ [1, 2, 0, 0])
        >>> model.coef_.round(2)
        array([1., 2., 0., 0.])
    """

    def __init__(
        self,
        *,
        groups: Any = None,
        scale: Any = "sqrt_size",
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        cv: Any = None,
        tol: float = 1e-9,
        verbose: bool | int = False,
        rule: str = "best",
    ) -> None:
        self.groups = groups
        self.scale = scale
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.tol = tol
        self.verbose = verbose
        self.rule = rule

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        **params: Any,
    ) -> Self:
        """Choose the strength by cross-validation, and fit the best model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: A number for each.
            sample_weight: Non-negative numbers; `None` for ones.
            params: Arguments of the splitter, if metadata routing is enabled.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        x, y, weights = self._validated(X, y, sample_weight)
        alphas, grid = alphas_of(self.alphas, "deprecated", self.eps, above=0.0)
        folds = folds_of(self.cv, x, y, self._routed(sample_weight, params)[0])
        grid = {"strengths": alphas, "progress": self._progress, **grid}
        path = self._path(x, y, weights, folds=folds, **grid)
        assert path.validation is not None
        scores, strengths = -path.validation.scores[None], path.strengths[None]
        _, best = index_by_rule(self.rule, scores, strengths, RESCALE)
        return self._chosen(
            path,
            best,
            alpha=float(path.strengths[best]),
            alphas=path.strengths,
            mse_path=path.validation.scores,
            path=path,
            cross_validation=path.validation,
        )
