"""Weight decay, mode by mode: what is really taken off the weights, and what it does.

Trains one network with layer norms on scikit-learn's handwritten digits, under a warm-up
and a cosine, with AdamW's decay and its relatives. What to see:

* Coupled to the learning rate, a decay four times as strong comes with a peak four times
  as high. Independent decay stays what it was.
* The layers before a norm go to the size at which decay balances the steps. As the cosine
  falls that size falls too, though their size does not matter to the network; under
  corrected decay it does not.
* In bf16 the same decay is lost as soon as the steps of the optimizer are too small to
  carry it along, since by itself it moves no weight. `with_kahan_compensation` keeps it.

Prints two tables and saves a figure into examples/output.
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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import jaxreg as jr

Rows = dict[str, dict[str, float]]

OUTPUT = pathlib.Path(__file__).parent / "output"
BATCH, COPIES, NOISE = 128, 16, 0.2
PEAK, HIGH = 1e-3, 4e-3  # of the learning rate
TIMESCALE = 600  # steps that the weights remember, at the peak
DECAY = float(jr.convert.weight_decay_of_timescale(TIMESCALE, PEAK))

COLUMNS = "test acc", "loss", "|w| at half", "|w| at end", "decay"
NETWORK = nn.Sequential(
    [
        nn.Dense(64, use_bias=False),
        nn.LayerNorm(),
        nn.relu,
        nn.Dense(64, use_bias=False),
        nn.LayerNorm(),
        nn.relu,
        nn.Dense(10),
    ]
)
# Two kernels whose size does not matter to the network, and one whose size does.
NORMALISED = jr.named("layers_0/kernel", "layers_3/kernel")
LAST = jr.named("layers_6/kernel")


class Data(NamedTuple):
    """Images as rows of pixels between 0 and 1, and their digits."""

    pixels: jax.Array
    digits: jax.Array


class Method(NamedTuple):
    """A way to decay, what it takes off a weight in each step, and its line."""

    optimizer: optax.GradientTransformation
    decay: optax.Schedule
    line: tuple[str, str]
    dtype: Any = jnp.float32


def methods(steps: int) -> dict[str, Method]:
    """All that are compared, by name."""
    low, high = warmup_cosine(PEAK, steps), warmup_cosine(HIGH, steps)
    adam, fast = optax.adam(low), optax.adam(high)
    independent = jr.convert.independent_weight_decay(DECAY, peak=PEAK)
    adamw = jr.with_decay(adam, DECAY, learning_rate=low)
    corrected = optax.chain(
        jr.with_decay(
            adam, DECAY, learning_rate=low, mask=NORMALISED, coupling="corrected", peak=PEAK
        ),
        jr.decoupled_weight_decay(DECAY, learning_rate=low, mask=LAST),
    )
    cautious = jr.with_decay(adam, DECAY, learning_rate=low, cautious=True)
    constrained = optax.chain(adam, jr.constrained_parameter_regularization(steps // 10))
    steady = jr.with_decay(
        fast, independent, learning_rate=high, coupling="independent", peak=HIGH
    )
    bf16 = jnp.bfloat16

    def none(count: Any) -> Any:
        return 0.0 * count

    def coupled(count: Any) -> Any:
        return low(count) * DECAY

    return {
        "no decay": Method(adam, none, ("#999999", "-")),
        "AdamW": Method(adamw, coupled, ("#D55E00", "-")),
        "AdamW, 4 × peak": Method(
            jr.with_decay(fast, DECAY, learning_rate=high),
            lambda count: high(count) * DECAY,
            ("#D55E00", "--"),
        ),
        "independent, 4 × peak": Method(
            steady, lambda count: high(count) / HIGH * independent, ("#E69F00", "--")
        ),
        "corrected": Method(
            corrected, lambda count: low(count) ** 2 / PEAK * DECAY, ("#0072B2", "-")
        ),
        "cautious": Method(cautious, coupled, ("#009E73", "-")),
        "constrained": Method(constrained, none, ("#CC79A7", "-")),
        "AdamW in bf16": Method(adamw, coupled, ("#D55E00", ":"), bf16),
        "the same, compensated": Method(
            jr.with_kahan_compensation(adamw), coupled, ("#56B4E9", "--"), bf16
        ),
    }


def warmup_cosine(peak: float, steps: int) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, peak, steps // 20, steps)


def load() -> tuple[Data, Data]:
    """Training data, in many noisy copies so that gradients stay alive, and test data."""
    pixels, digits = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32) / 16
    parts = train_test_split(pixels, digits, stratify=digits, random_state=0)
    train_pixels, test_pixels, train_digits, test_digits = map(jnp.asarray, parts)
    train_pixels = jnp.tile(train_pixels, (COPIES, 1))
    noise = NOISE * jax.random.normal(jax.random.key(1), train_pixels.shape)
    training = Data(train_pixels + noise, jnp.tile(train_digits, COPIES))
    return training, Data(test_pixels, test_digits)


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


def train(
    method: Method, data: Data, params: Any, batches: jax.Array
) -> tuple[Any, jax.Array]:
    """The last parameters, and the norm of the second kernel after every step."""
    params = jax.tree.map(lambda w: w.astype(method.dtype), params)

    def step(carry: Any, batch: jax.Array) -> tuple[Any, jax.Array]:
        params, state = carry
        images = Data(data.pixels[batch], data.digits[batch])
        gradients = jax.grad(cross_entropy)(params, images)
        updates, state = method.optimizer.update(gradients, state, params)
        params: Any = optax.apply_updates(params, updates)
        kernel = params["layers_3"]["kernel"].astype(jnp.float32)
        return (params, state), jnp.linalg.norm(kernel)

    carry = params, method.optimizer.init(params)
    (params, _), norms = jax.lax.scan(step, carry, batches)
    return params, norms


def print_table(rows: Rows) -> None:
    print(f"{'':22}", *(f"{column:>12}" for column in COLUMNS))
    for name, row in rows.items():
        cells = (f"{x:12.1e}" if c == "decay" else f"{x:12.4f}" for c, x in row.items())
        print(f"{name:22}", *cells)


def draw(ax: Axes, name: str, method: Method, values: Any) -> None:
    color, style = method.line
    ax.plot(np.asarray(values), color=color, linestyle=style, label=name)


def main(argv: Sequence[str] | None = None) -> Rows:
    """Train all methods, print the tables, save the figure; return the first table."""
    parser = argparse.ArgumentParser(description="Weight decay, mode by mode.")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    training, test = load()
    keys = jax.random.split(jax.random.key(0), args.seeds)
    begin = jax.jit(jax.vmap(lambda key: start(key, training, args.steps)))
    params, batches = begin(keys)

    @jax.jit
    def score(params: Any) -> tuple[jax.Array, jax.Array]:
        right = jax.vmap(lambda one: accuracy(one, test))(params)
        losses = jax.vmap(lambda one: cross_entropy(one, training))(params)
        return jnp.mean(right), jnp.mean(losses)

    figure = Figure((13, 4.2), layout="constrained")
    decays, norms, narrow = figure.subplots(1, 3)
    in_decays = "AdamW", "AdamW, 4 × peak", "independent, 4 × peak", "corrected"
    in_narrow = "no decay", "AdamW", "AdamW in bf16", "the same, compensated"

    rows, compared = Rows(), methods(args.steps)
    for name, method in (progress := tqdm(compared.items())):
        progress.set_description(f"{name:22}")
        fit = jax.vmap(lambda *begun, method=method: train(method, training, *begun))
        trained, paths = jax.jit(fit)(params, batches)
        path = np.mean(paths, axis=0)
        taken = np.asarray(jax.vmap(method.decay)(jnp.arange(args.steps)))
        values = *score(trained), path[args.steps // 2], path[-1], np.max(taken)
        rows[name] = dict(zip(COLUMNS, map(float, values), strict=True))
        if name in in_decays:
            draw(decays, name, method, taken)
        if "bf16" not in name and "compensated" not in name:
            draw(norms, name, method, path)
        if name in in_narrow:
            draw(narrow, name, method, path)

    print_table(rows)
    print("|w|: norm of the second kernel. decay: the largest fraction removed per step.\n")
    in_bf16 = jax.tree.map(lambda w: w[0].astype(jnp.bfloat16), params)
    print(jr.monitoring.decay_resolution(in_bf16, learning_rate=PEAK, weight_decay=DECAY))

    decays.set(title="fraction removed per step", xlabel="step")
    norms.set(title="norm of a normalised layer", xlabel="step", ylim=(0, None))
    narrow.set(title="the same in bf16", xlabel="step", ylim=(0, None))
    for ax, height in ((decays, 0.85), (norms, 0.62), (narrow, 0.72)):
        ax.legend(fontsize=8, loc="center right", bbox_to_anchor=(1, height))
    args.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output / "weight_decay.png", dpi=110)
    return rows


if __name__ == "__main__":
    main()
