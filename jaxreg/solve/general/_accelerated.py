"""The accelerated proximal gradient method, as one loop that JAX compiles.

Each step is a proximal gradient step from a point ahead of the last one. Its length comes
from backtracking and may grow again; momentum starts anew where it points uphill.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg.solve.general._problem import (
    Metric,
    Problem,
    Values,
    all_finite,
    difference,
    dot,
    largest,
    square,
)

_GROWTH, _SHRINKAGE, _FORGETTING = 1.2, 0.5, 1.02
_MOST_TRIALS = 100


class State(NamedTuple):
    """Where the method is.

    Attributes:
        steps: How many steps were taken.
        point: The last point, an outcome of a prox.
        ahead: The point that the next step starts from.
        length: The length of the last step.
        inertia: Nesterov's θ.
        safe: A length at which lately all was well, for when rounding hides what is.
        may_grow: Whether the next step may be longer than the last.
        residual: That of the last step, see `residual_of`.
        is_alive: Whether there is a next step: the loss is finite and smooth here.
    """

    steps: Array
    point: Values
    ahead: Values
    length: Array
    inertia: Array
    safe: Array
    may_grow: Array
    residual: Array
    is_alive: Array


def start(problem: Problem, values: Values, metric: Metric) -> State:
    """The state before the first step.

    The curvature along the gradient gives the length of the first step.
    """
    value, gradient = jax.value_and_grad(problem.smooth)(values)
    dtype = value.dtype
    natural = jax.tree.map(jnp.divide, gradient, metric)
    size = jnp.sqrt(square(natural, metric))
    probe = jnp.sqrt(jnp.finfo(dtype).eps) * jnp.maximum(
        1.0, jnp.sqrt(square(values, metric))
    )
    factor = probe / jnp.where(size > 0, size, 1.0)
    near = jax.tree.map(lambda w, g: (w - factor * g).astype(w.dtype), values, natural)
    change = difference(jax.grad(problem.smooth)(near), gradient)
    curvature = jnp.sqrt(dot(change, jax.tree.map(jnp.divide, change, metric))) / probe
    is_known = jnp.isfinite(curvature) & (curvature > 0)
    return State(
        steps=jnp.zeros((), jnp.int32),
        point=values,
        ahead=values,
        length=jnp.where(is_known, 1 / jnp.where(is_known, curvature, 1.0), 1.0),
        inertia=jnp.ones((), dtype),
        safe=jnp.full((), jnp.inf, dtype),
        may_grow=jnp.zeros((), bool),
        residual=jnp.full((), jnp.inf, dtype),
        is_alive=jnp.isfinite(value) & all_finite(gradient),
    )


def run(
    problem: Problem, state: State, metric: Metric, tolerance: Array, most: Scalar
) -> State:
    """Steps until the residual is at most `tolerance`, or `most` were taken."""
    first = state.steps

    def goes_on(state: State) -> Array:
        is_open = ~(state.residual <= tolerance) | (state.steps == first)
        return is_open & (state.steps < most) & state.is_alive

    return jax.lax.while_loop(goes_on, lambda state: _step(problem, state, metric), state)


def _step(problem: Problem, state: State, metric: Metric) -> State:
    value, gradient = jax.value_and_grad(problem.smooth)(state.ahead)
    trial = _backtrack(problem, state, value, gradient, metric)
    inertia = (1 + jnp.sqrt(1 + 4 * state.inertia**2)) / 2
    progress = difference(trial.point, state.point)
    back = difference(state.ahead, trial.point)
    # Where extrapolation left the domain of the loss, go on from the last point.
    is_lost = ~trial.is_good
    is_uphill = dot(back, jax.tree.map(jnp.multiply, metric, progress)) > 0
    restarts = is_lost | is_uphill
    momentum = jnp.where(restarts, 0.0, (state.inertia - 1) / inertia)

    def chosen(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(is_lost, b, a), new, old)

    point = chosen(trial.point, state.point)
    ahead = jax.tree.map(lambda z, p: (z + momentum * p).astype(z.dtype), point, progress)
    recent = jnp.minimum(trial.length / _GROWTH, _FORGETTING * state.safe)
    residual = residual_of(state.ahead, trial.point, gradient, trial.length, metric)
    return State(
        steps=state.steps + 1,
        point=point,
        ahead=chosen(ahead, state.point),
        length=jnp.where(is_lost, state.length, trial.length),
        inertia=jnp.where(restarts, 1.0, inertia),
        safe=jnp.where(trial.is_sharp, recent, state.safe),
        may_grow=trial.is_sharp,
        residual=jnp.where(is_lost, jnp.inf, residual),
        is_alive=trial.is_good | (state.inertia > 1),
    )


class _Trial(NamedTuple):
    number: Array
    length: Array
    point: Values
    is_good: Array
    is_sharp: Array


def _backtrack(
    problem: Problem, state: State, value: Array, gradient: Values, metric: Metric
) -> _Trial:
    """The first point, for shorter and shorter steps, below the quadratic model.

    Where rounding hides whether it is, it counts as below, and steps have a length that is
    safe: with one beyond 4/3 of 1/curvature they would go nowhere, and nothing would show.
    """
    rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(value)

    def shorter(trial: _Trial) -> _Trial:
        length = _SHRINKAGE * trial.length
        point = problem.descend(state.ahead, gradient, length, metric)
        move = difference(point, state.ahead)
        bend = square(move, metric) / (2 * length)
        excess = problem.smooth(point) - value - dot(gradient, move) - bend
        is_sharp = bend > 2 * rounding
        is_good = (excess <= rounding) | (~is_sharp & jnp.isfinite(excess))
        return _Trial(trial.number + 1, length, point, is_good, is_sharp)

    def goes_on(trial: _Trial) -> Array:
        return ~trial.is_good & (trial.number < _MOST_TRIALS) & jnp.isfinite(value)

    safe = jnp.minimum(state.length, state.safe)
    longest = jnp.where(state.may_grow, _GROWTH * state.length, safe) / _SHRINKAGE
    no = jnp.zeros((), bool)
    first = _Trial(jnp.zeros((), jnp.int32), longest, state.ahead, no, no)
    return jax.lax.while_loop(goes_on, shorter, first)


def certificate(problem: Problem, state: State, metric: Metric) -> Array:
    """The residual at the last point itself."""
    gradient = jax.grad(problem.smooth)(state.point)
    reached = problem.descend(state.point, gradient, state.length, metric)
    return residual_of(state.point, reached, gradient, state.length, metric)


def residual_of(
    origin: Values, reached: Values, gradient: Values, step: Scalar, metric: Metric
) -> Array:
    """How far a proximal gradient step moves, relative to what it is made of.

        max |w − z| / (max |w| + max |step·g|)    in coordinates where d = 1

    0 exactly where the conditions of optimality hold.
    """

    def sizes(tree: Values) -> Array:
        return largest(jax.tree.map(lambda x, d: x * jnp.sqrt(d), tree, metric))

    natural = jax.tree.map(jnp.divide, gradient, metric)
    whole = sizes(origin) + step * sizes(natural)
    move = sizes(difference(origin, reached))
    return jnp.where(move == 0, 0.0, move / jnp.where(whole > 0, whole, 1.0))
