"""Paths of the lasso and the elastic net: exact, and certified."""

import dataclasses
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.solve.checks import check_data, check_strengths, real_numbers
from jaxreg.solve.lasso._least_squares import LeastSquares, penalty_factors


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearPath:
    """Linear models at many strengths, in double precision.

    Attributes:
        strengths: The strengths.
        coefficients: An array (strengths, features).
        intercepts: One for each strength; zeros if there is no intercept.
        gaps: A certificate: how far each objective is from its minimum at most, relative
            to the mean square of the (centred) target.

    Example:
        >>> found = lasso_path(np.eye(2), np.array([2.0, 1.0]), [0.25], intercept=False)
        >>> found
        LinearPath of 1 strengths and 2 features, gaps at most 0e+00
        >>> found.coefficients, found.predict(np.eye(2))
        (array([[1.5, 0.5]]), array([[1.5, 0.5]]))
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Predictions of all models.

        Args:
            x: Samples, an array (samples, features).

        Returns:
            An array (strengths, samples).
        """
        used = np.flatnonzero(np.any(self.coefficients != 0, axis=0))
        scores = self.coefficients[:, used] @ real_numbers("x", x)[:, used].T
        return scores + self.intercepts[:, None]

    def __repr__(self) -> str:
        strengths, features = self.coefficients.shape
        return (
            f"LinearPath of {strengths} strengths and {features} features, gaps at most "
            f"{np.max(np.abs(self.gaps)):.0e}"
        )


def lasso_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    factors: Any = 1.0,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> LinearPath:
    """The lasso at many strengths: exact, and faster than by coordinate descent.

        argmin_(w, b)  ½ · mean (y − x·w − b)² + strength · Σ factors · |w|

    Solutions are exact up to rounding: linear algebra on the right set of features, which
    a certificate over all features confirms (`gaps`). Everything is computed in double
    precision, whatever JAX is set to, on JAX's default device.

    Args:
        x: Features, an array (samples, features) of numbers.
        y: The target, a number for each sample.
        strengths: Positive numbers; by default `num` of them, evenly spaced on a
            logarithmic scale, from the smallest at which all is zero down to `ratio` times
            that. 0, least squares, is allowed where its solution is unique.
        factors: What the strength is multiplied by, for each feature. Features with factor
            0 are not penalised, like the intercept; those with an infinite factor are left
            out, at every strength.
        intercept: Whether there is a b.
        standardize: Whether the penalty is on coefficients of features with standard
            deviation 1 (mean square 1 if there is no intercept; of what is left of them
            beside features that are not penalised). Coefficients are returned for the
            features as they were given.
        positive: Whether coefficients must not be negative; then all need a penalty.
        sample_weight: Non-negative weights for the mean.
        num: How many strengths, if none are given.
        ratio: The smallest by the largest of them.

    Returns:
        A `LinearPath`, with the strengths in the order in which they were given.

    Raises:
        TypeError: If something is no array of real numbers, or is sparse.
        ValueError: If shapes do not fit, numbers are not finite or must not be negative,
            or a solution is not unique because nothing is paid for.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> y = np.array([5.0, 2.0, -3.0, 0.0])
        >>> found = lasso_path(x, y, [2.0, 1.0, 0.25])
        >>> found.coefficients, found.intercepts
        (array([[0. , 0. ], [2. , 0. ], [3.5, 0.5]]), array([1., 1., 1.]))

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996); for the
        algorithm Kim and Park, *Fast active-set-type algorithms for L1-regularized linear
        regression* (2010); for the certificate Fercoq, Gramfort and Salmon, *Mind the
        duality gap* (2015).
    """
    return elastic_net_path(
        x,
        y,
        L1(factors),
        strengths,
        intercept=intercept,
        standardize=standardize,
        positive=positive,
        sample_weight=sample_weight,
        num=num,
        ratio=ratio,
    )


def elastic_net_path(
    x: Any,
    y: Any,
    penalty: L1 | L2 | ElasticNet,
    strengths: Any = None,
    *,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> LinearPath:
    """Least squares with multiples of a penalty, exact as `lasso_path` is.

        argmin_(w, b)  ½ · mean (y − x·w − b)² + strength · penalty(w)

    With `from_sklearn(1.0, l1_ratio)` strengths are what scikit-learn calls `alpha`.

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        penalty: An `ElasticNet`, `L1` or `L2` whose strengths are numbers, or arrays of
            one for each feature. Features with none are not penalised, those with an
            infinite one are left out. Its mask is not looked at: coefficients have no
            names.
        strengths: As for `lasso_path`; without any L1 they must be given.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_path`.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_path`.
        num: As for `lasso_path`.
        ratio: As for `lasso_path`.

    Returns:
        A `LinearPath`.

    Raises:
        TypeError: If the penalty is another one; and as for `lasso_path`.
        ValueError: As for `lasso_path`.

    Example:
        >>> x, y = np.sqrt(2) * np.eye(2), np.sqrt(2) * np.array([2.0, 1.0])
        >>> found = elastic_net_path(x, y, ElasticNet(0.5, 0.25), [1.0], intercept=False)
        >>> found.coefficients.round(4)
        array([[1.    , 0.3333]])

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net* (2005).
    """
    x, y, weights = check_data(x, y, sample_weight, rescaled=True)
    given = None if strengths is None else check_strengths(strengths)
    model = LeastSquares(
        *penalty_factors(penalty, x.shape[1]), intercept, standardize, positive
    )
    problem = model.prepared(x, y, weights)
    if given is None:
        given = problem.grid(num, ratio)
    w, intercepts, gaps = problem.solve(given)
    return LinearPath(given, w, intercepts, gaps)
