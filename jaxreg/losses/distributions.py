"""Losses of linear models: the mean over samples of a function of x @ kernel + bias.

Each loss is a small immutable value that holds the data, and a function of the parameters.
It is a pytree whose leaves are the data: pass it through `jit` without compiling anew for
new data, `vmap` it over weights of the samples (folds, bootstraps), differentiate with
respect to it.

To add a distribution, subclass `LinearLoss` and write its formulas about the linear
predictor η. `minimize` needs `sample_losses` only; `sample_conjugates` adds a duality gap;
`null_intercept` and `mean_response` make it usable in `solve.glm.core.solve_glm`.
"""

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import ROUNDING
from jaxreg._namespace import log_sum_exp, namespace, sigmoid, softmax, softplus
from jaxreg.losses.linear import LinearLoss, beside_samples, sum_outputs
from jaxreg.penalties.fields import constant

# The null model's probability of a class that does not occur.
_LEAST_PROBABILITY = 1e-30


class Squared(LinearLoss):
    """Half the mean squared error, as in scikit-learn's `Lasso` and in glmnet.

        ½·Σᵢ sᵢ·(ηᵢ − yᵢ)² / Σᵢ sᵢ

    Args:
        x: Features, of shape `(n, p)`.
        y: Responses, of shape `(n,)`, or `(n, k)` for `k` outputs, whose losses add up.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite.

    Example:
        >>> loss = Squared(np.array([[1.0], [2.0]]), np.array([3.0, 3.0]))
        >>> loss({"kernel": jnp.array([1.0]), "bias": jnp.array(0.0)})
        Array(1.25, dtype=float32)
    """

    score_factor: ClassVar[float] = 2.0

    def sample_losses(self, predictor: Array) -> Array:
        return sum_outputs((predictor - self.y) ** 2 / 2)

    def sample_slopes(self, predictor: Array) -> Array:
        return predictor - self.y

    def sample_curvatures(self, predictor: Array) -> tuple[Array, None]:
        return namespace(predictor).ones_like(predictor), None

    def sample_conjugates(self, slopes: Array) -> Array:
        return sum_outputs(slopes * (slopes / 2 + self.y))

    def sample_gaps(self, predictor: Array, slopes: Array) -> Array:
        # Not from losses and conjugates: those of large targets hide small differences.
        return sum_outputs(jnp.square(predictor - self.y - slopes) / 2)

    def null_intercept(self, offset: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights @ (self.y - offset)

    def shifted(self, offset: np.ndarray, weights: np.ndarray) -> tuple[Self, np.ndarray]:
        # Squares of a large mean would take the digits of the rest.
        centred = self.y - offset
        before, after = (np.sum(weights @ part**2) for part in (self.y, centred))
        constant = after <= ROUNDING**2 * before
        return self.with_targets(centred * (not constant)), np.zeros_like(offset)


class Huber(LinearLoss):
    """Squares for small errors and absolute values for large ones: outliers pull less.

        Σᵢ sᵢ·h(ηᵢ − yᵢ) / Σᵢ sᵢ,    h(r) =  r²/2                    where |r| ≤ delta
                                             delta·(|r| − delta/2)   beyond

    `optax.losses.huber_loss`, averaged. (The penalty of that shape is `jaxreg.Huber`.)

    Args:
        x: Features, of shape `(n, p)`.
        y: Responses, of shape `(n,)`, or `(n, k)` for `k` outputs, whose losses add up.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.
        delta: Where the square ends; above 0.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite or out of range.

    Example:
        >>> Huber(np.array([[1.0], [1.0]]), np.array([1.0, 4.0]))(jnp.array([0.0]))
        Array(2., dtype=float32)

    References:
        Huber, *Robust estimation of a location parameter* (1964), section 4.
    """

    delta: Scalar = constant(default=1.0, above=0.0)

    def sample_losses(self, predictor: Array) -> Array:
        error = predictor - self.y
        near = jnp.clip(error, -self.delta, self.delta)
        return sum_outputs(near * (error - near / 2))

    def sample_conjugates(self, slopes: Array) -> Array:
        inside = jnp.abs(slopes) <= self.delta
        return sum_outputs(jnp.where(inside, slopes * (slopes / 2 + self.y), jnp.inf))

    def sample_gaps(self, predictor: Array, slopes: Array) -> Array:
        error = predictor - self.y
        near = jnp.clip(error, -self.delta, self.delta)
        # ½·(near − u)² + (|error| − |near|)·(delta − u·sign), where |u| ≤ delta.
        beyond = (error - near) * (near - slopes)
        inside = jnp.abs(slopes) <= self.delta
        gaps = jnp.square(near - slopes) / 2 + beyond
        return sum_outputs(jnp.where(inside, gaps, jnp.inf))


class Logistic(LinearLoss):
    """The logistic loss: minus the log-likelihood of a yes or no, averaged.

        Σᵢ sᵢ·(log(1 + exp(ηᵢ)) − yᵢ·ηᵢ) / Σᵢ sᵢ

    scikit-learn's `LogisticRegression(C)` minimises the sum: its C is 1/(n·strength).

    Args:
        x: Features, of shape `(n, p)`.
        y: 0 or 1 for each sample (or a probability between), of shape `(n,)`; with shape
            `(n, k)` there are `k` separate labels, whose losses add up.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite or out of range.

    Example:
        >>> loss = Logistic(np.array([[1.0], [-1.0]]), np.array([True, False]))
        >>> print(f"{loss(jnp.array([0.0])):.4f} {loss(jnp.array([2.0])):.4f}")
        0.6931 0.1269
    """

    def sample_losses(self, predictor: Array) -> Array:
        return sum_outputs(
            self.y * softplus(-predictor) + (1 - self.y) * softplus(predictor)
        )

    def sample_slopes(self, predictor: Array) -> Array:
        return self.mean_response(predictor) - self.y

    def sample_curvatures(self, predictor: Array) -> tuple[Array, None]:
        return sigmoid(predictor) * sigmoid(-predictor), None

    def sample_conjugates(self, slopes: Array) -> Array:
        probability = slopes + self.y
        return sum_outputs(_times_log(probability) + _times_log(1 - probability))

    def null_intercept(self, offset: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del offset  # `logistic_path` has none.
        return np.log(weights @ self.y) - np.log(weights @ (1 - self.y))

    def has_intercept(self, weights: np.ndarray) -> np.ndarray:
        return weights @ np.concatenate([self.y, 1 - self.y], axis=1) > 0

    @staticmethod
    def mean_response(predictor: Array) -> Array:
        return sigmoid(predictor)

    @staticmethod
    def check_targets(y: np.ndarray, name: str) -> None:
        _refuse(name, "0 or 1, or a probability", y, (y < 0) | (y > 1))


class Multinomial(LinearLoss):
    """The cross-entropy of a softmax over classes, averaged.

        Σᵢ sᵢ·(log Σ_c exp(ηᵢ_c) − ηᵢ_yᵢ) / Σᵢ sᵢ

    No class is a reference: each has its column of the kernel.

    Args:
        x: Features, of shape `(n, p)`.
        y: The class of each sample, 0 ≤ yᵢ < k, of shape `(n,)`; or the probability of
            each class, of shape `(n, k)`.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite or out of range.

    Example:
        >>> loss = Multinomial(np.array([[1.0], [-1.0]]), np.array([0, 2]))
        >>> print(f"{loss(jnp.zeros((1, 3))):.4f}")
        1.0986
    """

    def sample_losses(self, predictor: Array) -> Array:
        picked = (self._probabilities(predictor) * predictor).sum(-1)
        return log_sum_exp(predictor) - picked

    def sample_slopes(self, predictor: Array) -> Array:
        return self.mean_response(predictor) - self._probabilities(predictor)

    def sample_curvatures(self, predictor: Array) -> tuple[Array, Array]:
        mean = self.mean_response(predictor)
        return mean, mean

    def sample_conjugates(self, slopes: Array) -> Array:
        return _times_log(slopes + self._probabilities(slopes)).sum(-1)

    def null_intercept(self, offset: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del offset  # `logistic_path` has none.
        return np.log(np.maximum(weights @ self.y, _LEAST_PROBABILITY))

    def has_intercept(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.y > 0

    @staticmethod
    def mean_response(predictor: Array) -> Array:
        return softmax(predictor)

    def balanced(self, slopes: Array) -> Array:
        return beside_samples(jnp.subtract, slopes, self.pullback(slopes)["bias"])

    def _probabilities(self, like: Array) -> Array:
        if like.ndim != 2:
            raise ValueError(
                "Multinomial needs a kernel of shape (p, k), a column for each class, "
                f"but got one with {like.ndim} axis."
            )
        if self.y.ndim == 2:
            return self.y
        return jax.nn.one_hot(self.y.astype(jnp.int32), like.shape[1], dtype=like.dtype)

    @staticmethod
    def check_targets(y: np.ndarray, name: str) -> None:
        if y.ndim == 1:
            _refuse(name, "classes, numbered from 0", y, (y < 0) | (y != np.floor(y)))
        else:
            _refuse(name, "classes or probabilities", y, (y < 0) | (y > 1))


class Poisson(LinearLoss):
    """Minus the log-likelihood of counts with mean exp(η), averaged.

        Σᵢ sᵢ·(exp(ηᵢ) − yᵢ·ηᵢ) / Σᵢ sᵢ

    What depends on the counts alone is left out, so the loss may be negative.
    scikit-learn's `PoissonRegressor(alpha)` has this loss plus ½·alpha·Σ w².

    Args:
        x: Features, of shape `(n, p)`.
        y: Counts (or rates), at least 0, of shape `(n,)` or `(n, k)`.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite or out of range.

    Example:
        >>> Poisson(np.array([[1.0], [1.0]]), np.array([0, 3]))(jnp.array([0.0]))
        Array(1., dtype=float32)
    """

    score_factor: ClassVar[float] = 2.0

    def sample_losses(self, predictor: Array) -> Array:
        return sum_outputs(namespace(predictor).exp(predictor) - self.y * predictor)

    def sample_slopes(self, predictor: Array) -> Array:
        return namespace(predictor).exp(predictor) - self.y

    def sample_curvatures(self, predictor: Array) -> tuple[Array, None]:
        return namespace(predictor).exp(predictor), None

    def sample_conjugates(self, slopes: Array) -> Array:
        rate = slopes + self.y
        return sum_outputs(_times_log(rate) - rate)

    def null_intercept(self, offset: np.ndarray, weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            logarithms = np.log(weights)[:, None] + offset
        return np.log(weights @ self.y) - np.logaddexp.reduce(logarithms, axis=0)

    def has_intercept(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.y > 0

    @staticmethod
    def mean_response(predictor: Array) -> Array:
        return namespace(predictor).exp(predictor)

    @staticmethod
    def check_targets(y: np.ndarray, name: str) -> None:
        _refuse(name, "counts, at least 0", y, y < 0)


def _times_log(p: Array) -> Array:
    """p·log p, with 0·log 0 = 0; ∞ for p that is negative by more than rounding.

    No NaN arises on the way: `jax_debug_nans` would stop there.
    """
    rounding = max(4 * float(jnp.finfo(p.dtype).eps), 1e-13)
    xp = namespace(p)
    value = p * xp.log(xp.where(p > 0, p, 1.0))
    return xp.where(p < -rounding, np.inf, value)


def _refuse(name: str, wanted: str, y: np.ndarray, wrong: np.ndarray) -> None:
    if np.any(wrong):
        raise ValueError(f"{name} must be {wanted}, got {y[wrong].ravel()[0]:g}.")
