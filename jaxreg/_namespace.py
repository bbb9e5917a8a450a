"""Formulas that NumPy computes for its arrays, and JAX for all others.

JAX compiles each operation when it meets a new shape. A formula that is written with the
namespace of its argument runs in a program of JAX, and on small data without compiling.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def namespace(x: Any) -> Any:
    """`numpy` for its arrays and numbers, otherwise `jax.numpy`."""
    return np if isinstance(x, np.ndarray | np.generic) else jnp


def softplus(x: Any) -> Any:
    """The smooth positive part: log(1 + exp(x))."""
    return namespace(x).logaddexp(x, 0.0)


def sigmoid(x: Any) -> Any:
    """The logistic function 1 / (1 + exp(−x)), to all digits where it is small."""
    if namespace(x) is jnp:
        return jax.nn.sigmoid(x)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def log_sum_exp(x: Any) -> Any:
    """The logarithm of Σ exp(x) over the last axis."""
    if namespace(x) is jnp:
        return jax.nn.logsumexp(x, axis=-1)
    return np.logaddexp.reduce(x, axis=-1)


def softmax(x: Any) -> Any:
    """The fractions exp(x) / Σ exp(x) over the last axis."""
    if namespace(x) is jnp:
        return jax.nn.softmax(x, axis=-1)
    powers = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return powers / np.sum(powers, axis=-1, keepdims=True)
