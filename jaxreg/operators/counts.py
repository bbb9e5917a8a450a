"""Sets that are not convex: at most so many non-zeros, or singular values that are.

A point is projected on them by keeping what is largest, in any diagonal metric where
entries are counted, in the Euclidean one for the rank of a matrix.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import power_of_two
from jaxreg._groups import Entries, Groups, metric_units
from jaxreg._sharding import Split, along, part_count, part_index, parts_along, whole


def keep_largest(groups: Groups, x: Entries, count: Any, metric: Entries | None) -> Entries:
    """`x` with all but the `count` entries of largest d·x² of each group set to zero.

    Of equal ones the first are kept, and what is NaN is kept. The absolute value to exceed
    is found by bisection of its bits, which are ordered as the numbers are: 31 counts in
    float32, and no sort. Then the first of equal ones are taken, if needed.
    """
    scores = _scores(groups, jax.lax.stop_gradient(x), metric)
    bits, highest = jax.tree.map(_bits, (scores, groups.largest(scores)))

    def number(condition: Callable[..., Array], limit: Array, *entries: Entries) -> Array:
        """How many entries of each group meet a condition that has a limit per group."""
        found = jax.tree.map(condition, *entries, groups.spread(limit))
        return _number_of(groups, found)

    def is_tie_up_to(tie: Array, index: Array, last: Array) -> Array:
        return tie & (index <= last)

    def few_exceed(limit: Array) -> Array:
        return number(jnp.greater, limit, bits) <= count

    none = jnp.full_like(highest, -1)
    limit = _least(few_exceed, none, highest)
    ties = jax.tree.map(jnp.equal, bits, groups.spread(limit))
    missing = count - number(jnp.greater, limit, bits)
    excess = number(jnp.equal, limit, bits) > missing
    indices, size = _indices(groups, x)

    def too_many(last: Array) -> Array:
        return number(is_tie_up_to, last, ties, indices) > missing

    end = jnp.where(excess & (limit > 0), size, 0).astype(jnp.int32)
    last = _least(too_many, none.astype(jnp.int32), end)

    def entry(
        x: Array, bits: Array, tie: Array, index: Array, limit: Array, last: Array
    ) -> Array:
        is_kept = (bits > limit) | (tie & (index < last)) | jnp.isnan(x)
        return jnp.where(is_kept, x, 0.0)

    last = jnp.where(excess, last, np.iinfo(np.int32).max)
    limits = groups.spread(limit), groups.spread(last)
    return jax.tree.map(entry, x, bits, ties, indices, *limits)


def inside_count(groups: Groups, x: Entries, count: Any) -> Array:
    """Whether at most `count` entries of each group are not zero, and none is NaN."""
    number = _number_of(groups, jax.tree.map(lambda x: x != 0, x))
    invalid = _number_of(groups, jax.tree.map(jnp.isnan, x))
    return (number <= count) & (invalid == 0)


def _number_of(groups: Groups, hits: Entries) -> Array:
    """How many entries of each group are true, to compare with a count that is real."""
    total = groups.total(jax.tree.map(lambda hit: hit.astype(int), hits))
    return total.astype(groups.dtype)


def _scores(groups: Groups, x: Entries, metric: Entries | None) -> Entries:
    """√d·|x|/2, in the order of d·x²: of d only the ratios in a group matter."""
    absolutes = jax.tree.map(jnp.abs, x)
    if metric is None:
        return absolutes
    unit, _ = metric_units(groups, metric)
    return jax.tree.map(lambda d, absolute: jnp.sqrt(d) * (absolute / 2), unit, absolutes)


def _bits(x: Array) -> Array:
    kind = jnp.int64 if x.dtype == jnp.float64 else jnp.int32
    return jax.lax.bitcast_convert_type(jnp.where(jnp.isnan(x), np.inf, x), kind)


def _indices(groups: Groups, x: Entries) -> tuple[Entries, int]:
    """A different integer for every entry of all arrays, and how many entries there are."""
    arrays, structure = jax.tree.flatten(x)
    sizes = [
        part.size * part_count(along(split))
        for part, split in zip(arrays, groups.splits, strict=True)
    ]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    numbered = map(_numbered, arrays, starts, groups.splits)
    return jax.tree.unflatten(structure, numbered), sum(sizes)


def _numbered(x: Array, start: int, split: Split | None) -> Array:
    names = [along(split, (i,)) for i in range(x.ndim)]
    lengths = [n * part_count(own) for n, own in zip(x.shape, names, strict=True)]
    flat_index = jnp.full(x.shape, start, jnp.int32)
    for i in range(x.ndim):
        index = jax.lax.broadcasted_iota(jnp.int32, x.shape, i)
        index += x.shape[i] * part_index(names[i])
        flat_index += math.prod(lengths[i + 1 :]) * index
    return flat_index


def _least(holds: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The least integer above `low` at which a monotone condition holds, else `high`."""

    def step(bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = low + (high - low) // 2
        is_held = holds(middle)
        is_open = high - low > 1
        low = jnp.where(is_open & ~is_held, middle, low)
        return low, jnp.where(is_open & is_held, middle, high)

    return jax.lax.while_loop(
        lambda bracket: jnp.any(bracket[1] - bracket[0] > 1), step, (low, high)
    )[1]


def check_n_of_m(n: Any, m: Any, owner: str = "") -> None:
    """Refuse what is not 0 ≤ n ≤ m, in ints.

    Raises:
        TypeError: If n or m is not an int.
        ValueError: If they are not in order.
    """
    for name, value in (("n", n), ("m", m)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{owner}{name} must be an int, got {value!r}.")
    if not (0 <= n <= m and m > 0):
        raise ValueError(
            f"{owner}n must be from 0 to m, and m positive, got n = {n} and m = {m}."
        )


def keep_n_of_m(x: Array, n: int, m: int, axis: int, metric: Array | None) -> Array:
    """`x` with all but the n entries of largest d·x² of each block of m set to zero.

    An entry is kept if fewer than n of its block are ahead of it, so all is done by
    comparing the m entries of a block, without a sort.
    """
    blocks = _blocks(jnp.abs(jax.lax.stop_gradient(x)), m, axis)
    if metric is not None:
        weight = _blocks(metric + jnp.zeros_like(x), m, axis)
        largest = jnp.max(weight, axis=axis % x.ndim + 1, keepdims=True)
        blocks = jnp.sqrt(weight / power_of_two(largest)) * (blocks / 2)
    axis = axis % x.ndim + 1
    mine, other = jnp.expand_dims(blocks, axis + 1), jnp.expand_dims(blocks, axis)
    earlier = jax.lax.broadcasted_iota(jnp.int32, (m, m), 1) < (
        jax.lax.broadcasted_iota(jnp.int32, (m, m), 0)
    )
    before, after = (1,) * axis, (1,) * (x.ndim - axis)
    earlier = earlier.reshape(*before, m, m, *after)
    ahead = jnp.sum((other > mine) | ((other == mine) & earlier), axis=axis + 1)
    is_kept = (ahead < n).reshape(x.shape) | jnp.isnan(x)
    return jnp.where(is_kept, x, 0.0)


def inside_n_of_m(x: Array, n: int, m: int, axis: int) -> Array:
    """For each block of m, whether at most n entries are not zero, and none is NaN."""
    blocks, axis = _blocks(x, m, axis), axis % x.ndim + 1
    return (jnp.sum(blocks != 0, axis=axis) <= n) & ~jnp.any(jnp.isnan(blocks), axis=axis)


def check_blocks(shape: tuple[int, ...], m: int, axis: int) -> None:
    """Refuse an axis that is not there, or that blocks of m do not fill.

    Raises:
        ValueError: If so.
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis must be one of an array of shape {shape}, got {axis}")
    if shape[axis] % m:
        raise ValueError(
            f"the length of axis {axis} must be divisible by m = {m}, got shape {shape}"
        )


def _blocks(x: Array, m: int, axis: int) -> Array:
    """`x` with the axis split in two: the blocks, and the m entries of each."""
    check_blocks(x.shape, m, axis)
    axis %= x.ndim
    if x.shape[axis] // m % parts_along(x, axis):
        x = whole(x, (axis,))
    return x.reshape(*x.shape[:axis], -1, m, *x.shape[axis + 1 :])
