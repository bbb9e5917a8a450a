"""Coupled groups in the table of what is regularized."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxreg._coupling import CoupledGroups
from jaxreg._tree import Leaf
from jaxreg.penalties import Penalty


class Coupled(NamedTuple):
    """The coupled groups of a penalty, and the numbers of those that are zero."""

    groups: CoupledGroups
    zero: set[int] | None

    @classmethod
    def of(cls, terms: Sequence[Penalty], tree: list[Leaf]) -> "Coupled | None":
        """Those of the first term that has any."""
        for term in terms:
            groups = getattr(term, "groups", None)
            if isinstance(groups, CoupledGroups):
                return cls(groups, groups.zero_in(tree))
        return None

    def counts(self, path: str) -> dict[str, int | None]:
        """What a `Row` says of the leaf at a path."""
        labels = {
            label
            for member in self.groups.members
            if member.path == path
            for label in member.labels
        }
        zero = None if self.zero is None else len(labels & self.zero)
        return {"groups": len(labels), "zero_groups": zero} if labels else {}
