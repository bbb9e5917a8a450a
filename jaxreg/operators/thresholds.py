"""Thresholds: what is small becomes zero, entry by entry or group by group."""

import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._groups import Axis, groups_of, norms
from jaxreg.operators.roots import shrink_norms


def soft_threshold(x: Array, threshold: Scalar) -> Array:
    """Move every entry of `x` towards zero by `threshold`, stopping at zero.

    This is the proximal operator of the L1 norm, entry by entry:

        argmin_z  t·|z| + ½(z − x)²  =  sign(x)·max(|x| − t, 0)

    It is computed as `x` minus its projection onto the interval [−t, t], which gives
    +0.0, never −0.0, at the entries it removes.

    Args:
        x: Array of any shape.
        threshold: The non-negative `t` above: a scalar, or an array that broadcasts
            against `x`. Infinity removes the entry.

    Returns:
        Array of the shape of `x`, exactly zero wherever `|x| <= threshold`.

    Example:
        >>> soft_threshold(jnp.array([-3.0, -0.5, 0.0, 2.0]), 1.0)
        Array([-2.,  0.,  0.,  1.], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.5.2.
    """
    return x - jnp.minimum(jnp.maximum(x, -threshold), threshold)


def abs_zero_subgradient(x: Array) -> Array:
    """|x|, entry by entry, with the subgradient 0 at 0.

    `jax.grad(jnp.abs)(0.0)` is 1, which pushes a weight that is exactly zero off zero;
    this absolute value leaves it there.

    Args:
        x: Real array of any shape.

    Returns:
        Array of the shape and dtype of `x`.

    Raises:
        TypeError: If `x` is complex.

    Example:
        >>> float(jax.grad(abs_zero_subgradient)(0.0)), float(jax.grad(jnp.abs)(0.0))
        (0.0, 1.0)
    """
    if jnp.iscomplexobj(x):
        raise TypeError(
            f"abs_zero_subgradient is for real arrays, got dtype {jnp.result_type(x)}."
        )
    return jnp.where(x == 0, 0.0, jnp.abs(x))


def hard_threshold(x: Array, threshold: Scalar) -> Array:
    """Set every entry of `x` to zero whose absolute value is at most `threshold`.

        argmin_z  ½t²·1[z ≠ 0] + ½(z − x)²  =  x where |x| > t, else 0

    Mind the square: the proximal operator of `strength · #{w ≠ 0}` has the threshold
    √(2·step·strength), not step·strength.

    Args:
        x: Array of any shape.
        threshold: The non-negative `t`: a scalar, or an array that broadcasts to `x`.

    Returns:
        Array of the shape of `x`, exactly zero wherever `|x| <= threshold`.

    Example:
        >>> hard_threshold(jnp.array([-3.0, -0.5, 0.0, 2.0]), 1.0)
        Array([-3.,  0.,  0.,  2.], dtype=float32)

    References:
        Blumensath and Davies, *Iterative thresholding for sparse approximations* (2008),
        section 2.
    """
    return jnp.where(jnp.abs(x) <= threshold, 0.0, x)


def firm_threshold(x: Array, threshold: Scalar, keep: Scalar) -> Array:
    """Zero below `threshold`, unchanged above `keep`, and a straight line between.

        0                                            |x| ≤ threshold
        sign(x)·keep·(|x| − threshold)/(keep − threshold)    |x| ≤ keep
        x                                            beyond

    This is the proximal operator of `MCP` for steps below its gamma.

    Args:
        x: Array of any shape.
        threshold: Non-negative scalar or array that broadcasts to `x`.
        keep: Likewise; larger than `threshold`.

    Returns:
        Array of the shape of `x`.

    Example:
        >>> firm_threshold(jnp.array([0.9, 1.5, -5.0]), 1.0, 2.0)
        Array([ 0.,  1., -5.], dtype=float32)

    References:
        Gao and Bruce, *WaveShrink with firm shrinkage* (1997), section 2.
    """
    width = keep - threshold
    is_line = (width > 0) & (width < jnp.inf)
    slope = jnp.where(is_line, keep / jnp.where(is_line, width, 1.0), 1.0)
    return jnp.where(jnp.abs(x) <= keep, slope * soft_threshold(x, threshold), x)


def group_norm(x: Array, group_axis: Axis = -1) -> Array:
    """The Euclidean norm of each group of `x`, with the gradient 0 at a zero group.

        √Σ x_g²

    The gradient of `jnp.linalg.norm` at zero is NaN.

    Args:
        x: Array of any shape.
        group_axis: The axis, or axes, that number the groups; the norms run over the
            others.

    Returns:
        Array that broadcasts against `x`: of length 1 along all axes but `group_axis`.

    Example:
        >>> group_norm(jnp.array([[3.0, 0.0], [4.0, 0.0]]))
        Array([[5., 0.]], dtype=float32)
        >>> jax.grad(lambda x: jnp.sum(group_norm(x)))(jnp.zeros((1, 2)))
        Array([[0., 0.]], dtype=float32)
    """
    groups = groups_of(x, group_axis, None)
    return groups.spread(norms(groups, x))


def group_soft_threshold(
    x: Array, threshold: Scalar, group_axis: Axis = -1, metric: Array | None = None
) -> Array:
    """Move every group of `x` towards zero by `threshold` in length, stopping at zero.

    This is the proximal operator of the sum of the groups' Euclidean norms:

        argmin_z  Σ_g t_g·‖z_g‖₂ + ½·Σ dᵢ(zᵢ − xᵢ)²

    Without a metric (d = 1) that is x_g·max(1 − t/‖x_g‖, 0). In a diagonal metric the
    group is zero if and only if ‖d·x_g‖ ≤ t; otherwise zᵢ = dᵢxᵢθ/(dᵢθ + t), where
    θ = ‖z_g‖ is found by Newton's method, to the precision of the dtype.

    Args:
        x: Array of any shape.
        threshold: The non-negative `t`: a scalar, or an array that broadcasts against
            `x`, of length 1 along all axes but `group_axis`.
        group_axis: The axis, or axes, that number the groups.
        metric: The non-negative d, of the shape of `x`; `None` for ones.

    Returns:
        Array of the shape of `x`, exactly zero (+0.0) in the groups that are removed.

    Raises:
        ValueError: If `x` has no such axis, or `threshold` differs within a group.

    Example:
        >>> group_soft_threshold(jnp.array([[3.0, 0.5], [4.0, 0.5]]), 1.0)
        Array([[2.4, 0. ],
               [3.2, 0. ]], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.5.1; in a metric, Yun,
        Lozano and Yang, *Adaptive proximal gradient methods for structured neural
        networks* (2021), section 4.
    """
    groups = groups_of(x, group_axis, None)
    if metric is not None:
        metric = jnp.broadcast_to(jnp.asarray(metric, x.dtype), x.shape)
    return shrink_norms(groups, x, groups.numbers(threshold), metric)
