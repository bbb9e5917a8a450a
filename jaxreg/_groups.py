"""Groups of entries, and sums over them.

Groups are numbered by axes of an array, so a sum over a group is a reduction over the
other axes: nothing is reshaped, and sharded arrays stay as they are. A group can reach
over several arrays; the formulas then take a tuple of arrays for one, since they are
written with `jax.tree.map`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import power_of_two
from jaxreg._dtypes import compute_dtype
from jaxreg._sharding import Split, along, largest, part_count, total, whole

Axis = int | tuple[int, ...]
"""The axis, or the axes, that number the groups. `()`: the whole array is one group."""

Labels = Sequence[int] | Array | np.ndarray
"""An integer for each index of the numbering axis: equal ones make one group."""

Entries = Any
"""An array, or a tuple of arrays whose groups are joined."""


class Groups(NamedTuple):
    """Which entries of an array, or of a tuple of arrays, belong together.

    Numbers per group are arrays of the shape `shape`, or broadcast to it.

    Attributes:
        axes: For each array, the axes that number the groups, ascending.
        ndims: For each array, its number of axes.
        shape: How many groups there are, along each numbering axis.
        sizes: Number of entries of each group.
        dtype: That of the arrays.
        labels: For each array, the number of the group of each index of its one numbering
            axis; `None` if every index is a group.
        splits: For each array, how it is split between devices.
    """

    axes: tuple[tuple[int, ...], ...]
    ndims: tuple[int, ...]
    shape: tuple[int, ...]
    sizes: Any
    dtype: Any
    labels: tuple[np.ndarray, ...] | None
    splits: tuple[Split | None, ...]

    def total(self, x: Entries) -> Array:
        """The sum over each group."""

        def add(array: Array, axis: tuple[int, ...], split: Split | None) -> Array:
            return total(jnp.sum(array, axis=axis), along(split, axis))

        return self._reduced(add, x, sum, jax.ops.segment_sum)

    def largest(self, x: Entries, least: float = 0.0) -> Array:
        """The largest entry of each group, where all are at least `least`."""

        def most(array: Array, axis: tuple[int, ...], split: Split | None) -> Array:
            top = jnp.max(array, axis=axis, initial=least)
            names = along(split, axis)
            if not names:
                return top
            ties = jnp.sum(array == jnp.expand_dims(top, axis), axis=axis)
            return largest(top, ties, names)

        return self._reduced(most, x, _pairwise_maximum, jax.ops.segment_max)

    def spread(self, numbers: Any) -> Entries:
        """Numbers per group, for each array in a shape that broadcasts to it."""
        numbers = jnp.broadcast_to(numbers, self.shape)
        parts = tuple(
            jnp.expand_dims(own, _others(axes, ndim))
            for own, axes, ndim in zip(
                self._of_indices(numbers), self.axes, self.ndims, strict=True
            )
        )
        return parts[0] if len(parts) == 1 else parts

    def numbers(self, strength: Any) -> Any:
        """A strength that broadcasts to the (first) array, as numbers per group."""
        if np.ndim(strength) == 0:
            return strength
        axes, ndim = self.axes[0], self.ndims[0]
        missing = ndim - np.ndim(strength)
        numbers = jnp.expand_dims(jnp.asarray(strength), tuple(range(missing)))
        numbers = jnp.squeeze(numbers, _others(axes, ndim))
        if self.labels is None or numbers.size == 1:
            return numbers
        first = np.unique(self.labels[0], return_index=True)[1]
        return jnp.take(whole(numbers, (0,)), first, axis=0)

    def _of_indices(self, numbers: Array) -> list[Array]:
        """For each array, the numbers of the groups that its indices belong to."""
        if self.labels is None:
            return [numbers] * len(self.axes)
        return [jnp.take(numbers, labels, axis=0) for labels in self.labels]

    def _reduced(
        self, reduce: Any, x: Entries, combine: Callable[[Any], Any], segment: Any
    ) -> Array:
        parts = jax.tree.leaves(x)
        reduced = [
            reduce(part, _others(axes, part.ndim), split)
            for part, axes, split in zip(parts, self.axes, self.splits, strict=True)
        ]
        if self.labels is not None:
            reduced = [
                segment(whole(part, (0,)), jnp.asarray(own), num_segments=self.shape[0])
                for part, own in zip(reduced, self.labels, strict=True)
            ]
        return combine(reduced)


def _pairwise_maximum(parts: Sequence[Array]) -> Array:
    first, *others = parts
    for other in others:
        first = jnp.maximum(first, other)
    return first


def _others(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if i not in axes)


def numbering_axes(group_axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that number the groups of an array with `ndim` axes, ascending.

    Raises:
        ValueError: If the array has no such axis, or one is named twice.
    """
    axes = (group_axis,) if isinstance(group_axis, int) else group_axis
    if ndim == 0 and len(axes) < 2:  # A number is a group of its own.
        return ()
    if not all(-ndim <= i < ndim for i in axes):
        raise ValueError(
            f"group_axis must be axes of the array, got {group_axis} for {ndim} axes"
        )
    kept = sorted({i % ndim for i in axes})
    if len(kept) < len(axes):
        raise ValueError(
            f"group_axis must name each axis once, got {group_axis} for {ndim} axes"
        )
    return tuple(kept)


def groups_of(x: Array, group_axis: Axis, labels: Labels | None) -> Groups:
    """The groups of one array; see `joined_groups`."""
    return joined_groups((x,), (group_axis,), labels, (None,))


def joined_groups(
    arrays: Sequence[Array],
    group_axes: Sequence[Axis],
    labels: Labels | Sequence[Labels] | None,
    splits: tuple[Split | None, ...],
) -> Groups:
    """The groups of several arrays: group i is everything at index i of each of them.

    Args:
        arrays: The arrays.
        group_axes: What numbers the groups of each.
        labels: An integer for each index of the one numbering axis: equal ones belong
            to the same group. For arrays that have different ones, a tuple of labels for
            each.
        splits: For each array, how it is split between devices; `None` if it is not.

    Returns:
        The groups.

    Raises:
        ValueError: If an axis or `labels` do not fit the arrays, or these do not have
            the same groups.
    """
    axes = tuple(
        numbering_axes(axis, x.ndim) for axis, x in zip(group_axes, arrays, strict=True)
    )
    shapes = [tuple(x.shape[i] for i in kept) for x, kept in zip(arrays, axes, strict=True)]
    has_own = labels is not None and len(labels) > 0 and np.ndim(labels[0]) > 0
    if len(set(shapes)) > 1 and not has_own:
        raise ValueError(
            "joined arrays must have the same number of groups, got "
            + " and ".join(map(str, shapes))
        )
    sizes = [
        _size(x, _others(kept, x.ndim), split)
        for x, kept, split in zip(arrays, axes, splits, strict=True)
    ]
    ndims, dtype = tuple(x.ndim for x in arrays), compute_dtype(*arrays)
    if labels is None:
        return Groups(axes, ndims, shapes[0], sum(sizes), dtype, None, splits)
    of_arrays = list(labels) if has_own else [labels] * len(arrays)
    for shape, own in zip(shapes, of_arrays, strict=True):
        if shape != (len(own),):
            raise ValueError(
                "labels must have one entry for each index of the one axis that numbers "
                f"the groups, got {len(own)} for the shape {shape}"
            )
    names = np.unique(np.concatenate([np.asarray(own) for own in of_arrays]))
    numbers = tuple(np.searchsorted(names, np.asarray(own)) for own in of_arrays)
    size = sum(
        np.bincount(own, minlength=len(names)) * n
        for own, n in zip(numbers, sizes, strict=True)
    )
    return Groups(axes, ndims, (len(names),), size, dtype, numbers, splits)


def _size(x: Array, axes: tuple[int, ...], split: Split | None) -> int:
    return math.prod(x.shape[i] for i in axes) * part_count(along(split, axes))


def units(groups: Groups, x: Entries) -> tuple[Entries, Array]:
    """Factors of x = scale · unit, where the largest entry of a group of `unit` is 1 to 2.

    The scales are powers of two, so nothing is rounded, and constants to derivatives.
    """
    scale = power_of_two(groups.largest(jax.tree.map(jnp.abs, jax.lax.stop_gradient(x))))
    return jax.tree.map(jnp.divide, x, groups.spread(scale)), scale


def metric_units(groups: Groups, metric: Entries) -> tuple[Entries, Array]:
    """As `units`, for a positive metric, whose entries stay above zero."""
    unit, scale = units(groups, metric)
    return jax.tree.map(lambda d: jnp.maximum(d, jnp.finfo(d.dtype).tiny), unit), scale


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def norms(groups: Groups, x: Entries) -> Array:
    """The Euclidean norm of each group, with gradient 0 at a group of zeros."""
    unit, scale = units(groups, x)
    return scale * unit_norms(groups, unit)


@norms.defjvp
def _norms_jvp(groups: Groups, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """Along the direction of each group, which no scale makes too large or too small."""
    (x,), (change,) = primals, tangents
    unit, scale = units(groups, x)
    length = unit_norms(groups, unit)
    spread = groups.spread(jnp.where(length == 0, 1.0, length))
    directions = jax.tree.map(jnp.divide, unit, spread)

    def along(x: Entries) -> Array:
        return groups.total(jax.tree.map(jnp.multiply, directions, x))

    # Of a sum over devices, which has derivatives of its own.
    return scale * length, jax.jvp(along, (x,), (change,))[1]


def unit_norms(groups: Groups, unit: Entries) -> Array:
    """The norms where no square is too large or too small, as in what `units` gives."""
    squares = groups.total(jax.tree.map(jnp.square, unit))
    is_zero = squares == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def scaled(groups: Groups, x: Entries, factor: Array, removed: Array) -> Entries:
    """`x` times a factor per group, and +0.0 where a group is removed."""
    return jax.tree.map(
        lambda x, factor, removed: jnp.where(removed, 0.0, x * factor),
        x,
        groups.spread(factor),
        groups.spread(removed),
    )
