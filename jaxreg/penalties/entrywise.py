"""Penalties that are sums over the entries of the weights."""

import abc
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import quotient, times, times_square
from jaxreg._checks import Scalar, check_numbers
from jaxreg.masks.selection import MaskLike, weights
from jaxreg.operators import abs_zero_subgradient, soft_threshold
from jaxreg.penalties.base import Penalty, Strength
from jaxreg.penalties.fields import ONE, StrengthField, constant, strength_fields


class Entrywise(Penalty):
    """A penalty that is a sum over entries: R(x) = Σᵢ r(xᵢ).

    Its prox works entry by entry, so a diagonal metric only changes the step of each
    entry, and the prox is exact in every one. Subclasses write three formulas about
    entries; the fields are strengths.

    Example:
        >>> class Asymmetric(Entrywise):
        ...     '''strength · Σ max(w, 0): only positive weights pay.'''
        ...     strength: float = 1.0
        ...     def entry_value(self, x):
        ...         return self.strength * jnp.maximum(x, 0)
        ...     def entry_prox(self, x, step):
        ...         return x - jnp.clip(x, 0, step * self.strength)
        ...     def slope_at_zero(self):
        ...         return self.strength
        >>> Asymmetric(0.5).prox(jnp.array([2.0, 0.3, -1.0]))
        Array([ 1.5,  0. , -1. ], dtype=float32)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a new formula for entries be that of sums too, whatever is inherited."""
        super().__init_subclass__(**kwargs)
        if "entry_value" in vars(cls) and "array_value" not in vars(cls):
            cls.array_value = Entrywise.array_value

    @abc.abstractmethod
    def entry_value(self, x: Array) -> Array:
        """r(xᵢ) for every entry."""

    @abc.abstractmethod
    def entry_prox(self, x: Array, step: Scalar) -> Array:
        """argmin_z  step·r(z) + ½(z − xᵢ)² for every entry; `step` may be an array."""

    @abc.abstractmethod
    def slope_at_zero(self) -> Scalar:
        """r′(0⁺), for an even r: how strongly an entry is held at zero."""

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def is_by_entry(self) -> bool:
        return True

    def is_convex_by_entry(self) -> bool:
        return self.is_convex

    def array_value(self, x: Array) -> Array:
        return jnp.sum(self.entry_value(x))

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return self.entry_prox(x, step if metric is None else step / metric)

    def array_critical_scale(self, gradient: Array) -> Array:
        pull, slope = jnp.abs(gradient), self.slope_at_zero()
        if names := strength_fields(self):
            is_free = sum(jnp.asarray(getattr(self, name)) for name in names) == 0
            pull = jnp.where(is_free, 0.0, pull)
        return jnp.max(quotient(pull, slope), initial=0.0)


def _weighted_sum(strength: Any, terms: Array) -> Array:
    """Σ strength · terms; one number for all is multiplied once, not with each term."""
    if np.ndim(strength) == 0:
        return times(strength, jnp.sum(terms))
    return jnp.sum(times(strength, terms))


class L1(Entrywise):
    """The lasso: makes many weights exactly zero, and the others smaller.

        strength · Σ |w|

    Its gradient at 0 is 0, so a weight that is exactly zero is not pushed off it. But
    gradient steps on it never *reach* zero; the prox (soft-thresholding) does. Use it
    through `prox_sgd` or `prox_adam` where zeros matter.

    Args:
        strength: Non-negative number, array or pytree prefix. Its unit is that of the
            loss per unit of weight. `0.0` for no penalty.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> params = {"kernel": jnp.array([2.0, -0.4]), "bias": jnp.array([7.0])}
        >>> L1(0.5)(params)
        Array(1.2, dtype=float32)
        >>> L1(0.5).prox(params)["kernel"]
        Array([1.5, 0. ], dtype=float32)

        A strength per layer:

        >>> L1({"encoder": 0.1, "head": 0.0})({"encoder": jnp.ones(3), "head": jnp.ones(2)})
        Array(0.3, dtype=float32)

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996), section 2.
    """

    is_norm = True

    strength: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        return times(self.strength, abs_zero_subgradient(x))

    def array_value(self, x: Array) -> Array:
        return _weighted_sum(self.strength, abs_zero_subgradient(x))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        return soft_threshold(x, times(self.strength, step))

    def slope_at_zero(self) -> Scalar:
        return self.strength

    def array_norms(self, x: Array) -> dict[str, Any]:
        return {"strength": jnp.abs(x)}


class L2(Entrywise):
    """Ridge: makes all weights smaller, none exactly zero.

        strength · Σ w²        (no half: its gradient is 2·strength·w)

    Optax and PyTorch state the same regularizer by its gradient, `weight_decay · w`, so
    `weight_decay = 2 · strength`; `L2.from_weight_decay` and `.weight_decay` convert.

    Args:
        strength: Non-negative number, array or pytree prefix.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([7.0])}
        >>> L2(0.1)(params)
        Array(0.5, dtype=float32)
        >>> jax.grad(L2(0.1))(params)["kernel"]
        Array([ 0.4, -0.2], dtype=float32)
        >>> L2(0.5).prox(params)["kernel"]
        Array([ 1. , -0.5], dtype=float32)

    References:
        Hoerl and Kennard, *Ridge regression* (1970), section 2; Parikh and Boyd,
        *Proximal Algorithms* (2014), section 6.1.1.
    """

    strength: StrengthField = ONE

    @classmethod
    def from_weight_decay(cls, weight_decay: Strength, mask: MaskLike = weights) -> Self:
        """The L2 penalty with gradient `weight_decay · w`, as Optax and PyTorch count.

        Args:
            weight_decay: Non-negative number, array or pytree prefix.
            mask: Which leaves; by default `weights`.

        Returns:
            `L2(weight_decay / 2)`.

        Raises:
            TypeError: If `weight_decay` is not a real number.
            ValueError: If a concrete `weight_decay` is negative or NaN.

        Example:
            >>> L2.from_weight_decay(0.1)
            L2(strength=0.05)
        """
        check_numbers("weight_decay", weight_decay)
        return cls(jax.tree.map(lambda x: x / 2, weight_decay), mask=mask)

    @property
    def weight_decay(self) -> Any:
        """The `weight_decay` that Optax and PyTorch would call this: 2·strength."""
        return jax.tree.map(lambda x: 2 * x, self.strength)

    def entry_value(self, x: Array) -> Array:
        return times_square(self.strength, x)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        return x / (1 + times(2 * self.strength, step))

    def slope_at_zero(self) -> Scalar:
        return 0.0

    def as_square(self) -> tuple[Any, Any] | None:
        return (self.strength, 0.0) if type(self) is L2 else None


class ElasticNet(Entrywise):
    """L1 and L2 together: exact zeros, and correlated weights kept or dropped together.

        l1 · Σ |w| + l2 · Σ w²        (no half)

    This is Zou and Hastie's naive elastic net, without their rescaling by 1 + l2.
    scikit-learn's `ElasticNet(alpha, l1_ratio)` is `l1 = alpha·l1_ratio` and
    `l2 = alpha·(1 − l1_ratio)/2`, beside the mean squared error times ½.

    Args:
        l1: Non-negative number, array or pytree prefix.
        l2: Likewise.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a strength is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> ElasticNet(l1=1.0, l2=0.5)(jnp.array([3.0, -0.5]))
        Array(8.125, dtype=float32)
        >>> ElasticNet(l1=1.0, l2=0.5).prox(jnp.array([3.0, -0.5]))
        Array([1., 0.], dtype=float32)

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net*
        (2005), section 2; Parikh and Boyd, *Proximal Algorithms* (2014), section 6.5.3.
    """

    l1: StrengthField = ONE
    l2: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        return L1(self.l1).entry_value(x) + L2(self.l2).entry_value(x)

    def array_value(self, x: Array) -> Array:
        return L1(self.l1).array_value(x) + L2(self.l2).array_value(x)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        kept = soft_threshold(x, times(self.l1, step))
        return kept / (1 + times(2 * self.l2, step))

    def slope_at_zero(self) -> Scalar:
        return self.l1

    def array_norms(self, x: Array) -> dict[str, Any]:
        return {"l1": jnp.abs(x)}


class NonNegativeL1(Entrywise):
    """The lasso on weights that must not be negative.

        strength · Σ w    where all w ≥ 0,    ∞ elsewhere

    A constraint and a penalty at once, for the prox: as a term of a loss it would be
    infinite. Strength 0 leaves the constraint alone.

    Args:
        strength: Non-negative number, array or pytree prefix.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> NonNegativeL1(0.5).prox(jnp.array([2.0, 0.3, -4.0]))
        Array([1.5, 0. , 0. ], dtype=float32)
        >>> NonNegativeL1(0.5)(jnp.array([2.0, 1.0]))
        Array(1.5, dtype=float32)

    References:
        Efron, Hastie, Johnstone and Tibshirani, *Least angle regression* (2004), section
        3.4 (the positive lasso).
    """

    is_norm = True
    is_finite = False

    strength: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        return jnp.where(x < 0, jnp.inf, times(self.strength, abs_zero_subgradient(x)))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        return jnp.where(x < 0, 0.0, soft_threshold(x, times(self.strength, step)))

    def slope_at_zero(self) -> Scalar:
        return self.strength

    def array_norms(self, x: Array) -> dict[str, Any]:
        return {"strength": jnp.abs(x)}

    def array_critical_scale(self, gradient: Array) -> Array:
        return super().array_critical_scale(jnp.minimum(gradient, 0.0))


class Huber(Entrywise):
    """L2 for small weights, L1 for large ones: shrinks, but forgives a few large weights.

        strength · Σ  w²/(2·delta)       where |w| ≤ delta
                      |w| − delta/2      beyond

    Smooth everywhere; nothing becomes exactly zero. For the opposite, zeros among small
    weights and a firm hand on large ones, see `Berhu`.

    Args:
        strength: Slope for large weights. Non-negative number, array or pytree prefix.
        delta: Where the square ends; above 0. Not scaled by `penalty * c`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `delta` not above 0.

    Example:
        >>> Huber(1.0, delta=2.0)(jnp.array([1.0, -4.0]))
        Array(3.25, dtype=float32)
        >>> Huber(1.0, delta=1.0).prox(jnp.array([1.0, -4.0]))
        Array([ 0.5, -3. ], dtype=float32)

    References:
        Huber, *Robust estimation of a location parameter* (1964), section 4; Parikh and
        Boyd, *Proximal Algorithms* (2014), section 6.5.1 (the envelope of |w|).
    """

    strength: StrengthField = ONE
    delta: Scalar = constant(default=1.0, above=0.0)

    def entry_value(self, x: Array) -> Array:
        absolute = jnp.abs(x)
        inner = jnp.minimum(absolute, self.delta)
        beyond = jnp.maximum(absolute - self.delta, 0.0)
        bent = times(self.strength, inner) * (inner / self.delta) / 2
        return bent + times(self.strength, beyond)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        level = times(self.strength, step)
        inner = x / (1 + level / self.delta)
        outer = x - jnp.sign(x) * level
        return jnp.where(jnp.abs(x) <= self.delta + level, inner, outer)

    def slope_at_zero(self) -> Scalar:
        return 0.0


class Berhu(Entrywise):
    """L1 for small weights, L2 for large ones: zeros, and no weight gets away.

        strength · Σ  |w|                          where |w| ≤ delta
                      (w² + delta²)/(2·delta)      beyond

    The reverse of `Huber`.

    Args:
        strength: Slope at zero. Non-negative number, array or pytree prefix.
        delta: Where the square begins; above 0. Not scaled by `penalty * c`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `delta` not above 0.

    Example:
        >>> Berhu(1.0, delta=2.0)(jnp.array([1.0, -4.0]))
        Array(6., dtype=float32)
        >>> Berhu(1.0, delta=1.0).prox(jnp.array([0.5, 1.5, -4.0]))
        Array([ 0. ,  0.5, -2. ], dtype=float32)

    References:
        Owen, *A robust hybrid of lasso and ridge regression* (2007), section 3.
    """

    strength: StrengthField = ONE
    delta: Scalar = constant(default=1.0, above=0.0)

    def entry_value(self, x: Array) -> Array:
        beyond = jnp.maximum(jnp.abs(x) - self.delta, 0.0)
        bent = times(self.strength, beyond) * (beyond / self.delta) / 2
        return times(self.strength, abs_zero_subgradient(x)) + bent

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        level = times(self.strength, step)
        soft, shrunk = soft_threshold(x, level), x / (1 + level / self.delta)
        return jnp.where(jnp.abs(soft) <= self.delta, soft, shrunk)

    def slope_at_zero(self) -> Scalar:
        return self.strength
