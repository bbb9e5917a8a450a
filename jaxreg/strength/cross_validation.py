"""Folds × strengths as one batched program of fixed shapes."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxreg._dtypes import raise_precision
from jaxreg.strength._runs import run_all
from jaxreg.strength.sweeps import (
    axis_of,
    check_chunk,
    strength_axis,
    table_of,
)

Folds = int | Iterable[tuple[Any, Any]]
"""A number of folds, or pairs of arrays of indices: for training, for the score."""


class Fold(NamedTuple):
    """One fold: all the data, and weights of 0 and 1, so that all folds have equal shapes.

    Attributes:
        data: All the data.
        train: For each sample, 1 if it is for training, else 0.
        test: For each sample, 1 if it is for the score, else 0.

    Example:
        The mean loss on the training samples, with features standardised by them alone:

        >>> def loss(params, fold):
        ...     x, y = fold.data
        ...     x, _, _ = standardize(x, fold.train)
        ...     return weighted_mean((x @ params - y) ** 2, fold.train)
        >>> data = jnp.array([[1.0], [3.0], [9.0]]), jnp.array([0.0, 1.0, 7.0])
        >>> fold = Fold(data, train=jnp.array([1, 1, 0]), test=jnp.array([0, 0, 1]))
        >>> loss(jnp.array([1.0]), fold)
        Array(0.5, dtype=float32)
    """

    data: Any
    train: Array
    test: Array

    @classmethod
    def whole(cls, data: Any) -> "Fold":
        """A fold that trains and scores on all samples, for the last fit.

        Args:
            data: A pytree of arrays whose first axis numbers the samples.

        Returns:
            A fold of ones.
        """
        ones = jnp.ones(_samples_in(data), jnp.float32)
        return cls(data, ones, ones)


def weighted_mean(values: ArrayLike, weights: ArrayLike) -> Array:
    """The weighted mean over samples, of those in a fold for instance.

        Σ weights · values / Σ weights,   along the first axis

    Samples of weight 0 have no effect, even if their values are NaN.

    Args:
        values: An array whose first axis numbers the samples.
        weights: A non-negative weight for each sample.

    Returns:
        An array of the shape of one sample's values.

    Example:
        >>> weighted_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1, 1, 0]))
        Array(2., dtype=float32)
    """
    values = raise_precision(values)
    weights = jnp.asarray(weights, values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    counted = jnp.where(weights == 0, 0.0, values) * weights
    return jnp.sum(counted, axis=0) / jnp.sum(weights)


def standardize(x: ArrayLike, weights: ArrayLike) -> tuple[Array, Array, Array]:
    """Features with mean 0 and variance 1 *on the samples of positive weight*.

    In a fold, give the weights of its training samples, so that the scales do not depend on
    the others. The variance is that of scikit-learn's `StandardScaler` and of glmnet,
    divided by the number of samples; constant features are only centred.

    Args:
        x: An array whose first axis numbers the samples; its last, features.
        weights: A non-negative weight for each sample.

    Returns:
        All samples, in the new scale; the means; and the scales.

    Example:
        >>> x = jnp.array([[1.0], [3.0], [100.0]])
        >>> scaled, mean, scale = standardize(x, jnp.array([1, 1, 0]))
        >>> scaled.ravel(), mean, scale
        (Array([-1.,  1., 98.], dtype=float32), Array([2.], dtype=float32),
         Array([1.], dtype=float32))
    """
    mean = weighted_mean(x, weights)
    centred = raise_precision(x) - mean
    variance = weighted_mean(centred**2, weights)
    # The variance of a constant feature is rounding error.
    constant = variance <= (10 * jnp.finfo(variance.dtype).eps * jnp.abs(mean)) ** 2
    scale = jnp.sqrt(jnp.where(constant, 1.0, variance))
    return centred / scale, mean, scale


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CrossValidation:
    """Scores of every strength on every fold.

    Made by `cross_validate`, or from scores of your own. The rules that choose from it
    (`select_best`, `one_standard_error`) leave out strengths with a score that is not
    finite.

    Attributes:
        strengths: The strengths, as they were given.
        scores: A score for each strength and fold, an array (strengths, folds).
        higher_is_better: Whether they are accuracies and the like, not losses.
        results: The other results of each run, with axes in front: strengths, keys if there
            were any, folds.

    Example:
        >>> found = CrossValidation(
        ...     strengths=np.array([1.0, 0.1]), scores=np.array([[3.0, 5.0], [2.0, 4.0]])
        ... )
        >>> found.mean, found.standard_error
        (array([4., 3.]), array([1., 1.]))
        >>> found
        CrossValidation of 2 strengths on 2 folds, best mean 3 at 0.1
    """

    strengths: Any
    scores: np.ndarray
    higher_is_better: bool = False
    results: Any = None

    def __post_init__(self) -> None:
        shape = np.shape(self.scores)
        sizes = {np.shape(x)[0] for x in jax.tree.leaves(strength_axis(self.strengths))}
        if len(shape) != 2 or {shape[0]} != sizes:
            raise ValueError(
                "scores must have an entry for each strength and fold, an array "
                f"(strengths, folds), got shape {shape} for {sizes.pop()} strengths."
            )

    @property
    def mean(self) -> np.ndarray:
        """The mean score of each strength over the folds, each fold counting alike."""
        with np.errstate(invalid="ignore"):  # Of ∞ and −∞.
            return np.mean(self.scores, axis=1)

    @property
    def standard_error(self) -> np.ndarray:
        """The standard error of that mean: the spread over the K folds by √K.

        The spread is that with K − 1 in the denominator, as in glmnet (which weights folds
        by their sizes). Folds share training samples, so the error is a rough one.
        """
        scores = np.asarray(self.scores)
        folds = scores.shape[1]
        if folds < 2:
            return np.full(len(scores), np.nan)
        with np.errstate(invalid="ignore"):  # What is infinite has no spread.
            return np.std(scores, axis=1, ddof=1) / np.sqrt(folds)

    @property
    def diverged(self) -> np.ndarray:
        """For each strength and fold, whether its score is NaN or infinite."""
        return ~np.isfinite(self.scores)

    def table(self) -> dict[str, np.ndarray]:
        """One row for each strength, as columns: `pandas.DataFrame(found.table())`.

        Returns:
            The strengths, means, standard errors, the score on every fold, and whether a
            fold diverged.
        """
        per_fold = {f"fold {i}": scores for i, scores in enumerate(self.scores.T)}
        columns = {"mean": self.mean, "standard error": self.standard_error, **per_fold}
        bad = np.asarray(np.any(self.diverged, axis=1))
        return table_of(self.strengths, columns, bad, ())

    def __repr__(self) -> str:
        strengths, folds = self.scores.shape
        text = f"CrossValidation of {strengths} strengths on {folds} folds"
        finite = np.flatnonzero(np.isfinite(self.mean))
        if not finite.size:
            return f"{text}, all diverged"
        best = finite[np.argmin((-1 if self.higher_is_better else 1) * self.mean[finite])]
        chosen = jax.tree.map(lambda x: _Short(x[best]), strength_axis(self.strengths))
        return f"{text}, best mean {self.mean[best]:.4g} at {chosen!r}"


class _Short(float):
    def __repr__(self) -> str:
        return f"{float(self):.4g}"


def cross_validate(
    train: Callable[..., Any],
    data: Any,
    strengths: Any,
    folds: Folds = 5,
    *,
    keys: Any = None,
    has_aux: bool = False,
    higher_is_better: bool = False,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
    directory: str | os.PathLike[str] | None = None,
) -> CrossValidation:
    """Train on every fold with every strength as one program, and score the other samples.

    Shapes cannot differ within a program, so each run sees *all* samples, with a weight of
    0 or 1 for each of them (see `Fold`): train on means weighted by `fold.train`, and
    return a score weighted by `fold.test`. Everything computed from the data, scales for
    instance, must use `fold.train` as well (`standardize`), or the score is too good. For
    minibatches draw the samples by `jax.random.choice(key, n, (batch,), p=fold.train /
    fold.train.sum())`.

    Args:
        train: A pure function `train(strength, fold)`, or `train(strength, key, fold)` if
            there are `keys`, that returns a score; with `has_aux`, a pair of the score and
            a pytree of other results.
        data: A pytree of arrays whose first axis numbers the samples.
        strengths: As for `sweep`.
        folds: A number of folds, which are cut in the order of the samples as
            scikit-learn's `KFold` does (so shuffle sorted data first); or pairs of indices
            for training and for the score, as its splitters give them:
            `StratifiedKFold(5, shuffle=True).split(x, y)`, `GroupKFold(5).split(x, y, g)`.
        keys: Random keys; scores are means over them.
        has_aux: Whether `train` returns a pair.
        higher_is_better: Whether the scores are accuracies and the like, not losses.
        chunk: How many runs at once; see `sweep`.
        mesh: Devices to spread the runs over; see `sweep`.
        progress: Whether to show a bar; see `sweep`.
        directory: Where to save finished chunks; see `sweep`.

    Returns:
        A `CrossValidation`.

    Raises:
        TypeError: If folds are no pairs of indices, or `train` returns no score.
        ValueError: If there are more folds than samples or fewer than two, a fold is empty
            or trains on what it is scored on, or an argument of `sweep` is bad.

    Example:
        Ridge regression on one feature:

        >>> def train(strength, fold):
        ...     x, y = fold.data
        ...     covariance = weighted_mean(x * y, fold.train)
        ...     w = covariance / (weighted_mean(x * x, fold.train) + 2 * strength)
        ...     return weighted_mean((x * w - y) ** 2, fold.test)
        >>> x = jnp.array([1.0, 2.0, 3.0, 4.0])
        >>> data = x, x + jnp.array([0.5, -0.5, -0.5, 0.5])
        >>> found = cross_validate(train, data, jnp.array([0.0, 0.1, 10.0]), folds=2)
        >>> found.mean.round(2)
        array([0.34, 0.47, 5.85], dtype=float32)
    """
    axes = [strength_axis(strengths)]
    if keys is not None:
        axes.append(axis_of("keys", keys))
    samples = _samples_in(data)
    axes.append(fold_weights(folds, samples))
    check_chunk(chunk)
    results = run_all(
        _Scored(train, has_aux),
        axes,
        (data,),
        chunk=chunk,
        mesh=mesh,
        progress=progress,
        directory=directory,
    )
    scores, others = results if has_aux else (results, None)
    if keys is not None:
        scores = np.mean(scores, axis=1)
    return CrossValidation(strengths, scores, higher_is_better, others)


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A training function of the parts of a fold; equal ones are compiled once."""

    train: Callable[..., Any]
    has_aux: bool

    def __call__(self, strength: Any, *rest: Any) -> Any:
        *key, (train_weights, test_weights), data = rest
        returned = self.train(strength, *key, Fold(data, train_weights, test_weights))
        if self.has_aux and not (isinstance(returned, tuple) and len(returned) == 2):
            raise TypeError(
                "With has_aux, train must return a pair (score, others), got "
                f"{type(returned).__name__}."
            )
        score = returned[0] if self.has_aux else returned
        if not jax.tree_util.all_leaves([score]) or np.ndim(score) != 0:
            raise TypeError(
                f"train must return a score, one number, got {score!r}. (With "
                "has_aux=True, a pair of the score and other results.)"
            )
        score = raise_precision(score)
        return (score, returned[1]) if self.has_aux else score


def _samples_in(data: Any) -> int:
    return int(np.shape(jax.tree.leaves(axis_of("data", data))[0])[0])


def fold_weights(folds: Folds, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of 0 and 1, arrays (folds, samples): for training, for the score."""
    if isinstance(folds, int | np.integer):
        pairs = _k_folds(int(folds), samples)
    else:
        pairs = _pairs(folds)
    if not pairs:
        raise ValueError("folds must hold at least one pair of indices, got none.")
    weights = np.zeros((2, len(pairs), samples), np.float32)
    for number, pair in enumerate(pairs):
        for part, indices in enumerate(pair):
            index = np.asarray(indices)
            if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
                raise TypeError(
                    "folds must be pairs of arrays of indices, as scikit-learn's splitters "
                    f"give them, got an array of {index.dtype} of shape {index.shape}."
                )
            if index.size == 0 or index.min() < 0 or index.max() >= samples:
                raise ValueError(
                    f"Both parts of a fold must hold indices from 0 to {samples - 1}, got "
                    f"{index} in fold {number}."
                )
            weights[part, number, index] = 1
        if np.any(weights[0, number] * weights[1, number]):
            raise ValueError(
                f"No sample may be in both parts of a fold, but in fold {number} some are: "
                "they would be scored by a model that has seen them."
            )
    return weights[0], weights[1]


def _k_folds(folds: int, samples: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if not 2 <= folds <= samples:
        raise ValueError(
            f"folds must be at least 2 and at most the number of samples, {samples}, got "
            f"{folds}."
        )
    parts = np.array_split(np.arange(samples), folds)
    return [(np.setdiff1d(np.arange(samples), part), part) for part in parts]


def _pairs(folds: Any) -> list[tuple[Any, Any]]:
    if hasattr(folds, "split"):
        raise TypeError(
            f"folds must be a number or pairs of indices, got {folds!r}: pass what it "
            "splits into, folds=splitter.split(x, y)."
        )
    try:
        return [(train, test) for train, test in folds]
    except (TypeError, ValueError):
        raise TypeError(
            f"folds must be a number or pairs of arrays of indices, got {folds!r}."
        ) from None
