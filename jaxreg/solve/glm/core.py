"""The path of any generalised linear model: from checked data to certified solutions.

A path function checks its arguments, makes the loss of its targets and calls `solve_glm`:
a new distribution needs no more than a class in `jaxreg.losses`.
"""

import warnings
from typing import Any

import jax
import numpy as np

from jaxreg._checks import check_number
from jaxreg._progress import Tick, progress_bar
from jaxreg.losses import LinearLoss, Logistic, Multinomial
from jaxreg.penalties import L1, Penalty
from jaxreg.solve.checks import check_strengths
from jaxreg.solve.gaps import is_certified
from jaxreg.solve.glm._candidate_model import Data, Fold
from jaxreg.solve.glm._data import GLM, Layout, Scale, arrange, strengths_of
from jaxreg.solve.glm._scores import areas_of, check_score
from jaxreg.solve.glm._screening import Found, follow, prepare, strength_max
from jaxreg.solve.glm.result import GLMPath
from jaxreg.strength import CrossValidation
from jaxreg.strength.critical import grid_fractions
from jaxreg.strength.cross_validation import Folds, fold_weights


def solve_glm(
    loss: LinearLoss,
    x: Any,
    weights: np.ndarray | None,
    strengths: Any,
    *,
    penalty: Penalty | None = None,
    offset: np.ndarray | None = None,
    intercept: bool = True,
    standardize: bool = False,
    folds: Folds | None = None,
    score: str = "deviance",
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
    of_sum: bool = False,
    rows: bool = False,
    progress: bool = False,
) -> GLMPath:
    """Solve a model at many strengths, on all data and on each fold.

    Args:
        loss: The loss of targets (n, k), NumPy arrays: `Poisson.of_targets(y[:, None])`.
        x: Features, an array (n, p) of finite numbers, or a `csc_array`.
        weights: Of the samples, an array (n,), or `None`.
        strengths: Positive numbers, or `None` for a grid.
        penalty: As for `logistic_path`.
        offset: Known parts of the linear predictors, an array (n, k).
        intercept: As for `logistic_path`.
        standardize: As for `logistic_path`.
        folds: As for `logistic_path`.
        score: As for `logistic_path`; `Logistic` alone takes "auc".
        num: As for `logistic_path`.
        ratio: As for `logistic_path`.
        tol: As for `logistic_path`.
        of_sum: Whether the objective has the sum of the losses of all samples, so that
            folds, which have fewer samples, are penalised more.
        rows: Whether the coefficients of a feature, for all outputs, are one group: the
            penalty has their norm where it has absolute values.
        progress: As for `logistic_path`.

    Raises:
        TypeError: If the penalty is another one than `strengths_of` takes.
        ValueError: If an argument is out of its range.
    """
    check_number("tol", tol, above=0.0)
    options = penalty, offset, intercept, standardize, of_sum, rows
    model = model_of(loss, x, weights, *options)._replace(score=score)
    train, test = weights_of(model, folds)
    if strengths is not None:
        strengths = check_strengths(strengths, above=0.0)
    grid = strengths if strengths is not None else grid_fractions(num, ratio)
    total = len(train) * len(grid)
    # As JAX, which computes the losses of others, without warnings of NaN and infinity.
    with jax.enable_x64(True), np.errstate(all="ignore"):
        arranged = arrange(model, train, test, Layout.of(model, train))
        with progress_bar(progress, total, "strength") as tick:
            found, gap = solve_arranged(model, arranged, grid, strengths is None, tol, tick)
    warn_if_inexact(gap, tol)
    return found


def model_of(
    loss: LinearLoss,
    x: Any,
    weights: np.ndarray | None,
    penalty: Penalty | None,
    offset: np.ndarray | None,
    intercept: bool,
    standardize: bool,
    of_sum: bool = False,
    rows: bool = False,
) -> GLM:
    """The model of `solve_glm`, with the strengths of each coefficient."""
    with jax.enable_x64(True):
        penalty = L1() if penalty is None else penalty
        l1, l2, group = strengths_of(penalty, x.shape[1], loss.y.shape[1])
    if rows:
        group = np.broadcast_to(np.arange(x.shape[1]), l1.shape)
    weights = np.ones(x.shape[0]) if weights is None else weights
    known: np.ndarray = np.zeros_like(loss.y) if offset is None else offset
    return GLM(loss, x, known, weights, l1, l2, group, intercept, standardize, of_sum)


def solve_arranged(
    model: GLM,
    arranged: tuple[Data, list[Fold], Scale],
    grid: np.ndarray,
    relative: bool,
    tol: float,
    tick: Tick,
) -> tuple[GLMPath, float]:
    """Solve one model on all data and on each fold.

    Args:
        model: The model.
        arranged: Its data.
        grid: Strengths.
        relative: Whether these are fractions of the smallest one without features.
        tol: As for `logistic_path`.
        tick: Called for each strength and fold that is solved.

    Returns:
        The path, and the largest gap.
    """
    data, parts, scale = arranged
    starts = [prepare(data, fold, tol) for fold in parts]
    strengths = grid
    if relative:
        strengths = first_strength(model, strength_max(*starts[-1])) * grid
    order = np.argsort(-strengths, kind="stable")
    each = [follow(*start, strengths[order], tick) for start in starts]
    if len(each) > 1 or np.any(np.diff(order) != 1):
        back = np.argsort(order)
        found = Found(*(np.stack(part)[:, back] for part in zip(*each, strict=True)))
    else:  # Without a copy, which may be large.
        found = Found(*(part[None] for part in each[0]))
    null_loss = starts[-1][0].fold.null_loss
    tests = np.stack([fold.test for fold in parts])
    return result_of(model, scale, strengths, found, tests, null_loss, tol)


def warn_if_inexact(gap: float, tol: float, where: str = "") -> None:
    """Warn of solutions whose duality gap is too large.

    Args:
        gap: The largest one.
        tol: The largest to accept.
        where: Which target it is of.
    """
    if not is_certified(gap, tol):
        warnings.warn(
            f"Not converged{where}: gap {gap:.0e} > tol {tol:.0e} (see "
            "`converged`). Usual causes: badly scaled or collinear features, or perfectly "
            "separable classes. Standardise the features, or penalise them more.",
            RuntimeWarning,
            stacklevel=5,  # The caller of the path function, which `solved_again` wraps.
        )


def result_of(
    model: GLM,
    scale: Scale,
    strengths: np.ndarray,
    found: Found,
    tests: np.ndarray,
    null_loss: float,
    tol: float,
) -> tuple[GLMPath, float]:
    """Coefficients for the features as given, and scores; the last fold is all data.

    Args:
        model: The model.
        scale: That of the features.
        strengths: The strengths.
        found: The solutions.
        tests: Weights of the samples for the scores, an array (folds, n).
        null_loss: The unit of gaps.
        tol: The largest gap to accept.

    Returns:
        The path, and the largest gap, of the folds too.
    """
    w = found.w.reshape(*found.w.shape[:2], len(model.l1), -1)
    coefficients, intercepts = scale.back(w, model)
    coefficients = np.moveaxis(coefficients, -2, -1)
    if intercepts.shape[-1] == 1:
        coefficients, intercepts = coefficients[..., 0], intercepts[..., 0]
    validation = None
    if len(found.w) > 1:
        each = {
            "coefficients": coefficients[:-1],
            "intercepts": intercepts[:-1],
            "steps": found.steps[:-1],
        }
        each = {name: np.moveaxis(value, 0, 1) for name, value in each.items()}
        scores, is_auc = model.loss.score_factor * found.score[:-1].T, False
        if model.score == "auc":
            scores, is_auc = areas_of(model, tests[:-1], coefficients[:-1]), True
        validation = CrossValidation(strengths, scores, is_auc, results=each)
    path = GLMPath(
        strengths=strengths,
        coefficients=coefficients[-1],
        intercepts=intercepts[-1],
        gaps=found.gap[-1],
        null_loss=null_loss,
        converged=is_certified(found.gap[-1], tol),
        validation=validation,
        residuals=found.violation[-1],
        steps=found.steps[-1],
        loss=type(model.loss),
    )
    return path, float(np.max(np.abs(found.gap)))


def loss_of_classes(y: np.ndarray, weights: np.ndarray | None) -> Logistic | Multinomial:
    """The loss of classes 0, ..., k − 1: `Logistic` for two, `Multinomial` for more."""
    classes = np.unique(y)
    if not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(
            "y must hold classes, numbered from 0, each of which occurs, got "
            f"{classes[:5].tolist()}: number them by np.unique(y, return_inverse=True)."
        )
    present = classes if weights is None else np.unique(y[weights > 0])
    if len(present) < 2:
        raise ValueError(
            f"y must hold at least two classes, got only {present.tolist()}: there is "
            "nothing to tell apart."
        )
    if len(classes) == 2:
        return Logistic.of_targets(y[:, None])
    return Multinomial.of_targets((y[:, None] == classes).astype(float))


def loss_of_two_classes(y: np.ndarray, weights: np.ndarray | None) -> Logistic:
    """The loss of classes 0 and 1, one target of several."""
    loss = loss_of_classes(y, weights)
    if not isinstance(loss, Logistic):
        raise ValueError(
            "y must hold the classes 0 and 1 where it has several targets, got "
            f"{loss.y.shape[1]} classes: fit their multinomial model alone."
        )
    return loss


def first_strength(model: GLM, critical: float) -> float:
    """The first strength of the grid; 1 if all coefficients are zero at any strength."""
    if not np.any(model.l1 > 0) or critical == np.inf:
        raise ValueError(
            "Strengths must be given for a penalty without L1 or groups: there is no "
            "smallest strength at which all coefficients are zero."
        )
    return critical or 1.0


def _join_features(group: np.ndarray | None) -> bool:
    """Whether a group has coefficients of several features."""
    if group is None:
        return False
    features = np.broadcast_to(np.arange(group.shape[1]), group.shape)
    pairs = np.stack([group.ravel(), features.ravel()])
    return np.unique(pairs, axis=1).shape[1] > np.unique(group).size


def weights_of(model: GLM, folds: Folds | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights for training and for the score: for each fold, and last for all data."""
    if folds is not None and model.standardize and _join_features(model.group):
        raise ValueError(
            "standardize must be False for groups of several features with folds: each "
            "fold's scales would change the shape of the groups. Standardise x beforehand."
        )
    weights = model.weights
    whole = weights[None]
    if folds is None:
        check_score(model, None)
        return whole, whole
    train, test = (part * weights for part in fold_weights(folds, len(weights)))
    if not np.all(np.any(train > 0, axis=1) & np.any(test > 0, axis=1)):
        raise ValueError("Both parts of every fold must hold a sample of positive weight.")
    check_score(model, test)
    train, test = np.concatenate([train, whole]), np.concatenate([test, whole])
    check_intercepts(model, train)
    return train, test


def check_intercepts(model: GLM, train: np.ndarray) -> None:
    """Refuse folds, of all data last, on which an intercept would be infinite."""
    needed = model.loss.has_intercept(train[-1])
    for number, part in enumerate(train[:-1]):
        if model.intercept and not np.all(model.loss.has_intercept(part) >= needed):
            raise ValueError(
                "Every fold must train on samples of each class (and of counts, on one "
                f"above 0), but fold {number} does not: its intercept would be infinite. "
                "Shuffle the samples, or split each class alike."
            )
