"""The strengths at which features enter and leave the lasso."""

import warnings
from typing import Any

import numpy as np

from jaxreg._checks import check_count
from jaxreg.penalties import L1
from jaxreg.solve.checks import check_data
from jaxreg.solve.gaps import Factors, is_certified, relative_gaps
from jaxreg.solve.lasso._least_squares import (
    INEXACT,
    LeastSquares,
    Problem,
    penalty_factors,
    unpaid_gap,
)
from jaxreg.solve.lasso._pivots import DEPENDENT
from jaxreg.solve.lasso._sources import Samples
from jaxreg.solve.lasso.path import LinearPath

MOST_EXCHANGES = 20
"""So many features, for each of them, may enter or leave; few paths need two."""
PARALLEL = 1e-10
"""A correlation that closes in on its threshold more slowly than this stays where it is."""


def lasso_knots(
    x: Any,
    y: Any,
    *,
    factors: Any = 1.0,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int | None = None,
) -> LinearPath:
    """The lasso wherever a feature enters or leaves: all of its path, in a few points.

    Between these strengths coefficients are linear in the strength, so that the path can
    be read off at any of them:

        np.interp(strength, found.strengths[::-1], found.coefficients[::-1, j])

    It is the path of LARS with the lasso's modification (scikit-learn's `lars_path`, whose
    `alphas` are these strengths).

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        factors: As for `lasso_path`.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_path`.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_path`.
        num: How many to find at most; by default all, down to 0.

    Returns:
        A `LinearPath` at the knots, from the largest on. The last one, if not `num` end it
        before, is at 0: least squares there, with the fewest features that it needs.

    Raises:
        TypeError: As for `lasso_path`.
        ValueError: As for `lasso_path`, or if `num` is not positive.

    Example:
        >>> found = lasso_knots(np.eye(2), np.array([2.0, 1.0]), intercept=False)
        >>> found.strengths
        array([1. , 0.5, 0. ])
        >>> found.coefficients
        array([[0., 0.],
               [1., 0.],
               [2., 1.]])

    References:
        Efron, Hastie, Johnstone and Tibshirani, *Least angle regression* (2004), section
        3.1; Osborne, Presnell and Turlach, *A new approach to variable selection in least
        squares problems* (2000).
    """
    x, y, weights = check_data(x, y, sample_weight, rescaled=True)
    l1, l2 = penalty_factors(L1(factors), x.shape[1])
    problem = LeastSquares(l1, l2, intercept, standardize, positive).prepared(x, y, weights)
    if num is not None:
        check_count("num", num)
    knots = _Knots(problem)
    for _ in range(MOST_EXCHANGES * (x.shape[1] + MOST_EXCHANGES)):
        if knots.strengths[-1] == 0 or len(knots.strengths) == num or not knots.find_next():
            break
    w, strengths = np.stack(knots.w), np.array(knots.strengths)
    gaps = knots.gaps(strengths, w)
    is_complete = strengths[-1] == 0 or len(strengths) == num
    if not (is_complete and np.all(is_certified(gaps, INEXACT))):
        warnings.warn(
            f"The path ends at a strength of {strengths[-1]:.3g}, with duality gaps of at "
            f"most {np.max(np.abs(gaps)):.1g} times the mean square of the target: "
            "features depend on each other up to rounding, or enter at the same strengths. "
            "`lasso_path` solves for given strengths.",
            RuntimeWarning,
            stacklevel=2,
        )
    found = problem.units.given_strengths(strengths)
    return LinearPath(found, *problem.finished(w), gaps)


class _Knots:
    """The knots that have been found, and the features that are active after the last."""

    def __init__(self, problem: Problem) -> None:
        self.xt, self.y = np.asarray(problem.data.xt), problem.data.y
        self.l1, _, self.positive = problem.factors
        self.correlations = problem.correlations
        self.strengths, self.w = [problem.largest], [np.zeros(len(self.l1))]
        self.signs = np.zeros(len(self.l1))
        self.dependent = np.zeros(len(self.l1), bool)
        self.left, self.left_sign = 0, 0.0

    def gaps(self, strengths: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Relative duality gaps."""
        factors = Factors(self.l1, None, self.positive)
        relative = relative_gaps(Samples(self.xt, self.y), w, strengths, factors)
        if strengths[-1] == 0:
            relative[-1] = unpaid_gap(self.xt, self.y, w[-1])
        return relative

    def find_next(self) -> bool:
        """Go down to where the next feature must enter or leave, and exchange it.

        Returns:
            Whether there is a solution for the active features.
        """
        now, active = self.strengths[-1], np.flatnonzero(self.signs)
        rows = self.xt[active]
        # On the way, w = end − strength·rate and correlations = rest + strength·slope.
        gram = rows @ rows.T / len(self.y)
        sides = np.stack([self.correlations[active], (self.l1 * self.signs)[active]], 1)
        try:
            end, rate = np.linalg.solve(gram, sides).T
        except np.linalg.LinAlgError:  # Singular to the last digit.
            return False
        rest = self.correlations - self.xt @ (end @ rows) / len(self.y)
        slope = self.xt @ (rate @ rows) / len(self.y)
        where = np.zeros(len(self.l1))
        shrinking = self.signs[active] * rate < 0
        where[active[shrinking]] = end[shrinking] / rate[shrinking]
        entering = np.zeros(len(self.l1))
        outside = (self.signs == 0) & ~self.dependent
        for sign in (1.0,) if self.positive else (1.0, -1.0):
            closing = self.l1 - sign * slope
            meets = outside & (closing > PARALLEL * self.l1)
            meets[self.left] &= self.left_sign != sign
            strength = np.where(meets, sign * rest / np.where(meets, closing, 1.0), 0.0)
            entering = np.where(strength > where, sign, entering)
            where = np.maximum(where, strength)
        index = int(np.argmax(where))
        strength = min(where[index], now)
        if strength <= 1e-12 * self.strengths[0]:
            strength, index = 0.0, -1
        if index >= 0 and not self.signs[index] and self._depends(index, gram, rows):
            self.dependent[index] = True
            return True
        w = np.zeros(len(self.l1))
        w[active] = end - strength * rate
        if index >= 0:
            self.left, self.left_sign = index, self.signs[index]
            self.dependent &= self.left_sign == 0
            self.signs[index], w[index] = entering[index], 0.0
        if strength == now:
            self.w[-1] = w
        else:
            self.strengths.append(strength)
            self.w.append(w)
        return True

    def _depends(self, index: int, gram: np.ndarray, rows: np.ndarray) -> bool:
        """Whether a feature is in the span of the active ones."""
        row = self.xt[index]
        inner = rows @ row / len(self.y)
        square = row @ row / len(self.y)
        return square - inner @ np.linalg.solve(gram, inner) <= DEPENDENT * square
