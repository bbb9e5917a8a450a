"""Duality gaps: bounds on how far an objective is from its minimum."""

from typing import Any, NamedTuple

import numpy as np


def is_certified(gaps: Any, tolerance: Any) -> Any:
    """Whether gaps are small enough to trust the solutions.

    A true gap is never negative, so one far below zero is a rounding error of that size and
    counts as not converged. So does NaN.
    """
    return abs(gaps) <= tolerance


class Factors(NamedTuple):
    """Per-feature factors of the strength in a penalty Σ (l1·|w| + l2·w²).

    Attributes:
        l1: An array (features,), positive wherever `l2` is zero.
        l2: An array (features,), or `None` if all are zero.
        positive: Whether coefficients must not be negative.
    """

    l1: Any
    l2: Any
    positive: Any

    def penalty(self, w: Any) -> Any:
        """Σ (l1·|w| + l2·w²) of coefficients (strengths, features)."""
        total = abs(w) @ self.l1
        return total if self.l2 is None else total + w**2 @ self.l2

    def magnitude(self, correlations: np.ndarray) -> np.ndarray:
        """What must not exceed strength · l1 while w = 0: |c|, or max(c, 0) if w ≥ 0."""
        return np.maximum(correlations, 0.0) if self.positive else np.abs(correlations)

    def part(self, ids: np.ndarray) -> "Factors":
        """Those of some features."""
        l2 = None if self.l2 is None else self.l2[ids]
        return Factors(self.l1[ids], l2, self.positive)


class Residuals(NamedTuple):
    """Mean products with the residuals r = y − x·w, for each strength.

    Attributes:
        correlations: With the features, xᵀr/n, an array (features, strengths).
        squares: With themselves, rᵀr/n, an array (strengths,).
        with_target: With the target, rᵀy/n, an array (strengths,).
    """

    correlations: Any
    squares: Any
    with_target: Any


def relative_gaps(
    residuals: Residuals,
    square: Any,
    penalty: Any,
    strengths: Any,
    factors: Factors,
) -> Any:
    """Duality gaps of least squares, relative to the null model's loss ½·mean(y²).

    With a scaling s that makes s·r dual feasible, the minimum of
    ½·mean(r²) + strength·Σ(l1·|w| + l2·w²) is at least

        s·mean(r·y) − s²·mean(r²)/2 − Σ max(s·m − strength·l1, 0)² / (4·strength·l2)

    where m is the magnitude of the correlations (`Factors.magnitude`). The sum is over
    features with `l2`; those without need s·m ≤ strength·l1.

    Args:
        residuals: Those of the coefficients.
        square: The mean square of the target.
        penalty: Σ (l1·|w| + l2·w²) of the coefficients, for each strength.
        strengths: The strengths.
        factors: The factors of the strengths.
    """
    # Where an l2 is tiny, s·m must not exceed strength·l1 by more than rounding: then an s
    # for which it does not at all is better. The larger bound counts.
    l1, l2, _ = factors
    bounds = _dual(residuals, strengths, factors, l1 > 0)
    if l2 is not None:
        bounds = np.maximum(bounds, _dual(residuals, strengths, factors, l2 == 0))
    # w = 0 proves that the dual is at least 0.
    gaps = residuals.squares / 2 + strengths * penalty - np.maximum(bounds, 0.0)
    return gaps / np.maximum(square / 2, np.finfo(float).tiny)


def _dual(residuals: Residuals, strengths: Any, factors: Factors, constrains: Any) -> Any:
    """The lower bound with the s for which s·m ≤ strength·l1 at certain features."""
    l1, l2, _ = factors
    magnitude = factors.magnitude(residuals.correlations)
    inverse = np.where(constrains, 1 / np.where(constrains, l1, 1.0), 0.0)
    feasible_from = np.max(magnitude * inverse[:, None], axis=0)
    tiny = np.finfo(float).tiny
    scale = strengths / np.maximum(np.maximum(feasible_from, strengths), tiny)
    dual = scale * residuals.with_target - scale**2 * residuals.squares / 2
    if l2 is None:
        return dual
    ridge = 4 * strengths[None] * l2[:, None]
    excess = scale[None] * magnitude - strengths[None] * l1[:, None]
    squares = np.where(constrains[:, None], 0.0, np.maximum(excess, 0.0) ** 2)
    # With a tiny l2 its term may be infinite; then 0 is the better bound.
    with np.errstate(over="ignore"):
        conjugates = np.where(ridge > 0, squares / np.where(ridge > 0, ridge, 1.0), 0.0)
    return dual - np.sum(conjugates, axis=0)
