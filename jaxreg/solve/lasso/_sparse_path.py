"""The lasso over sparse features, by guesses: nothing is compiled, and only products made.

The problem, conditions (1) and (2) and the guesses are those of `_homotopy`. For active
features A with signs s, the linear equations (1) are solved

- by Cholesky's decomposition of their Gram matrix, if they are few;
- else by conjugate gradients, whose steps are products with the features in A. These are
  inexact until no condition is violated, and then exact.

One product with all features finds those that violate (2), and certifies the solution.

Where guesses do not settle (with about as many active features as samples, say), the rest
of the path is left to `screened_path`.

References:
    Kim and Park, *Fast active-set-type algorithms for L1-regularized linear regression*
    (2010); Lee, Battle, Raina and Ng, *Efficient sparse coding algorithms* (2007).
"""

from typing import NamedTuple

import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._homotopy import PATIENCE
from jaxreg.solve.lasso._screened import Start, screened_path
from jaxreg.solve.lasso._sources import SparseSamples, gaps_of
from jaxreg.solve.lasso._swept import norms
from jaxreg.solve.sparse import Projected

FEASIBLE = 1e-13
"""How far correlations may exceed their threshold, relative to the largest correlation."""
DIRECT = 1024
"""The most active features whose equations Cholesky's decomposition solves."""
LOOSE, EXACT = 1e-5, 1e-14
"""Relative errors of the equations that conjugate gradients end with."""
MOST_STEPS = 1000
"""How many steps conjugate gradients take at most."""
BLOCK = 8
"""How many strengths are certified at a time."""


class _State(NamedTuple):
    """The solution of the equations (1), and which conditions it violates.

    Attributes:
        active: Indices of the active features.
        w: Their coefficients.
        signs: The signs that were assumed for them.
        leaves: Which of them have another sign, bools.
        enters: The other features that violate (2), those of the largest excess first.
        entering: The signs with which these enter.
        correlations: Of all features with the residuals.
        is_exact: Whether the equations are solved up to rounding.
    """

    active: np.ndarray
    w: np.ndarray
    signs: np.ndarray
    leaves: np.ndarray
    enters: np.ndarray
    entering: np.ndarray
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
    w = np.zeros((len(factors.l1), len(strengths))).T
    gaps = np.zeros(len(strengths))
    before, done = Start(strengths[0], nothing, np.zeros(0), path.correlations), 0
    while done < len(strengths):
        found = path.guessed(strengths[done], before)
        if found is None:
            w[done:], gaps[done:] = screened_path(source, factors, strengths[done:], before)
            break
        w[done, found.active] = found.w
        before, done = found, done + 1
    for start in range(0, done, BLOCK):
        part = slice(start, min(start + BLOCK, done))
        gaps[part] = gaps_of(source, w[part], strengths[part], factors)
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
        self.ids, self.gram = np.zeros(0, int), np.zeros((2 * DIRECT, 2 * DIRECT))
        self.index = np.full(len(self.units), -1)

    def guessed(self, strength: float, before: Start) -> Start | None:
        """The solution at a smaller strength, or `None` if guesses do not settle."""
        _, active, w, _ = before
        signs, tolerance = np.sign(w), LOOSE
        fewest, patience = len(self.units) + 1, PATIENCE
        while patience >= 0:  # It ends: `fewest` falls, or `patience` does.
            state = self.state(strength, active, signs, w, tolerance)
            active, w, signs = state.active, state.w, state.signs
            number = np.count_nonzero(state.leaves) + len(state.enters)
            if number == 0 and state.is_exact:
                return Start(strength, active[w != 0], w[w != 0], state.correlations)
            if number == 0:
                tolerance, fewest, patience = EXACT, len(self.units) + 1, PATIENCE
                continue
            patience = PATIENCE if number < fewest else patience - 1
            fewest = min(number, fewest)
            stay, new = ~state.leaves, state.enters
            active = np.concatenate([active[stay], new])
            signs = np.concatenate([signs[stay], state.entering])
            w = np.concatenate([w[stay], np.zeros(len(new))])
        return None

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
        is_exact = found is not None or tolerance == EXACT
        if found is None:
            found = self.iterated(part, active, ridge, target, w, tolerance)
        y = self.source.y
        correlations = self.source.xt.products(y - part.combined(found)) / len(y)
        g = correlations.copy()
        g[active] -= ridge * found
        excess = self.factors.magnitude(g, np) - threshold
        excess[active] = 0.0
        enters = np.flatnonzero(excess > self.slack * self.units)
        enters = enters[np.argsort(-excess[enters] / self.units[enters])]
        bounded = (l1[active] > 0) | positive
        leaves = bounded & (signs * found < 0)
        entering = np.sign(g[enters])
        return _State(
            *(active, found, signs, leaves, enters, entering, correlations, is_exact)
        )

    def direct(
        self, active: np.ndarray, ridge: np.ndarray, target: np.ndarray
    ) -> np.ndarray | None:
        """The solution by Cholesky's decomposition; `None` if it is inaccurate."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        self.track(active)
        index, units = self.index[active], self.units[active]
        matrix = self.gram[np.ix_(index, index)] + np.diag(ridge)
        try:
            factor = cho_factor(matrix)
        except LinAlgError:
            return None
        w = cho_solve(factor, target)
        # One step of refinement removes most of the rounding errors.
        w += cho_solve(factor, target - matrix @ w)
        error = np.abs(target - matrix @ w) / units
        attainable = np.max(np.abs(target) / units, initial=0.0) + np.abs(w) @ units
        return w if np.all(error <= EXACT * attainable) else None

    def track(self, active: np.ndarray) -> None:
        """Make the Gram matrix hold features."""
        new = active[self.index[active] < 0]
        if not len(new):
            return
        if len(self.ids) + len(new) > len(self.gram):
            self.index[self.ids] = -1
            self.ids, new = self.ids[:0], active
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
    ) -> np.ndarray:
        """The solution by conjugate gradients, from w."""
        units, samples = self.units[active], len(self.source.y)

        def residuals(w: np.ndarray) -> np.ndarray:
            return target - part.products(part.combined(w)) / samples - ridge * w

        r, before, direction = residuals(w), np.inf, np.zeros_like(w)
        for step in range(MOST_STEPS):
            size = np.max(np.abs(target) / units) + tolerance * np.abs(w) @ units
            if np.max(np.abs(r) / units) <= tolerance * size:
                break
            z = r / (units**2 + ridge)
            now = r @ z
            direction = z + now / before * direction
            along = target - residuals(direction)
            length = now / (direction @ along)
            w, before = w + length * direction, now
            # Residuals that are updated drift away from those of w.
            r = residuals(w) if step % 50 == 49 else r - length * along
        return w
