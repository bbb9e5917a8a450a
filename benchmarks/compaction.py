"""Claim: a compacted network is as fast as one that was written with its widths.

A convolutional network keeps 1, 1/2, 1/4 and 1/8 of its channels; beside each compacted one
a network of those widths, both jitted. `fall` is how many times fewer multiply-adds there
are, and how many times less a call takes. Then `compact` itself, in a new process: a GPT-2
of 124 million parameters, of which half of the heads and hidden units are zero, takes less
than a minute and 8 GB: `python benchmarks/compaction.py`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from _measure import interleaved, print_environment, quartiles
from _networks import ConvNet, transformer, without_channels, without_heads_and_units
from _subjects import gpt

import jaxreg as jr

CHILD = "--in-this-process"


def calls(fn: Callable[..., Any], params: Any, x: jax.Array, times: int) -> Any:
    """A run of some calls; once for compiling it."""
    jitted = jax.jit(fn)

    def run() -> None:
        jax.block_until_ready([jitted(params, x) for _ in range(times)])

    run()
    return run


def print_latencies(
    width: int, fractions: Sequence[float], size: int, batches: Sequence[int], rounds: int
) -> None:
    """Latencies of compacted networks beside those of such widths."""
    full = ConvNet(width)
    images = jax.random.normal(jax.random.key(0), (max(batches), size, size, 3))
    variables = full.init(jax.random.key(1), images[:1])
    small = {
        kept: jr.compact(full.apply, without_channels(variables, kept), images[:1])
        for kept in fractions
    }
    for batch in batches:
        x, times = images[:batch], max(1, 64 // batch)
        runs: dict[str, Any] = {}
        for kept, model in small.items():
            written = ConvNet(round(width * kept))
            params = written.init(jax.random.key(1), x[:1])
            runs[f"compacted, {kept:g}"] = calls(model, model.params, x, times)
            runs[f"written, {kept:g}"] = calls(written.apply, params, x, times)
        seconds = interleaved(runs, rounds)
        print(f"\na network of width {width}, {size} x {size} images, batch {batch}")
        print(f"{'kept':>6}{'multiply-adds':>15}{'fall':>7}{'ms':>9}{'fall':>7}", end="")
        print(f"{'/ written':>11}   quartiles")
        whole = seconds[f"compacted, {fractions[0]:g}"]
        for kept, model in small.items():
            own = seconds[f"compacted, {kept:g}"]
            before, after = model.multiply_adds
            low, ratio, high = quartiles(own, seconds[f"written, {kept:g}"])
            print(
                f"{kept:>6g}{after * batch:>15,}{before / after:>7.2f}"
                f"{1e3 * statistics.median(own) / times:>9.3f}"
                f"{quartiles(whole, own)[1]:>7.2f}{ratio:>11.3f}   {low:.3f} .. {high:.3f}",
                flush=True,
            )


def compact_transformer(width: int, depth: int, vocabulary: int) -> dict[str, float]:
    """Seconds and memory of `compact`, in this process."""
    heads = max(1, width // 64)
    params = without_heads_and_units(gpt(width, depth, vocabulary), heads=heads)
    before = _peak_gigabytes()
    start = time.perf_counter()
    small = jr.compact(
        lambda p, x: transformer(p, x, heads=heads), params, jnp.arange(32)[None]
    )
    return {
        "seconds": time.perf_counter() - start,
        "gigabytes": _peak_gigabytes(),
        "gigabytes before": before,
        "parameters": small.parameters[0],
        "after": small.parameters[1],
    }


def _peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--kept", type=float, nargs="+", default=[1, 1 / 2, 1 / 4, 1 / 8])
    parser.add_argument("--size", type=int, default=16, help="of the images")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 256])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--gpt", type=int, nargs=3, default=[768, 12, 50257])
    parser.add_argument(CHILD, action="store_true", help="compact the GPT-2, that is all")
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(compact_transformer(*options.gpt)))
        return
    print_environment()
    print_latencies(
        options.width, options.kept, options.size, options.batches, options.rounds
    )
    done = subprocess.run(
        [sys.executable, __file__, CHILD, "--gpt", *map(str, options.gpt)],
        check=True,
        capture_output=True,
        text=True,
    )
    print("\ncompact in a new process, a GPT-2")
    for name, value in json.loads(done.stdout).items():
        print(f"{name:<18}{value:>15,.2f}")


if __name__ == "__main__":
    main()
