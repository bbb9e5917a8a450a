"""Projections of groups of entries: the nearest point of a set, in a diagonal metric.

    argmin_{z ∈ C}  ½·Σ dᵢ(zᵢ − xᵢ)²

A group that is in its set, but for `tolerance` (relative, for rounding), is returned as
it is, bit by bit: so projections are idempotent, and `inside_*` holds for their results.
All sums are reductions; nothing is sorted.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._dtypes import compute_dtype
from jaxreg._groups import Entries, Groups, metric_units, norms, unit_norms, units
from jaxreg.operators.roots import concave_root, secular_bound, secular_root


def rounding(*values: Any) -> float:
    """How far off its set rounding may leave a projection, relative to the radius.

    Args:
        *values: The arrays that are projected together, as they are stored.

    Returns:
        A number that covers the rounding to their dtypes, and that of sums over them.
    """
    stored = max(float(jnp.finfo(jnp.result_type(value)).eps) for value in values)
    computed = float(jnp.finfo(compute_dtype(*values)).eps)
    return max(stored, computed * (4 + sum(map(np.size, values)) ** 0.5))


def inside_l2_ball(groups: Groups, x: Entries, radius: Any, tolerance: float) -> Array:
    """Whether ‖x‖₂ ≤ radius, for each group."""
    unit, scale = units(groups, x)
    return scale * unit_norms(groups, unit) <= radius * (1 + tolerance)


def onto_l2_ball(
    groups: Groups, x: Entries, radius: Any, metric: Entries | None, tolerance: float
) -> Entries:
    """dᵢxᵢ/(dᵢ + μ), where μ is the root of  Σ (dᵢxᵢ/(dᵢ + μ))² = radius².

    With x = scale·u, r = radius/scale and ν = r·μ that is radius·dᵢuᵢ/(r·dᵢ + ν), where
    Σ (dᵢuᵢ/(r·dᵢ + ν))² = 1: right also where r is nothing beside 1.
    """
    unit, scale = units(groups, x)
    length = unit_norms(groups, unit)
    radius = _numbers(radius, length)
    inside = scale * length <= radius * (1 + tolerance)
    removed = (radius == 0) & (length >= 0)
    is_solved = inside | removed
    radius = jnp.where(is_solved, 1.0, radius)
    if metric is None:
        factor = radius / jnp.where(length == 0, 1.0, length)
        moved = jax.tree.map(jnp.multiply, unit, groups.spread(factor))
        return _settled(groups, x, moved, inside, removed)
    metric, _ = metric_units(groups, metric)
    ratio = radius / scale
    pull = jax.tree.map(jnp.multiply, metric, unit)
    held = jax.tree.map(jnp.multiply, metric, groups.spread(ratio))
    start = norms(groups, pull) * (1 - ratio / jnp.where(is_solved, 1.0, length))
    start = start, secular_bound(groups, pull, held)
    root = secular_root(groups, pull, held, start, is_solved)
    moved = jax.tree.map(
        lambda pull, held, root, radius: radius * (pull / (held + root)),
        pull,
        held,
        groups.spread(root),
        groups.spread(radius),
    )
    return _settled(groups, x, moved, inside, removed)


def inside_l1_ball(groups: Groups, x: Entries, radius: Any, tolerance: float) -> Array:
    """Whether ‖x‖₁ ≤ radius, for each group."""
    return groups.total(jax.tree.map(jnp.abs, x)) <= radius * (1 + tolerance)


def onto_l1_ball(
    groups: Groups, x: Entries, radius: Any, metric: Entries | None, tolerance: float
) -> Entries:
    """sign(xᵢ)·max(|xᵢ| − t/dᵢ, 0), where t makes the L1 norm the radius."""
    absolutes = jax.tree.map(jnp.abs, x)
    length = groups.total(absolutes)
    radius = _numbers(radius, length)
    inside = length <= radius * (1 + tolerance)
    removed = (radius == 0) & (length >= 0)
    moved = _lowered(groups, absolutes, radius, metric, inside | removed)
    moved = jax.tree.map(lambda x, z: jnp.where(x < 0, 0.0 - z, z), x, moved)
    return _settled(groups, x, moved, inside, removed)


def inside_simplex(groups: Groups, x: Entries, total: Any, tolerance: float) -> Array:
    """Whether x ≥ 0 and Σx = total, for each group; one without entries has no say."""
    negative = groups.total(jax.tree.map(lambda x: (~(x >= 0)).astype(int), x))
    is_summed = jnp.abs(groups.total(x) - total) <= total * tolerance
    return (negative == 0) & is_summed | (jnp.asarray(groups.sizes) == 0)


def onto_simplex(
    groups: Groups, x: Entries, total: Any, metric: Entries | None, tolerance: float
) -> Entries:
    """max(xᵢ − t/dᵢ, 0), where t makes the sum the total."""
    present = groups.total(x)
    total = _numbers(total, present)
    inside = inside_simplex(groups, x, total, tolerance)
    removed = (total == 0) & ~jnp.isnan(present)
    moved = _lowered(groups, x, total, metric, inside | removed)
    return _settled(groups, x, moved, inside, removed)


def _lowered(
    groups: Groups, x: Entries, total: Array, metric: Entries | None, is_solved: Array
) -> Entries:
    """max(xᵢ − t/dᵢ, 0) for each group, with the t that makes the sum the total.

    Large entries are lowered by what is close to t first, so that the rounding of what is
    left is that of the result, however large they are. The loop works on constants; the
    one Newton step after it carries the derivatives.
    """
    if metric is None:
        metric = jax.tree.map(jnp.ones_like, x)
    else:
        metric, _ = metric_units(groups, metric)  # Only their ratios matter.
    total = jnp.where(is_solved, 0.0, total)
    fixed, target = jax.lax.stop_gradient((metric, total))

    def less(x: Entries, t: Array, metric: Entries) -> Entries:
        return jax.tree.map(lambda x, d, t: x - t / d, x, metric, groups.spread(t))

    def newton(t: Array, x: Entries, metric: Entries, total: Array) -> Array:
        is_above = jax.tree.map(lambda x, d, t: d * x > t, x, metric, groups.spread(t))
        kept = jax.tree.map(lambda x, up: jnp.where(up, x, 0.0), x, is_above)
        rates = jax.tree.map(lambda d, up: jnp.where(up, 1 / d, 0.0), metric, is_above)
        slope = groups.total(rates)
        root = (groups.total(kept) - total) / jnp.where(slope == 0, 1.0, slope)
        return jnp.where(is_solved | (slope == 0), t, root)

    def highest(x: Entries, by: Array) -> Array:
        heights = jax.tree.map(lambda x, d, t: d * (x - t), x, fixed, groups.spread(by))
        return groups.largest(heights, -np.inf)

    def lower_bound(x: Entries) -> Array:
        """The root of a tangent, and where one entry alone is the total."""
        everywhere = jnp.full_like(target, -np.inf)
        bound = jnp.maximum(newton(everywhere, x, fixed, target), highest(x, target))
        return jnp.where(jnp.isfinite(bound), bound, 0.0)

    start = jax.lax.stop_gradient(x)
    top = highest(start, jnp.zeros_like(target))
    is_close = jnp.abs(top - lower_bound(start)) < jnp.abs(top) / 2
    first = jnp.where(is_close, top, 0.0)
    start = less(start, first, fixed)
    bound = lower_bound(start)
    rest = less(start, bound, fixed)
    root = concave_root(
        lambda t: newton(t, rest, fixed, target),
        jnp.zeros_like(bound),
        jnp.maximum(highest(rest, jnp.zeros_like(bound)), 0.0),
    )
    rest = less(less(x, first, metric), bound + root, metric)
    last = newton(jnp.zeros_like(bound), rest, metric, total)
    return jax.tree.map(lambda x: jnp.maximum(x, 0.0), less(rest, last, metric))


def _numbers(value: Any, like: Array) -> Array:
    """A number for each group, sharded as those that are there."""
    return jnp.asarray(value, like.dtype) + jnp.zeros_like(like)


def _settled(
    groups: Groups, x: Entries, moved: Entries, inside: Array, removed: Array
) -> Entries:
    """`x` inside, zeros where nothing else is allowed, and else what was found."""

    def entry(x: Array, moved: Array, inside: Array, removed: Array) -> Array:
        return jnp.where(removed, 0.0, jnp.where(inside, x, moved))

    return jax.tree.map(entry, x, moved, groups.spread(inside), groups.spread(removed))
