"""Ridge regression for a given strength."""

from typing import Any, Self

import numpy as np
from sklearn.base import MultiOutputMixin

from jaxreg.linear._base import LinearRegressor, Matrix, Vector, targets_of
from jaxreg.linear._parameters import check_strengths
from jaxreg.penalties import L2
from jaxreg.solve.lasso.path import LinearPath, elastic_net_path


class Ridge(MultiOutputMixin, LinearRegressor):
    """Ridge regression, as `sklearn.linear_model.Ridge`: a sum of squares, not a mean.

        Σ (y − X·w − b)² + alpha · Σw²

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        alpha: A non-negative number, or one for each target. 0 is least squares, and an
            error where that has more than one solution.
        fit_intercept: Whether there is a b.
        positive: Whether coefficients must not be negative.

    Attributes:
        coef_: The w, one for each feature; of several targets an array (targets, features).
        intercept_: The b, one for each target.
        dual_gap_: An upper bound on how far the objective above is from its minimum.
        n_iter_: 1.
        solver_: `"svd"`, or `"active set"` with `positive`.
        n_features_in_: The number of features.

    Example:
        >>> model = Ridge(alpha=2.0).fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]))
        >>> model.coef_.round(3), model.intercept_.round(3)
        (array([1.]), np.float64(1.0))

    References:
        Hoerl and Kennard, *Ridge regression: biased estimation for nonorthogonal problems*
        (1970).
    """

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,  # noqa: N803
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    def fit(self, X: Matrix, y: Vector, sample_weight: Vector | None = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each sample; or several, an array (samples, targets).
            sample_weight: Non-negative weights for the sum.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        alphas = check_strengths(self.alpha, name="alpha")
        x, y, weights = self._validated(X, y, sample_weight, multi_output=True)
        targets = targets_of(y)
        if len(alphas) not in (1, len(targets)):
            raise ValueError(
                f"alpha must be a number, or one for each of the {len(targets)} targets, "
                f"got {len(alphas)} of them."
            )
        paths = [
            ridge_of(x, target, [alpha], self.fit_intercept, weights, self.positive)
            for target, alpha in zip(
                targets, np.broadcast_to(alphas, len(targets)), strict=True
            )
        ]
        return self._fitted_at(
            paths,
            [0] * len(paths),
            y,
            unit=2 * total_of(y, weights),
            solver="active set" if self.positive else "svd",
        )


def total_of(y: np.ndarray, weights: np.ndarray | None) -> float:
    """The sum of the weights of the samples."""
    return float(len(y) if weights is None else np.sum(weights))


def ridge_of(
    x: np.ndarray,
    y: np.ndarray,
    alphas: Any,
    intercept: bool,
    weights: np.ndarray | None,
    positive: bool = False,
) -> LinearPath:
    """The path of ridge regression at scikit-learn's alphas."""
    strengths = np.asarray(alphas) / (2 * total_of(y, weights))
    return elastic_net_path(
        x,
        y,
        strengths,
        penalty=L2(1.0),
        intercept=intercept,
        positive=positive,
        sample_weight=weights,
    )
