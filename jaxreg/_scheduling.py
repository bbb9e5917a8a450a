"""The order in which XLA on the CPU computes what could be computed side by side.

It starts all at once what does not wait for each other: what is needed of every leaf for a
moment then takes memory for all leaves together, which the system hands out page by page
and takes back after each step. On other devices nothing waits.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import is_concrete
from jaxreg._sharding import is_split, varies

SMALL = 2**16
"""Arrays of fewer numbers are not worth waiting for, nor the time to compile that."""


def waits(value: Any) -> bool:
    """Whether `after` makes a value wait: a large array of floating-point numbers."""
    is_large = isinstance(value, Array) and value.size >= SMALL
    return is_large and jnp.issubdtype(value.dtype, jnp.inexact)


def after(done: Array | None, values: Any) -> Any:
    """Values as they are, in a way that XLA must know a number to have the large ones.

    Args:
        done: Any number; `None`: nothing to wait for.
        values: A pytree.

    Returns:
        The same values.
    """
    if done is None or is_concrete(done) or varies(done):
        return values
    one = jax.lax.platform_dependent(done, cpu=_unforeseen_one, default=jnp.ones_like)

    def same(value: Any) -> Any:
        return value * one.astype(value.dtype) if waits(value) else value

    return jax.tree.map(same, values)


def _unforeseen_one(number: Array) -> Array:
    """A one, which XLA does not know: to it an absolute value may be less than −1."""
    return jnp.where(jnp.abs(number) < -1, 0.0, 1.0).astype(number.dtype)


def computed_once(value: Array) -> Array:
    """A value as it is, in a way that XLA on the CPU computes it once for all its uses.

    There each output has a kernel of its own, and what is cheap is computed again in each.
    If that needs what the first output overwrites, XLA copies it in every step. What has
    a division at its end counts as expensive, so it is kept.
    """
    if is_concrete(value) or varies(value) or not waits(value):
        return value
    return jax.lax.platform_dependent(value, cpu=_divided, default=lambda x: x)


def _divided(value: Array) -> Array:
    """By a one for each entry: division by one number for all becomes multiplication."""
    return value / _unforeseen_one(value)


def finished(values: Sequence[Array]) -> Array | None:
    """A number that is known when all of the values are; `None`: no reason to wait.

    It is taken of a few entries, of values that need a sum over all others each.
    """
    large = [value for value in values if waits(value) and not is_split(value)]
    # XLA would compute a single entry once more, from all that it comes from; no maximum.
    tops = [jnp.max(value[:1]) for value in large]
    return sum(tops[1:], start=tops[0]) if tops else None
