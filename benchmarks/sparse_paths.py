"""Claim: paths of sparse features, certified, in no more time than celer and skglm.

The lasso and logistic regression with L1, strengths down to 0.01 of the largest useful one,
without an intercept, on synthetic data: text (20,000 × 100,000, 0.1 % of the entries,
columns by Zipf's law) and random (100,000 × 100,000 with 10 entries a row):
`python benchmarks/sparse_paths.py`. Each library at its own duality gap, measured here and
the same way for all, relative to the null model's loss (for the lasso half the mean square
of the target). Each has a process of its own, where it solves a tiny problem first, so that
imports and numba's compilation count for none. Seconds are elapsed, and of the processor,
which a busy machine disturbs less. Memory is the most that the process uses, less what it
used before X was read: X, the result and all else. liblinear solves each strength from
zero, and five of them only: its seconds are those five times a fifth of their number.
Peers that are not installed are left out.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS = "text", "random"
LOSSES = "lasso", "logistic"
SUBJECTS = "jaxreg", "celer", "skglm", "scikit-learn"
FEW = 5
"""How many strengths liblinear solves."""
Solve = Callable[[Any, np.ndarray, np.ndarray], np.ndarray]


def problem(kind: str, loss: str, fraction: float) -> tuple[Any, np.ndarray]:
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
    y = signal + np.std(signal) / 2 * rng.standard_normal(samples)
    return x, y if loss == "lasso" else np.where(y > np.median(y), 1.0, -1.0)


def make(kind: str, loss: str, fraction: float, num: int, folder: Path) -> None:
    """Write a problem and its strengths."""
    x, y = problem(kind, loss, fraction)
    slope = y if loss == "lasso" else y / 2
    largest = np.max(np.abs(x.T @ slope)) / len(y)
    strengths = largest * np.geomspace(1.0, 1e-2, num)
    for name, array in {
        **{"data": x.data, "indices": x.indices, "indptr": x.indptr},
        **{"y": y, "strengths": strengths},
    }.items():
        np.save(folder / f"{name}.npy", array)


def read(folder: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """A problem and its strengths."""
    from scipy.sparse import csc_matrix

    data, indices, indptr, y, strengths = (
        np.load(folder / f"{name}.npy")
        for name in ("data", "indices", "indptr", "y", "strengths")
    )
    x = csc_matrix((data, indices, indptr), shape=(len(y), len(indptr) - 1))
    return x, y, strengths


def relative_gap(loss: str, x: Any, y: np.ndarray, strength: float, w: np.ndarray) -> float:
    """The duality gap of coefficients relative to the null model's loss."""
    eta, penalty = x @ w, strength * np.sum(np.abs(w))
    if loss == "lasso":
        residuals = y - eta
        shrink = min(1.0, strength * len(y) / np.max(np.abs(x.T @ residuals)))
        primal = np.mean(residuals**2) / 2 + penalty
        dual = shrink * np.mean(residuals * y) - shrink**2 * np.mean(residuals**2) / 2
        return (primal - dual) / (np.mean(y**2) / 2)
    dual = 1 / (1 + np.exp(y * eta))
    dual *= min(1.0, strength * len(y) / np.max(np.abs(x.T @ (y * dual))))
    entropy = dual * np.log(dual) + (1 - dual) * np.log1p(-dual)
    return (np.mean(np.logaddexp(0, -y * eta)) + penalty + np.mean(entropy)) / np.log(2)


def jaxreg(loss: str) -> Solve:
    import jaxreg as jr

    def lasso(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        return jr.lasso_path(x, y, strengths, intercept=False).coefficients

    def logistic(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        y = (y > 0).astype(int)
        return jr.logistic_path(x, y, strengths, intercept=False).coefficients

    return lasso if loss == "lasso" else logistic


def celer(loss: str) -> Solve:
    from celer import celer_path

    def solve(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        if loss == "lasso":
            return celer_path(x, y, "lasso", alphas=strengths, tol=1e-6)[1].T
        # Its objective has the sum over samples.
        return celer_path(x, y, "logreg", alphas=strengths * len(y), tol=1e-6)[1].T

    return solve


def skglm(loss: str) -> Solve:
    from skglm.datafits import Logistic, Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    def solve(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        solver = AndersonCD(tol=1e-6, fit_intercept=False, max_iter=100)
        datafit = Quadratic() if loss == "lasso" else Logistic()
        return solver.path(x, y, datafit, L1(1.0), alphas=strengths)[1].T

    return solve


def scikit_learn(loss: str) -> Solve:
    from sklearn.linear_model import LogisticRegression, lasso_path

    def lasso(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        options: Any = {"alphas": strengths, "tol": 1e-6}
        return lasso_path(x, y, **options)[1].T

    def logistic(x: Any, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        options: Any = {"penalty": "l1", "solver": "liblinear", "fit_intercept": False}
        w = np.zeros((len(strengths), x.shape[1]))
        for index in few_of(len(strengths)):
            inverse = 1 / (len(y) * strengths[index])
            model = LogisticRegression(C=inverse, tol=1e-6, max_iter=10**4, **options)
            w[index] = model.fit(x, y).coef_[0]
        return w

    return lasso if loss == "lasso" else logistic


def few_of(number: int) -> list[int]:
    """Those of a number of strengths that liblinear solves."""
    return sorted({round((number - 1) * (k + 0.5) / FEW) for k in range(FEW)})


MAKERS: dict[str, Any] = dict(
    zip(SUBJECTS, (jaxreg, celer, skglm, scikit_learn), strict=True)
)


def resident() -> float:
    """The memory that this process has now, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def run(subject: str, loss: str, folder: Path) -> None:
    """Solve a problem in this process; print seconds and memory, write coefficients."""
    from scipy.sparse import csc_matrix, save_npz

    warnings.simplefilter("ignore")
    solve = MAKERS[subject](loss)
    rng = np.random.default_rng(0)
    tiny = csc_matrix(rng.random((50, 20)) * (rng.random((50, 20)) < 0.3))
    solve(tiny, np.where(np.arange(50) % 3, 1.0, -1.0), np.array([0.03, 0.02]))
    before = resident()
    x, y, strengths = read(folder)
    elapsed, used = time.perf_counter(), time.process_time()
    w = solve(x, y, strengths)
    elapsed, used = time.perf_counter() - elapsed, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    if subject == "scikit-learn" and loss == "logistic":
        elapsed, used = (each * len(strengths) / FEW for each in (elapsed, used))
    save_npz(folder / "w.npz", csc_matrix(w), compressed=False)
    print(json.dumps({"elapsed": elapsed, "used": used, "memory": peak - before}))


def check(subject: str, loss: str, folder: Path) -> None:
    """Print the largest gap, and how many coefficients are not zero in the end."""
    from scipy.sparse import load_npz

    x, y, strengths = read(folder)
    w = load_npz(folder / "w.npz").tocsr()
    each = range(len(strengths))
    if subject == "scikit-learn" and loss == "logistic":
        each = few_of(len(strengths))
    rows = ((strengths[k], w[[k]].toarray()[0]) for k in each)
    gap = max(relative_gap(loss, x, y, *row) for row in rows)
    active = int(np.count_nonzero(w[[each[-1]]].toarray()))
    size = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / 1e6
    print(json.dumps({"gap": gap, "active": active, "size": size, "shape": x.shape}))


def compare(kind: str, loss: str, options: argparse.Namespace) -> None:
    """Run all subjects on one problem, each in a process of its own."""
    # This process stays small: a new one counts its parent's memory as its own.
    with tempfile.TemporaryDirectory() as folder:
        common = ["--folder", folder, "--kinds", kind, "--losses", loss]
        common += ["--num", str(options.num), "--fraction", str(options.fraction)]
        _process("make", *common)
        for number, subject in enumerate(options.subjects):
            cost = _process("run", "--subjects", subject, *common)
            if cost is None:
                print(f"{subject:<14} is not installed, or failed", flush=True)
                continue
            found: Any = _process("check", "--subjects", subject, *common)
            if number == 0:
                samples, features = found["shape"]
                print(f"\n{loss}, {kind}: {samples} × {features}, {found['size']:.0f} MB")
                print(f"{'':<14}{'elapsed':>9}{'used':>9}{'gap':>10}{'memory':>9}")
            line = f"{subject:<14}{cost['elapsed']:>9.2f}{cost['used']:>9.2f}"
            line += f"{found['gap']:>10.0e}{cost['memory']:>6.0f} MB"
            print(f"{line}   {found['active']} active", flush=True)


def _process(stage: str, *arguments: str) -> Any:
    """What this script prints in another process; `None` if it fails."""
    command = [sys.executable, __file__, "--stage", stage, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        sys.stderr.write(done.stderr[-500:])
        return None
    return json.loads(lines[-1]) if lines else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=LOSSES)
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, choices=SUBJECTS)
    parser.add_argument("--num", type=int, default=50)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the size")
    parser.add_argument("--stage", choices=("make", "run", "check"))
    parser.add_argument("--folder", type=Path, help="where a stage finds the problem")
    options = parser.parse_args()
    kind, loss, subject = options.kinds[0], options.losses[0], options.subjects[0]
    if options.stage == "make":
        make(kind, loss, options.fraction, options.num, options.folder)
    elif options.stage == "run":
        run(subject, loss, options.folder)
    elif options.stage == "check":
        check(subject, loss, options.folder)
    else:
        for loss in options.losses:
            for kind in options.kinds:
                compare(kind, loss, options)


if __name__ == "__main__":
    main()
