"""Knockoffs keep their promise: the mean fraction of false features is at most q.

200 data sets each of Gaussian features with correlations 0.5^|i − j|, and of targets that
depend on every third feature: linearly, with the importances of a lasso, and by sines,
squares and absolute values, which a linear model does not see, with those of a network. The
copies are made with the covariance of the features, and once with that of the sample.
Beside the mean false discovery proportion and its standard error stands the power, the
mean fraction of the true features that are found. Both q take the same fits.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxreg as jr
from jaxreg.networks import SparseMLPRegressor
from jaxreg.strength import (
    entry_strengths,
    gaussian_knockoffs,
    knockoff_filter,
    knockoff_importances,
)

LEVELS = (0.1, 0.2)


class Task(NamedTuple):
    """A way to make data, and to judge features.

    Attributes:
        samples: How many.
        features: How many; every third of them matters.
        target: Of the features that matter (samples, true).
        importance: Of features and copies, and the target, a number for each column.
        is_known: Whether the covariance of the features is known.
    """

    samples: int
    features: int
    target: Callable[[np.ndarray], np.ndarray]
    importance: Callable[[np.ndarray, np.ndarray, int], Any]
    is_known: bool


def linear(true: np.ndarray) -> np.ndarray:
    return 0.25 * true.sum(axis=1)


def bent(true: np.ndarray) -> np.ndarray:
    """Even and odd functions, one after another."""
    shapes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda z: np.sin(2 * z),
        lambda z: z**2 / 1.5,
        lambda z: 1.5 * np.abs(z),
        lambda z: z,
    ]
    return sum(shapes[i % 4](z) for i, z in enumerate(true.T))  # pyright: ignore


def of_lasso(both: np.ndarray, y: np.ndarray, seed: int) -> Any:
    del seed
    path = jr.lasso_path(both, y, num=50)
    return entry_strengths(path.strengths, path.coefficients)


def of_network(both: np.ndarray, y: np.ndarray, seed: int) -> Any:
    model = SparseMLPRegressor(random_state=seed, max_iter=1000, path_iter=20)
    return model.fit(both, y).feature_importances_


TASKS = {
    "linear, lasso": Task(400, 60, linear, of_lasso, True),
    "linear, lasso, estimated covariance": Task(400, 60, linear, of_lasso, False),
    "not linear, network": Task(600, 36, bent, of_network, True),
    "not linear, lasso": Task(600, 36, bent, of_lasso, True),
}


def proportions(task: Task, seed: int) -> np.ndarray:
    """For each level, the false discovery proportion and the power, of one data set."""
    random = np.random.default_rng(seed)
    index = np.arange(task.features)
    covariance = 0.5 ** np.abs(index[:, None] - index)
    x = random.multivariate_normal(np.zeros(task.features), covariance, task.samples)
    true = index % 3 == 0
    y = task.target(x[:, true]) + random.normal(size=task.samples)
    first, second = jax.random.split(jax.random.key(seed))
    known: Any = {"mean": 0.0, "covariance": covariance} if task.is_known else {}
    copies = gaussian_knockoffs(first, x, **known)
    values = knockoff_importances(
        second, x, copies, lambda both: task.importance(np.asarray(both), y, seed)
    )
    found = []
    for q in LEVELS:
        chosen = knockoff_filter(values, q).chosen
        false = np.sum(chosen & ~true) / max(1, np.sum(chosen))
        found.append((false, np.sum(chosen & true) / np.sum(true)))
    return np.array(found)


def main(argv: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Print a row for each task and level; return the proportions of all data sets."""
    parser = argparse.ArgumentParser(description="Does the false discovery rate hold?")
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--only", default="")
    options = parser.parse_args(argv)
    found: dict[str, np.ndarray] = {}
    columns = ("q", "FDR", "s.e.", "power", "seconds")
    print(f"{'':40}" + "".join(f"{name:>9}" for name in columns), flush=True)
    for name, task in TASKS.items():
        if options.only not in name:
            continue
        start = time.process_time()
        found[name] = np.array([proportions(task, seed) for seed in range(options.sets)])
        seconds = (time.process_time() - start) / options.sets
        means = np.mean(found[name], axis=0)
        errors = np.std(found[name][..., 0], axis=0) / options.sets**0.5
        for q, (rate, power), error in zip(LEVELS, means, errors, strict=True):
            numbers = (q, rate, error, power, seconds)
            print(f"{name:40}", *(f"{number:8.3f}" for number in numbers), flush=True)
    return found


if __name__ == "__main__":
    main()
