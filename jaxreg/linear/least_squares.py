"""Least squares with a penalty, for a given strength."""

from typing import Any, Self

import numpy as np

from jaxreg._numbers import check_number
from jaxreg.conversions import from_sklearn
from jaxreg.linear._base import LinearRegressor, Matrix, Vector, check_ratio
from jaxreg.penalties import L2
from jaxreg.solve.lasso_path import LinearPath, elastic_net_path


class ElasticNet(LinearRegressor):
    """Least squares with the elastic net, as `sklearn.linear_model.ElasticNet`, but exact.

        ½ · mean (y − X·w − b)² + alpha · l1_ratio · Σ|w| + ½ · alpha · (1 − l1_ratio) · Σw²

    Args:
        alpha: A non-negative number. 0 is least squares, and an error where that has more
            than one solution.
        l1_ratio: The share of L1, from 0 (ridge) to 1 (lasso).
        fit_intercept: Whether there is a b.
        max_iter: Not used; here for scikit-learn's sake, as solutions are exact.
        tol: Not used, likewise.
        positive: Whether coefficients must not be negative.

    Attributes:
        coef_: The w, one for each feature.
        intercept_: The b.
        dual_gap_: How far the objective is from its minimum at most.
        n_iter_: 1.

    Example:
        >>> model = ElasticNet(alpha=1.0, l1_ratio=0.5)
        >>> model.fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0])).coef_
        array([1.])

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net* (2005).
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        positive: bool = False,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.positive = positive

    def fit(self, X: Matrix, y: Vector, sample_weight: Vector | None = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each sample.
            sample_weight: Non-negative weights for the mean.

        Returns:
            The fitted estimator.
        """
        check_number("alpha", self.alpha)
        x, target, weights = self._validated(X, y, sample_weight)
        found = elastic_net_path(
            x,
            target,
            from_sklearn(1.0, check_ratio(self.l1_ratio)),
            [self.alpha],
            intercept=self.fit_intercept,
            positive=self.positive,
            sample_weight=weights,
        )
        return self._fitted_at(found, 0, target, weights)


class Lasso(ElasticNet):
    """The lasso, as `sklearn.linear_model.Lasso`, but exact and faster.

        ½ · mean (y − X·w − b)² + alpha · Σ|w|

    Args:
        alpha: As for `ElasticNet`.
        fit_intercept: As for `ElasticNet`.
        max_iter: As for `ElasticNet`.
        tol: As for `ElasticNet`.
        positive: As for `ElasticNet`.

    Attributes:
        coef_: As for `ElasticNet`.
        intercept_: As for `ElasticNet`.
        dual_gap_: As for `ElasticNet`.
        n_iter_: As for `ElasticNet`.

    Example:
        >>> model = Lasso(alpha=0.5).fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]))
        >>> model.coef_.round(3), model.intercept_.round(3)
        (array([1.5]), np.float64(0.5))

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996).
    """

    l1_ratio: float = 1.0

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        positive: bool = False,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.positive = positive


class Ridge(LinearRegressor):
    """Ridge regression, as `sklearn.linear_model.Ridge`: nothing is divided by n here.

        Σ (y − X·w − b)² + alpha · Σw²

    Args:
        alpha: A non-negative number. 0 is least squares, and an error where that has more
            than one solution.
        fit_intercept: Whether there is a b.

    Attributes:
        coef_: The w, one for each feature.
        intercept_: The b.
        dual_gap_: How far half the objective by n is from its minimum at most.

    Example:
        >>> model = Ridge(alpha=2.0).fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]))
        >>> model.coef_.round(3), model.intercept_.round(3)
        (array([1.]), np.float64(1.0))

    References:
        Hoerl and Kennard, *Ridge regression: biased estimation for nonorthogonal problems*
        (1970).
    """

    def __init__(self, alpha: float = 1.0, *, fit_intercept: bool = True) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept

    def fit(self, X: Matrix, y: Vector, sample_weight: Vector | None = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each sample.
            sample_weight: Non-negative weights for the sum.

        Returns:
            The fitted estimator.
        """
        check_number("alpha", self.alpha)
        x, target, weights = self._validated(X, y, sample_weight)
        found = ridge_of(x, target, [self.alpha], self.fit_intercept, weights)
        return self._fitted_at(found, 0, target, weights)


def ridge_of(
    x: np.ndarray,
    y: np.ndarray,
    alphas: Any,
    intercept: bool,
    weights: np.ndarray | None,
) -> LinearPath:
    """The path of ridge regression at scikit-learn's alphas."""
    total = len(y) if weights is None else np.sum(weights)
    strengths = np.asarray(alphas) / (2 * total)
    return elastic_net_path(
        x, y, L2(1.0), strengths, intercept=intercept, sample_weight=weights
    )
