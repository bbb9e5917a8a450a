"""Checks of arguments: numbers, counts, and what is called rather than data."""

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

Scalar = float | Array
"""A number, a 0-d array, or a tracer of one."""


class CalledOnParams:
    """A base of pytrees that are called with parameters and are never data: penalties."""

    __slots__ = ()


def is_function(value: Any) -> TypeGuard[Callable[..., Any]]:
    """Whether to call `value`, where a pytree of numbers or bools would do too.

    A module with a `__call__` (`eqx.nn.Linear`, `nnx.Variable`) is a pytree: with numbers
    or bools at all its leaves it is data. With anything else it is called, as what
    `jax.tree_util.Partial` and `eqx.filter_jit` make.
    """
    if not callable(value):
        return False
    if isinstance(value, CalledOnParams | functools.partial | type):
        return True
    leaves = jax.tree.leaves(value)
    return not leaves or not all(map(_is_data, leaves))


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, bool | int | float) or hasattr(leaf, "dtype")


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
