"""Paths of the lasso and the elastic net: exact, and certified."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from jaxreg._progress import Tick, progress_bar
from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.solve.again import solved_again
from jaxreg.solve.checks import check_data, check_strengths
from jaxreg.solve.gaps import is_certified
from jaxreg.solve.lasso._folds import (
    fold_errors,
    fold_parts,
    moment_errors,
    moment_parts,
)
from jaxreg.solve.lasso._least_squares import (
    INEXACT,
    LeastSquares,
    check_is_l1,
    warn_if_inexact,
)
from jaxreg.solve.lasso._targets import solve_columns
from jaxreg.solve.moments import Moments
from jaxreg.solve.results import PathResult
from jaxreg.solve.targets import TargetPaths, columns_of
from jaxreg.strength.cross_validation import Folds


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LinearPath(PathResult):
    """Linear models at many strengths, in double precision.

    The null model has the intercept and the unpenalised features only.

    Attributes:
        strengths: An array (strengths,), in the order in which they were given.
        coefficients: An array (strengths, features).
        intercepts: An array (strengths,); zeros if there is no intercept.
        gaps: An array (strengths,): an upper bound on objective − minimum, as a fraction of
            `null_loss`. Rounding may make it slightly negative.
        null_loss: ½ · mean square of what the null model leaves unexplained;
            `gaps * null_loss` are in units of the objective.
        converged: An array (strengths,): whether |gap| is at most 1e-6; exact solutions
            have about 1e-15.
        validation: With `folds`, the mean squared errors on each of them.

    Example:
        >>> found = lasso_path(np.eye(2), np.array([2.0, 1.0]), [0.25], intercept=False)
        >>> found
        LinearPath of 1 strengths and 2 features, gaps at most 0e+00
        >>> found.coefficients, found.predict(np.eye(2))
        (array([[1.5, 0.5]]), array([[1.5, 0.5]]))
    """


@solved_again
def lasso_path(
    x: Any,
    y: Any = None,
    strengths: Any = None,
    *,
    penalty: L1 | None = None,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    folds: Folds | Sequence[Moments] | None = None,
    num: int = 100,
    ratio: float = 1e-3,
    progress: bool = False,
) -> LinearPath:
    """The lasso at many strengths, and its cross-validation: exact, and fast.

        argmin_(w, b)  ½ · mean (y − x·w − b)² + strength · Σ |w|

    Solutions are exact up to rounding, so there is no tolerance to choose: the linear
    equations of the active set are solved, and a duality gap over all features confirms
    that it is the right one (`gaps`).
    Everything is computed in double precision, whatever JAX is set to, by NumPy; products
    with many features by JAX, where it has an accelerator.

    Args:
        x: Features, an array (samples, features) of numbers, dense or sparse: SciPy's
            arrays and matrices, and JAX's `BCOO` and `BCSR`. Sparse ones are centred and
            scaled without making them dense. Or, in the place of x, y and
            sample_weight, `solve.Moments` of data that do not fit into memory:
            `lasso_path(moments, strengths=...)`.
        y: The target, a number for each sample; or several targets, an array (samples,
            targets). Each has a model, strengths and folds of its own, and they share the
            products of the features. (In `solve.multi_task_path` they share the penalty.)
        strengths: Positive numbers; by default `num` of them, evenly spaced on a
            logarithmic scale, from the smallest at which all coefficients are zero down to
            `ratio` times that. 0, least squares, is allowed where its solution is unique.
        penalty: An `L1`, which the strengths multiply; by default `L1(1.0)`. Its strength
            may be an array with a factor for each feature (glmnet's penalty factors): 0 for
            features that are not penalised, infinity for those to leave out.
        intercept: Whether there is a b.
        standardize: Whether the penalty is on coefficients of features with standard
            deviation 1 (mean square 1 if there is no intercept; with unpenalised features,
            of what these leave unexplained). Coefficients are returned for the features as
            they were given.
        positive: Whether coefficients must not be negative; then all need a penalty.
        sample_weight: Non-negative weights for the mean.
        folds: For cross-validation: a number, or pairs of indices; see `cross_validate`.
            Every fold is solved at the same strengths (and standardized by its training
            samples); the scores, in `validation`, are mean squared errors, weighted by
            `sample_weight`. For moments, those of the parts that they are the sum of, each
            of which is left out once: `lasso_path(sum(parts), folds=parts)`.
        num: How many strengths, if none are given.
        ratio: The last strength as a fraction of the first, if none are given.
        progress: Whether to show a bar of the folds and targets (needs tqdm).

    Returns:
        A `LinearPath`, with the strengths in the order in which they were given. Of
        several targets, `solve.TargetPaths` with a `LinearPath` for each.

    Raises:
        TypeError: If something is no array of real numbers, or y is sparse; or if the
            penalty is another one.
        ValueError: If shapes do not fit, numbers are not finite or must not be negative,
            or a solution is not unique because it is not penalised.

    Warns:
        RuntimeWarning: If rounding leaves a gap above 1e-6.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> y = np.array([5.0, 2.0, -3.0, 0.0])
        >>> found = lasso_path(x, y, [2.0, 1.0, 0.25])
        >>> found.coefficients, found.intercepts
        (array([[0. , 0. ], [2. , 0. ], [3.5, 0.5]]), array([1., 1., 1.]))

        With cross-validation:

        >>> x, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([1.5, 1.5, 2.5, 4.5])
        >>> found = lasso_path(x, y, [1.0, 0.1], folds=2)
        >>> found.validation.mean.round(3), select_best(found.validation)
        (array([4.5 , 3.54]), 1)

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996); for the
        algorithm Kim and Park, *Fast active-set-type algorithms for L1-regularized linear
        regression* (2010); for the certificate Fercoq, Gramfort and Salmon, *Mind the
        duality gap* (2015); for cross-validation Friedman, Hastie and Tibshirani,
        *Regularization paths for generalized linear models via coordinate descent* (2010),
        section 2.5.
    """
    check_is_l1(penalty)
    model = LeastSquares(penalty, intercept, standardize, positive)
    data = x, y, sample_weight
    return _solve(model, *data, strengths, folds, num, ratio, progress)


@solved_again
def elastic_net_path(
    x: Any,
    y: Any = None,
    strengths: Any = None,
    *,
    penalty: L1 | L2 | ElasticNet,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    folds: Folds | Sequence[Moments] | None = None,
    num: int = 100,
    ratio: float = 1e-3,
    progress: bool = False,
) -> LinearPath:
    """Least squares with multiples of a penalty, exact as `lasso_path` is.

        argmin_(w, b)  ½ · mean (y − x·w − b)² + strength · penalty(w)

    With `from_sklearn(1.0, l1_ratio)` strengths are what scikit-learn calls `alpha`.

    Args:
        x: As for `lasso_path`.
        y: As for `lasso_path`.
        strengths: As for `lasso_path`; without any L1 they must be given.
        penalty: An `ElasticNet`, `L1` or `L2`, which the strengths multiply. Its own
            strengths are numbers, or arrays of one for each feature: features with none are
            not penalised, those with an infinite one are left out. Its mask must choose the
            coefficients, one array without a name, as the default does.
        intercept: As for `lasso_path`.
        standardize: As for `lasso_path`.
        positive: As for `lasso_path`.
        sample_weight: As for `lasso_path`.
        folds: As for `lasso_path`.
        num: As for `lasso_path`.
        ratio: As for `lasso_path`.
        progress: As for `lasso_path`.

    Returns:
        A `LinearPath`; of several targets, `solve.TargetPaths`.

    Raises:
        TypeError: If the penalty is another one; and as for `lasso_path`.
        ValueError: If the penalty's mask leaves the coefficients out; and as for
            `lasso_path`.

    Example:
        >>> x, y = np.sqrt(2) * np.eye(2), np.sqrt(2) * np.array([2.0, 1.0])
        >>> penalty = ElasticNet(0.5, 0.25)
        >>> found = elastic_net_path(x, y, [1.0], penalty=penalty, intercept=False)
        >>> found.coefficients.round(4)
        array([[1.    , 0.3333]])

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net* (2005).
    """
    model = LeastSquares(penalty, intercept, standardize, positive)
    data = x, y, sample_weight
    return _solve(model, *data, strengths, folds, num, ratio, progress)


def _solve(
    model: LeastSquares,
    x: Any,
    y: Any,
    sample_weight: Any,
    strengths: Any,
    folds: Any,
    num: int,
    ratio: float,
    progress: bool,
) -> LinearPath:
    """The path of a model on data as the user gave them; arguments of `lasso_path`."""
    gaps = []
    columns = None if isinstance(x, Moments) else columns_of(y)
    total = _number_of_fits(columns, folds)
    with progress_bar(progress, total, "fit") as tick:

        def solve(x: Any, y: Any, sample_weight: Any, folds: Any) -> LinearPath:
            data = x, y, sample_weight
            found, all_gaps = _solve_one(model, *data, strengths, folds, num, ratio, tick)
            gaps.append(all_gaps)
            return found

        if columns is None:
            found = solve(x, y, sample_weight, folds)
        else:
            each = solve_columns(columns, x, sample_weight, strengths, folds, solve)
            # Types do not tell shapes: path functions have the type of one target.
            found = cast(Any, TargetPaths(tuple(each)))
    warn_if_inexact(np.concatenate(gaps))
    return found


def _number_of_fits(columns: Sequence[Any] | None, folds: Any) -> int | None:
    """One for each target on all data and on each fold; `None` if folds are not counted."""
    if isinstance(folds, Sequence):
        folds = len(folds)
    if not isinstance(folds, int | None):
        return None
    return (1 if columns is None else len(columns)) * (1 + (folds or 0))


def _solve_one(
    model: LeastSquares,
    x: Any,
    y: Any,
    sample_weight: Any,
    strengths: Any,
    folds: Any,
    num: int,
    ratio: float,
    tick: Tick,
) -> tuple[LinearPath, np.ndarray]:
    """The path of one target, and all gaps, those of folds too."""
    parts: Any = None
    if isinstance(x, Moments):
        _check_alone(y, sample_weight)
        parts = None if folds is None else moment_parts(x, folds)
        x, y = x.samples()
    x, y, weights = check_data(x, y, sample_weight, rescaled=True, sparse=True)
    if strengths is not None:
        strengths = check_strengths(strengths)
    if parts is None and folds is not None:
        parts = fold_parts(folds, y, weights)
    problem = model.with_data(x, y, weights)
    if strengths is None:
        strengths = problem.grid(num, ratio)
    w, intercepts, gaps = problem.solve(strengths)
    tick()
    null_loss = problem.null_loss
    del problem  # The folds need its memory.
    validation, all_gaps = None, gaps
    if parts is not None:
        if isinstance(parts, np.ndarray):
            validation = fold_errors(model, x, y, weights, strengths, parts, tick)
        else:
            validation = moment_errors(model, strengths, parts, tick)
        all_gaps = np.append(gaps, validation.results["gaps"])
    path = LinearPath(
        strengths=strengths,
        coefficients=w,
        intercepts=intercepts,
        gaps=gaps,
        null_loss=null_loss,
        converged=is_certified(gaps, INEXACT),
        validation=validation,
    )
    return path, all_gaps


def _check_alone(y: Any, sample_weight: Any) -> None:
    """Refuse a target or weights beside moments.

    Raises:
        TypeError: If there are any.
    """
    if not (y is None and sample_weight is None):
        raise TypeError(
            "y and sample_weight must be left out beside Moments, which hold them: "
            "lasso_path(moments, strengths=...)."
        )
