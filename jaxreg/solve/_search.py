"""The search for a minimiser as one compiled program, and its derivatives."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._numbers import Scalar
from jaxreg._tree import Params, leaves_of, values_at, variables_of
from jaxreg.penalties import Penalty
from jaxreg.solve import _accelerated
from jaxreg.solve._gap import duality_gap
from jaxreg.solve._implicit import tangent
from jaxreg.solve._linear import LinearLoss
from jaxreg.solve._problem import Problem, Values, shared_metric
from jaxreg.solve._solution import Solution, Status

# Relative residuals that rounding leaves within reach.
_TOLERANCES = {np.dtype("float32"): 1e-6, np.dtype("float64"): 1e-10}


class Static(NamedTuple):
    """What the compiled program is for: everything that is not an array."""

    structure: Any
    others: tuple[Any, ...]

    def joined(self, arrays: list[Any]) -> Any:
        remaining = iter(arrays)
        leaves = [next(remaining) if x is _ARRAY else x for x in self.others]
        return jax.tree.unflatten(self.structure, leaves)


_ARRAY = "an array"


def split(tree: Any) -> tuple[Static, list[Any]]:
    """Arrays and floats, which are traced, and the rest, which is not."""
    leaves, structure = jax.tree.flatten(tree)
    is_array = [hasattr(x, "dtype") or isinstance(x, float) for x in leaves]
    others = tuple(_ARRAY if a else x for x, a in zip(leaves, is_array, strict=True))
    arrays = [x for x, a in zip(leaves, is_array, strict=True) if a]
    return Static(structure, others), arrays


class Goals(NamedTuple):
    """When the search ends."""

    tolerance: Scalar | None
    gap_tolerance: Scalar | None
    max_steps: Scalar


class Inputs(NamedTuple):
    """All arrays that a solution depends on."""

    arrays: list[Any]
    captured: list[Any]
    penalty: Penalty
    params: Params
    metric: Params | None
    goals: Goals


class _Found(NamedTuple):
    """What the search gives; only `values` has derivatives."""

    values: Values
    metric: Values | None
    length: Array
    kkt: Array
    steps: Array
    status: Array


@functools.partial(jax.jit, static_argnames=("static",))
def solve(static: Static, inputs: Inputs) -> Solution:
    variables, _ = variables_of(inputs.params)

    def smooth(values: Values, arrays: list[Any], params: Params) -> Array:
        loss, args = static.joined(arrays)
        value = jnp.asarray(loss(variables_of(params)[1](values), *args))
        if value.shape:
            raise ValueError(f"loss must return a scalar, got shape {value.shape}.")
        return value

    # What the loss has captured from outside becomes an argument, for its derivatives.
    pure, captured = jax.closure_convert(smooth, variables, inputs.arrays, inputs.params)
    inputs = inputs._replace(captured=captured)

    def problem_of(inputs: Inputs) -> Problem:
        return Problem(
            lambda values: pure(values, inputs.arrays, inputs.params, *inputs.captured),
            inputs.penalty,
            variables_of(inputs.params)[1],
        )

    @jax.custom_jvp
    def search(inputs: Inputs) -> _Found:
        loss, _ = static.joined(inputs.arrays)
        return _search(problem_of(inputs), loss, inputs)

    @functools.partial(search.defjvp, symbolic_zeros=True)
    def search_jvp(primals: tuple[Inputs], tangents: tuple[Inputs]) -> Any:
        (inputs,), (changes,) = primals, tangents
        found = search(inputs)
        metric = found.metric or dict.fromkeys(found.values, 1.0)
        moved = tangent(problem_of, inputs, changes, found.values, found.length, metric)
        return found, _unchanged(found)._replace(values=moved)

    found = search(inputs)
    problem = problem_of(inputs)
    params = problem.full(found.values)
    still = jax.lax.stop_gradient((inputs, params))
    return Solution(
        params=params,
        objective=problem.objective(found.values),
        kkt=found.kkt,
        gap=duality_gap(static.joined(still[0].arrays)[0], still[0].penalty, still[1]),
        steps=found.steps,
        status=found.status,
    )


_Round = tuple[_accelerated.State, Array, Array, Array]
"""The state, its residual, whether it is good enough, the residual to reach next."""


def _search(problem: Problem, loss: Any, inputs: Inputs) -> _Found:
    variables, _ = variables_of(inputs.params)
    known = _metric_of(loss, inputs, variables)
    metric = known or dict.fromkeys(variables, 1.0)
    state = _accelerated.start(problem, variables, metric)
    dtype = state.length.dtype
    goals = inputs.goals
    given = goals.tolerance
    tolerance = jnp.asarray(_TOLERANCES[dtype] if given is None else given, dtype)

    def is_good(state: _accelerated.State, kkt: Array) -> Array:
        good = kkt <= tolerance
        if goals.gap_tolerance is None:
            return good
        params = problem.full(state.point)
        gap = duality_gap(loss, inputs.penalty, params)
        return good | (gap <= goals.gap_tolerance * jnp.abs(problem.objective(state.point)))

    def goes_on(carry: _Round) -> Array:
        state, _, is_done, _ = carry
        return ~is_done & (state.steps < goals.max_steps) & state.is_alive

    def advance(carry: _Round) -> _Round:
        state, _, _, goal = carry
        state = _accelerated.run(problem, state, metric, goal, goals.max_steps)
        kkt = _accelerated.certificate(problem, state, metric)
        return state, kkt, is_good(state, kkt), goal / 4

    # With a gap to look at now and then, or just once more where a residual misled.
    goal = tolerance if goals.gap_tolerance is None else jnp.asarray(0.01, dtype)
    first = state, jnp.full((), jnp.inf, dtype), jnp.zeros((), bool), goal
    state, kkt, is_done, _ = jax.lax.while_loop(goes_on, advance, first)
    ended = jnp.where(state.is_alive, int(Status.OUT_OF_STEPS), int(Status.FAILED))
    status = jnp.where(is_done, int(Status.CONVERGED), ended).astype(jnp.int32)
    return _Found(state.point, known, state.length, kkt, state.steps, status)


def _metric_of(loss: Any, inputs: Inputs, variables: Values) -> Values | None:
    """The metric of the steps, for each variable; `None` for the Euclidean one."""
    params, metric = inputs.params, inputs.metric
    if metric is None and isinstance(loss, LinearLoss):
        metric = loss.metric(params)
    if metric is None:
        return None
    tree = leaves_of(params)
    picks = [place in variables for place in range(len(tree))]
    values = values_at(metric, tree, picks, "The metric")
    fitted = {
        place: jnp.broadcast_to(jnp.asarray(values[place], x.dtype), x.shape)
        for place, x in variables.items()
    }
    return shared_metric(fitted, inputs.penalty, params)


def _unchanged(tree: Any) -> Any:
    """Zero tangents."""

    def zeros(x: Array) -> Any:
        if jnp.issubdtype(x.dtype, jnp.inexact):
            return jnp.zeros_like(x)
        return np.zeros(x.shape, jax.dtypes.float0)

    return jax.tree.map(zeros, tree)
