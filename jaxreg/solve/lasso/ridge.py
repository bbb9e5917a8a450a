"""Ridge regression at many strengths: from one decomposition, or of sparse features."""

import numpy as np

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._sources import Samples, SparseSamples, gaps_of

MOST_STEPS, EXACT = 20_000, 1e-24
"""Of conjugate gradients: the largest number of steps; and the distance of the objective
from its minimum, relative to the null model's loss, at which they end."""


def ridge_path(
    samples: Samples | SparseSamples, l2: np.ndarray, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression at all strengths.

    Divided by the roots of their `l2`, all features have the same penalty, and a singular
    direction of value v is multiplied by v / (v² + 2·n·strength). Sparse features are not
    decomposed.

    Args:
        samples: The data.
        l2: Positive, one for each feature.
        strengths: Positive.

    Returns:
        Coefficients, an array (strengths, features), and relative duality gaps.
    """
    factors = Factors(np.zeros_like(l2), l2, False)
    if isinstance(samples, SparseSamples):
        w = _by_conjugate_gradients(samples, l2, strengths)
        return w, gaps_of(samples, w, strengths, factors)
    xt, y = np.asarray(samples.xt), np.asarray(samples.y)
    left, values, right = np.linalg.svd(xt / np.sqrt(l2)[:, None], full_matrices=False)
    # Not by the squares of the singular values, which may underflow.
    ratios = 2 * len(y) * strengths[:, None] / np.where(values > 0, values, 1.0)
    kept = np.where(values > 0, 1 / (values + ratios), 0.0)
    w = (kept * (right @ y)) @ left.T / np.sqrt(l2)
    return w, gaps_of(Samples(xt, y), w, strengths, factors)


def _by_conjugate_gradients(
    samples: SparseSamples, l2: np.ndarray, strengths: np.ndarray
) -> np.ndarray:
    """Coefficients (strengths, features), each from the solution before it.

    With residuals r of the equations, the objective is at most ½ Σ r²/(2·strength·l2) above
    its minimum.
    """
    xt, y = samples.xt, samples.y
    squares = xt.squares / len(y)
    correlations, enough = samples.correlations, EXACT * samples.square / 2
    w, found = np.zeros(len(l2)), []
    for strength in strengths:
        ridge = 2 * strength * l2

        def image(v: np.ndarray, ridge: np.ndarray = ridge) -> np.ndarray:
            return xt.products(xt.combined(v)) / len(y) + ridge * v

        r, before, direction = correlations - image(w), np.inf, np.zeros_like(w)
        for _ in range(MOST_STEPS):
            if np.sum(r**2 / ridge) / 2 <= enough:
                break
            z = r / (squares + ridge)
            now = r @ z
            direction = z + now / before * direction
            along = image(direction)
            step = now / (direction @ along)
            w, r, before = w + step * direction, r - step * along, now
        found.append(w)
    return np.array(found)


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
