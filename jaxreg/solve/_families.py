"""Exponential families: all that Newton's method and its certificate ask of a model.

With linear predictors η, an array (outputs, samples), every loss here is

    A(η) − Σ y · η

with a convex cumulant A. Its gradient gives the means; its conjugate A*, the dual.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import entr, xlogy

_ROUNDING = 1e-13


class Family(Protocol):
    """A distribution of y given linear predictors."""

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


class _OneOutput:
    def variance(self, eta: Array) -> Array:
        raise NotImplementedError

    def curvature(self, eta: Array, weights: Array, rows: Array, output: Array) -> Array:
        return (rows * (weights * self.variance(eta)[0])) @ rows.T


@dataclasses.dataclass(frozen=True)
class Gaussian(_OneOutput):
    """Least squares."""

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

    def cumulant(self, eta: Array) -> Array:
        return jnp.logaddexp(0.0, eta[0])

    def mean(self, eta: Array) -> Array:
        return jax.nn.sigmoid(eta)

    def variance(self, eta: Array) -> Array:
        return jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)

    def conjugate(self, mean: Array) -> Array:
        return -entr(mean[0]) - entr(1 - mean[0])


@dataclasses.dataclass(frozen=True)
class Poisson(_OneOutput):
    """Counts, by the logarithm of their mean."""

    def cumulant(self, eta: Array) -> Array:
        return jnp.exp(eta[0])

    def mean(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def variance(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def conjugate(self, mean: Array) -> Array:
        return xlogy(mean[0], mean[0]) - mean[0]


@dataclasses.dataclass(frozen=True)
class Multinomial:
    """Several classes, one output for each of them."""

    def cumulant(self, eta: Array) -> Array:
        return jax.nn.logsumexp(eta, axis=0)

    def mean(self, eta: Array) -> Array:
        return jax.nn.softmax(eta, axis=0)

    def conjugate(self, mean: Array) -> Array:
        return -jnp.sum(entr(mean), axis=0)

    def curvature(self, eta: Array, weights: Array, rows: Array, output: Array) -> Array:
        weighed = rows * self.mean(eta)[output]
        same = output[:, None] == output[None, :]
        own = jnp.where(same, (weighed * weights) @ rows.T, 0.0)
        # With a certain class the difference is rounding, and might be negative.
        rounding = jnp.diag(_ROUNDING * jnp.diagonal(own))
        return own - (weighed * weights) @ weighed.T + rounding
