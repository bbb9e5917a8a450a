"""Whether two functions have given the same."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def difference(full: Any, small: Any) -> str:
    """By how much results differ, if by more than rounding; empty if they do not."""
    for x, y in zip(jax.tree.leaves(full), jax.tree.leaves(small), strict=True):
        if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
            continue
        if np.shape(x) != np.shape(y):
            return f"shapes: {np.shape(x)} became {np.shape(y)}"
        distance, largest = _distance(x, y)
        is_exact = not jnp.issubdtype(jnp.result_type(x), jnp.inexact)
        eps = 0.0 if is_exact else float(jnp.finfo(jnp.result_type(x)).eps)
        if not distance <= max(largest, 1e-30) * max(1e-3 * (eps > 0), 8 * eps):
            return f"{distance:.2g} where results are up to {largest:.2g}"
    return ""


def _distance(x: Any, y: Any) -> tuple[float, float]:
    if math.prod(np.shape(x)) == 0:
        return 0.0, 0.0
    wide = np.complex128 if jnp.iscomplexobj(x) else np.float64
    a, b = (np.asarray(v).astype(wide) for v in (x, y))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a)
    largest = float(np.max(np.abs(a), where=finite, initial=0.0))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, np.abs(a - b))
    return float(np.max(distance)), largest
