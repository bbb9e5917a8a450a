"""A network keeps exactly the inputs that matter, and predicts as well as with all.

Friedman's function of 5 among 20 or 100 inputs, and with a copy of each of the 5 at
correlation 0.9; the diabetes data with 10 columns of noise, beside `LassoCV`. Every row is
an estimator with its defaults, over seeds of the data, the folds and the network. Seconds
are of the processor. Wide data, 200 samples of 30,000 inputs of which 3 matter, take
minutes, and are only there if named: `--only wide --seeds 1 --models MLP`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1

from jaxreg.linear import LassoCV
from jaxreg.networks import SparseMLPRegressor, SparseMLPRegressorCV

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Inputs and targets to train on, inputs and targets for the score."""


def friedman(seed: int, inputs: int, samples: int = 600) -> Split:
    """Noise of variance 1 to train on, none in the test data."""
    train = make_friedman1(samples, inputs, noise=1.0, random_state=seed)
    test = make_friedman1(5000, inputs, noise=0.0, random_state=seed + 1000)
    return (*train, *test)


def with_copies(seed: int) -> Split:
    """Each of the five inputs has a copy among the last five, at correlation 0.9."""
    x, y, test_x, test_y = friedman(seed, 20)
    random = np.random.RandomState(seed)

    def copied(x: np.ndarray) -> np.ndarray:
        noise = random.normal(size=(len(x), 5)) / 12**0.5
        return np.c_[x, 0.9 * (x[:, :5] - 0.5) + (1 - 0.9**2) ** 0.5 * noise]

    return copied(x), y, copied(test_x), test_y


def diabetes(seed: int) -> Split:
    """A quarter of the samples is for the score; columns 10 to 19 are noise."""
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    random = np.random.RandomState(seed)
    x = np.c_[x / x.std(axis=0), random.normal(size=(len(x), 10))]
    order = random.permutation(len(x))
    x, y = x[order], y[order]
    return x[:331], y[:331], x[331:], y[331:]


def wide(seed: int) -> Split:
    """Inputs by the ten thousands, of which the first three matter."""
    random = np.random.default_rng(seed)

    def sampled(count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
        x = random.normal(size=(count, 30_000)).astype(np.float32)
        y = 2 * x[:, 0] - 2 * x[:, 1] + 2 * np.tanh(2 * x[:, 2])
        return x, y + noise * random.normal(size=count)

    return (*sampled(200, 0.5), *sampled(1000, 0.0))


def row(
    model: Any, split: Split, true: set[int], wanted: set[int] | None = None
) -> dict[str, Any]:
    """What a model chose, and how well it predicts."""
    x, y, test_x, test_y = split
    start = time.process_time()
    model.fit(x, y)
    seconds = time.process_time() - start
    coefficients = getattr(model, "coef_", None)
    kept = (
        model.selected_features_ if coefficients is None else np.flatnonzero(coefficients)
    )
    kept = set(map(int, kept))
    return {
        "exact": kept == true,
        "false": len(kept - true),
        "missed": len((true if wanted is None else wanted) - kept),
        "R2": model.score(test_x, test_y),
        "seconds": seconds,
    }


TASKS: dict[str, tuple[Callable[[int], Split], set[int], set[int] | None]] = {
    "friedman, 20": (lambda seed: friedman(seed, 20), set(range(5)), None),
    "friedman, copies": (with_copies, set(range(5)), None),
    # Of the ten, nobody knows which matter; body mass index and s5 do.
    "diabetes, 10 fakes": (diabetes, set(range(10)), {2, 8}),
    "friedman, 100": (lambda seed: friedman(seed, 100), set(range(5)), None),
    "wide": (wide, {0, 1, 2}, None),
}


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Print a row for each task and model; return the means over seeds."""
    parser = argparse.ArgumentParser(description="Which inputs does a network keep?")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--models", default="MLP CV,MLP,lasso CV")
    options = parser.parse_args(argv)
    found: dict[str, dict[str, float]] = {}
    columns = ("exact", "false", "missed", "R2", "seconds")
    print(f"{'':44}" + "".join(f"{name:>9}" for name in columns), flush=True)
    for task, (make, true, wanted) in TASKS.items():
        if options.only not in task or (task == "wide" and not options.only):
            continue
        models: dict[str, Callable[[int], Any]] = {
            "MLP CV": lambda seed: SparseMLPRegressorCV(random_state=seed),
            "MLP": lambda seed: SparseMLPRegressor(random_state=seed),
            "lasso CV": lambda seed: LassoCV(),
        }
        for name, model in models.items():
            if name not in options.models.split(","):
                continue
            seeds = range(options.seeds)
            rows = [row(model(seed), make(seed), true, wanted) for seed in seeds]
            means = {key: float(np.mean([one[key] for one in rows])) for key in columns}
            # The first fit compiles.
            means["seconds"] = float(np.median([one["seconds"] for one in rows]))
            found[f"{task}: {name}"] = means
            numbers = [f"{means[key]:8.3f}" for key in columns]
            print(f"{f'{task}: {name}':44}", *numbers, flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
