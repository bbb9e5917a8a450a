"""Blocks of strengths over candidate features, solved by compiled homotopy steps."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._blocks import BLOCKS, Source, Start
from jaxreg.solve.lasso._follow import Followed, follow
from jaxreg.solve.lasso._homotopy import Solution
from jaxreg.solve.lasso._slots import Slots


class HomotopyBlocks:
    """The candidates in their slots, and the last solution over these."""

    def __init__(self, source: Source, factors: Factors, start: Start) -> None:
        self.has_l2 = factors.l2 is not None
        self.slots = slots = Slots(source, jax.tree.map(jnp.asarray, factors))
        slots.put(start.active, np.zeros(slots.size, bool))
        w = np.zeros(slots.size)
        w[slots.slot_of[start.active]] = start.w
        self.before = Solution(*map(jnp.asarray, (start.strength, w, np.sign(w))))
        self.found: Followed | None = None

    @property
    def ids(self) -> np.ndarray:
        """The feature in each slot; −1 for none."""
        return self.slots.ids

    def has_room(self, candidates: np.ndarray) -> np.ndarray:
        """Whether the candidates of each set fit into the slots."""
        return np.count_nonzero(candidates, axis=1) <= self.slots.size

    def solved(self, wanted: np.ndarray, block: np.ndarray) -> np.ndarray | None:
        """Coefficients (strengths, ids) of all strengths of a block."""
        slots, count = self.slots, len(block)
        keep = np.asarray(slots.held.current.active) | (np.asarray(self.before.signs) != 0)
        slots.put(wanted, keep)
        if more := slots.size - len(self.before.w):
            start, w, signs = self.before
            self.before = Solution(start, jnp.pad(w, (0, more)), jnp.pad(signs, (0, more)))
        padded = np.pad(block, (0, max(BLOCKS) - count), mode="edge")
        problem, current = slots.held
        given = problem, current, self.before, padded, count, self.has_l2
        self.found = found = follow(*given)
        slots.held = slots.held._replace(current=found.active_set)
        return np.asarray(found.w)[:count]

    def keep(self, last: int, before: Start, now: Start) -> None:
        """Go on from a solution of the last block."""
        del before
        if self.found is not None:
            strength = jnp.asarray(now.strength)
            self.before = Solution(strength, self.found.w[last], self.found.signs[last])
