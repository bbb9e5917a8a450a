"""Matrices: what acts on their singular values, with derivatives that are finite.

The derivatives of a singular value decomposition do not exist where singular values are
equal, as those of an orthogonal matrix are, or zero. Those of the functions here do: they
are taken of the function as a whole, by divided differences of what it does to the
singular values (Daleckii and Krein), where the equal ones cancel.

Matrices are the last two axes; any axes before them number a stack of matrices. A matrix
that is sharded is gathered on every device, and a result is sharded as what it was made of.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import power_of_two
from jaxreg._checks import Scalar, check_numbers
from jaxreg._dtypes import raise_precision
from jaxreg._sharding import like, whole


def singular_value_threshold(x: Array, threshold: Scalar) -> Array:
    """Move every singular value towards zero by `threshold`, stopping at zero.

    This is the proximal operator of the nuclear norm:

        argmin_Z  t·Σ σᵢ(Z) + ½·‖Z − X‖²  =  U·max(σ − t, 0)·Vᵀ

    Its derivatives, forward and reverse, are finite and right at repeated singular
    values and at zero, where those of `jnp.linalg.svd` are NaN.

    A sharded matrix is gathered on every device.

    Args:
        x: Array of one matrix, or of a stack of them.
        threshold: The non-negative `t` above: a scalar, or an array that broadcasts
            against `x`, of length 1 along the last two axes. Infinity removes all.

    Returns:
        Array of the shape of `x`, at least float32; +0.0 if every singular value is
        removed.

    Raises:
        TypeError: If `x` is complex.

    Example:
        >>> singular_value_threshold(jnp.array([[3.0, 0.0], [0.0, 0.5]]), 1.0)
        Array([[2., 0.],
               [0., 0.]], dtype=float32)

    References:
        Cai, Candès and Shen, *A singular value thresholding algorithm for matrix
        completion* (2010), section 2.1.
    """
    matrices = _real(x)
    threshold = jnp.asarray(threshold, matrices.dtype)
    threshold = jnp.broadcast_to(threshold, (*matrices.shape[:-2], 1, 1))
    return like(_thresholded(matrices, threshold[..., 0]), x)


def nuclear_norm(x: Array) -> Array:
    """The sum of the singular values of each matrix.

    Its gradient is U·Vᵀ over the singular values that are not zero (to rounding), so it
    is 0 at the zero matrix; the second derivatives are finite as well.

    A sharded matrix is gathered on every device.

    Args:
        x: Array of one matrix, or of a stack of them.

    Returns:
        Array of the leading shape of `x`: a scalar for one matrix.

    Raises:
        TypeError: If `x` is complex.

    Example:
        >>> nuclear_norm(jnp.array([[3.0, 0.0], [0.0, -0.5]]))
        Array(3.5, dtype=float32)
        >>> jax.grad(nuclear_norm)(jnp.array([[3.0, 0.0], [0.0, 0.0]]))
        Array([[1., 0.],
               [0., 0.]], dtype=float32)

    References:
        Watson, *Characterization of the subdifferential of some matrix norms* (1992),
        section 2.
    """
    return _nuclear_norm(_real(x))


def project_rank(x: Array, rank: Scalar) -> Array:
    """The nearest matrix of a rank no higher than `rank`: the largest singular values.

        argmin_Z  ½·‖Z − X‖²   where rank(Z) ≤ rank

    Its derivatives are finite, also where equal singular values are parted.

    A sharded matrix is gathered on every device.

    Args:
        x: Array of one matrix, or of a stack of them.
        rank: A non-negative scalar, or an array that broadcasts to the leading axes. It
            may be traced.

    Returns:
        Array of the shape of `x`, at least float32. Matrices of such a rank are returned
        as they are.

    Raises:
        TypeError: If `x` is complex, or `rank` is not a real number.
        ValueError: If a concrete `rank` is negative or NaN.

    Example:
        >>> project_rank(jnp.array([[3.0, 0.0], [0.0, 2.0]]), 1)
        Array([[3., 0.],
               [0., 0.]], dtype=float32)

    References:
        Eckart and Young, *The approximation of one matrix by another of lower rank*
        (1936).
    """
    check_numbers("rank", rank)
    return like(truncated(_real(x), jnp.asarray(rank)[..., None], 0.0), x)


def singular_values(x: Array) -> Array:
    """The singular values of each matrix, the largest first."""
    return jnp.linalg.svd(_real(x), compute_uv=False)


def _real(x: Array) -> Array:
    if jnp.iscomplexobj(x):
        raise TypeError(
            f"Singular values are for real arrays here, got dtype {jnp.result_type(x)}."
        )
    return whole(raise_precision(x), (-2, -1))


def _factors(x: Array) -> tuple[Array, Array, Array]:
    """U, σ, Vᵀ with as many singular values as the shorter axis is long."""
    u, sigma, vt = jnp.linalg.svd(x, full_matrices=False)
    return u, sigma, vt


@jax.custom_jvp
def _thresholded(x: Array, threshold: Array) -> Array:
    u, sigma, vt = _factors(x)
    return _positive_zeros(_product(u, jnp.maximum(sigma - threshold, 0.0), vt))


@_thresholded.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, threshold), (dx, dt) = primals, tangents
    u, sigma, vt = _factors(x)
    is_kept = sigma > threshold
    left = jnp.where(is_kept, sigma - jnp.where(is_kept, threshold, 0.0), 0.0)
    change = _differential((u, sigma, vt), dx, left, is_kept, slope=1.0)
    less = _product(u, jnp.where(is_kept, dt, 0.0), vt)
    return _thresholded(x, threshold), change - less


@jax.custom_jvp
def _nuclear_norm(x: Array) -> Array:
    return jnp.sum(singular_values(x), axis=-1)


@_nuclear_norm.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return _nuclear_norm(x), jnp.sum(_directions(x) * dx, axis=(-2, -1))


@jax.custom_jvp
def _directions(x: Array) -> Array:
    """U·Vᵀ over the singular values that are not zero, to rounding."""
    u, sigma, vt = _factors(x)
    return _product(u, _are_nonzero(x, sigma).astype(x.dtype), vt)


@_directions.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    u, sigma, vt = _factors(x)
    is_kept = _are_nonzero(x, sigma)
    ones = is_kept.astype(x.dtype)
    change = _differential((u, sigma, vt), dx, ones, is_kept, slope=0.0)
    return _directions(x), change


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def truncated(x: Array, rank: Scalar, tolerance: float) -> Array:
    """`x` with its first `rank` singular values; as it is if the others are zero.

    They count as zero up to `tolerance`, relative to the norm of the matrix.
    """
    if x.size == 0:
        return x
    u, sigma, vt = _factors(x)
    is_kept, is_inside = _first(sigma, rank, tolerance)
    moved = _positive_zeros(_product(u, jnp.where(is_kept, sigma, 0.0), vt))
    return jnp.where(is_inside[..., None], x, moved)


@truncated.defjvp
def _(tolerance: float, primals: Any, tangents: Any) -> Any:
    (x, rank), (dx, _) = primals, tangents
    if x.size == 0:
        return x, dx
    u, sigma, vt = _factors(x)
    is_kept, is_inside = _first(sigma, rank, tolerance)
    kept = jnp.where(is_kept, sigma, 0.0)
    change = _differential((u, sigma, vt), dx, kept, is_kept, slope=1.0)
    return truncated(x, rank, tolerance), jnp.where(is_inside[..., None], dx, change)


def has_rank(x: Array, rank: Scalar, tolerance: float) -> Array:
    """Whether singular values beyond the first `rank` are zero, as in `truncated`."""
    return _first(singular_values(x), rank, tolerance)[1][..., 0]


def _first(sigma: Array, rank: Scalar, tolerance: float) -> tuple[Array, Array]:
    """Which singular values are the first `rank`, and whether the others are zero."""
    order = jnp.arange(sigma.shape[-1], dtype=jnp.float32)
    rank = jnp.asarray(rank, jnp.float32)
    is_kept = jnp.broadcast_to(order < rank, sigma.shape)
    sigma = sigma / power_of_two(jnp.max(sigma, axis=-1, keepdims=True, initial=0.0))
    norm = jnp.sqrt(jnp.sum(jnp.square(sigma), axis=-1, keepdims=True))
    rest = jnp.where(is_kept, 0.0, sigma)
    return is_kept, jnp.max(rest, axis=-1, keepdims=True, initial=0.0) <= tolerance * norm


def _are_nonzero(x: Array, sigma: Array) -> Array:
    rounding = max(x.shape[-2:]) * jnp.finfo(x.dtype).eps
    return sigma > rounding * sigma[..., :1]


def _product(u: Array, sigma: Array, vt: Array) -> Array:
    return dot(u * sigma[..., None, :], vt)


def dot(a: Array, b: Array) -> Array:
    """The matrix product, in full precision also where hardware would take less."""
    return jnp.matmul(a, b, precision="highest")


def _positive_zeros(x: Array) -> Array:
    return jnp.where(x == 0, 0.0, x)


def _differential(
    factors: tuple[Array, Array, Array], dx: Array, f: Array, is_kept: Array, slope: float
) -> Array:
    """The derivative of U·f(σ)·Vᵀ along dx, for an f that is 0 where σ is not kept.

    Args:
        factors: U, σ, Vᵀ.
        dx: The direction.
        f: What becomes of each singular value: linear where it is kept, otherwise 0.
        is_kept: Which are kept: the first ones.
        slope: That of f where σ is kept.

    Returns:
        Array of the shape of `dx`.
    """
    u, sigma, vt = factors
    left, right = dot(u.mT, dx), dot(dx, vt.mT)
    inner = dot(left, vt.mT)
    rows, columns = sigma[..., :, None], sigma[..., None, :]
    f_rows, f_columns = f[..., :, None], f[..., None, :]
    both = is_kept[..., :, None] & is_kept[..., None, :]
    some = is_kept[..., :, None] | is_kept[..., None, :]
    parted = jnp.where(some & ~both, rows - columns, 0.0)
    even = jnp.where(some, _ratio(f_rows - f_columns, parted, slope), 0.0)
    odd = jnp.where(some, _ratio(f_rows + f_columns, rows + columns, slope), 0.0)
    inner_change = (even * (inner + inner.mT) + odd * (inner - inner.mT)) / 2
    # What dx adds outside of the columns of U, or of V: one of them is none.
    ratio = jnp.where(is_kept, _ratio(f, sigma, slope), 0.0)
    outer_left = (right - dot(u, inner)) * ratio[..., None, :]
    outer_right = ratio[..., :, None] * (left - dot(inner, vt))
    return dot(dot(u, inner_change) + outer_left, vt) + dot(u, outer_right)


def _ratio(change: Array, by: Array, otherwise: float) -> Array:
    """A divided difference, or its limit where there is nothing to divide by."""
    return jnp.where(by == 0, otherwise, change / jnp.where(by == 0, 1.0, by))
