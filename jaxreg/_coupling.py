"""Groups of weights that reach over several leaves, by name: what a unit is computed by."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg._checks import is_concrete
from jaxreg._tree import Leaf, listing


class Member(NamedTuple):
    """The part of a leaf in coupled groups.

    Attributes:
        path: The path of the leaf.
        axis: The axis whose indices belong to groups.
        labels: The number of the group of each index.
    """

    path: str
    axis: int
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class CoupledGroups:
    """Weights that compute one unit, channel or head: what `coupled_groups` returns.

    A value that can be compared and hashed; penalties of groups take it as `groups=`. Each
    weight is in one group, or in none.

    Attributes:
        members: For each leaf with groups, its axis and the number of the group of each
            index. Equal numbers are one group, in all leaves.
        left_out: The paths of parameters that are in no group, since no slice of them can
            go by becoming zero.
    """

    members: tuple[Member, ...]
    left_out: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of groups."""
        return len({label for member in self.members for label in member.labels})

    def __repr__(self) -> str:
        return f"CoupledGroups({self.count} groups in {len(self.members)} leaves)"

    def at_leaves(self, tree: Sequence[Leaf]) -> list[Member | None]:
        """For each leaf of a tree, its member.

        Raises:
            ValueError: If the tree has no such leaf, or one of another length.
        """
        by_path = {member.path: member for member in self.members}
        found = [by_path.get(leaf.path) for leaf in tree]
        missing = set(by_path) - {member.path for member in found if member}
        if missing:
            raise ValueError(
                f"The groups must be those of these parameters, but they have no leaf "
                f"{min(missing)!r}; there are {listing(tree)}. Give coupled_groups the "
                "parameters that are regularized, and close over the others: "
                "coupled_groups(lambda params, x: model.apply({'params': params, **state}, "
                "x), params, x)."
            )
        for leaf, member in zip(tree, found, strict=True):
            shape = np.shape(leaf.value)
            if member is None or leaf.is_missing:
                continue
            if member.axis >= len(shape) or shape[member.axis] != len(member.labels):
                raise ValueError(
                    f"The groups must be those of these parameters, but {leaf.described} "
                    f"has shape {shape} and groups for {len(member.labels)} indices of "
                    f"axis {member.axis}. Call coupled_groups again, for these parameters."
                )
        return found

    def zero_in(self, tree: Sequence[Leaf]) -> set[int] | None:
        """The numbers of the groups that are zero in all of their leaves.

        Returns:
            The numbers; `None` where a leaf is no array whose values can be looked at.
        """
        nonzero: set[int] = set()
        for leaf, member in zip(tree, self.at_leaves(tree), strict=True):
            if member is None or leaf.is_missing:
                continue
            x = leaf.value
            if not is_concrete(x):
                return None
            others = tuple(i for i in range(np.ndim(x)) if i != member.axis)
            is_used = np.any(np.asarray(x) != 0, axis=others)
            nonzero.update(np.asarray(member.labels)[is_used].tolist())
        return {label for member in self.members for label in member.labels} - nonzero

    def families(self, tree: Sequence[Leaf], indices: Sequence[int]) -> list[list[int]]:
        """Leaves that have groups in common, directly or by way of others.

        Args:
            tree: The leaves of a pytree.
            indices: Those that are looked at.

        Returns:
            Lists of indices, each in one of them.
        """
        members = self.at_leaves(tree)
        families: list[tuple[set[int], list[int]]] = []
        for index in indices:
            member = members[index]
            labels = set(member.labels) if member else set()
            own = [index]
            apart: list[tuple[set[int], list[int]]] = []
            for others, leaves in families:
                if labels & others:
                    labels, own = labels | others, leaves + own
                else:
                    apart.append((others, leaves))
            families = [*apart, (labels, own)]
        return sorted(sorted(leaves) for _, leaves in families)
