"""Ridge regression at many strengths, from one decomposition."""

from typing import Any

import numpy as np

from jaxreg.solve._gaps import Factors, relative_gaps
from jaxreg.solve._sources import Samples


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
    """Mean squared errors of ridge regression for samples that it has not seen.

    Each sample is left out in turn, by a formula: its error is its residual divided by
    what of it the others leave unexplained, one minus its leverage.

    Args:
        x: Features, an array (samples, features).
        y: The target.
        alphas: What Σ w² is multiplied by, beside the sum of squared errors.
        intercept: Whether there is an intercept.
        weights: Of the samples, or `None`.
    """
    weights = np.ones(len(y)) if weights is None else weights
    root = np.sqrt(weights)[:, None]
    design, target = x * root, y[:, None] * root
    leverage = np.zeros(len(y))
    if intercept:
        ones = root / np.linalg.norm(root)
        design = design - ones @ (ones.T @ design)
        target = target - ones @ (ones.T @ target)
        leverage = ones[:, 0] ** 2
    left, values, _ = np.linalg.svd(design, full_matrices=False)
    kept = values**2 / (values**2 + alphas[:, None])
    residuals = target[:, 0] - (kept * (left.T @ target)[:, 0]) @ left.T
    apart = 1 - leverage - kept @ (left**2).T
    return np.mean((residuals / apart) ** 2, axis=1)
