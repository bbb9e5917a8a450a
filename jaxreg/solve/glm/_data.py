"""Data of a generalised linear model as Newton's method wants it, and the way back."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.penalties import L1, L2, ElasticNet, GroupLasso, Penalty
from jaxreg.solve.checks import check_penalty
from jaxreg.solve.glm._candidate_model import Data, Fold
from jaxreg.solve.glm.families import Family


class Model(NamedTuple):
    """What the user asks for.

    Attributes:
        family: The distribution of y.
        x: Features, an array (samples, features).
        y: An array (outputs, samples).
        offset: Likewise.
        weights: One for each sample.
        l1: Strengths at λ = 1, an array (outputs, features).
        l2: Likewise.
        group: For each of these coefficients a number of its group, or `None`.
        intercept: Whether there is one.
        standardize: Whether strengths are about features of variance 1, or, without an
            intercept, of mean square 1.
        of_sum: Whether strengths stand beside the sum of the losses of all samples: with
            fewer of them, in a fold, they count for more.
    """

    family: Family
    x: np.ndarray
    y: np.ndarray
    offset: np.ndarray
    weights: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    group: np.ndarray | None
    intercept: bool
    standardize: bool
    of_sum: bool = False


class Scale(NamedTuple):
    """What was taken from each feature, and what it was divided by then.

    Attributes:
        mean: An array (features,).
        size: Likewise.
        intercepts: Those of the model without features, an array (outputs,).
    """

    mean: np.ndarray
    size: np.ndarray
    intercepts: np.ndarray

    def back(self, w: np.ndarray, model: Model) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (..., outputs, features) and intercepts of the original features.

        What is not penalised is centred: of classes only differences matter, and of all
        equally good coefficients those that add up to zero are the smallest.
        """
        features, several = len(self.size), len(model.y) > 1
        coefficients = w[..., :features] / self.size
        if several:
            unpenalised = np.all(model.l1 + model.l2 == 0, axis=0)
            means = np.mean(coefficients, axis=-2, keepdims=True)
            coefficients = coefficients - np.where(unpenalised, means, 0.0)
        if not model.intercept:
            return coefficients, np.zeros(w.shape[:-1])
        intercepts = self.intercepts + w[..., features] - coefficients @ self.mean
        if several:
            intercepts -= np.mean(intercepts, axis=-1, keepdims=True)
        return coefficients, intercepts


def strengths_of(
    penalty: Penalty, features: int, outputs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """What a penalty says about each coefficient.

    Returns:
        Strengths of L1 (or of the group) and of L2, and numbers of groups, if there are
        any: arrays (outputs, features). A coefficient that must stay zero, because one of
        its strengths is infinite, has infinity for the first and zero for the second.

    Raises:
        TypeError: If it is another penalty than `L1`, `L2`, `ElasticNet`, `GroupLasso`.
        ValueError: If its strengths do not fit.
    """
    shape = (features,) if outputs == 1 else (features, outputs)
    l1: Any = 0.0
    l2: Any = 0.0
    group = None
    if isinstance(penalty, L1):
        l1 = penalty.strength
    elif isinstance(penalty, L2):
        l2 = penalty.strength
    elif isinstance(penalty, ElasticNet):
        l1, l2 = penalty.l1, penalty.l2
    elif isinstance(penalty, GroupLasso):
        penalty(np.zeros(shape))  # The penalty itself refuses what does not fit.
        groups = penalty.groups(np.zeros(shape))
        l1 = groups.spread(penalty.per_group(groups, penalty.strength))
        numbers = np.arange(np.prod(groups.shape)).reshape(groups.shape)
        group = np.asarray(groups.spread(numbers))
    else:
        raise TypeError(
            "penalty must be an L1, L2, ElasticNet or GroupLasso, got "
            f"{penalty!r}: `minimize` takes any other."
        )
    check_penalty(penalty, shape)
    try:
        wide = [np.broadcast_to(_per_feature(v, outputs), shape) for v in (l1, l2)]
    except ValueError:
        raise ValueError(
            f"Strengths of the penalty must be numbers, or one for each of the {features} "
            f"features, got shapes {np.shape(l1)} and {np.shape(l2)}."
        ) from None
    if group is not None:
        group = np.broadcast_to(group, shape).reshape(features, outputs).T
    l1, l2 = (np.array(v, float).reshape(features, outputs).T for v in wide)
    excluded = np.isinf(l1) | np.isinf(l2)
    return np.where(excluded, np.inf, l1), np.where(excluded, 0.0, l2), group


def _per_feature(strength: Any, outputs: int) -> np.ndarray:
    strength = np.asarray(strength, float)
    return strength[:, None] if strength.ndim == 1 and outputs > 1 else strength


def arrange(model: Model, train: np.ndarray, test: np.ndarray) -> tuple[Data, Fold, Scale]:
    """Features as rows of mean 0 and size 1, in shapes that programs are compiled for.

    Samples without weight and features that are zero fill up the shapes: what is
    compiled for one data set serves others that are about as large.

    Args:
        model: What the user asks for.
        train: Weights of the samples, an array (folds, samples); of all data last.
        test: Likewise, for the score.

    Returns:
        Data and folds for Newton's method; and the scale of the features.
    """
    x, outputs = model.x, len(model.y)
    samples, features = x.shape
    totals = train.sum(1)
    train, test = (weights / weights.sum(1, keepdims=True) for weights in (train, test))
    y, offset, intercepts = model.y, model.offset, np.zeros(outputs)
    if model.intercept:
        y, offset, intercepts = model.family.shifted(y, offset, train[-1])
    scale = _scale(model, train[-1], intercepts)
    rows = padded(features + 1)
    columns = np.zeros((rows, padded(samples, 512)))
    columns[:features, :samples] = ((x - scale.mean) / scale.size).T
    l1, l2 = np.ones((len(train), outputs, rows)), np.zeros((len(train), outputs, rows))
    size = scale.size[None]
    if model.standardize and len(train) == 1:  # Rows have this size already.
        size = np.ones_like(size)
    elif model.standardize:
        size = 1 / _spread(columns[:features, :samples], train, model.intercept)
    l1[..., :features] = model.l1 / size[:, None]
    l2[..., :features] = 2 * model.l2 / size[:, None] ** 2
    if model.of_sum:
        l1, l2 = (part * (totals[-1] / totals)[:, None, None] for part in (l1, l2))
    group = np.arange(outputs * rows).reshape(outputs, rows)
    if model.group is not None:
        _, first, inverse = np.unique(model.group, return_index=True, return_inverse=True)
        output, feature = np.divmod(first, features)
        group[:, :features] = (output * rows + feature)[inverse].reshape(model.group.shape)
    if model.intercept:
        columns[features, :samples] = 1.0
        l1[..., features] = 0.0
    saturated = np.zeros(columns.shape[1])
    saturated[:samples] = np.asarray(model.family.conjugate(jnp.asarray(y)))

    def wide(rows: np.ndarray) -> Array:
        return jnp.asarray(np.pad(rows, ((0, 0), (0, columns.shape[1] - samples))))

    data = Data(
        jnp.asarray(columns),
        wide(y),
        wide(offset),
        jnp.asarray(saturated),
        None if model.group is None else jnp.asarray(group.ravel()),
    )
    ones = jnp.ones(len(train))
    return (
        data,
        Fold(wide(train), wide(test), jnp.asarray(l1), jnp.asarray(l2), ones, ones),
        scale,
    )


def padded(count: int, least: int = 32) -> int:
    """The next size that programs are compiled for: powers of 2, later quarters of them."""
    power = max(least, 1 << (count - 1).bit_length())
    quarter = power // 8
    return power if power <= max(least, 256) else -(-count // quarter) * quarter


def _scale(model: Model, weights: np.ndarray, intercepts: np.ndarray) -> Scale:
    """Means and sizes of the features: one size for all, if groups are not standardised."""
    x = model.x
    mean = weights @ x if model.intercept else np.zeros(x.shape[1])
    size = np.sqrt(weights @ (x - mean) ** 2)
    # What rounding leaves of a constant feature is no scale.
    constant = size <= 1e-13 * np.max(np.abs(x), axis=0)
    mean = np.where(constant & model.intercept, x[0], mean)
    size = np.where(constant, 1.0, size)
    if model.group is not None and not model.standardize:
        size = np.full_like(size, np.sqrt(np.mean(size**2)))
    return Scale(mean, size, intercepts)


def _spread(rows: np.ndarray, weights: np.ndarray, intercept: bool) -> np.ndarray:
    """The standard deviation of every row in every fold; 1 where there is none.

    Without an intercept nothing takes the mean away, and it is the root of the mean square.
    """

    def variance(fold: np.ndarray) -> np.ndarray:
        return (rows - (rows @ fold)[:, None] * intercept) ** 2 @ fold

    every = np.stack([variance(fold) for fold in weights])
    return np.sqrt(np.where(every <= 1e-20, 1.0, every))
