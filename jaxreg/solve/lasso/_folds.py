"""Cross-validation of least squares: each fold predicts the samples left out."""

import threading
from typing import Any

import numpy as np

from jaxreg._progress import Tick
from jaxreg.solve.checks import check_squares
from jaxreg.solve.lasso._least_squares import LeastSquares
from jaxreg.solve.moments import Moments
from jaxreg.solve.sparse import is_sparse
from jaxreg.solve.threads import on_threads
from jaxreg.strength.cross_validation import CrossValidation, Folds, fold_weights


def fold_parts(folds: Folds, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Masks of the training samples and the others, bools (folds, 2, samples).

    Raises:
        TypeError: If folds are no pairs of indices.
        ValueError: If folds are bad, a part has no weight, or the squares of the target
            are no floats.
    """
    check_squares("y", y)  # Errors are squares, too.
    parts = np.stack(fold_weights(folds, len(y)), axis=1).astype(bool)
    if weights is not None and not np.all(np.any(parts & (weights > 0), axis=2)):
        raise ValueError(
            "sample_weight must be positive for some sample in both parts of each fold, "
            "but is zero for all of one."
        )
    return parts


def fold_errors(
    model: LeastSquares,
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    strengths: np.ndarray,
    parts: np.ndarray,
    tick: Tick,
) -> CrossValidation:
    """Mean squared errors on samples that a fold was not trained on.

    The folds are solved side by side on all cores.

    Args:
        model: The model.
        x: Features, an array (samples, features), dense or sparse.
        y: The target.
        weights: Of the samples, or `None`.
        strengths: The strengths.
        parts: Of the samples, from `fold_parts`.
        tick: Called for each fold that is solved.
    """
    buffers = threading.local()

    def run(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (train_y, train_weights), (test_y, test_weights) = (
            (y[mask], None if weights is None else weights[mask]) for mask in part
        )
        train_x = _training_rows(x, part[0], buffers)
        problem = model.with_data(train_x, train_y, train_weights)
        w, intercepts, gaps = problem.solve(strengths)
        tick()
        active = np.flatnonzero(np.any(w != 0, axis=0))
        others = (
            x[np.flatnonzero(part[1])][:, active]
            if is_sparse(x)
            else x[np.ix_(part[1], active)]
        )
        predicted = (others @ w[:, active].T).T + intercepts[:, None]
        return np.average((predicted - test_y) ** 2, axis=1, weights=test_weights), gaps

    scores, gaps = zip(*on_threads(run, parts), strict=True)
    results: Any = {"gaps": np.stack(gaps, 1)}
    return CrossValidation(strengths, np.stack(scores, 1), results=results)


def moment_parts(whole: Moments, folds: Any) -> list[Moments]:
    """Checked moments of the parts that are left out, one after the other.

    Raises:
        TypeError: If they are no moments.
        ValueError: If there are fewer than two with a weight, or they are not the parts of
            the whole.
    """
    if isinstance(folds, int) or not all(isinstance(part, Moments) for part in folds):
        raise TypeError(
            "For Moments, folds must be a list of the Moments of each part, each of which "
            f"is left out once, got {folds!r}: single samples are gone."
        )
    parts = list(folds)
    weight = sum(part.weight for part in parts)
    if len(parts) < 2 or not all(part.weight > 0 for part in parts):
        raise ValueError(
            "folds must hold the Moments of two parts or more, each with a positive weight."
        )
    if not np.isclose(weight, whole.weight):
        raise ValueError(
            "folds must be the parts of the Moments, of a weight of "
            f"{whole.weight:g} together, got {weight:g}: pass sum(folds) as the first "
            "argument."
        )
    return parts


def moment_errors(
    model: LeastSquares, strengths: np.ndarray, parts: list[Moments], tick: Tick
) -> CrossValidation:
    """Mean squared errors on each part, of models of all others."""
    scores, gaps = [], []
    for number, part in enumerate(parts):
        # Not the whole minus this part, which would leave rounding errors of its size.
        others: Any = sum(parts[:number] + parts[number + 1 :])
        x, y = others.samples()
        problem = model.with_data(x, y, None)
        w, intercepts, gap = problem.solve(strengths)
        errors = np.append(-w, np.ones((len(w), 1)), axis=1)
        spread = np.einsum("si,si->s", errors @ part.scatter, errors) / part.weight
        scores.append((errors @ part.mean - intercepts) ** 2 + np.maximum(spread, 0.0))
        gaps.append(gap)
        tick()
    results: Any = {"gaps": np.stack(gaps, 1)}
    return CrossValidation(strengths, np.stack(scores, 1), results=results)


def _training_rows(x: Any, mask: np.ndarray, buffers: threading.local) -> Any:
    """The samples of a mask, in the memory order of x.

    Reuses this thread's buffer, if x is in column-major order: allocating a new one doubles
    the cost.
    """
    if is_sparse(x):
        return x[np.flatnonzero(mask)]
    if not x.flags.f_contiguous or x.flags.c_contiguous:
        return x[mask]
    if not hasattr(buffers, "rows"):
        buffers.rows = np.empty(x.size)
    which = np.flatnonzero(mask)
    rows = buffers.rows[: len(which) * x.shape[1]].reshape(-1, len(which))
    return np.take(x.T, which, axis=1, out=rows, mode="clip").T
