"""A path over many features, of which few are looked at.

Along the path the correlations c of the features with the residuals change slowly, so they
are extrapolated linearly in the strength. *Candidates* are features whose predicted |c|
comes near its threshold strength · l1 before the end of a block of strengths; the block is
solved over these alone. One product of all features with the residuals then checks it: it
certifies the solutions by their duality gaps, finds the features that were missed (which
become candidates, from the strength on where they were), and gives the next extrapolation.

Blocks are solved by guesses, which compile nothing, and by the homotopy from where these
do not settle.
"""

import numpy as np

from jaxreg.solve.gaps import Factors, Residuals, relative_gaps
from jaxreg.solve.lasso._blocks import BLOCKS, Solver, Source, Start
from jaxreg.solve.lasso._guessed_blocks import GuessedBlocks
from jaxreg.solve.lasso._homotopy_blocks import HomotopyBlocks

SOLVERS = GuessedBlocks, HomotopyBlocks
"""What solves a path; the second one goes on where the first one cannot."""
NEAR = 0.97
"""A feature is a candidate if its predicted correlation reaches this fraction of its
threshold."""
MISSED = 1e-13
"""How far the correlation of a feature that is no candidate may exceed its threshold,
relative to the largest strength."""


class Path:
    """The part of a path that is solved.

    Attributes:
        done: How many strengths are.
        before, now: The last two solutions.
        missed: Features that the last check found missing.
        w: Coefficients (strengths, features).
        gaps: Relative duality gaps (strengths,).
    """

    def __init__(
        self, source: Source, factors: Factors, strengths: np.ndarray, start: Start
    ) -> None:
        self.source, self.factors, self.strengths = source, factors, strengths
        self.done, self.before, self.now = 0, start, start
        self.missed = np.zeros(0, int)
        # Column-major: the memory of features that are never active is never touched.
        self.w = np.zeros((len(factors.l1), len(strengths))).T
        self.gaps = np.zeros(len(strengths))
        largest, has_l1 = np.abs(source.correlations), factors.l1 > 0
        ratios = largest[has_l1] / factors.l1[has_l1]
        self.slack = MISSED * np.max(ratios, initial=0.0)

    def solve(self, solver: Solver) -> bool:
        """Solve blocks up to the end, and return `True`, or as many as the solver can."""
        # It ends: each round keeps a solution, or adds a candidate until all features are.
        while self.done < len(self.strengths):
            block, wanted = self._ahead(solver)
            w = solver.solved(wanted, block)
            if w is None:
                return False
            self._keep_right(solver, block[: len(w)], w)
        return True

    def _ahead(self, solver: Solver) -> tuple[np.ndarray, np.ndarray]:
        """The next block of strengths, and its candidates."""
        left = self.strengths[self.done :]
        blocks = [left[:size] for size in BLOCKS]
        close = self._close(np.array([block[-1] for block in blocks]))
        fits = solver.has_room(close)
        which = int(np.argmax(fits)) if fits.any() else -1
        return blocks[which], np.union1d(np.flatnonzero(close[which]), self.missed)

    def _close(self, ends: np.ndarray) -> np.ndarray:
        """Which features come near their threshold before each of some strengths.

        Returns:
            Bools (ends, features).
        """
        start, l1 = self.now.strength, self.factors.l1
        step = start - self.before.strength
        slope = (self.now.correlations - self.before.correlations) / (step or 1.0)
        close = np.zeros((len(ends), len(l1)), bool)
        for fraction in 0.3, 0.6, 1.0:
            between = (start + (ends - start) * fraction)[:, None]
            predicted = self.now.correlations + (between - start) * slope
            limits = between * l1
            near = self.factors.magnitude(predicted) >= NEAR * limits
            close |= near | (limits <= 0)
        return close

    def _keep_right(self, solver: Solver, block: np.ndarray, w: np.ndarray) -> None:
        """Check solutions (strengths, ids), and keep the first of them that are right."""
        used = np.any(w != 0, axis=0) & (solver.ids >= 0)
        active, w = solver.ids[used], w[:, used]
        residuals = self.source.residuals(active, w)
        magnitude = self.factors.magnitude(residuals.correlations)
        exceed = magnitude > (block + self.slack) * self.factors.l1[:, None]
        exceed[solver.ids[solver.ids >= 0]] = False
        # Up to which solution each feature was not missed.
        first = np.where(np.any(exceed, 1), np.argmax(exceed, 1), len(block))
        missed, right = np.flatnonzero(first < len(block)), int(first.min())
        # Without progress, what was missed before must stay a candidate.
        self.missed = missed if right else np.union1d(self.missed, missed)
        if not right:
            return
        part = slice(self.done, self.done + right)
        self.w[part, active] = w[:right]
        self.gaps[part] = self._gaps(active, w, block, residuals)[:right]
        self.done += right
        for k in range(max(right - 2, 0), right):
            nonzero = w[k] != 0
            given = block[k], active[nonzero], w[k, nonzero], residuals.correlations[:, k]
            self.before, self.now = self.now, Start(*given)
        solver.keep(right - 1, self.before, self.now)

    def _gaps(
        self, active: np.ndarray, w: np.ndarray, block: np.ndarray, residuals: Residuals
    ) -> np.ndarray:
        """The relative duality gaps of solutions."""
        penalty, square = self.factors.part(active).penalty(w), self.source.square
        return relative_gaps(residuals, square, penalty, block, self.factors)


def screened_path(
    source: Source, factors: Factors, strengths: np.ndarray, start: Start
) -> tuple[np.ndarray, np.ndarray]:
    """A path over any number of features.

    Args:
        source: Of the mean products.
        factors: Of the penalty.
        strengths: Falling.
        start: The solution to start from, at a strength that is at least as large.

    Returns:
        Coefficients, an array (strengths, features), and relative duality gaps.
    """
    path = Path(source, factors, strengths, start)
    for solver in SOLVERS:
        if path.solve(solver(source, factors, path.now)):
            break
    return path.w, path.gaps
