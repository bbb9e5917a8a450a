"""Quadratic models with an L1 term, minimised exactly: the steps of Newton's method.

Shapes: m candidates, see `_newton_model`.

References:
    Lee, Battle, Raina and Ng, *Efficient sparse coding algorithms* (2007), algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_STEPS = 200
# What is added to the diagonal, relative to it, so that duplicated columns can be solved.
_DAMPING = 1e-11


class _State(NamedTuple):
    """Where the search is.

    Attributes:
        rounds: How many rounds there were.
        z: Coefficients, an array (m,).
        slope: The gradient of the smooth part at `z`, an array (m,).
        one_by_one: Whether only the worst of the zeros may enter: after a round in which
            the objective did not fall.
        violation: Largest violation of the optimality conditions; 0 where it gets no
            further.
    """

    rounds: Array
    z: Array
    slope: Array
    one_by_one: Array
    violation: Array


def lasso_step(h: Array, slope: Array, w: Array, l1: Array, l2: Array, tol: Array) -> Array:
    """The minimiser z of a quadratic model with L1 and L2 terms.

        slope · (z − w) + ½(z − w)ᵀh(z − w) + Σ l1 · |z| + ½ Σ l2 · z²

    Feature-sign search (Lee and others, 2007): for fixed signs the objective is quadratic;
    go towards its minimiser, but no further than to the best of the breakpoints on the way,
    where a coefficient crosses zero. The objective falls in each round and sign patterns
    are finitely many, so the search ends; a counter ends it where rounding gets in the way.

    Args:
        h: The Hessian, positive semi-definite, an array (m, m).
        slope: The gradient at `w`, without the terms in l1 and l2, an array (m,).
        w: Where the search starts, an array (m,).
        l1: For each coefficient; 0 for one that is not penalised.
        l2: For each coefficient.
        tol: How large a violation of the optimality conditions may stay.

    Returns:
        The minimiser, or the best point after a bounded number of steps.
    """
    h = h + jnp.diag(l2)
    diagonal = jnp.diagonal(h)

    def direction(gradient: Array, active: Array) -> Array:
        """The Newton step in the active coefficients; the others keep their values."""
        both = active[:, None] & active[None, :]
        damped = jnp.where(active & (diagonal > 0), diagonal * (1 + _DAMPING), 1.0)
        matrix = jnp.where(both, h, 0.0).at[jnp.diag_indices_from(h)].set(damped)
        factor = jax.scipy.linalg.cho_factor(matrix)
        return jax.scipy.linalg.cho_solve(factor, jnp.where(active, -gradient, 0.0))

    def advance(state: _State) -> _State:
        z, slope = state.z, state.slope
        excess = jnp.where(z == 0, jnp.abs(slope) - l1, 0.0)
        # Others enter when those that are not zero are settled, or they would go in and
        # out by ever smaller steps.
        unsettled = _violation(z, slope, jnp.where(z == 0, jnp.inf, l1))
        settled = (unsettled <= 0.1 * jnp.max(excess)) | (state.rounds == 0)
        enters = settled & (~state.one_by_one | (excess == jnp.max(excess)))
        active = (z != 0) | (l1 == 0) | ((excess > tol) & enters)
        sign = jnp.where(z != 0, jnp.sign(z), -jnp.sign(slope))
        d = direction(slope + l1 * sign, active)
        curved = h @ d

        # First try: along d, to the best breakpoint. Between them the objective is
        # quadratic. `breaks` are lengths, an array (m,): 1, a whole step, for coefficients
        # that do not cross zero.
        breaks = jnp.where(z * d < 0, -z / jnp.where(d == 0, 1.0, d), 1.0)
        breaks = jnp.where((breaks < 1) & (l1 > 0), breaks, 1.0)
        along = z[None, :] + breaks[:, None] * d[None, :]
        gains = (
            breaks * (slope @ d)
            + breaks**2 / 2 * (d @ curved)
            + (jnp.abs(along) - jnp.abs(z)[None, :]) @ l1
        )
        best = jnp.argmin(gains)
        reached = jnp.where(breaks == breaks[best], 0.0, z + breaks[best] * d)
        on_ray = jnp.where(breaks[best] == 1, z + d, reached)

        # Second try: the whole step, but what would cross zero stops there.
        projected = jnp.where((l1 > 0) & ((z + d) * sign <= 0), 0.0, z + d)
        moved = projected - z
        curved_too = h @ moved
        gain_too = (
            slope @ moved + moved @ curved_too / 2 + (jnp.abs(projected) - jnp.abs(z)) @ l1
        )
        better = gain_too < gains[best]
        z_new = jnp.where(better, projected, on_ray)
        gain = jnp.where(better, gain_too, gains[best])
        falls = gain < 0
        z_new = jnp.where(falls, z_new, z)
        slope_new = slope + h @ (z_new - z)
        violation = jnp.where(
            falls | ~state.one_by_one, _violation(z_new, slope_new, l1), 0.0
        )
        return _State(state.rounds + 1, z_new, slope_new, ~falls, violation)

    def goes_on(state: _State) -> Array:
        return (state.violation > tol) & (state.rounds < _STEPS)

    slope = slope + l2 * w
    start = _State(
        jnp.zeros([], int), w, slope, jnp.zeros([], bool), _violation(w, slope, l1)
    )
    return jax.lax.while_loop(goes_on, advance, start).z


def _violation(z: Array, slope: Array, l1: Array) -> Array:
    violation = jnp.where(
        z == 0, jnp.maximum(jnp.abs(slope) - l1, 0.0), jnp.abs(slope + l1 * jnp.sign(z))
    )
    return jnp.max(violation)
