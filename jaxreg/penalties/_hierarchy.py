"""The prox of LassoNet: kernels bounded by skip connections, a problem in one number.

For each group, with θ the entries of the skip connection and W those of the kernel,

    min  t·‖θ‖₂ + ½·Σ aᵢ(θᵢ − vᵢ)² + ½·Σ b_k(W_k − u_k)²   subject to   |W_k| ≤ M·‖θ‖₂

The set is not convex, but the least over all θ of norm r, and over W, is a convex function
of r. There W is u clipped to ±M·r, and θᵢ = aᵢvᵢ/(aᵢ + μ) with the μ for which the norm is
r. The slope of that function,

    h(r) = t − μ·r − M·Σ b_k·max(|u_k| − M·r, 0),

is concave: d(−μr)/dr = 1/E(1/(a + μ)) − μ, with means weighted by θ², falls as r rises
(its derivative in μ is 3·Var/E²), and the sum has straight pieces. In a uniform metric
−μr = r − ‖v‖. The paper's HIER-PROX sorts |u| to find the piece with the root. Newton's
method finds it without sorting, and is exact on that piece.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import over, power_of_two
from jaxreg._checks import Scalar
from jaxreg._groups import Entries, Groups, norms
from jaxreg.operators.roots import concave_root, secular_bound, secular_root

# Zeros of v stand for this, beside entries of size 1. It gives a direction to θ where v is
# zero and W is not; which one does not matter, but for the metric.
_NOTHING = 1e-16


class Layer(NamedTuple):
    """Entries, their metric, and their groups.

    Attributes:
        x: An array, or a tuple of arrays.
        metric: The same of positive numbers; `None` for ones.
        groups: The groups of these arrays.
    """

    x: Entries
    metric: Entries | None
    groups: Groups


def bounded_by_skip(
    skip: Layer, kernel: Layer, threshold: Array, hierarchy: Scalar
) -> tuple[Entries, Entries]:
    """The θ and W of the problem above.

    Args:
        skip: v, a.
        kernel: u, b.
        threshold: t, for each group.
        hierarchy: M.

    Returns:
        θ and W.
    """
    skip, kernel, scale, weight = _in_units(skip, kernel)
    threshold = over(jnp.broadcast_to(threshold, scale.shape), scale, weight)
    sizes = jax.tree.map(jnp.abs, kernel.x)
    push, bend = _kernel_slope(kernel, sizes, jnp.zeros_like(scale), hierarchy)
    length, pull = norms(skip.groups, skip.x), norms(skip.groups, _weighed(skip))
    excess = pull + push - threshold
    is_removed = excess <= 0
    is_closed = is_removed | ~jnp.isfinite(excess)
    threshold = jnp.where(is_closed, 0.0, threshold)
    widest = 1.0 if skip.metric is None else skip.groups.largest(skip.metric)
    # From the steepest tangent that h may have at 0; beyond `high`, W is u.
    low = jnp.where(is_closed, 1.0, excess / (widest + bend))
    high = jnp.maximum(length, kernel.groups.largest(sizes) / hierarchy)
    high = jnp.where(is_closed, 1.0, jnp.maximum(low, high))
    direction = jax.tree.map(_nonzero, skip.x)

    def newton(r: Array) -> Array:
        value, slope, _ = _skip_slope(skip, direction, r, is_closed)
        push, bend = _kernel_slope(kernel, sizes, r, hierarchy)
        return r - (value + threshold - push) / (slope + bend)

    root = concave_root(newton, low, high)
    root = jnp.where(jnp.isfinite(excess) | is_removed, root, excess)
    _, _, moved = _skip_slope(skip, direction, root, is_closed)
    return (
        _back(skip.groups, jax.tree.map(_settled, skip.x, moved), scale, is_removed),
        _back(kernel.groups, _clipped(kernel, root, hierarchy), scale, is_removed),
    )


def _in_units(skip: Layer, kernel: Layer) -> tuple[Layer, Layer, Array, Array]:
    """Both layers in units in which the largest entry and weight of a group are 1 to 2.

    Returns:
        The layers, and for each group the unit of its entries and that of its metric.
    """

    def unit(parts: list[Entries]) -> Array:
        sizes = [
            layer.groups.largest(jax.tree.map(jnp.abs, jax.lax.stop_gradient(part)))
            for layer, part in zip((skip, kernel), parts, strict=True)
        ]
        return power_of_two(jnp.maximum(*sizes))

    scale = unit([skip.x, kernel.x])
    metrics = [skip.metric, kernel.metric]
    weight = jnp.ones_like(scale) if skip.metric is None else unit(metrics)

    def scaled(layer: Layer) -> Layer:
        x = jax.tree.map(jnp.divide, layer.x, layer.groups.spread(scale))
        if layer.metric is None:
            return layer._replace(x=x)
        metric = jax.tree.map(
            lambda d, weight: jnp.maximum(d / weight, jnp.finfo(d.dtype).tiny),
            layer.metric,
            layer.groups.spread(weight),
        )
        return Layer(x, metric, layer.groups)

    return scaled(skip), scaled(kernel), scale, weight


def _weighed(layer: Layer) -> Entries:
    """The entries times their metric."""
    if layer.metric is None:
        return layer.x
    return jax.tree.map(jnp.multiply, layer.metric, layer.x)


def _nonzero(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < _NOTHING, jnp.where(x < 0, -_NOTHING, _NOTHING), x)


def _settled(x: Array, moved: Array) -> Array:
    """Zeros stay zero, but where the norm comes from them."""
    return jnp.where((x == 0) & (jnp.abs(moved) < _NOTHING**0.5), 0.0, moved)


def _kernel_slope(
    kernel: Layer, sizes: Entries, r: Array, hierarchy: Scalar
) -> tuple[Array, Array]:
    """M·Σ b·max(|u| − M·r, 0) for each group, and how fast it falls."""
    metric = kernel.metric
    if metric is None:
        metric = jax.tree.map(jnp.ones_like, sizes)
    level = kernel.groups.spread(hierarchy * r)
    above = jax.tree.map(
        lambda u, b, level: jnp.where(u > level, b * (u - level), 0.0), sizes, metric, level
    )
    steep = jax.tree.map(
        lambda u, b, level: jnp.where(u > level, b, 0.0), sizes, metric, level
    )
    total = kernel.groups.total
    return hierarchy * total(above), jnp.square(hierarchy) * total(steep)


def _skip_slope(
    skip: Layer, direction: Entries, r: Array, is_closed: Array
) -> tuple[Array, Array, Entries]:
    """−μ·r for each group, its derivative, and the θ of norm r.

    With τ = μ + min a, the norm is r where  Σ (aᵢvᵢ/r / (τ + aᵢ − min a))² = 1.
    """
    groups = skip.groups
    if skip.metric is None:
        length = norms(groups, direction)
        factor = groups.spread(r / length)
        return r - length, jnp.ones_like(r), jax.tree.map(jnp.multiply, direction, factor)
    least = -groups.largest(jax.tree.map(jnp.negative, skip.metric), -jnp.inf)
    pulls = jax.tree.map(
        lambda v, a, r: a * v / r, direction, skip.metric, groups.spread(r)
    )
    offsets = jax.tree.map(jnp.subtract, skip.metric, groups.spread(least))
    start = norms(groups, pulls), secular_bound(groups, pulls, offsets)
    root = secular_root(groups, pulls, offsets, start, is_closed)
    denominators = jax.tree.map(jnp.add, offsets, groups.spread(root))
    parts = jax.tree.map(jnp.divide, pulls, denominators)
    squares = jax.tree.map(jnp.square, parts)
    mean = groups.total(jax.tree.map(jnp.divide, squares, denominators))
    slope = groups.total(squares) / mean - root + least
    return (
        (least - root) * r,
        jnp.maximum(slope, least),
        jax.tree.map(jnp.multiply, parts, groups.spread(r)),
    )


def _clipped(kernel: Layer, r: Array, hierarchy: Scalar) -> Entries:
    level = kernel.groups.spread(hierarchy * r)
    return jax.tree.map(lambda u, level: jnp.clip(u, -level, level), kernel.x, level)


def _back(groups: Groups, x: Entries, scale: Array, is_removed: Array) -> Entries:
    """Entries in their own units, and +0.0 where a group is removed."""
    return jax.tree.map(
        lambda x, scale, removed: jnp.where(removed, 0.0, scale * x),
        x,
        groups.spread(scale),
        groups.spread(is_removed),
    )
