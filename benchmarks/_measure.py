"""How all benchmarks measure: interleaved runs, medians, ratios to a baseline."""

import statistics
import time
from collections.abc import Callable, Mapping


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
    title: str, seconds: Mapping[str, list[float]], baseline: str, unit: float = 1e3
) -> None:
    """A table of medians (in milliseconds) and of median ratios to a baseline."""
    print(f"\n{title}\n{'':<28}{'median ms':>10}{'ratio':>8}   ratio to {baseline}")
    for name, times in seconds.items():
        ratios = [t / base for t, base in zip(times, seconds[baseline], strict=True)]
        low, middle, high = (
            statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        )
        print(
            f"{name:<28}{statistics.median(times) * unit:>10.2f}{middle:>8.3f}"
            f"   quartiles {low:.3f} .. {high:.3f}"
        )
