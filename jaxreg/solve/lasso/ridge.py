"""Ridge regression at many strengths, from one decomposition."""

from typing import Any

import numpy as np

from jaxreg.solve.gaps import Factors, relative_gaps
from jaxreg.solve.lasso._sources import Samples


def ridge_path(
    xt: Any, y: np.ndarray, l2: np.ndarray, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, an array (strengths, features), and gaps by the mean square of y.

    Features are divided by the roots of their `l2`, so that all are paid for alike; then
    strengths only change how much of each singular direction is kept.

    Args:
        xt: Features as rows.
        y: The target.
        l2: Positive, one for each feature.
        strengths: Positive.
    """
    samples, xt = len(y), np.asarray(xt)
    left, values, right = np.linalg.svd(xt / np.sqrt(l2)[:, None], full_matrices=False)
    # Without squares of the singular values, which may underflow.
    ratios = 2 * samples * strengths[:, None] / np.where(values > 0, values, 1.0)
    kept = np.where(values > 0, 1 / (values + ratios), 0.0)
    w = (kept * (right @ y)) @ left.T / np.sqrt(l2)
    factors = Factors(np.zeros_like(l2), l2, False)
    return w, relative_gaps(Samples(xt, y), w, strengths, factors)


def left_out(
    x: np.ndarray,
    y: np.ndarray,
    alphas: np.ndarray,
    intercept: bool,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Errors of ridge regression for samples that it has not seen.

    Each sample is left out in turn, by a formula: its error is its residual divided by
    what of it the others leave unexplained, one minus its leverage.

    Args:
        x: Features, an array (samples, features).
        y: Targets, an array (samples, targets).
        alphas: What Σ w² is multiplied by, beside the sum of squared errors.
        intercept: Whether there is an intercept.
        weights: Of the samples, or `None`.

    Returns:
        An array (alphas, samples, targets).
    """
    weights = np.ones(len(y)) if weights is None else weights
    own = np.zeros(len(y))
    if intercept:
        x, y = (part - np.average(part, axis=0, weights=weights) for part in (x, y))
        own = weights / np.sum(weights)
    root = np.sqrt(weights)[:, None]
    left, values, right = np.linalg.svd(x * root, full_matrices=False)
    # A direction that is rounding alone is none: beside an intercept it is that.
    kept = values > np.finfo(float).eps * max(x.shape) * np.max(values, initial=0.0)
    left, values, right = left[:, kept], values[kept], right[kept]
    explained = left.T @ (y * root)
    # What no direction explains, and what the penalty leaves of each.
    outside, apart = y * root - left @ explained, 1 - own - np.sum(left**2, axis=1)
    if len(values) + intercept == np.count_nonzero(weights):
        outside, apart = 0.0, 0.0  # A difference would be rounding.
    left_over = alphas[:, None] / (values**2 + alphas[:, None])
    residuals = outside + left @ (left_over[..., None] * explained)
    apart = apart + left_over @ (left**2).T
    # Samples without weight change nothing: they are predicted by the model itself.
    model = (values / (values**2 + alphas[:, None]))[..., None] * explained
    unseen = y - x @ right.T @ model
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(root > 0, residuals / apart[..., None] / root, unseen)
