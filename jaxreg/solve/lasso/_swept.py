"""Linear algebra on a changing set of active features: the swept Gram matrix.

Sweeping a Gram matrix on the active features A exchanges what is given and what is wanted
in q = gram·w. With B the other features,

    (w_A, q_B) = swept · (q_A, w_B)

so the block swept_AA is the inverse of gram_AA, and swept_BB is the Schur complement, whose
diagonal is the squared distance of each other feature from the span of the active ones.
Exchanging k features between A and B is one update of rank k.

References:
    Goodnight, *A tutorial on the SWEEP operator* (1979); Tsatsomeros, *Principal pivot
    transforms: properties and applications* (2000).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

DEPENDENT = 1e-10
"""A feature depends on the active ones if its squared distance from their span, relative to
its squared norm, is at most this."""
WIDTH = 16
"""The largest number of features that are exchanged at once."""


class ActiveSet(NamedTuple):
    """The active features, and the Gram matrix swept on them.

    Attributes:
        swept: An array (features, features).
        active: Bools (features,).
        signs: The signs of the coefficients, (features,); zero exactly where not active.
    """

    swept: Array
    active: Array
    signs: Array


def empty_set(gram: Array) -> ActiveSet:
    """No feature is active: the swept matrix is the matrix itself."""
    return ActiveSet(gram, jnp.zeros(len(gram), bool), jnp.zeros(len(gram), gram.dtype))


def dependent(current: ActiveSet, gram: Array) -> Array:
    """Which inactive features depend on the active ones, bools (features,)."""
    outside = jnp.diagonal(current.swept) <= DEPENDENT * jnp.diagonal(gram)
    return outside & ~current.active


def exchange(current: ActiveSet, scores: Array, signs: Array, gram: Array) -> ActiveSet:
    """Exchange the WIDTH features of the largest positive scores.

    Features that depend on the active ones do not enter.

    Args:
        current: The active set before.
        scores: For each feature, (features,).
        signs: For each feature, the sign with which it enters, (features,).
        gram: The matrix that is swept.
    """
    swept, active, _ = current
    best, index = jax.lax.top_k(scores, min(WIDTH, len(scores)))
    least_pivots = jnp.where(active, 0.0, DEPENDENT * jnp.diagonal(gram))[index]
    rows = swept[index]  # (exchanged, features)
    block, done = _invert_block(rows[:, index], best > 0, least_pivots)
    # The swept matrix is symmetric but for the signs of its blocks AB and BA.
    flips = jnp.where(active, -1.0, 1.0)
    columns = flips[index, None] * flips[None] * rows
    exchanged = jnp.where(done, index, len(active))
    inner = block @ rows
    # One outer product at a time is a single pass over the matrix; a product makes three.
    for column, row in zip(columns, inner, strict=True):
        swept = swept - column[:, None] * row[None]
    inner = (-inner).at[:, exchanged].set(block, mode="drop")
    outer = (columns.T @ block).at[exchanged].set(block, mode="drop")
    swept = swept.at[:, exchanged].set(outer, mode="drop")
    swept = swept.at[exchanged].set(inner, mode="drop")
    changed = jnp.zeros_like(active).at[exchanged].set(True, mode="drop")
    signs = jnp.where(changed, signs, current.signs)
    return ActiveSet(swept, active ^ changed, jnp.where(active ^ changed, signs, 0.0))


def _invert_block(block: Array, wanted: Array, least: Array) -> tuple[Array, Array]:
    """The inverse of the part of a block whose pivots exceed the least; zero elsewhere.

    Returns:
        The inverse, and which rows it is of.
    """
    order = jnp.arange(len(wanted))

    def pivot(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        block, done = carry
        is_large = wanted[k] & (block[k, k] > least[k])
        column, row = block[:, k] / block[k, k], block[k]
        new = block - jnp.outer(column, row)
        new = new.at[:, k].set(column).at[k].set(-row / row[k]).at[k, k].set(1 / row[k])
        return jnp.where(is_large, new, block), done | ((order == k) & is_large)

    start = block, jnp.zeros_like(wanted)
    block, done = jax.lax.fori_loop(0, len(wanted), pivot, start)
    return jnp.where(done[:, None] & done[None], block, 0.0), done


def norms(squares: Any, xp: Any = jnp) -> Any:
    """Norms of features from their squares, the units of errors; 1 for those of zero."""
    return xp.sqrt(xp.where(squares > 0, squares, 1.0))


def solve(
    gram: Array, ridge: Array, current: ActiveSet, target: Array, steps: Any
) -> tuple[Array, Array]:
    """Solve `(gram + diag(ridge)) · w = target` on the active features, w = 0 elsewhere.

    The swept matrix holds an inverse that has rounding errors, or is for another ridge. So
    it is the preconditioner of conjugate gradients: one step mends the former, a few the
    latter.

    Args:
        gram: An array (features, features).
        ridge: An array (features,).
        current: The active set.
        target: An array (features,).
        steps: The largest number of steps.

    Returns:
        The solution, and its image under the matrix, for all features.
    """
    swept, active, _ = current
    target = jnp.where(active, target, 0.0)
    units = norms(jnp.diagonal(gram) + ridge)
    size = jnp.max(jnp.abs(target) / units)

    def is_inexact(carry: tuple[Array, ...]) -> Array:
        w, image, *_, count = carry
        error = jnp.max(jnp.abs(jnp.where(active, target - image, 0.0)) / units)
        attainable = 4e-16 * (size + jnp.sum(jnp.abs(w) * units))
        return (error > attainable) & (count < steps)

    def refine(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        w, image, direction, before, count = carry
        residuals = jnp.where(active, target - image, 0.0)
        z = jnp.where(active, swept @ residuals, 0.0)
        now = jnp.vdot(residuals, z)
        direction = z + jnp.where(before > 0, now / before, 0.0) * direction
        along = gram @ direction + ridge * direction
        curvature = jnp.vdot(direction, along)
        step = jnp.where(curvature > 0, now / curvature, 0.0)
        return w + step * direction, image + step * along, direction, now, count + 1

    w = jnp.where(active, swept @ target, 0.0)
    image = gram @ w + ridge * w
    start = w, image, jnp.zeros_like(w), jnp.zeros_like(size), jnp.zeros((), int)
    w, image, *_ = jax.lax.while_loop(is_inexact, refine, start)
    return w, image
