"""The lasso on a Gram matrix by guesses in NumPy: nothing is compiled.

The problem, conditions (1) and (2) and the rule of the guesses are those of `_homotopy`.
Between breakpoints coefficients and correlations are linear in the strength, so the first
guess at a strength is where the last two solutions point to.
"""

from typing import NamedTuple

import numpy as np

from jaxreg.solve.definite import Factored
from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._homotopy import FEASIBLE, PATIENCE
from jaxreg.solve.lasso._sources import Moments
from jaxreg.solve.lasso._swept import DEPENDENT, norms

ACCURATE = 1e-14
"""Relative error that the solution of a system may have."""
DIRECT = 64
"""Equations of at most so many active features are solved anew each time."""
HALVINGS = 8
"""How often the step to a strength is halved where guesses do not settle."""
CHANGED = 1 / 8
"""What part of the features may differ from those of the factored matrix."""


class Settled(NamedTuple):
    """The solution at a strength.

    Attributes:
        strength: The strength.
        signs: For each feature; zero exactly where it is not active.
        w: The coefficients.
        g: Correlations of the features with the residuals, less the part of `l2`.
    """

    strength: float
    signs: np.ndarray
    w: np.ndarray
    g: np.ndarray


class Guesses:
    """A problem on a Gram matrix, and what one guess leaves for the next."""

    def __init__(self, source: Moments, factors: Factors) -> None:
        self.base: _Base | None = None
        self.extend(source, factors)

    def extend(self, source: Moments, factors: Factors) -> None:
        """Go on with the problem of the same features, in the same order, and of more."""
        self.source, self.factors = source, factors
        self.units = norms(np.diagonal(source.gram), np)
        largest = np.max(np.abs(source.correlations) / self.units, initial=0.0)
        self.slack = FEASIBLE * self.units * largest

    def reached(
        self, strength: float, now: Settled, before: Settled, halvings: int = HALVINGS
    ) -> Settled | None:
        """The solution at a strength, by way of others where guesses do not settle.

        `None` if they do not even after short steps.
        """
        found = self.settled(strength, now, before)
        if found is not None or not halvings:
            return found
        middle = float(np.sqrt(now.strength * strength))
        between = self.reached(middle, now, before, halvings - 1)
        if between is None:
            return None
        return self.reached(strength, between, now, halvings - 1)

    def settled(self, strength: float, now: Settled, before: Settled) -> Settled | None:
        """The solution at a strength, from those at the last two.

        `None` if there is no progress, or if active features depend on each other.
        """
        correlations = self.source.correlations
        l1, l2, positive = self.factors
        threshold = strength * l1
        ridge = np.zeros(len(l1)) if l2 is None else 2 * strength * l2
        bounded = (l1 > 0) | positive
        signs = self.predicted(strength, now, before)
        fewest, patience = len(l1) + 1, PATIENCE
        while patience >= 0:  # It ends: `fewest` falls, or `patience` does.
            found = self.solved(ridge, correlations - threshold * signs, signs)
            if found is None:
                signs = self.independent(ridge, signs)
                found = self.solved(ridge, correlations - threshold * signs, signs)
            if found is None:
                return None
            w, left = found
            g = left + threshold * signs
            leaves = bounded & (signs * w < 0)
            excess = self.factors.magnitude(g) - threshold
            enters = (signs == 0) & (excess > self.slack)
            number = np.count_nonzero(leaves | enters)
            if number == 0:
                return Settled(strength, signs, w, g)
            patience = PATIENCE if number < fewest else patience - 1
            fewest = min(number, fewest)
            signs = np.where(enters, np.sign(g), np.where(leaves, 0.0, signs))
        return None

    def predicted(self, strength: float, now: Settled, before: Settled) -> np.ndarray:
        """The signs to which two solutions point."""
        step = before.strength - now.strength
        if step <= 0:
            return now.signs
        ratio = min((now.strength - strength) / step, 1.0)
        w, g = (b + ratio * (b - a) for a, b in zip(before[2:], now[2:], strict=True))
        excess = self.factors.magnitude(g) - strength * self.factors.l1
        enters = excess > self.slack
        stays = now.signs * w > 0
        return np.where(now.signs == 0, enters * np.sign(g), stays * now.signs)

    def solved(
        self, ridge: np.ndarray, target: np.ndarray, signs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Solve `(gram + diag(ridge)) · w = target` where signs are not zero, else w = 0.

        Returns:
            The solution, and `target − (gram + diag(ridge)) · w`. `None` if it is
            inaccurate, as it is if active features depend on each other.
        """
        gram, (active,) = self.source.gram, np.nonzero(signs)
        w, units = np.zeros_like(target), self.units[active]
        left, size = target, np.max(np.abs(target[active]) / units, initial=0.0)
        try:
            system = self._system(active, ridge)
            # One step of refinement removes most of the rounding errors.
            for _ in range(2):
                w += system.solved(left)
                left = target - gram @ w - ridge * w
                error = np.abs(left[active]) / units
                if np.all(error <= ACCURATE * (size + np.abs(w[active]) @ units)):
                    return w, left
        except np.linalg.LinAlgError:
            pass
        return None

    def independent(self, ridge: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """The signs, but zero for active features that depend on other active ones."""
        from scipy.linalg import get_lapack_funcs

        (active,) = np.nonzero(signs)
        units = self.units[active]
        matrix = self.source.gram[np.ix_(active, active)] + np.diag(ridge[active])
        matrix /= np.outer(units, units)
        (pstrf,) = get_lapack_funcs(["pstrf"], (matrix,))
        _, pivots, rank, _ = pstrf(matrix, tol=DEPENDENT)
        kept = np.zeros_like(signs)
        kept[active[pivots[:rank] - 1]] = 1.0
        return kept * signs

    def _system(self, active: np.ndarray, ridge: np.ndarray) -> "_Direct | _Changed":
        """The equations of an active set."""
        gram = self.source.gram
        if len(active) <= DIRECT:
            return _Direct(gram, ridge, active)
        if self.base is None or not self.base.is_near(active, ridge):
            self.base = _Base(gram, ridge, active)
        return _Changed(self.base, gram, ridge, active)


class _Direct:
    """The equations of an active set."""

    def __init__(self, gram: np.ndarray, ridge: np.ndarray, active: np.ndarray) -> None:
        self.active = active
        self.matrix = gram[np.ix_(active, active)] + np.diag(ridge[active])

    def solved(self, target: np.ndarray) -> np.ndarray:
        """The solution, zero outside the active set; arrays (features,)."""
        w = np.zeros_like(target)
        w[self.active] = np.linalg.solve(self.matrix, target[self.active])
        return w


class _Base:
    """The equations of one active set, factored."""

    def __init__(self, gram: np.ndarray, ridge: np.ndarray, active: np.ndarray) -> None:
        self.active, self.ridge = active, ridge[active]
        matrix = gram[np.ix_(active, active)]
        matrix[np.diag_indices(len(active))] += self.ridge
        self.factored = Factored(matrix)

    def is_near(self, active: np.ndarray, ridge: np.ndarray) -> bool:
        """Whether an active set differs little from this one, with the same ridge."""
        changes = len(np.setxor1d(active, self.active, assume_unique=True))
        if changes > CHANGED * len(active):
            return False
        return np.array_equal(ridge[self.active], self.ridge)


class _Changed:
    """The equations of an active set, given the factor of one that differs little.

    With G the matrix of that set A, features R that have left it and N that have entered,
    the solution w is that of

        ⎡ G      G_AN   I_AR ⎤ ⎡ w_A ⎤   ⎡ target_A ⎤
        ⎢ G_NA   G_NN   0    ⎥ ⎢ w_N ⎥ = ⎢ target_N ⎥
        ⎣ I_RA   0      0    ⎦ ⎣ ... ⎦   ⎣ 0        ⎦

    of which all but as many equations as there are changes are eliminated.
    """

    def __init__(
        self, base: _Base, gram: np.ndarray, ridge: np.ndarray, active: np.ndarray
    ) -> None:
        self.base, before = base, base.active
        self.new = np.setdiff1d(active, before, assume_unique=True)
        self.gone = np.setdiff1d(before, active, assume_unique=True)
        number = len(self.new)
        self.columns = np.zeros((len(before), number + len(self.gone)))
        self.columns[:, :number] = gram[np.ix_(before, self.new)]
        where = np.searchsorted(before, self.gone)
        self.columns[where, number + np.arange(len(where))] = 1.0
        self.inverse = base.factored.solved(self.columns)
        self.schur = -self.columns.T @ self.inverse
        self.schur[:number, :number] += gram[np.ix_(self.new, self.new)]
        self.schur[np.diag_indices(number)] += ridge[self.new]

    def solved(self, target: np.ndarray) -> np.ndarray:
        """As for `_Direct`."""
        w, before = np.zeros_like(target), self.base.active
        first = self.base.factored.solved(target[before])
        right = np.append(target[self.new], np.zeros(len(self.gone)))
        last = np.linalg.solve(self.schur, right - self.columns.T @ first)
        w[before] = first - self.inverse @ last
        w[self.new], w[self.gone] = last[: len(self.new)], 0.0
        return w
