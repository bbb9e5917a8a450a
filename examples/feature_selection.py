"""Which inputs does a network use? Friedman's function, breast cancer, digits.

1. Friedman's function of 5 among 20 inputs, one of them through a square that no linear
   model sees. The lasso misses it, and keeps noise; the network keeps the five.
2. Breast cancer: a few of 30 measurements, and which.
3. Digits: 20 of 64 pixels, for a tree learner.

Prints a table, and saves figures into examples/output.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

from jaxreg import plot
from jaxreg.linear import LassoCV
from jaxreg.networks import SparseMLPClassifier, SparseMLPRegressorCV

OUTPUT = pathlib.Path(__file__).parent / "output"

Rows = dict[str, dict[str, Any]]


def friedman(seeds: int, schedule: dict[str, Any]) -> tuple[Rows, Any]:
    """The network and the lasso on the same data, and the network's path."""
    rows: Rows = {}
    network: Any = None
    for seed in range(seeds):
        x, y = make_friedman1(600, 20, noise=1.0, random_state=seed)
        new = make_friedman1(2000, 20, noise=0.0, random_state=seed + 1000)
        lasso = LassoCV().fit(x, y)
        network = SparseMLPRegressorCV(random_state=seed, **schedule).fit(x, y)
        chosen = {
            "lasso": np.flatnonzero(lasso.coef_),
            "network": network.selected_features_,
        }
        for name, model in {"lasso": lasso, "network": network}.items():
            rows[f"friedman {seed}, {name}"] = {
                "inputs": len(chosen[name]),
                "score": model.score(*new),
                "which": " ".join(map(str, chosen[name])),
            }
    return rows, network.path_


def cancer(schedule: dict[str, Any]) -> Rows:
    """Which measurements, by name."""
    data: Any = load_breast_cancer()
    x, new_x, y, new_y = train_test_split(data.data, data.target, random_state=0)
    model = SparseMLPClassifier(random_state=0, **schedule).fit(x, y)
    names = [str(data.feature_names[i]) for i in model.selected_features_]
    return {
        "breast cancer": {
            "inputs": len(names),
            "score": model.score(new_x, new_y),
            "which": ", ".join(names[:4]) + (", ..." if len(names) > 4 else ""),
        }
    }


def digits(schedule: dict[str, Any]) -> tuple[Rows, np.ndarray]:
    """Twenty pixels for a tree learner, and the importances of all."""
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    split: Any = train_test_split(images, labels, random_state=0)
    x, new_x, y, new_y = split
    model = SparseMLPClassifier(
        (32,), n_features_to_select=20, random_state=0, **schedule
    ).fit(x, y)
    rows: Rows = {}
    kept = {"all": np.arange(64), "chosen": model.selected_features_}
    for name, pixels in kept.items():
        trees = ExtraTreesClassifier(200, random_state=0).fit(x[:, pixels], y)
        rows[f"digits, {name} pixels"] = {
            "inputs": len(pixels),
            "score": trees.score(new_x[:, pixels], new_y),
            "which": "to a tree learner",
        }
    return rows, model.feature_importances_


def main(argv: Sequence[str] | None = None) -> Rows:
    """Choose inputs, print the table, save the figures; return the table."""
    parser = argparse.ArgumentParser(description="Which inputs does a network use?")
    parser.add_argument("--steps", type=int, default=2000, help="of the first fit")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)
    schedule: dict[str, Any] = {
        "max_iter": args.steps,
        "path_iter": max(2, args.steps // 50),
    }

    rows, path = friedman(args.seeds, schedule)
    rows |= cancer(schedule)
    images, importances = digits(schedule)
    rows |= images
    print(f"{'':26}{'inputs':>8}{'score':>8}   which")
    for name, row in rows.items():
        print(f"{name:26}{row['inputs']:8}{row['score']:8.3f}   {row['which']}")

    args.output.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = plot.plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    plot.inputs(path, left).set_title("Friedman's function")
    plot.features(importances, (8, 8), right).set_title("importance of pixels")
    figure.savefig(args.output / "feature_selection.png", dpi=150)
    return rows


if __name__ == "__main__":
    main()
