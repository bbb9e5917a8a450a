"""Claim: whole lasso paths, exact, in less time than any peer takes.

100 strengths down to 0.01 of the largest useful one, on three problems with correlated
features, in float64: `python benchmarks/lasso_path.py`. Each at its own duality
gap, measured here and the same way for all, relative to the mean square of the target.
Peers that are not installed are left out. Cold times are those of the first call; the
others are the best of some rounds.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxreg as jr

PROBLEMS = {"A": (1000, 10_000, 100), "B": (20_000, 500, 50), "C": (100, 50_000, 10)}
STRENGTHS, RATIO, CORRELATION, SIGNAL_TO_NOISE = 100, 1e-2, 0.5, 3.0
Run = Callable[[], np.ndarray]


def problem(samples: int, features: int, active: int) -> tuple[np.ndarray, np.ndarray]:
    """Autoregressive features, and a sparse linear model with noise."""
    rng = np.random.default_rng(0)
    x = np.asfortranarray(rng.standard_normal((samples, features)))
    for j in range(1, features):
        x[:, j] *= np.sqrt(1 - CORRELATION**2)
        x[:, j] += CORRELATION * x[:, j - 1]
    w = np.zeros(features)
    chosen = rng.permutation(features)[:active]
    w[chosen] = rng.choice([-1.0, 1.0], active) * (0.5 + rng.random(active))
    signal, noise = x @ w, rng.standard_normal(samples)
    ratio = np.linalg.norm(signal) / np.linalg.norm(noise) / SIGNAL_TO_NOISE
    return x, signal + ratio * noise


def largest_gap(
    x: np.ndarray, y: np.ndarray, strengths: np.ndarray, w: np.ndarray
) -> float:
    """The largest relative duality gap of coefficients (strengths, features)."""
    residuals = y - w @ x.T
    largest = np.max(np.abs(residuals @ x), axis=1) / len(y)
    shrink = np.minimum(1.0, strengths / largest)
    primal = np.mean(residuals**2, axis=1) / 2 + strengths * np.sum(np.abs(w), axis=1)
    dual = shrink * np.mean(residuals * y, axis=1)
    dual -= shrink**2 * np.mean(residuals**2, axis=1) / 2
    return float(np.max(primal - dual) / np.mean(y**2))


def peers(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> Iterator[tuple[str, Run]]:
    """Those that are installed, each as a function without arguments."""
    wide = x.shape[1] > x.shape[0]
    try:
        from sklearn.linear_model import lasso_path

        options: Any = {"alphas": strengths, "tol": 1e-6, "precompute": not wide}
        yield (
            "scikit-learn",
            lambda: lasso_path(x, y, **options)[1].T,
        )
    except ImportError:
        pass
    try:
        from celer import celer_path

        yield "celer", lambda: celer_path(x, y, "lasso", alphas=strengths, tol=1e-7)[1].T
    except ImportError:
        pass
    try:
        from skglm.datafits import Quadratic
        from skglm.penalties import L1
        from skglm.solvers import AndersonCD

        solver = AndersonCD(tol=1e-6, fit_intercept=False)
        yield (
            "skglm",
            lambda: solver.path(x, y, Quadratic(), L1(1.0), alphas=strengths)[1].T,
        )
    except ImportError:
        pass
    try:
        import adelie as ad  # pyright: ignore[reportMissingImports]

        def adelie() -> np.ndarray:
            state = ad.grpnet(
                x,
                ad.glm.gaussian(y),
                lmda_path=strengths,
                intercept=False,
                early_exit=False,
                progress_bar=False,
                tol=1e-12,
                n_threads=2,
            )
            return state.betas.toarray()

        yield "adelie", adelie
    except ImportError:
        pass


def timed(run: Run, rounds: int) -> tuple[float, np.ndarray]:
    best, result = np.inf, None
    for _ in range(rounds):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    assert result is not None
    return best, result


def compare(name: str, with_peers: bool, rounds: int) -> None:
    x, y = problem(*PROBLEMS[name])
    largest = np.max(np.abs(y @ x)) / len(y)
    strengths = largest * np.geomspace(1.0, RATIO, STRENGTHS)
    print(f"\n{name}: {x.shape[0]} samples, {x.shape[1]} features")
    print(f"{'':<14}{'seconds':>9}{'times':>9}{'gap':>10}")

    def ours() -> np.ndarray:
        return jr.lasso_path(x, y, strengths, intercept=False).coefficients

    cold, _ = timed(ours, 1)
    warm, w = timed(ours, rounds)
    print(f"{'jaxreg, cold':<14}{cold:>9.3f}{cold / warm:>9.1f}")
    print(f"{'jaxreg':<14}{warm:>9.3f}{1:>9.1f}{largest_gap(x, y, strengths, w):>10.0e}")
    small = np.asfortranarray(x[:50, :60]), y[:50], strengths[:3]
    for _, run in peers(*small) if with_peers else ():
        run()  # Some are compiled by numba when they are first called.
    for peer, run in peers(x, y, strengths) if with_peers else ():
        taken, w = timed(run, 1 if warm > 0.5 else rounds)
        gap = largest_gap(x, y, strengths, w)
        print(f"{peer:<14}{taken:>9.3f}{taken / warm:>9.1f}{gap:>10.0e}", flush=True)
    if name == "A":
        folds, _ = timed(lambda: cross_validated(x, y, strengths), 1)
        folds, _ = timed(lambda: cross_validated(x, y, strengths), rounds)
        print(f"{'5-fold CV':<14}{folds:>9.3f}{folds / warm:>9.1f}")


def cross_validated(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> Any:
    found = jr.lasso_path(x, y, strengths, folds=5, intercept=False).validation
    return None if found is None else found.scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for name in options.problems:
        compare(name, not options.no_peers, options.rounds)


if __name__ == "__main__":
    main()
