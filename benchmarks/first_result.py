"""Claim: first paths cost about as little as the next, because nothing is compiled.

(A search with `n_jobs` starts its processes.) Each row is the first and the second call in
a new process, imports apart, beside scikit-learn's: `python benchmarks/first_result.py`.
"""

import argparse
import json
import statistics
import subprocess
import sys

SETUP = """
import json, time
import jax, numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
import sklearn.linear_model as peer
import jaxreg as jr, jaxreg.linear as ours
jr.lasso_path, jr.logistic_path, jr.L1, ours.LassoCV, ours.LogisticRegressionCV
jax.devices()
diabetes = load_diabetes(return_X_y=True)
cancer, wine = ((scale(x), y) for x, y in (
    load_breast_cancer(return_X_y=True), load_wine(return_X_y=True)))
narrow = np.random.default_rng(0).standard_normal((1000, 200))
narrow = narrow, narrow[:, :10].sum(1)
wide = np.random.default_rng(0).standard_normal((500, 5000))
wide = wide, (wide[:, :20].sum(1) > 0).astype(int)
alphas = dict(alpha=[.01, .1, 1.])
def run():
    {}
seconds = []
for _ in range(2):
    start = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""

ROWS = {
    "lasso path, diabetes": ("jr.lasso_path(*diabetes)", "peer.lasso_path(*diabetes)"),
    "`LassoCV`, diabetes": (
        "ours.LassoCV().fit(*diabetes)",
        "peer.LassoCV().fit(*diabetes)",
    ),
    "lasso path, 1,000 × 200": ("jr.lasso_path(*narrow)", "peer.lasso_path(*narrow)"),
    "logistic path, breast cancer": (
        "jr.logistic_path(*cancer)",
        "[peer.LogisticRegression(l1_ratio=1, solver='liblinear', C=1/(569*s), tol=1e-6)"
        ".fit(*cancer) for s in np.geomspace(.38, .0038, 100)]",
    ),
    "logistic path, 500 × 5,000": (
        "jr.logistic_path(*wide)",
        "[peer.LogisticRegression(l1_ratio=1, solver='liblinear', C=1/(500*s), tol=1e-6)"
        ".fit(*wide) for s in np.geomspace(.11, .0011, 100)]",
    ),
    "`LogisticRegressionCV`, wine": (
        "ours.LogisticRegressionCV(l1_ratios=(1,)).fit(*wine)",
        "peer.LogisticRegressionCV(l1_ratios=(1,), solver='saga', max_iter=10000)"
        ".fit(*wine)",
    ),
    "3 classes, wine": (
        "jr.logistic_path(*wine, num=10)",
        "[peer.LogisticRegression(l1_ratio=1, solver='saga', C=1/(178*s), tol=1e-6,"
        "max_iter=100000).fit(*wine) for s in np.geomspace(.38, .0038, 10)]",
    ),
    "`GridSearchCV` of `Lasso`, diabetes": (
        "GridSearchCV(ours.Lasso(), alphas).fit(*diabetes)",
        "GridSearchCV(peer.Lasso(), alphas).fit(*diabetes)",
    ),
    "the `GridSearchCV` with `n_jobs=2`": (
        "GridSearchCV(ours.Lasso(), alphas, n_jobs=2).fit(*diabetes)",
        "GridSearchCV(peer.Lasso(), alphas, n_jobs=2).fit(*diabetes)",
    ),
}


def seconds_of(code: str) -> list[float]:
    """The first and the second call of code, in a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SETUP.replace("{}", code)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="", help="what names of rows must contain")
    options = parser.parse_args()
    rows = {name: codes for name, codes in ROWS.items() if options.rows in name}
    if not rows:
        parser.error(f"--rows must be part of one of the names {', '.join(ROWS)}")
    print("| seconds | first | second | scikit-learn, first | second |")
    print("|---|---|---|---|---|")
    for name, codes in rows.items():
        rounds = [
            [second for code in codes for second in seconds_of(code)]
            for _ in range(options.rounds)
        ]
        medians = map(statistics.median, zip(*rounds, strict=True))
        print(f"| {name} | {' | '.join(f'{s:.3f}' for s in medians)} |", flush=True)


if __name__ == "__main__":
    main()
