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

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from jaxreg.solve.glm._backend import Backend
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

_STEPS = 100
# A new Hessian is computed unless this many more steps, as good as the last, would do.
_PATIENCE = 2


class Block(NamedTuple):
    """The solutions of a block of strengths, on the first axis of each array.

    Of the backend as `solve_block` returns them, of NumPy for what is decided on the host.

    Attributes:
        w: Coefficients of the candidates.
        gradient: The gradient of the loss, an array (k, p).
        loss: The mean loss above the least possible.
        error: √(Σ d²/s) with weighted slopes d and weights s.
        score: The mean loss on the samples for the score.
        gap: Relative duality gap over all features.
        violation: Largest violation of the optimality conditions over all features.
        steps: Number of Newton steps.
    """

    w: Any
    gradient: Any
    loss: Any
    error: Any
    score: Any
    gap: Any
    violation: Any
    steps: Any


class _State(NamedTuple):
    """The state of Newton's method.

    Attributes:
        steps: Number of steps so far.
        stalled: Whether the last step with a new Hessian brought no progress.
        fresh: Whether `hessian` is the one at `point`.
        point: Coefficients, with the value and the slopes of the loss.
        gradient: The gradient of the loss, an array (m,).
        violation: Largest violation of the optimality conditions among the candidates.
        dual: Feasible weighted slopes, an array (k, n).
        gap: The relative duality gap among the candidates.
        hessian: The Hessian that steps are computed with, an array (m, m).
    """

    steps: Array
    stalled: Array
    fresh: Array
    point: Point
    gradient: Array
    violation: Array
    dual: Array
    gap: Array
    hessian: Array


class _Start(NamedTuple):
    """Where to start: the result of the previous strength, or of the previous block.

    Attributes:
        w: Coefficients.
        dual: The feasible weighted slopes of the previous strength.
        hessian: The last Hessian.
        solved: Whether this strength equals the previous one.
    """

    w: Array
    dual: Array
    hessian: Array
    solved: Array


def solve_block(
    backend: Backend,
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
        backend: What computes.
        data: Features, loss and offsets.
        candidates: The coefficients to optimise.
        folds: A `Fold` with an axis in front.
        strengths: Falling.
        w: The start of each fold, an array (folds, m).
        tol: The relative duality gap, and the relative violation, to reach.
        unpenalised: How many candidates have no penalty.
        together: Whether folds are solved side by side (best on accelerators) or one
            after the other.

    Returns:
        A `Block` with an axis for the folds in front.
    """
    rows = backend.take(data.columns, candidates.column, 0.0)
    model = Model(backend, data, rows, candidates.output, candidates.group, unpenalised)

    def one(fold: Fold, w: Array) -> tuple[Array, ...]:
        return _path(model, candidates, fold, strengths, w, tol)

    def certified(fold: Fold, *found: Array) -> tuple[Array, Array]:
        return backend.each(
            lambda *at: _certify(model, candidates, fold, *at), strengths, *found
        )

    w, loss, error, score, duals, steps = backend.one_by_one(
        one, folds, w, at_once=len(w) if together else 1
    )
    gradients = backend.xp.einsum("fson,jn->fsoj", duals, data.columns)
    gap, violation = backend.each(certified, folds, w, loss, duals, gradients)
    return Block(w, gradients, loss, error, score, gap, violation, steps)


def _certify(
    model: Model,
    candidates: Candidates,
    fold: Fold,
    strength: Array,
    w: Array,
    loss: Array,
    dual: Array,
    gradient: Array,
) -> tuple[Array, Array]:
    """The gap and the violation over all features, of one fold and strength."""
    l1, l2 = strength * fold.l1, strength * fold.l2
    index = candidates.output, candidates.column
    full = model.backend.spread(model.backend.xp.zeros_like(l1), index, w)
    full, gradient, l1, l2 = (each.ravel() for each in (full, gradient, l1, l2))
    group = model.data.group
    primal = loss + penalty_value(full, l1, l2, group)
    gap = model.certified(fold, primal, dual, gradient, l1, l2, group)
    return gap, largest_violation(full, gradient, l1, l2, group)


def _path(
    model: Model,
    candidates: Candidates,
    fold: Fold,
    strengths: Array,
    w: Array,
    tol: Array,
) -> tuple[Array, ...]:
    backend, index = model.backend, (candidates.output, candidates.column)
    l1, l2 = (backend.take(each, index, 1.0) for each in (fold.l1, fold.l2))

    def run(carry: Any, strength: Array) -> Any:
        known, before = carry
        # The last strength is repeated to fill a block: those are solved already.
        start = _Start(*known, solved=strength == before)
        state = _newton(model, fold, strength * l1, strength * l2, start, tol)
        point = state.point
        value = penalty_value(point.w, strength * l1, strength * l2, model.group)
        error = error_of(fold, point.slopes)
        score = model.loss(fold.test, point.eta)
        loss = point.objective - value
        found = point.w, loss, error, score, state.dual, state.steps
        return ((point.w, state.dual, state.hessian), strength), found

    eta = model.predictor(w) + model.data.offset
    known = w, eta, model.hessian(fold, eta)
    return backend.scan(run, (known, backend.xp.full([], -1.0)), strengths)[1]


def _newton(
    model: Model,
    fold: Fold,
    l1: Array,
    l2: Array,
    start: _Start,
    tol: Array,
) -> _State:
    """Newton steps until the duality gap and the violation are small.

    The Hessian is kept, from one strength to the next, until a step gains too little: it
    costs as much as a hundred gradients.
    """
    allowed = allowed_violation(tol, fold.null_error)

    def conditions(point: Point) -> tuple[Array, Array]:
        gradient = model.gradient(point.slopes)
        return gradient, largest_violation(point.w, gradient, l1, l2, model.group)

    def advance(state: _State) -> _State:
        here = state.point
        length, there = _move(model, fold, l1, l2, state)
        gradient, violation = conditions(there)
        dual = model.dual(fold, there)
        gap = model.gap(fold, there, dual, l1, l2)
        rate = violation / state.violation
        slow = (rate**_PATIENCE * violation > allowed) | (length < 1)
        fell = there.objective < here.objective - _rounding(fold, here)
        nearer = (gap < state.gap) & (state.gap > tol) | (violation < state.violation / 2)
        stalled = state.fresh & ~fell & ~nearer
        inexact = (gap > tol) | (violation > allowed)
        hessian = model.backend.choose(
            slow & inexact,
            lambda: model.hessian(fold, there.eta),
            lambda: state.hessian,
        )
        return _State(
            state.steps + 1, stalled, slow, there, gradient, violation, dual, gap, hessian
        )

    def goes_on(state: _State) -> Array:
        inexact = (state.gap > tol) | (state.violation > allowed)
        return inexact & ~state.stalled & (state.steps < _STEPS)

    point = model.at(fold, start.w, l1, l2)
    gradient, violation = conditions(point)
    xp = model.backend.xp
    zero, no, unknown = xp.zeros([], int), xp.zeros([], bool), xp.full([], np.inf)
    first = _State(
        steps=zero,
        stalled=start.solved,
        fresh=no,
        point=point,
        gradient=gradient,
        violation=violation,
        dual=start.dual,
        gap=unknown,
        hessian=start.hessian,
    )
    return model.backend.loop(goes_on, advance, first)


def _move(
    model: Model, fold: Fold, l1: Array, l2: Array, state: _State
) -> tuple[Array, Point]:
    """A Newton step, halved until the objective falls enough: its length and its end.

    The quadratic model is not minimised beyond the rounding errors of a gradient, which
    would keep the search from ending. No gradient is larger than the null model's error.
    """
    here, gradient = state.point, state.gradient
    xp = model.backend.xp
    rounded = xp.maximum(
        1e-12 * xp.max(abs(gradient), initial=0.0), 1e-15 * fold.null_error
    )
    tolerance = xp.maximum(1e-3 * state.violation, rounded)
    quadratic = state.hessian, gradient, here.w, l1, l2, tolerance
    if model.group is None:
        z = lasso_step(*quadratic, model.backend)
    else:
        z = group_step(*quadratic, model.group, model.backend)
    rise = penalty_value(z, l1, l2, model.group)
    rise = rise - penalty_value(here.w, l1, l2, model.group)
    expected = gradient @ (z - here.w) + rise
    rounding = _rounding(fold, here)

    def too_long(tried: tuple[Array, Point]) -> Array:
        length, point = tried
        enough = here.objective + 1e-4 * length * expected + rounding
        return ~(point.objective <= enough) & (length > 1e-6)

    def shorter(tried: tuple[Array, Point]) -> tuple[Array, Point]:
        length = tried[0] / 2
        w = xp.where(length == 1, z, here.w + length * (z - here.w))
        return length, model.at(fold, w, l1, l2)

    above = here._replace(objective=xp.full([], np.inf))
    return model.backend.loop(too_long, shorter, (xp.full([], 2.0), above))


def _rounding(fold: Fold, point: Point) -> Array:
    """The rounding error of differences between objectives."""
    return 1e-14 * (abs(point.objective) + fold.null_loss)
