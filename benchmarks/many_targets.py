"""Claim: Poisson paths of 50 targets in one call cost a fraction of as many calls.

25,000 samples × 100 features × 50 targets, 10 fractions of L1, each with 8 strengths on 3
folds and on all data, duality gaps of at most 1e-8: 16,000 models. `OPENBLAS_NUM_THREADS=1
python benchmarks/many_targets.py`: threads are over targets. Seconds are those of the
processor, of all cores together, which other jobs disturb little; of the calls one by one,
for some targets, in turn with the others.
"""

import argparse
import time
from typing import Any

import numpy as np

import jaxreg as jr

SAMPLES, FEATURES = 25_000, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--fractions", type=int, default=10)
    parser.add_argument("--alone", type=int, default=1, help="targets that are compared")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, FEATURES))
    used = rng.random((FEATURES, options.targets)) < 0.2
    w = 0.2 * rng.standard_normal(used.shape) * used
    y = rng.poisson(np.exp(x @ w))
    cpu = wall = alone = gap = difference = 0.0
    for fraction in np.linspace(1.0, 0.1, options.fractions):
        settings: Any = {"num": 8, "folds": 3, "tol": 1e-8}
        settings["penalty"] = jr.convert.from_sklearn(1.0, float(fraction))
        start, begin = time.process_time(), time.perf_counter()
        found: Any = jr.poisson_path(x, y, **settings)
        cpu += time.process_time() - start
        wall += time.perf_counter() - begin
        gap = max(gap, np.max(np.abs(found.gaps)))
        start = time.process_time()
        for target in range(options.alone):
            one: Any = jr.poisson_path(x, y[:, target], **settings)
            apart = np.abs(one.coefficients - found[target].coefficients)
            difference = max(difference, np.max(apart))
        alone += time.process_time() - start
    each = alone / max(options.alone, 1) * options.targets
    print(f"{options.targets} targets together: {cpu:.0f} s of processors, {wall:.0f} s")
    print(f"one by one: {each:.0f} s, from {options.alone} of them: {each / cpu:.1f} times")
    print(f"largest gap {gap:.0e}, largest difference of coefficients {difference:.0e}")


if __name__ == "__main__":
    main()
