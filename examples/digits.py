"""One network, one data set, eight regularizers: what each does to the weights.

Trains the same small Flax network on scikit-learn's handwritten digits (8 × 8 pixels)
without regularization, with two kinds of weight decay, and with L1 in five ways. Watch
the exact zeros: L2 makes weights small, L1 in the loss makes many *nearly* zero, and the
soft threshold that everybody writes after Adam hardly does anything. `prox_adam` solves
the problem of L1 in the loss with most weights exactly zero, and whole pixels unused.

Prints a table, averaged over the seeds, and saves three figures into examples/output.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import jaxreg as jr
from jaxreg import plot

Rows = dict[str, dict[str, float]]

OUTPUT = pathlib.Path(__file__).parent / "output"
NETWORK = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(32), nn.relu, nn.Dense(10)])
BATCH = 128
STRENGTH = 5e-4  # of L1, wherever it is used

COLUMNS = "train acc", "test acc", "objective", "mean|w|", "max|w|", "zeros %", "unused px"
DECIMALS = {"max|w|": 2, "zeros %": 1, "unused px": 1}  # 4 in the other columns


class Data(NamedTuple):
    """Images as rows of pixels between 0 and 1, and their digits."""

    pixels: jax.Array
    digits: jax.Array


class Method(NamedTuple):
    """A way to regularize: what optimizes, and what is added to the loss."""

    optimizer: optax.GradientTransformation
    in_loss: jr.Penalty = jr.L1(0.0)


def methods(steps: int) -> dict[str, Method]:
    """All that are compared, by name."""
    rate, l1 = falling(3e-3, steps), jr.L1(STRENGTH)
    adam, chain = optax.adam(rate), optax.chain
    elastic_net = jr.ElasticNet(l1=STRENGTH, l2=1e-4)
    return {
        "no regularization": Method(adam),
        "L2 decay": Method(chain(jr.add_l2_decay(1e-3), adam)),
        "decoupled decay": Method(
            chain(adam, jr.decoupled_weight_decay(0.3, learning_rate=rate))
        ),
        "L1 in the loss": Method(adam, in_loss=l1),
        "L1, naive prox": Method(chain(adam, jr.proximal(rate, jr.L1(STRENGTH)))),
        "L1, SGD + prox": Method(jr.prox_sgd(falling(0.1, steps), l1, momentum=0.9)),
        "L1, prox_adam": Method(jr.prox_adam(rate, l1)),
        "elastic net, prox_adam": Method(jr.prox_adam(rate, elastic_net)),
    }


def falling(peak: float, steps: int) -> optax.Schedule:
    """Half of the steps at `peak`, then down to a tenth of it in a straight line."""
    factors = {steps // 2: 1.0, steps: 0.1}
    return optax.piecewise_interpolate_schedule("linear", peak, factors)


def load() -> tuple[Data, Data]:
    """Training and test data, always the same split."""
    pixels, digits = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32) / 16
    parts = train_test_split(pixels, digits, stratify=digits, random_state=0)
    arrays = [jnp.asarray(part) for part in parts]
    return Data(*arrays[0::2]), Data(*arrays[1::2])


def scores_of(params: Any, data: Data) -> jax.Array:
    return cast(jax.Array, NETWORK.apply({"params": params}, data.pixels))


def cross_entropy(params: Any, data: Data) -> jax.Array:
    scores = scores_of(params, data)
    return optax.softmax_cross_entropy_with_integer_labels(scores, data.digits).mean()


def accuracy(params: Any, data: Data) -> jax.Array:
    return jnp.mean(jnp.argmax(scores_of(params, data), axis=-1) == data.digits)


def start(key: jax.Array, data: Data, steps: int) -> tuple[Any, jax.Array]:
    """Random parameters, and which images are in each minibatch."""
    weights, shuffle = jax.random.split(key)
    params = NETWORK.init(weights, data.pixels)["params"]
    return params, jax.random.randint(shuffle, (steps, BATCH), 0, len(data.digits))


def train(method: Method, data: Data, params: Any, batches: jax.Array) -> Any:
    """The parameters after a step on each minibatch."""

    def objective(params: Any, batch: Data) -> jax.Array:
        return cross_entropy(params, batch) + method.in_loss(params)

    def step(carry: Any, batch: jax.Array) -> tuple[Any, None]:
        params, state = carry
        images = Data(data.pixels[batch], data.digits[batch])
        gradients = jax.grad(objective)(params, images)
        updates, state = method.optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = params, method.optimizer.init(params)
    return jax.lax.scan(step, carry, batches)[0][0]


def evaluate(params: Any, training: Data, test: Data) -> dict[str, jax.Array]:
    """One row of the table, whose objective is that of L1 for all methods."""
    stats, kernel = jr.weight_stats(params), params["layers_0"]["kernel"]
    return {
        "train acc": accuracy(params, training),
        "test acc": accuracy(params, test),
        "objective": cross_entropy(params, training) + jr.L1(STRENGTH)(params),
        "mean|w|": stats["total/mean_abs"],
        "max|w|": stats["total/max_abs"],
        "zeros %": 100 * stats["total/zero_fraction"],
        "unused px": jnp.sum(jnp.all(kernel == 0, axis=1)),
    }


def print_table(rows: Rows) -> None:
    print(f"{'':22}", *(f"{column:>9}" for column in COLUMNS))
    for name, row in rows.items():
        print(f"{name:22}", *(f"{x:9.{DECIMALS.get(c, 4)}f}" for c, x in row.items()))


def draw(trained: dict[str, Any], output: pathlib.Path) -> None:
    """Save the figures: all weights, the pixels in use, and the geometry behind it."""
    figure = Figure((13, 6), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    for ax, (name, params) in zip(axes.flat, trained.items(), strict=True):
        plot.histogram(params, ax=ax).set_title(name)
        ax.label_outer()
    figure.savefig(output / "histograms.png", dpi=110)

    shown = "no regularization", "L1 in the loss", "L1, prox_adam"
    figure = Figure((10, 4), layout="constrained")
    for ax, name in zip(figure.subplots(1, 3), shown, strict=True):
        kernel = trained[name]["layers_0"]["kernel"][0]
        count = plot.features(kernel, (8, 8), ax).get_title()
        ax.set_title(f"{name}\n{count.replace('features', 'pixels')}")
    figure.savefig(output / "pixels.png", dpi=110)

    penalties = jr.L1(1.0), jr.L2(0.5), jr.ElasticNet(l1=0.7, l2=0.2)
    figure = Figure((12, 4.4), layout="constrained")
    for ax, penalty in zip(figure.subplots(1, 3), penalties, strict=True):
        plot.geometry(penalty, ax)
    figure.savefig(output / "geometry.png", dpi=110)


def main(argv: Sequence[str] | None = None) -> Rows:
    """Train all methods, print the table, save the figures; return the table."""
    parser = argparse.ArgumentParser(description="Eight regularizers on one network.")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    training, test = load()
    keys = jax.random.split(jax.random.key(0), args.seeds)
    params, batches = jax.jit(jax.vmap(lambda key: start(key, training, args.steps)))(keys)
    row_of = jax.jit(jax.vmap(lambda params: evaluate(params, training, test)))

    rows, trained = Rows(), dict[str, Any]()
    for name, method in (progress := tqdm(methods(args.steps).items())):
        progress.set_description(f"{name:22}")
        fit = jax.vmap(lambda *start, method=method: train(method, training, *start))
        trained[name] = jax.jit(fit)(params, batches)
        means = jax.tree.map(lambda x: float(jnp.mean(x)), row_of(trained[name]))
        rows[name] = {column: means[column] for column in COLUMNS}

    print_table(rows)
    constant = jnp.sum(jnp.ptp(training.pixels, axis=0) == 0)
    print(f"objective: cross entropy + {STRENGTH:g}·Σ|w| on the training images,")
    print(f"in which {constant} of the 64 pixels never change. Figures: {args.output}")
    args.output.mkdir(parents=True, exist_ok=True)
    draw(trained, args.output)
    return rows


if __name__ == "__main__":
    main()
