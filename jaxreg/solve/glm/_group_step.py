"""Quadratic models with a group lasso term, minimised exactly.

Groups are given by `group`: for each coefficient the index of the first one of its group;
`None` if each coefficient is a group of its own. Shapes: m candidates, see `_newton_model`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_STEPS = 500
_DAMPING = 1e-11


def lengths(x: Array, group: Array | None) -> Array:
    """For each coefficient the norm of its group."""
    if group is None:
        return jnp.abs(x)
    return jnp.sqrt(_totals(x**2, group))


def directions(x: Array, group: Array | None) -> Array:
    """For each group x / ‖x‖, and 0 at 0: the gradient of the norm."""
    if group is None:
        return jnp.sign(x)
    length = lengths(x, group)
    return x / jnp.where(length == 0, 1.0, length)


def _totals(x: Array, group: Array) -> Array:
    return jax.ops.segment_sum(x, group, num_segments=len(x))[group]


# Norms bend: of a Newton step that is many times as long as a group, a small part is good.
_PARTS = 4.0 ** -np.arange(1, 9)


class _State(NamedTuple):
    """Where the search is.

    Attributes:
        rounds: How many rounds there were.
        failed: Whether no Newton step lowered the objective in the last one.
        z: Coefficients, an array (m,).
        slope: The gradient of the smooth part at `z`, an array (m,).
    """

    rounds: Array
    failed: Array
    z: Array
    slope: Array


def group_step(
    h: Array, slope: Array, w: Array, l1: Array, l2: Array, tol: Array, group: Array
) -> Array:
    """The minimiser z of a quadratic model with a group lasso and an L2 term.

        slope · (z − w) + ½(z − w)ᵀh(z − w) + Σ_g l1_g · ‖z_g‖ + ½ Σ l2 · z²

    Newton steps on the groups that are not zero, where norms are smooth: such a step ends
    at the best of the points where a group would turn around, which becomes zero there, or
    sends all of these to zero, or goes only a part of the way. When groups that are zero
    violate the optimality conditions most, a proximal step with a length for each group
    lets them in. The objective never rises.

    Args:
        h: The Hessian, positive semi-definite, an array (m, m).
        slope: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: Where the search starts, an array (m,).
        l1: For each coefficient the strength of its group; 0 if it is not penalised.
        l2: For each coefficient, alike within a group.
        tol: How large a violation of the optimality conditions may stay.
        group: The groups.

    Returns:
        The minimiser, or the best point after a bounded number of steps.
    """
    h = h + jnp.diag(l2)
    same = group[:, None] == group[None, :]
    # A diagonal above h, the same within each group.
    rows = jnp.sum(jnp.abs(h), axis=1)
    bound = jax.ops.segment_max(rows, group, num_segments=len(rows))[group]
    bound = jnp.where(bound > 0, bound, 1.0)

    def proximal(z: Array, slope: Array) -> Array:
        moved = z - slope / bound
        length = lengths(moved, group)
        kept = jnp.maximum(length - l1 / bound, 0.0)
        return moved * (kept / jnp.where(length == 0, 1.0, length))

    def newton(z: Array, slope: Array) -> Array:
        length = lengths(z, group)
        on = (length > 0) | (l1 == 0)
        u = directions(z, group)
        # The Hessian of l1·‖z‖ is l1/‖z‖ · (I − uuᵀ).
        bend = jnp.where(on, l1 / jnp.where(length > 0, length, 1.0), 0.0)
        matrix = h - jnp.where(same, bend[:, None] * u[:, None] * u[None, :], 0.0)
        matrix = jnp.where(on[:, None] & on[None, :], matrix, 0.0)
        diagonal = jnp.diagonal(matrix) + bend
        diagonal = jnp.where(on, diagonal + _DAMPING * bound, 1.0)
        matrix = matrix.at[jnp.diag_indices_from(h)].set(diagonal)
        factor = jax.scipy.linalg.cho_factor(matrix)
        return jax.scipy.linalg.cho_solve(factor, jnp.where(on, -(slope + l1 * u), 0.0))

    def gains(steps: Array, z: Array, slope: Array) -> Array:
        """By how much each of some steps, an array (steps, m), changes the objective."""
        norms = jax.vmap(lambda x: directions(z + x, group) * (z + x))(steps)
        norms = norms - (directions(z, group) * z)[None, :]
        return steps @ slope + jnp.sum(steps * (steps @ h), axis=1) / 2 + norms @ l1

    def advance(state: _State) -> _State:
        on, off = _violations(state.z, state.slope, l1, group)
        enters = (on <= 0.1 * off) | state.failed
        z = jnp.where(enters, proximal(state.z, state.slope), state.z)
        slope = state.slope + h @ (z - state.z)
        d = newton(z, slope)
        ahead, square = _totals(z * d, group), lengths(z, group) ** 2
        turns = (ahead < -square) & (l1 > 0)
        # Where a group is as short as it gets on the way: it becomes zero there.
        breaks = jnp.where(turns, -square / jnp.where(turns, ahead, 1.0), 1.0)
        along = breaks[:, None] * d[None, :]
        ends = turns[None, :] & (breaks[:, None] == breaks[None, :])
        along = jnp.where(ends, -z[None, :], along)
        shorter = _PARTS[:, None] * d[None, :]
        tries = jnp.concatenate([along, jnp.where(turns, -z, d)[None], shorter])
        found = gains(tries, z, slope)
        best = jnp.argmin(found)
        step = jnp.where(found[best] < 0, tries[best], 0.0)
        # A group that is short bends so steeply that rounding can make the step NaN.
        failed = ~(found[best] < 0) & ~state.failed
        return _State(state.rounds + 1, failed, z + step, slope + h @ step)

    def goes_on(state: _State) -> Array:
        worst = jnp.maximum(*_violations(state.z, state.slope, l1, group))
        return (worst > tol) & (state.rounds < _STEPS)

    start = _State(jnp.zeros([], int), jnp.zeros([], bool), w, slope + l2 * w)
    return jax.lax.while_loop(goes_on, advance, start).z


def _violations(z: Array, slope: Array, l1: Array, group: Array) -> tuple[Array, Array]:
    """The largest ones, among groups that are not zero and those that are."""
    zero = (lengths(z, group) == 0) & (l1 > 0)
    off = jnp.maximum(lengths(slope, group) - l1, 0.0)
    on = jnp.abs(slope + l1 * directions(z, group))
    return jnp.max(jnp.where(zero, 0.0, on)), jnp.max(jnp.where(zero, off, 0.0))
