"""Networks that choose their inputs, beside LassoNet in PyTorch, on the same data.

Friedman's function of 5 among 20 inputs, 600 samples with noise of variance 1: which inputs
are chosen, R² on test data without noise, and seconds of the processor, imports and
compilation included, of a fit in a new process. Theirs are the defaults of the package,
with the hidden units of ours: one split, and its cross-validation. In an environment with

    pip install "jaxreg[sklearn]" lassonet==0.0.21 torch==2.13.0
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._limited import limited
from benchmarks.feature_selection import friedman

METHODS = ("adaptive group lasso", "adaptive lassonet", "lassonet")
HIDDEN = (20,)


def ours(seed: int, folds: bool, method: str) -> tuple[list[int], float]:
    """The chosen inputs, and R²."""
    from jaxreg.networks import SparseMLPRegressor, SparseMLPRegressorCV

    kind = SparseMLPRegressorCV if folds else SparseMLPRegressor
    x, y, test_x, test_y = friedman(seed, 20)
    model = kind(HIDDEN, method=method, random_state=seed).fit(x, y)
    return model.selected_features_.tolist(), float(model.score(test_x, test_y))


def theirs(seed: int, folds: bool) -> tuple[list[int], float]:
    """The same from the package, of standardized inputs and targets."""
    import torch
    from lassonet import LassoNetRegressor, LassoNetRegressorCV  # pyright: ignore
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split

    torch.manual_seed(seed)
    x, y, test_x, test_y = friedman(seed, 20)
    center, scale, mean, spread = x.mean(0), x.std(0), y.mean(), y.std()
    x, test_x = (((part - center) / scale).astype(np.float32) for part in (x, test_x))
    y = ((y - mean) / spread).astype(np.float32)
    if folds:
        model: Any = LassoNetRegressorCV(hidden_dims=HIDDEN, random_state=seed).fit(x, y)
        chosen = np.flatnonzero(np.asarray(model.best_selected_)).tolist()
    else:
        # Its examples take the network of the path with the best validation loss.
        parts: Any = train_test_split(x, y, test_size=0.2, random_state=seed)
        train_x, valid_x, train_y, valid_y = parts
        model = LassoNetRegressor(hidden_dims=HIDDEN, random_state=seed)
        path = model.path(
            train_x, train_y, X_val=valid_x, y_val=valid_y, return_state_dicts=True
        )
        best = min(path, key=lambda save: save.val_loss)
        model.load(best.state_dict)
        chosen = np.flatnonzero(np.asarray(best.selected)).tolist()
    predictions = np.asarray(model.predict(test_x)).ravel() * spread + mean
    return chosen, float(r2_score(test_y, predictions))


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Print and return the means over seeds; seconds are medians."""
    parser = argparse.ArgumentParser(description="Beside LassoNet in PyTorch.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a fit")
    parser.add_argument("--only", default="")
    options = parser.parse_args(argv)
    ways: dict[str, Any] = {}
    for folds in (False, True):
        words = "five folds" if folds else "one split"
        for method in METHODS:
            ways[f"jaxreg, {method}, {words}"] = (ours, folds, method)
        ways[f"LassoNet, {words}"] = (theirs, folds)
    found: dict[str, dict[str, float]] = {}
    columns = ("exact", "false", "missed", "R2", "seconds")
    print(f"{'':44}" + "".join(f"{name:>9}" for name in columns), flush=True)
    for name, (call, *arguments) in ways.items():
        if options.only not in name:
            continue
        rows = []
        for seed in range(options.seeds):
            answer = limited(options.limit, call, seed, *arguments)
            if answer.result is None:
                print(f"{name:44} stopped after {options.limit:.0f} s", flush=True)
                break
            chosen, score = answer.result
            kept, true = set(chosen), set(range(5))
            counts = kept == true, len(kept - true), len(true - kept)
            rows.append((*counts, score, answer.seconds))
        else:
            values = [*np.mean(rows, axis=0)[:4], np.median([row[-1] for row in rows])]
            found[name] = dict(zip(columns, map(float, values), strict=True))
            print(f"{name:44}", *(f"{value:8.3f}" for value in values), flush=True)
    return found


if __name__ == "__main__":
    main()
