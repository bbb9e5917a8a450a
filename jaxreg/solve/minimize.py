"""Minimising a smooth loss plus a penalty, to a certificate."""

import enum
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._numbers import Scalar, is_concrete
from jaxreg._tree import Params, leaves_of, values_at, variables_of
from jaxreg.penalties import Penalty
from jaxreg.penalties._base import check_is_penalty
from jaxreg.solve import _accelerated
from jaxreg.solve._gap import duality_gap
from jaxreg.solve._implicit import tangent
from jaxreg.solve._problem import Problem, Values, shared_metric
from jaxreg.solve.losses import LinearLoss


class Status(enum.IntEnum):
    """How a search ended."""

    CONVERGED = 0
    OUT_OF_STEPS = 1
    FAILED = 2


class Solution(NamedTuple):
    """What `minimize` found, and how good it is.

    Attributes:
        params: The minimiser, in at least float32; what is not optimised is as it was.
        objective: loss(params) + penalty(params).
        kkt: How far the conditions of optimality are from holding, as a relative error:
            max |w − z| / (max |w| + max |t·∇f(w)|), where z = prox(w − t·∇f(w)) with a
            step t of about 1/curvature. 0 at a minimiser and only there.
        gap: An upper bound on `objective` minus the minimum, from duality; ∞ where none
            is known.
        steps: How many steps were taken.
        status: 0 if `kkt` is within the tolerance, 1 if `max_steps` were too few, 2 if
            the loss was not finite or not smooth.
    """

    params: Any
    objective: Array
    kkt: Array
    gap: Array
    steps: Array
    status: Array

    @property
    def converged(self) -> Array:
        """Whether the certificate is within the tolerance."""
        return self.status == Status.CONVERGED


def minimize(
    loss: Callable[..., Scalar],
    penalty: Penalty,
    params: Params,
    *args: Any,
    tolerance: Scalar | None = None,
    max_steps: int = 10_000,
    metric: Params | None = None,
) -> Solution:
    """Minimise a smooth loss plus a penalty."""
    check_is_penalty(penalty)
    static, arrays = _split((loss, args))
    inputs = _Inputs(arrays, [], penalty, params, metric, tolerance, max_steps)
    solution = _solve(static, inputs)
    _report(solution)
    return solution


def _report(solution: Solution) -> None:
    if not is_concrete(solution.status):
        return
    if solution.status == Status.FAILED:
        raise ValueError("failed")
    if solution.status == Status.OUT_OF_STEPS:
        warnings.warn("not converged", RuntimeWarning, stacklevel=3)


_TOLERANCES = {np.dtype("float32"): 1e-5, np.dtype("float64"): 1e-8}


class _Static(NamedTuple):
    """What the compiled program is for: everything that is not an array."""

    structure: Any
    others: tuple[Any, ...]

    def joined(self, arrays: list[Any]) -> Any:
        remaining = iter(arrays)
        leaves = [next(remaining) if x is _ARRAY else x for x in self.others]
        return jax.tree.unflatten(self.structure, leaves)


_ARRAY = "an array"


def _split(tree: Any) -> tuple[_Static, list[Any]]:
    """Arrays and floats, which are traced, and the rest, which is not."""
    leaves, structure = jax.tree.flatten(tree)
    is_array = [hasattr(x, "dtype") or isinstance(x, float) for x in leaves]
    others = tuple(_ARRAY if a else x for x, a in zip(leaves, is_array, strict=True))
    arrays = [x for x, a in zip(leaves, is_array, strict=True) if a]
    return _Static(structure, others), arrays


class _Inputs(NamedTuple):
    """All arrays that a solution depends on."""

    arrays: list[Any]
    captured: list[Any]
    penalty: Penalty
    params: Params
    metric: Params | None
    tolerance: Scalar | None
    max_steps: Scalar


class _Found(NamedTuple):
    """What the search gives; only `values` has derivatives."""

    values: Values
    metric: Values | None
    length: Array
    kkt: Array
    steps: Array
    status: Array


@functools.partial(jax.jit, static_argnames=("static",))
def _solve(static: _Static, inputs: _Inputs) -> Solution:
    variables, _ = variables_of(inputs.params)

    def smooth(values: Values, arrays: list[Any], params: Params) -> Array:
        loss, args = static.joined(arrays)
        return jnp.asarray(loss(variables_of(params)[1](values), *args))

    # What the loss has captured from outside becomes an argument, for its derivatives.
    pure, captured = jax.closure_convert(smooth, variables, inputs.arrays, inputs.params)
    inputs = inputs._replace(captured=captured)

    def problem_of(inputs: _Inputs) -> Problem:
        return Problem(
            lambda values: pure(values, inputs.arrays, inputs.params, *inputs.captured),
            inputs.penalty,
            variables_of(inputs.params)[1],
        )

    @jax.custom_jvp
    def search(inputs: _Inputs) -> _Found:
        loss, _ = static.joined(inputs.arrays)
        return _search(problem_of(inputs), loss, inputs)

    @functools.partial(search.defjvp, symbolic_zeros=True)
    def search_jvp(primals: tuple[_Inputs], tangents: tuple[_Inputs]) -> Any:
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


def _search(problem: Problem, loss: Any, inputs: _Inputs) -> _Found:
    variables, full = variables_of(inputs.params)
    known = _metric_of(loss, inputs, variables)
    metric = known or dict.fromkeys(variables, 1.0)
    state = _accelerated.start(problem, variables, metric)
    dtype = state.length.dtype
    tolerance = inputs.tolerance
    if tolerance is None:
        tolerance = _TOLERANCES[dtype]
    goal = jnp.asarray(tolerance, dtype)

    def goes_on(carry: tuple[_accelerated.State, Array, Array]) -> Array:
        state, kkt, _ = carry
        return ~(kkt <= goal) & (state.steps < inputs.max_steps) & state.is_alive

    def advance(carry: tuple[_accelerated.State, Array, Array]) -> Any:
        state, _, nearer = carry
        state = _accelerated.run(problem, state, metric, nearer, inputs.max_steps)
        return state, _accelerated.certificate(problem, state, metric), nearer / 4

    first = state, jnp.full((), jnp.inf, dtype), goal
    state, kkt, _ = jax.lax.while_loop(goes_on, advance, first)
    ended = jnp.where(state.is_alive, Status.OUT_OF_STEPS, Status.FAILED)
    status = jnp.where(kkt <= goal, Status.CONVERGED, ended)
    return _Found(state.point, known, state.length, kkt, state.steps, status)


def _metric_of(loss: Any, inputs: _Inputs, variables: Values) -> Values | None:
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
