"""Claim: in a compiled loop monitor, due every 100 steps, costs 1 % of an MLP's step.

Forward, backward and Adam on a 784-1024-1024-10 network with batches of 512, jitted with
donated buffers, 100 steps at a time: `python benchmarks/monitor.py`. Statistics cost about
as much as Adam's own step, so the larger the batch, the less they weigh.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _measure import interleaved, print_ratios

import jaxreg as jr

INPUTS, OUTPUTS = 784, 10
PENALTY = jr.L1(1e-5)


def parameters(width: int) -> list[dict[str, jax.Array]]:
    sizes = INPUTS, width, width, OUTPUTS
    keys = jax.random.split(jax.random.key(0), len(sizes))
    return [
        {"kernel": jax.random.normal(key, (a, b)) / a**0.5, "bias": jnp.zeros(b)}
        for key, a, b in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    logits = x @ params[-1]["kernel"] + params[-1]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def trainer(
    optimizer: optax.GradientTransformation,
    options: argparse.Namespace,
    scanned: bool,
) -> Callable[[], None]:
    """A function that trains for some steps: in a loop over a jitted step, or in one."""
    x = jax.random.normal(jax.random.key(1), (options.batch, INPUTS))
    y = jax.random.randint(jax.random.key(2), (options.batch,), 0, OUTPUTS)

    def step(params: Any, state: Any) -> Any:
        gradients = jax.grad(loss)(params, x, y)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def several(params: Any, state: Any) -> Any:
        return jax.lax.fori_loop(
            0, options.steps, lambda _, carry: step(*carry), (params, state)
        )

    single = jax.jit(step, donate_argnums=(0, 1))
    carry: Any = [parameters(options.width)]
    carry.append(optimizer.init(carry[0]))

    def run() -> None:
        if scanned:
            carry[:] = several(*carry)
        else:
            for _ in range(options.steps):
                carry[:] = single(*carry)
        jax.block_until_ready(carry)

    run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    options = parser.parse_args()
    for name in ("loop", "scan"):
        bare = optax.adam(1e-3)
        optimizers = {
            "bare": bare,
            "monitor": jr.monitor(bare, every=100),
            "monitor with a penalty": jr.monitor(bare, PENALTY, every=100),
            "monitor, due at every step": jr.monitor(bare, PENALTY, every=1),
        }
        runs = {key: trainer(tx, options, name == "scan") for key, tx in optimizers.items()}
        clock = time.process_time if options.cpu_time else time.perf_counter
        seconds = interleaved(runs, options.rounds, clock)
        title = f"{options.steps} steps in a {name}"
        print_ratios(title, seconds, "bare")


if __name__ == "__main__":
    main()
