"""The lasso on a small Gram matrix by guesses in NumPy: nothing is compiled.

The problem, conditions (1) and (2) and the rule of the guesses are those of `_homotopy`.
LAPACK solves (1) anew for each guess, which takes a fraction of the time that XLA takes to
compile the programs for more features.
"""

import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._homotopy import FEASIBLE, PATIENCE
from jaxreg.solve.lasso._sources import Moments
from jaxreg.solve.lasso._swept import norms

MOST_FEW = 256
"""How many features a path without compiling may have."""
ACCURATE = 1e-14
"""Relative error that the solution of a system may have."""


def guessed_path(
    source: Moments, factors: Factors, strengths: np.ndarray
) -> np.ndarray | None:
    """A path over at most MOST_FEW features, or `None` if guesses do not settle.

    Args:
        source: The moments.
        factors: Of the penalty.
        strengths: Falling.

    Returns:
        Coefficients, an array (strengths, features).
    """
    signs = np.zeros(len(factors.l1))
    path = np.zeros((len(strengths), len(signs)))
    for k, strength in enumerate(strengths):
        found = _guessed(source, factors, strength, signs)
        if found is None:
            return None
        path[k], signs = found
    return path


def _guessed(
    source: Moments, factors: Factors, strength: float, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The coefficients at one strength and their signs, from the signs at another.

    `None` if there is no progress, or if active features depend on each other.
    """
    gram, correlations, _ = source
    l1, l2, positive = factors
    threshold = strength * l1
    ridge = np.zeros(len(l1)) if l2 is None else 2 * strength * l2
    units = norms(np.diagonal(gram), np)
    slack = FEASIBLE * units * np.max(np.abs(correlations) / units)
    bounded = (l1 > 0) | positive
    fewest, patience = len(l1) + 1, PATIENCE
    while patience >= 0:  # It ends: `fewest` falls, or `patience` does.
        w = _solved(gram, ridge, correlations - threshold * signs, signs)
        if w is None:
            return None
        g = correlations - gram @ w - ridge * w
        leaves = bounded & (signs * w < 0)
        enters = (signs == 0) & (factors.magnitude(g, np) - threshold > slack)
        number = np.count_nonzero(leaves | enters)
        if number == 0:
            return w, signs
        patience = PATIENCE if number < fewest else patience - 1
        fewest = min(number, fewest)
        signs = np.where(enters, np.sign(g), np.where(leaves, 0.0, signs))
    return None


def _solved(
    gram: np.ndarray, ridge: np.ndarray, target: np.ndarray, signs: np.ndarray
) -> np.ndarray | None:
    """Solve `(gram + diag(ridge)) · w = target` where signs are not zero, w = 0 elsewhere.

    `None` if the solution is inaccurate, as it is if features depend on each other.
    """
    w = np.zeros_like(target)
    (active,) = np.nonzero(signs)
    matrix = gram[np.ix_(active, active)] + np.diag(ridge[active])
    target, units = target[active], norms(matrix.diagonal(), np)
    try:
        found = np.linalg.solve(matrix, target)
    except np.linalg.LinAlgError:
        return None
    error = np.abs(target - matrix @ found) / units
    attainable = np.max(np.abs(target) / units, initial=0.0) + np.abs(found) @ units
    if not np.all(error <= ACCURATE * attainable):
        return None
    w[active] = found
    return w
