"""Claim: prox_adam with L1 costs at most 1.05 × optax.adam, decay 1.03 × optax.adamw.

The optimizer alone, without a model, jitted with donated buffers, on trees of parameters
of several kinds: `python benchmarks/step_time.py`. `--tables decays penalties` adds the
other decays, and every penalty in Adam's metric; `by-hand` the slow ones beside the same
steps written by hand. Every table also compares with the floor:
the time that reading p, g, m and v and writing p, m and v takes at the copy bandwidth that
is measured first. With bfloat16, optax keeps moments in bfloat16 too, and
`with_kahan_compensation` in float32. PyTorch's rows are left out where it is not installed.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _by_hand import steps_by_hand
from _measure import (
    copy_bandwidth,
    interleaved,
    is_cpu,
    print_environment,
    print_ratios,
    repeated,
)
from _subjects import TREES, Optimizers, decays, filled, in_adam, optimizers, stepper
from _torch_steps import torch_runs

SLOW = (
    "prox_adam, GroupLasso",
    "constrained_parameter_regularization",
    "orthant_wise adam",
    "dual_averaging_adam, L1",
)


def beside_those_by_hand() -> Optimizers:
    """The slow ones, and the same by hand."""
    rows = optimizers() | decays()
    return {name: rows[name] for name in SLOW} | steps_by_hand()


TABLES: dict[str, Callable[[], Optimizers]] = {
    "main": optimizers,
    "decays": decays,
    "penalties": in_adam,
    "by-hand": beside_those_by_hand,
}
BASELINES = "optax.adam", "optax.adamw"


def stepping(
    optimizer: optax.GradientTransformation, params: Any, steps: int, in_one_program: bool
) -> Callable[[], None]:
    """A run of some donated steps on its own copy of the parameters."""
    step = stepper(optimizer)
    gradients = jax.tree.map(lambda w: 0.01 * jnp.cos(w), params)

    def loop(carry: Any, gradients: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, carry: step(carry, gradients), carry)

    carry = jax.tree.map(jnp.copy, params), optimizer.init(params)
    jitted = jax.jit(loop if in_one_program else step, donate_argnums=0)
    compiled = jitted.lower(carry, gradients).compile()
    times = 1 if in_one_program else steps
    return repeated(lambda carry: compiled(carry, gradients), carry, times)


def free_memory() -> float:
    """Bytes that arrays may take on the device."""
    if stats := jax.devices()[0].memory_stats():
        return 0.9 * (stats["bytes_limit"] - stats["bytes_in_use"])
    return 0.6 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def chunks(rows: Optimizers, size: int) -> Iterator[Optimizers]:
    """Rows that fit into memory together with the baselines that each table needs."""
    base = {name: make for name, make in optimizers().items() if name in BASELINES}
    others = [(name, make) for name, make in rows.items() if name not in base]
    count = size - len(base)
    for start in range(0, max(1, len(others)), count):
        yield base | dict(others[start : start + count])


def prepared(rows: Optimizers, params: Any, options: Any) -> dict[str, Callable[[], None]]:
    """A run for each row; compiling them takes most of the time, so all cores do it."""
    runs: dict[str, Callable[[], None]] = {}
    with ThreadPoolExecutor() as pool:
        started = {
            name: pool.submit(
                lambda make=make: stepping(
                    make(), params, options.steps, options.in_one_program
                )
            )
            for name, make in rows.items()
        }
        for name, future in started.items():
            try:
                runs[name] = future.result()
            except (ValueError, RuntimeError) as error:
                print(f"{name}: left out, {error}", flush=True)
    return runs


def measure(
    title: str, params: Any, rows: Optimizers, bandwidth: float, options: Any
) -> None:
    """One table, or several if not all rows fit into memory at once."""
    nbytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    at_once = int(free_memory() / nbytes / 4) - 1
    if at_once < 3:
        print(f"\n{title}: left out, there is not enough memory", flush=True)
        return
    for chunk in chunks(rows, at_once):
        runs = prepared(chunk, params, options)
        if options.torch:
            runs |= torch_runs(params, options.steps)
        seconds = interleaved(runs, options.rounds)
        floor = 7 * nbytes / bandwidth
        print_ratios(title, seconds, *BASELINES, steps=options.steps, floor=floor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", nargs="+", default=["one leaf", "resnet"], choices=TREES)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--tables", nargs="+", default=["main"], choices=TABLES)
    parser.add_argument("--rows", nargs="+", help="only these rows, and the baselines")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=2, help="in a row, timed together")
    parser.add_argument(
        "--in-one-program", action="store_true", help="a loop in XLA, not one in Python"
    )
    parser.add_argument(
        "--copied", type=int, help="numbers that are copied to find the bandwidth"
    )
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no table after")
    options = parser.parse_args()
    begin = time.perf_counter()
    print_environment()
    bandwidth = copy_bandwidth(options.copied or (2**26 if is_cpu() else 2**28))
    print(f"copy bandwidth: {bandwidth / 1e9:,.0f} GB/s", flush=True)
    for tree, dtype, table in itertools.product(
        options.trees, options.dtypes, options.tables
    ):
        if time.perf_counter() - begin > options.seconds:
            print(f"\n{tree}, {dtype}, {table}: left out, the time is up", flush=True)
            continue
        params = filled(TREES[tree](), dtype)
        rows = TABLES[table]()
        if options.rows:
            rows = {name: make for name, make in rows.items() if name in options.rows}
        leaves = jax.tree.leaves(params)
        size = sum(leaf.size for leaf in leaves)
        how = "in one program" if options.in_one_program else "dispatched one by one"
        title = f"{tree}: {len(leaves)} leaves, {size:,} {dtype}, steps {how}"
        measure(title, params, rows, bandwidth, options)


if __name__ == "__main__":
    main()
