"""Penalties on the structure of weights: similar neighbours, or similar absolute values."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxreg._arithmetic import over, power_of_two, quotient, times, times_square
from jaxreg._checks import Scalar, check_number, check_numbers, is_concrete
from jaxreg._sharding import whole
from jaxreg.operators import (
    abs_zero_subgradient,
    smoothness_prox,
    soft_threshold,
    sorted_soft_threshold,
    total_variation_prox,
)
from jaxreg.operators.chains import huge
from jaxreg.penalties._coupled import Coupled
from jaxreg.penalties.fields import ONE, StrengthField, static


class _AlongAxis(Coupled):
    """A penalty on the differences between neighbours along `axis`."""

    min_ndim: ClassVar[int] = 1

    def beside(self, ndim: int) -> tuple[int, ...]:
        return tuple(i for i in range(ndim) if i != self._axis % ndim)

    def check_leaf(self, shape: tuple[int, ...]) -> None:
        if not -len(shape) <= self._axis < len(shape):
            raise ValueError(
                f"axis must be one of the leaf, got {self._axis} for {len(shape)} axes"
            )

    def steps(self, x: Array) -> Array:
        """The differences between neighbours."""
        return jnp.diff(x, axis=self._axis)

    @property
    def _axis(self) -> Any:
        # Each class declares this field itself, to have it after its strengths.
        return vars(self)["axis"]

    def __post_init__(self) -> None:
        if isinstance(self._axis, bool) or not isinstance(self._axis, int):
            raise TypeError(
                f"{type(self).__name__}.axis must be an int, got {self._axis!r}."
            )
        super().__post_init__()


class TotalVariation(_AlongAxis):
    """The total variation: makes weights piecewise constant along an axis.

        strength · Σ |wᵢ₊₁ − wᵢ|

    For weights whose index is a position, a time or a frequency. Here `axis` is the axis
    that the differences run *along*; along all others, chains lie side by side. The prox
    is exact in any diagonal metric.

    It makes weights equal, not zero: `strength_max` is infinite unless the gradients sum
    to zero (to rounding) along the axis. Leaves that are sharded along it are gathered on
    every device.

    Args:
        strength: Non-negative number, array or pytree prefix. An array gives every chain
            its strength, so it has length 1 along `axis`.
        axis: The axis along which neighbours are.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf does
            not have the axis, or strengths differ within a chain.

    Example:
        >>> penalty = TotalVariation(1.0)
        >>> penalty(jnp.array([0.0, 1.0, 0.5]))
        Array(1.5, dtype=float32)
        >>> penalty.prox(jnp.array([0.0, 1.0, 0.5, 7.0, 9.0]))
        Array([0.8333333, 0.8333333, 0.8333333, 7.       , 8.       ],      dtype=float32)

    References:
        Rudin, Osher and Fatemi, *Nonlinear total variation based noise removal
        algorithms* (1992); for the prox, `total_variation_prox`.
    """

    strength: StrengthField = ONE
    axis: int = static(default=-1)

    def array_value(self, x: Array) -> Array:
        return jnp.sum(times(self.strength, abs_zero_subgradient(self.steps(x))))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return total_variation_prox(x, times(self.strength, step), self.axis, metric)

    def joint_critical_scale(self, gradient: Array) -> Array:
        return _fused_scale(gradient, 0.0, self.strength, self.axis)


class FusedLasso(_AlongAxis):
    """Total variation and L1 together: few pieces, and most of them zero.

        l1 · Σ |w| + tv · Σ |wᵢ₊₁ − wᵢ|

    The prox is exact in any diagonal metric, and for any `l1` per weight. Leaves that are
    sharded along the axis are gathered on every device.

    Args:
        l1: Non-negative number, array that broadcasts to the leaf, or pytree prefix.
        tv: Non-negative number, array or pytree prefix; one number for each chain, as in
            `TotalVariation`.
        axis: The axis along which neighbours are.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf does
            not have the axis, or `tv` differs within a chain.

    Example:
        >>> penalty = FusedLasso(l1=1.0, tv=1.0)
        >>> penalty(jnp.array([0.0, 1.0, 0.5]))
        Array(3., dtype=float32)
        >>> penalty.prox(jnp.array([0.0, 1.0, 0.5, 7.0, 9.0]))
        Array([0., 0., 0., 6., 7.], dtype=float32)

    References:
        Tibshirani, Saunders, Rosset, Zhu and Knight, *Sparsity and smoothness via the
        fused lasso* (2005); for the prox, Friedman, Hastie, Höfling and Tibshirani,
        *Pathwise coordinate optimization* (2007), proposition 1.
    """

    is_norm: ClassVar[bool] = True
    entrywise: ClassVar[frozenset[str]] = frozenset({"l1"})

    l1: StrengthField = ONE
    tv: StrengthField = ONE
    axis: int = static(default=-1)

    def array_value(self, x: Array) -> Array:
        absolutes = jnp.sum(times(self.l1, abs_zero_subgradient(x)))
        return absolutes + jnp.sum(times(self.tv, abs_zero_subgradient(self.steps(x))))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        """What lies above zero, and what lies below it, are two problems without L1.

        Above, L1 is the linear function l1·w, so that only x changes, to x − step·l1/d;
        below, to x + step·l1/d. If that is one number, one problem does for both.
        """
        radius, threshold = times(self.tv, step), times(self.l1, step)
        if metric is None and np.size(self.l1) == 1:
            return soft_threshold(total_variation_prox(x, radius, self.axis), threshold)
        shift = threshold if metric is None else threshold / metric
        # In units in which x is about 1, so that `huge` is huge beside it.
        absolutes = jnp.max(jnp.abs(x), axis=self.axis, keepdims=True)
        scale = power_of_two(absolutes)
        unit, shift, radius = x / scale, jnp.minimum(shift / scale, huge(x)), radius / scale
        above = total_variation_prox(unit - shift, radius, self.axis, metric)
        below = total_variation_prox(unit + shift, radius, self.axis, metric)
        moved = jnp.where(above > 0, above, jnp.where(below >= 0, 0.0, below))
        return moved * scale

    def joint_critical_scale(self, gradient: Array) -> Array:
        return _fused_scale(gradient, self.l1, self.tv, self.axis)


def _fused_scale(gradient: Array, l1: Scalar, tv: Scalar, axis: int) -> Array:
    """The critical scale of l1·Σ|z| + tv·Σ|zᵢ₊₁ − zᵢ|, for each chain.

    Zero is the solution for c if some path, whose steps are at most c·l1, stays within
    c·tv of the running sums G of the gradient, and meets both their ends. One that does
    exists if it does for every two of its points:

        c  =  max_{i<j}  |Gⱼ − Gᵢ| / (Σ_{i<k≤j} l1ₖ + τᵢ + τⱼ),   τ = tv, but 0 at the ends

    Newton's method finds the largest ratio from below, in time linear in the length.
    """
    ndim, length = gradient.ndim, gradient.shape[axis]

    def turned(number: Any) -> Array:
        number = jnp.asarray(number, gradient.dtype)
        number = jnp.expand_dims(number, tuple(range(ndim - number.ndim)))
        number = whole(number, (axis,))
        return jnp.moveaxis(number, axis, -1)

    def running(x: Array) -> Array:
        total = jnp.cumsum(x, axis=-1)
        return jnp.concatenate([jnp.zeros_like(total[..., :1]), total], axis=-1)

    gradient, l1, tv = turned(gradient), turned(l1), turned(tv)
    # In units in which pulls and strengths are about 1, no ratio of them is too small.
    unit = power_of_two(jnp.max(jnp.abs(gradient)))
    strongest = jnp.where(jnp.max(l1) > 0, jnp.max(l1), jnp.max(tv))
    level = power_of_two(strongest)
    gradient, l1 = gradient / unit, l1 / level
    tv = jnp.minimum(tv / level, huge(gradient))
    index = jnp.expand_dims(jnp.arange(length + 1), tuple(range(ndim - 1)))
    is_last = index == length
    rounding = length * jnp.finfo(gradient.dtype).eps
    sums = running(gradient)
    noise = rounding * jnp.sum(jnp.abs(gradient), axis=-1, keepdims=True)
    sums = jnp.where(is_last & (jnp.abs(sums) <= noise), 0.0, sums)
    reach = running(jnp.broadcast_to(l1, gradient.shape))
    slack = jnp.where((index > 0) & ~is_last, tv, 0.0)

    def excess(scale: Array) -> Array:
        low, high = scale[..., None] * (reach - slack), scale[..., None] * (reach + slack)
        ways = [
            (sums - high)[..., 1:] - lax.cummin(sums - low, axis=ndim - 1)[..., :-1]
            for sums in (sums, -sums)
        ]
        return jnp.max(jnp.maximum(*ways), axis=-1)

    def newton(_: Any, scale: Array) -> Array:
        known = jnp.where(jnp.isinf(scale), 0.0, scale)
        surplus, slope = jax.jvp(excess, (known,), (jnp.ones_like(known),))
        return jnp.maximum(scale, known + quotient(surplus, jnp.abs(slope)))

    scale = lax.fori_loop(0, 24, newton, jnp.zeros_like(sums[..., 0]))
    return over(scale, level, 1 / unit)


class Smoothness(_AlongAxis):
    """Squared differences: makes weights vary smoothly along an axis.

        strength · Σ (wᵢ₊₁ − wᵢ)²        (no half)

    The prox solves a tridiagonal system, and is exact in any diagonal metric. No strength
    makes weights zero. Leaves that are sharded along the axis are gathered on every device.

    Args:
        strength: Non-negative number, array or pytree prefix; one number for each chain,
            as in `TotalVariation`.
        axis: The axis along which neighbours are.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf does
            not have the axis, or strengths differ within a chain.

    Example:
        >>> Smoothness(0.5)(jnp.array([0.0, 2.0, 5.0]))
        Array(6.5, dtype=float32)
        >>> Smoothness(0.5).prox(jnp.array([0.0, 0.0, 8.0]))
        Array([1., 2., 5.], dtype=float32)

    References:
        Whittaker, *On a new method of graduation* (1923), there with third differences.
    """

    strength: StrengthField = ONE
    axis: int = static(default=-1)

    def array_value(self, x: Array) -> Array:
        return jnp.sum(times_square(self.strength, self.steps(x)))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return smoothness_prox(x, 2 * times(self.strength, step), self.axis, metric)

    def joint_critical_scale(self, gradient: Array) -> Array:
        return quotient(jnp.abs(gradient), 0.0)


class SLOPE(Coupled):
    """Sorted L1 (OWL): penalises larger weights more; similar ones become equal.

        strength · Σ λᵢ·|w|₍ᵢ₎,   |w|₍₁₎ ≥ |w|₍₂₎ ≥ ...,   λ₁ ≥ λ₂ ≥ ... ≥ 0

    over all weights of a leaf. The rules for λ are those of Benjamini and Hochberg, which
    controls the rate of false discoveries, and OSCAR, which finds clusters of correlated
    features. With equal λ it is `L1`. A sharded leaf is gathered on every device.

    Args:
        strength: Non-negative number, or a pytree prefix of numbers: one for each leaf.
        weights: The λ of a leaf of p weights: `"bh"` for Φ⁻¹(1 − i·q/(2p)), with Φ that
            of the standard normal distribution; `"oscar"` for (p − i + 1)/p; or p numbers
            that do not increase.
        q: For `"bh"`, the rate of false discoveries to aim at, above 0 and at most 1.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength is negative or NaN; if `weights` are negative or
            increase, or `q` is out of range; when used, if a leaf is not of as many
            weights, or for a prox in a diagonal metric.

    Example:
        >>> penalty = SLOPE(1.0, weights=[2.0, 1.0, 1.0])
        >>> penalty(jnp.array([0.5, -3.0, 1.0]))
        Array(7.5, dtype=float32)
        >>> penalty.prox(jnp.array([0.5, -3.0, 2.9]))
        Array([ 0.  , -1.45,  1.45], dtype=float32)

    References:
        Bogdan, van den Berg, Sabatti, Su and Candès, *SLOPE: adaptive variable selection
        via convex optimization* (2015), sections 1 and 2; Bondell and Reich, *Simultaneous
        regression shrinkage, variable selection, and supervised clustering of predictors
        with OSCAR* (2008), section 2.
    """

    is_norm: ClassVar[bool] = True
    takes_metric: ClassVar[bool] = False

    strength: StrengthField = ONE
    weights: Any = static(default="bh", kw_only=True)
    q: float = static(default=0.1, kw_only=True)

    def beside(self, ndim: int) -> tuple[int, ...]:
        return ()

    def check_leaf(self, shape: tuple[int, ...]) -> None:
        count = int(np.prod(shape))
        if not isinstance(self.weights, str) and len(self.weights) != count:
            raise ValueError(
                f"weights must be one number for each of the {count} entries, got "
                f"{len(self.weights)}"
            )

    def ranked(self, x: Array) -> Array:
        """λ for the entries of an array, times the strength."""
        if not isinstance(self.weights, str):
            rule = jnp.asarray(self.weights, x.dtype)
        else:
            index = jnp.arange(1, x.size + 1, dtype=x.dtype)
            if self.weights == "bh":
                rule = -jax.scipy.special.ndtri(index * (self.q / (2 * x.size)))
            else:
                rule = (x.size + 1 - index) / x.size
        return times(jnp.reshape(self.strength, ()), jnp.maximum(rule, 0.0))

    def array_value(self, x: Array) -> Array:
        absolutes = jnp.sort(abs_zero_subgradient(jnp.ravel(x)), descending=True)
        return jnp.sum(times(self.ranked(x), absolutes)) if x.size else jnp.sum(x)

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return sorted_soft_threshold(x, times(self.ranked(x), step))

    def joint_critical_scale(self, gradient: Array) -> Array:
        pulls = jnp.sort(jnp.abs(jnp.ravel(gradient)), descending=True)
        return quotient(jnp.cumsum(pulls), jnp.cumsum(self.ranked(gradient)))

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_number(f"{name}.q", self.q, above=0.0)
        if self.q > 1:
            raise ValueError(f"{name}.q must be at most 1, got {self.q:g}.")
        object.__setattr__(self, "weights", _as_weights(f"{name}.weights", self.weights))
        super().__post_init__()


def _as_weights(name: str, weights: str | Sequence[float] | Array | np.ndarray) -> Any:
    if isinstance(weights, str):
        if weights not in ("bh", "oscar"):
            raise ValueError(
                f"{name} must be 'bh', 'oscar' or non-increasing numbers, got {weights!r}."
            )
        return weights
    check_numbers(name, weights)
    if not all(map(is_concrete, jax.tree.leaves(weights))):
        raise TypeError(f"{name} must be known before tracing. What changes is strength.")
    numbers = np.asarray(weights, float)
    if numbers.ndim != 1 or np.any(np.diff(numbers) > 0):
        raise ValueError(
            f"{name} must be a vector that does not increase, got {np.shape(weights)} "
            f"numbers {weights!r}."
        )
    return tuple(numbers.tolist())
