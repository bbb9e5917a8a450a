"""The lasso over sparse features, by guesses: nothing is compiled, and only products made.

The problem, conditions (1) and (2) and the guesses are those of `_homotopy`. Between
breakpoints coefficients and correlations are linear in the strength, so the first guess at
a strength is where the last two solutions point to. For active features A with signs s, the
linear equations (1) are solved

- by Cholesky's decomposition of their Gram matrix, if they are few;
- else by conjugate gradients, whose steps are products with the features in A. These are
  inexact until no condition is violated, and then exact.

One product with all features finds those that violate (2); if there are none, the duality
gap from the same product certifies the solution.

Where guesses do not settle (with about as many active features as samples, say), the rest
of the path is left to `screened_path`.

References:
    Kim and Park, *Fast active-set-type algorithms for L1-regularized linear regression*
    (2010); Lee, Battle, Raina and Ng, *Efficient sparse coding algorithms* (2007).
"""

from typing import NamedTuple

import numpy as np

from jaxreg.solve.definite import Factored
from jaxreg.solve.gaps import Factors, Residuals, relative_gaps
from jaxreg.solve.lasso._blocks import Start
from jaxreg.solve.lasso._homotopy import PATIENCE
from jaxreg.solve.lasso._screened import screened_path
from jaxreg.solve.lasso._sources import SparseSamples
from jaxreg.solve.lasso._swept import norms
from jaxreg.solve.sparse import Projected, unused_zeros

FEASIBLE = 1e-13
"""How far correlations may exceed their threshold, relative to the largest correlation."""
DIRECT = 512
"""The most active features whose equations Cholesky's decomposition solves."""
LOOSE, EXACT = 1e-5, 1e-14
"""Relative errors of the equations that conjugate gradients end with."""
ROUNDED = 1e-15
"""Errors that they leave at least, relative to the sum of the terms of an equation."""
MOST_STEPS = 1000
"""How many steps conjugate gradients take at most."""
DIVERGED = 1e8
"""They end where residuals exceed the target by this factor: there is no solution then."""


class _State(NamedTuple):
    """The solution of the equations (1), and which conditions it violates.

    Attributes:
        active: Indices of the active features.
        w: Their coefficients.
        signs: The signs that were assumed for them.
        leaves: Which of them have another sign, bools.
        enters: The other features that violate (2), those of the largest excess first.
        entering: The signs with which these enter.
        residuals: y − x·w.
        correlations: Of all features with the residuals.
        is_exact: Whether the equations are solved up to rounding.
    """

    active: np.ndarray
    w: np.ndarray
    signs: np.ndarray
    leaves: np.ndarray
    enters: np.ndarray
    entering: np.ndarray
    residuals: np.ndarray
    correlations: np.ndarray
    is_exact: bool


def sparse_path(
    source: SparseSamples, factors: Factors, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A path over any number of sparse features.

    Args:
        source: The data.
        factors: Of the penalty.
        strengths: Falling.

    Returns:
        Coefficients, an array (strengths, features), and relative duality gaps.
    """
    path, nothing = _Path(source, factors), np.zeros(0, int)
    # Column-major: the memory of features that are never active is never touched.
    w = unused_zeros((len(factors.l1), len(strengths))).T
    gaps = np.zeros(len(strengths))
    before = earlier = Start(strengths[0], nothing, np.zeros(0), path.correlations)
    for k, strength in enumerate(strengths):
        found = path.guessed(strength, before, earlier)
        if found is None:
            w[k:], gaps[k:] = screened_path(source, factors, strengths[k:], before)
            break
        earlier, (before, gaps[k]) = before, found
        w[k, before.active] = before.w
    return w, gaps


class _Path:
    """A problem, and the Gram matrix of features that have been active.

    Attributes:
        ids: These features.
        index: For each feature its index among them, or −1.
        gram: Their Gram matrix, with space for more.
    """

    def __init__(self, source: SparseSamples, factors: Factors) -> None:
        self.source, self.factors = source, factors
        self.correlations = source.correlations
        self.units = norms(source.xt.squares / len(source.y), np)
        self.slack = FEASIBLE * np.max(np.abs(self.correlations) / self.units)
        self.ids, self.gram = np.zeros(0, int), np.zeros((0, 0))
        self.index = np.full(len(self.units), -1)

    def guessed(
        self, strength: float, before: Start, earlier: Start
    ) -> tuple[Start, float] | None:
        """The solution at a smaller strength and its gap; `None` if guesses do not settle.

        Args:
            strength: The strength.
            before: The last solution.
            earlier: The solution before that.
        """
        active, signs, w = self.predicted(strength, before, earlier)
        tolerance, fewest, patience = LOOSE, len(self.units) + 1, PATIENCE
        while patience >= 0:  # It ends: `fewest` falls, or `patience` does.
            state = self.state(strength, active, signs, w, tolerance)
            active, w, signs = state.active, state.w, state.signs
            number = np.count_nonzero(state.leaves) + len(state.enters)
            if number == 0 and state.is_exact:
                found = Start(strength, active[w != 0], w[w != 0], state.correlations)
                return found, self.gap(found, state.residuals)
            if number == 0:
                if tolerance == EXACT:
                    return None
                tolerance, fewest, patience = EXACT, len(self.units) + 1, PATIENCE
                continue
            patience = PATIENCE if number < fewest else patience - 1
            fewest = min(number, fewest)
            stay, new = ~state.leaves, state.enters
            active = np.concatenate([active[stay], new])
            signs = np.concatenate([signs[stay], state.entering])
            w = np.concatenate([w[stay], np.zeros(len(new))])
        return None

    def predicted(
        self, strength: float, before: Start, earlier: Start
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Active features, their signs and coefficients, where two solutions point to."""
        active, w, signs = before.active, before.w, np.sign(before.w)
        step = earlier.strength - before.strength
        if step <= 0:
            return active, signs, w
        ratio = min((before.strength - strength) / step, 1.0)
        past = np.zeros(len(self.units))
        past[earlier.active] = earlier.w
        w = w + ratio * (w - past[active])
        ahead = before.correlations - earlier.correlations
        ahead *= ratio
        ahead += before.correlations
        excess = self.factors.magnitude(ahead)
        excess -= strength * self.factors.l1
        excess[active] = 0.0
        enters, stay = np.flatnonzero(excess > 0), w * signs > 0
        return (
            np.concatenate([active[stay], enters]),
            np.concatenate([signs[stay], np.sign(ahead[enters])]),
            np.concatenate([w[stay], np.zeros(len(enters))]),
        )

    def gap(self, found: Start, residuals: np.ndarray) -> float:
        """The relative duality gap of a solution with given residuals."""
        w, y = np.zeros((1, len(self.units))), self.source.y
        w[0, found.active] = found.w
        products = Residuals(
            found.correlations[:, None],
            np.array([residuals @ residuals]) / len(y),
            np.array([residuals @ y]) / len(y),
        )
        strengths, penalty = np.array([found.strength]), self.factors.penalty(w)
        given = products, self.source.square, penalty, strengths, self.factors
        return relative_gaps(*given)[0]

    def state(
        self,
        strength: float,
        active: np.ndarray,
        signs: np.ndarray,
        w: np.ndarray,
        tolerance: float,
    ) -> _State:
        """Solve the equations of an active set, from w, and check the conditions."""
        l1, l2, positive = self.factors
        threshold = strength * l1
        ridge = 2 * strength * (np.zeros(len(active)) if l2 is None else l2[active])
        part = self.source.xt.part(active)
        target = self.correlations[active] - threshold[active] * signs
        found = self.direct(active, ridge, target) if len(active) <= DIRECT else None
        is_exact = found is not None
        if found is None:
            given = part, active, ridge, target, w, tolerance
            found, converged = self.iterated(*given)
            is_exact = converged and tolerance == EXACT
        residuals = self.source.y - part.combined(found)
        correlations = self.source.xt.products(residuals)
        correlations /= len(residuals)
        g = correlations.copy()
        g[active] -= ridge * found
        excess = self.factors.magnitude(g) - threshold
        excess[active] = 0.0
        enters = np.flatnonzero(excess > self.slack * self.units)
        enters = enters[np.argsort(-excess[enters] / self.units[enters])]
        bounded = (l1[active] > 0) | positive
        leaves = bounded & (signs * found < 0)
        entering = np.sign(g[enters])
        return _State(
            *(active, found, signs, leaves, enters, entering),
            *(residuals, correlations, is_exact),
        )

    def direct(
        self, active: np.ndarray, ridge: np.ndarray, target: np.ndarray
    ) -> np.ndarray | None:
        """The solution by Cholesky's decomposition; `None` if it is inaccurate."""
        self.track(active)
        index, units = self.index[active], self.units[active]
        matrix = self.gram[np.ix_(index, index)] + np.diag(ridge)
        try:
            factored = Factored(matrix)
        except np.linalg.LinAlgError:
            return None
        w = factored.solved(target)
        # One step of refinement removes most of the rounding errors.
        w += factored.solved(target - matrix @ w)
        error = np.abs(target - matrix @ w) / units
        attainable = np.max(np.abs(target) / units, initial=0.0) + np.abs(w) @ units
        return w if np.all(error <= EXACT * attainable) else None

    def track(self, active: np.ndarray) -> None:
        """Make the Gram matrix hold features."""
        new = active[self.index[active] < 0]
        if not len(new):
            return
        if len(self.ids) + len(new) > 2 * DIRECT:
            self.index[self.ids] = -1
            self.ids, new = self.ids[:0], active
        needed = len(self.ids) + len(new)
        if needed > len(self.gram):
            more = min(2 * needed, 2 * DIRECT) - len(self.gram)
            self.gram = np.pad(self.gram, (0, more))
        start, self.ids = len(self.ids), np.concatenate([self.ids, new])
        self.index[new] = np.arange(start, len(self.ids))
        products = self.source.inner(self.ids, new)
        self.gram[: len(self.ids), start : len(self.ids)] = products
        self.gram[start : len(self.ids), : len(self.ids)] = products.T

    def iterated(
        self,
        part: Projected,
        active: np.ndarray,
        ridge: np.ndarray,
        target: np.ndarray,
        w: np.ndarray,
        tolerance: float,
    ) -> tuple[np.ndarray, bool]:
        """The solution by conjugate gradients, from w, and whether they converged."""
        units, samples = self.units[active], len(self.source.y)

        def residuals(w: np.ndarray) -> np.ndarray:
            return target - part.products(part.combined(w)) / samples - ridge * w

        size = np.max(np.abs(target) / units)
        r, before, direction = residuals(w), np.inf, np.zeros_like(w)
        for step in range(MOST_STEPS):
            error = np.max(np.abs(r) / units)
            if error <= tolerance * size + ROUNDED * (np.abs(w) @ units):
                return w, True
            if not error <= DIVERGED * size:
                break
            z = r / (units**2 + ridge)
            now = r @ z
            direction = z + now / before * direction
            along = target - residuals(direction)
            length = now / (direction @ along)
            w, before = w + length * direction, now
            # Residuals that are updated drift away from those of w.
            r = residuals(w) if step % 50 == 49 else r - length * along
        return w, False
