"""Small arrays of all matrices in one, for a state.

Tools that read states expect what is like the parameters at each leaf to have their
shapes. What a state holds of each matrix has not: so it is one vector, of all of them.
"""

import math
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._dtypes import promoted
from jaxreg._sharding import whole

Shape = tuple[int, ...]


def packed(arrays: Sequence[Array]) -> Array:
    """The entries of some arrays, one after the other; whole on every device."""
    if not arrays:
        return jnp.zeros(0)
    dtype = promoted(*arrays)
    flat = [jnp.reshape(whole(x, range(x.ndim)), (-1,)).astype(dtype) for x in arrays]
    return jnp.concatenate(flat)


def unpacked(vector: Array, like: Iterable[tuple[Shape, np.dtype]]) -> list[Array]:
    """The arrays that `packed` was given, by their shapes and dtypes."""
    arrays: list[Array] = []
    start = 0
    for shape, dtype in like:
        stop = start + math.prod(shape)
        arrays.append(jnp.reshape(vector[start:stop], shape).astype(dtype))
        start = stop
    return arrays
