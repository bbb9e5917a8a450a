"""The search for a minimiser as one compiled program, and its derivatives."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._prefixes import values_at
from jaxreg._tree import Params, variables_of, walk
from jaxreg.losses.linear import LinearLoss
from jaxreg.penalties import Penalty
from jaxreg.solve.gaps import is_certified
from jaxreg.solve.general import _accelerated
from jaxreg.solve.general._gap import duality_gap, null_loss
from jaxreg.solve.general._implicit import tangent
from jaxreg.solve.general._problem import Problem, Values, shared_metric
from jaxreg.solve.general.solution import Solution, Status

# Relative residuals that are reachable despite rounding.
_TOLERANCES = {np.dtype("float32"): 1e-6, np.dtype("float64"): 1e-10}

# Duality gaps, relative to the loss of the null model, that are mostly reachable.
_GAPS = {np.dtype("float32"): 1e-4, np.dtype("float64"): 1e-6}
GAP_BY_RESIDUAL = 100.0
"""The largest gap accepted, as a multiple of a looser `tol`."""
PROGRESS = 0.7
"""If a quarter of the residual leaves more of the gap than this, rounding limits it."""
EXTRA_STEPS = 100
"""Steps allowed for a smaller gap, in addition to as many as before."""


class Static(NamedTuple):
    """Everything in the loss and its arguments that is not an array: static in `jit`."""

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
    """The tolerances and limits of `minimize`."""

    tol: Scalar | None
    gap_tol: Scalar | None
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
    """The result of the search; only `values` has derivatives."""

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

    # Arrays that the loss closes over become arguments, for their derivatives.
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


class _Round(NamedTuple):
    """The state of the search between two runs of the accelerated method.

    Attributes:
        state: The state of the accelerated method.
        kkt: Its residual.
        gap: Its duality gap, as a fraction of the loss of the null model.
        status: The status if the search ended here.
        is_done: Whether it ends here.
        goal: The residual to reach in the next run.
    """

    state: _accelerated.State
    kkt: Array
    gap: Array
    status: Array
    is_done: Array
    goal: Array


def _search(problem: Problem, loss: Any, inputs: Inputs) -> _Found:
    variables, _ = variables_of(inputs.params)
    known = _metric_of(loss, inputs, variables)
    metric = known or dict.fromkeys(variables, 1.0)
    state = _accelerated.start(problem, variables, metric)
    dtype = state.length.dtype
    goals, given = inputs.goals, inputs.goals.tol
    tol = jnp.asarray(_TOLERANCES[dtype] if given is None else given, dtype)
    largest_gap = jnp.maximum(GAP_BY_RESIDUAL * tol, _GAPS[dtype])

    def goes_on(carry: _Round) -> Array:
        state = carry.state
        return ~carry.is_done & (state.steps < goals.max_steps) & state.can_go_on

    def advance(before: _Round) -> _Round:
        # Once kkt is below tol, a smaller gap may cost at most as many steps as so far.
        is_near = before.kkt <= tol
        most = jnp.where(is_near, 2 * before.state.steps + EXTRA_STEPS, goals.max_steps)
        most = jnp.minimum(most, goals.max_steps)
        state = _accelerated.run(problem, before.state, metric, before.goal, most)
        kkt = _accelerated.certificate(problem, state, metric)
        params = problem.full(state.point)
        gap = duality_gap(loss, inputs.penalty, params)
        scale = null_loss(loss, params)
        # The residual is relative to the largest weight, which can mislead: check the gap.
        is_small = is_certified(gap, largest_gap * scale) | jnp.isposinf(gap)
        is_good = (kkt <= tol) & is_small
        if goals.gap_tol is not None:
            objective = jnp.abs(problem.objective(state.point))
            is_good |= is_certified(gap, goals.gap_tol * objective)
        relative = (gap / jnp.where(scale > 0, scale, 1.0)).astype(dtype)
        no_better = is_near & ~(relative <= PROGRESS * before.gap)
        status = jnp.where(kkt <= tol, int(Status.INEXACT), int(Status.OUT_OF_STEPS))
        status = jnp.where(state.can_go_on, status, int(Status.FAILED))
        status = jnp.where(is_good, int(Status.CONVERGED), status).astype(jnp.int32)
        return _Round(state, kkt, relative, status, is_good | no_better, before.goal / 4)

    # With gap_tol, runs are short and the gap is computed after each of them.
    goal = tol if goals.gap_tol is None else jnp.asarray(0.01, dtype)
    unknown = jnp.full((), jnp.inf, dtype)
    status = jnp.asarray(int(Status.OUT_OF_STEPS), jnp.int32)
    status = jnp.where(state.can_go_on, status, int(Status.FAILED)).astype(jnp.int32)
    no = jnp.zeros((), bool)
    first = _Round(state, unknown, unknown, status, no, goal)
    last = jax.lax.while_loop(goes_on, advance, first)
    state = last.state
    return _Found(state.point, known, state.length, last.kkt, state.steps, last.status)


def _metric_of(loss: Any, inputs: Inputs, variables: Values) -> Values | None:
    """The metric of the steps, for each variable; `None` for the Euclidean one."""
    params, metric = inputs.params, inputs.metric
    if metric is None and isinstance(loss, LinearLoss):
        metric = loss.metric(params)
    if metric is None:
        return None
    tree = list(walk(params))
    picks = [index in variables for index in range(len(tree))]
    values = values_at(metric, tree, picks, "The metric")
    fitted = {
        index: jnp.broadcast_to(jnp.asarray(values[index], x.dtype), x.shape)
        for index, x in variables.items()
    }
    return shared_metric(fitted, inputs.penalty, params)


def _unchanged(tree: Any) -> Any:
    """Zero tangents."""

    def zeros(x: Array) -> Any:
        if jnp.issubdtype(x.dtype, jnp.inexact):
            return jnp.zeros_like(x)
        return np.zeros(x.shape, jax.dtypes.float0)

    return jax.tree.map(zeros, tree)
