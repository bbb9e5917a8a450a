"""Equinox: elastic net on correlated measurements, on the breast cancer data.

Takes the arrays out of the model with `eqx.filter`, so that the optimizer sees nothing
else. Prints losses on held-out patients and exact zeros for three regularizers.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import jaxreg as jr

PENALTIES = {
    "none": jr.L1(0.0),
    "L1": jr.L1(1e-3),
    "elastic net": jr.ElasticNet(l1=1e-3, l2=3e-3),
}


@eqx.filter_jit
def mean_loss(model: eqx.nn.MLP, x: jax.Array, y: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(jax.vmap(model)(x), y).mean()


@eqx.filter_jit
def train(model: eqx.nn.MLP, penalty: jr.Penalty, x: Any, y: Any, steps: int) -> eqx.nn.MLP:
    """Full batches: the data are small."""
    optimizer = jr.prox_adam(optax.cosine_decay_schedule(3e-3, steps, 0.1), penalty)
    params, rest = eqx.partition(model, eqx.is_inexact_array)

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        params, state = carry
        gradients = jax.grad(lambda p: mean_loss(eqx.combine(p, rest), x, y))(params)
        updates, state = optimizer.update(gradients, state, params)
        return (eqx.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return eqx.combine(carry[0], rest)


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[float, float]]:
    """Train with each penalty, print the table; return losses and fractions of zeros."""
    parser = argparse.ArgumentParser(description="Elastic net on an Equinox model.")
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args(argv).steps

    x, y = map(jnp.asarray, load_breast_cancer(return_X_y=True))
    x, _, _ = jr.strength.standardize(x, jnp.ones(len(x)))
    x, test_x, y, test_y = map(jnp.asarray, train_test_split(x, y, random_state=0))
    start = eqx.nn.MLP(30, "scalar", 32, depth=1, key=jax.random.key(0))
    print(jr.describe(PENALTIES["L1"], eqx.filter(start, eqx.is_inexact_array)), end="\n\n")

    print(f"{'':12}{'training':>9}{'test':>8}{'zeros':>7}")
    rows = dict[str, tuple[float, float]]()
    for name, penalty in PENALTIES.items():
        model = train(start, penalty, x, y, steps)
        loss, test_loss = mean_loss(model, x, y), mean_loss(model, test_x, test_y)
        zeros = jr.sparsity(eqx.filter(model, eqx.is_inexact_array))
        rows[name] = float(test_loss), float(zeros)
        print(f"{name:12}{loss:9.3f}{test_loss:8.3f}{zeros:7.0%}")
    return rows


if __name__ == "__main__":
    main()
