"""The strengths at which features enter and leave the lasso.

Between two of these knots the active set A and the signs of its coefficients are fixed. So
the optimality conditions x_Aᵀ(y − x·w)/n = strength · l1_A · signs_A are linear, and so are

    w_A = w_ls − strength · rate        gram_AA · (w_ls, rate) = (c_A, l1_A · signs_A)
    correlations = rest + strength · slope

The next knot is the largest strength below at which an active coefficient reaches zero, or
the correlation of another feature reaches its threshold ±strength · l1. That feature is
exchanged (Osborne, Presnell and Turlach 2000; Efron and others 2004).
"""

import warnings
from typing import Any

import numpy as np

from jaxreg._checks import check_count
from jaxreg.penalties import L1
from jaxreg.solve.checks import check_data
from jaxreg.solve.gaps import Factors, is_certified
from jaxreg.solve.lasso._least_squares import (
    INEXACT,
    LeastSquares,
    Problem,
    check_is_l1,
    least_squares_gap,
)
from jaxreg.solve.lasso._sources import Samples, gaps_of
from jaxreg.solve.lasso._swept import DEPENDENT
from jaxreg.solve.lasso.path import LinearPath

MOST_EXCHANGES = 20
"""Bound on how often features may enter or leave, on average; few paths need two."""
PARALLEL = 1e-10
"""Correlations that approach their threshold more slowly than this never reach it."""


def lasso_knots(
    x: Any,
    y: Any,
    *,
    penalty: L1 | None = None,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int | None = None,
) -> LinearPath:
    """The lasso at every strength where a feature enters or leaves: the whole path.

    Between these strengths coefficients are linear in the strength, so the path at any
    other one is an interpolation:

        np.interp(strength, found.strengths[::-1], found.coefficients[::-1, j])

    It is the path of LARS with the lasso's modification (scikit-learn's `lars_path`, whose
    `alphas` are these strengths).

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        penalty: As for `lasso_path`.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_path`.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_path`.
        num: The largest number of knots to find; by default all, down to strength 0.

    Returns:
        A `LinearPath` at the knots, from the largest strength on. Unless `num` ends it
        earlier, the last is at 0: least squares, with as few features as it needs.

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
    check_is_l1(penalty)
    x, y, weights = check_data(x, y, sample_weight, rescaled=True)
    model = LeastSquares(penalty, intercept, standardize, positive)
    problem = model.with_data(x, y, weights)
    if num is not None:
        check_count("num", num)
    knots = _Knots(problem)
    for _ in range(MOST_EXCHANGES * (x.shape[1] + MOST_EXCHANGES)):
        if knots.strengths[-1] == 0 or len(knots.strengths) == num or not knots.find_next():
            break
    w, strengths = np.stack(knots.w), np.array(knots.strengths)
    gaps = knots.gaps(strengths, w)
    converged = is_certified(gaps, INEXACT)
    is_complete = strengths[-1] == 0 or len(strengths) == num
    if not (is_complete and np.all(converged)):
        warnings.warn(
            f"The path ends at a strength of {strengths[-1]:.3g}, with duality gaps of at "
            f"most {np.max(np.abs(gaps)):.1g} times the null model's loss: features depend "
            "on each other up to rounding, or enter at one strength. Use `lasso_path`, "
            "which solves for given strengths.",
            RuntimeWarning,
            stacklevel=2,
        )
    found = problem.units.given_strengths(strengths)
    coefficients, intercepts = problem.restored(w)
    return LinearPath(
        strengths=found,
        coefficients=coefficients,
        intercepts=intercepts,
        gaps=gaps,
        null_loss=problem.null_loss,
        converged=converged,
    )


class _Knots:
    """The knots found so far, and the active features below the last of them.

    Attributes:
        strengths: Of the knots.
        w: The coefficients there, arrays (features,).
        signs: For each feature, its sign if it is active, else 0.
        dependent: Which inactive features depend on the active ones, and cannot enter.
        exited: The feature that has left at the last knot, and the sign that it had.
    """

    def __init__(self, problem: Problem) -> None:
        self.xt, self.y = np.asarray(problem.data.xt), problem.data.y
        self.l1, _, self.positive = problem.factors
        self.correlations = problem.correlations
        self.strengths, self.w = [problem.strength_max], [np.zeros(len(self.l1))]
        self.signs = np.zeros(len(self.l1))
        self.dependent = np.zeros(len(self.l1), bool)
        self.exited = 0, 0.0

    def gaps(self, strengths: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The duality gaps of all knots."""
        factors = Factors(self.l1, None, self.positive)
        gaps = gaps_of(Samples(self.xt, self.y), w, strengths, factors)
        if strengths[-1] == 0:
            gaps[-1] = least_squares_gap(self.xt, self.y, w[-1])
        return gaps

    def find_next(self) -> bool:
        """Find the next knot, and exchange its feature.

        Returns:
            Whether there is a solution for the active features.
        """
        now, active = self.strengths[-1], np.flatnonzero(self.signs)
        rows = self.xt[active]
        gram = rows @ rows.T / len(self.y)
        sides = np.stack([self.correlations[active], (self.l1 * self.signs)[active]], 1)
        try:
            w_ls, rate = np.linalg.solve(gram, sides).T
        except np.linalg.LinAlgError:  # Singular to the last digit.
            return False
        exits = np.zeros(len(self.l1))
        shrinking = self.signs[active] * rate < 0
        exits[active[shrinking]] = w_ls[shrinking] / rate[shrinking]
        enters, signs = self._entering(w_ls, rate, rows)
        candidates = np.maximum(exits, enters)
        index = int(np.argmax(candidates))
        strength = min(candidates[index], now)
        if strength <= 1e-12 * self.strengths[0]:
            strength, index = 0.0, -1
        if index >= 0 and not self.signs[index] and self._depends(index, gram, rows):
            self.dependent[index] = True
            return True
        w = np.zeros(len(self.l1))
        w[active] = w_ls - strength * rate
        if index >= 0:
            was = self.signs[index]
            self.exited = index, was
            # A feature that leaves may make others independent.
            self.dependent &= was == 0
            self.signs[index] = 0.0 if exits[index] >= enters[index] else signs[index]
            w[index] = 0.0
        if strength == now:
            self.w[-1] = w
        else:
            self.strengths.append(strength)
            self.w.append(w)
        return True

    def _entering(
        self, w_ls: np.ndarray, rate: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The largest strength at which each inactive feature enters, and its sign."""
        rest = self.correlations - self.xt @ (w_ls @ rows) / len(self.y)
        slope = self.xt @ (rate @ rows) / len(self.y)
        exited, exited_sign = self.exited
        strengths, signs = np.zeros(len(self.l1)), np.zeros(len(self.l1))
        outside = (self.signs == 0) & ~self.dependent
        for sign in (1.0,) if self.positive else (1.0, -1.0):
            approach = self.l1 - sign * slope
            meets = outside & (approach > PARALLEL * self.l1)
            # It is at this threshold now, and moves away from it.
            meets[exited] &= exited_sign != sign
            found = np.where(meets, sign * rest / np.where(meets, approach, 1.0), 0.0)
            signs = np.where(found > strengths, sign, signs)
            strengths = np.maximum(strengths, found)
        return strengths, signs

    def _depends(self, index: int, gram: np.ndarray, rows: np.ndarray) -> bool:
        """Whether a feature is in the span of the active ones."""
        row = self.xt[index]
        inner = rows @ row / len(self.y)
        square = row @ row / len(self.y)
        return square - inner @ np.linalg.solve(gram, inner) <= DEPENDENT * square
