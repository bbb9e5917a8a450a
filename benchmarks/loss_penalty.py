"""Claim: beside a training step a proximal step or a decay costs at most 3 %.

A penalty in the loss, with its value and its gradient by autodiff, costs one more pass over
the weights. An MLP at batch 128: `python benchmarks/loss_penalty.py`.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _measure import interleaved, print_environment, print_ratios, repeated
from _subjects import LEARNING_RATE, filled

import jaxreg as jr

BATCH = 128
BASELINE = "no penalty"


def data_loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy of a network with two hidden layers."""
    for layer in ("first", "second"):
        x = jax.nn.relu(x @ params[layer]["kernel"] + params[layer]["bias"])
    scores = x @ params["head"]["kernel"] + params["head"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def no_penalty(params: Any) -> float:
    """The bare loss."""
    del params
    return 0.0


Way = tuple[Callable[[Any], Any], optax.GradientTransformation]


def ways() -> dict[str, Way]:
    """What is added to the loss, and the optimizer."""
    adam = optax.adam(LEARNING_RATE)
    in_loss = {
        "L1": jr.L1(1e-5),
        "L2": jr.L2(1e-5),
        "ElasticNet": jr.ElasticNet(1e-5, 1e-5),
        "GroupLasso": jr.GroupLasso(1e-5),
        "MCP": jr.MCP(1e-5),
    }
    return {
        BASELINE: (no_penalty, adam),
        "no penalty, again": (no_penalty, adam),
        **{f"{name} in the loss": (penalty, adam) for name, penalty in in_loss.items()},
        "add_l2_decay": (no_penalty, optax.chain(jr.add_l2_decay(2e-5), adam)),
        "decoupled decay": (
            no_penalty,
            jr.with_decay(adam, 1e-2, learning_rate=LEARNING_RATE),
        ),
        "prox_adam, L1": (no_penalty, jr.prox_adam(LEARNING_RATE, jr.L1(1e-5))),
    }


def training(way: Way, params: Any, steps: int) -> Callable[[], None]:
    """A run of some training steps."""
    penalty, optimizer = way
    x = jnp.cos(jnp.arange(BATCH * 784.0)).reshape(BATCH, 784)
    y = jnp.arange(BATCH) % 10

    def step(carry: Any, x: jax.Array, y: jax.Array) -> Any:
        params, state, _ = carry
        value, gradients = jax.value_and_grad(
            lambda params: data_loss(params, x, y) + penalty(params)
        )(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    jitted = jax.jit(step, donate_argnums=0)
    start = jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.zeros(())
    return repeated(lambda carry: jitted(carry, x, y), start, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10, help="timed together")
    parser.add_argument("--rows", nargs="+", default=list(ways()))
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print_environment()
    sizes = {"first": (784, options.hidden), "second": (options.hidden, options.hidden)}
    sizes["head"] = (options.hidden, 10)
    shapes = {name: {"kernel": s, "bias": s[1:]} for name, s in sizes.items()}
    params = filled(shapes)
    runs = {
        name: training(way, params, options.steps)
        for name, way in ways().items()
        if name in (BASELINE, *options.rows)
    }
    seconds = interleaved(runs, options.rounds)
    title = f"training step, 784-{options.hidden}-{options.hidden}-10, batch {BATCH}"
    print_ratios(title, seconds, BASELINE, steps=options.steps)


if __name__ == "__main__":
    main()
