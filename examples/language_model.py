"""Decay or fixed norms: a small language model of characters, four ways to train it.

The text is Python's own help on its language, which comes with every Python. A transformer
of 0.8 million parameters, whose layers are stacked in one leaf of each kind, is trained for
equally many steps under

* AdamW, whose decay remembers as many steps as there are;
* the same with corrected decay on the matrices between norms;
* AdamH: `with_fixed_norm` around Adam, where each layer's matrix has a norm of its own;
* MuonH: the same around Muon.

The learning rate of each is searched by factors of two, on a text for validation, until
both neighbours of the best are worse; only `--rates` ends the search before that, and the
table then says "at an end". The best rate is trained from several seeds, which choose the
start and the batches, the same ones for all methods. The embedding, the last layer and the
scales have Adam with one learning rate for all methods.

Prints a table of means and standard deviations over seeds, of the loss on a text for the
test and of its difference from AdamW's for the same seed. Saves a figure of the training
and of the searches into examples/output. Steps are counted, not seconds: those of MuonH
take longer.
"""

import argparse
import functools
import pathlib
import pydoc_data.topics
import statistics
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
LAYERS, HEADS, CONTEXT, BATCH = 4, 4, 64, 8
OUTER = 2e-3  # The peak of Adam on what is in no layer.
MATRICES = jr.named("layers/(query|key|value|out|up|down)")
COLUMNS = "rate", "at an end", "test", "sd", "to AdamW", "sd", "train", "sec/step"
STYLES: dict[str, dict[str, Any]] = {  # Dashes, since two of the lines are nearly one.
    "AdamW": {"color": "#D55E00", "linewidth": 3, "alpha": 0.6},
    "corrected": {"color": "#000000", "linestyle": "--", "linewidth": 1},
    "AdamH": {"color": "#0072B2", "linestyle": "-."},
    "MuonH": {"color": "#009E73"},
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


# Compiled once, for all methods.
score_of = jax.jit(loss_of)
slopes_of = jax.jit(jax.value_and_grad(loss_of))


# The data.


class Text(NamedTuple):
    """Windows of the text: for each step a batch, and what no batch has."""

    batches: jax.Array
    validation: jax.Array
    test: jax.Array
    vocabulary: int


@functools.cache
def read() -> tuple[np.ndarray, np.ndarray]:
    """The characters that there are, and the text as their numbers."""
    text = "\n".join(pydoc_data.topics.topics.values())
    return np.unique(list(text), return_inverse=True)


def load(steps: int, seed: int) -> Text:
    characters, tokens = read()
    cut = len(tokens) * 9 // 10
    starts = np.random.default_rng(seed).integers(0, cut - CONTEXT - 1, (steps, BATCH))
    behind = np.arange(cut, len(tokens) - CONTEXT - 1, 4 * CONTEXT)

    def windows(starts: np.ndarray) -> jax.Array:
        return jnp.asarray(tokens[starts[..., None] + np.arange(CONTEXT + 1)], jnp.int32)

    parts = windows(starts), windows(behind[::2]), windows(behind[1::2])
    return Text(*parts, len(characters))


# The methods: optimizers of a peak learning rate and a number of steps.


def warmup(peak: Any, steps: int) -> optax.Schedule:
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, max(1, steps // 10), steps)
    return lambda count: peak * shape(count)


def with_outer(inner: optax.GradientTransformation, steps: int) -> Any:
    """`inner` for the matrices of the layers, and Adam for all else."""

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda hit: "in" if hit else "out", MATRICES.of(params))

    outer = optax.adam(warmup(OUTER, steps), b2=0.98)
    return optax.partition({"in": inner, "out": outer}, labels)


def decayed(coupling: Any) -> Callable[[Any, int], Any]:
    def make(peak: Any, steps: int) -> Any:
        rate = warmup(peak, steps)
        decay = jr.convert.weight_decay_of_timescale(steps, peak)
        adam = optax.adam(rate, b2=0.98)
        highest = None if coupling == "learning_rate" else peak
        tx = jr.with_decay(adam, decay, learning_rate=rate, coupling=coupling, peak=highest)
        return with_outer(tx, steps)

    return make


def adam_h(angle: Any, steps: int) -> Any:
    tx = jr.decay.with_fixed_norm(
        optax.adam(1.0, b2=0.98), warmup(angle, steps), matrix_axes=(-2, -1)
    )
    return with_outer(tx, steps)


def muon_h(angle: Any, steps: int) -> Any:
    def dimensions(params: Any) -> Any:
        one = optax.contrib.MuonDimensionNumbers(-2, -1)
        return jax.tree.map(lambda _: one, params)

    muon = optax.contrib.muon(1.0, muon_weight_dimension_numbers=dimensions)
    tx = jr.decay.with_fixed_norm(muon, warmup(angle, steps), matrix_axes=(-2, -1))
    return with_outer(tx, steps)


# Each with the learning rate at which its search begins.
METHODS: dict[str, tuple[Callable[[Any, int], Any], float]] = {
    "AdamW": (decayed("learning_rate"), 2e-3),
    "corrected": (decayed("corrected"), 2e-3),
    "AdamH": (adam_h, 0.02),
    "MuonH": (muon_h, 0.02),
}


class Run(NamedTuple):
    """What a training gave: the loss after each step, and at the end."""

    losses: np.ndarray
    validation_loss: float
    test_loss: float
    seconds: float


class Trainer:
    """Trains by one method, from any seed at any learning rate, compiled once."""

    def __init__(self, make: Callable[[Any, int], Any], steps: int, width: int) -> None:
        self._make, self._steps, self._width = make, steps, width

        def move(params: Any, state: Any, gradients: Any, peak: Any) -> Any:
            updates, state = make(peak, steps).update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        self._move = jax.jit(move)

    def __call__(self, rate: float, seed: int) -> Run:
        text, peak = load(self._steps, seed), jnp.float32(rate)
        params = init(jax.random.key(seed), text.vocabulary, self._width)
        state = self._make(rate, self._steps).init(params)
        losses: list[float] = []
        times = [time.perf_counter()]
        for windows in text.batches:
            loss, gradients = slopes_of(params, windows)
            params, state = self._move(params, state, gradients, peak)
            losses.append(float(loss))
            times.append(time.perf_counter())
        held_out = (
            float(score_of(params, text.validation)),
            float(score_of(params, text.test)),
        )
        return Run(np.array(losses), *held_out, float(np.median(np.diff(times))))


def search(train: Trainer, start: float, most: int) -> tuple[float, dict[float, Run]]:
    """The best learning rate of a grid that grows around it, and all runs at seed 0."""
    runs: dict[int, Run] = {0: train(start, 0)}
    while True:
        best = min(runs, key=lambda i: runs[i].validation_loss)
        beside = [i for i in (best + 1, best - 1) if i not in runs]
        if not beside or len(runs) >= most:
            return start * 2.0**best, {start * 2.0**i: runs[i] for i in sorted(runs)}
        runs[beside[0]] = train(start * 2.0 ** beside[0], 0)


# The results.


class Result(NamedTuple):
    """What a method gave."""

    rate: float
    searched: dict[float, Run]
    runs: list[Run]


def spread(values: Sequence[float]) -> tuple[float, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.mean(values), deviation


def row_of(result: Result, reference: Result) -> dict[str, float]:
    tests = [run.test_loss for run in result.runs]
    pairs = zip(tests, reference.runs, strict=True)
    mean, deviation = spread(tests)
    apart, apart_deviation = spread([mine - theirs.test_loss for mine, theirs in pairs])
    return {
        "best rate": result.rate,
        "at an end": float(result.rate in (min(result.searched), max(result.searched))),
        "test loss": mean,
        "deviation": deviation,
        "to AdamW": apart,
        "deviation to AdamW": apart_deviation,
        "train loss": float(smoothed(result)[-1]),
        "sec/step": statistics.median(run.seconds for run in result.runs),
    }


def smoothed(result: Result) -> np.ndarray:
    """The mean loss over seeds and over a twentieth of the steps."""
    losses = np.mean([run.losses for run in result.runs], axis=0)
    width = max(1, len(losses) // 20)
    return np.convolve(losses, np.ones(width) / width, mode="valid")


def picture(results: dict[str, Result]) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    training, searches = figure.subplots(1, 2, width_ratios=(3, 2))
    for name, result in results.items():
        values = smoothed(result)
        steps = np.arange(len(values)) + len(result.runs[0].losses) - len(values)
        label = f"{name}, {result.rate:g}"
        training.plot(steps, values, label=label, **STYLES[name])
        losses = [run.validation_loss for run in result.searched.values()]
        rates = np.array(list(result.searched)) / result.rate
        searches.plot(rates, losses, marker="o", **STYLES[name])
    training.set(xlabel="step", ylabel="loss of the training, smoothed")
    training.legend(title="method, and its best learning rate")
    searches.set_xscale("log", base=2)
    searches.set(xlabel="learning rate / the best one", ylabel="loss of the validation")
    return figure


def main(argv: Sequence[str] | None = None) -> Rows:
    """Train all methods, print the table, save the figure; return the table."""
    parser = argparse.ArgumentParser(description="A language model, four ways.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rates", type=int, default=8, help="at most, for each method")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    params = init(jax.random.key(0), load(1, 0).vocabulary, args.width)
    size = sum(w.size for w in jax.tree.leaves(params))
    print(f"{size:,} parameters, {args.steps} steps of {BATCH * CONTEXT} characters")
    print(f"{'':10}", *(f"{column:>10}" for column in COLUMNS))
    results: dict[str, Result] = {}
    rows: Rows = {}
    for name, (make, first) in METHODS.items():
        train = Trainer(make, args.steps, args.width)
        rate, searched = search(train, first, args.rates)
        others = [train(rate, seed) for seed in range(1, args.seeds)]
        results[name] = Result(rate, searched, [searched[rate], *others])
        rows[name] = row_of(results[name], results["AdamW"])
        print(f"{name:10}", *(f"{x:10.4g}" for x in rows[name].values()), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    picture(results).savefig(args.output / "language_model.png", dpi=120)
    return rows


if __name__ == "__main__":
    main()
