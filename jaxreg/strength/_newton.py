"""Minimising a smooth function to the last digits, for a few parameters or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_STEPS, _INNER_STEPS = 100, 50
_RADIUS = 1e3


class _State(NamedTuple):
    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]
    goes_on: Any
    radius: Any
    point: Any
    value: Any
    gradient: Any


def minimise(function: Callable[[Any], Array], start: Any) -> Any:
    """A minimiser of a smooth function, by Newton steps within a trust region.

    Each step is found by conjugate gradients, which need products with the Hessian only. A
    step is taken if it lowers the value as its quadratic model says; once rounding hides
    that, if it makes the gradient smaller. So the minimiser is as exact as the gradient,
    which has twice the digits of what comparing values would give.

    Args:
        function: From a pytree of arrays to a scalar; convex or not.
        start: Where to start.

    Returns:
        A pytree like `start`: a minimiser, if there is one, perhaps a local one.

    References:
        Steihaug, *The conjugate gradient method and trust regions* (1983).
    """
    value_and_grad = jax.value_and_grad(function)

    def advance(state: _State) -> _State:
        def curve(direction: Any) -> Any:
            return jax.jvp(jax.grad(function), (state.point,), (direction,))[1]

        step, predicted = _steihaug(curve, state.gradient, state.radius)
        reached = jax.tree.map(jnp.add, state.point, step)
        value, gradient = value_and_grad(reached)
        rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(state.value)
        hidden = predicted <= rounding
        ratio = (state.value - value) / jnp.where(predicted > 0, predicted, 1.0)
        flatter = _dot(gradient, gradient) < _dot(state.gradient, state.gradient)
        is_better = jnp.where(hidden, flatter, ratio > 0.1) & jnp.isfinite(value)
        length = jnp.sqrt(_dot(step, step))
        wider = jnp.where(length > 0.9 * state.radius, 4 * state.radius, state.radius)
        radius = jnp.where(is_better, wider, 0.25 * length)

        def chosen(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(is_better, a, b), new, old)

        return _State(
            state.count + 1,
            (is_better | ~hidden) & (length > 0),
            radius,
            chosen(reached, state.point),
            chosen(value, state.value),
            chosen(gradient, state.gradient),
        )

    def goes_on(state: _State) -> Array:
        return state.goes_on & (state.count < _STEPS)

    value, gradient = value_and_grad(start)
    radius = jnp.asarray(_RADIUS, value.dtype)
    first = _State(jnp.zeros([], jnp.int32), True, radius, start, value, gradient)
    return jax.lax.while_loop(goes_on, advance, first).point


def _steihaug(
    curve: Callable[[Any], Any], gradient: Any, radius: Array
) -> tuple[Any, Array]:
    """The step that minimises the quadratic model in a ball, and what it gains there."""
    zero = jax.tree.map(jnp.zeros_like, gradient)
    size = _dot(gradient, gradient)

    def advance(carry: Any) -> Any:
        count, _, z, curve_z, residual, direction = carry
        curved = curve(direction)
        curvature, rest = _dot(direction, curved), _dot(residual, residual)
        inside = rest / jnp.where(curvature > 0, curvature, 1.0)
        ahead = _dot(z, direction)
        square = jnp.maximum(_dot(direction, direction), jnp.finfo(size.dtype).tiny)
        left = jnp.maximum(radius**2 - _dot(z, z), 0.0)
        to_border = (-ahead + jnp.sqrt(ahead**2 + square * left)) / square
        leaves = (curvature <= 0) | (inside > to_border)
        length = jnp.where(leaves, to_border, inside)
        z, curve_z = _add(z, length, direction), _add(curve_z, length, curved)
        residual = _add(residual, length, curved)
        left_over = _dot(residual, residual)
        direction = _add(jax.tree.map(jnp.negative, residual), left_over / rest, direction)
        goes_on = ~leaves & (left_over > 1e-6 * size)
        return count + 1, goes_on, z, curve_z, residual, direction

    def goes_on(carry: Any) -> Array:
        return carry[1] & (carry[0] < _INNER_STEPS)

    downhill = jax.tree.map(jnp.negative, gradient)
    first = jnp.zeros([], jnp.int32), size > 0, zero, zero, gradient, downhill
    _, _, z, curve_z, _, _ = jax.lax.while_loop(goes_on, advance, first)
    return z, -_dot(gradient, z) - _dot(z, curve_z) / 2


def _dot(a: Any, b: Any) -> Array:
    """The inner product of two pytrees, whatever the sharding of their leaves."""
    return sum(
        (jnp.sum(x * y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)),
        start=jnp.zeros(()),
    )


def _add(a: Any, factor: Array, b: Any) -> Any:
    return jax.tree.map(lambda x, y: x + factor * y, a, b)
