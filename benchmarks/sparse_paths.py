"""Claim: lasso paths of sparse features, certified, in no more time than celer and skglm.

Strengths down to 0.01 of the largest useful one, without an intercept, on synthetic data:
text (20,000 × 100,000, 0.1 % of the entries, columns by Zipf's law) and random (100,000 ×
100,000 with 10 entries a row): `python benchmarks/sparse_paths.py`. Each library at its own
duality gap, measured here and the same way for all, relative to the mean square of the
target. Seconds are elapsed, and of the processor, which a busy machine disturbs less. Peers
that are not installed are left out. Memory is what the process uses at most, less before.
"""

import argparse
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxreg as jr

KINDS = "text", "random"
Run = Callable[[], np.ndarray]


def problem(kind: str, fraction: float) -> tuple[Any, np.ndarray]:
    """Sparse features, and a sparse linear model with noise."""
    from scipy.sparse import csc_matrix

    rng = np.random.default_rng(0)
    features = int(100_000 * fraction)
    samples = features if kind == "random" else features // 5
    if kind == "random":
        counts = rng.binomial(samples, 10 / samples, features)
    else:
        frequency = 1 / np.arange(1, features + 1)
        frequency *= 1e-3 * features / np.sum(frequency)
        counts = rng.binomial(samples, np.minimum(frequency, 0.5))
    rows = [np.sort(rng.choice(samples, count, replace=False)) for count in counts]
    starts = np.concatenate([[0], np.cumsum(counts)])
    values = rng.random(starts[-1]) + 0.1
    if kind == "random":
        values *= rng.choice([-1.0, 1.0], len(values))
    x = csc_matrix((values, np.concatenate(rows), starts), shape=(samples, features))
    w = np.zeros(features)
    chosen = rng.choice(np.flatnonzero(counts >= 5), min(300, features // 20), False)
    w[chosen] = 3 * rng.standard_normal(len(chosen))
    signal = x @ w
    return x, signal + np.std(signal) / 2 * rng.standard_normal(samples)


def largest_gap(x: Any, y: np.ndarray, strengths: np.ndarray, w: np.ndarray) -> float:
    """The largest relative duality gap of coefficients (strengths, features)."""
    gaps = []
    for strength, each in zip(strengths, w, strict=True):
        residuals = y - x @ each
        shrink = min(1.0, strength * len(y) / np.max(np.abs(x.T @ residuals)))
        primal = np.mean(residuals**2) / 2 + strength * np.sum(np.abs(each))
        dual = shrink * np.mean(residuals * y) - shrink**2 * np.mean(residuals**2) / 2
        gaps.append((primal - dual) / np.mean(y**2))
    return max(gaps)


def peers(x: Any, y: np.ndarray, strengths: np.ndarray) -> Iterator[tuple[str, Run]]:
    """Those that are installed, each as a function without arguments."""
    options: Any = {"alphas": strengths, "tol": 1e-6}
    try:
        from celer import celer_path

        yield "celer", lambda: celer_path(x, y, "lasso", **options)[1].T
    except ImportError:
        pass
    try:
        from skglm.datafits import Quadratic
        from skglm.penalties import L1
        from skglm.solvers import AndersonCD

        def skglm() -> np.ndarray:
            solver = AndersonCD(tol=1e-6, fit_intercept=False, max_iter=100)
            found = solver.path(x, y, Quadratic(), L1(1.0), alphas=strengths)
            return found[1].T

        yield "skglm", skglm
    except ImportError:
        pass
    try:
        from sklearn.linear_model import lasso_path

        yield "scikit-learn", lambda: lasso_path(x, y, **options)[1].T
    except ImportError:
        pass


def timed(run: Run) -> tuple[float, float, np.ndarray]:
    elapsed, used = time.perf_counter(), time.process_time()
    w = np.asarray(run())
    return time.perf_counter() - elapsed, time.process_time() - used, w


def peak() -> float:
    """The most memory that this process has used, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(kind: str, num: int, fraction: float, names: list[str]) -> None:
    x, y = problem(kind, fraction)
    size = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / 1e6
    strengths = np.max(np.abs(x.T @ y)) / len(y) * np.geomspace(1.0, 1e-2, num)
    print(f"\n{kind}: {x.shape[0]} samples, {x.shape[1]} features, {size:.0f} MB")
    print(f"{'':<14}{'elapsed':>9}{'used':>9}{'gap':>10}{'memory':>9}")

    def ours() -> np.ndarray:
        return jr.lasso_path(x, y, strengths, intercept=False).coefficients

    small = x[: len(y) // 50, :200], y[: len(y) // 50], strengths[:2]
    for name, run in peers(*small):
        if name in names:
            run()  # Some are compiled by numba when they are first called.
    others = [pair for pair in peers(x, y, strengths) if pair[0] in names]
    for name, run in [("jaxreg", ours), *others]:
        before = peak()
        elapsed, used, w = timed(run)
        more = peak() - before
        gap = largest_gap(x, y, strengths, w)
        line = f"{name:<14}{elapsed:>9.2f}{used:>9.2f}{gap:>10.0e}{more:>6.0f} MB"
        print(f"{line}   {np.count_nonzero(w[-1])} active", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--num", type=int, default=50)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the size")
    parser.add_argument("--peers", nargs="*", default=["celer", "skglm"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for kind in options.kinds:
        compare(kind, options.num, options.fraction, options.peers)


if __name__ == "__main__":
    main()
