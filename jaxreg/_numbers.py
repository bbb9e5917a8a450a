"""Numbers: what may be one, in which precision they are computed with, and 0 · ∞."""

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxreg._functions import is_function

Scalar = float | Array
"""A number, a 0-d array, or a tracer of one."""


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
    return jnp.maximum(_leading_bit(x), smallest) * float(info.eps)


def _leading_bit(x: Array) -> Array:
    """2^⌊log₂|x|⌋ for float32 or float64; 0 at zeros and subnormals, ∞ if not finite."""
    bits, mask = (
        (jnp.int64, 0x7FF0000000000000)
        if x.dtype == np.float64
        else (jnp.int32, 0x7F800000)
    )
    exponents = jax.lax.bitcast_convert_type(x, bits) & mask
    return jax.lax.bitcast_convert_type(exponents, x.dtype)


def power_of_two(x: Array) -> Array:
    """The power of two at or below |x|, a constant: to divide by without rounding.

    Formulas with squares or products of large numbers overflow where their results do
    not. Divided by the power of two of its largest entry, data are about 1, and no
    intermediate result is too large or too small.

    Args:
        x: Array of float32 or float64.

    Returns:
        Array of the shape of `x`, without derivative; 1 at zeros and at what is not
        finite. Its reciprocal is a normal number too, since XLA may multiply by that.
    """
    power = _leading_bit(jax.lax.stop_gradient(x))
    power = jnp.where((power > 0) & (power < np.inf), power, 1.0)
    return jnp.minimum(power, 1 / jnp.finfo(power.dtype).tiny)


def over(number: Array, a: Array, b: Array) -> Array:
    """The quotient number / (a · b), for positive a and b, without leaving the range.

    Two divisors that are both large (or both small) divide one after the other; of a
    large and a small one the product is in between.
    """
    # Without a barrier XLA makes one division by the product of the two.
    one_by_one = jax.lax.optimization_barrier(number / a) / b
    return jnp.where((a > 1) == (b > 1), one_by_one, number / (a * b))


def rounded(x: Array, dtype: np.dtype) -> Array:
    """`x` rounded to the nearest number of a low-precision `dtype`, still as float32.

    As a cast and back, which XLA may leave out (it allows itself more precision). The
    smallest spacing is 2⁻¹⁰⁰, and what is less than half of that becomes zero.
    """
    unit = spacing(x, dtype)
    return jnp.round(x / unit) * unit


def is_real(value: Any) -> bool:
    """Whether `value` is a real number or an array (or tracer) of real numbers."""
    if isinstance(value, bool):
        return False
    if isinstance(value, float | int):
        return True
    return isinstance(value, Array | np.ndarray | np.generic) and any(
        jnp.issubdtype(value.dtype, family) for family in (np.floating, np.integer)
    )


def is_concrete(value: Any) -> bool:
    """Whether the numbers in `value` can be looked at (it is not being traced)."""
    return isinstance(value, int | float | np.ndarray | np.generic) or (
        isinstance(value, Array)
        and not isinstance(value, Tracer)
        and value.is_fully_addressable
    )


def ready(number: float, like: Any) -> Scalar:
    """A Python number as it is; as an array like `like` if products might not fit in that.

    Products of Python numbers are of double precision: too large for float32, they would
    be a warning when they meet an array, where those of arrays are just infinite.
    """
    if _LARGE < abs(number) < np.inf:
        with np.errstate(over="ignore"):
            return jnp.asarray(np.asarray(float(number)).astype(compute_dtype(like)))
    return number


_LARGE = 1e18


def times(a: Any, b: Any) -> Any:
    """The product a · b, with ∞ · 0 = 0."""
    if isinstance(b, float | int):
        if isinstance(a, float | int):
            return 0.0 if 0 in (a, b) else a * b
        a, b = b, a
    if isinstance(a, float | int) and math.isfinite(a) and a != 0:
        return a * b
    # Only ∞ is replaced: the derivative by a number that is 0 is the other number.
    a, b = jnp.asarray(a), jnp.asarray(b)
    finite = jnp.where((a == 0) & jnp.isinf(b), 0.0, b)
    return jnp.where((b == 0) & jnp.isinf(a), 0.0, a) * finite


def quotient(pull: Array, slope: Scalar) -> Array:
    """pull/slope, where 0/0 is 0: the strength that withstands a pull."""
    # Nothing is 0/0 on the way either: `jax_debug_nans` would stop there.
    is_zero = pull == 0
    return jnp.where(is_zero, 0.0, jnp.where(is_zero, 1.0, pull) / slope)


def times_square(a: Any, x: Any) -> Any:
    """The product a · x², with ∞ · 0 = 0, where x² alone may leave the range."""
    return times(times(a, x), x)


def check_number(name: str, value: Any, *, above: float | None = None) -> None:
    """Refuse what cannot be a single strength, rate or step.

    As `check_numbers`, but neither a pytree nor an array of several numbers will do.

    Raises:
        TypeError: If `value` is not a real number.
        ValueError: If it is an array, NaN or too small.
    """
    if not jax.tree_util.all_leaves([value]):
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    check_numbers(name, value, above=above)
    if np.ndim(value) > 0:
        raise ValueError(f"{name} must be a scalar, got shape {np.shape(value)}.")


def check_count(name: str, value: Any) -> None:
    """Refuse what cannot say how many.

    Raises:
        TypeError: If `value` is no whole number.
        ValueError: If it is less than 1.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def check_numbers(
    name: str, value: Any, *, above: float | None = None, signed: bool = False
) -> None:
    """Refuse what cannot be a strength, a rate or a step: wrong type, NaN, negative.

    Tracers are accepted unseen: there is nothing to look at while JAX traces.

    Args:
        name: The argument, for the message.
        value: A number, an array, or a pytree of them.
        above: If given, values must be greater than this; otherwise at least 0.
        signed: Whether values of either sign are good, so that only NaN is refused.

    Raises:
        TypeError: If something in `value` is not a real number.
        ValueError: If a number is NaN or too small.
    """
    parts = jax.tree.leaves(value, is_leaf=lambda x: x is None)
    if not parts or is_function(value):
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    for part in parts:
        if not is_real(part):
            raise TypeError(f"{name} must be a real number, got {part!r}.")
        if not is_concrete(part):
            continue
        given = np.asarray(part)
        if signed:
            bound, good = "a number", ~np.isnan(given)
        elif above is None:
            bound, good = "non-negative", given >= 0
        else:
            bound, good = f"greater than {above:g}", given > above
        if not np.all(good):
            worst = given[~good].ravel()[0]
            raise ValueError(f"{name} must be {bound}, got {float(worst):g}.")
