"""Which slices of arrays can only go together, primitive by primitive.

A *node* is an axis of a value. Operations tie the indices of nodes: what is added must have
the same indices, what is concatenated has them one after the other. An axis that a reshape
splits is the *product* of others. An index is *pinned* where nothing may be removed.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreg.compaction._program import Op, Value

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
            self.nodes[value] = [self.new(n, (value, i)) for i, n in enumerate(value.shape)]
        return self.nodes[value][axis]

    def new(self, size: int, axis: tuple[Value, int] | None = None) -> Node:
        """A node that is not there yet."""
        self.sizes.append(size)
        self.axes.append(axis)
        return len(self.sizes) - 1

    def tie(self, a: Node, b: Node, of_a: slice = ALL, of_b: slice = ALL) -> None:
        """Tie indices of two nodes."""
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
            whole = self.new(math.prod(self.sizes[node] for node in parts))
            self.links.append(Product(whole, tuple(parts)))
            self.links.append(Product(whole, tuple(others)))

    def pin(self, value: Value, axes: Sequence[int], reason: str, **unless: bool) -> None:
        """Pin some axes of a value."""
        self.pins += [Pin(self.node(value, axis), reason, **unless) for axis in axes]

    def pin_all(self, values: Sequence[Value], reason: str, **unless: bool) -> None:
        """Pin all axes of values."""
        for value in values:
            self.pin(value, range(value.ndim), reason, **unless)

    def same(self, a: Value, b: Value, but: Sequence[int] = ()) -> None:
        """Tie all axes of two values but some, and those of length 1 in one of them."""
        for axis in range(a.ndim):
            if axis not in but and a.shape[axis] == b.shape[axis]:
                self.tie(self.node(a, axis), self.node(b, axis))


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
