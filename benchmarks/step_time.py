"""Claim: a prox_adam step costs at most 1.05 × optax.adam, decay 1.03 × optax.adamw.

Optimizer step alone, jitted with donated buffers, on 300 leaves with 25 million float32
parameters: `python benchmarks/step_time.py`. With `--dtype bfloat16` optax keeps moments in
bfloat16 too, and `compensated` in float32.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _measure import interleaved, print_ratios

import jaxreg as jr

LEARNING_RATE = 1e-3


def parameters(leaves: int, size: int, dtype: Any) -> dict[str, dict[str, jax.Array]]:
    """Kernels and biases, about `size` entries in `leaves` leaves."""
    layers = leaves // 2
    rows = max(1, round(size / layers / 256))
    key = jax.random.key(0)
    return {
        f"layer_{i}": {
            "kernel": 0.1
            * jax.random.normal(jax.random.fold_in(key, i), (rows, 256), dtype),
            "bias": jnp.zeros(256, dtype),
        }
        for i in range(layers)
    }


def optimizers() -> dict[str, optax.GradientTransformation]:
    adam = optax.adam(LEARNING_RATE)
    return {
        "optax.adam": adam,
        "optax.adamw": optax.adamw(LEARNING_RATE, weight_decay=1e-2),
        "prox_adam, L1": jr.prox_adam(LEARNING_RATE, jr.L1(1e-4)),
        "prox_adam, ElasticNet": jr.prox_adam(LEARNING_RATE, jr.ElasticNet(1e-4, 1e-4)),
        "adam, decoupled decay": optax.chain(
            adam, jr.decoupled_weight_decay(1e-2, LEARNING_RATE)
        ),
        "with_decay, corrected": jr.with_decay(
            adam, 1e-2, LEARNING_RATE, coupling="corrected"
        ),
        "with_decay, cautious": jr.with_decay(adam, 1e-2, LEARNING_RATE, cautious=True),
        "with_decay, toward start": jr.with_decay(
            adam, 1e-2, LEARNING_RATE, toward="start"
        ),
        "constrained_decay": optax.chain(adam, jr.constrained_decay(100)),
        "l2 decay, adam": optax.chain(jr.add_l2_decay(1e-2), adam),
        "compensated adamw": jr.compensated(optax.adamw(LEARNING_RATE, weight_decay=1e-2)),
    }


def stepper(
    optimizer: optax.GradientTransformation, params: Any, steps: int
) -> Callable[[], None]:
    """A function that makes some donated steps on its own copy of the parameters."""
    gradients = jax.tree.map(lambda w: 0.01 * jnp.cos(w), params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, gradients: Any) -> Any:
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    carry = [jax.tree.map(jnp.copy, params), optimizer.init(params)]

    def run() -> None:
        for _ in range(steps):
            carry[:] = step(*carry, gradients)
        jax.block_until_ready(carry)

    run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=300)
    parser.add_argument("--size", type=int, default=25_000_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    params = parameters(options.leaves, options.size, options.dtype)
    runs = {name: stepper(tx, params, 2) for name, tx in optimizers().items()}
    seconds = interleaved(runs, options.rounds)
    title = f"two steps, {options.leaves} leaves, {options.size:,} {options.dtype}"
    print_ratios(title, seconds, "optax.adam")
    print_ratios(title, seconds, "optax.adamw")


if __name__ == "__main__":
    main()
