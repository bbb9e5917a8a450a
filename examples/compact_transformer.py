"""From zeros to a smaller transformer: train, cut, train on.

The character model of `language_model.py`, its layers one by one, learns Python's help
texts under a group lasso on coupled groups: an attention head, a hidden unit, a channel of
the residual stream in all that writes to it. What becomes zero `compact` cuts out, and each
layer keeps as many heads and units as it needs. Then the smaller model is trained on
without the penalty. Prints test loss, parameters, multiply-adds and the time of a call for
each strength, and draws the widths of the smallest into `compact_transformer.png`.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax
from compact import milliseconds
from language_model import LAYERS, Text, block, init, load, normalised, warmup

import jaxreg as jr
from jaxreg import plot
from jaxreg.compaction import Compaction

RATE, RATE_AFTER = 4e-3, 1e-3
COLUMNS = "strength", "test loss", "trained on", "parameters", "MACs", "ms, 1", "ms, 24"


def unstacked(params: Any, count: int) -> Any:
    """The parameters of some layers, each in a dict, so that each has its own widths."""
    layers = [jax.tree.map(lambda x, i=i: x[i], params["layers"]) for i in range(count)]
    return {**params, "layers": layers}


def scores_of(params: Any, tokens: jax.Array) -> jax.Array:
    """Scores of each next character."""
    x = params["embed"][tokens] + params["positions"]
    for layer in params["layers"]:
        x, _ = block(x, layer)
    return (params["final_scale"] * normalised(x)) @ params["head"]


def loss_of(fn: Callable[..., Any], params: Any, windows: jax.Array) -> jax.Array:
    """The mean cross-entropy of each next character."""
    scores = fn(params, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(scores, windows[:, 1:]).mean()


def trained(fn: Callable[..., Any], params: Any, tx: Any, batches: jax.Array) -> Any:
    """The parameters after a step for each batch."""

    def step(carry: Any, windows: jax.Array) -> Any:
        params, state = carry
        gradients = jax.grad(lambda p: loss_of(fn, p, windows))(params)
        updates, state = tx.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), batches)[0][0]


def trainer(start: Any, text: Text) -> Callable[[float], Any]:
    """From a strength to the trained parameters; one program for all strengths."""
    groups = jr.coupled_groups(scores_of, start, text.test[:1, :-1])
    rate = warmup(RATE, len(text.batches))

    @jax.jit
    def train(strength: Any) -> Any:
        tx = jr.prox_adam(rate, jr.GroupLasso(strength, groups=groups))
        return trained(scores_of, start, tx, text.batches)

    return train


def train_on(small: Compaction, text: Text, steps: int) -> Any:
    """The parameters of a smaller model after some more steps of Adam."""
    tx = optax.adam(warmup(RATE_AFTER, steps))
    train = jax.jit(lambda p, batches: trained(small, p, tx, batches))
    return train(small.params, text.batches[:steps])


def main(argv: Sequence[str] | None = None) -> dict[float, dict[str, float]]:
    """Train with all strengths, print the table, draw the smallest."""
    parser = argparse.ArgumentParser(description="From zeros to a smaller transformer.")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=LAYERS, help=f"at most {LAYERS}")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 1e-4, 3e-4, 1e-3])
    parser.add_argument("--output", type=pathlib.Path, default="examples/output")
    options = parser.parse_args(argv)
    text = load(options.steps, seed=0)
    stacked = init(jax.random.key(0), text.vocabulary, options.width)
    start = unstacked(stacked, options.layers)
    train = trainer(start, text)
    tokens = text.test[:, :-1]
    print("".join(f"{name:>12}" for name in COLUMNS))
    rows: dict[float, dict[str, float]] = {}
    small = None
    for strength in options.strengths:
        small = jr.compact(scores_of, train(strength), tokens[:1])
        better = train_on(small, text, max(1, options.steps // 5))
        values = (
            strength,
            loss_of(small, small.params, text.test),
            loss_of(small, better, text.test),
            small.parameters[1],
            small.multiply_adds[1],
            milliseconds(small, small.params, tokens[:1]),
            milliseconds(small, small.params, tokens),
        )
        rows[strength] = dict(zip(COLUMNS, map(float, values), strict=True))
        print("".join(f"{value:12.5g}" for value in values), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    assert small is not None
    figure, ax = plot.plt.subplots(figsize=(7, 9), layout="constrained")
    plot.compaction(small, ax)
    figure.savefig(options.output / "compact_transformer.png", dpi=150)
    return rows


if __name__ == "__main__":
    main()
