"""Claim: a lasso path of rows that do not fit takes as long as reading them, and no memory.

Batches come from a generator, so that nothing is on a disk: `python benchmarks/moments.py
--gigabytes 40`. Of one batch, what is compared is the path with that of the rows in memory.
Memory is what the process uses at most, less before.
"""

import argparse
import resource
import time

import numpy as np

import jaxreg as jr
from jaxreg.solve import Moments

FEATURES, ROWS = 500, 20_000


def peak() -> float:
    """The most memory that this process has used, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES), dtype=np.float32)
    y = x[:, :20].sum(axis=1) + rng.standard_normal(ROWS, dtype=np.float32)
    count = max(int(options.gigabytes * 1e9 / x.nbytes), 1)
    jr.lasso_path(Moments.of(x[:1000], y[:1000]), num=50, ratio=0.01)  # Compiles.
    before = peak()
    start = time.perf_counter()
    moments = Moments.of(x, y)
    for number in range(1, count):
        # Other rows, at the cost of a copy: batches of the same numbers in turn.
        moments += Moments.of(np.roll(x, number, axis=1), y)
    read = time.perf_counter() - start
    start = time.perf_counter()
    found = jr.lasso_path(moments, num=50, ratio=0.01)
    solved = time.perf_counter() - start
    size = count * x.nbytes / 1e9
    print(f"{count * ROWS} × {FEATURES} in float32, {size:.1f} GB: {read:.1f} s to add up")
    print(f"path of 50 strengths {solved:.2f} s, gaps at most {np.max(found.gaps):.0e}")
    print(f"memory {peak() - before:.0f} MB, of which a batch and its copy are 80 MB")
    one = jr.lasso_path(x, y, num=50, ratio=0.01)
    same = jr.lasso_path(Moments.of(x, y), num=50, ratio=0.01)
    difference = np.max(np.abs(one.coefficients - same.coefficients))
    print(f"difference from the path in memory: {difference:.0e}")


if __name__ == "__main__":
    main()
