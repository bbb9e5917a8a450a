"""The equations that the proxes of groups solve, one for each group.

Each evaluation reads all entries, so the loops here end as soon as all groups have their
root.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import over
from jaxreg._groups import Entries, Groups, metric_units, norms, scaled, unit_norms, units


def shrink_norms(
    groups: Groups, x: Entries, threshold: Any, metric: Entries | None
) -> Entries:
    """argmin_z  Σ_g t_g·‖z_g‖₂ + ½·Σ dᵢ(zᵢ − xᵢ)², for thresholds t per group."""
    unit, scale = units(groups, x)
    if metric is None:
        lengths = unit_norms(groups, unit)
        removed, threshold = _removed(lengths, threshold / scale)
        kept = 1 - threshold / jnp.where(lengths == 0, 1.0, lengths)
        return scaled(groups, x, kept, removed)
    metric, weight = metric_units(groups, metric)
    lengths = norms(groups, jax.tree.map(jnp.multiply, metric, unit))
    removed, threshold = _removed(lengths, over(threshold, scale, weight))
    return _shrink_in_metric(groups, (x, unit), threshold, lengths, removed, metric)


def _removed(lengths: Array, threshold: Any) -> tuple[Array, Array]:
    """Which groups become zero, and the thresholds of the others."""
    threshold = jnp.broadcast_to(jnp.asarray(threshold, lengths.dtype), lengths.shape)
    removed = (lengths <= threshold) & (threshold > 0)
    return removed, jnp.where(removed, 0.0, threshold)


def _shrink_in_metric(
    groups: Groups,
    entries: tuple[Entries, Entries],
    threshold: Array,
    lengths: Array,
    removed: Array,
    metric: Entries,
) -> Entries:
    """zᵢ = dᵢxᵢθ/(dᵢθ + t), where θ = ‖z‖ is the root of  Σ (dᵢxᵢ/(dᵢθ + t))² = 1.

    Of `entries`, the second are x in units in which it is about 1, as `metric` and all
    other arguments are.
    """
    x, unit = entries
    is_solved = removed | (threshold == 0)
    t = jnp.where(is_solved, 1.0, threshold)
    start = unit_norms(groups, unit) * (1 - t / jnp.where(is_solved, 1.0, lengths))
    root = secular_root(groups, unit, metric, groups.spread(t), start, is_solved)

    def entry(
        x: Array, d: Array, root: Array, t: Array, removed: Array, is_solved: Array
    ) -> Any:
        kept = jnp.where(is_solved, x, x * (d * root / (d * root + t)))
        return jnp.where(removed, 0.0, kept)

    spreads = map(groups.spread, (root, t, removed, is_solved))
    return jax.tree.map(entry, x, metric, *spreads)


# Most Newton steps. From the bounds below 5 are enough for almost all groups; 12 also for
# metrics and weights of many magnitudes between 1e-10 and 1e8 in one group (in float32 and
# in float64, where they leave 1e-9 at worst).
_NEWTON_STEPS = 12


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def secular_root(
    groups: Groups,
    x: Entries,
    slopes: Entries,
    offsets: Entries,
    start: Array,
    is_solved: Array,
) -> Array:
    """The root θ of  Σ (slopeᵢ·xᵢ/(slopeᵢ·θ + offsetᵢ))² = 1, for each group.

    1/√Σ(...)² is a concave function of θ, so Newton's method on it never passes the root
    from below and, from any point, converges without safeguards (as for a trust region).
    Each step reads all entries, so there are as few as it takes. If the first is not exact
    for all groups, the others go from lower bounds. The derivatives are those of a step at
    the root.

    Args:
        groups: The groups.
        x: Entries.
        slopes: Positive entries.
        offsets: Positive entries, or numbers spread over the groups.
        start: For each group ‖x‖·(1 − 1/pull), where pull ≥ 1 is √Σ(...)² at θ = 0. That
            is the root if offset/slope is the same for all entries, and at both ends,
            pull = 1 and ∞.
        is_solved: Groups without an equation; their root is 1.

    Returns:
        A number for each group.
    """

    def newton(root: Array) -> _Step:
        return _newton_step(groups, root, x, slopes, offsets, is_solved)

    def is_open(state: tuple[Any, _Step]) -> Array:
        return (state[0] < _NEWTON_STEPS) & ~jnp.all(state[1].is_exact)

    def solve(first: _Step) -> Array:
        low = jnp.maximum(_lower_bound(groups, x, slopes, offsets, is_solved), first.root)
        start = 0, _Step(low, jnp.zeros_like(first.is_exact))
        _, last = jax.lax.while_loop(
            is_open, lambda state: (state[0] + 1, newton(state[1].root)), start
        )
        return last.root

    first = newton(jnp.where(is_solved, 1.0, start))
    return jax.lax.cond(jnp.all(first.is_exact), lambda first: first.root, solve, first)


@secular_root.defjvp
def _secular_root_jvp(groups: Groups, primals: Any, tangents: Any) -> tuple[Array, Array]:
    x, slopes, offsets, start, is_solved = primals
    root = secular_root(groups, x, slopes, offsets, start, is_solved)

    def step(x: Entries, slopes: Entries, offsets: Entries) -> Array:
        # Where there is nothing to solve, nothing can be too large for a derivative.
        solved = groups.spread(is_solved)
        x = jax.tree.map(lambda x, done: jnp.where(done, 0.0, x), x, solved)
        return _newton_step(groups, root, x, slopes, offsets, is_solved).root

    return root, jax.jvp(step, (x, slopes, offsets), tuple(tangents[:3]))[1]


class _Step(NamedTuple):
    """Where a Newton step leads, and whether that is the root, to all digits."""

    root: Array
    is_exact: Array


def _newton_step(
    groups: Groups,
    root: Array,
    x: Entries,
    slopes: Entries,
    offsets: Entries,
    is_solved: Array,
) -> _Step:
    """One Newton step of all groups.

    With w the fraction of each term in the sum and g = slope/(slope·θ + offset) ≤ 1/θ, the
    function's curvature is h''/h' = −3·Var_w(g)/E_w(g), and Var_w(θg) ≤ 1 − E_w(θg). So a
    short step of length δ ends within about 3/2·(1 − E_w(θg))·δ²/θ of the root, which is
    exact where the sum then is 1 but for its rounding.
    """
    rates = jax.tree.map(
        lambda d, r, t: d / (d * r + t), slopes, groups.spread(root), offsets
    )
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
    is_exact = rest < jnp.finfo(total.dtype).eps
    # What is NaN stays so: there is nothing to be found.
    return _Step(root + length, is_solved | (is_exact & ~is_flat) | jnp.isnan(length))


def _lower_bound(
    groups: Groups, x: Entries, slopes: Entries, offsets: Entries, is_solved: Array
) -> Array:
    """Of the root: from each entry alone, and from the steepest slope for all of them."""
    highest = groups.largest(
        jax.tree.map(
            lambda x, d, t: jnp.maximum(jnp.abs(x) - t / d, 0.0), x, slopes, offsets
        )
    )
    pulls = norms(groups, jax.tree.map(jnp.multiply, slopes, x))
    excess, widest = pulls - groups.largest(offsets), groups.largest(slopes)
    return jnp.maximum(
        highest, jnp.where(is_solved, 1.0, excess / jnp.where(widest == 0, 1.0, widest))
    )


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
