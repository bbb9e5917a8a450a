"""Duality gaps: how far an objective can at most be from its minimum."""

from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.lasso._sources import Left, Moments, Samples


def is_certified(gaps: Any, tolerance: Any) -> Any:
    """Whether gaps are small enough to trust the solutions.

    A true gap is never negative: one that is far below zero shows rounding of that size.
    And NaN certifies nothing.
    """
    return abs(gaps) <= tolerance


class Factors(NamedTuple):
    """Of the strength in a penalty Σ (l1·|w| + l2·w²), for each feature.

    Attributes:
        l1: Positive where `l2` is zero.
        l2: `None` where all are zero.
        positive: Whether coefficients must not be negative.
    """

    l1: Any
    l2: Any
    positive: Any

    def sizes(self, w: Any) -> Any:
        """The penalties of coefficients (strengths, features)."""
        sizes = abs(w) @ self.l1
        return sizes if self.l2 is None else sizes + w**2 @ self.l2

    def pull(self, correlations: Any, xp: Any) -> Any:
        """How much correlations with the residuals ask for a coefficient that is not 0."""
        up = xp.maximum(correlations, 0.0)
        return xp.where(self.positive, up, abs(correlations))


def relative_gaps(
    source: Samples | Moments, w: np.ndarray, strengths: np.ndarray, factors: Factors
) -> np.ndarray:
    """Gaps of coefficients (strengths, features), by the mean square of the target."""
    every = slice(None)
    left = source.left(w, every, source.rows(every))
    sizes = factors.sizes(w)
    # Where a tiny l2 makes a bound infinite, there is another.
    with np.errstate(over="ignore"):
        return duality_gaps(left, source.square, sizes, strengths, factors, np)


def duality_gaps(
    left: Left, square: Any, sizes: Any, strengths: Any, factors: Factors, xp: Any
) -> Any:
    """Gaps between objectives and what the residuals prove about the minimum, relative.

    Residuals r, shrunk by a factor s until they are dual feasible, prove that the minimum
    of ½·mean(r²) + strength·Σ(l1·|w| + l2·w²) is at least

        s·mean(r·y) − s²·mean(r²)/2 − Σ max(s·|c| − strength·l1, 0)² / (4·strength·l2)

    where c are the correlations with the residuals, xᵀr/n (or, if w ≥ 0, only the positive
    ones). Only features without `l2` ask for shrinking.

    Args:
        left: What the coefficients leave, for each strength.
        square: The mean square of the target, by which gaps are divided.
        sizes: Sums of l1·|w| + l2·w².
        strengths: The strengths.
        factors: For each feature.
        xp: numpy or jax.numpy.
    """
    l1, l2, _ = factors
    pull = factors.pull(left.correlations, xp)
    asks = True if l2 is None else l2 == 0
    units = xp.where(asks, 1 / xp.where(asks, l1, 1.0), 0.0)
    reach = xp.max(pull * units[:, None], axis=0)
    tiny = np.finfo(float).tiny
    shrink = strengths / xp.maximum(xp.maximum(reach, strengths), tiny)
    dual = shrink * left.along - shrink**2 * left.squares / 2
    if l2 is not None:
        ridge = 4 * strengths[None] * l2[:, None]
        over = xp.maximum(shrink[None] * pull - strengths[None] * l1[:, None], 0.0)
        costs = xp.where(ridge > 0, over**2 / xp.where(ridge > 0, ridge, 1.0), 0.0)
        dual = dual - xp.sum(costs, axis=0)
    # Without residuals the dual is zero.
    gaps = left.squares / 2 + strengths * sizes - xp.maximum(dual, 0.0)
    return gaps / xp.maximum(square, tiny)
