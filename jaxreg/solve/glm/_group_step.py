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

Shapes: m candidates, see `_candidate_model`.
"""

from typing import NamedTuple

import numpy as np

from jaxreg.solve.definite import solve_positive
from jaxreg.solve.glm._groups import Groups, directions, lengths

_STEPS = 500
_DAMPING = 1e-11
# The smaller t that are tried.
_PARTS = 4.0 ** -np.arange(1, 9)


class _Quadratic(NamedTuple):
    """The model q.

    Attributes:
        h: The Hessian of the smooth part, l2 included, an array (m, m).
        l1: For each coefficient the strength of its group, an array (m,).
        groups: The groups.
        bound: A diagonal matrix that is at least h, alike within a group, an array (m,).
        pairs: The rows and the columns of h at which both coefficients are of one group.
    """

    h: np.ndarray
    l1: np.ndarray
    groups: Groups
    bound: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]


class _State(NamedTuple):
    """The state of the search.

    Attributes:
        z: Coefficients, an array (m,).
        gradient: The gradient of the smooth part at `z`, an array (m,).
        failed: Whether no Newton step lowered q in the last round.
    """

    z: np.ndarray
    gradient: np.ndarray
    failed: bool


def group_step(
    h: np.ndarray,
    gradient: np.ndarray,
    w: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    tol: float,
    groups: Groups,
) -> np.ndarray:
    """The minimiser z of a quadratic model with a group lasso and an L2 term.

    Args:
        h: The Hessian, positive semi-definite, an array (m, m).
        gradient: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: The start of the search, an array (m,).
        l1: For each coefficient the strength of its group; 0 if it is not penalised.
        l2: For each coefficient, alike within a group.
        tol: The largest violation of the optimality conditions to accept.
        groups: The groups.

    Returns:
        The minimiser, or the best point after a bounded number of rounds.
    """
    h = h + np.diag(l2)
    sums = np.sum(abs(h), axis=1)
    bound = np.maximum.reduceat(sums[groups.order], groups.starts)[groups.label]
    row, column = np.nonzero(groups.label[:, None] == groups.label)
    q = _Quadratic(h, l1, groups, np.where(bound > 0, bound, 1.0), (row, column))
    state = _State(w, gradient + l2 * w, False)
    for _ in range(_STEPS):
        violations = _violations(q, state.z, state.gradient)
        if not max(violations) > tol:
            break
        state = _advance(q, state, *violations)
    return state.z


def _advance(q: _Quadratic, state: _State, on: float, off: float) -> _State:
    """One round: a proximal step if groups must become nonzero, then a Newton step."""
    z, gradient = state.z, state.gradient
    if on <= 0.1 * off or state.failed:
        z = _proximal_step(q, z, gradient)
        gradient = gradient + q.h @ (z - state.z)
    tries = _tries(q, z, _newton_step(q, z, gradient))
    changes = _changes(q, tries, z, gradient)
    best = np.argmin(changes)
    # Near zero a norm is so strongly curved that rounding can make a step NaN.
    if not changes[best] < 0:
        return _State(z, gradient, not state.failed)
    return _State(z + tries[best], gradient + q.h @ tries[best], False)


def _proximal_step(q: _Quadratic, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    moved = z - gradient / q.bound
    length = lengths(moved, q.groups)
    kept = np.maximum(length - q.l1 / q.bound, 0.0)
    return moved * (kept / np.where(length == 0, 1.0, length))


def _newton_step(q: _Quadratic, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The Newton step in the groups that are not zero or not penalised."""
    length, u = lengths(z, q.groups), directions(z, q.groups)
    on = np.flatnonzero((length > 0) | (q.l1 == 0))
    curvature = q.l1 / np.where(length > 0, length, 1.0)
    matrix = q.h[np.ix_(on, on)]
    matrix[np.diag_indices(len(on))] += (curvature + _DAMPING * q.bound)[on]
    position = np.full(len(z), -1)
    position[on] = np.arange(len(on))
    row, column = (each[position[q.pairs[0]] >= 0] for each in q.pairs)
    matrix[position[row], position[column]] -= curvature[row] * u[row] * u[column]
    d = np.zeros_like(z)
    d[on] = solve_positive(matrix, -(gradient + q.l1 * u)[on])
    return d


def _tries(q: _Quadratic, z: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The steps from z to the points that are compared, an array (tries, m)."""
    groups, each = q.groups, q.groups.starts
    ahead, square = groups.sums(z * d), groups.sums(z**2)
    turns = np.flatnonzero((ahead < -square) & (q.l1[groups.order[each]] > 0))
    # z + t·d is orthogonal to z within a group at t = −‖z‖²/(z·d).
    t = -square[turns] / ahead[turns]
    ends = groups.label[None, :] == turns[:, None]
    along = np.where(ends, -z[None, :], t[:, None] * d[None, :])
    whole = np.where(np.isin(groups.label, turns), -z, d)
    return np.concatenate([along, whole[None], _PARTS[:, None] * d[None, :]])


def _changes(
    q: _Quadratic, steps: np.ndarray, z: np.ndarray, gradient: np.ndarray
) -> np.ndarray:
    """The change of q by each of some steps, an array (tries, m)."""
    groups = q.groups
    norms = groups.norms(z + steps) - groups.norms(z)
    l1 = q.l1[groups.order[groups.starts]]
    return steps @ gradient + np.sum(steps * (steps @ q.h), axis=1) / 2 + norms @ l1


def _violations(q: _Quadratic, z: np.ndarray, gradient: np.ndarray) -> tuple[float, float]:
    """The largest violations among groups that are not zero, and among those that are."""
    zero = (lengths(z, q.groups) == 0) & (q.l1 > 0)
    off = np.maximum(lengths(gradient, q.groups) - q.l1, 0.0)
    on = abs(gradient + q.l1 * directions(z, q.groups))
    return (
        np.max(np.where(zero, 0.0, on), initial=0.0),
        np.max(np.where(zero, off, 0.0), initial=0.0),
    )
