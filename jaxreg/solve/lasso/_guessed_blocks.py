"""Blocks of strengths over candidate features, solved by guesses."""

import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._blocks import Source, Start
from jaxreg.solve.lasso._guesses import Guesses, Settled
from jaxreg.solve.lasso._sources import Moments

NEW = 256
"""How many new candidates a block of more than one strength may need."""
HELD = 2048
"""Of more candidates than this those that are not wanted are forgotten."""


class GuessedBlocks:
    """The candidates, their Gram matrix, and the last two solutions.

    Attributes:
        ids: The candidates.
    """

    def __init__(self, source: Source, factors: Factors, start: Start) -> None:
        self.source, self.factors = source, factors
        self.correlations, self.square = source.correlations, source.square
        self.ids, self.gram = np.zeros(0, int), np.zeros((0, 0))
        self.is_held = np.zeros(len(factors.l1), bool)
        self.before = self.now = self._settled(start)
        self.guesses: Guesses | None = None

    def has_room(self, candidates: np.ndarray) -> np.ndarray:
        """Whether few of the candidates of each set are new."""
        return np.count_nonzero(candidates & ~self.is_held, axis=1) <= NEW

    def solved(self, wanted: np.ndarray, block: np.ndarray) -> np.ndarray | None:
        """Coefficients (strengths, ids), up to where guesses do not settle."""
        guesses = self._over(np.union1d(wanted, np.flatnonzero(self.now.signs)))
        before, now = (self._inside(each) for each in (self.before, self.now))
        found = []
        for strength in block:
            settled = guesses.reached(strength, now, before)
            if settled is None:
                break
            before, now = now, settled
            found.append(settled.w)
        return np.array(found) if found else None

    def keep(self, last: int, before: Start, now: Start) -> None:
        """Go on from a solution."""
        del last
        self.before, self.now = self._settled(before), self._settled(now)

    def _settled(self, start: Start) -> Settled:
        """A solution over all features."""
        w, g, l2 = np.zeros(len(self.is_held)), start.correlations, self.factors.l2
        w[start.active] = start.w
        if l2 is not None:
            g = g - 2 * start.strength * l2 * w
        return Settled(start.strength, np.sign(w), w, g)

    def _inside(self, found: Settled) -> Settled:
        """The part of a solution over the candidates."""
        return Settled(found.strength, *(each[self.ids] for each in found[1:]))

    def _over(self, wanted: np.ndarray) -> Guesses:
        """Make these features candidates."""
        new = wanted[~self.is_held[wanted]]
        if len(self.ids) + len(new) > HELD and len(self.ids) > len(wanted) - len(new):
            self.ids, new, self.guesses = self.ids[:0], wanted, None
            self.is_held[:] = False
        if self.guesses is not None and not len(new):
            return self.guesses
        count, ids = len(self.ids), np.concatenate([self.ids, new])
        if len(ids) > len(self.gram):
            self.gram = np.pad(self.gram, (0, 2 * len(ids) - len(self.gram)))
        products = self.source.inner(ids, new)
        self.gram[: len(ids), count : len(ids)] = products
        self.gram[count : len(ids), : len(ids)] = products.T
        self.ids, self.is_held[new] = ids, True
        moments = Moments(
            self.gram[: len(ids), : len(ids)], self.correlations[ids], self.square
        )
        factors = self.factors.part(ids)
        if self.guesses is None:
            self.guesses = Guesses(moments, factors)
        else:
            self.guesses.extend(moments, factors)
        return self.guesses
