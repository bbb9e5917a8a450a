"""What a loss of a linear model is: data, and a formula about the linear predictor."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

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

    def sample_gaps(self, predictor: Array, slopes: Array) -> Array:
        """ℓ(ηᵢ, yᵢ) + ℓ*(uᵢ, yᵢ) − uᵢ·ηᵢ ≥ 0 for each sample; 0 where uᵢ = ∂ℓ/∂η."""
        losses = self.sample_losses(predictor) + self.sample_conjugates(slopes)
        return losses - sum_outputs(slopes * predictor)

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
        return beside_samples(
            jnp.add, self._product(params["kernel"]), params.get("bias", 0.0)
        )

    def slopes(self, predictor: Array) -> Array:
        """∂ℓ/∂η for each sample: of the shape of `predictor`."""
        return jax.grad(lambda eta: jnp.sum(self.sample_losses(eta)))(predictor)

    def pullback(self, slopes: Array) -> Params:
        """The gradient of the loss in the kernel and the bias, given `slopes`."""
        shares = self.shares()
        if np.ndim(shares) < slopes.ndim:
            shares = jnp.expand_dims(shares, tuple(range(np.ndim(shares), slopes.ndim)))
        weighted = shares * slopes
        # The transpose knows how the outcome is sharded, which x.T @ weighted does not.
        kernel = jnp.zeros((self.x.shape[1], *slopes.shape[1:]), slopes.dtype)
        (pulled,) = jax.linear_transpose(self._product, kernel)(weighted)
        return {"kernel": pulled, "bias": weighted.sum(0)}

    def balanced(self, slopes: Array) -> Array:
        """Slopes near the given ones with weighted mean zero, in the domain of ℓ* too.

        Either the positive or the negative ones are made smaller.
        """
        above, below = (self.pullback(jnp.maximum(u, 0))["bias"] for u in (slopes, -slopes))
        least = jnp.minimum(above, below)
        up, down = (
            jnp.where(x > 0, least / jnp.where(x > 0, x, 1), 0) for x in (above, below)
        )
        raised = beside_samples(jnp.multiply, jnp.maximum(slopes, 0), up)
        return raised - beside_samples(jnp.multiply, jnp.maximum(-slopes, 0), down)

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
        if not jnp.issubdtype(value.dtype, jnp.floating):
            # Whole numbers, such as labels, follow the features; never by promotion.
            return jnp.asarray(value, self._dtype(name))
        return raise_precision(value)

    def _dtype(self, name: str) -> Any:
        """The dtype for whole numbers: that of float features, or JAX's default."""
        like = jnp.result_type(float) if name == "x" else self.x.dtype
        is_float = jnp.issubdtype(like, jnp.floating)
        return compute_dtype(like) if is_float else jnp.result_type(float)


def sum_outputs(values: Array) -> Array:
    """The sum over the outputs of each sample."""
    return (
        values if values.ndim == 1 else jnp.sum(values, axis=tuple(range(1, values.ndim)))
    )


def beside_samples(function: Callable[..., Array], values: Array, each: Any) -> Array:
    """A function of values (n,) or (n, k) and of one number for all samples, () or (k,)."""
    return function(values, each if np.ndim(each) == 0 else jnp.expand_dims(each, 0))


def _is_sparse(value: Any) -> bool:
    if isinstance(value, Array | np.ndarray):
        return False
    from jax.experimental.sparse import JAXSparse  # Takes long to import.

    return isinstance(value, JAXSparse)
