"""Linear algebra on sets of features that change: a table, and exchanges by blocks.

The *table* is the principal pivot transform of a Gram matrix. It maps what is known to what
is not,

    (w_A, q_B) = table · (q_A, w_B)    if    q = gram · w,      A: active, B: the others

so its block A, A is the inverse of that block of the Gram matrix, and its block B, B the
Schur complement, whose diagonal says how far each feature is from depending on the active
ones. To exchange k features is one update of rank k.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

DEPENDENT = 1e-10
"""A feature depends on others if at most this share of its square is outside their span."""
WIDTH = 16
"""At most so many features are exchanged at once."""


class Basis(NamedTuple):
    """Which features are active, their signs, and the table for them."""

    table: Array
    active: Array
    signs: Array


def fresh(gram: Array) -> Basis:
    """No feature is active: the table is the matrix itself."""
    none = jnp.zeros(len(gram), bool)
    return Basis(gram, none, jnp.zeros(len(gram), gram.dtype))


def lengths(squares: Array) -> Array:
    """Lengths of features, the units of errors; 1 for those that are zero."""
    return jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def dependent(basis: Basis, gram: Array) -> Array:
    """Which of the others depend on the active features."""
    outside = jnp.diagonal(basis.table) <= DEPENDENT * jnp.diagonal(gram)
    return outside & ~basis.active


def exchange(basis: Basis, scores: Array, signs: Array, gram: Array) -> Basis:
    """Exchange the features of the largest positive scores, as many as may be at once.

    Features that depend on the active ones stay outside.

    Args:
        basis: The basis before.
        scores: For each feature.
        signs: Of features that enter.
        gram: The matrix of the table.
    """
    table, active, _ = basis
    best, index = jax.lax.top_k(scores, min(WIDTH, len(scores)))
    floors = jnp.where(active, 0.0, DEPENDENT * jnp.diagonal(gram))[index]
    rows = table[index]
    block, done = _pivot_block(rows[:, index], best > 0, floors)
    flips = jnp.where(active, -1.0, 1.0)
    columns = flips[index, None] * flips[None] * rows
    places = jnp.where(done, index, len(active))
    inner = block @ rows
    # Products one by one make a single pass over the table; a matrix product makes three.
    for column, row in zip(columns, inner, strict=True):
        table = table - column[:, None] * row[None]
    inner = (-inner).at[:, places].set(block, mode="drop")
    outer = (columns.T @ block).at[places].set(block, mode="drop")
    table = table.at[:, places].set(outer, mode="drop")
    table = table.at[places].set(inner, mode="drop")
    changed = jnp.zeros_like(active).at[places].set(True, mode="drop")
    signs = jnp.where(changed, signs, basis.signs)
    return Basis(table, active ^ changed, jnp.where(active ^ changed, signs, 0.0))


def _pivot_block(block: Array, wanted: Array, floors: Array) -> tuple[Array, Array]:
    """The inverse of the part of a block whose pivots are good; zero elsewhere."""
    axes = jnp.arange(len(wanted))

    def pivot(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        block, done = carry
        good = wanted[k] & (block[k, k] > floors[k])
        column, row = block[:, k] / block[k, k], block[k]
        new = block - jnp.outer(column, row)
        new = new.at[:, k].set(column).at[k].set(-row / row[k]).at[k, k].set(1 / row[k])
        return jnp.where(good, new, block), done | ((axes == k) & good)

    start = block, jnp.zeros_like(wanted)
    block, done = jax.lax.fori_loop(0, len(wanted), pivot, start)
    return jnp.where(done[:, None] & done[None], block, 0.0), done


def solve(
    gram: Array, ridge: Array, basis: Basis, target: Array, steps: Any
) -> tuple[Array, Array]:
    """Solve `(gram + diag(ridge)) · w = target` on the active features.

    The table is exact up to rounding, or for another ridge: conjugate gradients with it
    as the preconditioner take one step for the former, and few for the latter, but no more
    than `steps`.

    Returns:
        The solution, and its image, for all features.
    """
    active = basis.active
    target = jnp.where(active, target, 0.0)
    units = lengths(jnp.diagonal(gram) + ridge)
    size = jnp.max(jnp.abs(target) / units)

    def inverse(r: Array) -> Array:
        return jnp.where(active, basis.table @ r, 0.0)

    def image(w: Array) -> Array:
        return gram @ w + ridge * w

    def residuals(slope: Array) -> Array:
        return jnp.where(active, target - slope, 0.0)

    def rough(carry: tuple[Array, ...]) -> Array:
        w, slope, *_, count = carry
        error = jnp.max(jnp.abs(residuals(slope)) / units)
        attainable = 4e-16 * (size + jnp.sum(jnp.abs(w) * units))
        return (error > attainable) & (count < steps)

    def refine(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        w, slope, direction, before, count = carry
        r = residuals(slope)
        z = inverse(r)
        now = jnp.vdot(r, z)
        direction = z + jnp.where(before > 0, now / before, 0.0) * direction
        along = image(direction)
        curvature = jnp.vdot(direction, along)
        step = jnp.where(curvature > 0, now / curvature, 0.0)
        return w + step * direction, slope + step * along, direction, now, count + 1

    w = inverse(target)
    start = w, image(w), jnp.zeros_like(w), jnp.zeros_like(size), jnp.zeros((), int)
    w, slope, *_ = jax.lax.while_loop(rough, refine, start)
    return w, slope
