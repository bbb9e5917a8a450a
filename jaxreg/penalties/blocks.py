"""Blocks: the leaves that a formula is applied to at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import ready
from jaxreg._checks import Scalar
from jaxreg._dtypes import raise_precision
from jaxreg._sharding import greatest, like, total, whole
from jaxreg._tree import Leaf, Params, values_at
from jaxreg.penalties._combined import combined

if TYPE_CHECKING:
    from jaxreg.penalties.base import Penalty


class Block(NamedTuple):
    """Leaves that a formula is applied to at once, and the penalty that has it."""

    places: tuple[int, ...]
    term: Any

    def arrays(self, tree: list[Leaf]) -> Any:
        """The array, or the tuple of arrays, in at least float32."""
        values = [raise_precision(tree[place].value) for place in self.places]
        return joined([self._whole(x, x.ndim) for x in values])

    def value(self, tree: list[Leaf]) -> Array:
        """The value of `term`, on all devices together."""
        return total(self.term.array_value(self.arrays(tree)), self.term.summed_over())

    def critical_scale(self, tree: list[Leaf]) -> Array:
        """That of `term`, on all devices together."""
        scale = self.term.array_critical_scale(self.arrays(tree))
        return greatest(scale, self.term.summed_over())

    def prox(self, tree: list[Leaf], step: Scalar, metrics: list[Any]) -> list[Array]:
        """The prox of `term`, in the dtypes of the leaves; `metrics` has one for each."""
        values = [jnp.asarray(tree[place].value) for place in self.places]
        if isinstance(step, float | int):
            step = ready(step, values[0])
        else:
            step = jnp.asarray(step, raise_precision(values[0]).dtype)
        own = [
            self._whole(metrics[place], value.ndim)
            for place, value in zip(self.places, values, strict=True)
        ]
        first, metric = own[0], joined(own)
        if np.ndim(first) == 0 and all(other is first for other in own):
            step, metric = step / first, None  # A uniform metric is a shorter step.
        self.term.check_prox(in_metric=metric is not None)
        moved = jax.tree.leaves(self.term.array_prox(self.arrays(tree), step, metric))
        return [
            like(z.astype(value.dtype), value)
            for z, value in zip(moved, values, strict=True)
        ]

    def _whole(self, x: Any, ndim: int) -> Any:
        """What broadcasts to an array, whole along the axes that the formula needs."""
        axes = self.term.whole_axes(ndim) if np.ndim(x) else ()
        return whole(x, [axis - ndim for axis in axes]) if axes else x


def moved_by(
    blocks: "list[Block]", tree: list[Leaf], step: Scalar, metric: Params | None
) -> list[Any]:
    """The value of each leaf and hole of `tree` after the prox of the blocks.

    Args:
        blocks: What moves, as `Penalty.blocks` finds it.
        tree: The leaves at the point x.
        step: The proximal step.
        metric: A scalar or a pytree with an array for every leaf in a block; `None` for
            ones.

    Returns:
        For each of `tree` the prox, or the value as it is outside of all blocks.
    """
    blocks = disjoint(blocks)
    metrics = values_at(
        1.0 if metric is None else metric, tree, picked(blocks, tree), "The metric"
    )
    moved = [leaf.value for leaf in tree]
    for block in blocks:
        reached = block.prox(tree, step, metrics)
        for place, z in zip(block.places, reached, strict=True):
            moved[place] = z
    return moved


def joined(values: list[Any]) -> Any:
    """What belongs to a block: for one leaf its value, for several a tuple."""
    return tuple(values) if len(values) > 1 else values[0]


def picked(blocks: list[Block], tree: list[Leaf]) -> list[bool]:
    """For each of `tree`, whether it is in one of the blocks."""
    places = {place for block in blocks for place in block.places}
    return [place in places for place in range(len(tree))]


def disjoint(blocks: list[Block]) -> list[Block]:
    """Blocks of which no two have a leaf in common, which a prox needs.

    Terms that meet on a leaf become one, where the prox of their sum is known.
    """
    meetings: list[list[Block]] = []
    at: dict[int, list[Block]] = {}  # The meeting that each leaf belongs to.
    for block in sorted(blocks, key=lambda block: -len(block.places)):
        meeting = next((at[place] for place in block.places if place in at), None)
        if meeting is None:
            meetings.append(meeting := [])
            at |= dict.fromkeys(block.places, meeting)
        meeting.append(block)
    apart = [_as_one(meeting) if meeting[1:] else meeting[0] for meeting in meetings]
    return sorted(apart, key=lambda block: block.places)


def _as_one(blocks: list[Block]) -> Block:
    """One block of those that meet on the leaves of the first, the largest."""
    places = blocks[0].places
    is_covered = all(set(block.places) <= set(places) for block in blocks)
    term = combined(blocks) if is_covered else None
    if term is None:
        refuse_overlap([block.term for block in blocks])
    return Block(places, term)


# Sums whose prox is that of one class.
_COMBINED = {
    frozenset({"L1", "GroupLasso"}): "SparseGroupLasso(l1, group)",
    frozenset({"L1", "TotalVariation"}): "FusedLasso(l1, tv)",
}


def refuse_overlap(terms: "Sequence[Penalty]") -> NoReturn:
    """Refuse the prox of a sum on one leaf; where one class is that sum, name it."""
    kinds = [type(term).__name__ for term in terms]
    combined = _COMBINED.get(frozenset(kinds))
    advice = f"Use {combined}" if combined else "Give them disjoint masks"
    raise ValueError(
        f"The terms of a sum must not meet on the same leaf for a prox or a critical "
        f"strength, but {' and '.join(kinds)} do: the prox of a sum is not the sum of "
        f"the proxes. {advice}. (L2 may meet any one penalty, and an interval such as "
        "NonNegative any one convex penalty of single entries.)"
    )
