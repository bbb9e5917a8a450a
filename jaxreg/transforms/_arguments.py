"""Checks that each argument of a transform is of its kind, and in its range.

Where an optimizer, a penalty, a number or a mask is given for another, arguments may be in
the wrong order: the message shows the call.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number, is_concrete, is_real
from jaxreg.masks.selection import Mask
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty

_INJECTED = (
    "(Under `optax.inject_hyperparams`, name the penalty in `static_args`, and the "
    "optimizer too.)"
)


def check_arguments(transform: Callable[..., Any], **given: Any) -> None:
    """Refuse an optimizer, a penalty, a number or a mask that is given for another.

    Args:
        transform: The function that was called, for the message.
        **given: Its arguments. `optimizer`, `scaler`, `penalty` and `mask` are what their
            names say; all others are numbers or schedules.

    Raises:
        TypeError: If an argument is something else.
    """
    call = f"The call is {_call(transform)}."
    for name, value in given.items():
        if name == "optimizer":
            check_is_optimizer(value, f" {call}")
        elif name == "penalty":
            check_is_penalty(value, f" {call} {_INJECTED}")
        elif not _may_be(name, value):
            kind = {
                "scaler": "a scaling such as optax.scale_by_adam",
                "mask": "a mask such as jaxreg.weights, or a pytree of True or False",
            }.get(name, "a real number or a schedule")
            raise TypeError(f"{name} must be {kind}, got {_text(value)}. {call}")


def check_is_optimizer(optimizer: Any, advice: str = "") -> None:
    """Refuse anything but a finished optimizer; the message ends with the advice."""
    if isinstance(optimizer, Penalty):
        raise TypeError(
            "optimizer must be a finished Optax optimizer such as optax.adam(1e-3), got "
            f"{optimizer!r}, which is a penalty. To minimise loss + penalty, use an "
            "optimizer that takes it: jaxreg.prox_adam(learning_rate, penalty)."
            f"{advice}"
        )
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            "optimizer must be a finished Optax optimizer such as optax.adam(1e-3), got "
            f"{optimizer!r}.{advice}"
        )


def _may_be(name: str, value: Any) -> bool:
    """Whether a value can be an argument that is neither an optimizer nor a penalty."""
    is_optimizer = isinstance(value, optax.GradientTransformation)
    if isinstance(value, Penalty):
        return False
    if name == "scaler":
        return is_optimizer or callable(value)
    if name == "mask":
        return not (is_optimizer or is_real(value))
    return not (is_optimizer or isinstance(value, Mask))


def _text(value: Any) -> str:
    """A value as a message shows it: an optimizer has no readable text of its own."""
    is_optimizer = isinstance(value, optax.GradientTransformation)
    return "an Optax optimizer" if is_optimizer else repr(value)


def _call(transform: Callable[..., Any]) -> str:
    """A call of a function: positional arguments, then those that it requires by name."""
    positional, named = list[str](), list[str]()
    for name, parameter in inspect.signature(transform).parameters.items():
        is_required = parameter.default is parameter.empty
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(name if is_required else f"{name}={parameter.default!r}")
        elif is_required:
            named.append(f"{name}={name}")
    return f"{transform.__name__}({', '.join(positional + named)})"


def check_steps(name: str, steps: Any) -> None:
    """Refuse a number of steps that is less than one."""
    check_number(name, steps)
    if is_concrete(steps) and steps < 1:
        raise ValueError(f"{name} must be at least 1 step, got {steps:g}.")


_FLOAT32 = (
    "Under optax.inject_hyperparams numbers have the dtype of the parameters: pass it "
    "hyperparam_dtype=jnp.float32."
)


def check_below_one(name: str, value: Scalar) -> None:
    """Refuse a number outside [0, 1), such as a momentum."""
    check_number(name, value)
    if is_concrete(value) and value >= 1:
        advice = f" {_FLOAT32}" if isinstance(value, Array) else ""
        raise ValueError(f"{name} must be less than 1, got {float(value):g}.{advice}")


def check_digits(name: str, value: Scalar) -> None:
    """Refuse a number in a dtype that could round 0.999 to 1, or 1e-8 to 0."""
    if (
        isinstance(value, Array)
        and jnp.issubdtype(value.dtype, jnp.floating)
        and jnp.finfo(value.dtype).bits < 32
    ):
        raise ValueError(f"{name} must be at least float32, got {value.dtype}. {_FLOAT32}")
