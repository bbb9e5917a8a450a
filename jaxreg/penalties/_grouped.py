"""How a formula about groups of weights is lifted to parameters."""

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxreg._checks import Scalar, is_concrete
from jaxreg._coupling import CoupledGroups
from jaxreg._groups import Axis, Entries, Groups, Labels, joined_groups, numbering_axes
from jaxreg._prefixes import broadcast, entries_of
from jaxreg._sharding import MeshAxes, Split, along
from jaxreg._tree import Leaf, Params, assembled
from jaxreg.masks.selection import as_mask, weights
from jaxreg.penalties.base import Penalty
from jaxreg.penalties.bound import Block
from jaxreg.penalties.fields import static, traced_fields

Scale = str | float | Sequence[Any] | Array | np.ndarray
"""What a group's strength is multiplied by: a rule, a number, or numbers per group."""

Axes = Axis | Mapping[str, Axis] | tuple[tuple[str, Axis], ...]
"""The axis that numbers the groups, or one for each pattern of paths."""


class Joined(NamedTuple):
    """How leaves that have their groups in common number them.

    Attributes:
        axes: For each leaf, the axes that number the groups.
        splits: For each leaf, how it is split between devices.
        labels: For each leaf, the labels of its groups, if they are not those of all.
    """

    axes: tuple[Axis, ...]
    splits: tuple[Split | None, ...]
    labels: tuple[tuple[int, ...], ...] | None = None


class Grouped(Penalty):
    """A penalty that is a sum over groups of weights: R(w) = Σ_g r(w_g).

    Which weights are a group is said by five fields, common to all these penalties:

    - `group_axis`: the axis, or axes, that *number* the groups; a group is everything at
      one index of it. −1, the default, takes the output units of Dense and Conv kernels; 0
      the input features of a Dense kernel; `()` the whole array. A mapping from patterns
      to axes, `{"embedding": 0, "": -1}`, gives leaves different axes; `""` is for
      those that no other pattern is for.
    - `labels`: an integer for every index of that axis. Equal labels make one group:
      the columns of a one-hot encoding, given groups of a coefficient vector.
    - `together`: a regular expression that joins leaves. Leaves whose paths give the
      same match have their groups in common: with `r".*/"` the leaves of one layer (a
      unit's kernel column and its bias), with `""` all chosen leaves. Give it a mask
      that chooses them all.
    - `groups`: what `jaxreg.coupled_groups` found: all weights that compute one unit,
      channel, head or place of a residual stream are a group, wherever they are.
    - `scale`: a factor for each group: `"sqrt_size"`, `"none"`, a number, or an array
      that broadcasts to the groups.

    Subclasses write formulas about an array and its `Groups`, with `jax.tree.map`: the
    array may be a tuple of joined ones, and so may the strengths named in `entrywise`.
    """

    always_shown: ClassVar[frozenset[str]] = frozenset({"group_axis"})
    entrywise: ClassVar[frozenset[str]] = frozenset()
    """The strengths that may differ within a group."""

    group_axis: Axes = static(default=-1, kw_only=True)
    scale: Scale = static(default="sqrt_size", kw_only=True)
    labels: Labels | None = static(default=None, kw_only=True)
    together: str | None = static(default=None, kw_only=True)
    groups: CoupledGroups | None = static(default=None, kw_only=True)
    _joined: Joined | None = static(default=None, kw_only=True)

    @abc.abstractmethod
    def groups_value(self, x: Entries, groups: Groups) -> Array:
        """R(x), a scalar."""

    @abc.abstractmethod
    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        """argmin_z  step·R(z) + ½·Σ dᵢ(zᵢ − xᵢ)²."""

    @abc.abstractmethod
    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        """For each group, the smallest c for which 0 minimises ⟨gradient, z⟩ + c·R(z)."""

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def array_value(self, x: Entries) -> Array:
        return self.groups_value(x, self.groups_in(x))

    def array_prox(self, x: Entries, step: Scalar, metric: Entries | None) -> Entries:
        return _compiled_prox(self, x, step, metric)

    def array_critical_scale(self, gradient: Entries) -> Array:
        return _compiled_critical_scale(self, gradient)

    def per_group(self, groups: Groups, strength: Any) -> Any:
        """The strength times the scale, for each group."""
        if isinstance(self.scale, str):
            scale = np.sqrt(groups.sizes) if self.scale == "sqrt_size" else 1.0
        else:
            scale = np.asarray(self.scale)
        # A Python number, or of no more than the dtype of what it multiplies.
        scale = float(scale) if np.ndim(scale) == 0 else jnp.asarray(scale, groups.dtype)
        return groups.numbers(strength) * scale

    def groups_in(self, x: Entries) -> Groups:
        """The groups of a leaf, or of joined leaves."""
        axes, splits, labels = self._layout()
        return joined_groups(jax.tree.leaves(x), axes, labels or self.labels, splits)

    def summed_over(self) -> MeshAxes:
        axes, splits, _ = self._layout()
        split = splits[0]
        return along(split, numbering_axes(axes[0], len(split))) if split else ()

    def _layout(self) -> Joined:
        axis: Any = self.group_axis
        return self._joined or Joined((axis,), (self.specs,))

    # How groups are found in a pytree.

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        if self.groups is not None:
            return self._at_members(self.groups, tree, params)
        terms = super().at_leaves(tree, params)
        axes = self._axes_at(tree, [term is not None for term in terms])
        return [
            None if term is None else self._at_leaf(term, leaf, axis)
            for leaf, term, axis in zip(tree, terms, axes, strict=True)
        ]

    def _at_leaf(self, term: Any, leaf: Leaf, axis: Axis) -> Any:
        """The penalty of a leaf with its own axis, checked against its shape."""
        try:
            groups = joined_groups((leaf.value,), (axis,), self.labels, (None,))
            if self.together is None:
                _check_scale(self.scale, groups)
            for name in set(traced_fields(self)) - self.entrywise:
                check_per_group(name, getattr(term, name), groups)
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__} does not fit {leaf.described} of shape "
                f"{np.shape(leaf.value)}: {error}. Choose other leaves with its mask, or "
                "give leaves different axes with group_axis={'pattern': axis, ...}."
            ) from None
        return term._with(group_axis=axis)

    def _at_members(
        self, groups: CoupledGroups, tree: list[Leaf], params: Params
    ) -> list[Any]:
        """The penalty of each leaf that has groups; all of them, unless a mask chooses."""
        members = groups.at_leaves(tree)
        has_groups = as_mask(assembled(tree, params, [m is not None for m in members]))
        mask = has_groups if self.mask == weights else as_mask(self.mask) & has_groups
        chosen = super(Grouped, self._with(mask=mask)).at_leaves(tree, params)
        return [
            None
            if member is None or term is None
            else self._with(groups=None, labels=member.labels)._at_leaf(
                term._with(groups=None, labels=member.labels), leaf, member.axis
            )
            for term, leaf, member in zip(chosen, tree, members, strict=True)
        ]

    def _axes_at(self, tree: list[Leaf], needed: list[bool]) -> list[Any]:
        """The axis of each leaf, where patterns give leaves different ones."""
        axis: Any = self.group_axis
        if not is_by_pattern(axis):
            return [axis] * len(tree)
        entries = {(pattern,): own for pattern, own in axis}
        name = f"{type(self).__name__}.group_axis"
        return broadcast(entries, tree, name, needed, by_pattern=True)

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        blocks = super().blocks(tree, params)
        if self.groups is not None:
            return self._coupled_blocks(self.groups, blocks, tree)
        if self.together is None:
            return blocks
        families: dict[Any, list[Block]] = {}
        for block in blocks:
            (index,) = block.indices
            match = re.search(self.together, "/".join(tree[index].names))
            families.setdefault(match.group() if match else index, []).append(block)
        return [self._joined_block(family, tree) for family in families.values()]

    def _coupled_blocks(
        self, groups: CoupledGroups, blocks: list[Block], tree: list[Leaf]
    ) -> list[Block]:
        """One block for all leaves that have a group in common, directly or by others."""
        for name in set(traced_fields(self)) - self.entrywise:
            if any(np.size(x) > 1 for x in jax.tree.leaves(getattr(self, name))):
                raise ValueError(
                    f"{type(self).__name__}.{name} must be one number for groups that "
                    f"reach over several leaves, got {getattr(self, name)!r}."
                )
        if not is_uniform(self.scale):
            raise ValueError(
                f"{type(self).__name__}.scale must be a rule or a number for coupled "
                f"groups, got {self.scale!r}."
            )
        at = {block.indices[0]: block for block in blocks}
        return [
            self._joined_block([at[i] for i in family], tree)
            for family in groups.families(tree, list(at))
        ]

    def _joined_block(self, family: list[Block], tree: list[Leaf]) -> Block:
        """One block of several, whose groups have members in all of them."""
        indices = tuple(block.indices[0] for block in family)
        leaves = [tree[index] for index in indices]
        terms = [block.term for block in family]
        axes = tuple(term.group_axis for term in terms)
        splits = tuple(term.specs for term in terms)
        own = None
        if self.groups is not None:
            own = tuple(term.labels for term in terms)
        try:
            arrays = [leaf.value for leaf in leaves]
            none = (None,) * len(arrays)
            labels = own or self.labels
            _check_scale(self.scale, joined_groups(arrays, axes, labels, none))
            for name in set(traced_fields(self)) - self.entrywise:
                _check_shared(name, getattr(self, name), indices, tree)
            if len({term.summed_over() for term in terms}) > 1:
                raise ValueError("their groups must be split between devices alike")
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__}(together={self.together!r}) does not fit the "
                f"leaves {[leaf.path for leaf in leaves]} of shapes "
                f"{[np.shape(leaf.value) for leaf in leaves]}: {error}."
            ) from None
        if len(family) == 1:
            return family[0]
        strengths = {
            name: tuple(getattr(x, name) for x in terms) for name in self.entrywise
        }
        joined = Joined(axes, splits, own)
        return Block(indices, terms[0]._with(_joined=joined, **strengths))

    def __post_init__(self) -> None:
        name = type(self).__name__
        checks = {"group_axis": _as_axis, "labels": _as_labels, "scale": _as_scale}
        for field, check in checks.items():
            value = check(f"{name}.{field}", getattr(self, field))
            object.__setattr__(self, field, value)
        if self.together is not None:
            re.compile(self.together)
        if self.groups is not None:
            self._check_only_groups(self.groups)
        super().__post_init__()

    def _check_only_groups(self, groups: Any) -> None:
        """Refuse groups of another kind, or beside another way to name them."""
        name = type(self).__name__
        if not isinstance(groups, CoupledGroups):
            raise TypeError(
                f"{name}.groups must be what jaxreg.coupled_groups(fn, params, *inputs) "
                f"returns, got {type(groups).__name__}. (Labels: labels=.)"
            )
        for field in ("labels", "together"):
            if getattr(self, field) is not None:
                raise ValueError(
                    f"{name} must have either groups or {field}, since both say what the "
                    "groups are."
                )


# Equations are solved in loops, which JAX would otherwise compile anew at each call.


@jax.jit
def _compiled_prox(
    penalty: Grouped, x: Entries, step: Scalar, metric: Entries | None
) -> Entries:
    if metric is not None:
        metric = jax.tree.map(
            lambda d, x: jnp.broadcast_to(jnp.asarray(d, x.dtype), x.shape), metric, x
        )
    return penalty.groups_prox(x, penalty.groups_in(x), step, metric)


@jax.jit
def _compiled_critical_scale(penalty: Grouped, gradient: Entries) -> Array:
    scales = penalty.groups_critical_scale(gradient, penalty.groups_in(gradient))
    return jnp.max(scales, initial=0.0)


def is_uniform(scale: Any) -> bool:
    """Whether a scale is a rule or one number."""
    return isinstance(scale, str) or np.ndim(scale) == 0


def is_by_pattern(axis: Any) -> bool:
    """Whether patterns of paths give leaves different axes."""
    return isinstance(axis, tuple) and any(isinstance(entry, tuple) for entry in axis)


def _as_axis(name: str, axis: Any) -> Any:
    """An axis as hashable ints: an int, a tuple of them, or pairs (pattern, axis)."""
    if isinstance(axis, Mapping):
        axis = tuple(axis.items())
    if is_by_pattern(axis):
        for pattern, _ in axis:
            re.compile(pattern)
        return tuple((pattern, _as_axis(name, one)) for pattern, one in axis)
    ints = axis if isinstance(axis, tuple | list) else (axis,)
    for i in ints:
        if isinstance(i, bool) or not isinstance(i, int | np.integer):
            raise TypeError(
                f"{name} must be an int, a tuple of ints, or a mapping from patterns to "
                f"these, got {axis!r}."
            )
    return tuple(map(int, ints)) if isinstance(axis, tuple | list) else int(axis)


def _as_labels(name: str, labels: Any) -> tuple[int, ...] | None:
    if labels is None:
        return None
    numbers = _concrete(name, labels)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(
            f"{name} must be a sequence of integers, got {numbers.dtype} of shape "
            f"{numbers.shape}."
        )
    return tuple(numbers.tolist())


def _as_scale(name: str, scale: Any) -> Any:
    if isinstance(scale, str):
        if scale not in ("sqrt_size", "none"):
            raise ValueError(
                f"{name} must be 'sqrt_size', 'none', a number or an array, got {scale!r}."
            )
        return scale
    numbers = _concrete(name, scale)
    if numbers.dtype == bool or not np.issubdtype(numbers.dtype, np.number):
        raise TypeError(f"{name} must be real, got {scale!r}.")
    if not np.all(numbers >= 0):
        worst = np.ravel(numbers[~(numbers >= 0)])[0]
        raise ValueError(f"{name} must be non-negative, got {float(worst):g}.")
    return _as_tuples(numbers.astype(float).tolist())


def _as_tuples(nested: Any) -> Any:
    return tuple(map(_as_tuples, nested)) if isinstance(nested, list) else nested


def _concrete(name: str, value: Any) -> np.ndarray:
    if any(isinstance(part, Tracer) for part in jax.tree.leaves(value)):
        raise TypeError(
            f"{name} must be known before tracing: it says what the groups are. What "
            "changes belongs in the strengths, which may be arrays."
        )
    return np.asarray(value)


def _check_scale(scale: Any, groups: Groups) -> None:
    shape = () if isinstance(scale, str) else np.shape(scale)
    if not _broadcasts(shape, groups.shape):
        raise ValueError(
            f"scale must broadcast to the groups, of shape {groups.shape}, got {shape}"
        )


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def check_per_group(name: str, strength: Any, groups: Groups) -> None:
    """Refuse a strength, of one leaf, that differs within a group."""
    shape = np.shape(strength)
    ndim, axes = groups.ndims[0], groups.axes[0]
    shape = (1,) * (ndim - len(shape)) + shape
    if any(length > 1 and i not in axes for i, length in enumerate(shape)):
        raise ValueError(
            f"{name} must be one number for each group, so an array of strengths must "
            f"have length 1 along all axes but {axes}, got shape {np.shape(strength)}"
        )
    if groups.labels is not None and is_concrete(strength) and np.size(strength) > 1:
        numbers = np.ravel(np.asarray(strength))
        labels = groups.labels[0]
        first = np.unique(labels, return_index=True)[1]
        if np.any(numbers[first][labels] != numbers):
            raise ValueError(f"{name} must be the same at all indices of one label")


def _check_shared(
    name: str, prefix: Any, indices: tuple[int, ...], tree: list[Leaf]
) -> None:
    """Refuse strengths that differ between leaves whose groups are joined."""
    needed = [i in indices for i in range(len(tree))]
    found = broadcast(entries_of(prefix), tree, name, needed, by_pattern=True)
    known = [np.ravel(found[i]) for i in indices if is_concrete(found[i])]
    if not all(np.array_equal(other, known[0]) for other in known):
        raise ValueError(f"{name} must be the same for leaves that share their groups")
