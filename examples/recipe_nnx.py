"""Flax nnx: whole channels off, with a group lasso in `nnx.Optimizer`, on digits.

`group_axis=-1` of a kernel numbers the output channels, so each group is one channel. Of a
channel that is off, nothing but its bias is left. Prints how many channels each layer uses.
"""

import argparse
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import jaxreg as jr

PENALTY = jr.GroupLasso(1.5e-3, group_axis=-1, mask=jr.named("conv.*/kernel$"))
BATCH = 128


class Network(nnx.Module):
    """Two convolutions and a classifier."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 16, (3, 3), strides=2, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv2(nnx.relu(self.conv1(images))))
        return self.head(x.mean(axis=(1, 2)))


@nnx.jit
def train_step(
    network: Network,
    optimizer: nnx.Optimizer[Network],
    images: jax.Array,
    digits: jax.Array,
) -> jax.Array:
    """One step, in place."""

    def loss_of(network: Network) -> jax.Array:
        scores = network(images)
        return optax.softmax_cross_entropy_with_integer_labels(scores, digits).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(network)
    optimizer.update(network, gradients)
    return loss


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Train, print the table; return the channels in use, and all, for each layer."""
    parser = argparse.ArgumentParser(description="A group lasso in nnx.Optimizer.")
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args(argv).steps

    images, digits = map(jnp.asarray, load_digits(return_X_y=True))
    images = images.reshape(-1, 8, 8, 1) / 16
    network = Network(nnx.Rngs(0))
    tx = jr.prox_adam(optax.cosine_decay_schedule(5e-3, steps, 0.1), PENALTY)
    optimizer = nnx.Optimizer(network, tx, wrt=nnx.Param)

    loss = jnp.inf
    for key in jax.random.split(jax.random.key(1), steps):
        batch = jax.random.randint(key, (BATCH,), 0, len(digits))
        loss = train_step(network, optimizer, images[batch], digits[batch])
    scores = nnx.jit(Network.__call__)(network, images)
    accuracy = jnp.mean(jnp.argmax(scores, axis=-1) == digits)

    print(f"after {steps} steps: loss {loss:.3f}, training accuracy {accuracy:.3f}\n")
    print(f"{'layer':8}{'channels':>10}{'in use':>8}")
    used = dict[str, tuple[int, int]]()
    for name in ("conv1", "conv2"):
        kernel = getattr(network, name).kernel[...]
        on = jnp.any(kernel != 0, axis=(0, 1, 2))
        used[name] = int(on.sum()), on.size
        print(f"{name:8}{on.size:10}{int(on.sum()):8}")
    return used


if __name__ == "__main__":
    main()
