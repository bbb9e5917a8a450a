"""Paths over all features, by solving blocks of strengths on a few of them.

Of many features few are active. A block of strengths is solved on *candidates* only:
features that are active, or will be if the gradient goes on changing at the same rate. One
product with all features then certifies every solution of the block. Where the certificate
is too weak, features that violate the optimality conditions become candidates, and the
block is solved again. Until a strength is solved, candidates are added and never removed,
so that the rounds are at most as many as the coefficients.

Arrays (folds, coefficients) number the coefficients output after output.

References:
    Tibshirani and others, *Strong rules for discarding predictors in lasso-type problems*
    (2012), section 2.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg.solve.glm._backend import FEW, Backend
from jaxreg.solve.glm._candidate_model import (
    Candidates,
    Data,
    Fold,
    allowed_violation,
    null_magnitudes,
)
from jaxreg.solve.glm._newton_path import Block, solve_block

# A block ends where the strength has fallen by this factor: the gradient's rate changes.
_FALL = 0.7


class Problem(NamedTuple):
    """The data and options of a path.

    Attributes:
        backend: What computes.
        data: Features, loss and offsets.
        folds: A `Fold` with an axis in front; strengths are those at λ = 1.
        l1: The strengths of `folds`, an array (folds, coefficients).
        group: For each coefficient the first one of its group.
        unpenalised: The coefficients that have no penalty.
        few: All coefficients that may be nonzero, if there are at most `FEW`.
        block: The number of strengths that are solved at once.
        tol: The relative duality gap, and the relative violation, to reach.
    """

    backend: Backend
    data: Data
    folds: Fold
    l1: np.ndarray
    group: np.ndarray
    unpenalised: np.ndarray
    few: np.ndarray | None
    block: int
    tol: float


class Position(NamedTuple):
    """The end of the part of a path that is solved.

    Attributes:
        strength: The last strength that is solved.
        w: Its coefficients, an array (folds, coefficients).
        gradient: The gradient there, an array (folds, coefficients).
        rate: The derivative of the gradient with respect to the strength.
    """

    strength: float
    w: np.ndarray
    gradient: np.ndarray
    rate: np.ndarray


class Found(NamedTuple):
    """The solutions of a path; the first axes of each array are (folds, strengths).

    Attributes:
        w: Coefficients, (folds, strengths, outputs, features).
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


def prepare(
    backend: Backend, data: Data, folds: Fold, block: int, tol: float
) -> tuple[Problem, Position]:
    """Fit the null model, the start of every path: unpenalised coefficients only.

    Its loss and its error become the units of gaps and of violations.
    """
    l1, l2 = (np.asarray(x).reshape(len(x), -1) for x in (folds.l1, folds.l2))
    units = l1.shape[1]
    unpenalised = np.flatnonzero(np.all(l1 + l2 == 0, axis=0))
    group = np.arange(units) if data.group is None else np.asarray(data.group)
    used = np.tile(np.any(np.asarray(data.columns) != 0, axis=1), len(data.offset))
    used &= ~np.any(np.isinf(l1), axis=0)
    few = np.flatnonzero(used) if np.count_nonzero(used) <= FEW else None
    magnitudes = jax.device_get(backend.run(null_magnitudes, data, folds))
    folds = _in_units(folds, *magnitudes)
    problem = Problem(backend, data, folds, l1, group, unpenalised, few, block, tol)
    nothing = np.zeros_like(l1)
    start = Position(np.inf, nothing, nothing, nothing)
    found = _solve(problem, start, unpenalised, np.ones(block))
    loss, error = found.loss[:, 0], found.error[:, 0]
    # If the error is rounding only, nothing is left for features to explain. The loss does
    # not show that: it is of the order of the error's square, and is rounded earlier.
    is_left = error > ROUNDING * magnitudes[1]
    folds = _in_units(
        folds,
        np.where(is_left & (loss > 0), loss, magnitudes[0]),
        np.where(is_left, error, magnitudes[1]),
    )
    gradient = found.gradient[:, 0].reshape(-1, units)
    gradient = np.where(is_left[:, None], gradient, 0.0)
    w = _spread(problem, unpenalised, found)[:, 0]
    strength = min(np.max(_critical(problem, gradient)), 1e300)
    return problem._replace(folds=folds), Position(float(strength), w, gradient, nothing)


def _in_units(folds: Fold, loss: np.ndarray, error: np.ndarray) -> Fold:
    """Make gaps relative to a loss and violations to an error (to 1 where it is 0)."""
    loss, error = (np.where(unit > 0, unit, 1.0) for unit in (loss, error))
    return folds._replace(null_loss=loss, null_error=error)


def strength_max(problem: Problem, start: Position) -> float:
    """The smallest strength with only zeros among penalised coefficients, last fold."""
    return float(_critical(problem, start.gradient)[-1])


def _lengths(problem: Problem, values: np.ndarray) -> np.ndarray:
    """For each coefficient the norm of its group."""
    if problem.data.group is None:
        return np.abs(values)
    squares = np.zeros_like(values)
    np.add.at(squares.T, problem.group, (values**2).T)
    return np.sqrt(squares)[..., problem.group]


def _critical(problem: Problem, gradient: np.ndarray) -> np.ndarray:
    """For each fold the smallest strength at which the null model is optimal."""
    bound = np.delete(problem.l1, problem.unpenalised, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.delete(_lengths(problem, gradient), problem.unpenalised, axis=1) / bound
    return np.max(np.nan_to_num(ratios, posinf=np.inf), axis=1, initial=0.0)


def follow(problem: Problem, here: Position, strengths: np.ndarray) -> Found:
    """Solutions at falling strengths, on every fold."""
    parts = zip(*_blocks(problem, here, strengths), strict=True)
    return Found(*(np.concatenate(part, axis=1) for part in parts))


def _blocks(problem: Problem, here: Position, strengths: np.ndarray) -> Iterator[Found]:
    added = np.zeros(0, int)
    # It ends: each round keeps a solution, or adds a candidate until all features are.
    while len(strengths):
        ahead = _ahead(problem, strengths)
        missing = problem.block - len(ahead) if problem.backend.pads else 0
        padded = np.append(ahead, np.full(missing, ahead[-1]))
        expected = _expected(problem, here, ahead[-1])
        indices = _order(problem, np.union1d(expected, added))
        found = _solve(problem, here, indices, padded)
        missed = _violators(problem, found, padded)[: len(ahead)]
        missed[:, indices] = False
        good = np.all(found.gap <= problem.tol, axis=0)[: len(ahead)]
        good &= ~np.any(missed, axis=1)
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
            parts = (
                w.reshape(*w.shape[:2], len(problem.data.offset), -1),
                *(found.loss, found.score, found.gap, found.violation, found.steps),
            )
            yield Found(*(part[:, :count] for part in parts))
            here = _reached(here, ahead[:count], w, found.gradient)
            strengths = strengths[count:]


def _ahead(problem: Problem, strengths: np.ndarray) -> np.ndarray:
    """The strengths of the next block."""
    fall = _FALL if problem.few is None else 0.0
    near = np.count_nonzero(strengths >= fall * strengths[0])
    return strengths[: min(max(near, 1), problem.block)]


def _order(problem: Problem, indices: np.ndarray) -> np.ndarray:
    """Candidates with the unpenalised ones in front."""
    return np.concatenate([problem.unpenalised, np.setdiff1d(indices, problem.unpenalised)])


def _solve(
    problem: Problem, here: Position, indices: np.ndarray, strengths: np.ndarray
) -> Block:
    """The solutions on some coefficients, as NumPy arrays."""
    count, features = len(indices), len(problem.data.columns)
    size = _size(problem, count)
    column, output = np.full(size, features), np.zeros(size, int)
    output[:count], column[:count] = np.divmod(indices, features)
    group = None
    if problem.data.group is not None:
        first = np.unique(problem.group[indices], return_index=True, return_inverse=True)
        group = np.append(first[1][first[2]], np.arange(count, size))
    w = np.zeros((len(here.w), size))
    w[:, :count] = here.w[:, indices]
    put = problem.backend.to_device
    found = problem.backend.run(
        solve_block,
        problem.data,
        Candidates(*put((column, output, group))),
        *put((problem.folds, strengths, w, problem.tol / 2)),
        unpenalised=len(problem.unpenalised),
        together=jax.default_backend() != "cpu",
    )
    return jax.device_get(found)


def _size(problem: Problem, count: int) -> int:
    """The next size to compile for: powers of 2, and ¾ of these above 256."""
    if not problem.backend.pads:
        return count
    if problem.few is not None:
        return min(problem.l1.shape[1], FEW)
    power = max(2 * FEW, 1 << (count - 1).bit_length())
    return power * 3 // 4 if power > 256 and count <= power * 3 // 4 else power


def _spread(problem: Problem, indices: np.ndarray, found: Block) -> np.ndarray:
    """Coefficients of all features, an array (folds, strengths, coefficients)."""
    few = found.w[..., : len(indices)]
    w = np.zeros((*few.shape[:2], problem.l1.shape[1]))
    w[..., indices] = few
    return w


def _reached(
    before: Position, strengths: np.ndarray, w: np.ndarray, gradient: np.ndarray
) -> Position:
    gradient = gradient.reshape(w.shape)
    last = len(strengths) - 1
    strength, earlier = strengths[last], strengths[last - 1] if last else before.strength
    change = gradient[:, last] - (gradient[:, last - 1] if last else before.gradient)
    rate = change / (strength - earlier) if strength < earlier else before.rate
    return Position(float(strength), w[:, last], gradient[:, last], rate)


def _expected(problem: Problem, here: Position, strength: float) -> np.ndarray:
    """Coefficients that are active, or predicted to be before `strength` is reached."""
    if problem.few is not None:
        return problem.few
    gradient = here.gradient + min(strength - here.strength, 0.0) * here.rate
    near = _lengths(problem, gradient) >= strength * problem.l1
    active = _lengths(problem, here.w) != 0
    return np.flatnonzero(np.any(active | near, axis=0))


def _violators(problem: Problem, found: Block, strengths: np.ndarray) -> np.ndarray:
    """For each strength and coefficient, whether it must not be zero on some fold.

    Where the gap is small enough, small violations are accepted.
    """
    gradient = found.gradient.reshape(*found.gradient.shape[:2], -1)
    bound = strengths[:, None] * problem.l1[:, None, :]
    allowed = allowed_violation(problem.tol, problem.folds.null_error)
    small = found.gap <= problem.tol
    slack = np.where(small, allowed[:, None], 0.0)
    return np.any(_lengths(problem, gradient) > bound + slack[..., None], axis=0)
