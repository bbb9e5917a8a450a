"""Claim: L1-logistic paths faster than scikit-learn, celer and skglm, at a smaller gap.

100 strengths down to 0.01 of the largest useful one, without an intercept, in float64, on
standardised features: scikit-learn's breast cancer and digits (at least 5, or less), and a
gaussian design with more features than samples: `python benchmarks/glm_path.py`. Every
solver at its own duality gap, measured here and the same way for all, relative to log 2.
Peers that are not installed are left out. Cold times include compilation, and are taken
once; the others are the best of some rounds, all solvers in turn.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _measure import interleaved
from sklearn.datasets import load_breast_cancer, load_digits

import jaxreg as jr

STRENGTHS, RATIO = 100, 1e-2
Run = Callable[[], np.ndarray]


def problem(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "breast cancer":
        x, y = load_breast_cancer(return_X_y=True)
    elif name == "digits":
        x, y = load_digits(return_X_y=True)
        y = y >= 5
    else:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((500, 5000))
        for j in range(1, 5000):
            x[:, j] = 0.5 * x[:, j - 1] + np.sqrt(0.75) * x[:, j]
        y = x[:, ::100] @ rng.standard_normal(50) + rng.standard_normal(500) > 0
    x, y = np.asarray(x), np.asarray(y)
    x = x[:, x.std(0) > 0]
    return np.asfortranarray((x - x.mean(0)) / x.std(0)), np.asarray(y, int)


def largest_gap(
    x: np.ndarray, y: np.ndarray, strengths: np.ndarray, w: np.ndarray
) -> float:
    """The largest relative duality gap of coefficients (strengths, features)."""
    signs = 2.0 * y - 1
    margins = signs * (w @ x.T)
    chance = 1 / (1 + np.exp(margins))
    largest = np.max(np.abs((signs * chance) @ x), axis=1) / len(y)
    chance = chance * np.minimum(1.0, strengths / largest)[:, None]
    entropy = -np.where(chance > 0, chance * np.log(np.maximum(chance, 1e-300)), 0.0)
    entropy -= (1 - chance) * np.log1p(-chance)
    primal = np.logaddexp(0, -margins).mean(1) + strengths * np.abs(w).sum(1)
    return float(np.max(primal - entropy.mean(1)) / np.log(2))


def solvers(
    x: np.ndarray, y: np.ndarray, strengths: np.ndarray
) -> Iterator[tuple[str, Run]]:
    """Those that are installed, each as a function without arguments."""
    yield (
        "jaxreg.logistic_path",
        lambda: jr.logistic_path(x, y, strengths, intercept=False).coefficients,
    )
    from sklearn.linear_model import LogisticRegression

    def liblinear() -> np.ndarray:
        model: Any = LogisticRegression(
            l1_ratio=1, solver="liblinear", fit_intercept=False, tol=1e-6, max_iter=10_000
        )
        found = []
        for strength in strengths:
            model.C = jr.convert.alpha_from_c(strength, n_samples=len(y))
            found.append(model.fit(x, y).coef_[0].copy())
        return np.array(found)

    yield "scikit-learn liblinear", liblinear
    try:
        from celer import celer_path

        signs = 2.0 * y - 1
        yield (
            "celer",
            lambda: (
                celer_path(
                    x, signs, pb="logreg", alphas=strengths * len(y), tol=1e-6, max_iter=200
                )[1].T
            ),
        )
    except ImportError:
        pass
    try:
        from skglm.datafits import Logistic
        from skglm.penalties import L1
        from skglm.solvers import AndersonCD

        def skglm() -> np.ndarray:
            solver = AndersonCD(
                tol=1e-5, max_iter=1000, fit_intercept=False, ws_strategy="subdiff"
            )
            labels = 2.0 * y - 1
            return solver.path(x, labels, Logistic(), L1(strengths[0]), strengths)[1].T

        yield "skglm", skglm
    except ImportError:
        pass


def compare(name: str, rounds: int, peers: bool) -> None:
    x, y = problem(name)
    strengths = np.abs(x.T @ (y - 0.5)).max() / len(y) * np.geomspace(1, RATIO, STRENGTHS)
    runs, gaps, cold = dict[str, Run](), dict[str, float](), dict[str, float]()
    for title, run in solvers(x, y, strengths):
        if not peers and title != "jaxreg.logistic_path":
            continue
        start = time.perf_counter()
        try:
            gaps[title] = largest_gap(x, y, strengths, run())
        except Exception as error:  # A peer's: it is said, and the others go on.
            print(f"{title}: {error!r}")
            continue
        cold[title], runs[title] = time.perf_counter() - start, run
    if peers:
        runs["5 folds and all data"] = lambda: (
            jr.logistic_path(x, y, strengths, intercept=False, folds=5).coefficients
        )
        start = time.perf_counter()
        gaps["5 folds and all data"] = largest_gap(
            x, y, strengths, runs["5 folds and all data"]()
        )
        cold["5 folds and all data"] = time.perf_counter() - start
    seconds = interleaved(runs, rounds)
    print(f"\n{name}, {x.shape[0]} x {x.shape[1]}")
    print(f"{'':<26}{'warm s':>9}{'cold s':>9}{'gap':>10}")
    for title, times in seconds.items():
        print(f"{title:<26}{min(times):>9.3f}{cold[title]:>9.2f}{gaps[title]:>10.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--problems", nargs="+", default=["breast cancer", "digits", "wide"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.problems:
        compare(name, arguments.rounds, not arguments.no_peers)


if __name__ == "__main__":
    main()
