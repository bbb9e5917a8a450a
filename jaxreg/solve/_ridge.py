"""Ridge regression at many strengths, from one decomposition."""

from typing import Any

import numpy as np

from jaxreg.solve._gaps import duality_gaps


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
    kept = values / (values**2 + 2 * samples * strengths[:, None])
    w = (kept * (right @ y)) @ left.T / np.sqrt(l2)
    residuals = y - w @ xt
    squares = np.mean(residuals**2, axis=1)
    correlations = np.abs(residuals @ xt.T) / samples
    factors = np.zeros_like(l2), l2
    along = residuals @ y / samples
    gaps = duality_gaps(w**2 @ l2, correlations, squares, along, factors, strengths, np)
    return w, gaps / max(float(np.mean(y**2)), np.finfo(float).tiny)
