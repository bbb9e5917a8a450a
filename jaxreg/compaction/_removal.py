"""Which slices go: the most that ties and pins allow, of those that are dead."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxreg.compaction._masks import all_but, along_axis
from jaxreg.compaction._needed import Uses
from jaxreg.compaction._ties import Node, Pin, Product, Tie, Ties, outer_or

Removed = dict[Node, np.ndarray]
"""For each node, whether an index goes."""

IN_USE = "in use"


class Search:
    """The largest set of indices that can go together.

    Attributes:
        removed: For each node, whether an index can go.
        why: For each node and index that cannot, the number of the reason.
        reasons: The reasons.
    """

    def __init__(
        self, ties: Ties, uses: Uses | None, kept: Mapping[Node, np.ndarray] | None = None
    ) -> None:
        """Begin with all that is dead by itself, and apply ties until nothing changes.

        Args:
            ties: The ties.
            uses: What is live; `None` if any slice may become dead.
            kept: For some nodes, indices that must stay.
        """
        self.ties = ties
        self.removed: Removed = {}
        self.why: dict[Node, np.ndarray] = {}
        self.reasons = ["", IN_USE]
        for node, size in enumerate(ties.sizes):
            self.removed[node] = np.ones(size, bool)
            self.why[node] = np.zeros(size, np.int32)
            place = ties.axes[node]
            if uses is not None and place is not None:
                self._keep(node, self._along(uses.varying, node), 1)
        for node, stays in (kept or {}).items():
            self._keep(node, stays, 1)
        for pin in ties.pins:
            self._pin(pin, uses)
        self._settle()

    def _along(self, masks: Mapping[Any, np.ndarray], node: Node) -> np.ndarray:
        value, axis = self.ties.axes[node] or (None, 0)
        if value not in masks:
            return np.zeros(self.ties.sizes[node], bool)
        return along_axis(masks[value], axis, self.ties.sizes[node])

    def _pin(self, pin: Pin, uses: Uses | None) -> None:
        if uses is None:
            # With no numbers known, any slice may become zero, but not unneeded.
            kept = np.full(self.ties.sizes[pin.node], not pin.unless_zero)
        elif pin.unless_zero:
            kept = self._along(uses.live, pin.node)
        elif pin.unless_unneeded:
            kept = self._along(uses.needed, pin.node)
        else:
            kept = np.ones(self.ties.sizes[pin.node], bool)
        if pin.reason not in self.reasons:
            self.reasons.append(pin.reason)
        self._keep(pin.node, kept, self.reasons.index(pin.reason))

    def _keep(self, node: Node, kept: np.ndarray, reason: Any) -> bool:
        new = self.removed[node] & kept
        if not new.any():
            return False
        self.why[node] = np.where(new, reason, self.why[node])
        self.removed[node] = self.removed[node] & ~kept
        return True

    def _settle(self) -> None:
        links = self.ties.links
        while True:  # It ends: each round but the last keeps more indices.
            changed = [self._apply(link) for link in links]
            changed += [self._apply(link) for link in reversed(links)]
            if not any(changed):
                return

    def _apply(self, link: Tie | Product) -> bool:
        return self._tie(link) if isinstance(link, Tie) else self._product(link)

    def _tie(self, link: Tie) -> bool:
        a, b = self.removed[link.a][link.of_a], self.removed[link.b][link.of_b]
        if np.array_equal(a, b):
            return False
        changed = False
        if not link.alone[0]:
            changed |= self._keep_at(link.a, link.of_a, ~b, self.why[link.b][link.of_b])
        if not link.alone[1]:
            changed |= self._keep_at(link.b, link.of_b, ~a, self.why[link.a][link.of_a])
        return changed

    def _keep_at(self, node: Node, where: slice, kept: np.ndarray, why: Any) -> bool:
        full = np.zeros(self.ties.sizes[node], bool)
        reasons = np.zeros(self.ties.sizes[node], np.int32)
        full[where], reasons[where] = kept, why
        return self._keep(node, full, reasons)

    def _product(self, link: Product) -> bool:
        shape = [self.ties.sizes[node] for node in link.factors]
        whole = self.removed[link.whole].reshape(shape)
        why = self.why[link.whole].reshape(shape)
        changed = False
        for axis, node in enumerate(link.factors):
            others = tuple(i for i in range(len(shape)) if i != axis)
            changed |= self._keep(node, ~all_but(whole, axis), why.max(axis=others))
        union = outer_or([self.removed[node] for node in link.factors])
        if np.array_equal(union, whole):
            return changed
        causes = [
            self.why[node].reshape([-1 if i == j else 1 for j in range(len(shape))])
            for i, node in enumerate(link.factors)
        ]
        cause = np.broadcast_to(np.maximum.reduce(np.broadcast_arrays(*causes)), shape)
        changed |= self._keep(link.whole, ~union.ravel(), cause.ravel())
        return changed


class StructureError(ValueError):
    """What is to be removed does not fit the function."""


Choices = dict[int, int]
"""For products of which all goes, by their number: the factor of which all goes."""


def closure(
    ties: Ties,
    seeds: Mapping[Node, np.ndarray],
    allowed: Removed | None = None,
    choices: Mapping[int, int] | None = None,
) -> tuple[Removed, Choices]:
    """All that goes where some slices of the parameters go.

    Args:
        ties: The ties.
        seeds: For each axis of the arguments, the indices that go.
        allowed: For each node, which indices may go; by default all that are not pinned.
        choices: What was chosen before, for the same function.

    Returns:
        For each node, which indices go; and which factors were chosen.

    Raises:
        StructureError: If something goes that may not.
    """
    removed = {node: np.zeros(size, bool) for node, size in enumerate(ties.sizes)}
    for node, gone in seeds.items():
        removed[node] = gone.copy()
    return _closed(ties, seeds, removed, allowed, choices or {}, {})


def _closed(
    ties: Ties,
    seeds: Mapping[Node, np.ndarray],
    removed: Removed,
    allowed: Removed | None,
    wanted: Mapping[int, int],
    chosen: Choices,
) -> tuple[Removed, Choices]:
    links = ties.links
    while True:  # It ends: each round but the last removes more indices.
        changed = [_spread(link, removed, ties) for link in (*links, *reversed(links))]
        if not any(changed):
            break
    _check(ties, seeds, removed, allowed)
    open_product = next(_undecided(ties, removed), None)
    if open_product is None:
        return removed, chosen
    number, factors = open_product
    order = list(range(len(factors)))[::-1]
    order.sort(key=lambda i: wanted.get(number) != i)
    # The recursion ends: each level empties one more factor.
    last = StructureError("nothing to choose from")
    for position in order:
        trial = {node: gone.copy() for node, gone in removed.items()}
        trial[factors[position]][:] = True
        try:
            more = {**chosen, number: position}
            return _closed(ties, seeds, trial, allowed, wanted, more)
        except StructureError as error:
            last = error
    raise last


def _undecided(ties: Ties, removed: Removed) -> Iterator[tuple[int, tuple[Node, ...]]]:
    """Products of which all goes, where it is open which factor does."""
    products = [link for link in ties.links if isinstance(link, Product)]
    for number, link in enumerate(products):
        if removed[link.whole].all() and not any(
            removed[node].all() for node in link.factors
        ):
            yield number, link.factors


def _check(
    ties: Ties, seeds: Mapping[Node, np.ndarray], removed: Removed, allowed: Removed | None
) -> None:
    for pin in ties.pins:
        is_strict = not pin.unless_unneeded and not pin.unless_zero
        if is_strict and removed[pin.node].any():
            raise StructureError(pin.reason)
    for node, gone in seeds.items():
        if not np.array_equal(removed[node], gone):
            raise StructureError("slices that go are tied to others that stay")
    for node, gone in removed.items():
        if allowed is not None and (gone & ~allowed[node]).any():
            raise StructureError("slices that go are tied to others in use")


def _spread(link: Tie | Product, removed: Removed, ties: Ties) -> bool:
    if isinstance(link, Tie):
        if any(link.alone):
            return False
        both = removed[link.a][link.of_a] | removed[link.b][link.of_b]
        changed = _add(removed, link.a, both, link.of_a)
        return _add(removed, link.b, both, link.of_b) or changed
    shape = [ties.sizes[node] for node in link.factors]
    whole = removed[link.whole].reshape(shape)
    changed = False
    if not whole.all():  # Otherwise it is open which of the factors it is.
        for axis, node in enumerate(link.factors):
            changed |= _add(removed, node, all_but(whole, axis))
    union = outer_or([removed[node] for node in link.factors])
    return _add(removed, link.whole, union.ravel()) or changed


def _add(removed: Removed, node: Node, more: np.ndarray, where: Any = slice(None)) -> bool:
    if not (more & ~removed[node][where]).any():
        return False
    removed[node][where] |= more
    return True


def kept_indices(removed: np.ndarray) -> np.ndarray:
    """The indices that stay."""
    return np.flatnonzero(~removed)
