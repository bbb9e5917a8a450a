"""Proximal Newton along falling strengths, on the candidate features of a block.

At each strength, from the solution of the one before: minimise the quadratic model of the
loss plus the penalty (exactly, by an active-set method), then go there, or a part of the
way if the objective does not fall enough (Armijo). This ends when

- the duality gap is at most `tol` times the loss without features, and
- the optimality (KKT) conditions hold up to `tol` (or 1e-6) times the error without
  features.

The second condition is what makes coefficients right: near its minimum an objective is
flat, and a gap of δ allows errors of √δ in them, but a violation of δ only errors of the
order δ. Where Newton's method converges quadratically that is one more step.

References:
    Lee, Sun and Saunders, *Proximal Newton-type methods for minimizing composite
    functions* (2014).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg.solve.glm._candidate_model import (
    Candidates,
    Data,
    Fold,
    Model,
    Point,
    allowed_violation,
    error_of,
    largest_violation,
    penalty_value,
)
from jaxreg.solve.glm._group_step import group_step
from jaxreg.solve.glm._lasso_step import lasso_step
from jaxreg.solve.glm.families import Family

_STEPS = 100
# A new Hessian is computed where so many steps, each as good as the last one, would not do.
_PATIENCE = 2


class Block(NamedTuple):
    """What a block of strengths found, each with an axis for the strengths in front.

    Attributes:
        w: Coefficients of the candidates.
        slope: The gradient of the loss, an array (k, p).
        loss: The mean loss above the least possible.
        error: √(Σ d²/s) with weighted residuals d and weights s.
        score: The mean loss on the samples for the score.
        gap: Relative duality gap over all features.
        violation: Largest violation of the optimality conditions over all features.
        steps: Number of Newton steps.
    """

    w: Array
    slope: Array
    loss: Array
    error: Array
    score: Array
    gap: Array
    violation: Array
    steps: Array


class _State(NamedTuple):
    """Where Newton's method is.

    Attributes:
        steps: How many steps it has taken.
        stuck: Whether it gets no further.
        fresh: Whether `curvature` is the one at `point`.
        point: Coefficients and what the loss says there.
        slope: The gradient of the loss, an array (m,).
        violation: Largest violation of the optimality conditions among the candidates.
        dual: Feasible residuals, an array (k, n).
        gap: The relative duality gap among the candidates.
        curvature: The Hessian that steps are computed with, an array (m, m).
    """

    steps: Array
    stuck: Array
    fresh: Array
    point: Point
    slope: Array
    violation: Array
    dual: Array
    gap: Array
    curvature: Array


class _Start(NamedTuple):
    """What is known before the first step: from the strength before, or the block before.

    Attributes:
        w: Coefficients.
        dual: The feasible residuals of the strength before.
        curvature: The last Hessian.
        solved: Whether this strength is the one before.
    """

    w: Array
    dual: Array
    curvature: Array
    solved: Array


@functools.partial(jax.jit, static_argnames=("family", "unpenalised", "together"))
def solve_block(
    family: Family,
    data: Data,
    candidates: Candidates,
    folds: Fold,
    strengths: Array,
    w: Array,
    tol: Array,
    *,
    unpenalised: int,
    together: bool,
) -> Block:
    """Solve a block of strengths on every fold, and certify it over all features.

    Args:
        family: The distribution of y.
        data: Features, y and offsets.
        candidates: Which coefficients may change.
        folds: A `Fold` with an axis in front.
        strengths: Falling.
        w: Where each fold starts, an array (folds, m).
        tol: The relative duality gap, and the relative violation, to reach.
        unpenalised: How many candidates have no penalty.
        together: Whether folds are solved side by side (best on accelerators) or one
            after the other.

    Returns:
        A `Block` with an axis for the folds in front.
    """
    rows = jnp.take(data.columns, candidates.column, axis=0, mode="fill", fill_value=0.0)
    model = Model(family, data, rows, candidates.output, candidates.group, unpenalised)

    def one(fold: Fold, w: Array) -> tuple[Array, ...]:
        return _path(model, candidates, fold, strengths, w, tol)

    size = len(w) if together else 1
    w, loss, error, score, duals, steps = jax.lax.map(
        lambda args: one(*args), (folds, w), batch_size=size
    )
    slopes = jnp.einsum("fson,jn->fsoj", duals, data.columns)

    @jax.vmap
    def certified(fold: Fold, *rest: Array) -> Any:
        @jax.vmap
        def at(strength: Array, w: Array, loss: Array, dual: Array, slope: Array) -> Any:
            l1, l2 = strength * fold.l1, strength * fold.l2
            full = (
                jnp.zeros_like(l1)
                .at[candidates.output, candidates.column]
                .add(w, mode="drop")
            )
            full, slope, l1, l2 = map(jnp.ravel, (full, slope, l1, l2))
            primal = loss + penalty_value(full, l1, l2, data.group)
            gap = model.certified(fold, primal, dual, slope, l1, l2, data.group)
            return gap, largest_violation(full, slope, l1, l2, data.group)

        return at(strengths, *rest)

    gap, violation = certified(folds, w, loss, duals, slopes)
    return Block(w, slopes, loss, error, score, gap, violation, steps)


def _chosen(candidates: Candidates, *tables: Array) -> list[Array]:
    where = (candidates.output, candidates.column)
    return [table.at[where].get(mode="fill", fill_value=1.0) for table in tables]


def _path(
    model: Model,
    candidates: Candidates,
    fold: Fold,
    strengths: Array,
    w: Array,
    tol: Array,
) -> tuple[Array, ...]:
    l1, l2 = _chosen(candidates, fold.l1, fold.l2)

    def run(carry: Any, strength: Array) -> Any:
        known, before = carry
        # Blocks are filled up by repeating their last strength, which is solved then.
        start = _Start(*known, solved=strength == before)
        state = _newton(model, fold, strength * l1, strength * l2, start, tol)
        point = state.point
        value = penalty_value(point.w, strength * l1, strength * l2, model.group)
        error = error_of(fold, point.residual)
        score = model.loss(fold.test, point.eta)
        loss = point.objective - value
        found = point.w, loss, error, score, state.dual, state.steps
        return ((point.w, state.dual, state.curvature), strength), found

    eta = model.predictor(w) + model.data.offset
    known = w, eta, model.curvature(fold, eta)
    return jax.lax.scan(run, (known, jnp.full([], -1.0)), strengths)[1]


def _newton(
    model: Model,
    fold: Fold,
    l1: Array,
    l2: Array,
    start: _Start,
    tol: Array,
) -> _State:
    """Newton steps until the duality gap and the violation are small.

    The curvature is kept, from one strength to the next, until a step gains too little:
    it costs as much as a hundred slopes.
    """
    allowed = allowed_violation(tol, fold.null_error)

    def slopes(point: Point) -> tuple[Array, Array]:
        slope = model.slope(point.residual)
        return slope, largest_violation(point.w, slope, l1, l2, model.group)

    def advance(state: _State) -> _State:
        here = state.point
        length, there = _move(model, fold, l1, l2, state)
        slope, violation = slopes(there)
        dual = model.dual(fold, there)
        gap = model.gap(fold, there, dual, l1, l2)
        rate = violation / state.violation
        slow = (rate**_PATIENCE * violation > allowed) | (length < 1)
        fell = there.objective < here.objective - _rounding(fold, here)
        nearer = (gap < state.gap) & (state.gap > tol) | (violation < state.violation / 2)
        stuck = state.fresh & ~fell & ~nearer
        goes_on = (gap > tol) | (violation > allowed)
        curvature = jax.lax.cond(
            slow & goes_on,
            lambda: model.curvature(fold, there.eta),
            lambda: state.curvature,
        )
        return _State(
            state.steps + 1, stuck, slow, there, slope, violation, dual, gap, curvature
        )

    def goes_on(state: _State) -> Array:
        inexact = (state.gap > tol) | (state.violation > allowed)
        return inexact & ~state.stuck & (state.steps < _STEPS)

    point = model.at(fold, start.w, l1, l2)
    zero, no, unknown = jnp.zeros([], int), jnp.zeros([], bool), jnp.full([], jnp.inf)
    first = _State(
        zero, start.solved, no, point, *slopes(point), start.dual, unknown, start.curvature
    )
    return jax.lax.while_loop(goes_on, advance, first)


def _move(
    model: Model, fold: Fold, l1: Array, l2: Array, state: _State
) -> tuple[Array, Point]:
    """A Newton step, halved until the objective falls enough: its length, where it ends."""
    here, slope = state.point, state.slope
    step = lasso_step
    if model.group is not None:
        step = functools.partial(group_step, group=model.group)
    tolerance = jnp.maximum(1e-3 * state.violation, 1e-12 * jnp.max(jnp.abs(slope)))
    z = step(state.curvature, slope, here.w, l1, l2, tolerance)
    rise = penalty_value(z, l1, l2, model.group)
    rise = rise - penalty_value(here.w, l1, l2, model.group)
    expected = slope @ (z - here.w) + rise
    rounding = _rounding(fold, here)

    def too_long(tried: tuple[Array, Point]) -> Array:
        length, point = tried
        enough = here.objective + 1e-4 * length * expected + rounding
        return ~(point.objective <= enough) & (length > 1e-6)

    def shorter(tried: tuple[Array, Point]) -> tuple[Array, Point]:
        length = tried[0] / 2
        w = jnp.where(length == 1, z, here.w + length * (z - here.w))
        return length, model.at(fold, w, l1, l2)

    above = here._replace(objective=jnp.full([], jnp.inf))
    return jax.lax.while_loop(too_long, shorter, (jnp.full([], 2.0), above))


def _rounding(fold: Fold, point: Point) -> Array:
    """What differences between objectives may be off by."""
    return 1e-14 * (jnp.abs(point.objective) + fold.null_loss)
