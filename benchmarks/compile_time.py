"""Claim: at 1,000 leaves prox_adam traces and compiles within 1.25 × optax.adamw.

Tracing, lowering and compiling one optimizer step, against the number of leaves:
`python benchmarks/compile_time.py`; `--rows` may also name the other decays and `monitor`
of `_subjects.decays`. The first step that a program takes waits for the sum.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import optax
from _measure import interleaved, print_environment, print_ratios
from _subjects import decays, filled, layers, optimizers, stepper

STAGES = "trace", "lower", "compile"


def staged(
    optimizer: optax.GradientTransformation, params: Any
) -> dict[str, Callable[[], None]]:
    """Functions that trace, lower and compile one step afresh, to be called in order."""
    carry, made = (params, optimizer.init(params)), {}

    def trace() -> None:
        step = stepper(optimizer)
        made["traced"] = jax.jit(lambda *carry: step(*carry)).trace(carry, params)

    def lower() -> None:
        made["lowered"] = made["traced"].lower()

    def compile() -> None:
        made["lowered"].compile()

    return dict(zip(STAGES, (trace, lower, compile), strict=True))


def measure(leaves: int, rows: list[str], rounds: int) -> None:
    """The tables for one number of leaves."""
    params = filled(layers(leaves, 256 * leaves))
    runs = {
        f"{stage}: {name}": run
        for name, make in (optimizers() | decays()).items()
        if name in rows
        for stage, run in staged(make(), params).items()
    }
    seconds = interleaved(runs, rounds)
    parts = {
        stage: {name: seconds[f"{stage}: {name}"] for name in rows} for stage in STAGES
    }
    parts["trace, lower and compile"] = {
        name: [sum(times) for times in zip(*(parts[s][name] for s in STAGES), strict=True)]
        for name in rows
    }
    for stage, times in parts.items():
        print_ratios(f"{stage}, {leaves:,} leaves", times, "optax.adamw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, nargs="+", default=[10, 100, 300, 1000, 3000])
    parser.add_argument("--rows", nargs="+", default=list(optimizers()))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_environment()
    for leaves in options.leaves:
        measure(leaves, options.rows, options.rounds)


if __name__ == "__main__":
    main()
