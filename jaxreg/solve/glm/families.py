"""Exponential families: all that Newton's method and its certificate ask of a model.

With linear predictors η, an array (outputs, samples), every loss here is

    A(η) − Σ y · η

with a convex cumulant A. Its gradient gives the means; its conjugate A*, the dual.
"""

import dataclasses
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve.standardize import GONE

_ROUNDING = 1e-13
# What a class that does not occur has for its probability, at most.
_NEVER = 1e-30


class Shifted(NamedTuple):
    """Data in which the model without features has no intercepts, and what these were."""

    y: np.ndarray
    offset: np.ndarray
    intercepts: np.ndarray


class Family(Protocol):
    """A distribution of y given linear predictors.

    Attributes:
        score_factor: By what the mean loss above the least possible one is multiplied to
            be the usual measure of errors: the mean squared error, `log_loss`, the mean
            deviance of counts.
    """

    score_factor: ClassVar[float]

    def shifted(self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> Shifted:
        """Put the intercepts of the model without features into the data.

        From there Newton's method has no long way to go, and squares of a large mean do
        not take the digits of the rest.
        """
        ...

    def cumulant(self, eta: Array) -> Array:
        """A(η) for every sample."""
        ...

    def mean(self, eta: Array) -> Array:
        """The expected y, the gradient of A."""
        ...

    def conjugate(self, mean: Array) -> Array:
        """A*(mean) = sup_η Σ mean · η − A(η), for every sample."""
        ...

    def curvature(self, eta: Array, weights: Array, rows: Array, output: Array) -> Array:
        """The Hessian Σ weights · ∇²A in the coefficients of rows, each of one output."""
        ...

    def occurs(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Whether there is what each intercept stands for; without, it is infinite."""
        ...


class _Shift:
    score_factor: ClassVar[float] = 1.0

    def intercepts(
        self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        raise NotImplementedError

    def shifted(self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> Shifted:
        intercepts = self.intercepts(y, offset, weights)
        return Shifted(y, offset + intercepts[:, None], intercepts)


class _OneOutput(_Shift):
    def variance(self, eta: Array) -> Array:
        raise NotImplementedError

    def curvature(self, eta: Array, weights: Array, rows: Array, output: Array) -> Array:
        return (rows * (weights * self.variance(eta)[0])[None, :]) @ rows.T


@dataclasses.dataclass(frozen=True)
class Gaussian(_OneOutput):
    """Least squares."""

    score_factor: ClassVar[float] = 2.0

    def shifted(self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray) -> Shifted:
        intercepts = (y - offset) @ weights
        centred = y - intercepts[:, None]
        raw, left = (weights @ part[0] ** 2 for part in (y - offset, centred - offset))
        return Shifted(centred if left > GONE**2 * raw else offset, offset, intercepts)

    def occurs(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del weights
        return np.ones(len(y), bool)

    def cumulant(self, eta: Array) -> Array:
        return jnp.sum(eta**2, axis=0) / 2

    def mean(self, eta: Array) -> Array:
        return eta

    def variance(self, eta: Array) -> Array:
        return jnp.ones_like(eta)

    def conjugate(self, mean: Array) -> Array:
        return jnp.sum(mean**2, axis=0) / 2


@dataclasses.dataclass(frozen=True)
class Bernoulli(_OneOutput):
    """Two classes, 0 and 1, by their log odds."""

    def intercepts(
        self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        del offset  # There is none for classes.
        return np.log(y @ weights) - np.log((1 - y) @ weights)

    def occurs(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.concatenate([y, 1 - y]) @ weights > 0

    def cumulant(self, eta: Array) -> Array:
        return jnp.logaddexp(0.0, eta[0])

    def mean(self, eta: Array) -> Array:
        return jax.nn.sigmoid(eta)

    def variance(self, eta: Array) -> Array:
        return jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)

    def conjugate(self, mean: Array) -> Array:
        return -_entropies(mean[0]) - _entropies(1 - mean[0])


@dataclasses.dataclass(frozen=True)
class Poisson(_OneOutput):
    """Counts, by the logarithm of their mean."""

    score_factor: ClassVar[float] = 2.0

    def intercepts(
        self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        with np.errstate(divide="ignore"):
            logarithms = np.log(weights) + offset
        return np.log(y @ weights) - np.logaddexp.reduce(logarithms, axis=1)

    def occurs(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return y @ weights > 0

    def cumulant(self, eta: Array) -> Array:
        return jnp.exp(eta[0])

    def mean(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def variance(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def conjugate(self, mean: Array) -> Array:
        return _times_log(mean[0]) - mean[0]


@dataclasses.dataclass(frozen=True)
class Multinomial(_Shift):
    """Several classes, one output for each of them."""

    def intercepts(
        self, y: np.ndarray, offset: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        del offset  # There is none for classes.
        return np.log(np.maximum(y @ weights, _NEVER))

    def occurs(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return y @ weights > 0

    def cumulant(self, eta: Array) -> Array:
        return jax.nn.logsumexp(eta, axis=0)

    def mean(self, eta: Array) -> Array:
        return jax.nn.softmax(eta, axis=0)

    def conjugate(self, mean: Array) -> Array:
        return -jnp.sum(_entropies(mean), axis=0)

    def curvature(self, eta: Array, weights: Array, rows: Array, output: Array) -> Array:
        weighed = rows * self.mean(eta)[output]
        same = output[:, None] == output[None, :]
        counted = weighed * weights[None, :]
        own = jnp.where(same, counted @ rows.T, 0.0)
        # With a certain class the difference is rounding, and might be negative.
        rounding = jnp.diag(_ROUNDING * jnp.diagonal(own))
        return own - counted @ weighed.T + rounding


def _entropies(mean: Array) -> Array:
    """−p·log(p), −∞ where p is negative by more than rounding."""
    return jnp.where(mean > -_ROUNDING, -_times_log(jnp.maximum(mean, 0.0)), -jnp.inf)


def _times_log(x: Array) -> Array:
    """x·log(x), 0 at 0, without a NaN on the way: `jax_debug_nans` would stop there.

    NaN where x is negative.
    """
    return x * jnp.log(jnp.where(x == 0, 1.0, x))
