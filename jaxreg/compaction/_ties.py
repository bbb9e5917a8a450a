"""Which slices of arrays can only go together, primitive by primitive.

A *node* is an axis of a value. Operations tie the indices of nodes: what is added must have
the same indices, what is concatenated has them one after the other. An axis that a reshape
splits is the *product* of others. An index is *pinned* where nothing may be removed.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._masks import joined_dims
from jaxreg.compaction._primitives import (
    contraction,
    convolution,
    gather,
    partial_axes,
    window_axes,
)
from jaxreg.compaction._program import Op, Program, Value

Node = int
ALL = slice(None)


class Tie(NamedTuple):
    """Index `of_a[i]` of one node goes with index `of_b[i]` of another.

    Attributes:
        a: A node.
        b: Another.
        of_a: Which indices.
        of_b: Likewise.
        alone: For each of the two, whether its indices may go although the other's stay:
            for a product of which one factor is zero, the other is then picked from.
    """

    a: Node
    b: Node
    of_a: slice = ALL
    of_b: slice = ALL
    alone: tuple[bool, bool] = (False, False)


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A node whose indices are the combinations of those of other nodes, last fastest."""

    whole: Node
    factors: tuple[Node, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Pin:
    """A node of which nothing may go.

    Attributes:
        node: The node.
        reason: Why, in words.
        unless_unneeded: Whether a slice may go all the same if nothing depends on it;
            that it is zero does not suffice.
        unless_zero: Whether a slice may go if it is zero or not needed; that it is the
            same for all inputs does not suffice.
    """

    node: Node
    reason: str
    unless_unneeded: bool = False
    unless_zero: bool = False


@dataclasses.dataclass(eq=False)
class Ties:
    """The nodes of a program, and what holds between them.

    Attributes:
        sizes: The length of each node.
        axes: For each node, the value and its axis; `None` for an axis of no array.
        links: Ties and products, in the order of the program.
        pins: The pins.
        unknown: Names of primitives that there are no rules for.
        groups: For each convolution, the node of its groups.
    """

    sizes: list[int] = dataclasses.field(default_factory=list)
    axes: list[tuple[Value, int] | None] = dataclasses.field(default_factory=list)
    links: list[Tie | Product] = dataclasses.field(default_factory=list)
    pins: list[Pin] = dataclasses.field(default_factory=list)
    unknown: set[str] = dataclasses.field(default_factory=set)
    groups: dict[Op, Node] = dataclasses.field(default_factory=dict)
    nodes: dict[Value, list[Node]] = dataclasses.field(default_factory=dict)

    def node(self, value: Value, axis: int) -> Node:
        """The node of an axis."""
        if value not in self.nodes:
            self.nodes[value] = [
                self._new(n, (value, i)) for i, n in enumerate(value.shape)
            ]
        return self.nodes[value][axis]

    def _new(self, size: int, axis: tuple[Value, int] | None = None) -> Node:
        self.sizes.append(size)
        self.axes.append(axis)
        return len(self.sizes) - 1

    def tie(self, a: Node, b: Node, of_a: slice = ALL, of_b: slice = ALL) -> None:
        self.links.append(Tie(a, b, of_a, of_b))

    def join(self, parts: Sequence[Node], others: Sequence[Node]) -> None:
        """Say that two lists of axes hold the same entries, as a reshape does."""
        if len(parts) == len(others) == 1:
            self.tie(parts[0], others[0])
        elif len(parts) == 1:
            self.links.append(Product(parts[0], tuple(others)))
        elif len(others) == 1:
            self.links.append(Product(others[0], tuple(parts)))
        else:
            whole = self._new(math.prod(self.sizes[node] for node in parts))
            self.links.append(Product(whole, tuple(parts)))
            self.links.append(Product(whole, tuple(others)))

    def pin(self, value: Value, axes: Sequence[int], reason: str, **unless: bool) -> None:
        self.pins += [Pin(self.node(value, axis), reason, **unless) for axis in axes]

    def pin_all(self, values: Sequence[Value], reason: str, **unless: bool) -> None:
        for value in values:
            self.pin(value, range(value.ndim), reason, **unless)

    def same(self, a: Value, b: Value, but: Sequence[int] = ()) -> None:
        """Tie all axes of two values but some, and those of length 1 in one of them."""
        for axis in range(a.ndim):
            if axis not in but and a.shape[axis] == b.shape[axis]:
                self.tie(self.node(a, axis), self.node(b, axis))


def ties_of(program: Program, pinned_inputs: Sequence[bool] | None = None) -> Ties:
    """The ties of a program.

    Args:
        program: The program.
        pinned_inputs: For each of its inputs, whether all of it must stay; by default so.

    Returns:
        The ties. Results are pinned.
    """
    ties = Ties()
    inputs = [value for value in program.ins if value.depends]
    for index, value in enumerate(inputs):
        if pinned_inputs is None or pinned_inputs[index]:
            ties.pin_all([value], "an input has it")
    _add(program, ties)
    ties.pin_all(program.outs, "the result has it")
    for value in program.ins:  # also those that nothing reads
        for axis in range(value.ndim):
            ties.node(value, axis)
    return ties


def _add(program: Program, ties: Ties) -> None:
    for op in program.ops:
        if op.body is not None:
            _loop(op, op.body, ties)
        elif op.kind in RULES:
            RULES[op.kind](op, ties)
        elif op.kind in primitives.ELEMENTWISE:
            _elementwise(op, ties)
        else:
            ties.unknown.add(op.kind)
            ties.pin_all([*op.ins, *op.outs], f"{op.kind} reads it")


def _elementwise(op: Op, ties: Ties) -> None:
    for value in op.ins:
        if value.ndim:
            ties.same(value, op.outs[0])
            ties.pin(value, _stretched(value, op.outs[0]), "its length is 1")
    for value in op.outs[1:]:
        ties.same(value, op.outs[0])


def _stretched(value: Value, out: Value) -> list[int]:
    """The axes of length 1 that serve all indices of the result."""
    return [i for i, n in enumerate(value.shape) if n != out.shape[i]]


def _loop(op: Op, body: Program, ties: Ties) -> None:
    """The axes of a loop's operands are those of its body's, but for the steps'."""
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    n_xs = n_consts + n_carry
    _add(body, ties)
    for index, (outer, inner) in enumerate(zip(op.ins, body.ins, strict=True)):
        _across(ties, outer, inner, steps=index >= n_xs)
    for index, (outer, inner) in enumerate(zip(op.outs, body.outs, strict=True)):
        _across(ties, outer, inner, steps=index >= n_carry)
        if index < n_carry:
            ties.same(inner, body.ins[n_consts + index])
    # What a constant contributes is added outside of loops only.
    inner_values = {value: None for inner in body.every_op() for value in inner.outs}
    ties.pin_all([*body.ins, *body.outs, *inner_values], "a loop", unless_zero=True)


def _across(ties: Ties, outer: Value, inner: Value, *, steps: bool) -> None:
    if steps:
        ties.pin(outer, [0], "the steps of a loop")
    for axis in range(inner.ndim):
        ties.tie(ties.node(outer, axis + steps), ties.node(inner, axis))


def _broadcast_in_dim(op: Op, ties: Ties) -> None:
    (x, *_), (out,) = op.ins, op.outs
    for axis, target in enumerate(op.params["broadcast_dimensions"]):
        if x.shape[axis] == out.shape[target]:
            ties.tie(ties.node(x, axis), ties.node(out, target))
        else:
            ties.pin(x, [axis], "its length is 1")


def _reshape(op: Op, ties: Ties) -> None:
    (x, *_), (out,) = op.ins, op.outs
    pairs = joined_dims(x.shape, out.shape)
    if pairs is None or op.params.get("dimensions") is not None:
        ties.pin_all([x, out], "reshape reads it")
        return
    for left, right in pairs:
        ties.join([ties.node(x, i) for i in left], [ties.node(out, i) for i in right])
    for value, used in (
        (x, {i for left, _ in pairs for i in left}),
        (out, {i for _, right in pairs for i in right}),
    ):
        ties.pin(value, [i for i in range(value.ndim) if i not in used], "its length is 1")


def _transpose(op: Op, ties: Ties) -> None:
    for target, axis in enumerate(op.params["permutation"]):
        ties.tie(ties.node(op.ins[0], axis), ties.node(op.outs[0], target))


def _squeeze(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    gone = {i % x.ndim for i in op.params["dimensions"]}
    ties.pin(x, sorted(gone), "its length is 1")
    for target, axis in enumerate(i for i in range(x.ndim) if i not in gone):
        ties.tie(ties.node(x, axis), ties.node(out, target))


def _rev(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    for axis in range(x.ndim):
        turned = slice(None, None, -1) if axis in op.params["dimensions"] else ALL
        ties.tie(ties.node(x, axis), ties.node(out, axis), turned, ALL)


def _slice(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    strides = op.params["strides"] or (1,) * x.ndim
    limits = zip(
        op.params["start_indices"], op.params["limit_indices"], strides, strict=True
    )
    for axis, limit in enumerate(limits):
        ties.tie(ties.node(x, axis), ties.node(out, axis), slice(*limit), ALL)


def _split(op: Op, ties: Ties) -> None:
    _sections(op.ins[0], op.outs, op.params["axis"], ties)


def _concatenate(op: Op, ties: Ties) -> None:
    _sections(op.outs[0], op.ins, op.params["dimension"], ties)


def _sections(whole: Value, parts: Sequence[Value], along: int, ties: Ties) -> None:
    start = 0
    for part in parts:
        ties.same(part, whole, but=[along])
        stop = start + part.shape[along]
        ties.tie(ties.node(whole, along), ties.node(part, along), slice(start, stop), ALL)
        start = stop


def _pad(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    for axis, (low, high, inner) in enumerate(op.params["padding_config"]):
        if low < 0 or high < 0:
            ties.pin(x, [axis], "negative padding")
            ties.pin(out, [axis], "negative padding")
            continue
        stop = out.shape[axis] - high
        ties.tie(ties.node(x, axis), ties.node(out, axis), ALL, slice(low, stop, inner + 1))


def _iota(op: Op, ties: Ties) -> None:
    for axis in range(op.outs[0].ndim):
        ties.node(op.outs[0], axis)


def _reduce(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    axes = sorted(i % x.ndim for i in op.params["axes"])
    for target, axis in enumerate(i for i in range(x.ndim) if i not in axes):
        ties.tie(ties.node(x, axis), ties.node(out, target))
    if op.kind in primitives.SUMS:
        ties.pin(x, axes, f"{op.kind} reads it", unless_zero=True)
    else:
        ties.pin(x, axes, f"{op.kind} reads it", unless_unneeded=True)


def _numbered(op: Op, ties: Ties) -> None:
    """`argmax` and `argmin`, whose results are indices."""
    x, out = op.ins[0], op.outs[0]
    axes = op.params["axes"]
    ties.pin(x, axes, f"{op.kind} reads it")
    for target, axis in enumerate(i for i in range(x.ndim) if i not in axes):
        ties.tie(ties.node(x, axis), ties.node(out, target))


def _same_but(axes_of: Callable[[Op], Sequence[int]]) -> Callable[[Op, Ties], None]:
    """For primitives whose results have the axes of the operands, some of them pinned."""

    def rule(op: Op, ties: Ties) -> None:
        axes = axes_of(op)
        values = [value for value in (*op.ins, *op.outs) if value.ndim == op.ins[0].ndim]
        for value in values[1:]:
            ties.same(values[0], value, but=axes)
        for value in values:
            ties.pin(value, axes, f"{op.kind} reads it")

    return rule


def _dot_general(op: Op, ties: Ties) -> None:
    left, right, out, inner = contraction(op)
    x, y = op.ins
    for axis, name in enumerate(left):
        if name in right:
            a, b = ties.node(x, axis), ties.node(y, right.index(name))
            is_inner = name in inner
            alone = (is_inner and x.depends, is_inner and y.depends)
            ties.links.append(Tie(a, b, alone=alone))
    for target, name in enumerate(out):
        for value, names in ((x, left), (y, right)):
            if name in names:
                axis = names.index(name)
                ties.tie(ties.node(value, axis), ties.node(op.outs[0], target))
    # What a constant unit gives to others is computed once where parameters read it.
    if x.depends == y.depends:
        inner_axes = [i for i, name in enumerate(left) if name in inner]
        ties.pin(x, inner_axes, "dot_general reads it", unless_zero=True)


def _conv(op: Op, ties: Ties) -> None:
    if op.params["batch_group_count"] != 1:
        ties.pin_all([*op.ins, *op.outs], f"{op.kind} reads it")
        return
    conv = convolution(op)
    x, k, out = *op.ins, op.outs[0]
    ties.tie(ties.node(x, conv.lhs[0]), ties.node(out, conv.out[0]))
    for value, axes in ((x, conv.lhs[2:]), (k, conv.rhs[2:]), (out, conv.out[2:])):
        ties.pin(value, axes, "a convolution moves over it")
    features, inner = ties.node(x, conv.lhs[1]), ties.node(k, conv.rhs[1])
    outputs, result = ties.node(k, conv.rhs[0]), ties.node(out, conv.out[1])
    ties.tie(outputs, result)
    if conv.groups == 1:
        ties.links.append(Tie(features, inner, alone=(x.depends, k.depends)))
    else:
        groups = ties.groups[op] = ties._new(conv.groups)
        ties.links.append(Product(features, (groups, inner)))
        each = ties._new(k.shape[conv.rhs[0]] // conv.groups)
        ties.links.append(Product(outputs, (groups, each)))
    if conv.groups > 1 or conv.is_padded or x.depends == k.depends:
        reason = "a padded or grouped convolution reads it"
        ties.pin(x, [conv.lhs[1]], reason, unless_zero=True)


def _gather(op: Op, ties: Ties) -> None:
    axes = gather(op)
    x, indices = op.ins
    for axis, target in axes.whole:
        ties.tie(ties.node(x, axis), ties.node(op.outs[0], target))
    ties.pin(x, axes.picked, "indices pick from it")
    ties.pin(indices, [indices.ndim - 1], "they are indices")
    for axis, target in axes.batch:
        ties.tie(ties.node(indices, axis), ties.node(op.outs[0], target))
    tied = {target for _, target in (*axes.whole, *axes.batch)}
    others = [i for i in range(op.outs[0].ndim) if i not in tied]
    ties.pin(op.outs[0], others, "indices pick from it")


def _update(op: Op, ties: Ties) -> None:
    x, new = op.ins[:2]
    axes = [i for i, n in enumerate(new.shape) if n != x.shape[i]]
    for value in (new, op.outs[0]):
        ties.same(x, value, but=axes)
    for value in (x, new, op.outs[0]):
        ties.pin(value, axes, "an update moves over it")


def _cumulative(op: Op) -> list[int]:
    return [op.params["axis"]]


def _last(op: Op) -> list[int]:
    return [op.ins[0].ndim - 1]


RULES: Mapping[str, Callable[[Op, Ties], None]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "iota": _iota,
    "dot_general": _dot_general,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "dynamic_slice": _same_but(partial_axes),
    "dynamic_update_slice": _update,
    "top_k": _same_but(_last),
    "sort": _same_but(lambda op: [op.params["dimension"]]),
    **dict.fromkeys(primitives.REDUCTIONS, _reduce),
    **dict.fromkeys(primitives.ARG_REDUCTIONS, _numbered),
    **dict.fromkeys(primitives.CUMULATIVE, _same_but(_cumulative)),
    **dict.fromkeys(primitives.WINDOWS - {"reduce_window"}, _same_but(window_axes)),
}


def components(ties: Ties, mask: Mapping[Node, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Which indices of nodes can only go together, among those that can go at all.

    Args:
        ties: The ties.
        mask: For each node, whether an index can go.

    Returns:
        Where each node begins in a list of all indices; and for each of these the number
        of its class.
    """
    starts = np.cumsum([0, *ties.sizes])
    ids = [np.arange(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    edges: list[tuple[np.ndarray, np.ndarray]] = []
    for link in ties.links:
        if isinstance(link, Tie):
            keep = mask[link.a][link.of_a] & mask[link.b][link.of_b]
            edges.append((ids[link.a][link.of_a][keep], ids[link.b][link.of_b][keep]))
        else:
            edges += _blocks(ties, link, mask, ids)
    labels = np.arange(starts[-1])
    if edges:
        a = np.concatenate([a for a, _ in edges])
        b = np.concatenate([b for _, b in edges])
        while True:
            low = np.minimum(labels[a], labels[b])
            new = labels.copy()
            np.minimum.at(new, labels[a], low)
            np.minimum.at(new, labels[b], low)
            new = new[new]
            if np.array_equal(new, labels):
                break
            labels = new
    return starts, labels


def _blocks(
    ties: Ties, link: Product, mask: Mapping[Node, Any], ids: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tie the first factor that can go, a head say, to all of its indices in the whole."""
    shape = [ties.sizes[node] for node in link.factors]
    whole = ids[link.whole].reshape(shape)
    for position, node in enumerate(link.factors):
        if mask[node].any():
            index = [1] * len(shape)
            index[position] = -1
            own = np.broadcast_to(ids[node].reshape(index), shape)
            keep = np.broadcast_to(mask[node].reshape(index), shape)
            return [(own[keep], whole[keep])]
    return []


def outer_or(parts: Sequence[np.ndarray]) -> np.ndarray:
    """For each combination of indices, whether one of them goes."""
    grids = [
        part.reshape([-1 if i == j else 1 for j in range(len(parts))])
        for i, part in enumerate(parts)
    ]
    return functools.reduce(np.logical_or, grids)
