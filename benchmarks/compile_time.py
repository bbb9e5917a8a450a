"""Claim: at 1,000 leaves prox_adam traces and compiles within 1.25 × optax.adamw.

Tracing, lowering and compiling one optimizer step, against the number of leaves:
`python benchmarks/compile_time.py`.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import optax
from _measure import interleaved, print_ratios
from step_time import optimizers, parameters


def compiler(optimizer: optax.GradientTransformation, params: Any) -> Callable[[], None]:
    """A function that compiles one step afresh."""
    state = optimizer.init(params)

    def run() -> None:
        def step(params: Any, state: Any, gradients: Any) -> Any:
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        jax.jit(step).lower(params, state, params).compile()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for leaves in options.leaves:
        params = parameters(leaves, 256 * leaves, "float32")
        runs = {name: compiler(tx, params) for name, tx in optimizers().items()}
        seconds = interleaved(runs, options.rounds)
        print_ratios(f"trace, lower and compile, {leaves} leaves", seconds, "optax.adamw")


if __name__ == "__main__":
    main()
