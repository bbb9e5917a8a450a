"""Training in a few lines: arrays, and steps in a loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def draw(shape, seed=0, dtype=jnp.float32):
    """Normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def trained(tx: Any, params: Any, gradient: Any, steps: int) -> tuple[Any, Any]:
    """Parameters and state after steps with `gradient(params, index of the step)`."""

    @jax.jit
    def run(carry):
        def step(carry, index):
            params, state = carry
            updates, state = tx.update(gradient(params, index), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, jnp.arange(steps))[0]

    return run((params, tx.init(params)))


def first_update(tx: Any, params: Any, gradients: Any) -> Any:
    """The updates of the first step."""
    return tx.update(gradients, tx.init(params), params)[0]
