"""Duality gaps: how far an objective can at most be from its minimum."""

from typing import Any


def duality_gaps(
    sizes: Any,
    correlations: Any,
    squares: Any,
    along: Any,
    factors: tuple[Any, Any],
    strengths: Any,
    xp: Any,
) -> Any:
    """Gaps between objectives and what the residuals prove about the minimum.

    Residuals r, shrunk by a factor s until they are dual feasible, prove that the minimum
    of ½·mean(r²) + strength·Σ(l1·|w| + l2·w²) is at least

        s·mean(r·y) − s²·mean(r²)/2 − Σ max(s·|c| − strength·l1, 0)² / (4·strength·l2)

    where c are the correlations with the residuals, xᵀr/n. Only features without `l2` ask
    for shrinking.

    Args:
        sizes: Sums of l1·|w| + l2·w², for each strength.
        correlations: The absolute c (strengths, features); if w ≥ 0, its positive part.
        squares: mean(r²), for each strength.
        along: mean(r·y).
        factors: l1 and l2, for each feature.
        strengths: The strengths.
        xp: numpy or jax.numpy.
    """
    threshold = strengths[:, None] * factors[0]
    ridge = strengths[:, None] * factors[1]
    shrinks = (ridge == 0) & (correlations > threshold)
    limits = xp.where(shrinks, threshold / xp.where(shrinks, correlations, 1.0), 1.0)
    shrink = xp.min(limits, axis=1)
    over = xp.maximum(shrink[:, None] * correlations - threshold, 0.0)
    costs = xp.where(ridge > 0, over**2 / xp.where(ridge > 0, 4 * ridge, 1.0), 0.0)
    dual = shrink * along - shrink**2 * squares / 2 - xp.sum(costs, axis=1)
    return squares / 2 + strengths * sizes - dual
