"""Paths over all features, from blocks of strengths on a few of them.

Of many features few are active. A block of strengths is solved on *candidates* only: what
is active, and what will be if gradients go on as they did. One product with all
features then certifies every solution of the block; where one is not good enough, the
features that violate its optimality conditions become candidates, and the block goes on
from there.

References:
    Tibshirani and others, *Strong rules for discarding predictors in lasso-type problems*
    (2012), section 2.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.solve._families import Family
from jaxreg.solve._newton_path import Block, Candidates, Data, Fold, solve_block

# So few coefficients are candidates all at once.
_FEW = 64
# A block ends where the strength has fallen by this factor: trends hold no longer.
_FALL = 0.7


class Problem(NamedTuple):
    """What a path is about.

    Attributes:
        family: The distribution of y.
        data: Features, y and offsets.
        folds: A `Fold` with an axis in front; strengths are those at λ = 1.
        l1: The strengths of `folds`, an array (folds, coefficients).
        group: For each coefficient the first one of its group.
        free: The coefficients that have no strength.
        few: All coefficients of features that are not zero, if they are few.
        block: How many strengths are solved at once.
        tol: The relative duality gap to reach.
    """

    family: Family
    data: Data
    folds: Fold
    l1: np.ndarray
    group: np.ndarray
    free: np.ndarray
    few: np.ndarray | None
    block: int
    tol: float


class Place(NamedTuple):
    """How far a path has got.

    Attributes:
        strength: The last strength that is solved.
        w: Its coefficients, an array (folds, coefficients).
        slope: The gradient there.
        rate: How the gradient changes with the strength.
    """

    strength: float
    w: np.ndarray
    slope: np.ndarray
    rate: np.ndarray


class Found(NamedTuple):
    """What a path found; each array has axes (folds, strengths) in front.

    Attributes:
        w: Coefficients, (folds, strengths, outputs, features).
        loss: The mean loss above the least possible.
        score: The same on the samples for the score.
        gap: Relative duality gaps.
        residual: Largest violations of the optimality conditions.
        steps: Newton steps.
    """

    w: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    residual: np.ndarray
    steps: np.ndarray


def prepare(
    family: Family, data: Data, folds: Fold, block: int, tol: float
) -> tuple[Problem, Place]:
    """Fit what has no strength, with all else zero: where every path begins.

    The loss there, above the least possible, becomes the scale of the duality gaps.
    """
    l1, l2 = (np.asarray(x).reshape(len(x), -1) for x in (folds.l1, folds.l2))
    units = l1.shape[1]
    free = np.flatnonzero(np.all(l1 + l2 == 0, axis=0))
    group = np.arange(units) if data.group is None else np.asarray(data.group)
    used = np.tile(np.any(np.asarray(data.columns) != 0, axis=1), len(data.y))
    few = np.flatnonzero(used) if np.count_nonzero(used) <= _FEW else None
    problem = Problem(family, data, folds, l1, group, free, few, block, tol)
    nothing = np.zeros_like(l1)
    start = Place(np.inf, nothing, nothing, nothing)
    found = _solve(problem, start, free, np.ones(block))
    null = np.asarray(found.loss)[:, 0]
    scale = jnp.asarray(np.where(null > 0, null, 1.0))
    problem = problem._replace(folds=folds._replace(scale=scale))
    slope = np.asarray(found.slope)[:, 0].reshape(-1, units)
    w = _spread(problem, free, found)[:, 0]
    strength = min(np.max(_critical(problem, slope)), 1e300)
    return problem, Place(float(strength), w, slope, nothing)


def strength_max(problem: Problem, start: Place) -> float:
    """The smallest strength at which all that has one is zero, on the last fold."""
    return float(_critical(problem, start.slope)[-1])


def _lengths(problem: Problem, slope: np.ndarray) -> np.ndarray:
    """The norms of the groups, for each of their coefficients."""
    if problem.data.group is None:
        return np.abs(slope)
    squares = np.zeros_like(slope)
    np.add.at(squares.T, problem.group, (slope**2).T)
    return np.sqrt(squares)[..., problem.group]


def _critical(problem: Problem, slope: np.ndarray) -> np.ndarray:
    bound = np.delete(problem.l1, problem.free, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.delete(_lengths(problem, slope), problem.free, axis=1) / bound
    return np.max(np.nan_to_num(ratios, posinf=np.inf), axis=1, initial=0.0)


def follow(problem: Problem, here: Place, strengths: np.ndarray) -> Found:
    """Solutions at falling strengths, on every fold."""
    parts = zip(*_blocks(problem, here, strengths), strict=True)
    return Found(*(np.concatenate(part, axis=1) for part in parts))


def _blocks(problem: Problem, here: Place, strengths: np.ndarray) -> Iterator[Found]:
    more = np.zeros(0, int)
    while len(strengths):
        ahead = _ahead(problem, strengths)
        padded = np.append(ahead, np.full(problem.block - len(ahead), ahead[-1]))
        places = _order(problem, np.union1d(_expected(problem, here, ahead[-1]), more))
        found = _solve(problem, here, places, padded)
        good = np.all(np.asarray(found.gap) <= problem.tol, axis=0)[: len(ahead)]
        count = len(ahead) if good.all() else int(np.argmin(good))
        wrong = _violators(problem, found, padded)[count : len(ahead)]
        more = np.setdiff1d(np.flatnonzero(wrong.any(axis=0)), places)
        if count == 0 and not more.size:
            count = 1
        if count:
            w = _spread(problem, places, found)
            parts = (
                w.reshape(*w.shape[:2], len(problem.data.y), -1),
                *(found.loss, found.score, found.gap, found.residual, found.steps),
            )
            yield Found(*(np.asarray(part)[:, :count] for part in parts))
            here = _reached(here, ahead[:count], w, np.asarray(found.slope))
            strengths = strengths[count:]


def _ahead(problem: Problem, strengths: np.ndarray) -> np.ndarray:
    """The strengths of the next block."""
    fall = _FALL if problem.few is None else 0.0
    near = np.count_nonzero(strengths >= fall * strengths[0])
    return strengths[: min(max(near, 1), problem.block)]


def _order(problem: Problem, places: np.ndarray) -> np.ndarray:
    """Candidates with the free ones in front."""
    return np.concatenate([problem.free, np.setdiff1d(places, problem.free)])


def _solve(
    problem: Problem, here: Place, places: np.ndarray, strengths: np.ndarray
) -> Block:
    count, features = len(places), len(problem.data.columns)
    few = problem.few is not None
    size = min(problem.l1.shape[1], _FEW) if few else _size(count)
    column, output = np.full(size, features), np.zeros(size, int)
    output[:count], column[:count] = np.divmod(places, features)
    group = None
    if problem.data.group is not None:
        first = np.unique(problem.group[places], return_index=True, return_inverse=True)
        group = jnp.asarray(np.append(first[1][first[2]], np.arange(count, size)))
    w = np.zeros((len(here.w), size))
    w[:, :count] = here.w[:, places]
    return solve_block(
        problem.family,
        problem.data,
        Candidates(jnp.asarray(column), jnp.asarray(output), group),
        problem.folds,
        jnp.asarray(strengths),
        jnp.asarray(w),
        jnp.asarray(problem.tol / 2),
        free=len(problem.free),
        together=jax.default_backend() != "cpu",
    )


def _size(count: int) -> int:
    """The next number of candidates that programs are compiled for."""
    power = max(2 * _FEW, 1 << (count - 1).bit_length())
    return power * 3 // 4 if power > 256 and count <= power * 3 // 4 else power


def _spread(problem: Problem, places: np.ndarray, found: Block) -> np.ndarray:
    """Coefficients of all features, an array (folds, strengths, coefficients)."""
    few = np.asarray(found.w)[..., : len(places)]
    w = np.zeros((*few.shape[:2], problem.l1.shape[1]))
    w[..., places] = few
    return w


def _reached(
    before: Place, strengths: np.ndarray, w: np.ndarray, slope: np.ndarray
) -> Place:
    slope = slope.reshape(w.shape)
    last = len(strengths) - 1
    strength, earlier = strengths[last], strengths[last - 1] if last else before.strength
    change = slope[:, last] - (slope[:, last - 1] if last else before.slope)
    rate = change / (strength - earlier) if strength < earlier else before.rate
    return Place(float(strength), w[:, last], slope[:, last], rate)


def _expected(problem: Problem, here: Place, strength: float) -> np.ndarray:
    """What is active now, or may be so before the strength has fallen to `strength`."""
    if problem.few is not None:
        return problem.few
    slope = here.slope + min(strength - here.strength, 0.0) * here.rate
    near = _lengths(problem, slope) >= strength * problem.l1
    active = _lengths(problem, here.w) != 0
    return np.flatnonzero(np.any(active | near, axis=0))


def _violators(problem: Problem, found: Block, strengths: np.ndarray) -> np.ndarray:
    """For each strength and coefficient, whether zero is wrong on some fold."""
    slope = np.asarray(found.slope).reshape(*found.slope.shape[:2], -1)
    bound = strengths[:, None] * problem.l1[:, None, :]
    return np.any(_lengths(problem, slope) > bound, axis=0)
