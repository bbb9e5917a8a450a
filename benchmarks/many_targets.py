"""Claim: Poisson paths of 50 targets in one call cost a fraction of as many calls.

25,000 samples × 100 features × 50 targets, 10 fractions of L1, each with 8 strengths on 3
folds and on all data, duality gaps of at most 1e-8: 16,000 models. `OPENBLAS_NUM_THREADS=1
python benchmarks/many_targets.py`: threads are over targets. Seconds are those of the
processor, of all cores together, which other jobs disturb little; of the calls one by one,
for some targets, in turn with the others.

Where NeMoS is installed, `--nemos` fits one fraction of L1 with all strengths, without
folds, by its `PopulationGLM` too, each strength from the solution of the one before.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import jaxreg as jr

SAMPLES, FEATURES = 25_000, 100
FRACTION = 0.5
"""The fraction of L1 beside NeMoS."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--fractions", type=int, default=10)
    parser.add_argument("--alone", type=int, default=1, help="targets that are compared")
    parser.add_argument("--nemos", nargs="*", type=float, help="compare at tolerances")
    options = parser.parse_args()
    x, y = data(options.targets)
    if options.fractions:
        beside_calls_one_by_one(x, y, options)
    if options.nemos is not None:
        beside_nemos(x, y, options.nemos or [1e-4])


def data(targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and counts of targets that need a fifth of them each."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, FEATURES))
    used = rng.random((FEATURES, targets)) < 0.2
    w = 0.2 * rng.standard_normal(used.shape) * used
    return x, rng.poisson(np.exp(x @ w))


def beside_calls_one_by_one(x: np.ndarray, y: np.ndarray, options: Any) -> None:
    """All fractions of L1 with folds: the targets in one call, and one by one."""
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


def beside_nemos(x: np.ndarray, y: np.ndarray, tolerances: Sequence[float]) -> None:
    """One fraction of L1 without folds, in float64, by NeMoS too."""
    if importlib.util.find_spec("nemos") is None:
        print('NeMoS is left out: it needs `pip install "nemos>=0.2.8"`.')
        return
    start = time.process_time()
    penalty = jr.convert.from_sklearn(1.0, FRACTION)
    found: Any = jr.poisson_path(x, y, num=8, tol=1e-8, penalty=penalty)
    print(f"jaxreg, L1 and L2 without folds: {time.process_time() - start:.1f} s")
    models = list(
        zip(
            np.stack([path.coefficients for path in found], axis=2),
            np.stack([path.intercepts for path in found], axis=1),
            np.stack([path.strengths for path in found], axis=1),
            strict=True,
        )
    )
    for tol in tolerances:
        seconds = excess = difference = 0.0
        solution = None
        for w, b, strength in models:
            solution, took = nemos_fit(x, y, strength, solution, tol)
            seconds += took
            difference = max(difference, np.max(np.abs(solution[0] - w)))
            least = objective(x, y, (w, b), strength)
            excess = max(excess, np.max(objective(x, y, solution, strength) - least))
        # One iteration more: each fit compiles its program again.
        *_, compiling = nemos_fit(x, y, models[-1][-1], solution, tol, 1)
        print(
            f"NeMoS, tol={tol:g}: {seconds:.0f} s, of which about "
            f"{compiling * len(models):.0f} s compile; objectives are larger by up to "
            f"{excess:.0e}, coefficients differ by {difference:.0e}",
            flush=True,
        )


def nemos_fit(
    x: np.ndarray,
    y: np.ndarray,
    strength: Any,
    solution: Any,
    tol: float,
    steps: int = 10**5,
) -> tuple[Any, float]:
    """Coefficients and intercepts of all targets from a solution, and the seconds."""
    import nemos  # pyright: ignore[reportMissingImports]

    # Its objective is the sum over targets of what jaxreg minimises for each.
    strengths = np.tile(strength, (x.shape[1], 1))
    with jax.enable_x64(True), warnings.catch_warnings(action="ignore"):
        model: Any = nemos.glm.PopulationGLM(
            regularizer="ElasticNet",
            regularizer_strength=(strengths, FRACTION),
            solver_kwargs={"tol": tol, "maxiter": steps},
        )
        start = time.process_time()
        model.fit(x, y, init_params=solution)
        found = np.asarray(model.coef_), np.asarray(model.intercept_)
    return found, time.process_time() - start


def objective(x: np.ndarray, y: np.ndarray, model: Any, strength: np.ndarray) -> np.ndarray:
    """What is minimised, for each target."""
    w, b = model
    scores = x @ w + b
    size = FRACTION * np.abs(w) + (1 - FRACTION) / 2 * w**2
    return np.mean(np.exp(scores) - y * scores, axis=0) + strength * size.sum(axis=0)


if __name__ == "__main__":
    main()
