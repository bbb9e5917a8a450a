"""Quadratic models with an L1 term, minimised exactly: the steps of Newton's method.

    q(z) = gradient · (z − w) + ½(z − w)ᵀh(z − w) + Σ l1 · |z| + ½ Σ l2 · z²

Feature-sign search: for fixed signs q is quadratic, and a Newton step d in the active
coefficients leads to its minimiser. The signs hold up to the first breakpoint, where a
coefficient crosses zero; q may fall beyond it, with other signs. So two ends of a step are
tried, and the better one is taken:

- the best breakpoint on the ray z + t·d, 0 < t ≤ 1, whose coefficient becomes zero;
- the whole step, projected: every coefficient that would cross zero becomes zero.

q falls in each round and sign patterns are finitely many, so the search ends. A counter
ends it where rounding errors keep q from falling.

A Hessian of many candidates is not stored: then products with it are made, and Newton steps
by conjugate gradients.

Shapes: m candidates, see `_candidate_model`.

References:
    Lee, Battle, Raina and Ng, *Efficient sparse coding algorithms* (2007), algorithm 1.
"""

from typing import NamedTuple

import numpy as np

from jaxreg.solve.definite import solve_positive
from jaxreg.solve.glm._candidates import HessianProducts

_STEPS = 200
# How much smaller conjugate gradients make the violations of a round, unless they reach the
# tolerance before.
_SMALLER = 0.01
# Added to the diagonal, relative to it, so that systems with duplicated columns have a
# solution.
DAMPING = 1e-11


class _Quadratic(NamedTuple):
    """The model q.

    Attributes:
        h: The Hessian of the smooth part, l2 included, (m, m).
        l1: An array (m,); 0 for an unpenalised coefficient.
        tol: The largest violation of the optimality conditions to accept.
    """

    h: np.ndarray | HessianProducts
    l1: np.ndarray
    tol: float


class _State(NamedTuple):
    """The state of the search.

    Attributes:
        rounds: The number of rounds so far.
        z: Coefficients, an array (m,).
        gradient: The gradient of the smooth part at `z`, an array (m,).
        one_by_one: Whether only the zero with the worst violation may become active: after
            a round in which q did not fall.
        violation: Largest violation of the optimality conditions; 0 to end the search when
            q has not fallen in two rounds.
    """

    rounds: int
    z: np.ndarray
    gradient: np.ndarray
    one_by_one: bool
    violation: float


def lasso_step(
    h: np.ndarray | HessianProducts,
    gradient: np.ndarray,
    w: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    tol: float,
) -> np.ndarray:
    """The minimiser z of a quadratic model with L1 and L2 terms.

    Args:
        h: The Hessian, positive semi-definite, (m, m).
        gradient: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: The start of the search, an array (m,).
        l1: An array (m,); 0 for an unpenalised coefficient.
        l2: An array (m,).
        tol: The largest violation of the optimality conditions to accept.

    Returns:
        The minimiser, or the best point after a bounded number of rounds.
    """
    if not isinstance(h, np.ndarray):
        h = h._replace(l2=l2)
    elif np.any(l2):
        h = h + np.diag(l2)
    q = _Quadratic(h, l1, tol)
    gradient = gradient + l2 * w
    state = _State(0, w, gradient, False, _violation(w, gradient, l1))
    while state.violation > tol and state.rounds < _STEPS:
        state = _advance(q, state)
    return state.z


def _advance(q: _Quadratic, state: _State) -> _State:
    """One round: a Newton step in the active coefficients, to the better of two ends."""
    z, gradient = state.z, state.gradient
    sign = np.where(z != 0, np.sign(z), -np.sign(gradient))
    d = _newton_step(q, gradient + q.l1 * sign, _active(q, state))
    hd = q.h @ d
    stops = (q.l1 > 0) & ((z + d) * sign <= 0)
    projected, moved = np.where(stops, 0.0, z + d), np.where(stops, -z, d)
    h_moved = q.h @ moved if stops.any() else hd
    penalty_change = (abs(projected) - abs(z)) @ q.l1
    change = gradient @ moved + moved @ h_moved / 2 + penalty_change
    end, on_ray = projected, _best_on_ray(q, z, gradient, d, hd)
    if not change < on_ray[1]:
        end, change = on_ray
        h_moved = q.h @ (end - z)
    if not change < 0:
        violation = 0.0 if state.one_by_one else state.violation
        return _State(state.rounds + 1, z, gradient, True, violation)
    gradient = gradient + h_moved
    violation = _violation(end, gradient, q.l1)
    return _State(state.rounds + 1, end, gradient, False, violation)


def _active(q: _Quadratic, state: _State) -> np.ndarray:
    """The indices of the coefficients that the next step changes."""
    z, gradient = state.z, state.gradient
    excess = np.where(z == 0, abs(gradient) - q.l1, 0.0)
    worst = np.max(excess)
    # Zeros become active once the others are nearly optimal; earlier, they would enter and
    # leave by ever smaller steps.
    among_nonzero = _violation(z, gradient, np.where(z == 0, np.inf, q.l1))
    settled = among_nonzero <= 0.1 * worst or state.rounds == 0
    enters = (excess > q.tol) & settled
    if state.one_by_one:
        enters &= excess == worst
    return np.flatnonzero((z != 0) | (q.l1 == 0) | enters)


def _newton_step(q: _Quadratic, gradient: np.ndarray, active: np.ndarray) -> np.ndarray:
    """The Newton step in the active coefficients; the others keep their values."""
    d = np.zeros_like(gradient)
    if not isinstance(q.h, np.ndarray):
        size = float(np.max(abs(gradient[active]), initial=0.0))
        tol = max(q.tol / 2, _SMALLER * size)
        d[active] = q.h.part(active).solved(-gradient[active], DAMPING, tol)
        return d
    matrix = q.h[np.ix_(active, active)]
    diagonal = np.diagonal(matrix)
    damping = np.where(diagonal > 0, DAMPING * diagonal, 1.0)
    matrix[np.diag_indices(len(active))] += damping
    d[active] = solve_positive(matrix, -gradient[active])
    return d


def _best_on_ray(
    q: _Quadratic, z: np.ndarray, gradient: np.ndarray, d: np.ndarray, hd: np.ndarray
) -> tuple[np.ndarray, float]:
    """The best of the breakpoints on z + t·d and of its end t = 1, and the change of q.

    Between breakpoints, at t = −z/d of the coefficients that cross zero, q is quadratic.
    Beyond its own, each of these adds 2·l1·|d|·(t − its breakpoint) to a linear function.
    """
    crosses = np.flatnonzero((z * d < 0) & (abs(d) > abs(z)) & (q.l1 > 0))
    at = -z[crosses] / d[crosses]
    order = np.argsort(at)
    crosses, at = crosses[order], at[order]
    jumps = 2 * q.l1[crosses] * abs(d[crosses])
    t = np.append(at, 1.0)
    steeper = np.append(0.0, np.cumsum(jumps))
    before = np.append(0.0, np.cumsum(jumps * at))
    slope = q.l1 @ (np.where(z == 0, 1.0, np.sign(z * d)) * abs(d))
    changes = t * (gradient @ d + slope + steeper) - before + t**2 / 2 * (d @ hd)
    best = np.argmin(changes)
    end = z + t[best] * d
    end[crosses[at == t[best]]] = 0.0
    return end, changes[best]


def _violation(z: np.ndarray, gradient: np.ndarray, l1: np.ndarray) -> float:
    off = np.maximum(abs(gradient) - l1, 0.0)
    on = abs(gradient + np.where(z == 0, 0.0, l1) * np.sign(z))
    return np.max(np.where(z == 0, off, on), initial=0.0)
