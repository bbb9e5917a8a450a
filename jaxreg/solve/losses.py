"""Losses of linear models: the mean over samples of a function of x @ kernel + bias.

Each loss is a small immutable value that holds the data, and a function of the parameters.
It is a pytree whose leaves are the data: pass it through `jit` without compiling anew for
new data, `vmap` it over weights of the samples (folds, bootstraps), differentiate with
respect to it.

To add one, subclass `LinearLoss` and write its formulas about the linear predictor η.
"""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._numbers import Scalar, check_numbers, is_concrete, is_real, raise_precision
from jaxreg._tree import Params
from jaxreg.penalties._fields import Record, check_fields, constant, part


class LinearLoss(Record, abc.ABC):
    """The mean loss of a linear model on given data, a function of its parameters.

        Σᵢ sᵢ·ℓ(ηᵢ, yᵢ) / Σᵢ sᵢ,    η = x @ kernel + bias

    Parameters are `{"kernel": ..., "bias": ...}`, so that the default mask of a penalty
    leaves the intercept alone; without `"bias"` there is none, and a bare array is the
    kernel. The kernel has shape `(p,)`, or `(p, k)` for `k` outputs.

    Args:
        x: Features, of shape `(n, p)`. A BCOO array may be sparse.
        y: What is to be predicted, for each sample.
        sample_weight: The weights sᵢ ≥ 0, of shape `(n,)`; `None` for ones.

    Raises:
        TypeError: If the data are no arrays of real numbers.
        ValueError: If shapes do not fit, or concrete data are not finite or out of range.

    Example:
        >>> class Squared(LinearLoss):
        ...     def sample_losses(self, predictor):
        ...         return (predictor - self.y) ** 2
        >>> Squared(np.eye(2), np.array([1.0, 3.0]))(jnp.array([1.0, 1.0]))
        Array(2., dtype=float32)
    """

    curvature: ClassVar[float] = float("inf")
    """The largest eigenvalue that the Hessian of ℓ in η can have."""

    x: Any = part()
    y: Any = part()
    sample_weight: Any = part(default=None)

    @abc.abstractmethod
    def sample_losses(self, predictor: Array) -> Array:
        """ℓ(ηᵢ, yᵢ) for each sample."""

    def sample_conjugates(self, slopes: Array) -> Array:
        """ℓ*(uᵢ, yᵢ) = sup_η u·η − ℓ(η, yᵢ) for each sample; ∞ where it is not known."""
        return jnp.full(slopes.shape[:1], jnp.inf, slopes.dtype)

    def check_targets(self, y: np.ndarray) -> None:
        """Refuse, by a ValueError, finite targets that are out of range."""

    def __call__(self, params: Params) -> Array:
        """The mean loss.

        Args:
            params: `{"kernel": ..., "bias": ...}`, or the kernel alone.

        Returns:
            A scalar, at least in float32.
        """
        return self.mean(self.sample_losses(self.predictor(params)))

    def predictor(self, params: Params) -> Array:
        """The linear predictor η = x @ kernel + bias, of shape `(n,)` or `(n, k)`."""
        if not isinstance(params, Mapping):
            return self._product(params)
        return self._product(params["kernel"]) + params.get("bias", 0.0)

    def slopes(self, predictor: Array) -> Array:
        """∂ℓ/∂η for each sample: of the shape of `predictor`."""
        return jax.grad(lambda eta: jnp.sum(self.sample_losses(eta)))(predictor)

    def pullback(self, slopes: Array) -> Params:
        """The gradient of the loss in the kernel and the bias, given `slopes`."""
        shares = self.shares()
        if np.ndim(shares) < slopes.ndim:
            shares = jnp.expand_dims(shares, tuple(range(np.ndim(shares), slopes.ndim)))
        weighted = shares * slopes
        return {"kernel": self._product(weighted, transposed=True), "bias": weighted.sum(0)}

    def balanced(self, slopes: Array) -> Array:
        """Slopes near the given ones with weighted mean zero, in the domain of ℓ* too.

        Either the positive or the negative ones are made smaller.
        """
        above, below = (self.pullback(jnp.maximum(u, 0))["bias"] for u in (slopes, -slopes))
        least = jnp.minimum(above, below)
        up, down = (jnp.where(x > 0, least / jnp.where(x > 0, x, 1), 0) for x in (above, below))
        return slopes * jnp.where(slopes > 0, up, down)

    def metric(self, params: Params) -> Params:
        """How curved the loss is along each parameter, up to a common factor.

        Σᵢ sᵢ·xᵢⱼ² / Σᵢ sᵢ for the kernel and 1 for the bias.
        """
        shares = jnp.broadcast_to(self.shares(), self.x.shape[:1])
        x = self.x
        if isinstance(x, Array):
            sizes = jnp.sum(jnp.square(x) * shares[:, None], axis=0)
        else:
            sizes = type(x)((jnp.square(x.data), x.indices), shape=x.shape).T @ shares
        # A column of zeros says nothing; its weights go where the penalty pulls them.
        sizes = jnp.where(sizes > 0, sizes, 1.0)

        def beside(kernel: Array) -> Array:
            column = jnp.expand_dims(sizes, tuple(range(1, kernel.ndim)))
            return jnp.broadcast_to(column, kernel.shape)

        if not isinstance(params, Mapping):
            return beside(params)
        return {
            name: beside(leaf) if name == "kernel" else jnp.ones_like(leaf)
            for name, leaf in params.items()
        }

    def mean(self, values: Array) -> Array:
        """The weighted mean over samples."""
        return jnp.sum(self.shares() * values)

    def shares(self) -> Scalar:
        """How much each sample counts: sᵢ / Σ s, or 1/n for all."""
        if self.sample_weight is None:
            return 1 / self.x.shape[0]
        return self.sample_weight / jnp.sum(self.sample_weight)

    def _product(self, right: Array, *, transposed: bool = False) -> Array:
        """The product with x or with its transpose, exact on accelerators too."""
        with jax.default_matmul_precision("highest"):
            return (self.x.T if transposed else self.x) @ right

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("x", "y", "sample_weight"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, self._checked(name, value))
        if is_concrete(self.y):
            self.check_targets(np.asarray(self.y))

    def _checked(self, name: str, value: Any) -> Any:
        """One array of data, in floating point unless it is sparse."""
        what = f"{type(self).__name__}.{name}"
        if name == "x" and _is_sparse(value):
            return value
        is_bool = getattr(value, "dtype", None) == np.dtype(bool)
        if np.ndim(value) == 0 or not (is_real(value) or is_bool):
            raise TypeError(
                f"{what} must be an array of real numbers, got {type(value).__name__}. "
                "(A data frame: `frame.to_numpy()`; a SciPy matrix: `.toarray()`, or "
                "`jax.experimental.sparse.BCOO.from_scipy_sparse`.)"
            )
        shape, wanted = np.shape(value), "two axes, (n, p)"
        fits = len(shape) == 2 and min(shape) > 0
        if name != "x":
            wanted = f"length {self.x.shape[0]}, as x"
            fits = shape[:1] == self.x.shape[:1] and (name == "y" or len(shape) == 1)
        if not fits:
            raise ValueError(f"{what} must have {wanted}, got shape {shape}.")
        if is_concrete(value):
            if not np.all(np.isfinite(value)):
                raise ValueError(f"{what} must be finite, but has NaN or infinite entries.")
            if name == "sample_weight":
                check_numbers(what, value)
                check_numbers(f"The sum of {what}", np.sum(value), above=0.0)
        return raise_precision(value)


class SquaredLoss(LinearLoss):
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
        >>> loss = SquaredLoss(np.array([[1.0], [2.0]]), np.array([3.0, 3.0]))
        >>> loss({"kernel": jnp.array([1.0]), "bias": jnp.array(0.0)})
        Array(1.25, dtype=float32)
    """

    curvature = 1.0

    def sample_losses(self, predictor: Array) -> Array:
        return _per_sample(jnp.square(predictor - self.y) / 2)

    def sample_conjugates(self, slopes: Array) -> Array:
        return _per_sample(slopes * (slopes / 2 + self.y))


class HuberLoss(LinearLoss):
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
        >>> HuberLoss(np.array([[1.0], [1.0]]), np.array([1.0, 4.0]))(jnp.array([0.0]))
        Array(2., dtype=float32)

    References:
        Huber, *Robust estimation of a location parameter* (1964), section 4.
    """

    curvature = 1.0

    delta: Scalar = constant(default=1.0, above=0.0)

    def sample_losses(self, predictor: Array) -> Array:
        error = predictor - self.y
        near = jnp.clip(error, -self.delta, self.delta)
        return _per_sample(near * (error - near / 2))

    def sample_conjugates(self, slopes: Array) -> Array:
        inside = jnp.abs(slopes) <= self.delta
        return _per_sample(jnp.where(inside, slopes * (slopes / 2 + self.y), jnp.inf))


class LogisticLoss(LinearLoss):
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
        >>> loss = LogisticLoss(np.array([[1.0], [-1.0]]), np.array([True, False]))
        >>> print(f"{loss(jnp.array([0.0])):.4f} {loss(jnp.array([2.0])):.4f}")
        0.6931 0.1269
    """

    curvature = 0.25

    def sample_losses(self, predictor: Array) -> Array:
        softplus = jax.nn.softplus
        return _per_sample(
            self.y * softplus(-predictor) + (1 - self.y) * softplus(predictor)
        )

    def sample_conjugates(self, slopes: Array) -> Array:
        chance = slopes + self.y
        return _per_sample(_entropy(chance) + _entropy(1 - chance))

    def check_targets(self, y: np.ndarray) -> None:
        _refuse(self, "0 or 1, or a probability", y, (y < 0) | (y > 1))


class MultinomialLoss(LinearLoss):
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
        >>> loss = MultinomialLoss(np.array([[1.0], [-1.0]]), np.array([0, 2]))
        >>> print(f"{loss(jnp.zeros((1, 3))):.4f}")
        1.0986
    """

    curvature = 0.5

    def sample_losses(self, predictor: Array) -> Array:
        picked = jnp.sum(self._chances(predictor) * predictor, axis=-1)
        return jax.nn.logsumexp(predictor, axis=-1) - picked

    def sample_conjugates(self, slopes: Array) -> Array:
        return jnp.sum(_entropy(slopes + self._chances(slopes)), axis=-1)

    def balanced(self, slopes: Array) -> Array:
        return slopes - self.pullback(slopes)["bias"]

    def _chances(self, like: Array) -> Array:
        if like.ndim != 2:
            raise ValueError(
                "MultinomialLoss needs a kernel of shape (p, k), a column for each class, "
                f"but got one with {like.ndim} axis."
            )
        if self.y.ndim == 2:
            return self.y
        return jax.nn.one_hot(self.y.astype(jnp.int32), like.shape[1], dtype=like.dtype)

    def check_targets(self, y: np.ndarray) -> None:
        if y.ndim == 1:
            _refuse(self, "classes, numbered from 0", y, (y < 0) | (y != np.floor(y)))
        else:
            _refuse(self, "classes or probabilities", y, (y < 0) | (y > 1))


class PoissonLoss(LinearLoss):
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
        >>> PoissonLoss(np.array([[1.0], [1.0]]), np.array([0, 3]))(jnp.array([0.0]))
        Array(1., dtype=float32)
    """

    def sample_losses(self, predictor: Array) -> Array:
        return _per_sample(jnp.exp(predictor) - self.y * predictor)

    def sample_conjugates(self, slopes: Array) -> Array:
        rate = slopes + self.y
        return _per_sample(_entropy(rate) - rate)

    def check_targets(self, y: np.ndarray) -> None:
        _refuse(self, "at least 0", y, y < 0)


def _per_sample(values: Array) -> Array:
    """The sum over the outputs of each sample."""
    return (
        values if values.ndim == 1 else jnp.sum(values, axis=tuple(range(1, values.ndim)))
    )


def _entropy(chance: Array) -> Array:
    """p·log p, with 0·log 0 = 0; ∞ for negative p, but for rounding."""
    info = jnp.finfo(chance.dtype)
    value = jax.scipy.special.xlogy(chance, jnp.maximum(chance, info.tiny))
    return jnp.where(chance < -4 * info.eps, jnp.inf, value)


def _is_sparse(value: Any) -> bool:
    if isinstance(value, Array | np.ndarray):
        return False
    from jax.experimental.sparse import JAXSparse  # Takes long to import.

    return isinstance(value, JAXSparse)


def _refuse(loss: LinearLoss, wanted: str, y: np.ndarray, wrong: np.ndarray) -> None:
    if np.any(wrong):
        raise ValueError(
            f"{type(loss).__name__}.y must be {wanted}, got {y[wrong].ravel()[0]:g}."
        )
