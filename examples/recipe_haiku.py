"""Haiku: 80 % of the weights exactly zero, at a strength that is found while it trains.

`target_sparsity` raises or lowers the strength of L1, here on the diabetes data. Prints the
strength and the fraction of zeros during training.
"""

import argparse
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_diabetes

import jaxreg as jr

with warnings.catch_warnings():  # Haiku's own imports
    warnings.simplefilter("ignore", DeprecationWarning)
    import haiku as hk

TARGET = 0.8


def forward(x: jax.Array) -> jax.Array:
    return hk.nets.MLP([32, 1])(x)[:, 0]


def main(argv: Sequence[str] | None = None) -> Any:
    """Train, print the table, return the parameters."""
    parser = argparse.ArgumentParser(description="A wanted fraction of zeros, in Haiku.")
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args(argv).steps

    x, y = map(jnp.asarray, load_diabetes(return_X_y=True))
    x, y = (jr.strength.standardize(values, jnp.ones(len(x)))[0] for values in (x, y))
    network = hk.without_apply_rng(hk.transform(forward))
    penalty = jr.L1(1e-3)
    optimizer = jr.target_sparsity(3e-3, penalty, TARGET)

    def loss_of(params: Any) -> jax.Array:
        return jnp.mean((network.apply(params, x) - y) ** 2) / 2

    @jax.jit
    def train(params: Any, state: Any) -> Any:
        def step(carry: Any, _: Any) -> tuple[Any, Any]:
            state: Any
            params, state = carry
            loss, gradients = jax.value_and_grad(loss_of)(params)
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            strength = penalty.strength * jnp.exp(state.log_factor)
            return (params, state), (loss, strength, jr.sparsity(params))

        return jax.lax.scan(step, (params, state), length=steps)

    params = jax.jit(network.init)(jax.random.key(0), x)
    print(jr.describe(penalty, params), end="\n\n")
    (params, _), history = train(params, optimizer.init(params))

    print(f"{'step':>6}{'loss':>8}{'strength':>10}{'zeros':>7}")
    for step in range(max(1, steps // 5) - 1, steps, max(1, steps // 5)):
        loss, strength, zeros = (values[step] for values in history)
        print(f"{step + 1:6}{loss:8.3f}{strength:10.5f}{zeros:7.0%}")
    return params


if __name__ == "__main__":
    main()
