"""Decay or fixed norms: a small language model of characters, four ways to train it.

The text is Python's own help on its language, which comes with every Python. A transformer
of 2.4 million parameters, whose layers are stacked in one leaf of each kind, is trained for
equally many steps under

* AdamW, whose decay remembers as many steps as there are;
* the same with corrected decay on the matrices between norms;
* AdamH: `with_fixed_norm` around Adam, where each layer's matrix has a norm of its own;
* MuonH: the same around Muon.

Each has three learning rates, a factor of two apart, and the best of them counts; it is
marked if it is the first or the last, and so perhaps not the best there is. The embedding,
the last layer and the scales have Adam with one learning rate for all methods.

Prints a table and saves a figure of the loss against steps into examples/output. This is
one seed of a short run of a small model: differences below 0.02 mean nothing.
"""

import argparse
import pathlib
import pydoc_data.topics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxreg as jr

Rows = dict[str, dict[str, float]]

OUTPUT = pathlib.Path(__file__).parent / "output"
LAYERS, HEADS, CONTEXT, BATCH = 4, 4, 64, 4
OUTER = 2e-3  # The peak of Adam on what is in no layer.
MATRICES = jr.named("layers/(query|key|value|out|up|down)")
COLUMNS = "test loss", "train loss", "best rate", "at an end", "sec/step"
COLORS = {
    "AdamW": "#D55E00",
    "corrected": "#E69F00",
    "AdamH": "#0072B2",
    "MuonH": "#009E73",
}


# The model.


def init(key: jax.Array, vocabulary: int, width: int) -> Any:
    """Random parameters; the first axis of those in `layers` numbers the layers."""

    def normal(index: int, *shape: int) -> jax.Array:
        scale = shape[-2] ** -0.5
        return scale * jax.random.normal(jax.random.fold_in(key, index), shape)

    square = (LAYERS, width, width)
    names = "query", "key", "value", "out"
    layers = {name: normal(i, *square) for i, name in enumerate(names)}
    layers["up"] = normal(4, LAYERS, width, 4 * width)
    layers["down"] = normal(5, LAYERS, 4 * width, width)
    layers["norm_scale"] = jnp.ones((LAYERS, 2, width))
    embed = jax.random.normal(jax.random.fold_in(key, 6), (vocabulary, width))
    return {
        "layers": layers,
        "embed": 0.5 * embed,
        "positions": 0.1 * normal(7, CONTEXT, width) * CONTEXT**0.5,
        "head": normal(8, width, vocabulary),
        "final_scale": jnp.ones(width),
    }


def normalised(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


def attention(layer: Any, x: jax.Array) -> jax.Array:
    batch, length, _ = x.shape

    def heads(name: str) -> jax.Array:
        return jnp.reshape(x @ layer[name], (batch, length, HEADS, -1))

    mixed = jax.nn.dot_product_attention(
        normalised(heads("query")), normalised(heads("key")), heads("value"), is_causal=True
    )
    return jnp.reshape(mixed, x.shape) @ layer["out"]


def block(x: jax.Array, layer: Any) -> tuple[jax.Array, None]:
    first, second = layer["norm_scale"]
    x = x + attention(layer, first * normalised(x))
    return x + jax.nn.gelu(second * normalised(x) @ layer["up"]) @ layer["down"], None


def scores_of(params: Any, tokens: jax.Array) -> jax.Array:
    x = params["embed"][tokens] + params["positions"]
    x, _ = jax.lax.scan(block, x, params["layers"])
    return (params["final_scale"] * normalised(x)) @ params["head"]


def loss_of(params: Any, windows: jax.Array) -> jax.Array:
    """The mean cross-entropy of each next character."""
    scores = scores_of(params, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(scores, windows[:, 1:]).mean()


# The data.


class Text(NamedTuple):
    """Windows of the text: for each step a batch, and some that are held out."""

    batches: jax.Array
    held_out: jax.Array
    vocabulary: int


def load(steps: int) -> Text:
    text = "\n".join(pydoc_data.topics.topics.values())
    characters, tokens = np.unique(list(text), return_inverse=True)
    cut = len(tokens) * 9 // 10
    starts = np.random.default_rng(0).integers(0, cut - CONTEXT - 1, (steps, BATCH))
    window = np.arange(CONTEXT + 1)
    behind = np.arange(cut, len(tokens) - CONTEXT - 1, 20 * CONTEXT)[:24]
    return Text(
        jnp.asarray(tokens[starts[..., None] + window], jnp.int32),
        jnp.asarray(tokens[behind[:, None] + window], jnp.int32),
        len(characters),
    )


# The methods: optimizers of a peak learning rate and a number of steps.


def warmup(peak: float, steps: int) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, peak, max(1, steps // 10), steps)


def with_outer(inner: optax.GradientTransformation, steps: int) -> Any:
    """`inner` for the matrices of the layers, and Adam for all else."""

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda hit: "in" if hit else "out", MATRICES.of(params))

    outer = optax.adam(warmup(OUTER, steps), b2=0.98)
    return optax.partition({"in": inner, "out": outer}, labels)


def decayed(coupling: Any) -> Callable[[float, int], Any]:
    def make(peak: float, steps: int) -> Any:
        rate = warmup(peak, steps)
        decay = jr.convert.weight_decay_of_timescale(steps, peak)
        adam = optax.adam(rate, b2=0.98)
        highest = None if coupling == "learning_rate" else peak
        tx = jr.with_decay(adam, decay, learning_rate=rate, coupling=coupling, peak=highest)
        return with_outer(tx, steps)

    return make


def adam_h(angle: float, steps: int) -> Any:
    tx = jr.decay.with_fixed_norm(
        optax.adam(1.0, b2=0.98), warmup(angle, steps), matrix_axes=(-2, -1)
    )
    return with_outer(tx, steps)


def muon_h(angle: float, steps: int) -> Any:
    def dimensions(params: Any) -> Any:
        one = optax.contrib.MuonDimensionNumbers(-2, -1)
        return jax.tree.map(lambda _: one, params)

    muon = optax.contrib.muon(1.0, muon_weight_dimension_numbers=dimensions)
    tx = jr.decay.with_fixed_norm(muon, warmup(angle, steps), matrix_axes=(-2, -1))
    return with_outer(tx, steps)


METHODS: dict[str, tuple[Callable[[float, int], Any], tuple[float, ...]]] = {
    "AdamW": (decayed("learning_rate"), (1e-3, 2e-3, 4e-3)),
    "corrected": (decayed("corrected"), (1e-3, 2e-3, 4e-3)),
    "AdamH": (adam_h, (0.01, 0.02, 0.04)),
    "MuonH": (muon_h, (0.01, 0.02, 0.04)),
}


class Run(NamedTuple):
    """What a training gave: the loss after each step, and at the end."""

    losses: np.ndarray
    test_loss: float
    seconds: float


def train(tx: Any, params: Any, text: Text) -> Run:
    @jax.jit
    def step(params: Any, state: Any, windows: jax.Array) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, windows)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, losses = tx.init(params), []
    step(params, state, text.batches[0])  # Compiled before it is timed.
    began = time.perf_counter()
    for windows in text.batches:
        params, state, loss = step(params, state, windows)
        losses.append(float(loss))
    seconds = (time.perf_counter() - began) / len(losses)
    test = jax.jit(loss_of)(params, text.held_out)
    return Run(np.array(losses), float(test), seconds)


def smoothed(losses: np.ndarray) -> np.ndarray:
    width = max(1, len(losses) // 20)
    return np.convolve(losses, np.ones(width) / width, mode="valid")


def main(argv: Sequence[str] | None = None) -> Rows:
    """Train all methods, print the table, save the figure; return the table."""
    parser = argparse.ArgumentParser(description="A language model, four ways.")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--rates", type=int, default=3, help="how many for each method")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    text = load(args.steps)
    params = init(jax.random.key(0), text.vocabulary, args.width)
    size = sum(w.size for w in jax.tree.leaves(params))
    print(f"{size:,} parameters, {args.steps} steps of {BATCH * CONTEXT} characters")
    print(f"{'':12}", *(f"{column:>12}" for column in COLUMNS))
    rows: Rows = {}
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    for name, (make, every) in METHODS.items():
        rates = every[: args.rates]
        runs = [train(make(rate, args.steps), params, text) for rate in rates]
        best = int(np.argmin([run.test_loss for run in runs]))
        run = runs[best]
        rows[name] = {
            "test loss": run.test_loss,
            "train loss": float(smoothed(run.losses)[-1]),
            "best rate": rates[best],
            "at an end": float(best in (0, len(rates) - 1)),
            "sec/step": run.seconds,
        }
        print(f"{name:12}", *(f"{x:12.4g}" for x in rows[name].values()), flush=True)
        values = smoothed(run.losses)
        shift = len(run.losses) - len(values)
        label = f"{name}, {rates[best]:g}"
        ax.plot(np.arange(len(values)) + shift, values, color=COLORS[name], label=label)
    ax.set(xlabel="step", ylabel="loss of the training, smoothed", yscale="log")
    ax.legend(title="method, and its best learning rate")
    args.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output / "language_model.png", dpi=120)
    return rows


if __name__ == "__main__":
    main()
