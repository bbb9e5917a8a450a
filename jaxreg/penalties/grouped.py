"""Penalties on groups of weights, which keep or remove a group as a whole."""

import abc
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import over, quotient, times, times_square
from jaxreg._checks import Scalar
from jaxreg._groups import (
    Entries,
    Groups,
    metric_units,
    norms,
    scaled,
    units,
)
from jaxreg.operators import abs_zero_subgradient, soft_threshold
from jaxreg.operators.roots import concave_root, shrink_norms
from jaxreg.penalties._grouped import Grouped, Scale, check_per_group
from jaxreg.penalties.entrywise import Entrywise
from jaxreg.penalties.fields import ONE, StrengthField, constant, static
from jaxreg.penalties.nonconvex import MCP, SCAD


class GroupLasso(Grouped):
    """The group lasso: makes whole groups exactly zero, and the others shorter.

        strength · Σ_g scale_g · ‖w_g‖₂

    A group is all that belongs to one output unit (`group_axis=-1`), one input feature
    (`group_axis=0` of a Dense kernel), one attention head, ...: groups that become zero can
    be cut out of the model. The prox is exact in any diagonal metric, Adam's included. The
    gradient of a group that is exactly zero is 0.

    Args:
        strength: Non-negative number, array or pytree prefix. An array gives every group
            its strength, so it has length 1 along all axes but `group_axis`: `(1, units)`,
            or just `(units,)` for the last axis.
        group_axis: The axis, or axes, that number the groups; the norms run over the
            others. With −1 a vector's entries are groups of size one. `()` makes a leaf one
            group. `{"pattern": axis, ...}` gives leaves different axes.
        scale: A factor for each group: `"sqrt_size"` (groups of all sizes are removed
            alike when there is nothing but noise), `"none"`, a number, or an array that
            broadcasts to the groups. Other libraries differ in this default.
        labels: An integer for each index along `group_axis`; equal labels make one group. A
            `scale` then goes by the sorted labels.
        together: A regular expression that joins leaves: those whose paths give the same
            match share their groups. `r".*/"`: the leaves of a layer; `""`: all.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength or scale is negative or NaN; when used, if a
            leaf does not have the axis, or strengths differ within a group.

    Example:
        >>> kernel = jnp.array([[3.0, 0.1], [4.0, 0.1]])
        >>> penalty = GroupLasso(1.0, group_axis=-1, scale="none")
        >>> penalty(kernel[:, :1])
        Array(5., dtype=float32)
        >>> penalty.prox(kernel)
        Array([[2.4, 0. ],
               [3.2, 0. ]], dtype=float32)

        A unit's incoming weights and its bias as one group:

        >>> params = {"hidden": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([4.0])}}
        >>> units = GroupLasso(1.0, scale="none", together=r".*/", mask=everything)
        >>> units(params)
        Array(5., dtype=float32)

    References:
        Yuan and Lin, *Model selection and estimation in regression with grouped
        variables* (2006), section 2.1; Parikh and Boyd, *Proximal Algorithms* (2014),
        section 6.5.1.
    """

    is_norm: ClassVar[bool] = True

    strength: StrengthField = ONE

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        return jnp.sum(times(self.per_group(groups, self.strength), norms(groups, x)))

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        threshold = step * self.per_group(groups, self.strength)
        return shrink_norms(groups, x, threshold, metric)

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        return quotient(norms(groups, gradient), self.per_group(groups, self.strength))

    def array_norms(self, x: Entries) -> dict[str, Any]:
        groups = self.groups_in(x)
        return {"strength": groups.spread(norms(groups, x))}


class SparseGroupLasso(Grouped):
    """Group lasso and L1 together: few groups, and few weights in each.

        l1 · Σ |w| + group · Σ_g scale_g · ‖w_g‖₂

    Its prox, soft-thresholding and then that of the group lasso, is exact in any
    diagonal metric.

    Args:
        l1: Non-negative number, array that broadcasts to the leaf, or pytree prefix.
        group: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"sqrt_size"`, `"none"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength or scale is negative or NaN; when used, if a
            leaf does not have the axis, or strengths differ within a group.

    Example:
        >>> kernel = jnp.array([[4.0, 1.2], [5.0, 0.5]])
        >>> penalty = SparseGroupLasso(l1=1.0, group=1.0, scale="none")
        >>> penalty.prox(kernel)
        Array([[2.4, 0. ],
               [3.2, 0. ]], dtype=float32)

    References:
        Simon, Friedman, Hastie and Tibshirani, *A sparse-group lasso* (2013), section
        2; Scardapane and others, *Group sparse regularization for deep neural networks*
        (2017), section 3.
    """

    is_norm: ClassVar[bool] = True
    entrywise: ClassVar[frozenset[str]] = frozenset({"l1"})

    l1: StrengthField = ONE
    group: StrengthField = ONE

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        absolutes = jax.tree.map(
            lambda x, l1: times(l1, abs_zero_subgradient(x)), x, self.l1
        )
        lengths = times(self.per_group(groups, self.group), norms(groups, x))
        return jnp.sum(groups.total(absolutes) + lengths)

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        threshold = step * self.per_group(groups, self.group)
        ones = jax.tree.map(jnp.ones_like, x) if metric is None else metric
        soft = jax.tree.map(
            lambda x, l1, d: soft_threshold(x, step * l1 / d), x, self.l1, ones
        )
        return shrink_norms(groups, soft, threshold, metric)

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        """The root c of  ‖S(gradient, c·l1)‖ = c·group·scale, in each group."""
        pulls = jax.tree.map(jnp.abs, gradient)
        weight = self.per_group(groups, self.group)
        slopes = jax.tree.map(lambda x, l1: jnp.broadcast_to(l1, x.shape), pulls, self.l1)
        strongest = groups.largest(jax.tree.map(quotient, pulls, slopes))
        high = jnp.minimum(strongest, quotient(norms(groups, pulls), weight))
        is_solved = ~(jnp.isfinite(high) & (high > 0))
        bound = jnp.where(is_solved, 1.0, high)

        def newton(c: Array) -> Array:
            rest = jax.tree.map(
                lambda x, l1, c: jnp.maximum(x - c * l1, 0.0),
                pulls,
                slopes,
                groups.spread(c),
            )
            length = norms(groups, rest)
            length_or_one = groups.spread(jnp.where(length == 0, 1.0, length))
            rates = jax.tree.map(
                lambda rest, slope, length: rest / length * slope,
                rest,
                slopes,
                length_or_one,
            )
            slope = weight + groups.total(rates)
            excess = length - c * weight
            # Nothing is left at c: rounding has brought it to the root from L1 alone.
            is_last = (length == 0) | (slope == 0)
            return jnp.where(is_last, c, c + excess / jnp.where(is_last, 1.0, slope))

        root = concave_root(newton, jnp.zeros_like(bound), bound)
        return jnp.where(is_solved, high, jnp.minimum(root, bound))

    def array_norms(self, x: Entries) -> dict[str, Any]:
        groups = self.groups_in(x)
        return {"l1": jax.tree.map(jnp.abs, x), "group": groups.spread(norms(groups, x))}


class L1Linf(Grouped):
    """The largest weight of each group: groups vanish, or several weights are largest.

        strength · Σ_g scale_g · max |w_g|

    It removes groups as the group lasso does; in the ones that stay, the largest weights
    become equal. The prox clips a group, and is exact in any diagonal metric.

    Args:
        strength: Non-negative number, array or pytree prefix, one for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength or scale is negative or NaN; when used, if a
            leaf does not have the axis, or strengths differ within a group.

    Example:
        >>> kernel = jnp.array([[3.0, 0.5], [-5.0, 0.25]])
        >>> L1Linf(1.0)(kernel)
        Array(5.5, dtype=float32)
        >>> L1Linf(1.0).prox(kernel)
        Array([[ 3.,  0.],
               [-4.,  0.]], dtype=float32)

    References:
        Quattoni, Carreras, Collins and Darrell, *An efficient projection for l1,infinity
        regularization* (2009), section 3; Parikh and Boyd, *Proximal Algorithms* (2014),
        section 6.5.2.
    """

    is_norm: ClassVar[bool] = True

    strength: StrengthField = ONE
    scale: Scale = static(default="none", kw_only=True)

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        absolutes = groups.largest(jax.tree.map(abs_zero_subgradient, x))
        return jnp.sum(times(self.per_group(groups, self.strength), absolutes))

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        """clip(x, ±r), where  Σ dᵢ·max(|xᵢ| − r, 0) = step·strength·scale."""
        ones = jax.tree.map(jnp.ones_like, x) if metric is None else metric
        metric, weight = metric_units(groups, ones)
        unit, scale = units(groups, x)
        absolutes = jax.tree.map(jnp.abs, unit)
        pulls = groups.total(jax.tree.map(jnp.multiply, metric, absolutes))
        threshold = step * self.per_group(groups, self.strength)
        threshold = over(jnp.broadcast_to(threshold, groups.shape), scale, weight)
        unpenalised = threshold == 0
        removed = (pulls <= threshold) & ~unpenalised
        is_open = ~removed & ~unpenalised
        target = jnp.where(is_open, threshold, 0.0)
        spread = groups.spread

        def newton(r: Array) -> Array:
            above = jax.tree.map(
                lambda x, d, r: jnp.where(x > r, d * (x - r), 0.0),
                absolutes,
                metric,
                spread(r),
            )
            slope = groups.total(
                jax.tree.map(
                    lambda x, d, r: jnp.where(x > r, d, 0.0), absolutes, metric, spread(r)
                )
            )
            excess = groups.total(above) - target
            return r + excess / jnp.where(slope == 0, 1.0, slope)

        high = groups.largest(absolutes)
        root = concave_root(newton, jnp.zeros_like(high), high)
        level = jnp.where(is_open, root * scale, jnp.where(removed, 0.0, jnp.inf))

        def clipped(x: Array, level: Array, removed: Array) -> Array:
            return jnp.where(removed, 0.0, jnp.clip(x, -level, level))

        return jax.tree.map(clipped, x, groups.spread(level), groups.spread(removed))

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        pulls = groups.total(jax.tree.map(jnp.abs, gradient))
        return quotient(pulls, self.per_group(groups, self.strength))


class ExclusiveLasso(Grouped):
    """Competition within each group: few weights in every group, but no group removed.

        strength · Σ_g scale_g · (Σ |w_g|)²        (no half)

    The opposite of the group lasso: it chooses within groups, among the inputs of each
    unit, say. No strength makes a whole group zero. In groups of one it is `L2`. The
    prox is exact in any diagonal metric.

    Args:
        strength: Non-negative number, array or pytree prefix, one for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength or scale is negative or NaN; when used, if a
            leaf does not have the axis, or strengths differ within a group.

    Example:
        >>> kernel = jnp.array([[4.0, 0.0], [-1.0, 3.0]])
        >>> ExclusiveLasso(0.5)(kernel)
        Array(17., dtype=float32)
        >>> ExclusiveLasso(0.5).prox(kernel)
        Array([[2. , 0. ],
               [0. , 1.5]], dtype=float32)

    References:
        Zhou, Jin and Hoi, *Exclusive lasso for multi-task feature selection* (2010),
        section 3; Campbell and Allen, *Within group variable selection through the
        exclusive lasso* (2017), section 4.
    """

    strength: StrengthField = ONE
    scale: Scale = static(default="none", kw_only=True)

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        absolutes = groups.total(jax.tree.map(abs_zero_subgradient, x))
        return jnp.sum(times_square(self.per_group(groups, self.strength), absolutes))

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        """S(xᵢ, T/dᵢ), where  T = 2·step·strength·scale · Σ max(|xᵢ| − T/dᵢ, 0)."""
        ones = jax.tree.map(jnp.ones_like, x) if metric is None else metric
        metric, weight = metric_units(groups, ones)
        unit, scale = units(groups, x)
        absolutes = jax.tree.map(jnp.abs, unit)
        pull = 2 * (step * self.per_group(groups, self.strength) / weight)
        pull = jnp.broadcast_to(pull, groups.shape)
        own, shared = _shares(pull)

        def newton(threshold: Array) -> Array:
            is_above = jax.tree.map(
                lambda x, d, t: d * x > t, absolutes, metric, groups.spread(threshold)
            )
            kept = jax.tree.map(lambda x, up: jnp.where(up, x, 0.0), absolutes, is_above)
            rates = jax.tree.map(lambda d, up: jnp.where(up, 1 / d, 0.0), metric, is_above)
            rate = groups.total(rates)
            slope = own + shared * rate
            root = shared * groups.total(kept) / jnp.where(slope == 0, 1.0, slope)
            return jnp.where(rate == 0, threshold, root)

        high = groups.largest(jax.tree.map(jnp.multiply, metric, absolutes))
        root = concave_root(newton, jnp.zeros_like(high), high)
        return jax.tree.map(
            lambda x, d, t, scale: soft_threshold(x, t / d * scale),
            x,
            metric,
            groups.spread(root),
            groups.spread(scale),
        )

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        pulls = groups.largest(jax.tree.map(jnp.abs, gradient))
        return quotient(pulls, 0.0)


def _shares(x: Array) -> tuple[Array, Array]:
    """1/(1 + x) and x/(1 + x), to full precision, for x from 0 to infinity."""
    is_large = x > 1
    small, inverse = jnp.where(is_large, 1.0, x), 1 / jnp.where(is_large, x, 1.0)
    return (
        jnp.where(is_large, inverse / (1 + inverse), 1 / (1 + small)),
        jnp.where(is_large, 1 / (1 + inverse), small / (1 + small)),
    )


class _Radial(Grouped):
    """R(w) = Σ_g r(‖w_g‖₂), for a concave r of the lengths whose own prox is known.

    A group then keeps its direction, and its length moves by the prox of r. In a metric
    that differs within a group there is no such formula, and several local minima.
    """

    is_convex: ClassVar[bool] = False
    takes_metric: ClassVar[bool] = False

    @abc.abstractmethod
    def of_lengths(self, groups: Groups) -> Entrywise:
        """The penalty r, with the strengths of the groups."""

    def check_prox(self, *, in_metric: bool) -> None:
        """Nothing to refuse yet: the shape of a metric says whether it will do."""

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        return jnp.sum(self.of_lengths(groups).entry_value(norms(groups, x)))

    def array_prox(self, x: Entries, step: Scalar, metric: Entries | None) -> Entries:
        if metric is not None:
            step = step / self._metric_of_groups(self.groups_in(x), metric)
        return self.groups_prox(x, self.groups_in(x), step, None)

    def groups_prox(
        self, x: Entries, groups: Groups, step: Any, metric: Entries | None
    ) -> Entries:
        lengths, penalty = norms(groups, x), self.of_lengths(groups)
        moved = penalty.entry_prox(lengths, step)
        removed = (moved == 0) & (step * penalty.slope_at_zero() > 0)
        factor = moved / jnp.where(lengths == 0, 1.0, lengths)
        factor = jnp.where(moved == lengths, 1.0, factor)
        return scaled(groups, x, factor, removed)

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        return quotient(norms(groups, gradient), self.of_lengths(groups).slope_at_zero())

    def _metric_of_groups(self, groups: Groups, metric: Any) -> Any:
        """The metric as one number for each group, if its shape says that it is."""
        try:
            if isinstance(metric, tuple) or groups.labels is not None:
                raise ValueError("the groups are not numbered by axes of one leaf")
            check_per_group("the metric", metric, groups)
        except ValueError as error:
            raise ValueError(
                f"The prox of {type(self).__name__} is known in a metric that is the same "
                f"within each group only, but {error}. Use a convex penalty here, as "
                "GroupLasso or SparseGroupLasso, whose prox is exact in any metric; or a "
                "step without a metric, as prox_sgd or proximal(...) make."
            ) from None
        return groups.numbers(metric)


class GroupMCP(_Radial):
    """The minimax concave penalty on groups: zeros as the group lasso, without its bias.

        Σ_g r(‖w_g‖₂),  with λ = strength · scale_g:
        r(n) = λ·n − n²/(2·gamma)   for n ≤ gamma·λ,   and ½·gamma·λ²  beyond

    Groups longer than gamma·λ are not shrunk at all. Not convex: minima are local, and
    `strength_max` is where zero ceases to be one of them. The prox is exact for steps of
    any length, in a metric that is the same within each group (of length 1 along all
    axes but `axis`).

    Args:
        strength: Non-negative number, array or pytree prefix, one for each group.
        gamma: Positive number, array or pytree prefix: how soon the shrinking stops.
            Large ones approach the group lasso. Not scaled by `penalty * c`.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"sqrt_size"`, `"none"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete number is too small or NaN; when used, if a leaf does
            not have the axis, strengths differ within a group, or a metric does.

    Example:
        >>> kernel = jnp.array([[6.0, 0.3], [8.0, 0.4], [0.0, 0.0]])
        >>> penalty = GroupMCP(1.0, gamma=3.0, scale="none")
        >>> penalty(kernel[:, :1])
        Array(1.5, dtype=float32)
        >>> penalty.prox(kernel)
        Array([[6., 0.],
               [8., 0.],
               [0., 0.]], dtype=float32)

    References:
        Zhang, *Nearly unbiased variable selection under minimax concave penalty* (2010),
        section 2; Breheny and Huang, *Group descent algorithms for nonconvex penalized
        linear and logistic regression models with grouped predictors* (2015), section 2.
    """

    strength: StrengthField = ONE
    gamma: StrengthField = constant(default=3.0, above=0.0)

    def of_lengths(self, groups: Groups) -> Entrywise:
        strength = self.per_group(groups, self.strength)
        return MCP()._with(strength=strength, gamma=groups.numbers(self.gamma))


class GroupSCAD(_Radial):
    """SCAD on groups: the group lasso for short groups, no shrinking for long ones.

        Σ_g r(‖w_g‖₂),  with λ = strength · scale_g:
        r(n) = λ·n  for n ≤ λ;   (2·a·λ·n − n² − λ²)/(2·(a − 1))  for n ≤ a·λ;
        and ½·(a + 1)·λ²  beyond

    Not convex: minima are local, and `strength_max` is where zero ceases to be one of
    them. The prox is exact for steps of any length, in a metric that is the same within
    each group (of length 1 along all axes but `group_axis`).

    Args:
        strength: Non-negative number, array or pytree prefix, one for each group.
        a: Number, array or pytree prefix greater than 2: how soon the shrinking
            stops. Not scaled by `penalty * c`.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"sqrt_size"`, `"none"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete number is too small or NaN; when used, if a leaf does
            not have the axis, strengths differ within a group, or a metric does.

    Example:
        >>> kernel = jnp.array([[6.0, 0.3], [8.0, 0.4], [0.0, 0.0]])
        >>> penalty = GroupSCAD(1.0, a=3.0, scale="none")
        >>> penalty(kernel[:, :1])
        Array(2., dtype=float32)
        >>> penalty.prox(kernel)
        Array([[6., 0.],
               [8., 0.],
               [0., 0.]], dtype=float32)

    References:
        Fan and Li, *Variable selection via nonconcave penalized likelihood* (2001),
        section 2; Breheny and Huang, *Group descent algorithms for nonconvex penalized
        linear and logistic regression models with grouped predictors* (2015), section 2.
    """

    strength: StrengthField = ONE
    a: StrengthField = constant(default=3.7, above=2.0)

    def of_lengths(self, groups: Groups) -> Entrywise:
        strength = self.per_group(groups, self.strength)
        return SCAD()._with(strength=strength, a=groups.numbers(self.a))
