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

from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxreg._namespace import namespace
from jaxreg.solve.glm._backend import Backend

_STEPS = 500
_DAMPING = 1e-11
# The smaller t that are tried.
_PARTS = 4.0 ** -np.arange(1, 9)


def lengths(x: Array, group: Array | None) -> Array:
    """For each coefficient the norm of its group."""
    if group is None:
        return abs(x)
    return namespace(x).sqrt(_totals(x**2, group))


def directions(x: Array, group: Array | None) -> Array:
    """For each group x / ‖x‖, and 0 at 0: the gradient of the norm."""
    if group is None:
        return namespace(x).sign(x)
    length = lengths(x, group)
    return x / namespace(x).where(length == 0, 1.0, length)


def _totals(x: Any, group: Any) -> Any:
    if namespace(x) is np:
        return np.bincount(group, x, len(x))[group]
    return jax.ops.segment_sum(x, group, num_segments=len(x))[group]


def _largest(x: Any, group: Any) -> Any:
    """For each coefficient the largest of its group, of numbers that are not negative."""
    if namespace(x) is np:
        largest = np.zeros_like(x)
        np.maximum.at(largest, group, x)
        return largest[group]
    return jax.ops.segment_max(x, group, num_segments=len(x))[group]


class _Quadratic(NamedTuple):
    """The model q.

    Attributes:
        backend: What computes.
        h: The Hessian of the smooth part, l2 included, an array (m, m).
        l1: For each coefficient the strength of its group, an array (m,).
        group: The groups, an array (m,).
        bound: A diagonal matrix that is at least h, alike within a group, an array (m,).
    """

    backend: Backend
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
    h: Array,
    gradient: Array,
    w: Array,
    l1: Array,
    l2: Array,
    tol: Array,
    group: Array,
    backend: Backend,
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
        backend: What computes.

    Returns:
        The minimiser, or the best point after a bounded number of rounds.
    """
    xp = backend.xp
    h = h + xp.diag(l2)
    bound = _largest(xp.sum(abs(h), axis=1), group)
    q = _Quadratic(backend, h, l1, group, xp.where(bound > 0, bound, 1.0))

    def goes_on(state: _State) -> Array:
        worst = xp.maximum(*_violations(state.z, state.gradient, l1, group))
        return (worst > tol) & (state.rounds < _STEPS)

    start = _State(xp.zeros([], int), xp.zeros([], bool), w, gradient + l2 * w)
    return backend.loop(goes_on, lambda state: _advance(q, state), start).z


def _advance(q: _Quadratic, state: _State) -> _State:
    """One round: a proximal step if groups must become nonzero, then a Newton step."""
    xp = q.backend.xp
    on, off = _violations(state.z, state.gradient, q.l1, q.group)
    enters = (on <= 0.1 * off) | state.failed
    z = xp.where(enters, _proximal_step(q, state.z, state.gradient), state.z)
    gradient = state.gradient + q.h @ (z - state.z)
    tries = _tries(q, z, _newton_step(q, z, gradient))
    changes = _changes(q, tries, z, gradient)
    best = xp.argmin(changes)
    step = xp.where(changes[best] < 0, tries[best], 0.0)
    # Near zero a norm is so strongly curved that rounding can make the step NaN.
    failed = ~(changes[best] < 0) & ~state.failed
    return _State(state.rounds + 1, failed, z + step, gradient + q.h @ step)


def _proximal_step(q: _Quadratic, z: Array, gradient: Array) -> Array:
    xp = q.backend.xp
    moved = z - gradient / q.bound
    length = lengths(moved, q.group)
    kept = xp.maximum(length - q.l1 / q.bound, 0.0)
    return moved * (kept / xp.where(length == 0, 1.0, length))


def _newton_step(q: _Quadratic, z: Array, gradient: Array) -> Array:
    """The Newton step in the groups that are not zero or not penalised."""
    xp = q.backend.xp
    length = lengths(z, q.group)
    on = (length > 0) | (q.l1 == 0)
    u = directions(z, q.group)
    curvature = xp.where(on, q.l1 / xp.where(length > 0, length, 1.0), 0.0)
    same = q.group[:, None] == q.group[None, :]
    radial = xp.where(same, curvature[:, None] * u[:, None] * u[None, :], 0.0)
    matrix = xp.where(on[:, None] & on[None, :], q.h - radial, 0.0)
    diagonal = xp.diagonal(matrix) + curvature
    diagonal = xp.where(on, diagonal + _DAMPING * q.bound, 1.0)
    matrix = xp.where(xp.eye(len(diagonal), dtype=bool), diagonal[None, :], matrix)
    target = xp.where(on, -(gradient + q.l1 * u), 0.0)
    return q.backend.solve_positive(matrix, target)


def _tries(q: _Quadratic, z: Array, d: Array) -> Array:
    """The steps from z to the points that are compared, an array (tries, m)."""
    xp = q.backend.xp
    ahead, square = _totals(z * d, q.group), lengths(z, q.group) ** 2
    turns = (ahead < -square) & (q.l1 > 0)
    # z + t·d is orthogonal to z within a group at t = −‖z‖²/(z·d).
    t = xp.where(turns, -square / xp.where(turns, ahead, 1.0), 1.0)
    ends = turns[None, :] & (t[:, None] == t[None, :])
    along = xp.where(ends, -z[None, :], t[:, None] * d[None, :])
    shorter = _PARTS[:, None] * d[None, :]
    return xp.concatenate([along, xp.where(turns, -z, d)[None], shorter])


def _changes(q: _Quadratic, steps: Array, z: Array, gradient: Array) -> Array:
    """The change of q by each of some steps, an array (tries, m)."""
    xp = q.backend.xp
    (norms,) = q.backend.each(lambda x: (directions(z + x, q.group) * (z + x),), steps)
    norms = norms - (directions(z, q.group) * z)[None, :]
    return steps @ gradient + xp.sum(steps * (steps @ q.h), axis=1) / 2 + norms @ q.l1


def _violations(z: Array, gradient: Array, l1: Array, group: Array) -> tuple[Array, Array]:
    """The largest violations among groups that are not zero, and among those that are."""
    xp = namespace(z)
    zero = (lengths(z, group) == 0) & (l1 > 0)
    off = xp.maximum(lengths(gradient, group) - l1, 0.0)
    on = abs(gradient + l1 * directions(z, group))
    each = xp.where(zero, 0.0, on), xp.where(zero, off, 0.0)
    return xp.max(each[0], initial=0.0), xp.max(each[1], initial=0.0)
