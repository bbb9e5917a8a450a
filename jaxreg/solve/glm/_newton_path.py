"""Proximal Newton along falling strengths, on the candidate features of a block.

At each strength, from the solution of the one before, or from where the last two point to
if that is better: minimise the quadratic model of the loss plus the penalty (exactly, by an
active-set method), then go there, or a part of the way if the objective does not fall
enough (Armijo). This ends when

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

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxreg.solve.glm._candidate_model import (
    Fold,
    Model,
    Point,
    allowed_violation,
    duality_gap,
    error_of,
    largest_violation,
    penalty_value,
)
from jaxreg.solve.glm._candidates import HessianProducts
from jaxreg.solve.glm._group_step import group_step
from jaxreg.solve.glm._lasso_step import lasso_step

_STEPS = 100
# A new Hessian is computed unless this many more steps, as good as the last, would do.
_PATIENCE = 2
# To which fraction of the violation the quadratic model is solved: where the Hessian is not
# stored, Newton steps are cheap and accurate solutions dear.
_STORED, _NOT_STORED = 1e-3, 3e-2


Hessian = np.ndarray | HessianProducts


class Block(NamedTuple):
    """The solutions of a block of strengths, on the first axis of each array.

    Attributes:
        w: Coefficients of the candidates.
        gradient: The gradient of the loss, an array (k·p,).
        loss: The mean loss above the least possible.
        error: √(Σ d²/s) with weighted slopes d and weights s.
        score: The mean loss on the samples for the score.
        gap: Relative duality gap over all features.
        violation: Largest violation of the optimality conditions over all features.
        steps: Number of Newton steps.
    """

    w: np.ndarray
    gradient: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    violation: np.ndarray
    steps: np.ndarray


class _Penalty(NamedTuple):
    """The strengths of the candidates, arrays (m,)."""

    l1: np.ndarray
    l2: np.ndarray


class _State(NamedTuple):
    """Coefficients, and how far from optimal they are among the candidates.

    Attributes:
        point: Coefficients, with the value and the slopes of the loss.
        gradient: The gradient of the loss, an array (m,).
        violation: Largest violation of the optimality conditions.
        dual: Feasible weighted slopes, an array (k, n).
        gap: The relative duality gap.
    """

    point: Point
    gradient: np.ndarray
    violation: float
    dual: np.ndarray
    gap: float

    @classmethod
    def at(cls, model: Model, penalty: _Penalty, point: Point) -> "_State":
        gradient, dual = model.candidates.gradient(point.slopes), model.dual(point)
        violation = largest_violation(point.w, gradient, *penalty, model.groups)
        return cls(point, gradient, violation, dual, model.gap(point, dual, *penalty))


class _Solution(NamedTuple):
    """A solution on the candidates, as in `Block`, with its feasible weighted slopes."""

    w: np.ndarray
    dual: np.ndarray
    loss: float
    error: float
    score: float
    steps: int


def solve_block(
    model: Model, index: np.ndarray, strengths: np.ndarray, w: np.ndarray, tol: float
) -> Block:
    """Solve a block of falling strengths, and certify it over all features.

    Args:
        model: The loss on the candidates.
        index: Which coefficients these are, numbered output after output.
        strengths: Falling.
        w: The start, an array (m,).
        tol: The relative duality gap, and the relative violation, to reach.
    """
    path = list(_path(model, index, strengths, w, tol))
    duals = np.stack([solution.dual for solution in path])
    gradients = model.data.design.products(duals).reshape(len(path), -1)
    each = zip(strengths, path, gradients, strict=True)
    certificates = np.array([_certificate(model, index, *one) for one in each])
    gathered = {
        name: np.array([getattr(solution, name) for solution in path])
        for name in ("w", "loss", "error", "score", "steps")
    }
    gap, violation = certificates.T
    return Block(gradient=gradients, gap=gap, violation=violation, **gathered)


def _path(
    model: Model, index: np.ndarray, strengths: np.ndarray, w: np.ndarray, tol: float
) -> Iterator[_Solution]:
    """Solutions on the candidates, each started from those before."""
    l1, l2 = (each.ravel()[index] for each in (model.fold.l1, model.fold.l2))
    hessian, rate, before = None, np.zeros_like(w), np.inf
    for strength in strengths:
        penalty = _Penalty(strength * l1, strength * l2)
        start = model.at(w, *penalty)
        if np.any(rate):
            ahead = _without_crossing(w, w + (before - strength) * rate)
            start = min(start, model.at(ahead, *penalty), key=lambda at: at.objective)
        state, hessian, steps = _newton(model, penalty, start, hessian, tol)
        point = state.point
        if strength < before < np.inf:
            rate = (point.w - w) / (before - strength)
        w, before = point.w, strength
        loss = point.objective - penalty_value(w, *penalty, model.groups)
        error = error_of(model.fold, point.slopes)
        score = model.loss(model.fold.test, point.eta)
        yield _Solution(w, state.dual, loss, error, score, steps)


def _without_crossing(w: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Coefficients that stay zero, or become zero where they would change their sign."""
    return np.where(ahead * w > 0, ahead, 0.0)


def _certificate(
    model: Model,
    index: np.ndarray,
    strength: float,
    solution: _Solution,
    gradient: np.ndarray,
) -> tuple[float, float]:
    """The duality gap and the violation over all features."""
    data, fold = model.data, model.fold
    l1, l2 = strength * fold.l1.ravel(), strength * fold.l2.ravel()
    w = np.zeros_like(l1)
    w[index] = solution.w
    primal = solution.loss + penalty_value(w, l1, l2, data.groups)
    gap = duality_gap(data, fold, primal, solution.dual, gradient, l1, l2, data.groups)
    return gap, largest_violation(w, gradient, l1, l2, data.groups)


def _newton(
    model: Model,
    penalty: _Penalty,
    start: Point,
    hessian: Hessian | None,
    tol: float,
) -> tuple[_State, Hessian | None, int]:
    """Newton steps until the duality gap and the violation are small.

    The Hessian is kept, from one strength to the next, until a step gains too little: it
    costs as much as a hundred gradients. One that is not stored costs nothing.

    Args:
        model: The loss on the candidates.
        penalty: The strengths of the candidates.
        start: Where to start.
        hessian: One near it, (m, m), or `None`.
        tol: The relative duality gap, and the relative violation, to reach.

    Returns:
        The solution, the last Hessian if it is still good, and the number of steps.
    """
    allowed = allowed_violation(tol, model.fold.null_error)
    here = _State.at(model, penalty, start)
    steps = 0
    # NaN counts as solved: another step would not help.
    while (here.gap > tol or here.violation > allowed) and steps < _STEPS:
        is_new = hessian is None
        if hessian is None:
            hessian = model.hessian(here.point.eta)
        length, point = _move(model, penalty, here, hessian)
        there = _State.at(model, penalty, point)
        steps += 1
        fell = point.objective < here.point.objective - _rounding(model.fold, here.point)
        nearer = here.gap > max(tol, there.gap) or there.violation < here.violation / 2
        rate = there.violation / here.violation
        is_stored = isinstance(hessian, np.ndarray)
        if rate**_PATIENCE * there.violation > allowed or length < 1 or not is_stored:
            hessian = None
        here = there
        if is_new and not fell and not nearer:
            break
    return here, hessian, steps


def _move(
    model: Model, penalty: _Penalty, here: _State, hessian: Hessian
) -> tuple[float, Point]:
    """A Newton step, halved until the objective falls enough: its length and its end.

    The quadratic model is not minimised beyond the rounding errors of a gradient, which
    would keep the search from ending.
    """
    w, gradient, before = here.point.w, here.gradient, here.point.objective
    rounded = 1e-12 * float(np.max(abs(gradient), initial=0.0))
    fraction = _STORED if isinstance(hessian, np.ndarray) else _NOT_STORED
    tolerance = max(fraction * here.violation, rounded)
    if model.groups is None:
        z = lasso_step(hessian, gradient, w, *penalty, tolerance)
    else:
        assert isinstance(hessian, np.ndarray)  # As all Hessians of groups.
        z = group_step(hessian, gradient, w, *penalty, tolerance, model.groups)
    rise = penalty_value(z, *penalty, model.groups)
    rise = rise - penalty_value(w, *penalty, model.groups)
    expected = gradient @ (z - w) + rise
    rounding = _rounding(model.fold, here.point)
    length, point = 1.0, model.at(z, *penalty)
    while (
        not point.objective <= before + 1e-4 * length * expected + rounding
        and length > 1e-6
    ):
        length = length / 2
        point = model.at(w + length * (z - w), *penalty)
    return length, point


def _rounding(fold: Fold, point: Point) -> float:
    """The rounding error of differences between objectives."""
    return 1e-14 * (abs(point.objective) + fold.null_loss)
