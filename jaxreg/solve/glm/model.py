"""A generalised linear model as it is asked for, and its path as it is returned."""

import dataclasses
import warnings
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxreg._checks import check_number
from jaxreg.penalties import L1, Penalty
from jaxreg.solve.checks import check_strengths
from jaxreg.solve.gaps import is_certified
from jaxreg.solve.glm._data import Model, arrange, strengths_of
from jaxreg.solve.glm._screening import Found, follow, prepare, strength_max
from jaxreg.solve.glm.families import Bernoulli, Family, Multinomial
from jaxreg.strength import CrossValidation, strength_grid
from jaxreg.strength.cross_validation import Folds, fold_weights


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GLMPath:
    """Generalised linear models at many strengths.

    Attributes:
        strengths: The strengths.
        coefficients: An array (strengths, features); of several classes (strengths,
            features, classes).
        intercepts: One for each strength (and class); zero if there is no intercept.
        gaps: How far each objective is from its minimum at most, relative to the loss
            without features: the certificate.
        residuals: The largest violation of the optimality conditions, for features
            divided by their standard deviations.
        converged: Whether the gap is at most `tol`. (One that is as far below
            zero is rounding, and certifies nothing.)
        steps: How many Newton steps it took.
        null_loss: The mean loss without features that are penalised, above the least
            possible: what `gaps` are relative to.
        validation: With folds, the error of every strength on each of them, as
            scikit-learn's metrics say it: `log_loss` of classes, `mean_poisson_deviance`
            of counts, `mean_squared_error` of numbers.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
        >>> logistic_path(x, y, num=3)
        GLMPath of 3 strengths from 0.25 to 0.0025, up to 1 coefficients
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    steps: np.ndarray
    null_loss: float
    validation: CrossValidation | None = None

    def predictor(self, x: ArrayLike) -> np.ndarray:
        """The linear predictors of samples.

        Args:
            x: Features, an array (samples, features).

        Returns:
            An array (strengths, samples); of several classes (strengths, samples, classes).

        Raises:
            ValueError: If there are not as many features.
        """
        x, features = np.asarray(x, float), self.coefficients.shape[1]
        if x.ndim != 2 or x.shape[1] != features:
            raise ValueError(
                f"x must be an array (samples, {features} features), got shape {x.shape}."
            )
        scores = np.einsum("np,sp...->sn...", x, self.coefficients)
        return scores + self.intercepts[:, None]

    def __repr__(self) -> str:
        count = len(self.strengths)
        active = np.count_nonzero(self.coefficients.reshape(count, -1), axis=1)
        return (
            f"GLMPath of {count} strengths from {self.strengths[0]:.3g} to "
            f"{self.strengths[-1]:.3g}, up to {np.max(active)} coefficients"
        )


def classes_of(y: np.ndarray, weights: np.ndarray | None) -> tuple[Family, np.ndarray]:
    """The family, and for each class (of two, for the second one) who belongs to it."""
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
        return Bernoulli(), y[None]
    return Multinomial(), (y[None] == classes[:, None]).astype(float)


def model_of(
    family: Family,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    penalty: Penalty | None,
    intercept: bool,
    standardize: bool,
) -> Model:
    """A model from checked data and what a penalty says about each coefficient.

    Raises:
        TypeError: If the penalty is another one than `strengths_of` takes.
        ValueError: If its strengths do not fit.
    """
    with jax.enable_x64(True):
        penalty = L1() if penalty is None else penalty
        l1, l2, group = strengths_of(penalty, x.shape[1], len(y))
    every = np.ones(len(x)) if weights is None else weights
    return Model(
        family, x, y, np.zeros_like(y), every, l1, l2, group, intercept, standardize
    )


def solve_model(
    model: Model, strengths: Any, folds: Folds | None, num: int, ratio: float, tol: float
) -> GLMPath:
    """Solve a model at given strengths, or at `num` of them; with folds, on each of them.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_number("tol", tol, above=0.0)
    if folds is not None and model.standardize and _join_features(model.group):
        raise ValueError(
            "standardize must be False for groups of several features with folds: each "
            "fold's scales would change the shape of the groups. Standardise x beforehand."
        )
    train, test = _folds(model, folds)
    if strengths is not None:
        strengths = check_strengths(strengths, above=0.0)
    with jax.enable_x64(True):
        data, fold, scale = arrange(model, train, test)
        count = num if strengths is None else np.size(strengths)
        problem, start = prepare(model.family, data, fold, 1 if count == 1 else 10, tol)
        if strengths is None:
            critical = _maximum(model, strength_max(problem, start))
            strengths = np.asarray(strength_grid(critical, num, ratio))
        order = np.argsort(-strengths, kind="stable")
        found = follow(problem, start, strengths[order])
    found = Found(*(part[:, np.argsort(order)] for part in found))
    coefficients, intercepts = scale.back(found.w, model)
    coefficients = np.moveaxis(coefficients, -2, -1)
    if len(data.y) == 1:
        coefficients, intercepts = coefficients[..., 0], intercepts[..., 0]
    converged = is_certified(found.gap, tol)
    if not converged.all():
        warnings.warn(
            f"A duality gap is {np.max(np.abs(found.gap)):.1e} in size, not {tol:.1e}, and "
            "Newton's method gets no further. Features may be in very different units or "
            "depend on each other, or separate the classes without error: scale the "
            "features, or penalise them more.",
            RuntimeWarning,
            stacklevel=3,
        )
    validation = None
    if folds is not None:
        each = {
            "coefficients": coefficients[:-1],
            "intercepts": intercepts[:-1],
            "steps": found.steps[:-1],
        }
        each = {name: np.moveaxis(value, 0, 1) for name, value in each.items()}
        scores = model.family.score_factor * found.score[:-1].T
        validation = CrossValidation(strengths, scores, results=each)
    return GLMPath(
        strengths,
        coefficients[-1],
        intercepts[-1],
        found.gap[-1],
        found.violation[-1],
        converged[-1],
        found.steps[-1],
        float(problem.folds.null_loss[-1]),
        validation,
    )


def _maximum(model: Model, critical: float) -> float:
    """The first strength of the grid; where all coefficients are zero at any, 1."""
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


def _folds(model: Model, folds: Folds | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights for training and for the score: for each fold, and last for all data."""
    weights = model.weights
    whole = weights[None]
    if folds is None:
        return whole, whole
    train, test = (part * weights for part in fold_weights(folds, len(weights)))
    if not np.all(np.any(train > 0, axis=1) & np.any(test > 0, axis=1)):
        raise ValueError("Both parts of every fold must hold a sample of positive weight.")
    needed = model.family.occurs(model.y, weights)
    for number, part in enumerate(train):
        if model.intercept and not np.all(model.family.occurs(model.y, part) >= needed):
            raise ValueError(
                "Every fold must train on samples of each class (and of counts, on one "
                f"above 0), but fold {number} does not: its intercept would be infinite. "
                "Shuffle the samples, or split each class alike."
            )
    return np.concatenate([train, whole]), np.concatenate([test, whole])
