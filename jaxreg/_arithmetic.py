"""Products and quotients at the ends of the range: 0 · ∞, 0/0, overflow."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import compute_dtype, leading_bit

_LARGE = 1e18


def ready(number: float, like: Any) -> Scalar:
    """A Python number as it is; as an array like `like` if products might not fit in that.

    Products of Python numbers are of double precision: too large for float32, they would
    be a warning when they meet an array, where those of arrays are just infinite.
    """
    if _LARGE < abs(number) < np.inf:
        with np.errstate(over="ignore"):
            return jnp.asarray(np.asarray(float(number)).astype(compute_dtype(like)))
    return number


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


def times_square(a: Any, x: Any) -> Any:
    """The product a · x², with ∞ · 0 = 0, where x² alone may leave the range."""
    return times(times(a, x), x)


def quotient(pull: Array, slope: Scalar) -> Array:
    """pull/slope, where 0/0 is 0: the strength that withstands a pull."""
    # Nothing is 0/0 on the way either: `jax_debug_nans` would stop there.
    is_zero = pull == 0
    return jnp.where(is_zero, 0.0, jnp.where(is_zero, 1.0, pull) / slope)


def over(number: Array, a: Array, b: Array) -> Array:
    """The quotient number / (a · b), for positive a and b, without leaving the range.

    Two divisors that are both large (or both small) divide one after the other; of a
    large and a small one the product is in between.
    """
    # Without a barrier XLA makes one division by the product of the two.
    one_by_one = jax.lax.optimization_barrier(number / a) / b
    return jnp.where((a > 1) == (b > 1), one_by_one, number / (a * b))


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
    power = leading_bit(jax.lax.stop_gradient(x))
    power = jnp.where((power > 0) & (power < np.inf), power, 1.0)
    return jnp.minimum(power, 1 / jnp.finfo(power.dtype).tiny)
