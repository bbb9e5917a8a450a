"""LassoNet: a network uses an input only if its linear skip connection does."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import quotient, times
from jaxreg._checks import Scalar, check_count
from jaxreg._groups import Entries, Groups, joined_groups, norms, numbering_axes
from jaxreg._tree import Leaf, Params
from jaxreg.masks.selection import MaskLike, as_mask, chosen
from jaxreg.operators import abs_zero_subgradient, soft_threshold
from jaxreg.operators.roots import concave_root
from jaxreg.penalties._constraint import Rounded, zero_if
from jaxreg.penalties._grouped import Axes, Grouped, Scale, is_by_pattern
from jaxreg.penalties._hierarchy import Layer, bounded_by_skip
from jaxreg.penalties.bound import Block
from jaxreg.penalties.fields import ONE, StrengthField, constant, static

ZERO: Any = 0.0
"""The default of a strength that is not there unless given."""


class LassoNet(Rounded, Grouped):
    """LassoNet: whole inputs leave a network, together with their skip connections.

        strength · Σ_j scale_j · ‖θ_j‖₂ + l1 · Σ |W|    if max |W_j| ≤ hierarchy · ‖θ_j‖₂,
        ∞                                               if not

    W_j are the weights by which the first layer reads input j, and θ_j those of a skip
    connection that leads from the inputs to the outputs past all layers. An input whose
    skip connection is zero is not read by the first layer either. The skip connection is
    penalised as in a (group) lasso, so that with a small `hierarchy` the network is nearly
    linear, and with a large one the bound is loose.

    The prox is exact in every diagonal metric, Adam's included, although the constraint is
    not convex. It finds the norm of each θ_j by Newton's method, which takes the place of
    the sorting in the paper. Added to a loss, the constraint has no gradient: use the
    penalty in `prox_adam`, `prox_sgd` or `proximal`, or `networks.select_inputs` with
    `method="lassonet"` for a whole path of strengths.

    Args:
        strength: Of the skip connection; a non-negative number, array or pytree prefix,
            one number for each input.
        l1: Of the first layer's weights, likewise; none by default.
        hierarchy: The bound M on the first layer, relative to the skip connection;
            positive.
        skip: Which leaves are the skip connection: a mask. The first layer is then what
            `mask` chooses, other than these, and all of them are one problem. A number is
            for layers that hold both in one array, along the last axis: so many entries of
            each input, the first, are its skip connection.
        group_axis: The axis that numbers the inputs, 0 in Flax.
        scale: A factor for each input: `"none"`, `"sqrt_size"`, a number or an array.
        labels: An integer for each input; equal ones leave together, as the columns of a
            one-hot encoding.
        together: With a mask as `skip`, a regular expression: leaves whose paths give the
            same match are a network of their own; see `GroupLasso`.
        tolerance: How far weights may exceed the bound, relative to it; by default what
            rounding does. Adding an optimizer's update rounds once more, so give some
            where R is wanted between two proxes: it is ∞ beyond the bound.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete strength is negative or NaN, or `hierarchy` not positive;
            when used, if the leaves do not have the same inputs, or one of the two layers
            is not among them.

    Example:
        >>> params = {
        ...     "skip": {"kernel": jnp.array([[3.0], [0.1]])},
        ...     "first": {"kernel": jnp.array([[5.0, 0.5], [0.2, -0.2]])},
        ... }
        >>> penalty = LassoNet(
        ...     1.0, hierarchy=1.0, skip=named("skip"), mask=named("first/kernel")
        ... )
        >>> penalty(params)
        Array(inf, dtype=float32)
        >>> penalty.prox(params)
        {'first': {'kernel': Array([[3.5, 0.5],
               [0. , 0. ]], dtype=float32)},
         'skip': {'kernel': Array([[3.5],
               [0. ]], dtype=float32)}}

    References:
        Lemhadri, Ruan, Abraham and Tibshirani, *LassoNet: a neural network with feature
        sparsity* (2021), section 3 and Algorithm 2; appendix for several outputs.
    """

    is_convex: ClassVar[bool] = False
    is_finite: ClassVar[bool] = False
    min_ndim: ClassVar[int] = 2

    strength: StrengthField = ONE
    l1: StrengthField = ZERO
    hierarchy: float | Array = constant(default=10.0, above=0.0)
    skip: MaskLike | int = static(default=1, kw_only=True)
    group_axis: Axes = static(default=0, kw_only=True)
    scale: Scale = static(default="none", kw_only=True)
    _is_skip: tuple[bool, ...] | None = static(default=None, kw_only=True)

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        skip, kernel = self._layers(x, None)
        lengths = norms(skip.groups, skip.x)
        absolutes = kernel.groups.total(jax.tree.map(abs_zero_subgradient, kernel.x))
        bound = self.hierarchy * (1 + self.slack) * lengths
        inside = kernel.groups.largest(jax.tree.map(jnp.abs, kernel.x)) <= bound
        terms = times(self.per_group(groups, self.strength), lengths)
        terms += times(groups.numbers(self.l1), absolutes)
        return jnp.sum(terms) + zero_if(jnp.all(inside), groups.dtype)

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        """Soft-thresholds the first layer, and bounds it by the skip connection."""
        skip, kernel = self._layers(x, metric)
        l1 = kernel.groups.spread(groups.numbers(self.l1))
        ones = jax.tree.map(jnp.ones_like, kernel.x)
        weights = ones if kernel.metric is None else kernel.metric
        soft = jax.tree.map(
            lambda u, l1, b: soft_threshold(u, step * l1 / b), kernel.x, l1, weights
        )
        threshold = step * self.per_group(groups, self.strength)
        moved = bounded_by_skip(skip, kernel._replace(x=soft), threshold, self.hierarchy)
        return self._joined_layers(*moved)

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        """The root c of  c·strength = ‖g_θ‖ + M·Σ max(|g_W| − c·l1, 0), for each input.

        Along any ray the constraint and the penalty are as at its start, so that zero is
        a solution where the pull on no direction is larger than its penalty.
        """
        skip, kernel = self._layers(gradient, None)
        pulls = jax.tree.map(jnp.abs, kernel.x)
        pull, total = norms(skip.groups, skip.x), kernel.groups.total
        weight = jnp.broadcast_to(self.per_group(groups, self.strength), groups.shape)
        l1 = jnp.broadcast_to(groups.numbers(self.l1), groups.shape)
        alone = quotient(pull + self.hierarchy * total(pulls), weight)
        strongest = quotient(kernel.groups.largest(pulls), l1)
        high = jnp.minimum(alone, jnp.maximum(strongest, quotient(pull, weight)))
        is_solved = ~(jnp.isfinite(high) & (high > 0))
        bound = jnp.where(is_solved, 1.0, high)
        spread = kernel.groups.spread

        def newton(c: Array) -> Array:
            rest = jax.tree.map(lambda g, t: jnp.maximum(g - t, 0.0), pulls, spread(c * l1))
            count = total(jax.tree.map(lambda x: jnp.where(x > 0, 1.0, 0.0), rest))
            slope = weight + self.hierarchy * l1 * count
            excess = pull + self.hierarchy * total(rest) - c * weight
            return c + excess / jnp.where(slope == 0, 1.0, slope)

        root = concave_root(newton, jnp.zeros_like(bound), bound)
        return jnp.where(is_solved, high, jnp.minimum(root, bound))

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        if not isinstance(self.skip, int):
            return ()
        axis: Any = self.group_axis
        numbered = () if is_by_pattern(axis) else numbering_axes(axis, ndim)
        return tuple(i for i in range(ndim) if i not in numbered)

    # How the two layers are found, in a pytree and in the arrays of a block.

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        if isinstance(self.skip, int):
            return super().at_leaves(tree, params)
        both = self._with(mask=as_mask(self.mask) | self.skip)
        return super(LassoNet, both).at_leaves(tree, params)

    def _at_leaf(self, term: Any, leaf: Leaf, axis: Any) -> Any:
        if isinstance(self.skip, int):
            shape = leaf.value.shape
            others = self._with(group_axis=axis).whole_axes(len(shape))
            if not others or shape[others[-1]] <= self.skip:
                raise ValueError(
                    f"LassoNet(skip={self.skip}) needs more than {self.skip} weights of "
                    "each input along the last axis, the skip connection's and then the "
                    f"first layer's, but {leaf.described} has shape {shape}. If these are "
                    "leaves of their own, give skip a mask: skip=jaxreg.named('skip')."
                )
        return super()._at_leaf(term, leaf, axis)

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        if isinstance(self.skip, int):
            return super().blocks(tree, params)
        joint = self if self.together is not None else self._with(together="")
        is_skip = chosen(as_mask(self.skip), tree, params)
        blocks = super(LassoNet, joint).blocks(tree, params)
        return [self._with_flags(block, is_skip, tree) for block in blocks]

    def _with_flags(self, block: Block, is_skip: list[bool], tree: list[Leaf]) -> Block:
        flags = tuple(is_skip[i] for i in block.indices)
        if all(flags) or not any(flags):
            raise ValueError(
                "LassoNet must have a skip connection and a first layer, but has only "
                f"{[tree[i].path for i in block.indices]}: skip must choose the one, and "
                "mask the other."
            )
        return Block(block.indices, block.term._with(_is_skip=flags))

    def _layers(self, x: Entries, metric: Entries | None) -> tuple[Layer, Layer]:
        """The skip connection and the first layer."""
        axes, splits, _ = self._layout()
        if self._is_skip is None:
            parts = self._parted(x), None if metric is None else self._parted(metric)
            axes, splits, flags = axes * 2, splits * 2, (True, False)
        else:
            parts, flags = (x, metric), self._is_skip

        def layer(wanted: bool) -> Layer:
            own = [i for i, flag in enumerate(flags) if flag is wanted]
            arrays, weights = (
                None if part is None else tuple(part[i] for i in own) for part in parts
            )
            assert arrays is not None
            groups = joined_groups(
                arrays,
                tuple(axes[i] for i in own),
                self.labels,
                tuple(splits[i] for i in own),
            )
            if len(own) > 1:
                return Layer(arrays, weights, groups)
            return Layer(arrays[0], weights and weights[0], groups)

        return layer(True), layer(False)

    def _parted(self, x: Array) -> tuple[Array, Array]:
        assert isinstance(self.skip, int)
        axis = self.whole_axes(x.ndim)[-1]
        first, rest = jnp.split(x, [self.skip], axis=axis)
        return first, rest

    def _joined_layers(self, skip: Entries, kernel: Entries) -> Entries:
        if self._is_skip is None:
            return jnp.concatenate([skip, kernel], axis=self.whole_axes(skip.ndim)[-1])
        parts = {
            True: iter(jax.tree.leaves(skip)),
            False: iter(jax.tree.leaves(kernel)),
        }
        return tuple(next(parts[flag]) for flag in self._is_skip)

    def __post_init__(self) -> None:
        if isinstance(self.skip, int) and not isinstance(self.skip, bool):
            check_count("LassoNet.skip", self.skip)
        else:
            object.__setattr__(self, "skip", as_mask(self.skip))
        if self.groups is not None:
            raise ValueError(
                "LassoNet must have no groups=: its groups are inputs, by group_axis and "
                "labels."
            )
        super().__post_init__()
