"""The order in which XLA computes what could be computed side by side."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import is_concrete
from jaxreg._sharding import varies

SMALL = 2**16
"""Arrays of fewer numbers are not worth waiting for, nor the time to compile that."""


def waits(value: Any) -> bool:
    """Whether `after` makes a value wait: a large array of floating-point numbers."""
    is_large = isinstance(value, Array) and value.size >= SMALL
    return is_large and jnp.issubdtype(value.dtype, jnp.inexact)


def after(done: Array | None, values: Any) -> Any:
    """Values as they are, in a way that XLA must know a number to have the large ones.

    XLA on the CPU starts all at once what does not wait for each other: what is needed of
    every leaf for a moment then takes memory for all leaves together, and what is about to
    be overwritten is copied first.

    Args:
        done: Any number; `None`: nothing to wait for.
        values: A pytree.

    Returns:
        The same values.
    """
    if done is None or is_concrete(done) or varies(done):
        return values

    # A one, which XLA does not know: to it an absolute value may be less than −1.
    one = jnp.where(jnp.abs(done) < -1, 0.0, 1.0)

    def same(value: Any) -> Any:
        return value * one if waits(value) else value

    return jax.tree.map(same, values)
