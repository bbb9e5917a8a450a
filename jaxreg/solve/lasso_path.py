"""Paths of the lasso and the elastic net: exact, and certified."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxreg.penalties import L1, L2, ElasticNet, Penalty
from jaxreg.solve._dense import SIZES, dense_path, moments
from jaxreg.solve._screened import screened_path
from jaxreg.solve._slots import Features
from jaxreg.solve._standardize import Prepared, check_data, prepare


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearPath:
    """Linear models at many strengths.

    Attributes:
        strengths: The strengths.
        coefficients: An array (strengths, features).
        intercepts: One for each strength; zero if none was asked for.
        gaps: How far each objective is from its minimum at most, relative to the mean
            square of the centred target: the certificate.
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Predictions for samples, an array (strengths, samples)."""
        return self.coefficients @ np.asarray(x).T + self.intercepts[:, None]


def lasso_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    factors: Any = 1.0,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> LinearPath:
    """The lasso at many strengths."""
    return elastic_net_path(
        x,
        y,
        L1(factors),
        strengths,
        intercept=intercept,
        standardize=standardize,
        positive=positive,
        sample_weight=sample_weight,
        num=num,
        ratio=ratio,
    )


def elastic_net_path(
    x: Any,
    y: Any,
    penalty: Penalty,
    strengths: Any = None,
    *,
    intercept: bool = True,
    standardize: bool = False,
    positive: bool = False,
    sample_weight: Any = None,
    num: int = 100,
    ratio: float = 1e-3,
) -> LinearPath:
    """The elastic net at many strengths."""
    x, y, weights = check_data(x, y, sample_weight)
    samples, features = x.shape
    l1, l2 = _factors(penalty, features)
    free = np.flatnonzero((l1 == 0) & (l2 == 0))
    with jax.enable_x64(True):
        data = prepare(x, y, weights, intercept=intercept, standardize=standardize, free=free)
        dense = features <= SIZES[-1] and (samples >= features or features <= 64)
        l1, l2 = l1.copy(), l2.copy()
        l1[free] = 1.0
        if dense:
            known = moments(jnp.asarray(data.xt) if x.size > 2**18 and jax.default_backend() != 'cpu' else np.asarray(data.xt), data.y)
            c = known.correlations
        else:
            f = Features(*(jnp.asarray(a) for a in (data.xt, data.y, float(samples), l1, l2)))
            c = np.asarray(_correlations(f))
        penalised = l1 > 0
        lm = np.max((np.maximum(c,0) if positive else np.abs(c))[penalised] / l1[penalised], initial=0.0)
        if strengths is None:
            strengths = lm * np.geomspace(1, ratio, num)
        strengths = np.asarray(strengths, float)
        strengths=np.minimum(strengths, max(lm,strengths[0]))
        if dense:
            w, gaps = dense_path(known, (l1, l2), positive, strengths)
        else:
            w, gaps = screened_path(f, positive, strengths, jnp.asarray(c))
    w, others = data.back(w)
    w[:, free] = others[:, int(intercept):]
    return LinearPath(strengths, w, others[:, 0] if intercept else np.zeros(len(w)), gaps)


@jax.jit
def _correlations(features: Features) -> jax.Array:
    return features.xt @ features.y / features.samples


def _factors(penalty, features):
    if isinstance(penalty, L1):
        l1, l2 = penalty.strength, 0.0
    elif isinstance(penalty, L2):
        l1, l2 = 0.0, penalty.strength
    else:
        l1, l2 = penalty.l1, penalty.l2
    return tuple(np.broadcast_to(np.asarray(v, float), features).copy() for v in (l1, l2))
