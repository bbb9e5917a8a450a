"""The group lasso for scikit-learn."""

from typing import Any, Self

import numpy as np

from jaxreg._numbers import check_count, check_number
from jaxreg.linear._base import LinearRegressor, folds_of
from jaxreg.solve._checks import check_strengths
from jaxreg.solve.glm_path import GLMPath, group_lasso_path
from jaxreg.strength import best_mean


class _Grouped(LinearRegressor):
    groups: Any
    scale: Any
    fit_intercept: bool
    tol: float

    def _path(self, x: Any, y: Any, sample_weight: Any, **options: Any) -> GLMPath:
        x, y, weights = self._validated(x, y, sample_weight)
        labels = np.arange(x.shape[1]) if self.groups is None else np.asarray(self.groups)
        if labels.shape != (x.shape[1],):
            raise ValueError(
                f"groups must hold a label for each of the {x.shape[1]} features, got "
                f"shape {labels.shape}."
            )
        labels = np.unique(labels, return_inverse=True)[1]
        if "folds" in options:
            options["folds"] = folds_of(options["folds"], x, y)
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

    def _chosen(self, path: GLMPath, index: int, **attributes: Any) -> Self:
        return self._fitted(
            path.coefficients[index],
            float(path.intercepts[index]),
            dual_gap=float(path.gaps[index]),
            n_iter=int(path.steps[index]),
            **attributes,
        )


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
        tol: The duality gap to reach, relative to the loss without features.

    Attributes:
        coef_: A coefficient for each feature.
        intercept_: A number.
        dual_gap_: The relative duality gap that was reached.
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
            X: Samples, an array (samples, features).
            y: A number for each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        check_number("alpha", self.alpha, above=0.0)
        path = self._path(X, y, sample_weight, strengths=[self.alpha])
        return self._chosen(path, 0)


class GroupLassoCV(_Grouped):
    """The group lasso with the strength of the least error in cross-validation.

    All folds, strengths and the fit to all data are one batched program.

    Args:
        groups: A label for each feature; see `GroupLasso`.
        scale: A factor for each group; see `GroupLasso`.
        eps: The last strength as a share of the first, the smallest at which all
            coefficients are zero.
        alphas: How many strengths, or the strengths.
        fit_intercept: Whether there is an intercept, which is not penalised.
        cv: The number of folds, a splitter or pairs of indices; five folds if `None`.
        tol: The duality gap to reach, relative to the loss without features.

    Attributes:
        coef_: A coefficient for each feature.
        intercept_: A number.
        alpha_: The best strength.
        alphas_: All strengths.
        mse_path_: The mean squared error, an array (strengths, folds).
        cross_validation_: The same, for `one_standard_error` and `plot.cross_validation`.
        path_: The models of all strengths on all data, a `GLMPath`.
        dual_gap_: The relative duality gap that was reached.
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
    ) -> None:
        self.groups = groups
        self.scale = scale
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Choose the strength by cross-validation, and fit the best model.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        if np.ndim(self.alphas) == 0:
            check_count("alphas", self.alphas)
            grid: dict[str, Any] = {"num": self.alphas, "ratio": self.eps}
        else:
            grid = {"strengths": check_strengths(self.alphas, 0.0, "alphas")}
        path = self._path(X, y, sample_weight, folds=self.cv, **grid)
        assert path.validation is not None
        best = best_mean(path.validation)
        self.path_ = path
        self.cross_validation_ = path.validation
        return self._chosen(
            path,
            best,
            alpha=float(path.strengths[best]),
            alphas=path.strengths,
            mse_path=self.cross_validation_.scores,
        )
