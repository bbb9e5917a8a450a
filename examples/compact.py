"""From zeros to a smaller network: train, cut, train on, export.

A convolutional network with BatchNorm and a residual connection learns scikit-learn's
handwritten digits under a group lasso on coupled groups, which makes whole channels zero.
`compact` cuts them out: the function stays the same. Then the smaller network is trained on
without the penalty. Prints test accuracy, parameters, multiply-adds and the time of a call
for each strength, and writes `compaction.png` and the exported network, in StableHLO.
"""

import argparse
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import export
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jaxreg as jr
from jaxreg import plot
from jaxreg.compaction import Compaction

BATCH = 128


class Network(nn.Module):
    """Three convolutions, the last two in a residual block, and pooling."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Scores of the ten digits."""

        def unit(x: jax.Array, features: int) -> jax.Array:
            h = nn.Conv(features, (3, 3), use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not train, momentum=0.9)(h)

        x = nn.relu(unit(x, 32))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(x + unit(nn.relu(unit(x, 64)), 32))
        return nn.Dense(10)(x.mean((1, 2)))


NETWORK = Network()


def data() -> tuple[jax.Array, ...]:
    """Images and digits for training, and for the test."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits, test_size=500, random_state=0, stratify=digits
    )
    return tuple(map(jnp.asarray, (train_x, train_y, test_x, test_y)))


def trainer(x: jax.Array, y: jax.Array, steps: int) -> Callable[[float], Any]:
    """From a strength to the trained variables, whose channels are zero or not."""
    variables = NETWORK.init(jax.random.key(0), x[:1])
    state = variables["batch_stats"]

    def serve(params: Any, x: jax.Array) -> Any:
        return NETWORK.apply({"params": params, "batch_stats": state}, x)

    groups = jr.coupled_groups(serve, variables["params"], x[:1])
    schedule = optax.cosine_decay_schedule(1e-2, steps, 0.05)

    def loss_of(params: Any, stats: Any, x: jax.Array, y: jax.Array) -> Any:
        scores, new = NETWORK.apply(
            {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
        return loss, new["batch_stats"]

    def optimizer(strength: Any) -> optax.GradientTransformation:
        return jr.prox_adam(schedule, jr.GroupLasso(strength, groups=groups))

    @jax.jit  # One program for all strengths. In a scan XLA's convolutions are slow.
    def step(carry: Any, key: jax.Array, strength: Any) -> Any:
        params, stats, state = carry
        batch = jax.random.randint(key, (BATCH,), 0, len(y))
        gradients, stats = jax.grad(loss_of, has_aux=True)(
            params, stats, x[batch], y[batch]
        )
        updates, state = optimizer(strength).update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state

    def train(strength: float) -> Any:
        params = variables["params"]
        carry = params, variables["batch_stats"], optimizer(strength).init(params)
        for key in jax.random.split(jax.random.key(1), steps):
            carry = step(carry, key, strength)
        return {"params": carry[0], "batch_stats": carry[1]}

    return train


def train_on(small: Compaction, x: Any, y: Any, steps: int) -> Any:
    """The variables of a smaller network after some more steps of Adam."""
    optimizer = optax.adam(3e-4)

    def loss_of(params: Any, stats: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        scores = small({"params": params, "batch_stats": stats}, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    stats = small.params["batch_stats"]

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> Any:
        batch = jax.random.randint(key, (BATCH,), 0, len(y))
        gradients = jax.grad(loss_of)(params, stats, x[batch], y[batch])
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state

    params = small.params["params"]
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(2), steps):
        params, state = step(params, state, key)
    return {"params": params, "batch_stats": stats}


def milliseconds(small: Compaction, variables: Any, x: jax.Array) -> float:
    """The median time of a call, which is compiled before."""
    jax.block_until_ready(small(variables, x))
    times: list[float] = []
    for _ in range(30):
        start = time.perf_counter()
        jax.block_until_ready(small(variables, x))
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main(argv: Sequence[str] | None = None) -> dict[float, dict[str, float]]:
    """Train with all strengths, print the table, draw and export the smallest."""
    parser = argparse.ArgumentParser(description="From zeros to a smaller network.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 3e-4, 1e-3, 2e-3])
    parser.add_argument("--output", type=pathlib.Path, default="examples/output")
    options = parser.parse_args(argv)
    x, y, test_x, test_y = data()

    def accuracy(small: Compaction, variables: Any) -> float:
        return float(jnp.mean(jnp.argmax(small(variables, test_x), 1) == test_y))

    columns = (
        "strength",
        "test acc",
        "trained on",
        "parameters",
        "MACs",
        "ms, 1",
        "ms, 256",
    )
    print("".join(f"{name:>12}" for name in columns))
    train = trainer(x, y, options.steps)
    rows: dict[float, dict[str, float]] = {}
    small, better = None, None
    for strength in options.strengths:
        variables = train(strength)
        small = jr.compact(NETWORK.apply, variables, x[:1])
        better = train_on(small, x, y, max(1, options.steps // 5))
        values = (
            strength,
            accuracy(small, small.params),
            accuracy(small, better),
            small.parameters[1],
            small.multiply_adds[1],
            milliseconds(small, small.params, x[:1]),
            milliseconds(small, small.params, x[:256]),
        )
        rows[strength] = dict(zip(columns, map(float, values), strict=True))
        print("".join(f"{value:12.5g}" for value in values))
    options.output.mkdir(parents=True, exist_ok=True)
    assert small is not None
    figure, ax = plot.plt.subplots(figsize=(7, 5), layout="constrained")
    plot.compaction(small, ax)
    figure.savefig(options.output / "compaction.png", dpi=150)
    exported = export.export(jax.jit(small))(better, x[:1])
    (options.output / "compact.mlir").write_text(exported.mlir_module())
    return rows


if __name__ == "__main__":
    main()
