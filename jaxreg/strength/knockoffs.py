"""Knockoffs: copies of the features that show how many false ones are selected.

A knockoff copy of a feature relates to all other features as the feature does, but is made
without looking at the target. Where a feature is no more important than its copy, it is as
good as noise; and as often as copies win by some margin, features of noise win by it too.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxreg._checks import check_number


class Knockoffs(NamedTuple):
    """The result of `knockoff_filter`.

    Attributes:
        statistics: For each feature, its importance minus that of its copy.
        chosen: For each feature, whether its statistic is at least the threshold.
        threshold: Infinite if nothing can be chosen.

    Example:
        >>> knockoff_filter(np.array([3.0, 2.0, 1.0, 0.0]), q=0.5).chosen
        array([ True,  True])
    """

    statistics: np.ndarray
    chosen: np.ndarray
    threshold: float


def knockoff_filter(importances: ArrayLike, q: float = 0.1) -> Knockoffs:
    """Choose features with a false discovery rate of at most q.

        chosen = {j: W_j ≥ T},   W_j = importance of feature j − that of its copy
        T = min {t > 0: (1 + #{j: W_j ≤ −t}) / #{j: W_j ≥ t} ≤ q}

    The false discovery rate is the expected fraction of noise features among the chosen.
    This is the filter called knockoff+. It needs 1/q features that stand out to choose any
    at all.

    **It may be trusted** if the copies are right (`gaussian_knockoffs`: if the features are
    Gaussian; otherwise give copies of your own), and importances are computed from
    features, copies and target by a procedure that treats a feature and its copy alike, as
    `knockoff_importances` makes sure. Nothing is assumed of how the target depends on the
    features, or of the model that gives the importances: a bad one only chooses less.

    Args:
        importances: For each feature, then for each copy, an array (2 · features,). Larger
            is more important: coefficients in absolute value, or `entry_strengths`.
        q: The false discovery rate, between 0 and 1.

    Returns:
        A `Knockoffs`.

    Raises:
        TypeError: If q is no number.
        ValueError: If q is not between 0 and 1, or importances are of another shape or NaN.

    Example:
        Five features stand out, their copies do not; the copy of the sixth does:

        >>> features, copies = [9.0, 8.0, 7.0, 6.0, 5.0, 0.0], [0.0] * 5 + [1.0]
        >>> found = knockoff_filter(np.array(features + copies), q=0.2)
        >>> found.chosen, found.threshold
        (array([ True,  True,  True,  True,  True, False]), 5.0)

    References:
        Barber and Candès, *Controlling the false discovery rate via knockoffs* (2015),
        definition 1 and equation 1.9; Candès, Fan, Janson and Lv, *Panning for gold*
        (2018), theorem 3.4.
    """
    check_number("q", q, above=0.0)
    if q >= 1:
        raise ValueError(f"q must be less than 1, got {q:g}.")
    values = np.asarray(importances, float)
    if values.ndim != 1 or len(values) < 2 or len(values) % 2:
        raise ValueError(
            "importances must have one entry for each feature and then one for each copy, "
            f"got shape {values.shape}."
        )
    if np.any(np.isnan(values)):
        raise ValueError("importances must be numbers, got NaN: has a model diverged?")
    features, copies = np.split(values, 2)
    statistics = features - copies
    candidates = np.unique(np.abs(statistics[statistics != 0]))
    false = 1 + np.sum(statistics <= -candidates[:, None], axis=1)
    kept = np.sum(statistics >= candidates[:, None], axis=1)
    good = candidates[false <= q * kept]
    threshold = float(good[0]) if good.size else float("inf")
    return Knockoffs(statistics, statistics >= threshold, threshold)


def knockoff_importances(
    key: Array,
    x: ArrayLike,
    copies: ArrayLike,
    importance: Callable[[np.ndarray], ArrayLike],
) -> np.ndarray:
    """Importances of features and of their copies, which are treated alike.

    Which of the two columns stands in the place of the feature is drawn at random, so that
    a procedure that looks at the order of columns (or breaks ties by it) cannot prefer one.

    Args:
        key: A random key.
        x: Features, an array (samples, features).
        copies: Their copies, an array of the same shape.
        importance: A function of an array (samples, 2 · features) that returns a number
            for each column: a fit to the target.

    Returns:
        An array (2 · features,), for `knockoff_filter`.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> x = np.array([[1.0], [-1.0], [2.0]])
        >>> copies, y = np.array([[1.0], [2.0], [0.0]]), np.array([1.0, -1.0, 2.0])
        >>> knockoff_importances(
        ...     jax.random.key(0), x, copies, lambda both: np.abs(both.T @ y)
        ... )
        array([6., 1.])

    References:
        Candès, Fan, Janson and Lv, *Panning for gold* (2018), section 3.2.
    """
    x, copies = np.asarray(x), np.asarray(copies)
    if x.ndim != 2 or x.shape != copies.shape:
        raise ValueError(
            "copies must have the shape of x, (samples, features), got shapes "
            f"{copies.shape} and {x.shape}."
        )
    swapped = np.asarray(jax.random.bernoulli(key, shape=(x.shape[1],)))
    left, right = np.where(swapped, copies, x), np.where(swapped, x, copies)
    found = np.asarray(importance(np.concatenate([left, right], axis=1)))
    if found.shape != (2 * x.shape[1],):
        raise ValueError(
            f"importance must return a number for each of the {2 * x.shape[1]} columns, "
            f"got shape {found.shape}."
        )
    left, right = np.split(found, 2)
    return np.r_[np.where(swapped, right, left), np.where(swapped, left, right)]


def entry_strengths(strengths: ArrayLike, coefficients: ArrayLike) -> np.ndarray:
    """The largest strength at which each feature is in use: its importance on a path.

    Args:
        strengths: The strengths of a path, in any order.
        coefficients: An array (strengths, features, ...), zero where a feature is not used;
            bools will do.

    Returns:
        An array (features,); 0 for those that are never in use.

    Example:
        >>> entry_strengths(np.array([2.0, 1.0]), np.array([[0.0, 0.5], [0.0, 0.7]]))
        array([0., 2.])
    """
    used = np.asarray(coefficients) != 0
    used = np.any(used.reshape(*used.shape[:2], -1), axis=2)
    return np.max(np.where(used, np.asarray(strengths)[:, None], 0.0), axis=0)


def gaussian_knockoffs(
    key: Array,
    x: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
) -> np.ndarray:
    """Knockoff copies of Gaussian features.

        copies ~ N(x − (x − mean) Σ⁻¹ S, 2S − S Σ⁻¹ S),   S diagonal

    Features and copies then have the joint covariance [[Σ, Σ − S], [Σ − S, Σ]]. S makes
    its determinant as large as can be: copies differ from their features as much as
    possible.

    For features that are not Gaussian, the copies have the right mean and covariance only
    (second order). The false discovery rate is then usually close to q, without a proof.
    The same holds where the covariance is estimated, the better the more samples there are
    for each feature; one that is known from more data, without targets, helps.

    Args:
        key: A random key.
        x: Features, an array (samples, features).
        mean: Their mean; that of x if `None`.
        covariance: Their covariance Σ; if `None`, that of x, shrunk towards its diagonal
            as far as it takes to invert it safely.

    Returns:
        An array of the shape of x.

    Raises:
        ValueError: If the covariance is not positive definite, features are constant or
            NaN, or shapes do not fit.

    Example:
        >>> x = np.asarray(jax.random.normal(jax.random.key(0), (5000, 2)))
        >>> copies = gaussian_knockoffs(jax.random.key(1), x, covariance=np.eye(2))
        >>> np.corrcoef(x.T, copies.T).round(1)[0] + 0.0  # Independent features: all apart.
        array([1., 0., 0., 0.])

    References:
        Candès, Fan, Janson and Lv, *Panning for gold* (2018), section 3.1; Gimenez and
        Zou, *Improving the stability of the knockoff procedure* (2019), and Spector and
        Janson, *Powerful knockoffs via minimizing reconstructability* (2022), section 3.3,
        for the largest determinant.
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be (samples, features), got shape {x.shape}.")
    if not np.all(np.isfinite(x)):
        raise ValueError("x must be finite, but has NaN or infinite numbers.")
    center = np.mean(x, axis=0) if mean is None else np.asarray(mean, float)
    sigma = _estimated(x) if covariance is None else np.asarray(covariance, float)
    if sigma.shape != (x.shape[1],) * 2 or center.shape not in ((), (x.shape[1],)):
        raise ValueError(
            f"covariance and mean must fit {x.shape[1]} features, got shapes {sigma.shape} "
            f"and {center.shape}."
        )
    scale = np.sqrt(np.diag(sigma))
    correlation = sigma / np.outer(scale, scale) if np.all(scale > 0) else sigma
    least = np.linalg.eigvalsh(correlation)[0]
    if not least > 1e-10:
        raise ValueError(
            "The covariance must be positive definite, but its correlations have the "
            f"eigenvalue {least:.2g}: leave out features that are copies or sums of others."
        )
    s = _largest_determinant(correlation)
    z = (x - center) / scale
    pull = np.linalg.solve(correlation, np.diag(s))
    spread = 2 * np.diag(s) - s[:, None] * pull
    root = np.linalg.cholesky(spread + 1e-12 * np.eye(len(s)))
    noise = np.asarray(jax.random.normal(key, x.shape), float)
    return center + (z - z @ pull + noise @ root.T) * scale


def _estimated(x: np.ndarray) -> np.ndarray:
    """The covariance of the samples, with correlations shrunk towards zero (Ledoit, Wolf).

    The weight of the shrinkage is the estimated variance of the correlations by their
    squares; it goes to 0 as samples are added.
    """
    centred = x - np.mean(x, axis=0)
    scale = np.sqrt(np.mean(centred**2, axis=0))
    constant = scale <= 1e-10 * np.max(np.abs(x), axis=0)
    if np.any(constant):
        raise ValueError(
            f"Features must not be constant, but these are: {np.flatnonzero(constant)}. "
            "Leave them out."
        )
    z = centred / scale
    samples, features = z.shape
    correlation = z.T @ z / samples
    others = ~np.eye(features, dtype=bool)
    squares = np.sum(correlation[others] ** 2)
    fourth = (z**2).T @ z**2 / samples
    variance = np.sum((fourth - correlation**2)[others]) / samples
    weight = 0.0 if squares == 0 else min(1.0, variance / squares)
    shrunk = np.where(others, (1 - weight) * correlation, 1.0)
    return shrunk * np.outer(scale, scale)


def _largest_determinant(correlation: np.ndarray, sweeps: int = 30) -> np.ndarray:
    """The diagonal S with the largest determinant of S · (2Σ − S), by coordinate ascent.

    With all else fixed, log s + log(c − s) is largest at s = c/2, where c = s + 1/A⁻¹_jj
    and A = 2Σ − S. A change of s_j changes A⁻¹ by a matrix of rank one.
    """
    least = np.linalg.eigvalsh(correlation)[0]
    s = np.full(len(correlation), min(1.0, least))
    for _ in range(sweeps):
        before = s.copy()
        inverse = np.linalg.inv(2 * correlation - np.diag(s))
        for j in range(len(s)):
            new = (s[j] + 1 / inverse[j, j]) / 2
            change = new - s[j]  # A_jj falls by it.
            column = inverse[:, j].copy()
            inverse += np.outer(column, column) * (change / (1 - change * column[j]))
            s[j] = new
        if np.max(np.abs(s - before)) < 1e-6:
            break
    return s
