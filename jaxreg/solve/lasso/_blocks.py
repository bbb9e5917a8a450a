"""Blocks of strengths, solved over candidate features: what solvers of them share."""

from typing import NamedTuple, Protocol

import numpy as np

from jaxreg.solve.lasso._sources import Moments, Samples, SparseSamples

BLOCKS = 16, 10, 5, 2, 1
"""How many strengths one block may have: the most whose candidates the solver has room
for."""
Source = Samples | SparseSamples | Moments


class Start(NamedTuple):
    """A solution to start from.

    Attributes:
        strength: Its strength.
        active: The active features, all of them with a coefficient other than zero.
        w: Their coefficients.
        correlations: Of all features with its residuals.
    """

    strength: float
    active: np.ndarray
    w: np.ndarray
    correlations: np.ndarray


class Solver(Protocol):
    """Solves blocks of strengths over candidates."""

    @property
    def ids(self) -> np.ndarray:
        """The features that are looked at, in any order; −1 for none."""
        ...

    def has_room(self, candidates: np.ndarray) -> np.ndarray:
        """Whether each set of candidates, bools (sets, features), is small enough."""
        ...

    def solved(self, wanted: np.ndarray, block: np.ndarray) -> np.ndarray | None:
        """Coefficients (strengths, ids) at the first strengths of a block.

        `None` if there is no solution for any.

        Args:
            wanted: The candidates.
            block: Strengths, falling.
        """
        ...

    def keep(self, last: int, before: Start, now: Start) -> None:
        """Go on from a solution of the last block.

        Args:
            last: Its index.
            before: The solution before it.
            now: The solution.
        """
        ...
