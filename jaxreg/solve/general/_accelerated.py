"""The accelerated proximal gradient method, as one loop that JAX compiles.

Each step is a proximal gradient step from an extrapolated point:

    z = prox(y − t·D⁻¹∇f(y)),    y′ = z + (θ − 1)/θ′ · (z − w),    θ′ = (1 + √(1 + 4θ²))/2

with the last point w, a length t from backtracking, which may grow again, and a metric D.
Momentum restarts (θ = 1) where it points uphill: ⟨y − z, z − w⟩_D > 0.

References:
    Beck and Teboulle, *A fast iterative shrinkage-thresholding algorithm* (2009), section
    4; O'Donoghue and Candès, *Adaptive restart for accelerated gradient schemes* (2015),
    section 3.2.
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
    """The state of the method.

    Attributes:
        steps: The number of steps so far.
        point: The last point w, a result of the prox.
        ahead: The extrapolated point y that the next step starts from.
        length: The length of the last step.
        inertia: Nesterov's θ.
        safe: A recent length that passed the test of backtracking, for steps at which
            rounding hides the result of the test.
        may_grow: Whether the next step may be longer than the last.
        residual: That of the last step, see `residual_of`.
        can_go_on: Whether a next step is possible: the loss is finite and smooth here.
    """

    steps: Array
    point: Values
    ahead: Values
    length: Array
    inertia: Array
    safe: Array
    may_grow: Array
    residual: Array
    can_go_on: Array


def start(problem: Problem, values: Values, metric: Metric) -> State:
    """The state before the first step.

    The curvature along the gradient gives the length of the first step.
    """
    value, gradient = jax.value_and_grad(problem.smooth)(values)
    dtype = value.dtype
    natural = jax.tree.map(jnp.divide, gradient, metric)
    norm = jnp.sqrt(square(natural, metric))
    probe = jnp.sqrt(jnp.finfo(dtype).eps) * jnp.maximum(
        1.0, jnp.sqrt(square(values, metric))
    )
    factor = probe / jnp.where(norm > 0, norm, 1.0)
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
        can_go_on=jnp.isfinite(value) & all_finite(gradient),
    )


def run(
    problem: Problem, state: State, metric: Metric, tolerance: Array, most: Scalar
) -> State:
    """Steps until the residual is at most `tolerance`, or `most` were taken."""
    first = state.steps

    def goes_on(state: State) -> Array:
        is_open = ~(state.residual <= tolerance) | (state.steps == first)
        return is_open & (state.steps < most) & state.can_go_on

    return jax.lax.while_loop(goes_on, lambda state: _step(problem, state, metric), state)


def _step(problem: Problem, state: State, metric: Metric) -> State:
    value, gradient = jax.value_and_grad(problem.smooth)(state.ahead)
    trial = _backtrack(problem, state, value, gradient, metric)
    inertia = (1 + jnp.sqrt(1 + 4 * state.inertia**2)) / 2
    progress = difference(trial.point, state.point)
    back = difference(state.ahead, trial.point)
    # Extrapolation may leave the domain of the loss: then continue from the last point.
    has_failed = ~trial.is_good
    is_uphill = dot(back, jax.tree.map(jnp.multiply, metric, progress)) > 0
    restarts = has_failed | is_uphill
    momentum = jnp.where(restarts, 0.0, (state.inertia - 1) / inertia)

    def chosen(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(has_failed, b, a), new, old)

    point = chosen(trial.point, state.point)
    ahead = jax.tree.map(lambda z, p: (z + momentum * p).astype(z.dtype), point, progress)
    recent = jnp.minimum(trial.length / _GROWTH, _FORGETTING * state.safe)
    residual = residual_of(state.ahead, trial.point, gradient, trial.length, metric)
    return State(
        steps=state.steps + 1,
        point=point,
        ahead=chosen(ahead, state.point),
        length=jnp.where(has_failed, state.length, trial.length),
        inertia=jnp.where(restarts, 1.0, inertia),
        safe=jnp.where(trial.is_resolved, recent, state.safe),
        may_grow=trial.is_resolved,
        residual=jnp.where(has_failed, jnp.inf, residual),
        can_go_on=trial.is_good | (state.inertia > 1),
    )


class _Trial(NamedTuple):
    """One length of backtracking.

    Attributes:
        number: The number of trials so far.
        length: The length t.
        point: The point z that it leads to.
        is_good: Whether the loss at z is below its quadratic model.
        is_resolved: Whether that comparison is more than rounding.
    """

    number: Array
    length: Array
    point: Values
    is_good: Array
    is_resolved: Array


def _backtrack(
    problem: Problem, state: State, value: Array, gradient: Values, metric: Metric
) -> _Trial:
    """The first of ever shorter steps whose end is below the quadratic model.

    Where rounding hides the comparison it counts as passed, and the length is a safe one:
    steps longer than 4/3 of 1/curvature would not converge, and no test would show it.
    """
    rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(value)

    def shorter(trial: _Trial) -> _Trial:
        length = _SHRINKAGE * trial.length
        point = problem.descend(state.ahead, gradient, length, metric)
        move = difference(point, state.ahead)
        quadratic = square(move, metric) / (2 * length)
        excess = problem.smooth(point) - value - dot(gradient, move) - quadratic
        is_resolved = quadratic > 2 * rounding
        is_good = (excess <= rounding) | (~is_resolved & jnp.isfinite(excess))
        return _Trial(trial.number + 1, length, point, is_good, is_resolved)

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
    """The relative length of a proximal gradient step from w to z.

        max |w − z| / (max |w| + max |step·g|)    in coordinates where d = 1

    0 exactly where the conditions of optimality hold.
    """

    def norm(tree: Values) -> Array:
        return largest(jax.tree.map(lambda x, d: x * jnp.sqrt(d), tree, metric))

    natural = jax.tree.map(jnp.divide, gradient, metric)
    whole = norm(origin) + step * norm(natural)
    move = norm(difference(origin, reached))
    return jnp.where(move == 0, 0.0, move / jnp.where(whole > 0, whole, 1.0))
