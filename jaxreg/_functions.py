"""What is called, and what is data although it could be called."""

import functools
from collections.abc import Callable
from typing import Any, TypeGuard

import jax


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
