"""Flax linen: L1 in a `TrainState`, on handwritten digits.

The optimizer is all that changes: `prox_adam` in the place of `optax.adam`. Prints what is
regularized, and the loss, the penalty and the exact zeros during training.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits
from tqdm import trange

import jaxreg as jr

PENALTY = jr.L1(1e-3)
BATCH = 128
NETWORK = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])


@jax.jit
def train_step(state: TrainState, images: jax.Array, digits: jax.Array) -> Any:
    """One step; the penalty is in the optimizer, not in the loss."""

    def loss_of(params: Any) -> jax.Array:
        scores: Any = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(scores, digits).mean()

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradients), loss


def main(argv: Sequence[str] | None = None) -> TrainState:
    """Train, print the tables, return the final state."""
    parser = argparse.ArgumentParser(description="L1 in a linen TrainState.")
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args(argv).steps

    images, digits = map(jnp.asarray, load_digits(return_X_y=True))
    images = images / 16
    state = TrainState.create(
        apply_fn=NETWORK.apply,
        params=jax.jit(NETWORK.init)(jax.random.key(0), images)["params"],
        tx=jr.prox_adam(optax.cosine_decay_schedule(3e-3, steps, 0.1), PENALTY),
    )
    print(jr.describe(PENALTY, state.params), end="\n\n")

    print(f"{'step':>6}{'loss':>8}{'penalty':>9}{'zeros':>7}")
    keys = jax.random.split(jax.random.key(1), steps)
    for step in trange(steps, disable=None):
        batch = jax.random.randint(keys[step], (BATCH,), 0, len(digits))
        state, loss = train_step(state, images[batch], digits[batch])
        if (step + 1) % max(1, steps // 5) == 0:
            penalty, zeros = PENALTY(state.params), jr.sparsity(state.params)
            print(f"{step + 1:6}{loss:8.3f}{penalty:9.3f}{zeros:7.0%}")
    return state


if __name__ == "__main__":
    main()
