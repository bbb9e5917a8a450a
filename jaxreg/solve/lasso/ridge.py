"""Ridge regression at many strengths, from one decomposition."""

from typing import Any

import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._sources import Samples, gaps_of


def ridge_path(
    xt: Any, y: np.ndarray, l2: np.ndarray, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression at all strengths.

    Divided by the roots of their `l2`, all features have the same penalty, and a singular
    direction of value v is multiplied by v / (v² + 2·n·strength).

    Args:
        xt: Features as rows.
        y: The target.
        l2: Positive, one for each feature.
        strengths: Positive.

    Returns:
        Coefficients, an array (strengths, features), and relative duality gaps.
    """
    samples, xt = len(y), np.asarray(xt)
    left, values, right = np.linalg.svd(xt / np.sqrt(l2)[:, None], full_matrices=False)
    # Not by the squares of the singular values, which may underflow.
    ratios = 2 * samples * strengths[:, None] / np.where(values > 0, values, 1.0)
    kept = np.where(values > 0, 1 / (values + ratios), 0.0)
    w = (kept * (right @ y)) @ left.T / np.sqrt(l2)
    factors = Factors(np.zeros_like(l2), l2, False)
    return w, gaps_of(Samples(xt, y), w, strengths, factors)


def leave_one_out_errors(
    x: np.ndarray,
    y: np.ndarray,
    alphas: np.ndarray,
    intercept: bool,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Errors of ridge regression for each sample, by a model of all the others.

    Without fitting them, by a formula: residual / (1 − leverage).

    Args:
        x: Features, an array (samples, features).
        y: Targets, an array (samples, targets).
        alphas: Penalties alpha · Σ w², beside the sum of squared errors.
        intercept: Whether there is an intercept.
        weights: Of the samples, or `None`.

    Returns:
        An array (alphas, samples, targets).
    """
    weights = np.ones(len(y)) if weights is None else weights
    of_mean = np.zeros(len(y))  # The leverage that each sample has on the intercept.
    if intercept:
        x, y = (part - np.average(part, axis=0, weights=weights) for part in (x, y))
        of_mean = weights / np.sum(weights)
    root = np.sqrt(weights)[:, None]
    left, values, right = np.linalg.svd(x * root, full_matrices=False)
    # Centring leaves a direction of nothing but rounding.
    kept = values > np.finfo(float).eps * max(x.shape) * np.max(values, initial=0.0)
    left, values, right = left[:, kept], values[kept], right[kept]
    explained = left.T @ (y * root)
    # Residuals and 1 − leverage for alpha = 0; then what the penalty adds.
    residuals = y * root - left @ explained
    remaining = 1 - of_mean - np.sum(left**2, axis=1)
    if len(values) + intercept == np.count_nonzero(weights):
        residuals, remaining = 0.0, 0.0  # The differences would be rounding.
    shrinkage = alphas[:, None] / (values**2 + alphas[:, None])
    residuals = residuals + left @ (shrinkage[..., None] * explained)
    remaining = remaining + shrinkage @ (left**2).T
    # Samples without weight are in no model, so the model of all predicts them.
    model = (values / (values**2 + alphas[:, None]))[..., None] * explained
    unweighted = y - x @ right.T @ model
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(root > 0, residuals / remaining[..., None] / root, unweighted)
