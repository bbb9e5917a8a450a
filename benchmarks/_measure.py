"""How all benchmarks measure: interleaved runs, medians, ratios to a baseline."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each run in each round; every round runs all of them in turn.

    A shared machine changes speed from minute to minute: only ratios within one round
    can be trusted. `time.process_time` as the clock counts the time on all cores, without
    that of other processes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return seconds


def print_ratios(
    title: str,
    seconds: Mapping[str, list[float]],
    *baselines: str,
    steps: int = 1,
    floor: float = 0.0,
) -> None:
    """A table of medians (in milliseconds) and of median ratios to one or two baselines.

    Args:
        title: What the table shows.
        seconds: Of each run in each round.
        *baselines: The runs that the others are compared with; quartiles are of the
            ratio to the first.
        steps: How many steps a run makes; the medians are of one of them.
        floor: Seconds that a step must take. If given, the share of it in each median is
            shown: the part of the copy bandwidth that the run attains.
    """
    head = f"{'':<30}{'median ms':>10}" + f"{'floor':>8}" * bool(floor)
    print(f"\n{title}\n{head}" + "".join(f"{f'/ {name}':>16}" for name in baselines))
    for name, times in seconds.items():
        median = statistics.median(times) / steps
        line = f"{name:<30}{median * 1e3:>10.3f}" + f"{floor / median:>8.0%}" * bool(floor)
        columns = [quartiles(times, seconds[baseline]) for baseline in baselines]
        low, _, high = columns[0]
        line += "".join(f"{middle:>16.3f}" for _, middle, _ in columns)
        print(f"{line}   quartiles {low:.3f} .. {high:.3f}", flush=True)


def quartiles(times: Sequence[float], base: Sequence[float]) -> list[float]:
    """Of the ratios within each round."""
    ratios = [time / other for time, other in zip(times, base, strict=True)]
    if len(ratios) == 1:
        return ratios * 3
    return statistics.quantiles(ratios, n=4, method="inclusive")


def print_environment() -> None:
    """What the figures depend on: the device, and versions."""
    device = jax.devices()[0]
    print(
        f"{device.platform}: {device.device_kind}; Python {platform.python_version()}, "
        f"jax {jax.__version__}, optax {optax.__version__}",
        flush=True,
    )


def is_cpu() -> bool:
    """Whether JAX computes on the CPU."""
    return jax.default_backend() == "cpu"


def repeated(call: Callable[[Any], Any], carry: Any, times: int) -> Callable[[], None]:
    """A run of several calls, each on the last one's result; once for warming up."""
    state = [carry]

    def run() -> None:
        for _ in range(times):
            state[0] = call(state[0])
        jax.block_until_ready(state[0])

    run()
    return run


def copy_bandwidth(size: int = 2**26, rounds: int = 10) -> float:
    """Bytes that a device reads and writes in a second: the best of some rounds.

    Args:
        size: Number of float32 entries; they must not fit into a cache.
        rounds: How many times to look.
    """
    steps = 5
    start = jnp.zeros(size)
    runs = {
        "in place": repeated(jax.jit(lambda x: x + 1, donate_argnums=0), start + 0, steps),
        "to another place": repeated(jax.jit(lambda x: x + 1), start, steps),
    }
    seconds = interleaved(runs, rounds)
    return 2 * start.nbytes * steps / min(min(times) for times in seconds.values())
