"""Paths of many targets on the same features, which share the products of the features.

Of tall data with few features least squares need the moments only: the scatter of the
features is the same for all targets, so that one pass over the data serves all of them, and
all folds that cut the samples into parts. Other data are solved target by target.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from jaxreg.solve.checks import check_data, check_samples, check_strengths
from jaxreg.solve.lasso._folds import fold_parts
from jaxreg.solve.moments import Moments
from jaxreg.solve.results import PathResult
from jaxreg.solve.sparse import is_sparse
from jaxreg.solve.targets import naming_target

FEATURES, TALL = 512, 4
"""The most features, and the least samples for each, for which moments are worth it."""
LARGE = 1e60
"""Numbers whose squares, and whose inverses' squares, are far from overflow."""
BLOCK = 2**20
"""How many numbers of x are centred at a time."""

R = TypeVar("R", bound=PathResult)


def solve_columns(
    columns: Sequence[Any],
    x: Any,
    sample_weight: Any,
    strengths: Any,
    folds: Any,
    solve: Callable[[Any, Any, Any, Any], R],
) -> Iterator[R]:
    """The path of each target.

    Args:
        columns: The targets.
        x: Features.
        sample_weight: Weights of the samples, or `None`.
        strengths: As for `lasso_path`.
        folds: As for `lasso_path`, but no moments.
        solve: The path of x, y, sample_weight and folds, of one target; of moments, if
            they are given in the place of x.

    Raises:
        TypeError: If something is no array of real numbers.
        ValueError: If an argument is out of its range; for a target the message names it.
    """
    nothing = np.zeros(len(columns[0]))
    x, _, weights = check_data(x, nothing, sample_weight, rescaled=True, sparse=True)
    targets = []
    for number, column in enumerate(columns):
        with naming_target(number):
            targets.append(check_samples("y", column, x.shape[0], rescaled=True))
    parts = None
    if folds is not None:
        with naming_target(0):
            # Pairs of indices may come from an iterator, which can be read once.
            parts = fold_parts(folds, targets[0], weights)
            folds = [tuple(map(np.flatnonzero, part)) for part in parts]
    zero = strengths is not None and not np.all(check_strengths(strengths) > 0)
    moments = None
    if not zero and _is_usual(x, targets, parts):
        moments = moments_of_targets(x, np.stack(targets, 1), weights, parts)
    for number, target in enumerate(targets):
        with naming_target(number):
            if moments is None:
                yield solve(x, target, weights, folds)
            else:
                pieces = [Moments(*piece) for piece in moments[number]]
                yield solve(sum(pieces), None, None, pieces if parts is not None else None)


def _is_usual(x: Any, targets: list[np.ndarray], parts: np.ndarray | None) -> bool:
    """Whether moments are worth it, and safe.

    Numbers must be neither very large nor very small, and each sample left out once.
    """
    if is_sparse(x) or x.shape[1] > FEATURES or len(x) < TALL * x.shape[1]:
        return False
    if parts is not None:
        train, test = parts.swapaxes(0, 1)
        if not np.all(train == ~test) or not np.all(np.sum(test, axis=0) == 1):
            return False
    largest = np.append(np.max(np.abs(x), axis=0), [np.max(np.abs(y)) for y in targets])
    return bool(np.all((largest == 0) | ((largest > 1 / LARGE) & (largest < LARGE))))


def moments_of_targets(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, parts: np.ndarray | None
) -> list[list[tuple[float, np.ndarray, np.ndarray]]]:
    """For each target the weight, the means and the scatter of each part of the samples.

    Args:
        x: Features, an array (samples, features).
        y: Targets, an array (samples, targets).
        weights: Of the samples, or `None`.
        parts: Which samples folds leave out, from `fold_parts`; `None` for one part.
    """
    masks = np.ones((1, len(x)), bool) if parts is None else parts[:, 1]
    each: list[list[tuple[float, np.ndarray, np.ndarray]]] = [[] for _ in y.T]
    for mask in masks:
        chosen = np.flatnonzero(mask)
        some = np.ones(len(chosen)) if weights is None else weights[chosen]
        weight = float(np.sum(some))
        mean = some @ x[chosen] / weight
        means = some @ y[chosen] / weight
        gram = np.zeros((x.shape[1], x.shape[1]))
        products, squares = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
        size = max(BLOCK // x.shape[1], 1)
        for start in range(0, len(chosen), size):
            rows = chosen[start : start + size]
            roots = np.sqrt(some[start : start + size])[:, None]
            centred, errors = (x[rows] - mean) * roots, (y[rows] - means) * roots
            gram += centred.T @ centred
            products += centred.T @ errors
            squares += np.sum(errors**2, axis=0)
        for target, product in enumerate(products.T):
            scatter = np.block([[gram, product[:, None]], [product, squares[target]]])
            each[target].append((weight, np.append(mean, means[target]), scatter))
    return each
