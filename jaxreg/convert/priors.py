"""Strengths as prior beliefs, and back.

The minimiser of `mean loss + penalty` is the most probable parameters (MAP) if the loss of
a sample is its negative log likelihood and the prior density is exp(−n_samples · penalty),
up to a constant:

| penalty, beside a mean over n samples | prior of each weight |
|---|---|
| `L2(strength)` | Gaussian with standard deviation √(s / (2 · n · strength)) |
| `L1(strength)` | Laplace with scale s / (n · strength) |
| `ElasticNet(l1, l2)` | the product of both |
| `GroupLasso(strength)` | per group, density ∝ exp(−n · strength · scale · norm / s) |
| `LogSum(strength, ...)` | heavy tails, like Student's t |
| `penalty.toward(reference)` | the same, around the reference |

s = 1 where the loss is a negative log likelihood, such as cross entropy. It is the variance
of the noise where the loss is *half* the squared error, whose likelihood is divided by it.
(For the whole squared error, it is twice the variance.)

**Where this reading does not hold.** It is about objectives, so it holds for penalties in
the loss and for optimizers that minimise the same sum: `add_l2_decay`, `prox_sgd`,
`prox_adam`, `dual_averaging_adam`, `orthant_wise`. Decoupled weight decay under Adam
(AdamW, `decoupled_weight_decay`, and `decoupled_l1`) minimises no such sum: weight by
weight the decay is worth n · weight_decay · √v̂ in prior precision, with v̂ Adam's mean of
squared gradients. That is a prior that depends on the likelihood, the batch size and the
time; with full batches, as gradients vanish, so does the prior.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxreg._checks import Scalar, check_number, check_numbers
from jaxreg._dtypes import raise_precision
from jaxreg._tree import Params
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty


def gaussian_scale(
    strength: ArrayLike, *, n_samples: Scalar, noise_variance: Scalar = 1.0
) -> Array:
    """The standard deviation of the Gaussian prior that `L2(strength)` states.

        √(noise_variance / (2 · n_samples · strength))

    Args:
        strength: Of `L2`, beside a mean loss. A `weight_decay` is twice this strength.
        n_samples: How many samples the mean is over.
        noise_variance: 1 if the loss is a negative log likelihood; the variance of the
            noise if it is half the squared error.

    Returns:
        The standard deviation; infinity for a strength of 0.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If a number is negative or NaN, or `n_samples` or `noise_variance` is 0.

    Example:
        >>> gaussian_scale(0.005, n_samples=100)
        Array(1., dtype=float32)
    """
    ratio = _noise_per_strength("strength", strength, n_samples, noise_variance)
    return jnp.sqrt(ratio / 2)


def gaussian_strength(
    scale: ArrayLike, *, n_samples: Scalar, noise_variance: Scalar = 1.0
) -> Array:
    """The strength of `L2` of a Gaussian prior: the inverse of `gaussian_scale`.

        noise_variance / (2 · n_samples · scale²)

    Args:
        scale: The standard deviation of the prior.
        n_samples: How many samples the mean is over.
        noise_variance: As for `gaussian_scale`.

    Returns:
        The strength.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If a number is negative or NaN, or `n_samples` or `noise_variance` is 0.

    Example:
        >>> L2(gaussian_strength(0.5, n_samples=100))
        L2(strength=Array(0.02, dtype=float32))
    """
    check_numbers("scale", scale)
    square = raise_precision(scale) ** 2
    return _noise_per_strength("scale", square, n_samples, noise_variance) / 2


def laplace_scale(
    strength: ArrayLike, *, n_samples: Scalar, noise_variance: Scalar = 1.0
) -> Array:
    """The scale of the Laplace prior that `L1(strength)` states.

        noise_variance / (n_samples · strength)

    The density is exp(−|w|/scale)/(2·scale), its standard deviation √2 · scale.

    Args:
        strength: Of `L1`, beside a mean loss.
        n_samples: How many samples the mean is over.
        noise_variance: 1 if the loss is a negative log likelihood; the variance of the
            noise if it is half the squared error.

    Returns:
        The scale; infinity for a strength of 0.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If a number is negative or NaN, or `n_samples` or `noise_variance` is 0.

    Example:
        >>> laplace_scale(0.25, n_samples=8)
        Array(0.5, dtype=float32)
    """
    return _noise_per_strength("strength", strength, n_samples, noise_variance)


def laplace_strength(
    scale: ArrayLike, *, n_samples: Scalar, noise_variance: Scalar = 1.0
) -> Array:
    """The strength of `L1` of a Laplace prior: the inverse of `laplace_scale`.

        noise_variance / (n_samples · scale)

    Args:
        scale: The scale of the prior.
        n_samples: How many samples the mean is over.
        noise_variance: As for `laplace_scale`.

    Returns:
        The strength.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If a number is negative or NaN, or `n_samples` or `noise_variance` is 0.

    Example:
        >>> L1(laplace_strength(0.5, n_samples=8))
        L1(strength=Array(0.25, dtype=float32))
    """
    return _noise_per_strength("scale", scale, n_samples, noise_variance)


def log_prior(
    penalty: Penalty, params: Params, *, n_samples: Scalar, noise_variance: Scalar = 1.0
) -> Array:
    """The log density of the prior that a penalty states, up to a constant.

        −n_samples · penalty(params) / noise_variance

    Added to the log likelihood of all samples it gives the log posterior, for samplers and
    for Laplace approximations. The constant depends on the strengths, not on the
    parameters; parameters that are not penalised have a flat prior.

    Args:
        penalty: The penalty, as it stands beside a mean loss.
        params: A pytree of parameters.
        n_samples: How many samples the mean is over.
        noise_variance: As for `gaussian_scale`.

    Returns:
        A scalar, at most 0.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If `n_samples` or `noise_variance` is not positive.

    Example:
        >>> log_prior(L2(0.5), jnp.array([1.0, 2.0]), n_samples=2)
        Array(-5., dtype=float32)
    """
    check_is_penalty(penalty)
    _check(n_samples, noise_variance)
    return -n_samples / noise_variance * penalty(params)


def _noise_per_strength(
    name: str, value: Any, n_samples: Scalar, noise_variance: Scalar
) -> Array:
    check_numbers(name, value)
    _check(n_samples, noise_variance)
    return noise_variance / (n_samples * raise_precision(value))


def _check(n_samples: Scalar, noise_variance: Scalar) -> None:
    check_number("n_samples", n_samples, above=0.0)
    check_number("noise_variance", noise_variance, above=0.0)
