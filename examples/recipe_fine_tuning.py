"""Fine-tuning with L2-SP: decay towards the pretrained weights, not towards zero.

A network is trained on a thousand digits, and then on 40 that are shifted by a pixel.
`toward=` in the decay (or `L2(...).toward(pretrained)` in the loss) keeps it
near what it knew: a little worse on the new digits, and much better on the old ones.
Prints accuracies on both, and how far the weights went.
"""

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import jaxreg as jr

NETWORK = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
FEW, MANY, RATE = 40, 1000, 1e-2


def scores_of(params: Any, x: jax.Array) -> Any:
    return NETWORK.apply({"params": params}, x)


@functools.partial(jax.jit, static_argnames="steps")
def train(
    params: Any, decay: Any, toward: Any, x: jax.Array, y: jax.Array, steps: int
) -> Any:
    """Full-batch Adam with a decay in its gradients."""
    optimizer = optax.chain(
        jr.add_l2_decay(decay, toward=toward),
        optax.adam(optax.cosine_decay_schedule(RATE, steps)),
    )

    def loss_of(params: Any) -> jax.Array:
        scores = scores_of(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss_of)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]


@jax.jit
def accuracy(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(jnp.argmax(scores_of(params, x), axis=-1) == y)


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[float, float]]:
    """Pretrain, fine-tune in three ways, print the table; return the accuracies."""
    parser = argparse.ArgumentParser(description="Decay towards pretrained weights.")
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args(argv).steps

    x, y = map(jnp.asarray, load_digits(return_X_y=True))
    x = x / 16
    shifted = jnp.roll(x.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    new, held_out = slice(MANY, MANY + FEW), slice(MANY + FEW, None)

    params = jax.jit(NETWORK.init)(jax.random.key(0), x)["params"]
    zero = jax.tree.map(jnp.zeros_like, params)
    pretrained = train(params, 1e-4, zero, x[:MANY], y[:MANY], steps)

    print(f"{'':18}{'shifted':>8}{'old':>9}{'moved by':>10}")
    rows = dict[str, tuple[float, float]]()
    for name, decay, toward in (
        ("no decay", 0.0, zero),
        ("towards zero", 3e-3, zero),
        ("towards pretrained", 3e-3, pretrained),
    ):
        tuned = train(pretrained, decay, toward, shifted[new], y[new], steps)
        right = [accuracy(tuned, im[held_out], y[held_out]) for im in (shifted, x)]
        moved = optax.tree.norm(jax.tree.map(jnp.subtract, tuned, pretrained))
        rows[name] = float(right[0]), float(right[1])
        print(f"{name:18}{right[0]:8.3f}{right[1]:9.3f}{moved:10.2f}")
    return rows


if __name__ == "__main__":
    main()
