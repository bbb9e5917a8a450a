"""A path over more features than their Gram matrix could hold.

Only candidates are looked at: features whose correlation with the residuals, drawn on along
the path, comes near its threshold before the end of a block of strengths. One product with
all features then checks the block: it certifies the solutions by their duality gaps, finds
the features that were missed, and tells where all correlations are heading.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve._gaps import duality_gaps
from jaxreg.solve._homotopy import Solution, follow
from jaxreg.solve._pivots import Basis, fresh
from jaxreg.solve._slots import Features, Held, Slots

NEAR = 0.9
MISSED = 1e-13
BLOCK = 8


class Checked(NamedTuple):
    """For each strength of a block: the gap, and all correlations with the residuals."""

    gaps: Array
    correlations: Array
    missed: Array


@functools.partial(jax.jit, static_argnums=4)
def _follow(
    held: Held, before: Solution, strengths: Array, ridge: Array, anew: bool
) -> Any:
    problem, basis = held.problem, held.basis
    if anew:
        basis = fresh(problem.gram + jnp.diag(2 * ridge * problem.l2))
    return follow(problem, basis, before, strengths)


@jax.jit
def _check(features: Features, held: Held, w: Array, strengths: Array) -> Checked:
    """One product with all features: gaps, correlations and which of them are too large."""
    xt, y, samples, l1, l2 = features
    problem = held.problem
    residuals = y - w @ held.rows
    c = residuals @ xt.T / samples
    squares = jnp.sum(residuals**2, axis=1) / samples
    sizes = jnp.abs(w) @ problem.l1 + w**2 @ problem.l2
    pull = jnp.where(problem.positive, jnp.maximum(c, 0.0), jnp.abs(c))
    along = residuals @ y / samples
    gaps = duality_gaps(sizes, pull, squares, along, (l1, l2), strengths, jnp)
    scale = jnp.max(jnp.abs(problem.correlations))
    missed = pull - strengths[:, None] * l1 > MISSED * scale
    return Checked(gaps / (jnp.vdot(y, y) / samples), c, missed)


@jax.jit
def _nearness(c: Array, slope: Array, l1: Array, strength: Array, ahead: Array) -> Array:
    """How near to its threshold each correlation is predicted to come."""
    predicted = c[:, None] + (ahead - strength) * slope[:, None]
    limits = ahead * l1[:, None]
    return jnp.max(jnp.where(limits > 0, jnp.abs(predicted) / limits, jnp.inf), axis=1)


def screened_path(
    features: Features, positive: bool, strengths: np.ndarray, correlations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Coefficients at falling strengths, an array (strengths, features); and their gaps."""
    count, ridged = len(strengths), bool(jnp.any(features.l2 > 0))
    penalised = np.asarray(features.l1) > 0
    pulls = np.abs(correlations)[penalised] / np.asarray(features.l1)[penalised]
    start = max(float(np.max(pulls, initial=0.0)), float(strengths[0]))
    slots = Slots(features, positive)
    w = np.zeros((count, len(correlations)))
    gaps = np.zeros(count)
    c, slope = jnp.asarray(correlations), jnp.zeros(len(correlations))
    line = jnp.zeros(slots.size)
    before = Solution(jnp.asarray(start), line, line)
    done, missed, stats = 0, np.zeros(0, int), []
    while done < count:
        block = strengths[done : done + BLOCK]
        block = np.pad(block, (0, BLOCK - len(block)), mode="edge")
        ahead = block[[0, BLOCK // 2, BLOCK - 1]]
        near = _nearness(c, slope, features.l1, before.strength, ahead)
        if not np.asarray(slope).any(): near = _nearness(c, slope, features.l1, before.strength, np.array([start,start,start]))*NEAR/0.75
        wanted = np.union1d(np.flatnonzero(np.asarray(near) >= NEAR), missed)
        keep = np.asarray(slots.held.basis.active) | (np.asarray(before.signs) != 0)
        slots.hold(wanted, keep)
        more = slots.size - len(before.w)
        before = before._replace(
            w=jnp.pad(before.w, (0, more)), signs=jnp.pad(before.signs, (0, more))
        )
        found = _follow(slots.held, before, block, block[-1], ridged)
        checked = _check(features, slots.held, found.w, block)
        slots.held = slots.held._replace(basis=found.basis)
        wrong = np.array(checked.missed)
        wrong[:, slots.ids[slots.ids >= 0]] = False
        good = np.flatnonzero(np.append(wrong.any(axis=1), True))[0]
        good = min(int(good), count - done)
        stats.append((done, good, slots.size, int(found.rounds), int((np.asarray(found.signs[-1])!=0).sum()), len(wanted)))
        missed = np.flatnonzero(wrong.any(axis=0))
        if good == 0:
            continue
        ids, values = slots.spread(np.asarray(found.w[:good]))
        w[done : done + good, ids] = values
        gaps[done : done + good] = np.asarray(checked.gaps)[:good]
        last = good - 1
        if last > 0:
            difference = checked.correlations[last] - checked.correlations[last - 1]
            slope = difference / min(block[last] - block[last - 1], -1e-300)
        c = checked.correlations[last]
        before = Solution(jnp.asarray(block[last]), found.w[last], found.signs[last])
        done += good
    return w, gaps, stats
