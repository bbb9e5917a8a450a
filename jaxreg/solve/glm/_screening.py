"""Paths over all features, by solving blocks of strengths on a few of them.

Of many features few are active. A block of strengths is solved on *candidates* only:
features that are active, or will be if the gradient goes on changing at the same rate. One
product with all features then certifies every solution of the block. Where the certificate
is too weak, features that violate the optimality conditions become candidates, and the
block is solved again. Until a strength is solved, candidates are added and never removed,
so that the rounds are at most as many as the coefficients.

Arrays of coefficients number them output after output.

References:
    Tibshirani and others, *Strong rules for discarding predictors in lasso-type problems*
    (2012), section 2.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg._progress import Tick
from jaxreg.solve.glm._candidate_model import (
    Data,
    Fold,
    Model,
    allowed_violation,
    null_magnitudes,
)
from jaxreg.solve.glm._groups import lengths
from jaxreg.solve.glm._newton_path import Block, solve_block
from jaxreg.solve.sparse import unused_zeros

# A block ends after so many strengths, or where the strength has fallen by this factor: the
# gradient's rate changes.
_BLOCK = 10
_FALL = 0.7


class Problem(NamedTuple):
    """The data and options of a path.

    Attributes:
        data: Features, loss and offsets.
        fold: Weights; strengths are those at λ = 1.
        l1: The strengths of `fold`, an array (coefficients,).
        unpenalised: The coefficients that have no penalty.
        tol: The relative duality gap, and the relative violation, to reach.
    """

    data: Data
    fold: Fold
    l1: np.ndarray
    unpenalised: np.ndarray
    tol: float


class Position(NamedTuple):
    """The end of the part of a path that is solved.

    Attributes:
        strength: The last strength that is solved.
        w: Its coefficients, an array (coefficients,).
        gradient: The gradient there, an array (coefficients,).
        rate: The derivative of the gradient with respect to the strength.
    """

    strength: float
    w: np.ndarray
    gradient: np.ndarray
    rate: np.ndarray


class Found(NamedTuple):
    """The solutions of a path, with the strengths on the first axis of each array.

    Attributes:
        w: Coefficients, (strengths, coefficients).
        loss: The mean loss above the least possible.
        score: The mean loss on the samples for the score.
        gap: Relative duality gaps.
        violation: Largest violations of the optimality conditions.
        steps: Newton steps.
    """

    w: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    violation: np.ndarray
    steps: np.ndarray


def prepare(data: Data, fold: Fold, tol: float) -> tuple[Problem, Position]:
    """Fit the null model, the start of every path: unpenalised coefficients only.

    Its loss and its error become the units of gaps and of violations.
    """
    l1 = fold.l1.ravel()
    unpenalised = np.flatnonzero(l1 + fold.l2.ravel() == 0)
    magnitudes = null_magnitudes(data, fold)
    fold = _in_units(fold, *magnitudes)
    problem = Problem(data, fold, l1, unpenalised, tol)
    nothing = np.zeros_like(l1)
    start = Position(np.inf, nothing, nothing, nothing)
    found = _solve(problem, start, unpenalised, np.ones(1))
    loss, error, gradient = found.loss[0], found.error[0], found.gradient[0]
    # If the error is rounding only, nothing is left for features to explain. The loss does
    # not show that: it is of the order of the error's square, and is rounded earlier.
    is_left = error > ROUNDING * magnitudes[1]
    if not is_left:
        gradient = nothing
    fold = _in_units(
        fold,
        loss if is_left and loss > 0 else magnitudes[0],
        error if is_left else magnitudes[1],
    )
    w = _spread(problem, unpenalised, found)[0]
    strength = min(_critical(problem, gradient), 1e300)
    return problem._replace(fold=fold), Position(strength, w, gradient, nothing)


def _in_units(fold: Fold, loss: float, error: float) -> Fold:
    """Make gaps relative to a loss and violations to an error (to 1 where it is 0)."""
    loss, error = (unit if unit > 0 else 1.0 for unit in (loss, error))
    return fold._replace(null_loss=loss, null_error=error)


def strength_max(problem: Problem, start: Position) -> float:
    """The smallest strength with only zeros among penalised coefficients."""
    return _critical(problem, start.gradient)


def _critical(problem: Problem, gradient: np.ndarray) -> float:
    """The smallest strength at which the null model is optimal."""
    bound = np.delete(problem.l1, problem.unpenalised)
    norms = np.delete(lengths(gradient, problem.data.groups), problem.unpenalised)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(norms / bound, posinf=np.inf)
    return float(np.max(ratios, initial=0.0))


def follow(problem: Problem, here: Position, strengths: np.ndarray, tick: Tick) -> Found:
    """Solutions at falling strengths, each of which is one tick."""
    # Column-major: the memory of features that are never active is never touched.
    w = unused_zeros((len(problem.l1), len(strengths))).T
    blocks, done = [], 0
    for block in _blocks(problem, here, strengths):
        active = np.flatnonzero(np.any(block.w != 0, axis=0))
        w[done : done + len(block.w), active] = block.w[:, active]
        done += len(block.w)
        blocks.append(block[1:])
        for _ in block.gap:
            tick()
    return Found(w, *(np.concatenate(part) for part in zip(*blocks, strict=True)))


def _blocks(problem: Problem, here: Position, strengths: np.ndarray) -> Iterator[Found]:
    added = np.zeros(0, int)
    # It ends: each round keeps a solution, or adds a candidate until all features are.
    while len(strengths):
        near = np.count_nonzero(strengths >= _FALL * strengths[0])
        ahead = strengths[: min(near, _BLOCK)]
        expected = _expected(problem, here, ahead[-1])
        indices = _order(problem, np.union1d(expected, added))
        found = _solve(problem, here, indices, ahead)
        missed = _violators(problem, found, ahead)
        missed[:, indices] = False
        good = (found.gap <= problem.tol) & ~np.any(missed, axis=1)
        count = len(ahead) if good.all() else int(np.argmin(good))
        new = np.flatnonzero(missed[count:].any(axis=0))
        # Without candidates to add, another round would not improve the first solution.
        if count == 0 and not new.size:
            count = 1
        # Candidates are added to those before, not replaced: two sets that miss each
        # other's features would alternate for ever.
        added = new if count else np.union1d(added, new)
        if count:
            w = _spread(problem, indices, found)
            parts = w, found.loss, found.score, found.gap, found.violation, found.steps
            yield Found(*(part[:count] for part in parts))
            here = _reached(here, ahead[:count], w, found.gradient)
            strengths = strengths[count:]
            del w, parts
        del found, missed  # They have a number for each feature and strength.


def _order(problem: Problem, indices: np.ndarray) -> np.ndarray:
    """Candidates with the unpenalised ones in front."""
    return np.concatenate([problem.unpenalised, np.setdiff1d(indices, problem.unpenalised)])


def _solve(
    problem: Problem, here: Position, indices: np.ndarray, strengths: np.ndarray
) -> Block:
    """The solutions on some coefficients."""
    count = len(problem.unpenalised)
    model = Model.of(problem.data, problem.fold, indices, count)
    return solve_block(model, indices, strengths, here.w[indices], problem.tol / 2)


def _spread(problem: Problem, indices: np.ndarray, found: Block) -> np.ndarray:
    """Coefficients of all features, an array (strengths, coefficients)."""
    w = unused_zeros((len(problem.l1), len(found.w))).T
    w[:, indices] = found.w
    return w


def _reached(
    before: Position, strengths: np.ndarray, w: np.ndarray, gradient: np.ndarray
) -> Position:
    last = len(strengths) - 1
    strength, earlier = strengths[last], strengths[last - 1] if last else before.strength
    change = gradient[last] - (gradient[last - 1] if last else before.gradient)
    rate = change / (strength - earlier) if strength < earlier else before.rate
    # Copies, because the arrays of the block are several times as large.
    return Position(float(strength), w[last].copy(), gradient[last].copy(), rate)


def _expected(problem: Problem, here: Position, strength: float) -> np.ndarray:
    """Coefficients that are active, or predicted to be before `strength` is reached."""
    gradient = here.gradient + min(strength - here.strength, 0.0) * here.rate
    near = lengths(gradient, problem.data.groups) >= strength * problem.l1
    active = lengths(here.w, problem.data.groups) != 0
    return np.flatnonzero(active | near)


def _violators(problem: Problem, found: Block, strengths: np.ndarray) -> np.ndarray:
    """For each strength and coefficient, whether it must not be zero.

    Where the gap is small enough, small violations are accepted.
    """
    bound = strengths[:, None] * problem.l1
    allowed = allowed_violation(problem.tol, problem.fold.null_error)
    slack = np.where(found.gap <= problem.tol, allowed, 0.0)
    return lengths(found.gradient, problem.data.groups) > bound + slack[:, None]
