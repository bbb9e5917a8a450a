"""Projections: the nearest point of a set, group by group.

`optax.projections` has more sets, for whole pytrees; these are for groups of an array, in
a diagonal metric, and idempotent: what is in the set is returned as it is, bit by bit.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar, check_numbers
from jaxreg._dtypes import raise_precision
from jaxreg._groups import Axis, groups_of
from jaxreg.operators.balls import onto_l1_ball, onto_l2_ball, onto_simplex, rounding
from jaxreg.operators.counts import check_n_of_m, keep_largest, keep_n_of_m


def project_l2_ball(
    x: Array, radius: Scalar = 1.0, group_axis: Axis = (), metric: Array | None = None
) -> Array:
    """The nearest point with groups no longer than `radius`.

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   where ‖z_g‖₂ ≤ radius

    Without a metric (d = 1) long groups are multiplied by radius/‖x_g‖. In a diagonal
    metric zᵢ = dᵢxᵢ/(dᵢ + μ), with μ found by Newton's method, to the precision of the
    dtype.

    Args:
        x: Array of any shape.
        radius: A non-negative scalar, or an array that broadcasts against `x`, of length
            1 along all axes but `group_axis`.
        group_axis: The axis, or axes, that number the groups; `()` for all of `x` as one.
        metric: The positive d, which broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape and dtype of `x`. Groups that are short enough, but for
        rounding, are returned as they are. Its derivatives are finite everywhere.

    Raises:
        TypeError: If `radius` is not a real number.
        ValueError: If a concrete `radius` is negative or NaN, or `x` has no such axis.

    Example:
        >>> project_l2_ball(jnp.array([3.0, 4.0]), 1.0)
        Array([0.6, 0.8], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.5.1.
    """
    check_numbers("radius", radius)
    return _on_groups(onto_l2_ball, x, radius, group_axis, metric)


def project_l1_ball(
    x: Array, radius: Scalar = 1.0, group_axis: Axis = (), metric: Array | None = None
) -> Array:
    """The nearest point with groups whose magnitudes add up to at most `radius`.

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   where ‖z_g‖₁ ≤ radius

    It is the soft-thresholding sign(xᵢ)·max(|xᵢ| − t/dᵢ, 0), with the t that makes the sum
    right. That t is found from tangents, without sorting.

    Args:
        x: Array of any shape.
        radius: A non-negative scalar, or an array that broadcasts against `x`, of length
            1 along all axes but `group_axis`.
        group_axis: The axis, or axes, that number the groups; `()` for all of `x` as one.
        metric: The positive d, which broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape and dtype of `x`, with +0.0 for what is removed. Groups that
        are in the ball, but for rounding, are returned as they are.

    Raises:
        TypeError: If `radius` is not a real number.
        ValueError: If a concrete `radius` is negative or NaN, or `x` has no such axis.

    Example:
        >>> project_l1_ball(jnp.array([3.0, -2.0, 0.5]), 2.0)
        Array([ 1.5, -0.5,  0. ], dtype=float32)

    References:
        Duchi, Shalev-Shwartz, Singer and Chandra, *Efficient projections onto the
        l1-ball for learning in high dimensions* (2008), section 4.
    """
    check_numbers("radius", radius)
    return _on_groups(onto_l1_ball, x, radius, group_axis, metric)


def project_simplex(
    x: Array, total: Scalar = 1.0, group_axis: Axis = (), metric: Array | None = None
) -> Array:
    """The nearest point with non-negative groups that add up to `total`.

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   where z_g ≥ 0 and Σ z_g = total

    It is max(xᵢ − t/dᵢ, 0), with the t that makes the sum right. That t is found from
    tangents, without sorting. Unlike a softmax it gives exact zeros.

    Args:
        x: Array of any shape.
        total: A non-negative scalar, or an array that broadcasts against `x`, of length
            1 along all axes but `group_axis`.
        group_axis: The axis, or axes, that number the groups; `()` for all of `x` as one.
        metric: The positive d, which broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape and dtype of `x`. Groups that are in the simplex, but for
        rounding, are returned as they are.

    Raises:
        TypeError: If `total` is not a real number.
        ValueError: If a concrete `total` is negative or NaN, or `x` has no such axis.

    Example:
        >>> project_simplex(jnp.array([0.75, 0.5, -3.0]))
        Array([0.625, 0.375, 0.   ], dtype=float32)

    References:
        Duchi, Shalev-Shwartz, Singer and Chandra, *Efficient projections onto the
        l1-ball for learning in high dimensions* (2008), section 3; Martins and Astudillo,
        *From softmax to sparsemax* (2016), section 2.
    """
    check_numbers("total", total)
    return _on_groups(onto_simplex, x, total, group_axis, metric)


def project_cardinality(
    x: Array, count: Scalar, group_axis: Axis = (), metric: Array | None = None
) -> Array:
    """The nearest point with groups of at most `count` non-zeros: the largest are kept.

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   where #{z_g ≠ 0} ≤ count

    Of entries with equal d·x² the first are kept. The count may be traced, and differ
    between groups; nothing is sorted.

    Args:
        x: Array of any shape.
        count: A non-negative scalar, or an array that broadcasts against `x`, of length
            1 along all axes but `group_axis`.
        group_axis: The axis, or axes, that number the groups; `()` for all of `x` as one.
        metric: The positive d, which broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape and dtype of `x`.

    Raises:
        TypeError: If `count` is not a real number.
        ValueError: If a concrete `count` is negative or NaN, or `x` has no such axis.

    Example:
        >>> project_cardinality(jnp.array([3.0, -2.0, 0.5]), 1)
        Array([3., 0., 0.], dtype=float32)

    References:
        Blumensath and Davies, *Iterative thresholding for sparse approximations* (2008),
        section 3.
    """
    check_numbers("count", count)
    return _on_groups(_kept, x, count, group_axis, metric)


def project_n_of_m(
    x: Array, n: int = 2, m: int = 4, axis: int = -1, metric: Array | None = None
) -> Array:
    """The nearest point with at most `n` non-zeros in each block of `m` entries.

        argmin_z  ½·Σ dᵢ(zᵢ − xᵢ)²   where #{z_b ≠ 0} ≤ n

    A block is m consecutive entries along an axis. The n entries of largest d·x² are
    kept, of equal ones the first.

    Where the axis is sharded and a device has no whole blocks, it is gathered on every one.

    Args:
        x: Array of at least one axis.
        n: How many entries of a block may be non-zero.
        m: The length of a block, which must divide the length of the axis.
        axis: The axis along which blocks lie.
        metric: The positive d, which broadcasts to `x`; `None` for ones.

    Returns:
        Array of the shape and dtype of `x`.

    Raises:
        TypeError: If n or m is not an int.
        ValueError: If not 0 ≤ n ≤ m, `x` has no such axis, or m does not divide it.

    Example:
        >>> project_n_of_m(jnp.array([0.1, -3.0, 2.0, 1.0]))
        Array([ 0., -3.,  2.,  0.], dtype=float32)

    References:
        Mishra and others, *Accelerating sparse deep neural networks* (2021), section 3.
    """
    check_n_of_m(n, m)
    return _in_blocks(x, n, m, axis, metric)


@functools.partial(jax.jit, static_argnames=("n", "m", "axis"))
def _in_blocks(x: Any, n: int, m: int, axis: int, metric: Any) -> Array:
    moved = keep_n_of_m(raise_precision(x), n, m, axis, metric)
    return moved.astype(jnp.result_type(x, 0.0))


def _kept(
    groups: Any, x: Array, count: Any, metric: Array | None, tolerance: float
) -> Array:
    del tolerance
    return keep_largest(groups, x, count, metric)


@functools.partial(jax.jit, static_argnames=("project", "group_axis"))
def _on_groups(
    project: Callable[..., Array], x: Any, limit: Any, group_axis: Axis, metric: Any
) -> Array:
    raised = raise_precision(x)
    groups = groups_of(raised, group_axis, None)
    if metric is not None:
        metric = jnp.broadcast_to(jnp.asarray(metric, raised.dtype), raised.shape)
    moved = project(groups, raised, groups.numbers(limit), metric, rounding(x))
    return moved.astype(jnp.result_type(x, 0.0))
