"""Claim: no prox costs more than a matrix decomposition, and most at most 5 × that of L1.

Every penalty that has a prox, on one matrix, in the Euclidean metric and in a diagonal
one: `python benchmarks/prox_cost.py`. The spectral ones are also compared with a singular
value decomposition of the matrix.
"""

import argparse
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from _measure import interleaved, print_environment, print_ratios
from _subjects import penalties

STRENGTH = 0.05


def proximal_step(
    call: Callable[[jax.Array, jax.Array | None], object],
    x: jax.Array,
    metric: jax.Array | None,
) -> Callable[[], object]:
    """A run of one call, compiled before."""
    compiled = jax.jit(call).lower(x, metric).compile()
    jax.block_until_ready(compiled(x, metric))
    return lambda: jax.block_until_ready(compiled(x, metric))


def measure(
    title: str, names: list[str], x: jax.Array, metric: jax.Array | None, rounds: int
) -> None:
    """The table for one metric."""
    runs: dict[str, Callable[[], object]] = {}
    for name, penalty in penalties(STRENGTH).items():
        if name not in names or (metric is not None and not penalty.takes_metric):
            continue
        try:
            runs[name] = proximal_step(
                lambda x, metric, penalty=penalty: penalty.unchecked_prox(x, 1.0, metric),
                x,
                metric,
            )
        except (ValueError, RuntimeError) as error:
            print(f"{name}: left out, {error}", flush=True)
    if metric is None:
        runs["singular values, vectors"] = proximal_step(
            lambda x, metric: jnp.linalg.svd(x, full_matrices=False), x, None
        )
    print_ratios(title, interleaved(runs, rounds), "L1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512])
    parser.add_argument("--penalties", nargs="+", default=list(penalties()))
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print_environment()
    for size, is_diagonal in itertools.product(options.sizes, (False, True)):
        x = jax.random.normal(jax.random.key(0), (size, size))
        metric = jnp.exp(jax.random.normal(jax.random.key(1), x.shape))
        kind = "a diagonal metric" if is_diagonal else "no metric"
        title = f"prox, {size} × {size}, {kind}"
        given = metric if is_diagonal else None
        measure(title, options.penalties, x, given, options.rounds)


if __name__ == "__main__":
    main()
