"""Claim: fixed norms cost a step of Muon at most 1.05 ×; one of Adam, 1.15 × is the aim.

The optimizer alone, without a model, jitted with donated buffers, on stacked square
matrices: `python benchmarks/fixed_norm.py`. `--clock process` counts the time on all cores
without that of other processes, for a shared machine.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import optax
from _measure import interleaved, print_environment, print_ratios, repeated

import jaxreg as jr

AXES = (-2, -1)


def muon(rate: float) -> optax.GradientTransformation:
    def dimensions(params: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(*AXES), params)

    return optax.contrib.muon(rate, muon_weight_dimension_numbers=dimensions)


def optimizers() -> dict[str, optax.GradientTransformation]:
    fixed = jr.decay.with_fixed_norm
    adam, decay = optax.adam(1e-3), jr.decay.spectral_decay
    return {
        "adam": adam,
        "adamw": optax.adamw(1e-3),
        "AdamH": fixed(adam, 0.01, matrix_axes=AXES),
        "AdamH, arc": fixed(adam, 0.01, matrix_axes=AXES, path="arc"),
        "AdamH, spectral": fixed(adam, 0.01, matrix_axes=AXES, norm="spectral"),
        "adam, spectral_decay": optax.chain(
            adam, decay(0.1, learning_rate=1e-3, matrix_axes=AXES)
        ),
        "muon": muon(1e-3),
        "MuonH": fixed(muon(1.0), 0.01, matrix_axes=AXES),
        "MuonH, spectral": fixed(muon(1.0), 0.01, matrix_axes=AXES, norm="spectral"),
    }


def stepping(
    optimizer: optax.GradientTransformation, params: Any, steps: int
) -> Callable[[], None]:
    """A run of some donated steps on its own copy of the parameters."""
    gradients = jax.tree.map(lambda w: 0.01 * w[::-1], params)

    def step(carry: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    carry = jax.tree.map(lambda w: w + 0, params), optimizer.init(params)
    return repeated(jax.jit(step, donate_argnums=0), carry, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=("wall", "process"), default="wall")
    parser.add_argument("--rows", nargs="*", help="only these optimizers")
    options = parser.parse_args()
    print_environment()
    shape = options.layers, options.width, options.width
    params = {"kernel": jax.random.normal(jax.random.key(0), shape)}
    runs = {
        name: stepping(optimizer, params, options.steps)
        for name, optimizer in optimizers().items()
        if not options.rows or name in options.rows
    }
    clock = time.process_time if options.clock == "process" else time.perf_counter
    seconds = interleaved(runs, options.rounds, clock)
    title = f"{options.layers} matrices of {options.width} × {options.width}, float32"
    baselines = [name for name in ("adam", "muon") if name in runs]
    print_ratios(title, seconds, *baselines, steps=options.steps)


if __name__ == "__main__":
    main()
