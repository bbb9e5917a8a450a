"""Quadratic models with a group lasso term, minimised exactly.

    q(z) = gradient · (z − w) + ½(z − w)ᵀh(z − w) + Σ_g l1_g · ‖z_g‖ + ½ Σ l2 · z²

Where no group is zero q is smooth: with u = z_g/‖z_g‖ the Hessian of l1·‖z_g‖ is
l1/‖z_g‖ · (I − uuᵀ). A round takes a Newton step d in the groups that are not zero, and
ends at the best of these points:

- z + t·d for the t at which a group turns away from its direction, where z + t·d is
  orthogonal to z within the group; that group becomes zero there;
- z + d with all these groups zero;
- z + t·d for some smaller t: norms are curved, so that a small part of a step that is many
  times as long as a group may be best.

When the groups that are zero violate the optimality conditions most, a proximal step comes
first and makes them nonzero. Its length 1/bound differs between groups, with diag(bound) an
upper bound of h. q never rises.

Groups are given by `group`: for each coefficient the index of the first one of its group;
`None` if each coefficient is a group of its own. Shapes: m candidates, see
`_candidate_model`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._namespace import namespace

_STEPS = 500
_DAMPING = 1e-11
# The smaller t that are tried.
_PARTS = 4.0 ** -np.arange(1, 9)


def lengths(x: Array, group: Array | None) -> Array:
    """For each coefficient the norm of its group."""
    if group is None:
        return abs(x)
    return jnp.sqrt(_totals(x**2, group))


def directions(x: Array, group: Array | None) -> Array:
    """For each group x / ‖x‖, and 0 at 0: the gradient of the norm."""
    if group is None:
        return namespace(x).sign(x)
    length = lengths(x, group)
    return x / jnp.where(length == 0, 1.0, length)


def _totals(x: Array, group: Array) -> Array:
    return jax.ops.segment_sum(x, group, num_segments=len(x))[group]


class _Quadratic(NamedTuple):
    """The model q.

    Attributes:
        h: The Hessian of the smooth part, l2 included, an array (m, m).
        l1: For each coefficient the strength of its group, an array (m,).
        group: The groups, an array (m,).
        bound: A diagonal matrix that is at least h, alike within a group, an array (m,).
    """

    h: Array
    l1: Array
    group: Array
    bound: Array


class _State(NamedTuple):
    """The state of the search.

    Attributes:
        rounds: The number of rounds so far.
        failed: Whether no Newton step lowered q in the last one.
        z: Coefficients, an array (m,).
        gradient: The gradient of the smooth part at `z`, an array (m,).
    """

    rounds: Array
    failed: Array
    z: Array
    gradient: Array


def group_step(
    h: Array, gradient: Array, w: Array, l1: Array, l2: Array, tol: Array, group: Array
) -> Array:
    """The minimiser z of a quadratic model with a group lasso and an L2 term.

    Args:
        h: The Hessian, positive semi-definite, an array (m, m).
        gradient: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: The start of the search, an array (m,).
        l1: For each coefficient the strength of its group; 0 if it is not penalised.
        l2: For each coefficient, alike within a group.
        tol: The largest violation of the optimality conditions to accept.
        group: The groups.

    Returns:
        The minimiser, or the best point after a bounded number of rounds.
    """
    h = h + jnp.diag(l2)
    rows = jnp.sum(jnp.abs(h), axis=1)
    bound = jax.ops.segment_max(rows, group, num_segments=len(rows))[group]
    q = _Quadratic(h, l1, group, jnp.where(bound > 0, bound, 1.0))

    def goes_on(state: _State) -> Array:
        worst = jnp.maximum(*_violations(state.z, state.gradient, l1, group))
        return (worst > tol) & (state.rounds < _STEPS)

    start = _State(jnp.zeros([], int), jnp.zeros([], bool), w, gradient + l2 * w)
    return jax.lax.while_loop(goes_on, lambda state: _advance(q, state), start).z


def _advance(q: _Quadratic, state: _State) -> _State:
    """One round: a proximal step if groups must become nonzero, then a Newton step."""
    on, off = _violations(state.z, state.gradient, q.l1, q.group)
    enters = (on <= 0.1 * off) | state.failed
    z = jnp.where(enters, _proximal_step(q, state.z, state.gradient), state.z)
    gradient = state.gradient + q.h @ (z - state.z)
    tries = _tries(q, z, _newton_step(q, z, gradient))
    changes = _changes(q, tries, z, gradient)
    best = jnp.argmin(changes)
    step = jnp.where(changes[best] < 0, tries[best], 0.0)
    # Near zero a norm is so strongly curved that rounding can make the step NaN.
    failed = ~(changes[best] < 0) & ~state.failed
    return _State(state.rounds + 1, failed, z + step, gradient + q.h @ step)


def _proximal_step(q: _Quadratic, z: Array, gradient: Array) -> Array:
    moved = z - gradient / q.bound
    length = lengths(moved, q.group)
    kept = jnp.maximum(length - q.l1 / q.bound, 0.0)
    return moved * (kept / jnp.where(length == 0, 1.0, length))


def _newton_step(q: _Quadratic, z: Array, gradient: Array) -> Array:
    """The Newton step in the groups that are not zero or not penalised."""
    length = lengths(z, q.group)
    on = (length > 0) | (q.l1 == 0)
    u = directions(z, q.group)
    curvature = jnp.where(on, q.l1 / jnp.where(length > 0, length, 1.0), 0.0)
    same = q.group[:, None] == q.group[None, :]
    radial = jnp.where(same, curvature[:, None] * u[:, None] * u[None, :], 0.0)
    matrix = jnp.where(on[:, None] & on[None, :], q.h - radial, 0.0)
    diagonal = jnp.diagonal(matrix) + curvature
    diagonal = jnp.where(on, diagonal + _DAMPING * q.bound, 1.0)
    matrix = matrix.at[jnp.diag_indices_from(q.h)].set(diagonal)
    factor = jax.scipy.linalg.cho_factor(matrix)
    return jax.scipy.linalg.cho_solve(factor, jnp.where(on, -(gradient + q.l1 * u), 0.0))


def _tries(q: _Quadratic, z: Array, d: Array) -> Array:
    """The steps from z to the points that are compared, an array (tries, m)."""
    ahead, square = _totals(z * d, q.group), lengths(z, q.group) ** 2
    turns = (ahead < -square) & (q.l1 > 0)
    # z + t·d is orthogonal to z within a group at t = −‖z‖²/(z·d).
    t = jnp.where(turns, -square / jnp.where(turns, ahead, 1.0), 1.0)
    ends = turns[None, :] & (t[:, None] == t[None, :])
    along = jnp.where(ends, -z[None, :], t[:, None] * d[None, :])
    shorter = _PARTS[:, None] * d[None, :]
    return jnp.concatenate([along, jnp.where(turns, -z, d)[None], shorter])


def _changes(q: _Quadratic, steps: Array, z: Array, gradient: Array) -> Array:
    """The change of q by each of some steps, an array (tries, m)."""
    norms = jax.vmap(lambda x: directions(z + x, q.group) * (z + x))(steps)
    norms = norms - (directions(z, q.group) * z)[None, :]
    return steps @ gradient + jnp.sum(steps * (steps @ q.h), axis=1) / 2 + norms @ q.l1


def _violations(z: Array, gradient: Array, l1: Array, group: Array) -> tuple[Array, Array]:
    """The largest violations among groups that are not zero, and among those that are."""
    zero = (lengths(z, group) == 0) & (l1 > 0)
    off = jnp.maximum(lengths(gradient, group) - l1, 0.0)
    on = jnp.abs(gradient + l1 * directions(z, group))
    return jnp.max(jnp.where(zero, 0.0, on)), jnp.max(jnp.where(zero, off, 0.0))
