"""The base of all losses of linear models: data, and formulas about the linear predictor.

Shapes: n samples, p features, k outputs. The linear predictor η is an array (n,) or (n, k).
The formulas (`sample_*`) are about each sample; the other methods about the data.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar, check_numbers, is_concrete, is_real
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._tree import Params
from jaxreg.penalties.fields import Record, check_fields, part


class LinearLoss(Record, abc.ABC):
    """The mean loss of a linear model on given data, a function of its parameters.

        Σᵢ sᵢ·ℓ(ηᵢ, yᵢ) / Σᵢ sᵢ,    η = x @ kernel + bias

    Parameters are `{"kernel": ..., "bias": ...}`, so that the default mask of a penalty
    leaves the intercept alone; without `"bias"` there is none, and a bare array is the
    kernel. The kernel has shape `(p,)`, or `(p, k)` for `k` outputs.

    Args:
        x: Features, of shape `(n, p)`. A BCOO array may be sparse.
        y: The targets, of shape `(n,)` or `(n, k)`.
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

    score_factor: ClassVar[float] = 1.0
    """The usual metric by the mean of ℓ − min ℓ: 2 for squared errors and deviances."""

    x: Any = part()
    y: Any = part()
    sample_weight: Any = part(default=None)

    @abc.abstractmethod
    def sample_losses(self, predictor: Array) -> Array:
        """ℓ(ηᵢ, yᵢ) for each sample."""

    def sample_slopes(self, predictor: Array) -> Array:
        """∂ℓ/∂η for each sample, an array of the shape of `predictor`."""
        return jax.grad(lambda eta: jnp.sum(self.sample_losses(eta)))(predictor)

    def sample_curvatures(self, predictor: Array) -> tuple[Array, Array | None]:
        """The Hessian ∂²ℓ/∂η² of each sample as diag(a) − b·bᵀ.

        The default is right where ℓ is a sum over the outputs.

        Returns:
            a and b, arrays of the shape of `predictor`; `None` for a b of zero.
        """
        ones = jnp.ones_like(predictor)
        return jax.jvp(self.sample_slopes, (predictor,), (ones,))[1], None

    def sample_conjugates(self, slopes: Array) -> Array:
        """ℓ*(uᵢ, yᵢ) = sup_η u·η − ℓ(η, yᵢ) for each sample; ∞ where it is not known."""
        return jnp.full(slopes.shape[:1], jnp.inf, slopes.dtype)

    def sample_gaps(self, predictor: Array, slopes: Array) -> Array:
        """ℓ(ηᵢ, yᵢ) + ℓ*(uᵢ, yᵢ) − uᵢ·ηᵢ ≥ 0 for each sample; 0 where uᵢ = ∂ℓ/∂η."""
        losses = self.sample_losses(predictor) + self.sample_conjugates(slopes)
        return losses - sum_outputs(slopes * predictor)

    def null_intercept(self, offset: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The minimiser b of the mean loss of η = offset + b, in NumPy.

        Args:
            offset: An array (n, k).
            weights: The weights of the samples, which sum to 1.

        Returns:
            An array (k,).
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula for the intercept of the null model."
        )

    def has_intercept(self, weights: np.ndarray) -> np.ndarray:
        """Whether each condition holds under which `null_intercept` is finite, in NumPy.

        It is infinite if a class has no samples, or all counts are zero, for example.
        """
        del weights
        return np.ones(1, bool)

    def shifted(self, offset: np.ndarray, weights: np.ndarray) -> tuple[Self, np.ndarray]:
        """A loss and an offset, in NumPy, with ℓ − min ℓ as before and smaller numbers.

        Losses of η − y and of y·exp(−η) can move the offset into y.

        Args:
            offset: An array (n, k), with the intercept of the null model.
            weights: The weights of the samples, which sum to 1.
        """
        del weights
        return self, offset

    @staticmethod
    def mean_response(predictor: Array) -> Array:
        """The mean of y given η, the inverse link; classes are on the last axis."""
        return predictor

    @staticmethod
    def check_targets(y: np.ndarray, name: str) -> None:
        """Refuse, by a ValueError, finite targets that are out of range.

        Args:
            y: The targets.
            name: What the message calls them.
        """

    @classmethod
    def of_targets(cls, y: Any) -> Self:
        """A loss without features: its formulas about η, for targets (n,) or (n, k).

        Args:
            y: The targets, which are not checked.
        """
        defaults = {
            field.name: None if field.name == "x" else field.default
            for field in dataclasses.fields(cls)
        }
        return cls._unchecked({**defaults, "y": y})

    def with_targets(self, y: Any) -> Self:
        """The same loss of other targets, which are not checked."""
        return self._with(y=y)

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
        return beside_samples(
            jnp.add, self._product(params["kernel"]), params.get("bias", 0.0)
        )

    def pullback(self, slopes: Array) -> Params:
        """The gradient of the loss in the kernel and the bias, given `slopes`."""
        each = self.fractions()
        if np.ndim(each) < slopes.ndim:
            each = jnp.expand_dims(each, tuple(range(np.ndim(each), slopes.ndim)))
        weighted = each * slopes
        # The transpose knows how the result is sharded, which x.T @ weighted does not.
        kernel = jnp.zeros((self.x.shape[1], *slopes.shape[1:]), slopes.dtype)
        (pulled,) = jax.linear_transpose(self._product, kernel)(weighted)
        return {"kernel": pulled, "bias": weighted.sum(0)}

    def balanced(self, slopes: Array) -> Array:
        """Slopes near the given ones with weighted mean zero, still in the domain of ℓ*.

        Scales either the positive or the negative ones down.
        """
        above, below = (self.pullback(jnp.maximum(u, 0))["bias"] for u in (slopes, -slopes))
        least = jnp.minimum(above, below)
        up, down = (
            jnp.where(x > 0, least / jnp.where(x > 0, x, 1), 0) for x in (above, below)
        )
        raised = beside_samples(jnp.multiply, jnp.maximum(slopes, 0), up)
        return raised - beside_samples(jnp.multiply, jnp.maximum(-slopes, 0), down)

    def metric(self, params: Params) -> Params:
        """The curvature of the loss along each parameter, up to a common factor.

        Σᵢ sᵢ·xᵢⱼ² / Σᵢ sᵢ for the kernel and 1 for the bias.
        """
        each = jnp.broadcast_to(self.fractions(), self.x.shape[:1])
        x = self.x
        if isinstance(x, Array):
            squares = jnp.sum(jnp.square(x) * each[:, None], axis=0)
        else:
            squares = type(x)((jnp.square(x.data), x.indices), shape=x.shape).T @ each
        # The loss is flat along a column of zeros: any positive number will do.
        squares = jnp.where(squares > 0, squares, 1.0)

        def beside(kernel: Array) -> Array:
            column = jnp.expand_dims(squares, tuple(range(1, kernel.ndim)))
            return jnp.broadcast_to(column, kernel.shape)

        if not isinstance(params, Mapping):
            return beside(params)
        return {
            name: beside(leaf) if name == "kernel" else jnp.ones_like(leaf)
            for name, leaf in params.items()
        }

    def mean(self, values: Array) -> Array:
        """The weighted mean over samples."""
        return jnp.sum(self.fractions() * values)

    def fractions(self) -> Scalar:
        """The weight of each sample as a fraction of all: sᵢ / Σ s, or 1/n."""
        if self.sample_weight is None:
            return 1 / self.x.shape[0]
        return self.sample_weight / jnp.sum(self.sample_weight)

    def _product(self, kernel: Array) -> Array:
        """The product x @ kernel, to the last digit on accelerators too."""
        with jax.default_matmul_precision("highest"):
            return self.x @ kernel

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("x", "y", "sample_weight"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, self._checked(name, value))
        if is_concrete(self.y):
            self.check_targets(np.asarray(self.y), f"{type(self).__name__}.y")

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
        if not jnp.issubdtype(value.dtype, jnp.floating):
            # Integers, such as labels, get the dtype of the features, not a promoted one.
            return jnp.asarray(value, self._dtype(name))
        return raise_precision(value)

    def _dtype(self, name: str) -> Any:
        """The dtype for integers: that of float features, or JAX's default."""
        like = jnp.result_type(float) if name == "x" else self.x.dtype
        is_float = jnp.issubdtype(like, jnp.floating)
        return compute_dtype(like) if is_float else jnp.result_type(float)


def sum_outputs(values: Array) -> Array:
    """The sum over the outputs of each sample."""
    return values if values.ndim == 1 else values.sum(tuple(range(1, values.ndim)))


def beside_samples(function: Callable[..., Array], values: Array, each: Any) -> Array:
    """A function of values (n,) or (n, k) and of one number for all samples, () or (k,)."""
    return function(values, each if np.ndim(each) == 0 else jnp.expand_dims(each, 0))


def _is_sparse(value: Any) -> bool:
    if isinstance(value, Array | np.ndarray):
        return False
    from jax.experimental.sparse import JAXSparse  # Takes long to import.

    return isinstance(value, JAXSparse)
