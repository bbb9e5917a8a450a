"""The equations that the proxes of groups solve, one for each group.

Each evaluation reads all entries, so the loops here end as soon as all groups have their
root.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._groups import Entries, Groups, norms, scaled, unit_norms, units


def shrink_norms(
    groups: Groups, x: Entries, threshold: Any, metric: Entries | None
) -> Entries:
    """argmin_z  Σ_g t_g·‖z_g‖₂ + ½·Σ dᵢ(zᵢ − xᵢ)², for thresholds t per group."""
    unit, scale = units(groups, x)
    threshold = jnp.broadcast_to(jnp.asarray(threshold, scale.dtype) / scale, scale.shape)
    if metric is not None:
        return _shrink_in_metric(groups, (x, unit), threshold, metric)
    lengths = unit_norms(groups, unit)
    removed = (lengths <= threshold) & (threshold > 0)
    threshold = jnp.where(removed, 0.0, threshold)
    kept = 1 - threshold / jnp.where(lengths == 0, 1.0, lengths)
    return scaled(groups, x, kept, removed)


def _shrink_in_metric(
    groups: Groups, entries: tuple[Entries, Entries], threshold: Array, metric: Entries
) -> Entries:
    """zᵢ = xᵢ·θ/(θ + oᵢ) with o = t/d, where θ = ‖z‖ solves  Σ (xᵢ/(θ + oᵢ))² = 1.

    Of `entries`, the second are x in the units of the threshold t, in which it is about 1.
    """
    x, unit = entries
    weights = _summable_weights(groups, metric, threshold)
    pull = unit_norms(groups, jax.tree.map(jnp.multiply, weights, unit))
    removed = (pull <= 1) & (threshold > 0)
    is_solved = removed | (threshold == 0)
    offsets = jax.tree.map(lambda t, d: t / d, groups.spread(threshold), metric)
    # Where all offsets are small, ‖z‖ is that of x less the mean of them; the other guess
    # is exact where all are equal. The bound is the root if all were the smallest.
    length = unit_norms(groups, unit)
    square = jax.tree.map(lambda u, o: jnp.square(u) * o, unit, offsets)
    mean = groups.total(square) / jnp.where(length == 0, 1.0, jnp.square(length))
    guess = length * (1 - 1 / jnp.where(is_solved, 1.0, pull))
    start = jnp.where(2 * mean <= length, length - mean, guess)
    widest = groups.largest(weights)
    low = (pull - 1) / jnp.where(widest == 0, 1.0, widest)
    root = secular_root(groups, unit, offsets, (start, low), is_solved)

    def entry(x: Array, o: Array, root: Array, removed: Array, is_solved: Array) -> Any:
        kept = jnp.where(is_solved, x, x * (root / (root + o)))
        return jnp.where(removed, 0.0, kept)

    spreads = map(groups.spread, (root, removed, is_solved))
    return jax.tree.map(entry, x, offsets, *spreads)


def _summable_weights(groups: Groups, metric: Entries, threshold: Array) -> Entries:
    """metric/threshold, none so large that squares of it could not be added."""
    limits = jnp.finfo(groups.dtype)
    limit = (float(limits.max) / 16 / np.max(groups.sizes)) ** 0.5
    inverse = groups.spread(1 / jnp.maximum(threshold, limits.tiny))
    return jax.tree.map(lambda d, inv: jnp.minimum(d * inv, limit), metric, inverse)


# Most Newton steps: 2 or 3 are usual; 10 were the most for metrics and weights of many
# magnitudes between 1e-10 and 1e8 in one group, in float32 and in float64.
_NEWTON_STEPS = 16


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def secular_root(
    groups: Groups,
    x: Entries,
    offsets: Entries,
    start: tuple[Array, Array],
    is_solved: Array,
) -> Array:
    """The root θ of  Σ (xᵢ/(θ + oᵢ))² = 1, for each group.

    1/√Σ(...)² is a concave function of θ, so Newton's method on it never passes the root
    from below and, from any point, converges without safeguards (as for a trust region).
    Each step reads all entries, so there are as few as it takes. The derivatives are those
    of a step at the root.

    Args:
        groups: The groups.
        x: Entries.
        offsets: o ≥ 0.
        start: Where to start from, and a lower bound of the root, for each group.
        is_solved: Groups without an equation; their root is 1.

    Returns:
        A number for each group.
    """
    guess, low = (jnp.where(is_solved, 1.0, part) for part in start)

    def is_open(state: tuple[Any, Array, Array]) -> Array:
        count, _, is_exact = state
        return (count < _NEWTON_STEPS) & ~jnp.all(is_exact)

    def step(state: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        count, root, _ = state
        root, is_exact = _newton_step(groups, root, x, offsets, is_solved)
        return count + 1, jnp.maximum(root, low), is_exact

    first = 0, jnp.maximum(guess, low), is_solved
    return jax.lax.while_loop(is_open, step, first)[1]


@secular_root.defjvp
def _secular_root_jvp(groups: Groups, primals: Any, tangents: Any) -> tuple[Array, Array]:
    x, offsets, start, is_solved = primals
    root = secular_root(groups, x, offsets, start, is_solved)

    def step(x: Entries, offsets: Entries) -> Array:
        # Where there is nothing to solve, nothing can be too large for a derivative.
        solved = groups.spread(is_solved)
        x = jax.tree.map(lambda x, done: jnp.where(done, 0.0, x), x, solved)
        return _newton_step(groups, root, x, offsets, is_solved)[0]

    return root, jax.jvp(step, (x, offsets), tuple(tangents[:2]))[1]


def _newton_step(
    groups: Groups, root: Array, x: Entries, offsets: Entries, is_solved: Array
) -> tuple[Array, Array]:
    """Where a Newton step of all groups leads, and whether that is the root, to all digits.

    With p the fraction of each term in the sum and g = 1/(θ + o) ≤ 1/θ, the function's
    curvature is h''/h' = −3·Var_p(g)/E_p(g), and Var_p(θg) ≤ 1 − E_p(θg). So a short step
    of length δ ends within about 3/2·(1 − E_p(θg))·δ²/θ of the root, which is exact where
    the sum then is 1 but for its rounding.
    """
    rates = jax.tree.map(lambda o, r: 1 / (r + o), offsets, groups.spread(root))
    squares = jax.tree.map(lambda x, g: jnp.square(x * g), x, rates)
    total = groups.total(squares)
    slope = groups.total(jax.tree.map(jnp.multiply, squares, rates))
    is_flat = slope == 0
    nothing = is_solved | is_flat
    total = jnp.where(nothing, 1.0, total)
    slope = jnp.where(nothing, 1.0, slope)
    length = total * (jnp.sqrt(total) - 1) / slope
    fraction, steepness = length / root, root * slope / total
    rest = 8 * jnp.maximum(1 - steepness, 0.0) * jnp.square(fraction) * steepness
    is_exact = (rest < jnp.finfo(total.dtype).eps) & ~is_flat
    # What is flat is far above the root. What is NaN stays so: there is nothing to find.
    moved = jnp.where(is_flat & ~is_solved, 0.0, root + length)
    return moved, is_solved | is_exact | jnp.isnan(length)


def secular_bound(groups: Groups, x: Entries, offsets: Entries) -> Array:
    """Of a secular root: from each entry alone, and from the largest offset for all."""
    alone = jax.tree.map(lambda x, o: jnp.maximum(jnp.abs(x) - o, 0.0), x, offsets)
    return jnp.maximum(groups.largest(alone), norms(groups, x) - groups.largest(offsets))


def concave_root(
    newton: Callable[[Array], Array], low: Array, high: Array, steps: int = 24
) -> Array:
    """The root of increasing concave functions, one for each group.

    The tangent of a concave function lies above it, so the root of any tangent is a
    lower bound, and tells on which side of the root its point is. Each step takes the
    tangents at the lower bound and in the (geometric) middle of the bracket: it halves
    the bracket at least, and finishes at once on a straight piece. The loop ends when no
    lower bound rises any more.

    Args:
        newton: The root of the tangent at given points.
        low: Lower bounds of the roots, without derivatives; `newton` raises them.
        high: Upper bounds.
        steps: How many at most.

    Returns:
        The roots, from a last Newton step: derivatives go through it alone.
    """
    constants = jax.lax.stop_gradient

    def is_open(state: tuple[Any, Array, Array, Array]) -> Array:
        return (state[0] < steps) & jnp.any(state[3])

    def step(state: tuple[Any, Array, Array, Array]) -> tuple[Any, Array, Array, Array]:
        count, low, high, _ = state
        middle = jnp.where(low > 0, jnp.sqrt(low) * jnp.sqrt(high), high / 2)
        tangent = constants(newton(middle))
        is_below = tangent > middle
        better = jnp.maximum(low, jnp.where(is_below, tangent, low))
        better = jnp.minimum(jnp.maximum(better, constants(newton(low))), high)
        return count + 1, better, jnp.where(is_below, high, middle), better > low

    low, high = constants((low, high))
    start = 0, low, high, jnp.ones_like(low, bool)
    _, low, _, _ = jax.lax.while_loop(is_open, step, start)
    return newton(constants(low))
