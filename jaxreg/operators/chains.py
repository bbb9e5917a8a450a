"""Chains: entries in a row, where each is tied to its neighbours.

The total variation and isotonic regression are one problem, which penalises every step up
and every step down from an entry to the next:

    argmin_z  Σ drop·max(zᵢ − zᵢ₊₁, 0) + rise·max(zᵢ₊₁ − zᵢ, 0) + ½·Σ dᵢ(zᵢ − xᵢ)²

with drop = rise for the total variation, and ∞ and 0 for a fit that must not fall. It is
solved by dividing: which entries lie above a level is a problem about zeros and ones, and
one pass over the chain solves it. The chain is cut wherever that changes, and each piece
asks again at its own level. A piece that stays whole has found its value. All pieces of
all chains are solved at once, so few rounds are needed (ten or so for thousands of
entries); on accelerators each is a scan in parallel, of logarithmic depth.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxreg._arithmetic import over, power_of_two
from jaxreg._checks import Scalar
from jaxreg._dtypes import raise_precision
from jaxreg._sharding import like, whole


def total_variation_prox(
    x: Array, radius: Scalar, axis: int = -1, metric: Array | None = None
) -> Array:
    """Draw neighbours together until they are equal: total variation denoising.

    This is the proximal operator of the total variation along an axis:

        argmin_z  radius·Σ |zᵢ₊₁ − zᵢ| + ½·Σ dᵢ(zᵢ − xᵢ)²

    Its solution is piecewise constant. The running sums of d·z are the shortest string
    through a tube of the given radius around those of d·x. It is exact, to the rounding
    of the dtype, in any diagonal metric. (Where entries are so light beside others that
    the dtype cannot weigh them together, the objective is least all the same, to
    rounding.)

    An array that is sharded along the axis is gathered on every device.

    Args:
        x: Array with at least one axis.
        radius: Non-negative scalar, or array that broadcasts against `x`, of length 1
            along `axis`. Infinity makes the chain equal to its mean.
        axis: The axis along which neighbours are; along the others, chains lie side by
            side.
        metric: The positive d, an array that broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape of `x`, at least float32. Its derivatives are averages over
        the pieces that were found.

    Example:
        >>> total_variation_prox(jnp.array([0.0, 1.0, 0.5, 5.0, 7.0]), 1.0)
        Array([0.8333333, 0.8333333, 0.8333333, 5.       , 6.       ],      dtype=float32)

    References:
        Davies and Kovac, *Local extremes, runs, strings and multiresolution* (2001),
        section 2, for the string; Hochbaum, *An efficient algorithm for image
        segmentation, Markov random fields and related problems* (2001), section 3, and
        Chambolle and Darbon, *On total variation minimization and surface evolution
        using parametric maximum flows* (2009), section 4, for dividing by levels.
    """
    chains = _chains(x, axis, radius, metric)
    radius = over(chains.number, chains.scale, chains.mass)
    fused = _fuse(chains.x, chains.weight, drop=radius, rise=radius) * chains.scale
    return like(jnp.moveaxis(fused, -1, axis), x)


def isotonic_regression(
    x: Array, axis: int = -1, metric: Array | None = None, *, increasing: bool = True
) -> Array:
    """The nearest array that does not fall along an axis (or does not rise).

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   subject to   zᵢ ≤ zᵢ₊₁

    An array that is sharded along the axis is gathered on every device.

    Args:
        x: Array with at least one axis.
        axis: The axis along which it must not fall.
        metric: The positive d, an array that broadcasts to `x`; `None` for ones.
        increasing: False for an array that must not rise.

    Returns:
        Array of the shape of `x`, at least float32.

    Example:
        >>> isotonic_regression(jnp.array([1.0, 3.0, 2.0, 4.0]))
        Array([1. , 2.5, 2.5, 4. ], dtype=float32)

    References:
        Best and Chakravarti, *Active set algorithms for isotonic regression* (1990).
    """
    chains = _chains(x, axis, jnp.inf, metric)
    never, no_cost = chains.number, jnp.zeros_like(chains.number)
    costs = (never, no_cost) if increasing else (no_cost, never)
    fused = _fuse(chains.x, chains.weight, *costs) * chains.scale
    return like(jnp.moveaxis(fused, -1, axis), x)


def sorted_soft_threshold(x: Array, thresholds: Array) -> Array:
    """Move the largest entries of `x` towards zero by the largest thresholds.

    This is the proximal operator of the sorted L1 norm, for t₁ ≥ t₂ ≥ ... ≥ 0:

        argmin_z  Σ tᵢ·|z|₍ᵢ₎ + ½·Σ (zᵢ − xᵢ)²

    where |z|₍ᵢ₎ is the i-th largest entry. Entries of similar absolute value become equal.

    A sharded array is gathered on every device.

    Args:
        x: Array of any shape, taken as one vector.
        thresholds: Non-increasing non-negative vector with one number for each entry.

    Returns:
        Array of the shape of `x`, at least float32; +0.0 where an entry is removed.

    Example:
        >>> sorted_soft_threshold(jnp.array([-3.0, 0.5, 2.9]), jnp.array([2.0, 1.0, 1.0]))
        Array([-1.45,  0.  ,  1.45], dtype=float32)

    References:
        Bogdan, van den Berg, Sabatti, Su and Candès, *SLOPE: adaptive variable selection
        via convex optimization* (2015), section 2.
    """
    entries = whole(raise_precision(x), range(np.ndim(x)))
    absolutes = jnp.abs(jnp.ravel(entries))
    scale = power_of_two(jnp.max(absolutes, initial=0.0))
    absolutes = absolutes / scale
    order = jnp.argsort(-absolutes)
    # Any larger ones remove everything as well; infinite ones would not be numbers.
    thresholds = jnp.minimum(thresholds / scale, 2 * jnp.sum(absolutes))
    levels = isotonic_regression(absolutes[order] - thresholds, increasing=False)
    kept = jnp.zeros_like(absolutes).at[order].set(jnp.maximum(levels, 0.0)) * scale
    kept = jnp.reshape(kept, entries.shape)
    return like(jnp.where(kept == 0, 0.0, jnp.sign(entries) * kept), x)


def smoothness_prox(
    x: Array, coupling: Scalar, axis: int = -1, metric: Array | None = None
) -> Array:
    """Draw neighbours together in proportion to their distance.

        argmin_z  ½·coupling·Σ (zᵢ₊₁ − zᵢ)² + ½·Σ dᵢ(zᵢ − xᵢ)²

    The tridiagonal system is solved as a filter forward and back, by averages alone:
    nothing is subtracted, so it is right to rounding for every coupling and metric,
    where a general solver loses as many digits as the coupling is large.

    An array that is sharded along the axis is gathered on every device.

    Args:
        x: Array with at least one axis.
        coupling: Non-negative scalar, or array that broadcasts against `x`, of length 1
            along `axis`. Infinity makes the chain equal to its mean.
        axis: The axis along which neighbours are.
        metric: The positive d, an array that broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape of `x`, at least float32.

    Example:
        >>> smoothness_prox(jnp.array([0.0, 0.0, 8.0]), 1.0)
        Array([1., 2., 5.], dtype=float32)

    References:
        Rauch, Tung and Striebel, *Maximum likelihood estimates of linear dynamic
        systems* (1965), for a random walk observed with noise.
    """
    chains = _chains(x, axis, coupling, metric)
    if chains.x.size == 0:
        return jnp.moveaxis(chains.x, -1, axis)
    coupling = jnp.minimum((chains.number / chains.mass)[..., 0], huge(chains.x))

    def forward(before: Any, entry: Any) -> Any:
        held, mean = before
        x, weight = entry
        total = held + weight
        mean = mean + (x - mean) * (weight / total)
        fraction = coupling / (total + coupling)
        return (total * fraction, mean), (mean, fraction)

    def backward(after: Array, entry: Any) -> Any:
        mean, fraction = entry
        z = mean + (after - mean) * fraction
        return z, z

    rows = jnp.moveaxis(chains.x, -1, 0), jnp.moveaxis(chains.weight, -1, 0)
    nothing = jnp.zeros_like(rows[0][0])
    (_, mean), means = lax.scan(forward, (nothing, nothing), rows)
    smooth = lax.scan(backward, mean, means, reverse=True)[1]
    smooth = smooth * jnp.moveaxis(chains.scale, -1, 0)
    return like(jnp.moveaxis(smooth, 0, axis), x)


class _Chains(NamedTuple):
    """Chains along the last axis, in units in which x and the metric are about 1.

    Attributes:
        x: The entries, divided by `scale`.
        number: A number for each chain, as it was given.
        weight: The metric, divided by `mass`.
        scale: A power of two for each chain.
        mass: Likewise.
    """

    x: Array
    number: Array
    weight: Array
    scale: Array
    mass: Array


def _chains(x: Array, axis: int, number: Scalar, metric: Array | None) -> _Chains:
    """The array, a number for each chain, and the metric, all with `axis` last."""
    x = raise_precision(x)
    weight = jnp.broadcast_to(1.0 if metric is None else metric, x.shape)
    weight = like(weight.astype(x.dtype), x)
    number = jnp.asarray(number, x.dtype)
    number = jnp.expand_dims(number, tuple(range(x.ndim - number.ndim)))
    x, number, weight = (
        jnp.moveaxis(whole(a, (axis,)), axis, -1) for a in (x, number, weight)
    )
    scale, mass = (_unit_of(a) for a in (x, weight))
    weight = jnp.maximum(weight / mass, jnp.finfo(x.dtype).tiny)
    return _Chains(x / scale, number, weight, scale, mass)


def _unit_of(x: Array) -> Array:
    return power_of_two(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0.0))


def huge(x: Array) -> float:
    """As good as infinite, with room for sums and products."""
    return float(jnp.finfo(x.dtype).max) ** 0.5


class _Cut(NamedTuple):
    """How the chains are divided so far, each array of the shape of the chains.

    Attributes:
        side: −1 where the link to the next entry is cut because the values fall there,
            1 where they rise, 0 where it holds.
        level: The value of the piece that an entry belonged to before the last cuts.
        floor: Values cannot be less than this,
        ceiling: nor more than this.
        is_new: Whether the last round has cut anything: a scalar.
    """

    side: Array
    level: Array
    floor: Array
    ceiling: Array
    is_new: Array


def _fuse(x: Array, weight: Array, drop: Array, rise: Array) -> Array:
    """The solution along the last axis, as stated at the top of this file."""
    if x.size == 0:
        return x
    # What a link passes on to the next entry lies in this tube; at the end it is 0.
    last = jnp.arange(x.shape[-1]) == x.shape[-1] - 1
    low = jnp.where(last, jnp.zeros_like(x), -drop)
    high = jnp.where(last, jnp.zeros_like(x), rise)
    return jnp.where(jnp.isnan(drop + rise), jnp.nan, _divided(x, weight, low, high)[0])


@jax.custom_jvp
def _divided(x: Array, weight: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """The solution, and how the chains are cut into the pieces of equal values."""

    def divide(cut: _Cut) -> _Cut:
        side = cut.side

        def refine(_: Any, about: tuple[Array, Array]) -> tuple[Array, Array]:
            level = jnp.clip(about[0] + about[1], cut.floor, cut.ceiling)
            return level, _means(x - level, weight, low, high, side)

        # The level is kept as a sum: where the metric is large, its rounding would count.
        nothing = jnp.zeros_like(x)
        coarse, fine = lax.fori_loop(0, 2, refine, (nothing, nothing))
        fine = jnp.clip(fine, cut.floor - coarse, cut.ceiling - coarse)
        level = jnp.clip(coarse + fine, cut.floor, cut.ceiling)
        pull = weight * (fine - (x - coarse))
        tube = jnp.where(side > 0, high, low), jnp.where(side < 0, low, high)
        total, *bounds = _running(_then, (pull, *tube), (0.0, -jnp.inf, jnp.inf))
        push = pull + _before(jnp.clip(total, *bounds), 0.0)
        # Computed twice, in two fused loops, it could be rounded to either side.
        push = lax.optimization_barrier(push)
        above = push < tube[0]
        is_decided = (side != 0) | above | (push > tube[1])
        above = _from_next(is_decided, above)  # The others go with their neighbours.
        step = _after(above).astype(jnp.int32) - above.astype(jnp.int32)
        step = jnp.where(side == 0, step, 0)
        return _Cut(
            side + step,
            level,
            jnp.where(above, level, cut.floor),
            jnp.where(above, cut.ceiling, level),
            jnp.any(step != 0),
        )

    start = _Cut(
        jnp.where(low >= high, -1, 0),
        jnp.zeros_like(x),
        jnp.full_like(x, -jnp.inf),
        jnp.full_like(x, jnp.inf),
        jnp.array(True),
    )
    cut = lax.while_loop(lambda cut: cut.is_new, divide, start)
    return cut.level, cut.side


@_divided.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, weight, low, high), (dx, dweight, dlow, dhigh) = primals, tangents
    fused, side = _divided(x, weight, low, high)
    pull = weight * dx + dweight * (x - fused) + _held(dlow, dhigh, side)
    sums = functools.partial(_sums, side=side, transposable=True)
    change = sums(pull) / sums(weight)
    return (fused, side), (change, np.zeros(side.shape, jax.dtypes.float0))


def _then(first: Any, second: Any) -> Any:
    """clip(clip(m + a, b, c) + d, e, f) as one clip(m + ·, ·, ·)."""
    (pull, low, high), (more, floor, ceiling) = first, second
    low, high = (jnp.clip(bound + more, floor, ceiling) for bound in (low, high))
    return pull + more, low, high


def _means(x: Array, weight: Array, low: Array, high: Array, side: Array) -> Array:
    """The level of each piece, at each of its entries."""
    # What is held has a sum of its own, in which it cancels exactly.
    parts = jnp.stack([weight * x, _held(low, high, side), weight])
    pull, held, total = _sums(parts, side)
    return (pull + held) / total


def _held(low: Array, high: Array, side: Array) -> Array:
    """What entries are pulled by through links that are cut, on either side."""
    passed = jnp.where(side < 0, low, jnp.where(side > 0, high, 0.0))
    return passed - _before(passed, 0.0)


def _sums(x: Array, side: Array, transposable: bool = False) -> Array:
    """The sum over each piece, at each of its entries; of several arrays at once."""

    def add(first: Any, second: Any) -> Any:
        starts, total = second
        return first[0] | starts, jnp.where(starts, total, first[1] + total)

    ends = jnp.broadcast_to(side != 0, x.shape)
    parts = _before(ends, True), x
    totals = _running(add, parts, (False, 0.0), transposable=transposable)[1]
    return _from_next(ends, totals, transposable)


def _from_next(is_source: Array, x: Array, transposable: bool = False) -> Array:
    """At each entry, what x is at the next source, which may be the entry itself."""

    def newest(first: Any, second: Any) -> Any:
        is_source, x = second
        return first[0] | is_source, jnp.where(is_source, x, first[1])

    parts = is_source, x
    return _running(newest, parts, (False, 0), reverse=True, transposable=transposable)[1]


def _running(
    join: Any,
    parts: Any,
    nothing: Any,
    *,
    reverse: bool = False,
    transposable: bool = False,
) -> Any:
    """The running totals of an associative operation, along the last axis.

    Args:
        join: The operation, on tuples of arrays.
        parts: What is joined: a tuple of arrays.
        nothing: What changes nothing by being joined to, as numbers.
        reverse: Whether to begin at the end.
        transposable: Whether JAX must be able to transpose it. JAX before 0.10 cannot
            transpose a scan in the conditional that chooses by platform.
    """
    order = slice(None, None, -1) if reverse else slice(None)
    rows = tuple(jnp.moveaxis(part, -1, 0)[order] for part in parts)

    def in_order(*rows: Array) -> Any:
        def add(total: Any, row: Any) -> Any:
            total = join(total, row)
            return total, total

        start = [jnp.full_like(row[0], n) for row, n in zip(rows, nothing, strict=True)]
        return lax.scan(add, tuple(start), rows)[1]

    def in_parallel(*rows: Array) -> Any:
        return tuple(lax.associative_scan(join, rows))

    if transposable:
        totals = in_parallel(*rows)
    else:
        totals = lax.platform_dependent(*rows, cpu=in_order, default=in_parallel)
    return [jnp.moveaxis(total[order], 0, -1) for total in totals]


def _before(x: Array, first: Any) -> Array:
    return jnp.concatenate([jnp.full_like(x[..., :1], first), x[..., :-1]], axis=-1)


def _after(x: Array) -> Array:
    return jnp.concatenate([x[..., 1:], x[..., -1:]], axis=-1)
