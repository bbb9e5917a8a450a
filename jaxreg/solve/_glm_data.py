"""Data of a generalised linear model as Newton's method wants it, and the way back."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreg.solve._families import Family
from jaxreg.solve._newton_path import Data, Fold


class Model(NamedTuple):
    """What the user asks for.

    Attributes:
        family: The distribution of y.
        x: Features, an array (samples, features).
        y: An array (outputs, samples).
        offset: Likewise.
        weights: For each sample, for training and for the score: (folds, samples) each.
        l1: Strengths at λ = 1, one for each feature.
        l2: Likewise.
        intercept: Whether there is one.
        standardize: Whether strengths are about features of variance 1.
    """

    family: Family
    x: np.ndarray
    y: np.ndarray
    offset: np.ndarray
    weights: tuple[np.ndarray, np.ndarray]
    l1: np.ndarray
    l2: np.ndarray
    intercept: bool
    standardize: bool


class Scale(NamedTuple):
    """What was taken from each feature, and what it was divided by then."""

    mean: np.ndarray
    size: np.ndarray

    def back(self, w: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (..., outputs, features) and intercepts of the original features."""
        features = len(self.size)
        coefficients = w[..., :features] / self.size
        if not intercept:
            return coefficients, np.zeros(w.shape[:-1])
        return coefficients, w[..., features] - coefficients @ self.mean


def arrange(model: Model) -> tuple[Data, Fold, Scale]:
    """Features as rows of mean 0 and size 1, in shapes that programs are compiled for.

    Samples without weight and features that are zero fill up the shapes: what is
    compiled for one data set serves others that are about as large.
    """
    x, y = model.x, model.y
    (samples, features), outputs = x.shape, len(y)
    train, test = (weights / weights.sum(1, keepdims=True) for weights in model.weights)
    scale = _scale(x, train[-1], model.intercept)
    rows = padded(features + 1)
    columns = np.zeros((rows, padded(samples)))
    columns[:features, :samples] = ((x - scale.mean) / scale.size).T
    l1, l2 = np.ones((len(train), outputs, rows)), np.zeros((len(train), outputs, rows))
    size = scale.size[None]
    if model.standardize:
        size = 1 / _spread(columns[:features, :samples], train)
    l1[..., :features] = (model.l1 / size)[:, None]
    l2[..., :features] = (2 * model.l2 / size**2)[:, None]
    if model.intercept:
        columns[features, :samples] = 1.0
        l1[..., features] = 0.0
    saturated = np.zeros(columns.shape[1])
    saturated[:samples] = np.asarray(model.family.conjugate(jnp.asarray(y)))

    def wide(rows: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(np.pad(rows, ((0, 0), (0, columns.shape[1] - samples))))

    data = Data(jnp.asarray(columns), wide(y), wide(model.offset), jnp.asarray(saturated))
    ones = jnp.ones(len(train))
    folds = Fold(wide(train), wide(test), jnp.asarray(l1), jnp.asarray(l2), ones)
    return data, folds, scale


def padded(count: int) -> int:
    """The next size that programs are compiled for: powers of 2, later quarters of them."""
    power = max(32, 1 << (count - 1).bit_length())
    quarter = power // 8
    return power if power <= 256 else -(-count // quarter) * quarter


def _scale(x: np.ndarray, weights: np.ndarray, centre: bool) -> Scale:
    mean = weights @ x if centre else np.zeros(x.shape[1])
    size = np.sqrt(weights @ (x - mean) ** 2)
    # What rounding leaves of a constant feature is no scale.
    constant = size <= 1e-13 * np.max(np.abs(x), axis=0)
    mean = np.where(constant & centre, x[0], mean)
    return Scale(mean, np.where(constant, 1.0, size))


def _spread(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The standard deviation of every row in every fold; 1 where there is none."""
    mean = weights @ rows.T
    variance = weights @ (rows**2).T - mean**2
    return np.sqrt(np.where(variance <= 1e-20, 1.0, variance))
