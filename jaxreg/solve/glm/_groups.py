"""Groups of coefficients that share a norm."""

from typing import Any, NamedTuple

import numpy as np


class Groups(NamedTuple):
    """A partition of m coefficients into G groups.

    Attributes:
        label: For each coefficient the number of its group, from 0 to G − 1, an array (m,).
        order: The coefficients, group after group, an array (m,).
        starts: Where each group starts in this order, an array (G,).
    """

    label: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, names: np.ndarray) -> "Groups":
        """Groups of those coefficients whose names, any integers, are the same."""
        _, label, counts = np.unique(names, return_inverse=True, return_counts=True)
        starts = np.cumsum(counts) - counts
        return cls(label, np.argsort(label, kind="stable"), starts)

    def part(self, index: np.ndarray) -> "Groups":
        """The groups of some coefficients, whole groups at a time, numbered anew."""
        return Groups.of(self.label[index])

    def sums(self, x: np.ndarray) -> np.ndarray:
        """The sum over each group of numbers (..., m), an array (..., G)."""
        return np.add.reduceat(x[..., self.order], self.starts, axis=-1)

    def norms(self, x: np.ndarray) -> np.ndarray:
        """The Euclidean norm of each group of numbers (..., m), an array (..., G)."""
        return np.sqrt(self.sums(x**2))


def lengths(x: np.ndarray, groups: Groups | None) -> Any:
    """For each coefficient the norm of its group; its absolute value without groups."""
    return np.abs(x) if groups is None else groups.norms(x)[..., groups.label]


def directions(x: np.ndarray, groups: Groups | None) -> np.ndarray:
    """For each group x / ‖x‖, and 0 at 0: the gradient of the norm."""
    if groups is None:
        return np.sign(x)
    length = lengths(x, groups)
    return x / np.where(length == 0, 1.0, length)
