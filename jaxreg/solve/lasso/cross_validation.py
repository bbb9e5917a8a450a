"""Cross-validated paths of the lasso and the elastic net."""

import concurrent.futures
import os
import threading
from typing import Any

import numpy as np

from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.solve.checks import check_data, check_squares, check_strengths
from jaxreg.solve.lasso._least_squares import LeastSquares, penalty_factors
from jaxreg.solve.lasso.path import LinearPath
from jaxreg.solve.standardize import empty
from jaxreg.strength.cross_validation import CrossValidation, Folds, _weights_of


def lasso_cv(
    x: Any,
    y: Any,
    strengths: Any = None,
    folds: Folds = 5,
    *,
    factors: Any = 1.0,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> CrossValidation:
    """Mean squared errors of the lasso on samples that it has not seen.

    All folds are followed at the same strengths by the same compiled programs, side by
    side on all cores.

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        strengths: As for `lasso_path`; by default those for all the data.
        folds: As for `cross_validate`: a number, or pairs of indices.
        factors: As for `lasso_path`.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_path`; by the training samples of each fold.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_path`; errors are weighted likewise.
        num: As for `lasso_path`.
        ratio: As for `lasso_path`.

    Returns:
        A `CrossValidation`, for `one_standard_error`, `plot.cross_validation` and the
        like; its `results["gaps"]` certify each fit.

    Raises:
        TypeError: As for `lasso_path` and `cross_validate`.
        ValueError: As for `lasso_path` and `cross_validate`.

    Example:
        >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
        >>> y = np.array([1.5, 1.5, 2.5, 4.5])
        >>> found = lasso_cv(x, y, [1.0, 0.1], folds=2)
        >>> found.mean.round(3), select_best(found)
        (array([4.5 , 3.54]), 1)

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010), section 2.5.
    """
    return elastic_net_cv(
        x,
        y,
        L1(factors),
        strengths,
        folds,
        intercept=intercept,
        standardize=standardize,
        positive=positive,
        sample_weight=sample_weight,
        num=num,
        ratio=ratio,
    )


def elastic_net_cv(
    x: Any,
    y: Any,
    penalty: L1 | L2 | ElasticNet,
    strengths: Any = None,
    folds: Folds = 5,
    *,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> CrossValidation:
    """Mean squared errors of `elastic_net_path` on samples that it has not seen.

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        penalty: As for `elastic_net_path`.
        strengths: As for `lasso_cv`.
        folds: As for `lasso_cv`.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_cv`.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_cv`.
        num: As for `lasso_path`.
        ratio: As for `lasso_path`.

    Returns:
        A `CrossValidation`, as `lasso_cv` does.

    Raises:
        TypeError: As for `lasso_cv`.
        ValueError: As for `lasso_cv`.

    Example:
        >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
        >>> y = np.array([1.5, 1.5, 2.5, 4.5])
        >>> elastic_net_cv(x, y, L2(1.0), [10.0, 1.0], folds=2).mean.round(3)
        array([4.403, 3.716])

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net* (2005).
    """
    x, y, weights = check_data(x, y, sample_weight, rescaled=True)
    check_squares("y", y)  # Errors are squares, too.
    model = LeastSquares(
        *penalty_factors(penalty, x.shape[1]), intercept, standardize, positive
    )
    if strengths is None:
        given = model.prepared(x, y, weights).grid(num, ratio)
    else:
        given = check_strengths(strengths)
    parts = [mask.astype(bool) for mask in np.stack(_weights_of(folds, len(y)), axis=1)]
    if weights is not None:
        for train, test in parts:
            if not (np.any(weights[train] > 0) and np.any(weights[test] > 0)):
                raise ValueError(
                    "sample_weight must be positive for some sample in both parts of each "
                    "fold, but is zero for all of one."
                )

    rooms = threading.local()

    def run(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (train_y, train_weights), (test_y, test_weights) = (
            (y[mask], None if weights is None else weights[mask]) for mask in part
        )
        train_x, test_x = _rows(x, part[0], rooms), x[part[1]]
        w, intercepts, gaps = model.prepared(train_x, train_y, train_weights).solve(given)
        errors = (LinearPath(given, w, intercepts, gaps).predict(test_x) - test_y) ** 2
        return np.average(errors, axis=1, weights=test_weights), gaps

    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 1) as threads:
        scores, gaps = zip(*threads.map(run, parts), strict=True)
    return CrossValidation(given, np.stack(scores, 1), results={"gaps": np.stack(gaps, 1)})


def _rows(x: np.ndarray, mask: np.ndarray, rooms: threading.local) -> np.ndarray:
    """Some of the samples, in the order of memory that x has.

    Written where the thread's last ones were, which are done with: memory that is new costs
    as much again.
    """
    if not x.flags.f_contiguous or x.flags.c_contiguous:
        return x[mask]
    if not hasattr(rooms, "room"):
        rooms.room = empty((x.size,))
    which = np.flatnonzero(mask)
    taken = rooms.room[: len(which) * x.shape[1]].reshape(-1, len(which))
    return np.take(x.T, which, axis=1, out=taken, mode="clip").T
