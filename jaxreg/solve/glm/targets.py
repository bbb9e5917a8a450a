"""Paths of many targets on the same features, each a model of its own.

The features are arranged once. Where all of them can be candidates, the models of some
targets and all folds are solved together (`_batch_path`), in a thread for each core; those
that this does not solve, and all models of sparse, sharded or more features, one by one.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg._checks import check_number
from jaxreg._progress import Tick, progress_bar
from jaxreg.losses import LinearLoss
from jaxreg.penalties import Penalty
from jaxreg.solve.checks import check_samples, check_strengths
from jaxreg.solve.glm._batch import Problems, Shared
from jaxreg.solve.glm._batch_path import follow_all, null_models, strengths_max
from jaxreg.solve.glm._candidate_model import Data, Fold
from jaxreg.solve.glm._data import GLM, Layout, Scale, arrange
from jaxreg.solve.glm._design import Design
from jaxreg.solve.glm._scores import check_score
from jaxreg.solve.glm._screening import Found
from jaxreg.solve.glm.core import (
    check_intercepts,
    first_strength,
    model_of,
    result_of,
    solve_arranged,
    warn_if_inexact,
    weights_of,
)
from jaxreg.solve.glm.result import GLMPath
from jaxreg.solve.targets import TargetPaths, naming_target
from jaxreg.solve.threads import on_threads
from jaxreg.strength.critical import grid_fractions
from jaxreg.strength.cross_validation import Folds

FEATURES = 512
"""The most features that are all candidates at once."""
MEMORY = 2**27
"""How many bytes the Hessians of the targets that are solved together may take."""
TOGETHER = 32
"""How many targets are solved together at most."""

Arranged = tuple[Data, list[Fold], Scale]


class _Options(NamedTuple):
    """What all targets share.

    Attributes:
        layout: Of the features.
        shared: The features for many problems; `None` to solve one by one.
        train: Weights of the samples for training, of all data last.
        test: Likewise, for the score.
        grid: Strengths.
        relative: Whether these are fractions of the first strength of each target.
        tol: The duality gap to reach.
        tick: Called for each model that is solved.
    """

    layout: Layout
    shared: Shared | None
    train: np.ndarray
    test: np.ndarray
    grid: np.ndarray
    relative: bool
    tol: float
    tick: Tick


def solve_targets(
    columns: Sequence[Any],
    loss_of: Callable[[np.ndarray], LinearLoss],
    x: Any,
    weights: np.ndarray | None,
    strengths: Any,
    *,
    offset: Any = None,
    penalty: Penalty | None,
    intercept: bool,
    standardize: bool,
    folds: Folds | None,
    score: str = "deviance",
    num: int,
    ratio: float,
    tol: float,
    progress: bool,
) -> TargetPaths[GLMPath]:
    """Solve a model of each target, as `solve_glm` does.

    Args:
        columns: The targets.
        loss_of: The loss of a target (n,), which is one of a single output.
        x: As for `solve_glm`; so are all others.
        weights: Of the samples, or `None`.
        strengths: Positive numbers for all targets, or `None` for a grid for each.
        offset: Known parts of the linear predictors, an array (n,) or (n, targets).
        penalty: As for `logistic_path`.
        intercept: As for `logistic_path`.
        standardize: As for `logistic_path`.
        folds: As for `logistic_path`.
        score: As for `logistic_path`.
        num: As for `logistic_path`.
        ratio: As for `logistic_path`.
        tol: As for `logistic_path`.
        progress: As for `logistic_path`.

    Raises:
        TypeError: If the penalty is another one.
        ValueError: If an argument is out of its range; for a target the message names it.
    """
    check_number("tol", tol, above=0.0)
    losses = []
    for number, column in enumerate(columns):
        with naming_target(number):
            losses.append(loss_of(check_samples("y", column, x.shape[0])))
    if strengths is not None:
        strengths = check_strengths(strengths, above=0.0)
    known = _offsets(offset, x.shape[0], len(losses))
    first = model_of(losses[0], x, weights, penalty, known[0], intercept, standardize)
    first = first._replace(score=score)
    models = [
        first._replace(loss=loss, offset=part)
        for loss, part in zip(losses, known, strict=True)
    ]
    with naming_target(0):
        train, test = weights_of(first, folds)
    for number, model in enumerate(models):
        with naming_target(number):
            check_intercepts(model, train)
            check_score(model, None if folds is None else test[:-1])
    with jax.enable_x64(True), np.errstate(all="ignore"):
        layout = Layout.of(first, train)
        shared = _shared(first, layout, train, test)
    grid = strengths if strengths is not None else grid_fractions(num, ratio)
    parts = _parts(len(models), 1 if shared is None else len(train), layout)
    total = len(models) * len(train) * len(grid)
    with progress_bar(progress, total, "model") as tick:
        options = _Options(layout, shared, train, test, grid, strengths is None, tol, tick)
        each = _in_parallel(lambda part: _solve(options, models[part]), parts)
    found = [one for part in each for one in part]
    inexact = [number for number, (_, gap) in enumerate(found) if not gap <= tol]
    largest = max(gap for _, gap in found)
    warn_if_inexact(largest, tol, f" for the targets {inexact}")
    return TargetPaths(tuple(path for path, _ in found))


def _offsets(offset: Any, samples: int, targets: int) -> list[np.ndarray]:
    """The offset of each target, arrays (n, 1)."""
    if offset is None:
        return [np.zeros((samples, 1))] * targets
    if np.ndim(offset) < 2:
        return [check_samples("offset", offset, samples)[:, None]] * targets
    if np.shape(offset) != (samples, targets):
        raise ValueError(
            "offset must be an array (samples,) or (samples, targets), of "
            f"{samples} samples and {targets} targets, got shape {np.shape(offset)}."
        )
    each = []
    for number, column in enumerate(np.asarray(offset).T):
        with naming_target(number):
            each.append(check_samples("offset", column, samples)[:, None])
    return each


def _shared(
    model: GLM, layout: Layout, train: np.ndarray, test: np.ndarray
) -> Shared | None:
    """The features for many problems; `None` if these must be solved one by one."""
    few = layout.design.shape[0] <= FEATURES and model.group is None
    unpenalised = np.any(model.l1 + model.l2 == 0)
    design = layout.design
    if not isinstance(design, Design) or design.is_sparse or unpenalised or not few:
        return None
    train, test = (part / part.sum(1, keepdims=True) for part in (train, test))
    folds = [Fold(*part) for part in zip(train, test, layout.l1, layout.l2, strict=True)]
    return Shared.of(design.columns, folds)


def _parts(targets: int, folds: int, layout: Layout) -> list[slice]:
    """Which targets are solved together: alike many, and as many parts as cores."""
    each = 8 * folds * layout.design.shape[0] ** 2
    most = max(min(MEMORY // each, TOGETHER), 1)
    cores = os.cpu_count() or 1
    count = -(-targets // most)
    count = min(-(-count // cores) * cores, targets)
    ends = np.linspace(0, targets, count + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in zip(ends[:-1], ends[1:], strict=True)]


def _in_parallel(function: Callable[[slice], Any], parts: list[slice]) -> list[Any]:
    """Results for all parts, in their order."""

    def run(part: slice) -> Any:
        # These settings are those of a thread.
        with jax.enable_x64(True), np.errstate(all="ignore"):
            return function(part)

    return on_threads(run, parts)


def _solve(options: _Options, models: list[GLM]) -> list[tuple[GLMPath, float]]:
    """The paths of some targets, and the largest gaps."""
    each = [arrange(m, options.train, options.test, options.layout) for m in models]
    found: list[Any] = [None] * len(models)
    tick = options.tick
    if options.shared is not None:
        tick = _counted_already
        found = _together(options, options.shared, models, each)
    return [
        solve_arranged(model, arranged, *options[-4:-1], tick) if done is None else done
        for model, arranged, done in zip(models, each, found, strict=True)
    ]


def _counted_already() -> None:
    """Models that are solved again do not move the bar."""


def _together(
    options: _Options, shared: Shared, models: list[GLM], each: list[Arranged]
) -> list[tuple[GLMPath, float] | None]:
    """The paths of some targets by one search; `None` where it does not converge."""
    problems = Problems.of(shared, [data for data, _, _ in each])
    pairs = [(data.least, fold) for data, folds, _ in each for fold in folds]
    least = np.array([fold.weights @ each for each, fold in pairs])
    others = np.array([fold.test @ each for each, fold in pairs])
    null = null_models(problems, least, models[0].intercept)
    grids = np.tile(options.grid, (len(models), 1))
    if options.relative:
        first = strengths_max(problems, null)
        first = [first_strength(*one) for one in zip(models, first, strict=True)]
        grids = np.multiply.outer(first, options.grid)
    order = np.argsort(-grids[0], kind="stable")
    steps = options.tol, options.tick
    found = follow_all(problems, null, (least, others), grids[:, order], *steps)
    back, folds = np.argsort(order), problems.folds
    results = []
    for number, (model, (_, _, scale)) in enumerate(zip(models, each, strict=True)):
        mine = slice(number * folds, (number + 1) * folds)
        if np.any(found.failed[mine]):
            results.append(None)
            continue
        solved = Found(*(getattr(found, name)[mine][:, back] for name in Found._fields))
        unit = float(null.loss[mine][-1])
        given = model, scale, grids[number], solved, options.test, unit, options.tol
        results.append(result_of(*given))
    return results
