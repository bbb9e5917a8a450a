"""A penalty bound to a tree: which formula applies to which leaves.

Masks, prefixes of strengths, groups and the terms of sums are resolved from names and
shapes, once, by `Penalty.bind`. Values, proxes and critical strengths are then taken of
blocks: leaves that a formula is applied to jointly.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._arithmetic import ready
from jaxreg._checks import Scalar
from jaxreg._dtypes import raise_precision
from jaxreg._prefixes import values_at
from jaxreg._scheduling import after, finished
from jaxreg._sharding import greatest, like, total, whole
from jaxreg._tree import Leaf, Params, assembled, check_distinct
from jaxreg.penalties._combined import combined

_AT_ONCE = 2**20
"""So many numbers are computed side by side: enough for all cores, little memory."""

Start = dict[int, tuple[Any, Any]]
"""The value and the metric of leaves, by their indices."""


class Block(NamedTuple):
    """Leaves that a formula is applied to jointly, and the penalty that has it.

    Attributes:
        indices: Of the leaves, in `list(walk(params))`.
        term: A penalty with the strengths of these leaves, or several combined.
    """

    indices: tuple[int, ...]
    term: Any

    def value(self, values: Sequence[Any]) -> Array:
        """R, summed over devices; `values` has one entry for each leaf of the tree."""
        return total(self.term.array_value(self.arrays(values)), self.term.summed_over())

    def critical_scale(self, gradients: Sequence[Any]) -> Array:
        """The largest critical scale over devices."""
        scale = self.term.array_critical_scale(self.arrays(gradients))
        return greatest(scale, self.term.summed_over())

    def prox(
        self, values: Mapping[int, Any], step: Scalar, metrics: Mapping[int, Any]
    ) -> list[Array]:
        """The prox at each of the block's leaves, in their dtypes."""
        own = [jnp.asarray(values[i]) for i in self.indices]
        if isinstance(step, float | int):
            step = ready(step, own[0])
        else:
            step = jnp.asarray(step, raise_precision(own[0]).dtype)
        scales = [
            self._whole(metrics[i], x.ndim) for i, x in zip(self.indices, own, strict=True)
        ]
        first, metric = scales[0], joined(scales)
        if np.ndim(first) == 0 and all(other is first for other in scales):
            step, metric = step / first, None  # A uniform metric is a shorter step.
        self.term.check_prox(in_metric=metric is not None)
        moved = self.term.array_prox(self.arrays(values), step, metric)
        narrowed = [
            z.astype(x.dtype) for z, x in zip(jax.tree.leaves(moved), own, strict=True)
        ]
        if not any(self.term.whole_axes(x.ndim) for x in own):
            return narrowed
        return [like(z, x) for z, x in zip(narrowed, own, strict=True)]

    def arrays(self, values: Sequence[Any] | Mapping[int, Any]) -> Any:
        """The array, or the tuple of arrays, in at least float32."""
        raised = [raise_precision(values[i]) for i in self.indices]
        return joined([self._whole(x, x.ndim) for x in raised])

    def _whole(self, x: Any, ndim: int) -> Any:
        """What broadcasts to an array, whole along the axes that the formula needs."""
        axes = self.term.whole_axes(ndim) if np.ndim(x) else ()
        return whole(x, [axis - ndim for axis in axes]) if axes else x


@dataclasses.dataclass(frozen=True, eq=False)
class BoundPenalty:
    """A penalty on certain parameters, for which everything about names is resolved.

    Attributes:
        penalty: The penalty.
        params: The parameters.
        tree: `list(walk(params))`: lists about leaves have an entry for each of these.
        blocks: What the formulas are applied to.
    """

    penalty: Any
    params: Params
    tree: list[Leaf]
    blocks: list[Block]

    @functools.cached_property
    def terms(self) -> list[Any]:
        """The penalty of each leaf by itself, with its strengths; `None` if it has none."""
        return self.penalty.at_leaves(self.tree, self.params)

    @functools.cached_property
    def separate(self) -> list[Block]:
        """Blocks of which no two have a leaf in common, which a prox needs.

        Raises:
            ValueError: If terms meet on a leaf whose sum has no known prox.
        """
        return disjoint(self.blocks)

    @functools.cached_property
    def is_regularized(self) -> list[bool]:
        """Whether each leaf is in a block."""
        indices = {i for block in self.blocks for i in block.indices}
        return [i in indices for i in range(len(self.tree))]

    def value(self) -> Array:
        """R at the parameters."""
        values = [leaf.value for leaf in self.tree]
        terms = [block.value(values) for block in self.blocks]
        return sum(terms[1:], start=terms[0]) if terms else jnp.zeros(())

    def critical_scale(self) -> Array:
        """The smallest factor on R for which 0 is a solution, if gradients are bound."""
        values = [leaf.value for leaf in self.tree]
        scales = [block.critical_scale(values) for block in self.separate]
        return jnp.max(jnp.stack(scales)) if scales else jnp.zeros(())

    def prox(
        self, step: Scalar, metric: Params | None = None, at: Sequence[Any] | None = None
    ) -> list[Any]:
        """The prox at each leaf; leaves in no block keep their values.

        Args:
            step: The proximal step.
            metric: A scalar, or a pytree with an array for every leaf in a block; `None`
                for ones.
            at: The values to start from, one for each leaf; by default the parameters.

        Returns:
            A value for each leaf.
        """
        values = [leaf.value for leaf in self.tree] if at is None else list(at)
        metrics = self.metrics(1.0 if metric is None else metric)

        def start(indices: Sequence[int], done: Array | None) -> Start:
            return {i: after(done, (values[i], metrics[i])) for i in indices}

        landed = self.prox_in_turn(step, start)
        return [landed.get(i, value) for i, value in enumerate(values)]

    def prox_in_turn(
        self,
        step: Scalar,
        start: Callable[[Sequence[int], Array | None], Start],
        *,
        all_in_turn: bool = False,
    ) -> dict[int, Array]:
        """The prox at the leaves in blocks, where leaves wait for others before them.

        Args:
            step: The proximal step.
            start: Gives the value and the metric of some leaves, by their indices, that are
                computed after a number is known; `None`: at once.
            all_in_turn: Whether a prox that works entry by entry waits too.

        Returns:
            A value for each leaf in a block, by its index.
        """
        check_distinct(self.tree)
        landed: dict[int, Array] = {}
        done = None
        for blocks in self._turns(all_in_turn):
            found = start([i for block in blocks for i in block.indices], done)
            values, metrics = ({i: own[k] for i, own in found.items()} for k in (0, 1))
            for block in blocks:
                new = block.prox(values, step, metrics)
                landed |= zip(block.indices, new, strict=True)
            done = finished([landed[i] for block in blocks for i in block.indices])
        return landed

    def _turns(self, all_in_turn: bool) -> list[list[Block]]:
        """Blocks that are computed at once, in order.

        A prox that works entry by entry needs nothing for a moment only. The others wait
        for each other, some numbers at a time; of those by entry half as many, which stay
        in the cache.
        """
        turns: list[list[Block]] = [[]]
        size = _AT_ONCE
        for block in self.separate:
            is_by_entry = block.term.is_by_entry()
            if is_by_entry and not all_in_turn:
                turns[0].append(block)
                continue
            if size >= (_AT_ONCE // 2 if is_by_entry else _AT_ONCE):
                turns.append([])
                size = 0
            turns[-1].append(block)
            size += sum(np.size(self.tree[i].value) for i in block.indices)
        return [blocks for blocks in turns if blocks]

    def metrics(self, metric: Params) -> list[Any]:
        """The metric of each leaf in a block; `None` for the others."""
        return values_at(metric, self.tree, self.is_regularized, "The metric")

    def check_prox(self, metric: Callable[[], Params] | None = None) -> None:
        """Refuse a penalty whose prox is not known here, or not in a metric.

        The prox is traced, which runs all checks without computing anything.
        """

        def trial() -> None:  # Returns nothing, since leaves may be no arrays.
            self.prox(1.0, None if metric is None else metric())

        jax.eval_shape(trial)

    def only_regularized(self, values: Params) -> Params:
        """A pytree like the parameters, with `MaskedNode` at leaves in no block."""
        return jax.tree.map(
            lambda keep, value: value if keep else optax.MaskedNode(),
            assembled(self.tree, self.params, self.is_regularized),
            values,
            is_leaf=lambda keep: keep is None,
        )


def joined(values: list[Any]) -> Any:
    """The value itself for one leaf, a tuple for several."""
    return tuple(values) if len(values) > 1 else values[0]


def disjoint(blocks: list[Block]) -> list[Block]:
    """Blocks of which no two have a leaf in common, which a prox needs.

    Terms that meet on a leaf become one, where the prox of their sum is known.
    """
    meetings: list[list[Block]] = []
    at: dict[int, list[Block]] = {}  # The meeting that each leaf belongs to.
    for block in sorted(blocks, key=lambda block: -len(block.indices)):
        meeting = next((at[i] for i in block.indices if i in at), None)
        if meeting is None:
            meetings.append(meeting := [])
            at |= dict.fromkeys(block.indices, meeting)
        meeting.append(block)
    apart = [_as_one(meeting) if meeting[1:] else meeting[0] for meeting in meetings]
    return sorted(apart, key=lambda block: block.indices)


def _as_one(blocks: list[Block]) -> Block:
    """One block of those that meet on the leaves of the first, the largest."""
    indices = blocks[0].indices
    is_covered = all(set(block.indices) <= set(indices) for block in blocks)
    term = combined(blocks) if is_covered else None
    if term is None:
        refuse_overlap([block.term for block in blocks])
    return Block(indices, term)


# Sums whose prox is that of one class.
_COMBINED = {
    frozenset({"L1", "GroupLasso"}): "SparseGroupLasso(l1, group)",
    frozenset({"L1", "TotalVariation"}): "FusedLasso(l1, tv)",
}


def refuse_overlap(terms: Sequence[Any]) -> NoReturn:
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
