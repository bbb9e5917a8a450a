"""Constraints that are convex: intervals, balls and the simplex."""

import abc
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import times
from jaxreg._checks import Scalar, is_concrete
from jaxreg._groups import Entries, Groups
from jaxreg._tree import Leaf, Params
from jaxreg.operators.balls import (
    inside_l1_ball,
    inside_l2_ball,
    inside_simplex,
    onto_l1_ball,
    onto_l2_ball,
    onto_simplex,
)
from jaxreg.penalties._constraint import (
    Constraint,
    GroupConstraint,
    RoundedConstraint,
    zero_if,
)
from jaxreg.penalties._grouped import Axes
from jaxreg.penalties.fields import StrengthField, constant, static


class NonNegative(Constraint):
    """Weights that are not negative: negative ones become zero.

        0 if all w ≥ 0, and else ∞

    For additive models that can be read, mixing weights, rates, monotone networks. The
    prox is max(w, 0) in every metric and for every step. `optax.keep_params_nonnegative`
    does the same as the last of a chain.

    Args:
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If the mask cannot choose leaves.

    Example:
        >>> NonNegative().prox(jnp.array([1.5, -2.0]))
        Array([1.5, 0. ], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.2.4.
    """

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def array_value(self, x: Array) -> Array:
        return zero_if(jnp.all(x >= 0), x.dtype)

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return jnp.maximum(x, 0.0)

    def as_interval(self) -> tuple[Any, Any]:
        return 0.0, np.inf


class _Interval(RoundedConstraint):
    """Bounds on every weight. Clipping projects on them in every diagonal metric."""

    @abc.abstractmethod
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest value."""

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def array_value(self, x: Array) -> Array:
        low, high = self.bounds()
        above = x >= low - times(self.slack, jnp.abs(low))
        below = x <= high + times(self.slack, jnp.abs(high))
        return zero_if(jnp.all(above & below), x.dtype)

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return jnp.clip(x, *self.bounds())

    def as_interval(self) -> tuple[Any, Any]:
        return self.bounds()


class Box(_Interval):
    """Weights between two bounds, which may be infinite.

        0 if all low ≤ w ≤ high, and else ∞

    With low = −high it is the weight clipping of the first Wasserstein GANs. The prox
    clips, in every metric and for every step.

    Args:
        low: Number of any sign, array that broadcasts to the leaf, or pytree prefix.
        high: Likewise; not less than `low`.
        tolerance: How far beyond a bound still counts as inside, relative to the bound;
            by default the rounding of the dtype.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a bound is not a real number, or the mask cannot choose leaves.
        ValueError: If a concrete bound is NaN, or `low` exceeds `high`.

    Example:
        >>> Box(-0.5, 1.0).prox(jnp.array([1.5, -2.0, 0.3]))
        Array([ 1. , -0.5,  0.3], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.2.4; Arjovsky, Chintala
        and Bottou, *Wasserstein GAN* (2017), section 3.
    """

    low: StrengthField = constant(default=0.0, signed=True)
    high: StrengthField = constant(default=1.0, signed=True)

    def bounds(self) -> tuple[Any, Any]:
        return self.low, self.high

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        terms = super().at_leaves(tree, params)
        for term in terms:
            if isinstance(term, Box):
                term._check_order()
        return terms

    def _check_order(self) -> None:
        if not (is_concrete(self.low) and is_concrete(self.high)):
            return
        if np.any(np.asarray(self.low) > np.asarray(self.high)):
            raise ValueError(
                f"Box.low must not exceed Box.high, got {self.low} and {self.high}."
            )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_order()


class LinfBall(_Interval):
    """Weights whose absolute values are at most a radius.

        0 if all |w| ≤ radius, and else ∞

    The prox clips, in every metric and for every step. It is `Box(-radius, radius)` with
    one number to change.

    Args:
        radius: Non-negative number, array that broadcasts to the leaf, or pytree prefix.
        tolerance: How far outside still counts as inside, relative to the radius; by
            default the rounding of the dtype.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `radius` is not a real number, or the mask cannot choose leaves.
        ValueError: If a concrete radius is negative or NaN.

    Example:
        >>> LinfBall(1.0).prox(jnp.array([1.5, -2.0, 0.3]))
        Array([ 1. , -1. ,  0.3], dtype=float32)

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.2.4.
    """

    radius: StrengthField = constant(default=1.0)

    def bounds(self) -> tuple[Any, Any]:
        return 0.0 - self.radius, self.radius


class L2Ball(RoundedConstraint, GroupConstraint):
    """Groups whose norms are at most a radius: larger ones are scaled back to it.

        0 if all ‖w_g‖₂ ≤ radius · scale_g, and else ∞

    Ridge regression with a limit on the norm instead of a strength. By default every
    leaf is a group; `together=""` makes one ball of all of them, `group_axis` and `labels`
    make smaller ones. In a diagonal metric the prox solves dᵢxᵢ/(dᵢ + μ) for μ, exactly.

    Args:
        radius: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        tolerance: How far outside still counts as inside, relative to the radius; by
            default the rounding of the dtype and of sums.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete radius is negative or NaN; when used, if a leaf does not
            have the axis, or radii differ within a group.

    Example:
        >>> L2Ball(1.0).prox(jnp.array([3.0, 4.0]))
        Array([0.6, 0.8], dtype=float32)

        All leaves in one ball:

        >>> params = {"u": jnp.array([3.0]), "v": jnp.array([4.0])}
        >>> L2Ball(1.0, together="").prox(params)
        {'u': Array([0.6], dtype=float32), 'v': Array([0.8], dtype=float32)}

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 6.5.1.
    """

    radius: StrengthField = constant(default=1.0)
    group_axis: Axes = static(default=(), kw_only=True)

    def inside(self, x: Entries, groups: Groups) -> Array:
        return inside_l2_ball(groups, x, self.per_group(groups, self.radius), self.slack)

    def project(self, x: Entries, groups: Groups, metric: Entries | None) -> Entries:
        radius = self.per_group(groups, self.radius)
        return onto_l2_ball(groups, x, radius, metric, self.slack)


class MaxNorm(L2Ball):
    """The incoming weights of each unit with a norm of at most a radius.

        0 if all ‖w_g‖₂ ≤ radius · scale_g, and else ∞

    `L2Ball` with a group for each output unit. With dropout and large learning rates it
    keeps weights from growing without bound; 3 or 4 is a usual radius. Keras's
    `MaxNorm` also multiplies short units, by ‖w‖/(ε + ‖w‖), and by default takes the norms
    of a convolution along the height of the kernel alone.

    A projection does not depend on the step, so that it may follow any optimizer:
    `optax.chain(optax.adamw(1e-3), proximal(MaxNorm(3.0), 1e-3))`.

    Args:
        radius: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        tolerance: How far outside still counts as inside, relative to the radius; by
            default the rounding of the dtype and of sums.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete radius is negative or NaN; when used, if a leaf does not
            have the axis, or radii differ within a group.

    Example:
        >>> MaxNorm(1.0).prox(jnp.array([[3.0, 0.5], [4.0, 0.5]]))
        Array([[0.6, 0.5],
               [0.8, 0.5]], dtype=float32)

    References:
        Srebro and Shraibman, *Rank, trace-norm and max-norm* (2005), section 2;
        Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, *Dropout: a simple
        way to prevent neural networks from overfitting* (2014), section 5.1.
    """

    group_axis: Axes = static(default=-1, kw_only=True)


class L1Ball(RoundedConstraint, GroupConstraint):
    """Groups whose L1 norms are at most a radius, which makes many weights zero.

        0 if all ‖w_g‖₁ ≤ radius · scale_g, and else ∞

    The lasso as it was first written: with a budget instead of a strength. The prox is a
    soft-thresholding with the threshold that spends the budget, exact in any diagonal
    metric. By default every leaf is a group; `together=""` makes one ball of all.

    Args:
        radius: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        tolerance: How far outside still counts as inside, relative to the radius; by
            default the rounding of the dtype and of sums.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete radius is negative or NaN; when used, if a leaf does not
            have the axis, or radii differ within a group.

    Example:
        >>> L1Ball(2.0).prox(jnp.array([3.0, -2.0, 0.5]))
        Array([ 1.5, -0.5,  0. ], dtype=float32)

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996), section 1;
        Duchi, Shalev-Shwartz, Singer and Chandra, *Efficient projections onto the
        l1-ball for learning in high dimensions* (2008), section 4.
    """

    radius: StrengthField = constant(default=1.0)
    group_axis: Axes = static(default=(), kw_only=True)

    def inside(self, x: Entries, groups: Groups) -> Array:
        return inside_l1_ball(groups, x, self.per_group(groups, self.radius), self.slack)

    def project(self, x: Entries, groups: Groups, metric: Entries | None) -> Entries:
        radius = self.per_group(groups, self.radius)
        return onto_l1_ball(groups, x, radius, metric, self.slack)


class Simplex(RoundedConstraint, GroupConstraint):
    """Groups of weights that are not negative and add up to a total.

        0 if all w_g ≥ 0 and Σ w_g = total · scale_g, and else ∞

    For weights that mix: of experts, models, portfolios, architectures. Unlike a softmax
    it has exact zeros. The prox is exact in any diagonal metric. By default every leaf is
    a group; with `group_axis=-1` the incoming weights of every unit mix.

    Args:
        total: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        tolerance: How far the sum may be off, relative to the total; by default the
            rounding of the dtype and of sums.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete total is negative or NaN; when used, if a leaf does not
            have the axis, or totals differ within a group.

    Example:
        >>> Simplex().prox(jnp.array([0.75, 0.5, -3.0]))
        Array([0.625, 0.375, 0.   ], dtype=float32)

    References:
        Duchi, Shalev-Shwartz, Singer and Chandra, *Efficient projections onto the
        l1-ball for learning in high dimensions* (2008), section 3.
    """

    total: StrengthField = constant(default=1.0)
    group_axis: Axes = static(default=(), kw_only=True)

    def inside(self, x: Entries, groups: Groups) -> Array:
        return inside_simplex(groups, x, self.per_group(groups, self.total), self.slack)

    def project(self, x: Entries, groups: Groups, metric: Entries | None) -> Entries:
        total = self.per_group(groups, self.total)
        return onto_simplex(groups, x, total, metric, self.slack)
