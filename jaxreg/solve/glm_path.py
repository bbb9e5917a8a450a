"""Paths of logistic, multinomial, Poisson and group-sparse models, each certified."""

import dataclasses
import warnings
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxreg._numbers import check_number, check_numbers
from jaxreg.penalties import L1, GroupLasso, Penalty
from jaxreg.solve._families import Bernoulli, Family, Gaussian, Multinomial, Poisson
from jaxreg.solve._glm_data import Model, arrange, strengths_of
from jaxreg.solve._newton_screening import Found, follow, prepare, strength_max
from jaxreg.solve._standardize import check_data
from jaxreg.strength import CrossValidation, strength_grid
from jaxreg.strength.cross_validation import Folds, _weights_of


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GLMPath:
    """Generalised linear models at many strengths.

    Attributes:
        strengths: The strengths.
        coefficients: An array (strengths, features); of several classes (strengths,
            features, classes).
        intercepts: One for each strength (and class); zero if none was asked for.
        gaps: How far each objective is from its minimum at most, relative to the loss
            without features: the certificate.
        residuals: The largest violation of the optimality conditions, in the units of the
            strength.
        converged: Whether the gap is as small as was asked for.
        steps: How many Newton steps it took.
        validation: With folds, the mean loss of every strength on each of them.

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
    validation: CrossValidation | None = None

    def predictor(self, x: ArrayLike) -> np.ndarray:
        """The linear predictors of samples.

        Args:
            x: Features, an array (samples, features).

        Returns:
            An array (strengths, samples); of several classes (strengths, samples, classes).
        """
        scores = np.einsum("np,sp...->sn...", np.asarray(x, float), self.coefficients)
        return scores + self.intercepts[:, None]

    def __repr__(self) -> str:
        count = len(self.strengths)
        active = np.count_nonzero(self.coefficients.reshape(count, -1), axis=1)
        return (
            f"GLMPath of {count} strengths from {self.strengths[0]:.3g} to "
            f"{self.strengths[-1]:.3g}, up to {np.max(active)} coefficients"
        )


def logistic_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty | None = None,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
) -> GLMPath:
    """Logistic regression at many strengths, and its cross-validation.

        min  mean of log(1 + exp(η)) − y·η  +  strength · penalty(w),   η = x @ w + bias

    By proximal Newton steps on the features that are or may become active, from large to
    small strengths; then all features are checked. What is returned is certified by its
    duality gap, in float64 whatever JAX's default is. With three classes or more it is
    multinomial regression: log Σ exp(η_c) − η_y, no class being a reference.

    With `folds`, every fold and the whole data are solved as one batched program, which
    screens features for all of them at once.

    Args:
        x: Features, an array (samples, features).
        y: For each sample its class: 0 or 1, bools, or 0, ..., k − 1.
        strengths: Positive; or `None` for `num` of them, from the smallest one at which
            all coefficients are zero down to `ratio` times that.
        penalty: An `L1` (the default, of strength 1), `L2`, `ElasticNet` or `GroupLasso`;
            its strengths are numbers, or arrays with one for each feature, 0 to leave it
            free. They are multiplied by `strengths`.
        intercept: Whether there is one. It is not penalised.
        standardize: Whether the penalty is about features of variance 1 (in each fold, its
            own). Coefficients are those of the features as given.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation: a number, or pairs of indices; see `cross_validate`.
        num: How many strengths.
        ratio: The last strength as a share of the first.
        tol: The duality gap to reach, relative to the loss without features.

    Returns:
        A `GLMPath`.

    Raises:
        TypeError: If the data are no real numbers, or sparse; or `penalty` is another one.
        ValueError: If shapes do not fit, numbers are out of their range or not finite, or
            all samples are of one class.

    Example:
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
        >>> found = logistic_path(x, np.array([0, 1, 0, 1]), [0.3, 0.1, 0.01])
        >>> np.count_nonzero(found.coefficients, axis=1)
        array([0, 1, 2])
        >>> bool(np.all(found.gaps < 1e-9))
        True

    References:
        Lee, Sun and Saunders, *Proximal Newton-type methods for minimizing composite
        functions* (2014); Tibshirani and others, *Strong rules for discarding predictors
        in lasso-type problems* (2012).
    """
    x, y, weights = check_data(x, y, sample_weight)
    family, targets = classes_of(y, weights)
    model = model_of(family, x, targets, weights, penalty, intercept, standardize)
    return solve_model(model, strengths, folds, num, ratio, tol)


def poisson_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty | None = None,
    offset: Any = None,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
) -> GLMPath:
    """Poisson regression of counts at many strengths, and its cross-validation.

        min  mean of exp(η) − y·η  +  strength · penalty(w),   η = offset + x @ w + bias

    Args:
        x: Features, an array (samples, features).
        y: Counts (or rates), at least 0.
        strengths: As for `logistic_path`.
        penalty: As for `logistic_path`.
        offset: What is known of η for each sample: the logarithm of the exposure.
        intercept: Whether there is one. It is not penalised.
        standardize: Whether the penalty is about features of variance 1.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation; scores are half the mean deviance.
        num: How many strengths.
        ratio: The last strength as a share of the first.
        tol: The duality gap to reach, relative to half the deviance without features.

    Returns:
        A `GLMPath`.

    Raises:
        TypeError: If the data are no real numbers, or sparse; or `penalty` is another one.
        ValueError: If shapes do not fit, numbers are out of their range or not finite, or
            all counts are zero.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1, 2, 4])
        >>> found = poisson_path(x, y, [1e-6])
        >>> found.coefficients.round(3), np.exp(found.intercepts).round(3)
        (array([[0.693]]), array([1.]))

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010).
    """
    x, y, weights = check_data(x, y, sample_weight)
    if np.any(y < 0):
        raise ValueError(f"y must hold counts, at least 0, got {np.min(y):g}.")
    if not np.any(y[_counted(weights, y)] > 0):
        raise ValueError(
            "y must hold a count above 0: without one no rate is small enough."
        )
    model = model_of(Poisson(), x, y[None], weights, penalty, intercept, standardize)
    if offset is not None:
        model = model._replace(offset=check_data(x, offset, None)[1][None])
    return solve_model(model, strengths, folds, num, ratio, tol)


def group_lasso_path(
    x: Any,
    y: Any,
    labels: Any,
    strengths: Any = None,
    *,
    scale: Any = "sqrt_size",
    intercept: bool = True,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
) -> GLMPath:
    """The group lasso at many strengths, and its cross-validation.

        min  ½ · mean of (x @ w + bias − y)²  +  strength · Σ_g scale_g · ‖w_g‖₂

    For classes: `logistic_path` with `penalty=GroupLasso(labels=labels)`.

    Args:
        x: Features, an array (samples, features).
        y: The target, one number for each sample.
        labels: An integer for each feature; equal labels make one group.
        strengths: As for `logistic_path`.
        scale: A factor for each group, as for `GroupLasso`: `"sqrt_size"`, `"none"`, a
            number, or one for each of the sorted labels, 0 to leave a group free.
        intercept: Whether there is one. It is not penalised.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation; scores are half the mean squared error.
        num: How many strengths.
        ratio: The last strength as a share of the first.
        tol: The duality gap to reach, relative to the loss without features.

    Returns:
        A `GLMPath`.

    Raises:
        TypeError: If the data are no real numbers, or sparse.
        ValueError: If shapes do not fit, or numbers are out of their range or not finite.

    Example:
        >>> x = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0],
        ...               [-1.0, -1.0, -1.0]])
        >>> found = group_lasso_path(x, x @ [3.0, 4.0, 0.0], [0, 0, 1], [1.0], scale="none")
        >>> found.coefficients.round(3)
        array([[2.4, 3.2, 0. ]])

    References:
        Yuan and Lin, *Model selection and estimation in regression with grouped
        variables* (2006).
    """
    x, y, weights = check_data(x, y, sample_weight)
    if len(np.shape(labels)) != 1 or len(labels) != x.shape[1]:
        raise ValueError(
            f"labels must hold an integer for each of the {x.shape[1]} features, got shape "
            f"{np.shape(labels)}."
        )
    penalty = GroupLasso(labels=labels, scale=scale)
    model = model_of(Gaussian(), x, y[None], weights, penalty, intercept, False)
    return solve_model(model, strengths, folds, num, ratio, tol)


def _counted(weights: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    return np.ones(len(y), bool) if weights is None else weights > 0


def classes_of(y: np.ndarray, weights: np.ndarray | None) -> tuple[Family, np.ndarray]:
    """The family, and for each class (of two, for the second one) who belongs to it."""
    present = np.unique(y[_counted(weights, y)])
    if np.any(y < 0) or np.any(y != np.floor(y)):
        raise ValueError(
            f"y must hold classes, numbered from 0, got {present[:5].tolist()}: number them "
            "by np.unique(y, return_inverse=True)."
        )
    if len(present) < 2:
        raise ValueError(
            f"y must hold at least two classes, got only {present.tolist()}: there is "
            "nothing to tell apart."
        )
    classes = int(np.max(y)) + 1
    if classes > max(2, 10 * len(present)):
        raise ValueError(
            f"y must hold classes, numbered from 0 without large gaps, got {classes - 1} as "
            f"one of {len(present)}: number them by np.unique(y, return_inverse=True)."
        )
    if classes == 2:
        return Bernoulli(), y[None]
    return Multinomial(), (y[None] == np.arange(classes)[:, None]).astype(float)


def model_of(
    family: Family,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    penalty: Penalty | None,
    intercept: bool,
    standardize: bool,
) -> Model:
    with jax.enable_x64(True):
        penalty = L1() if penalty is None else penalty
        l1, l2, group = strengths_of(penalty, x.shape[1], len(y))
    if group is not None and standardize:
        raise ValueError(
            "standardize would change the shape of the groups: standardise x beforehand."
        )
    every = np.ones(len(x)) if weights is None else weights
    return Model(
        family, x, y, np.zeros_like(y), every, l1, l2, group, intercept, standardize
    )


def solve_model(
    model: Model, strengths: Any, folds: Folds | None, num: int, ratio: float, tol: float
) -> GLMPath:
    check_number("tol", tol, above=0.0)
    train, test = _folds(model.weights, folds)
    if strengths is not None:
        check_numbers("strengths", strengths := np.asarray(strengths, float), above=0.0)
    with jax.enable_x64(True):
        data, fold, scale = arrange(model, train, test)
        count = num if strengths is None else np.size(strengths)
        problem, start = prepare(model.family, data, fold, 1 if count == 1 else 10, tol)
        if strengths is None:
            strengths = np.asarray(
                strength_grid(_maximum(strength_max(problem, start)), num, ratio)
            )
        order = np.argsort(-strengths, kind="stable")
        found = follow(problem, start, strengths[order])
    found = Found(*(part[:, np.argsort(order)] for part in found))
    coefficients, intercepts = scale.back(found.w, model.intercept)
    coefficients = np.moveaxis(coefficients, -2, -1)
    if len(data.y) == 1:
        coefficients, intercepts = coefficients[..., 0], intercepts[..., 0]
    converged = found.gap <= tol
    if not converged.all():
        warnings.warn(
            f"The duality gap is {np.max(found.gap):.1e} after many Newton steps, not "
            f"{tol:.1e}: are features scaled very differently? See `converged`.",
            RuntimeWarning,
            stacklevel=3,
        )
    validation = None
    if folds is not None:
        each = {"coefficients": coefficients[:-1], "intercepts": intercepts[:-1]}
        each = {name: np.moveaxis(value, 0, 1) for name, value in each.items()}
        validation = CrossValidation(strengths, found.score[:-1].T, results=each)
    return GLMPath(
        strengths,
        coefficients[-1],
        intercepts[-1],
        found.gap[-1],
        found.residual[-1],
        converged[-1],
        found.steps[-1],
        validation,
    )


def _maximum(critical: float) -> float:
    if not 0 < critical < np.inf:
        raise ValueError(
            "Strengths must be given: there is no smallest one at which all coefficients "
            "are zero (as for L2), or all are zero whatever the strength."
        )
    return critical


def _folds(weights: np.ndarray, folds: Folds | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights for training and for the score: for each fold, and last for all data."""
    whole = weights[None]
    if folds is None:
        return whole, whole
    train, test = (part * weights for part in _weights_of(folds, len(weights)))
    return np.concatenate([train, whole]), np.concatenate([test, whole])
