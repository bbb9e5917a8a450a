"""The mathematics, on one array.

Closed forms that know nothing of pytrees, masks or optimizers; `jaxreg.penalties` lifts
them to parameters. All are pure, and work under `jit`, `vmap` and `grad`.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._tree import Scalar


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
    return x - jnp.clip(x, -threshold, threshold)


def magnitude(x: Array) -> Array:
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
        >>> float(jax.grad(magnitude)(0.0)), float(jax.grad(jnp.abs)(0.0))
        (0.0, 1.0)
    """
    if jnp.iscomplexobj(x):
        raise TypeError(f"magnitude is for real arrays, got dtype {jnp.result_type(x)}.")
    return x * jax.lax.stop_gradient(jnp.sign(x))
