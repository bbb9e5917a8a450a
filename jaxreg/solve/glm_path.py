"""Paths of logistic, multinomial and Poisson regression, each solution certified."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxreg._numbers import check_number, check_numbers
from jaxreg.penalties import L1, L2, ElasticNet, Penalty
from jaxreg.solve._families import Bernoulli, Family, Multinomial, Poisson
from jaxreg.solve._newton_path import Data, Fold
from jaxreg.solve._newton_screening import Found, follow, prepare, strength_max
from jaxreg.strength import CrossValidation
from jaxreg.strength.cross_validation import Folds, _weights_of


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GLMPath:
    """Generalised linear models at many strengths.

    Attributes:
        strengths: The strengths.
        coefficients: An array (strengths, features); of several classes (strengths,
            features, classes).
        intercepts: One for each strength (and class); zero if none was asked for.
        gaps: How far each objective is from its minimum at most, relative to that of the
            model without features: the certificate.
        residuals: By how much the optimality conditions are violated at most, relative to
            the largest useful strength.
        converged: Whether the gap is as small as was asked for.
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray

    def predictor(self, x: ArrayLike) -> np.ndarray:
        """The linear predictors of samples, an array (strengths, samples, ...)."""
        scores = np.einsum("np,sp...->sn...", np.asarray(x, float), self.coefficients)
        return scores + self.intercepts[:, None]

    def __repr__(self) -> str:
        count = len(self.strengths)
        active = np.count_nonzero(self.coefficients.reshape(count, -1), axis=1)
        return (
            f"GLMPath of {count} strengths from {self.strengths[0]:.3g} to "
            f"{self.strengths[-1]:.3g}, up to {active.max()} coefficients, gap "
            f"{self.gaps.max():.1e}"
        )


def logistic_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty = L1(1.0),  # noqa: B008 (a value)
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
) -> GLMPath:
    """Logistic regression at many strengths."""
    x, weights = _features(x, sample_weight)
    family, targets = _classes(y, len(x))
    request = _Request(
        family, x, targets, np.zeros_like(targets), penalty, intercept, standardize
    )
    return _path(request, weights, strengths, num, ratio, tol)


class _Request(NamedTuple):
    family: Family
    x: np.ndarray
    y: np.ndarray
    offset: np.ndarray
    penalty: Penalty
    intercept: bool
    standardize: bool


def _path(
    request: Any,
    weights: np.ndarray,
    strengths: Any,
    num: int,
    ratio: float,
    tol: float,
) -> GLMPath:
    from jaxreg.solve._glm_data import Model, arrange

    l1, l2 = _factors(request.penalty, request.x.shape[1])
    model = Model(
        request.family, request.x, request.y, request.offset, (weights[None],) * 2, l1, l2,
        request.intercept, request.standardize,
    )
    with jax.enable_x64(True):
        data, folds, scale = arrange(model)
        count = num if strengths is None else np.size(strengths)
        problem, start = prepare(request.family, data, folds, 1 if count == 1 else 10, tol)
        maximum = strength_max(problem, start)
        if strengths is None:
            strengths = maximum * np.geomspace(1, ratio, num)
        strengths = np.asarray(strengths, float)
        found = follow(problem, start, strengths)
    coefficients, intercepts = scale.back(found.w[-1], request.intercept)
    coefficients, intercepts = np.moveaxis(coefficients, 1, 2), intercepts
    if len(data.y) == 1:
        coefficients, intercepts = coefficients[..., 0], intercepts[:, 0]
    gaps = found.gap[-1]
    return GLMPath(strengths, coefficients, intercepts, gaps, found.residual[-1]/maximum, gaps <= tol)


def _features(x, sample_weight):
    x = np.asarray(x, float)
    return x, np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, float)


def _classes(y, samples):
    y = np.asarray(y)
    classes = int(y.max()) + 1
    if classes == 2:
        return Bernoulli(), y.astype(float)[None]
    return Multinomial(), (y[None] == np.arange(classes)[:, None]).astype(float)


def _factors(penalty: Penalty, features: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(penalty, L1):
        l1, l2 = penalty.strength, 0.0
    elif isinstance(penalty, L2):
        l1, l2 = 0.0, penalty.strength
    else:
        l1, l2 = penalty.l1, penalty.l2
    l1, l2 = (np.broadcast_to(np.asarray(v, float), features).copy() for v in (l1, l2))
    return l1, l2
