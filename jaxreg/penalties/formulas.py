"""What the author of a penalty writes about one array, and how it meets a pytree."""

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
from jax import Array

from jaxreg._checks import CalledOnParams, Scalar
from jaxreg._prefixes import values_at
from jaxreg._sharding import MeshAxes, Split, along, as_specs, splits_of
from jaxreg._tree import Leaf, Params, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights
from jaxreg.penalties.bound import Block, BoundPenalty
from jaxreg.penalties.fields import Record, check_fields, static


class Formulas(Record, CalledOnParams, abc.ABC):
    """The formulas of a penalty about one array, and the leaves that they are for.

    `bind` applies them to a pytree: it chooses leaves by the mask and gives each a copy
    of the penalty with the strengths of that leaf.
    """

    is_convex: ClassVar[bool] = True
    """Whether R is convex; its prox is then firmly nonexpansive."""
    is_finite: ClassVar[bool] = True
    """Whether R(w) < ∞ for all w; a constraint is not."""
    is_norm: ClassVar[bool] = False
    """Whether R(c·w) = c·R(w) > 0 for all c > 0 and w ≠ 0, with positive strengths."""
    takes_metric: ClassVar[bool] = True
    """Whether the prox is known in every diagonal metric."""
    has_prox: ClassVar[bool] = True
    """Whether the prox is known at all; otherwise it is a term of the loss only."""
    is_zero_at_zero: ClassVar[bool] = True
    """Whether R(0) = 0; not so for what pulls elsewhere."""
    min_ndim: ClassVar[int] = 0
    """The fewest axes of an array that it is for."""

    always_shown: ClassVar[frozenset[str]] = frozenset()
    """Options that the repr shows at their defaults too."""

    mask: MaskLike = static(default=weights, kw_only=True)
    specs: Any = static(default=None, kw_only=True)

    # What the author of a penalty writes, about one array in at least float32. Strengths
    # in `self` are already those of the leaf: scalars, or arrays that broadcast to it.

    @abc.abstractmethod
    def array_value(self, x: Array) -> Array:
        """R(x), a scalar."""

    @abc.abstractmethod
    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        """argmin_z  step·R(z) + ½·Σ dᵢ(zᵢ − xᵢ)², with d the metric (`None`: ones)."""

    @abc.abstractmethod
    def array_critical_scale(self, gradient: Array) -> Array:
        """The smallest c ≥ 0 for which z = 0 minimises ⟨gradient, z⟩ + c·R(z)."""

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        """The axes of an array that a device must have whole, for the formulas to be right.

        By default all. A sum over entries has none.
        """
        return tuple(range(ndim))

    @property
    def split(self) -> Split | None:
        """How the leaf is split between devices, for the penalty of a leaf."""
        return self.specs

    def summed_over(self) -> MeshAxes:
        """The mesh axes over whose devices values of `array_value` add up."""
        return along(self.split)

    def array_norms(self, x: Array) -> dict[str, Any]:
        """What `adaptive` divides each strength by: |xᵢ|, or ‖x_g‖₂ of its group."""
        raise TypeError(
            f"{type(self).__name__} has no strengths that adapt to a first fit: those of "
            "L1, NonNegativeL1, ElasticNet, GroupLasso and SparseGroupLasso do."
        )

    # How the terms of a sum that meet on a leaf combine to one prox.

    def as_square(self) -> tuple[Any, Any] | None:
        """λ and r, if R(w) = λ·Σ(w − r)²; of the penalty of a leaf."""
        return None

    def as_interval(self) -> tuple[Any, Any] | None:
        """The bounds, if R is an interval of every entry; of the penalty of a leaf."""
        return None

    def is_by_entry(self) -> bool:
        """Whether R is a sum over single entries, and its prox one of each by itself."""
        return False

    def is_convex_by_entry(self) -> bool:
        """Whether R is a sum of convex functions of single entries."""
        return False

    def check_prox(self, *, in_metric: bool) -> None:
        """Refuse a prox that is not known, in a diagonal metric or in none.

        Args:
            in_metric: Whether the metric is diagonal and not uniform.

        Raises:
            ValueError: If the prox is not known.
        """
        if not self.has_prox:
            raise ValueError(
                f"{type(self).__name__} has no prox in closed form. Add it to the loss: "
                "loss + penalty(params)."
            )
        if in_metric and not self.takes_metric:
            raise ValueError(
                f"{type(self).__name__} has no closed prox in a diagonal metric, such as "
                "that of prox_adam. Use it with prox_sgd, whose metric is uniform, or as "
                "a term of the loss: loss + penalty(params)."
            )

    # How formulas meet a pytree. Subclasses check leaves in `at_leaves`, join in `blocks`.

    def bind(self, params: Params) -> BoundPenalty:
        """The penalty on certain parameters, with all that names decide resolved.

        Raises:
            TypeError: If `params` are no parameters, or a chosen leaf is complex.
            ValueError: If the mask chooses nothing, or strengths do not fit.
        """
        tree = list(walk(params))
        return BoundPenalty(self, params, tree, self.blocks(tree, params))

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        """The penalty of each leaf of `tree = list(walk(params))`: its own strengths.

        `None` for the leaves that are not chosen.
        """
        mask: Any = self.mask  # A `Mask`, since `__post_init__`.
        is_chosen = chosen(mask, tree, params)
        for leaf, needed in zip(tree, is_chosen, strict=True):
            if needed and np.ndim(leaf.value) < self.min_ndim:
                raise ValueError(
                    f"{type(self).__name__} is for leaves with at least {self.min_ndim} "
                    f"axes, but {leaf.quoted} has shape {np.shape(leaf.value)}. Choose "
                    "leaves by a mask: mask=jaxreg.weights & jaxreg.matrices."
                )
        columns = [
            values_at(
                getattr(self, name),
                tree,
                is_chosen,
                f"{type(self).__name__}.{name}",
                "(For a path of strengths, `jax.vmap` over the penalty.)",
                by_pattern=True,
            )
            for name in self.traced
        ]
        splits = [None] * len(tree) if self.specs is None else self._splits(tree, is_chosen)
        return [
            self._with(
                mask=weights, specs=split, **dict(zip(self.traced, row, strict=True))
            )
            if needed
            else None
            for needed, split, *row in zip(is_chosen, splits, *columns, strict=True)
        ]

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        """What the formulas are applied to: each chosen leaf by itself.

        A penalty that joins leaves gives blocks of several; its formulas then see a
        tuple of arrays in the place of one.
        """
        return [
            Block((index,), term)
            for index, term in enumerate(self.at_leaves(tree, params))
            if term is not None
        ]

    def _splits(self, tree: list[Leaf], is_chosen: list[bool]) -> list[Split | None]:
        """How each leaf is split; refuses parts of what the formulas need whole."""
        splits = splits_of(self.specs, tree)
        for leaf, split, needed in zip(tree, splits, is_chosen, strict=True):
            axes = self.whole_axes(np.ndim(leaf.value))
            if needed and split and (names := along(split, axes)):
                raise ValueError(
                    f"{type(self).__name__} needs the axes {axes} of "
                    f"{leaf.described} whole, but by its specs the devices along "
                    f"{', '.join(names)} have a part each. Gather it first "
                    "(jax.lax.all_gather), choose other leaves by the mask, or use a "
                    "jitted function in place of shard_map: JAX then gathers."
                )
        return splits

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", as_mask(self.mask))
        object.__setattr__(self, "specs", as_specs(self.specs))
        check_fields(self)

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        # Options come last, the mask after all others; at their defaults they are not said.
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in sorted(fields, key=lambda f: (f.kw_only, f.name == "mask"))
            if not field.kw_only
            or field.name in self.always_shown
            or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
