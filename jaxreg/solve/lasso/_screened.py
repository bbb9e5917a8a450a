"""A path over many features.

Only candidates are looked at: features whose correlation with the residuals, drawn on along
the path, comes near its threshold before the end of a block of strengths. One product with
all features then checks the block: it certifies the solutions by their duality gaps, finds
the features that were missed, and tells where all correlations are heading.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve.gaps import Factors, duality_gaps
from jaxreg.solve.lasso._homotopy import Followed, Solution, follow
from jaxreg.solve.lasso._slots import Held, Slots
from jaxreg.solve.lasso._sources import Moments, Samples

BLOCKS = 16, 10, 5, 2, 1
"""How many strengths are solved between two products with all features: the most whose
candidates are no more than there are slots."""
NEAR = 0.97
"""Candidates are predicted to come so near to their threshold, or nearer."""
MISSED = 1e-13
"""Other features whose correlation is beyond it, by this share of the largest strength."""


class Checked(NamedTuple):
    """What one product with all features says of the solutions of a block.

    Attributes:
        gaps: Duality gaps, relative to the mean square of the target.
        correlations: With the residuals, an array (features, strengths).
        first: At which strength each feature was missed first; the number of the
            strengths that were solved for, if at none.
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
    left = source.left(w, ids, held.rows)
    inside = Factors(held.problem.l1, held.problem.l2, factors.positive)
    sizes = inside.sizes(w)
    gaps = duality_gaps(left, source.square, sizes, strengths, factors, jnp)
    priced = inside.l1 > 0
    largest = jnp.abs(held.problem.correlations) / jnp.where(priced, inside.l1, 1.0)
    slack = MISSED * jnp.max(jnp.where(priced, largest, 0.0))
    pull = factors.pull(left.correlations, jnp)
    missed = pull > (strengths + slack)[None] * factors.l1[:, None]
    order = jnp.minimum(jnp.arange(len(strengths)), stop)
    first = jnp.min(jnp.where(missed, order[None], stop), axis=1)
    first = first.at[ids].set(stop, mode="drop")
    return Checked(gaps, left.correlations, first)


@jax.jit
def _candidates(
    c: Array, slope: Array, factors: Factors, start: Array, ends: Any
) -> tuple[Array, Array]:
    """Which correlations are predicted to come near their threshold before each end.

    An array (ends, features), and how many.
    """
    between = start + (ends - start)[None] * jnp.array([0.3, 0.6, 1.0])[:, None]
    between = between[..., None]  # (points, ends, 1), beside the features
    predicted = c[None, None] + (between - start) * slope[None, None]
    limits = between * factors.l1[None, None]
    near = factors.pull(predicted, jnp) / jnp.where(limits > 0, limits, 1.0)
    close = jnp.any(jnp.where(limits > 0, near, jnp.inf) >= NEAR, axis=0)
    return close, jnp.sum(close, axis=1)


@jax.jit
def _onward(
    found: Followed, checked: Checked, before: Solution, c: Array, block: Any, last: Any
) -> tuple[Solution, Array, Array]:
    """The last good solution of a block, its correlations, and where they are heading."""
    first = last == 0
    now = checked.correlations[:, last]
    earlier = jnp.where(first, c, checked.correlations[:, last - 1])
    step = block[last] - jnp.where(first, before.strength, block[last - 1])
    slope = jnp.where(step == 0, 0.0, (now - earlier) / jnp.where(step == 0, 1.0, step))
    return Solution(block[last], found.w[last], found.signs[last]), now, slope


class _Path:
    """A path as far as it has been followed."""

    def __init__(self, slots: Slots, start: float, correlations: Array, count: int) -> None:
        self.slots, self.done = slots, 0
        line = jnp.zeros(slots.size)
        self.before = Solution(jnp.asarray(start), line, line)
        self.c, self.slope = correlations, jnp.zeros_like(correlations)
        # A feature's coefficients lie together: of most, nothing is ever written.
        self.w = np.zeros((len(correlations), count)).T
        self.gaps = np.zeros(count)
        self.missed = np.zeros(0, int)

    def ahead(self, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next strengths, and features that may become active there."""
        left = strengths[self.done :]
        blocks = [left[:size] for size in BLOCKS]
        ends = np.array([block[-1] for block in blocks])
        close, counts = _candidates(
            self.c, self.slope, self.slots.factors, self.before.strength, ends
        )
        few = np.asarray(counts) <= self.slots.size
        which = int(np.argmax(few)) if few.any() else -1
        wanted = np.flatnonzero(np.asarray(close)[which])
        return blocks[which], np.union1d(wanted, self.missed)

    def advance(self, strengths: np.ndarray, ridged: bool) -> None:
        """Solve for some more strengths, and check them."""
        block, wanted = self.ahead(strengths)
        slots, count = self.slots, len(block)
        keep = np.asarray(slots.held.basis.active) | (np.asarray(self.before.signs) != 0)
        slots.hold(wanted, keep)
        if more := slots.size - len(self.before.w):
            start, w, signs = self.before
            self.before = Solution(start, jnp.pad(w, (0, more)), jnp.pad(signs, (0, more)))
        padded = np.pad(block, (0, max(BLOCKS) - count), mode="edge")
        _, problem, basis = slots.held
        found = follow(problem, basis, self.before, padded, count, ridged)
        slots.held = slots.held._replace(basis=found.basis)
        checked = _check(
            slots.source,
            slots.factors,
            slots.held,
            slots.places(),
            found.w,
            padded,
            count,
        )
        first = np.asarray(checked.first)
        missed, good = np.flatnonzero(first < count), int(first.min())
        # Until there is progress, none is given up again.
        self.missed = missed if good else np.union1d(self.missed, missed)
        if good:
            self._keep(padded, good, found, checked)

    def _keep(
        self, padded: np.ndarray, good: int, found: Followed, checked: Checked
    ) -> None:
        part, last = slice(self.done, self.done + good), good - 1
        ids, values = self.slots.spread(np.asarray(found.w)[:good])
        self.w[part, ids] = values
        self.gaps[part] = np.asarray(checked.gaps)[:good]
        self.before, self.c, self.slope = _onward(
            found, checked, self.before, self.c, padded, last
        )
        self.done += good


def screened_path(
    source: Samples | Moments,
    factors: Factors,
    strengths: np.ndarray,
    correlations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients at falling strengths, an array (strengths, features), and their gaps.

    The gaps are relative to the mean square of the target.

    Args:
        source: Of the products.
        factors: Of the penalty.
        strengths: Falling.
        correlations: Of features and target.
    """
    source, factors = jax.tree.map(jnp.asarray, (source, factors))
    start = jnp.asarray(correlations)
    path = _Path(Slots(source, factors), strengths[0], start, len(strengths))
    while path.done < len(strengths):
        path.advance(strengths, factors.l2 is not None)
    return path.w, path.gaps
