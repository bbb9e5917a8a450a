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

Shapes: m candidates, see `_candidate_model`.

References:
    Lee, Battle, Raina and Ng, *Efficient sparse coding algorithms* (2007), algorithm 1.
"""

from typing import NamedTuple

from jax import Array

from jaxreg._namespace import namespace
from jaxreg.solve.glm._backend import Backend

_STEPS = 200
# Added to the diagonal, relative to it, so that systems with duplicated columns have a
# solution.
_DAMPING = 1e-11


class _Quadratic(NamedTuple):
    """The model q.

    Attributes:
        backend: What computes.
        h: The Hessian of the smooth part, l2 included, an array (m, m).
        l1: An array (m,); 0 for an unpenalised coefficient.
        tol: The largest violation of the optimality conditions to accept.
    """

    backend: Backend
    h: Array
    l1: Array
    tol: Array


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

    rounds: Array
    z: Array
    gradient: Array
    one_by_one: Array
    violation: Array


def lasso_step(
    h: Array,
    gradient: Array,
    w: Array,
    l1: Array,
    l2: Array,
    tol: Array,
    backend: Backend,
) -> Array:
    """The minimiser z of a quadratic model with L1 and L2 terms.

    Args:
        h: The Hessian, positive semi-definite, an array (m, m).
        gradient: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: The start of the search, an array (m,).
        l1: An array (m,); 0 for an unpenalised coefficient.
        l2: An array (m,).
        tol: The largest violation of the optimality conditions to accept.
        backend: What computes.

    Returns:
        The minimiser, or the best point after a bounded number of rounds.
    """
    xp = backend.xp
    q = _Quadratic(backend, h + xp.diag(l2), l1, tol)

    def goes_on(state: _State) -> Array:
        return (state.violation > tol) & (state.rounds < _STEPS)

    gradient = gradient + l2 * w
    zero, no = xp.zeros([], int), xp.zeros([], bool)
    start = _State(zero, w, gradient, no, _violation(w, gradient, l1))
    return backend.loop(goes_on, lambda state: _advance(q, state), start).z


def _advance(q: _Quadratic, state: _State) -> _State:
    """One round: a Newton step in the active coefficients, to the better of two ends."""
    xp, z, gradient = q.backend.xp, state.z, state.gradient
    active = _active(q, state)
    sign = xp.where(z != 0, xp.sign(z), -xp.sign(gradient))
    d = _newton_step(q, gradient + q.l1 * sign, active)
    on_ray, ray_change = _best_on_ray(q, z, gradient, d)
    projected = xp.where((q.l1 > 0) & ((z + d) * sign <= 0), 0.0, z + d)
    moved = projected - z
    penalty_change = (abs(projected) - abs(z)) @ q.l1
    projected_change = gradient @ moved + moved @ (q.h @ moved) / 2 + penalty_change
    better = projected_change < ray_change
    falls = xp.where(better, projected_change, ray_change) < 0
    end = xp.where(falls, xp.where(better, projected, on_ray), z)
    gradient = gradient + q.h @ (end - z)
    violation = _violation(end, gradient, q.l1)
    violation = xp.where(falls | ~state.one_by_one, violation, 0.0)
    return _State(state.rounds + 1, end, gradient, ~falls, violation)


def _active(q: _Quadratic, state: _State) -> Array:
    """The coefficients that the next step changes."""
    xp, z, gradient = q.backend.xp, state.z, state.gradient
    excess = xp.where(z == 0, abs(gradient) - q.l1, 0.0)
    # Zeros become active once the others are nearly optimal; earlier, they would enter and
    # leave by ever smaller steps.
    among_nonzero = _violation(z, gradient, xp.where(z == 0, xp.inf, q.l1))
    settled = (among_nonzero <= 0.1 * xp.max(excess)) | (state.rounds == 0)
    enters = settled & (~state.one_by_one | (excess == xp.max(excess)))
    return (z != 0) | (q.l1 == 0) | ((excess > q.tol) & enters)


def _newton_step(q: _Quadratic, gradient: Array, active: Array) -> Array:
    """The Newton step in the active coefficients; the others keep their values."""
    xp = q.backend.xp
    diagonal = xp.diagonal(q.h)
    both = active[:, None] & active[None, :]
    damped = xp.where(active & (diagonal > 0), diagonal * (1 + _DAMPING), 1.0)
    on_diagonal = xp.eye(len(diagonal), dtype=bool)
    matrix = xp.where(on_diagonal, damped[None, :], xp.where(both, q.h, 0.0))
    return q.backend.solve_positive(matrix, xp.where(active, -gradient, 0.0))


def _best_on_ray(q: _Quadratic, z: Array, gradient: Array, d: Array) -> tuple[Array, Array]:
    """The best of the breakpoints on z + t·d and of its end t = 1, and the change of q.

    Between breakpoints q is quadratic in t. Each coefficient gives one t, an array (m,): 1
    where it does not cross zero.
    """
    xp = q.backend.xp
    t = xp.where(z * d < 0, -z / xp.where(d == 0, 1.0, d), 1.0)
    t = xp.where((t < 1) & (q.l1 > 0), t, 1.0)
    points = z[None, :] + t[:, None] * d[None, :]
    changes = (
        t * (gradient @ d)
        + t**2 / 2 * (d @ (q.h @ d))
        + (abs(points) - abs(z)[None, :]) @ q.l1
    )
    best = xp.argmin(changes)
    at_breakpoint = xp.where(t == t[best], 0.0, z + t[best] * d)
    return xp.where(t[best] == 1, z + d, at_breakpoint), changes[best]


def _violation(z: Array, gradient: Array, l1: Array) -> Array:
    xp = namespace(z)
    off = xp.maximum(abs(gradient) - l1, 0.0)
    return xp.max(xp.where(z == 0, off, abs(gradient + l1 * xp.sign(z))), initial=0.0)
