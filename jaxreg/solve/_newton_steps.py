"""Quadratic models with an L1 term, minimised exactly: the steps of Newton's method."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_STEPS = 200
# What is added to the diagonal, relative to it, so that duplicated columns can be solved.
_DAMPING = 1e-11


class _State(NamedTuple):
    rounds: Array
    z: Array
    slope: Array
    one_by_one: Array
    residual: Array


def lasso_step(h: Array, slope: Array, w: Array, l1: Array, l2: Array, tol: Array) -> Array:
    """The minimiser z of a quadratic model with L1 and L2 terms.

        slope · (z − w) + ½(z − w)ᵀh(z − w) + Σ l1 · |z| + ½ Σ l2 · z²

    Feature-sign search: solve for fixed signs; on the way there, stop at the best of the
    points where a coefficient crosses zero. The objective falls in each step, and the
    signs are finitely many, so the search ends.

    Args:
        h: The curvature, positive semi-definite.
        slope: The gradient at `w`, without the terms in l1 and l2.
        w: Where the search starts.
        l1: For each coefficient; 0 leaves it free.
        l2: For each coefficient.
        tol: How large a violation of the optimality conditions may stay.

    Returns:
        The minimiser, or the best point after a bounded number of steps.
    """
    h = h + jnp.diag(l2)
    diagonal = jnp.diagonal(h)

    def direction(z: Array, force: Array, free: Array) -> Array:
        both = free[:, None] & free[None, :]
        damped = jnp.where(free & (diagonal > 0), diagonal * (1 + _DAMPING), 1.0)
        matrix = jnp.where(both, h, 0.0).at[jnp.diag_indices_from(h)].set(damped)
        factor = jax.scipy.linalg.cho_factor(matrix)
        return jax.scipy.linalg.cho_solve(factor, jnp.where(free, -force, 0.0))

    def advance(state: _State) -> _State:
        z, slope = state.z, state.slope
        excess = jnp.where(z == 0, jnp.abs(slope) - l1, 0.0)
        # Others enter when those that are not zero are settled, or they would go in and
        # out by ever smaller steps.
        unsettled = _residual(z, slope, jnp.where(z == 0, jnp.inf, l1))
        settled = (unsettled <= 0.1 * jnp.max(excess)) | (state.rounds == 0)
        enters = settled & (~state.one_by_one | (excess == jnp.max(excess)))
        free = (z != 0) | (l1 == 0) | ((excess > tol) & enters)
        sign = jnp.where(z != 0, jnp.sign(z), -jnp.sign(slope))
        d = direction(z, slope + l1 * sign, free)
        curved = h @ d

        # Along the ray the objective is quadratic between its kinks.
        kinks = jnp.where(z * d < 0, -z / jnp.where(d == 0, 1.0, d), 1.0)
        kinks = jnp.where((kinks < 1) & (l1 > 0), kinks, 1.0)
        along = z[None, :] + kinks[:, None] * d[None, :]
        gains = (
            kinks * (slope @ d)
            + kinks**2 / 2 * (d @ curved)
            + (jnp.abs(along) - jnp.abs(z)) @ l1
        )
        best = jnp.argmin(gains)
        reached = jnp.where(kinks == kinks[best], 0.0, z + kinks[best] * d)
        on_ray = jnp.where(kinks[best] == 1, z + d, reached)

        # All that would cross zero stops there.
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
        residual = jnp.where(
            falls | ~state.one_by_one, _residual(z_new, slope_new, l1), 0.0
        )
        return _State(state.rounds + 1, z_new, slope_new, ~falls, residual)

    def goes_on(state: _State) -> Array:
        return (state.residual > tol) & (state.rounds < _STEPS)

    slope = slope + l2 * w
    start = _State(
        jnp.zeros([], int), w, slope, jnp.zeros([], bool), _residual(w, slope, l1)
    )
    return jax.lax.while_loop(goes_on, advance, start).z


def _residual(z: Array, slope: Array, l1: Array) -> Array:
    violation = jnp.where(
        z == 0, jnp.maximum(jnp.abs(slope) - l1, 0.0), jnp.abs(slope + l1 * jnp.sign(z))
    )
    return jnp.max(violation)
