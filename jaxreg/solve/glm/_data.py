"""Data of a generalised linear model in the units of Newton's method, and the way back.

Shapes: n samples, p features, k outputs (classes; otherwise 1).
"""

from typing import Any, NamedTuple

import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg.losses import LinearLoss, Multinomial
from jaxreg.penalties import L1, L2, ElasticNet, GroupLasso, Penalty
from jaxreg.solve.checks import check_penalty
from jaxreg.solve.glm._backend import Backend
from jaxreg.solve.glm._candidate_model import Data, Fold


class GLM(NamedTuple):
    """A generalised linear model as the user gives it.

    Attributes:
        loss: The loss of targets (n, k).
        x: Features, an array (n, p).
        offset: Known parts of the linear predictors, an array (n, k).
        weights: The weights of the samples, an array (n,).
        l1: Strengths at λ = 1, an array (k, p).
        l2: Likewise, of Σ l2 · w².
        group: For each of these coefficients the number of its group, or `None`.
        intercept: Whether there is one.
        standardize: Whether strengths are for features of variance 1, or, without an
            intercept, of mean square 1.
        of_sum: Whether the objective has the sum of the losses of all samples: then folds,
            which have fewer samples, are penalised more.
    """

    loss: LinearLoss
    x: np.ndarray
    offset: np.ndarray
    weights: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    group: np.ndarray | None
    intercept: bool
    standardize: bool
    of_sum: bool = False


class Scale(NamedTuple):
    """The shift and the scale of each feature.

    Attributes:
        mean: What was subtracted, an array (p,).
        divisor: What the difference was divided by, an array (p,).
        intercepts: Those of the null model, an array (k,).
    """

    mean: np.ndarray
    divisor: np.ndarray
    intercepts: np.ndarray

    def back(self, w: np.ndarray, model: GLM) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (..., k, p) and intercepts (..., k) of the original features.

        Unpenalised coefficients of several classes are centred: only their differences
        matter, and those that add up to zero are the smallest.
        """
        features, several = len(self.divisor), isinstance(model.loss, Multinomial)
        coefficients = w[..., :features] / self.divisor
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
    """The strengths of a penalty for each coefficient.

    Returns:
        Strengths of L1 (or of the group) and of L2, and numbers of groups, if there are
        any: arrays (outputs, features). A coefficient with an infinite strength must stay
        zero: its first strength is infinity then, and its second one 0.

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
        groups = penalty.groups_in(np.zeros(shape))
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


def arrange(
    backend: Backend, model: GLM, train: np.ndarray, test: np.ndarray
) -> tuple[Data, Fold, Scale]:
    """Features as rows of mean 0 and mean square 1, in shapes of few different sizes.

    Samples of weight 0 and features of zeros pad the arrays, so that a program compiled for
    one data set serves others of about the same size. The last row of features is a row of
    ones for the intercept.

    Args:
        backend: What computes.
        model: The model.
        train: Weights of the samples, an array (folds, n); of all data last.
        test: Likewise, for the score.

    Returns:
        Data and folds for Newton's method; and the scale of the features.
    """
    samples, features = model.x.shape
    totals = train.sum(1)
    train, test = (weights / weights.sum(1, keepdims=True) for weights in (train, test))
    loss, offset = model.loss, model.offset
    intercepts = np.zeros(offset.shape[1])
    if model.intercept:
        intercepts = loss.null_intercept(offset, train[-1])
        loss, offset = loss.shifted(offset + intercepts, train[-1])
    scale = _scale(model, train[-1], intercepts)
    shape = features + 1, samples
    if backend.pads:
        shape = padded(shape[0]), padded(shape[1], 512)
    columns = np.zeros(shape)
    columns[:features, :samples] = ((model.x - scale.mean) / scale.divisor).T
    divisor = scale.divisor[None]
    if model.standardize and len(train) == 1:  # Rows have mean square 1 already.
        divisor = np.ones_like(divisor)
    elif model.standardize:
        divisor = 1 / _spread(columns[:features, :samples], train, model.intercept)
    divisor = np.broadcast_to(divisor, (len(train), features))
    l1, l2 = _scaled_strengths(model, divisor, len(columns))
    if model.of_sum:
        l1, l2 = (part * (totals[-1] / totals)[:, None, None] for part in (l1, l2))
    if model.intercept:
        columns[features, :samples] = 1.0
        l1[..., features] = 0.0
    padding = (0, columns.shape[1] - samples)
    # Copies of the last target are valid ones, whatever the loss.
    targets = np.pad(loss.y, (padding, (0, 0)), mode="edge")
    loss = loss.with_targets(backend.to_device(targets))

    def wide(rows: np.ndarray) -> Any:
        return backend.to_device(np.pad(rows, ((0, 0), padding)))

    group = None if model.group is None else _first(model.group, len(columns))
    columns, group, l1, l2 = backend.to_device((columns, group, l1, l2))
    least = backend.run(_least_losses, loss)
    ones = backend.to_device(np.ones(len(train)))
    folds = Fold(wide(train), wide(test), l1, l2, ones, ones)
    return Data(columns, loss, wide(offset.T), least, group), folds, scale


def _least_losses(backend: Backend, loss: LinearLoss) -> Any:
    """For each sample min ℓ, which is minus the conjugate at 0."""
    return -loss.sample_conjugates(backend.xp.zeros_like(loss.y))


def _scaled_strengths(
    model: GLM, divisor: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Strengths for features that were divided, of Σ l1·|w| + ½ Σ l2·w².

    Args:
        model: The model.
        divisor: An array (folds, p).
        rows: The number of features with padding.

    Returns:
        Arrays (folds, k, rows); 1 and 0 for padding.
    """
    outputs, features = model.l1.shape
    shape = len(divisor), outputs, rows
    l1, l2 = np.ones(shape), np.zeros(shape)
    l1[..., :features] = model.l1 / divisor[:, None]
    l2[..., :features] = 2 * model.l2 / divisor[:, None] ** 2
    return l1, l2


def _first(group: np.ndarray, rows: int) -> np.ndarray:
    """For each coefficient, padding included, the index of the first one of its group."""
    outputs, features = group.shape
    indices = np.arange(outputs * rows).reshape(outputs, rows)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    output, feature = np.divmod(first, features)
    indices[:, :features] = (output * rows + feature)[inverse].reshape(group.shape)
    return indices.ravel()


def padded(count: int, least: int = 32) -> int:
    """The next size that programs are compiled for: powers of 2, later quarters of them."""
    power = max(least, 1 << (count - 1).bit_length())
    quarter = power // 8
    return power if power <= max(least, 256) else -(-count // quarter) * quarter


def _scale(model: GLM, weights: np.ndarray, intercepts: np.ndarray) -> Scale:
    """Means and root mean squares of the features; one for all in groups as they are."""
    x = model.x
    mean = weights @ x if model.intercept else np.zeros(x.shape[1])
    divisor = np.sqrt(weights @ (x - mean) ** 2)
    # The spread of a constant feature is a rounding error.
    constant = divisor <= ROUNDING * np.max(np.abs(x), axis=0)
    mean = np.where(constant & model.intercept, x[0], mean)
    divisor = np.where(constant, 1.0, divisor)
    if model.group is not None and not model.standardize:
        divisor = np.full_like(divisor, np.sqrt(np.mean(divisor**2)))
    return Scale(mean, divisor, intercepts)


def _spread(rows: np.ndarray, weights: np.ndarray, intercept: bool) -> np.ndarray:
    """The standard deviation of every row in every fold; 1 where there is none.

    Without an intercept, the root mean square.
    """

    def variance(fold: np.ndarray) -> np.ndarray:
        return (rows - (rows @ fold)[:, None] * intercept) ** 2 @ fold

    every = np.stack([variance(fold) for fold in weights])
    return np.sqrt(np.where(every <= 1e-20, 1.0, every))
