"""Hyperparameters that `optax.inject_hyperparams` has rounded to useless numbers.

It casts numbers to the dtype of the parameters. In bfloat16 0.999 is 1, so that the mean of
squares of Adam stays at zero, and its bias correction divides zero by zero: every step is
NaN. In float16 1e-8 is 0, and weights without gradients become NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._checks import is_concrete

_DECAYS = {
    "b1",
    "b2",
    "b3",
    "beta",
    "decay",
    "decay_rate",
    "momentum",
    "adam_b1",
    "adam_b2",
}


def check_injected(wrapper: str, state: optax.OptState) -> None:
    """Refuse an optimizer with hyperparameters that are rounded so.

    Args:
        wrapper: The name of the function around it.
        state: The state that the optimizer's `init` has made.

    Raises:
        ValueError: If a decay of a mean is 1, or an epsilon is 0, in low precision. While
            JAX traces, numbers cannot be looked at: one that could be either is refused.
    """
    for node in jax.tree.leaves(state, is_leaf=_is_injected):
        if not _is_injected(node):
            continue
        for name, value in node.hyperparams.items():
            if isinstance(value, Array) and _is_lost(name, value):
                raise ValueError(
                    f"{wrapper} needs hyperparameters that keep their digits, but "
                    f"optax.inject_hyperparams has rounded {name} to {value.dtype}, where "
                    "0.999 may be 1 and 1e-8 may be 0, and steps NaN. Use "
                    "optax.inject_hyperparams(..., hyperparam_dtype=jnp.float32)."
                )


def _is_injected(node: Any) -> bool:
    return isinstance(getattr(node, "hyperparams", None), dict)


def _is_lost(name: str, value: Array) -> bool:
    is_low = jnp.issubdtype(value.dtype, jnp.floating) and jnp.finfo(value.dtype).bits < 32
    if not is_low or name not in _DECAYS | {"eps"}:
        return False
    if not is_concrete(value):
        return name in ("b2", "adam_b2", "eps")
    number = float(np.asarray(value, np.float32))
    return number == 0 if name == "eps" else number >= 1
