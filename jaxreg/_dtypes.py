"""The dtypes that formulas are computed in, and rounding to low precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

ROUNDING = 1e-13
"""A difference of float64 numbers, relative to them, below which it is rounding."""

_PRECISE = np.dtype(np.float32), np.dtype(np.float64)


def compute_dtype(*values: Any) -> np.dtype:
    """The dtype for mathematics on `values`: theirs, but at least float32."""
    return promoted(promoted(*values), np.dtype(np.float32))


def promoted(*values: Any) -> np.dtype:
    """The dtype that arrays or dtypes promote to; on purpose, also in JAX's strict mode.

    float8 and float4, which JAX promotes to no other dtype, count as bfloat16 beside
    others: it has all their numbers.
    """
    if len({getattr(value, "dtype", value) for value in values}) > 1:
        values = tuple(jnp.bfloat16 if is_tiny(value) else value for value in values)
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*values)


def is_tiny(value: Any) -> bool:
    """Whether an array or a dtype has floating-point numbers of less than 16 bits."""
    dtype = getattr(value, "dtype", value)
    is_float = isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, jnp.floating)
    return is_float and jnp.finfo(dtype).bits < 16


def raise_precision(x: Any) -> Array:
    """`x` as an array of at least float32."""
    if isinstance(x, Array) and x.dtype in _PRECISE and not x.weak_type:
        return x  # Of most parameters, and looked at many times in a trace.
    return jnp.asarray(x, compute_dtype(x))


def spacing(x: Array, dtype: np.dtype) -> Array:
    """How far apart the numbers of a low-precision `dtype` are around each of `x`.

    Args:
        x: A float32 array.
        dtype: A floating-point dtype narrower than float32.

    Returns:
        Powers of two, of the shape of `x`; at least 2⁻¹⁰⁰, so that nothing is subnormal.
    """
    info = jnp.finfo(dtype)
    smallest = max(float(info.tiny), 2.0**-100 / float(info.eps))
    return jnp.maximum(leading_bit(x), smallest) * float(info.eps)


def leading_bit(x: Array) -> Array:
    """2^⌊log₂|x|⌋ for float32 or float64; 0 at zeros and subnormals, ∞ if not finite."""
    bits, mask = (
        (jnp.int64, 0x7FF0000000000000)
        if x.dtype == np.float64
        else (jnp.int32, 0x7F800000)
    )
    exponents = jax.lax.bitcast_convert_type(x, bits) & mask
    return jax.lax.bitcast_convert_type(exponents, x.dtype)


def rounded(x: Array, dtype: np.dtype) -> Array:
    """`x` rounded to the nearest number of a low-precision `dtype`, still as float32.

    As a cast and back, which XLA may leave out (it allows itself more precision). The
    smallest spacing is 2⁻¹⁰⁰, and what is less than half of that becomes zero.
    """
    unit = spacing(x, dtype)
    return jnp.round(x / unit) * unit
