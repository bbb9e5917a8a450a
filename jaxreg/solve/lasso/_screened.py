"""A path over many features, of which few are looked at.

Along the path the correlations c of the features with the residuals change slowly, so they
are extrapolated linearly in the strength. *Candidates* are features whose predicted |c|
comes near its threshold strength · l1 before the end of a block of strengths; the block is
solved over these alone. One product of all features with the residuals then checks it: it
certifies the solutions by their duality gaps, finds the features that were missed (which
become candidates, from the strength on where they were), and gives the next extrapolation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve.gaps import Factors, Residuals, relative_gaps
from jaxreg.solve.lasso._follow import Followed, follow
from jaxreg.solve.lasso._homotopy import Quadratic, Solution
from jaxreg.solve.lasso._slots import Held, Slots
from jaxreg.solve.lasso._sources import Moments, Samples, SparseSamples

BLOCKS = 16, 10, 5, 2, 1
"""How many strengths one block may have: the most whose candidates fit into the slots."""
NEAR = 0.97
"""A feature is a candidate if its predicted correlation reaches this fraction of its
threshold."""
MISSED = 1e-13
"""How far the correlation of a feature that is not in a slot may exceed its threshold,
relative to the largest strength."""


class Checked(NamedTuple):
    """What one product with all features shows about the solutions of a block.

    Attributes:
        gaps: Relative duality gaps, (strengths,).
        correlations: With the residuals, (features, strengths).
        first: For each feature the index of the strength at which it was missed first, or
            the number of strengths, (features,).
    """

    gaps: Array
    correlations: Array
    first: Array


@jax.jit
def _check(
    source: Samples | Moments,
    factors: Factors,
    held: Held,
    ids: Any,
    w: Array,
    strengths: Array,
    stop: Any,
) -> Checked:
    """Check coefficients (strengths, slots) of which `stop` strengths have a meaning."""
    residuals = source.residuals(w, ids, held.rows)
    given = factors, held.problem, ids, w, strengths, stop
    return _checked(residuals, source.square, *given)


def _checked(
    residuals: Residuals,
    square: Any,
    factors: Factors,
    problem: Quadratic,
    ids: Any,
    w: Array,
    strengths: Array,
    stop: Any,
) -> Checked:
    """As `_check`, given the residuals of the coefficients."""
    inside = Factors(problem.l1, problem.l2, factors.positive)
    penalty = inside.penalty(w)
    gaps = relative_gaps(residuals, square, penalty, strengths, factors, jnp)
    has_l1 = inside.l1 > 0
    largest = jnp.abs(problem.correlations) / jnp.where(has_l1, inside.l1, 1.0)
    slack = MISSED * jnp.max(jnp.where(has_l1, largest, 0.0))
    magnitude = factors.magnitude(residuals.correlations, jnp)
    missed = magnitude > (strengths + slack)[None] * factors.l1[:, None]
    order = jnp.minimum(jnp.arange(len(strengths)), stop)
    first = jnp.min(jnp.where(missed, order[None], stop), axis=1)
    first = first.at[ids].set(stop, mode="drop")
    return Checked(gaps, residuals.correlations, first)


_check_residuals = jax.jit(_checked)


@jax.jit
def _candidates(
    c: Array, slope: Array, factors: Factors, start: Array, ends: Any
) -> tuple[Array, Array]:
    """Which features come near their threshold between the start and each of the ends.

    Args:
        c: Correlations at the strength `start`, (features,).
        slope: Their derivatives by the strength, (features,).
        factors: Of the penalty.
        start: A strength.
        ends: Smaller strengths, (ends,).

    Returns:
        Bools (ends, features), and how many there are for each end.
    """
    between = start + (ends - start)[None] * jnp.array([0.3, 0.6, 1.0])[:, None]
    between = between[..., None]  # (points, ends, 1), beside the features
    predicted = c[None, None] + (between - start) * slope[None, None]
    limits = between * factors.l1[None, None]
    near = factors.magnitude(predicted, jnp) / jnp.where(limits > 0, limits, 1.0)
    close = jnp.any(jnp.where(limits > 0, near, jnp.inf) >= NEAR, axis=0)
    return close, jnp.sum(close, axis=1)


@jax.jit
def _extrapolated(
    found: Followed, checked: Checked, before: Solution, c: Array, block: Any, last: Any
) -> tuple[Solution, Array, Array]:
    """The solution at index `last` of a block, its correlations, and their slopes."""
    first = last == 0
    now = checked.correlations[:, last]
    earlier = jnp.where(first, c, checked.correlations[:, last - 1])
    step = block[last] - jnp.where(first, before.strength, block[last - 1])
    slope = jnp.where(step == 0, 0.0, (now - earlier) / jnp.where(step == 0, 1.0, step))
    return Solution(block[last], found.w[last], found.signs[last]), now, slope


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


class _Path:
    """The part of a path that is solved.

    Attributes:
        done: How many strengths are.
        before: The last solution, over the slots.
        c: The correlations there, (features,).
        slope: Their derivatives by the strength.
        missed: Features that the last check found missing.
        w: Coefficients (strengths, features).
        gaps: Relative duality gaps (strengths,).
    """

    def __init__(self, slots: Slots, start: Start, count: int) -> None:
        self.slots, self.done = slots, 0
        strength, active, values, correlations = start
        slots.put(active, np.zeros(slots.size, bool))
        w = np.zeros(slots.size)
        w[slots.slot_of[active]] = values
        self.before = Solution(*map(jnp.asarray, (strength, w, np.sign(w))))
        self.c = jnp.asarray(correlations)
        self.slope = jnp.zeros_like(self.c)
        # Column-major: the memory of features that are never active is never touched.
        self.w = np.zeros((len(correlations), count)).T
        self.gaps = np.zeros(count)
        self.missed = np.zeros(0, int)

    def ahead(self, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next block of strengths, and its candidates."""
        left = strengths[self.done :]
        blocks = [left[:size] for size in BLOCKS]
        ends = np.array([block[-1] for block in blocks])
        close, counts = _candidates(
            self.c, self.slope, self.slots.factors, self.before.strength, ends
        )
        fits = np.asarray(counts) <= self.slots.size
        which = int(np.argmax(fits)) if fits.any() else -1
        wanted = np.flatnonzero(np.asarray(close)[which])
        return blocks[which], np.union1d(wanted, self.missed)

    def advance(self, strengths: np.ndarray, has_l2: bool) -> None:
        """Solve the next block, check it, and keep what is right."""
        block, wanted = self.ahead(strengths)
        slots, count = self.slots, len(block)
        keep = np.asarray(slots.held.current.active) | (np.asarray(self.before.signs) != 0)
        slots.put(wanted, keep)
        if more := slots.size - len(self.before.w):
            start, w, signs = self.before
            self.before = Solution(start, jnp.pad(w, (0, more)), jnp.pad(signs, (0, more)))
        padded = np.pad(block, (0, max(BLOCKS) - count), mode="edge")
        _, problem, current = slots.held
        found = follow(problem, current, self.before, padded, count, has_l2)
        slots.held = slots.held._replace(current=found.active_set)
        checked = self._check(found.w, padded, count)
        first = np.asarray(checked.first)
        missed, right = np.flatnonzero(first < count), int(first.min())
        # Without progress, what was missed before must stay a candidate.
        self.missed = missed if right else np.union1d(self.missed, missed)
        if right:
            self._keep(padded, right, found, checked)

    def _check(self, w: Array, strengths: np.ndarray, count: int) -> Checked:
        """Check coefficients (strengths, slots), of which `count` have a meaning."""
        slots, factors = self.slots, self.slots.factors
        source, held, ids = slots.source, slots.held, slots.features()
        if not isinstance(source, SparseSamples):
            return _check(source, factors, held, ids, w, strengths, count)
        residuals = source.residuals(*slots.spread(np.asarray(w)))
        given = factors, held.problem, ids, w, strengths, count
        return _check_residuals(residuals, source.square, *given)

    def _keep(
        self, padded: np.ndarray, right: int, found: Followed, checked: Checked
    ) -> None:
        """Keep the first solutions of a block: those that missed no feature."""
        part, last = slice(self.done, self.done + right), right - 1
        ids, values = self.slots.spread(np.asarray(found.w)[:right])
        self.w[part, ids] = values
        self.gaps[part] = np.asarray(checked.gaps)[:right]
        self.before, self.c, self.slope = _extrapolated(
            found, checked, self.before, self.c, padded, last
        )
        self.done += right


def screened_path(
    source: Samples | SparseSamples | Moments,
    factors: Factors,
    strengths: np.ndarray,
    start: Start,
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
    factors = jax.tree.map(jnp.asarray, factors)
    if not isinstance(source, SparseSamples):
        source = jax.tree.map(jnp.asarray, source)
    path = _Path(Slots(source, factors), start, len(strengths))
    # It ends: each round keeps a solution, or adds a candidate until all features are.
    while path.done < len(strengths):
        path.advance(strengths, factors.l2 is not None)
    return path.w, path.gaps
