"""Least squares of several targets that use the same features."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from jaxreg.convert.conventions import from_sklearn
from jaxreg.linear._base import LinearRegressor, Matrix, Vector
from jaxreg.linear._cross_validation import (
    RESCALE,
    CrossValidated,
    alphas_of,
    folds_of,
    index_by_rule,
)
from jaxreg.linear._parameters import check_number, check_ratio, check_strengths
from jaxreg.solve.glm.multi_task import multi_task_path
from jaxreg.solve.glm.result import GLMPath


class _MultiTask(LinearRegressor):
    """A model of several targets, each feature's coefficients in one group."""

    _takes_sparse = True

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags

    def _data(self, X: Matrix, y: Vector) -> tuple[Any, np.ndarray]:  # noqa: N803
        x, y, _ = self._validated(X, y, multi_output=True)
        if y.ndim == 1:
            name = type(self).__name__
            raise ValueError(
                f"{name} is for several targets, an array (samples, targets), got one: "
                f"use {name.removeprefix('MultiTask')}."
            )
        return x, y

    def _chosen(self, found: GLMPath, index: int, **attributes: Any) -> Self:
        """Set the attributes from one model of a path."""
        # Columns in memory are features, as scikit-learn's are.
        coefficients = np.asfortranarray(found.coefficients[index].T)
        return self._fitted(
            coefficients,
            found.intercepts[index] if self.fit_intercept else 0.0,
            dual_gap=float(found.absolute_gaps[index]),
            n_iter=int(found.steps[index]),
            **attributes,
        )


class MultiTaskElasticNet(_MultiTask):
    """The elastic net of several targets, as `sklearn.linear_model.MultiTaskElasticNet`.

        ½ · mean ‖y − W·x − b‖² + alpha · (l1_ratio · Σ_j ‖W_j‖ + ½ · (1 − l1_ratio) · Σ W²)

    with the coefficients W_j of feature j for all targets, and Euclidean norms. All
    arguments of scikit-learn's class are accepted; those that are not described here have
    no effect, see `jaxreg.linear`.

    Args:
        alpha: A positive number.
        l1_ratio: The fraction of the norms, from 0 (ridge) to 1 (lasso).
        fit_intercept: Whether there is a b for each target.

    Attributes:
        coef_: The W, an array (targets, features).
        intercept_: The b, one for each target.
        dual_gap_: An upper bound on how far the objective above is from its minimum.
        n_iter_: Newton steps.
        n_features_in_: The number of features.

    Example:
        >>> x = np.array([[0.0], [2.0]])
        >>> y = np.array([[0.0, 0.0], [6.0, 8.0]])
        >>> MultiTaskElasticNet(alpha=1.0, l1_ratio=1.0).fit(x, y).coef_.round(3)
        array([[2.4],
               [3.2]])

    References:
        Obozinski, Taskar and Jordan, *Joint covariate selection and joint subspace
        selection for multiple classification problems* (2010).
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        copy_X: bool = True,  # noqa: N803
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.selection = selection

    def fit(self, X: Matrix, y: Vector) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: Targets, an array (samples, targets).

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        check_number("alpha", self.alpha, above=0.0)
        penalty = from_sklearn(1.0, check_ratio(self.l1_ratio))
        x, y = self._data(X, y)
        options: Any = {"penalty": penalty, "intercept": self.fit_intercept}
        return self._chosen(multi_task_path(x, y, [self.alpha], **options), 0)


class MultiTaskLasso(MultiTaskElasticNet):
    """The lasso of several targets, as `sklearn.linear_model.MultiTaskLasso`.

        ½ · mean ‖y − W·x − b‖² + alpha · Σ_j ‖W_j‖

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        alpha: As for `MultiTaskElasticNet`.
        fit_intercept: As for `MultiTaskElasticNet`.

    Attributes:
        coef_: As for `MultiTaskElasticNet`; so are all others.

    Example:
        >>> x = np.array([[0.0], [2.0]])
        >>> y = np.array([[0.0, 0.0], [6.0, 8.0]])
        >>> MultiTaskLasso(alpha=2.0).fit(x, y).coef_.round(3)
        array([[1.8],
               [2.4]])

    References:
        Obozinski, Taskar and Jordan, *Joint covariate selection and joint subspace
        selection for multiple classification problems* (2010).
    """

    l1_ratio: float = 1.0

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,  # noqa: N803
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.selection = selection


class MultiTaskElasticNetCV(CrossValidated, _MultiTask):
    """`MultiTaskElasticNet` with the least cross-validated error, as scikit-learn's.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        l1_ratio: The fraction of the norms, or several of them to choose from.
        eps: The smallest alpha by the largest, where they are not given.
        n_alphas: The name that scikit-learn before 1.9 has for a number of `alphas`.
        alphas: How many alphas, or the alphas themselves.
        fit_intercept: Whether there are intercepts.
        cv: Folds: their number, a splitter or pairs of indices; by default five.
        verbose: Whether to show a bar of the alphas on all folds (needs tqdm), for each
            `l1_ratio`: `True` or a positive integer.
        rule: `"best"` for the least error; `"1se"` for the largest alpha whose error is
            within one standard error of it (with the `l1_ratio` of the best), see
            `one_standard_error`.

    Attributes:
        alpha_: The chosen alpha.
        l1_ratio_: The chosen ratio.
        coef_: The coefficients of the model with them, fitted to all samples, an array
            (targets, features).
        intercept_: Its intercepts.
        alphas_: All alphas, (alphas,), or (ratios, alphas) if there are several ratios.
        mse_path_: Mean squared errors (ratios, alphas, folds), without the axes of which
            there is one.
        path_: The models at all alphas with the chosen ratio, a `GLMPath`.
        cross_validation_: Their errors, a `CrossValidation`.
        dual_gap_: As for `MultiTaskElasticNet`.
        n_iter_: Newton steps.
        n_features_in_: The number of features.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = MultiTaskElasticNetCV(cv=4, alphas=[100.0, 0.1]).fit(x, x * [1.0, 2.0])
        >>> model.alpha_, model.coef_.round(3).ravel()
        (np.float64(0.1), array([0.986, 1.973]))

    References:
        Obozinski, Taskar and Jordan, *Joint covariate selection and joint subspace
        selection for multiple classification problems* (2010).
    """

    def __init__(
        self,
        *,
        l1_ratio: float | Sequence[float] = 0.5,
        eps: float = 1e-3,
        n_alphas: Any = "deprecated",
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,  # noqa: N803
        verbose: bool | int = 0,
        n_jobs: int | None = None,
        random_state: Any = None,
        selection: str = "cyclic",
        rule: str = "best",
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.n_alphas = n_alphas
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.copy_X = copy_X
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.selection = selection
        self.rule = rule

    def fit(self, X: Matrix, y: Vector, **params: Any) -> Self:  # noqa: N803
        """Choose the strength, and fit the model with it.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: Targets, an array (samples, targets).
            params: Arguments of the splitter, if metadata routing is enabled.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        x, y = self._data(X, y)
        every_ratio = check_strengths(self.l1_ratio, name="l1_ratio").tolist()
        ratios = [check_ratio(ratio) for ratio in every_ratio]
        alphas, grid = alphas_of(self.alphas, self.n_alphas, self.eps, above=0.0)
        if alphas is None and 0 in ratios:
            raise ValueError(
                "alphas must be given for l1_ratio=0: there is no largest one."
            )
        folds = folds_of(self.cv, x, y, self._routed(None, params)[0])
        options: Any = {
            "intercept": self.fit_intercept,
            "folds": folds,
            "progress": self._progress,
            **grid,
        }
        paths = [
            multi_task_path(x, y, alphas, penalty=from_sklearn(1.0, ratio), **options)
            for ratio in ratios
        ]
        validations = [found.validation for found in paths if found.validation is not None]
        errors = np.stack([found.scores for found in validations])
        grids = np.stack([found.strengths for found in paths])
        which, index = index_by_rule(self.rule, -errors, grids, RESCALE)
        path = paths[which]
        return self._chosen(
            path,
            index,
            alpha=path.strengths[index],
            l1_ratio=ratios[which],
            alphas=grids if len(ratios) > 1 and alphas is None else grids[0],
            mse_path=np.squeeze(errors),
            path=path,
            cross_validation=path.validation,
        )


class MultiTaskLassoCV(MultiTaskElasticNetCV):
    """`MultiTaskLasso` with the least cross-validated error, as scikit-learn's.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        eps: As for `MultiTaskElasticNetCV`.
        n_alphas: As for `MultiTaskElasticNetCV`.
        alphas: As for `MultiTaskElasticNetCV`.
        fit_intercept: As for `MultiTaskElasticNetCV`.
        cv: As for `MultiTaskElasticNetCV`.
        verbose: As for `MultiTaskElasticNetCV`.
        rule: As for `MultiTaskElasticNetCV`.

    Attributes:
        alpha_: As for `MultiTaskElasticNetCV`; so are all others.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = MultiTaskLassoCV(cv=4, alphas=[100.0, 0.1]).fit(x, x * [3.0, 4.0])
        >>> model.alpha_, model.coef_.round(3).ravel()
        (np.float64(0.1), array([2.989, 3.985]))

    References:
        Obozinski, Taskar and Jordan, *Joint covariate selection and joint subspace
        selection for multiple classification problems* (2010).
    """

    l1_ratio: float | Sequence[float] = 1.0

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        n_alphas: Any = "deprecated",
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,  # noqa: N803
        cv: Any = None,
        verbose: bool | int = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        selection: str = "cyclic",
        rule: str = "best",
    ) -> None:
        self.eps = eps
        self.n_alphas = n_alphas
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.copy_X = copy_X
        self.cv = cv
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.selection = selection
        self.rule = rule
