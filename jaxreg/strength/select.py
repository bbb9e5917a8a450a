"""Rules that choose one strength among many, and one set of features among many runs.

A rule returns the *index* of the strength that it chooses, so that everything else of that
run is at hand: `found.strengths[i]`, `found.results[i]`.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxreg._dtypes import raise_precision
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty
from jaxreg.strength.cross_validation import CrossValidation
from jaxreg.strength.sweeps import strength_axis

Criterion = Literal["aic", "bic", "ebic"]


def select_best(found: CrossValidation) -> int:
    """The strength with the best mean score; among equals the largest.

    A strength with a score that is NaN or infinite is left out, wherever it stands.

    Args:
        found: Scores of strengths on folds.

    Returns:
        Its index.

    Raises:
        TypeError: If `found` is no `CrossValidation`.
        ValueError: If every strength has a score that is not finite.

    Example:
        >>> scores = np.array([[9.0, 9.0], [2.0, 4.0], [3.0, 3.0]])
        >>> select_best(CrossValidation(np.array([10.0, 1.0, 0.1]), scores))
        1
    """
    losses = _losses(found)
    ties = losses == np.min(losses)
    return int(np.argmax(np.where(ties, _sorted(found.strengths)[0], -1)))


def one_standard_error(found: CrossValidation) -> int:
    """The largest strength whose mean score is within one standard error of the best.

    The error is that of the best strength. Scores of neighbouring strengths differ by less
    than their noise, so the sparsest of those that cannot be told from the best is chosen.
    *Larger strengths are sparser*, whatever the order in which they were given, and
    whether scores are losses or (`higher_is_better`) accuracies.

    Args:
        found: Scores of strengths on two folds or more.

    Returns:
        Its index.

    Raises:
        TypeError: If `found` is no `CrossValidation`.
        ValueError: If there is one fold only, every strength has a score that is not
            finite, or the strengths cannot be ordered (of two penalties each has a larger
            strength).

    Example:
        >>> scores = np.array([[9.0, 9.0], [3.5, 3.5], [2.0, 4.0]])
        >>> one_standard_error(CrossValidation(np.array([10.0, 1.0, 0.1]), scores))
        1

    References:
        Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning* (2009),
        section 7.10.
    """
    losses = _losses(found)
    if found.scores.shape[1] < 2:
        raise ValueError("A standard error needs at least two folds, got scores of one.")
    best = select_best(found)
    within = losses <= losses[best] + found.standard_error[best]
    return int(np.argmax(np.where(within, _ranks(found.strengths), -1)))


def select_by_sparsity(strengths: Any, zero_fractions: ArrayLike, target: float) -> int:
    """The smallest strength that makes at least a wanted fraction of the weights zero.

    Args:
        strengths: The strengths, as for `sweep`.
        zero_fractions: For each of them the fraction of exact zeros, from `sparsity`.
        target: The wanted fraction, between 0 and 1.

    Returns:
        Its index.

    Raises:
        ValueError: If no strength makes so many zeros, or the strengths cannot be ordered.

    Example:
        >>> strengths, zeros = np.array([0.1, 1.0, 10.0]), np.array([0.2, 0.6, 0.9])
        >>> select_by_sparsity(strengths, zeros, target=0.5)
        1
    """
    shares = np.asarray(zero_fractions)
    reached = shares >= target
    if not np.any(reached):
        known = shares[~np.isnan(shares)]
        largest = f"{np.max(known):.3g}" if known.size else "unknown (all are NaN)"
        raise ValueError(
            f"target must be reached by one of the strengths, but the largest fraction of "
            f"zeros is {largest}, not {target:.3g}: try larger strengths."
        )
    ranks = _ranks(strengths)
    return int(np.argmin(np.where(reached, ranks, len(ranks))))


def _losses(found: Any) -> np.ndarray:
    """Mean scores of which lower is better; infinite for what has diverged."""
    if not isinstance(found, CrossValidation):
        raise TypeError(
            "found must be the result of jaxreg.cross_validate, got "
            f"{type(found).__name__}."
        )
    means = np.asarray(found.mean, float)
    finite = np.isfinite(means)
    if not np.any(finite):
        undefined = np.flatnonzero(~np.any(np.isfinite(found.scores), axis=0))
        advice = (
            f"On the folds {undefined.tolist()} it is NaN or infinite for every strength: "
            "leave these folds out, or choose a score that is defined on them (R² is not, "
            "where all targets are the same)."
            if undefined.size
            else "Training has diverged: lower the learning rate."
        )
        raise ValueError(
            "At least one strength must have a finite score on every fold, but none has. "
            + advice
        )
    return np.where(finite, -means if found.higher_is_better else means, np.inf)


def _ranks(strengths: Any) -> np.ndarray:
    """The rank of each strength, from the smallest (0) to the largest.

    Of penalties one is larger if none of its strengths is smaller.
    """
    ranks, is_ordered = _sorted(strengths)
    if not is_ordered:
        raise ValueError(
            "The strengths must have an order, but of two penalties each has a strength "
            "that is larger than the other's: choose among them by `select_best`."
        )
    return ranks


def _sorted(strengths: Any) -> tuple[np.ndarray, bool]:
    """A rank for each strength, and whether it is the only one that makes sense.

    Penalties that have no order are sorted by their last strengths first: any rule will
    do to choose among equals, if it does not depend on how they were listed.
    """
    leaves = [
        np.asarray(x, float).reshape(len(x), -1)
        for x in jax.tree.leaves(strength_axis(strengths))
    ]
    table: Any = np.concatenate(leaves, axis=1)
    order = np.lexsort(table.T)
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order))
    return ranks, not np.any(np.diff(table[order], axis=0) < 0)


def information_criterion(
    deviance: ArrayLike,
    df: ArrayLike,
    n_samples: int,
    kind: Criterion = "bic",
    *,
    features: int | None = None,
    gamma: float = 0.5,
) -> Array:
    """How well a model fits, with a penalty on its degrees of freedom; the least is best.

        AIC   deviance + 2·df                     aims at prediction
        BIC   deviance + log(n_samples)·df          aims at the true model
        EBIC  BIC + 2·gamma·log C(features, df)   the same among many features

    Args:
        deviance: −2 · log likelihood; for linear models `gaussian_deviance`.
        df: The degrees of freedom, as `degrees_of_freedom` gives them.
        n_samples: How many samples the likelihood is about.
        kind: `"aic"`, `"bic"` or `"ebic"`.
        features: For EBIC: how many features there were to choose from.
        gamma: For EBIC: between 0 (BIC) and 1.

    Returns:
        The criterion, of the shape of `deviance` and `df`.

    Raises:
        ValueError: If `kind` is none of them, or `features` is missing.

    Example:
        >>> information_criterion(10.0, df=2, n_samples=8, kind="aic")
        Array(14., dtype=float32)

    References:
        Chen and Chen, *Extended Bayesian information criteria for model selection with
        large model spaces* (2008), section 2; Zou, Hastie and Tibshirani, *On the degrees
        of freedom of the lasso* (2007), section 4.
    """
    deviance, df = raise_precision(deviance), raise_precision(df)
    if kind == "aic":
        return deviance + 2 * df
    bic = deviance + math.log(n_samples) * df
    if kind == "bic":
        return bic
    if kind != "ebic":
        raise ValueError(f"kind must be 'aic', 'bic' or 'ebic', got {kind!r}.")
    if features is None:
        raise ValueError("EBIC needs the number of features to choose from: features=.")
    log_gamma = jax.scipy.special.gammaln
    models = log_gamma(features + 1.0) - log_gamma(df + 1) - log_gamma(features - df + 1)
    return bic + 2 * gamma * models


def gaussian_deviance(
    squared_errors: ArrayLike, *, n_samples: int, noise_variance: ArrayLike
) -> Array:
    """−2 · log likelihood of a linear model with Gaussian noise of known variance.

        n_samples · log(2π · noise_variance) + squared_errors / noise_variance

    Args:
        squared_errors: Their sum.
        n_samples: How many samples they are a sum over.
        noise_variance: That of the noise. The usual estimate is from least squares without
            a penalty: their sum of squared errors / (n_samples − coefficients − intercept).

    Returns:
        The deviance.

    Example:
        >>> gaussian_deviance(4.0, n_samples=2, noise_variance=1 / (2 * np.pi))
        Array(25.132742, dtype=float32)
    """
    variance = raise_precision(noise_variance)
    return (
        n_samples * jnp.log(2 * jnp.pi * variance)
        + raise_precision(squared_errors) / variance
    )


def degrees_of_freedom(penalty: Penalty, x: ArrayLike, coefficients: ArrayLike) -> Array:
    """How many parameters a penalised linear model has really used.

        tr(X_Aᵀ X_A (X_Aᵀ X_A + n · ∇²R_A)⁻¹)      A: where the coefficients are not zero

    for the minimiser of `½ · mean squared error + R`, with n samples. For `L1` that is the
    number of non-zeros; for `L2` the trace of the hat matrix; for `ElasticNet` and
    `GroupLasso` it counts how much the curvature of the penalty holds back. The intercept
    is not counted.

    Args:
        penalty: The penalty, at the strength that was used.
        x: The features, an array (samples, features), as the model was fitted to them: an
            intercept in the model means that they are centred here.
        coefficients: The solution, one number for each feature.

    Returns:
        A scalar. It may be computed inside `jit` and `vmap`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the shapes do not fit.

    Example:
        >>> x = jnp.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
        >>> degrees_of_freedom(L1(0.1), x, jnp.array([0.9, 0.0])).round(3)
        Array(1., dtype=float32)
        >>> degrees_of_freedom(L2(0.5), x, jnp.array([0.5, 0.5])).round(3)
        Array(1., dtype=float32)

    References:
        Vaiter, Deledalle, Fadili, Peyré and Dossal, *The degrees of freedom of partly
        smooth regularizers* (2017), theorem 2.
    """
    check_is_penalty(penalty)
    x, w = raise_precision(x), raise_precision(coefficients)
    if x.ndim != 2 or w.shape != x.shape[1:]:
        raise ValueError(
            "x must be (samples, features) and coefficients (features,), got shapes "
            f"{x.shape} and {w.shape}."
        )
    active = w != 0
    both = active[:, None] & active[None, :]
    gram = jnp.where(both, x.T @ x, 0.0)
    curvature = jnp.where(both, jax.hessian(penalty)(w), 0.0)
    inverse = jnp.linalg.pinv(gram + len(x) * curvature, hermitian=True)
    return jnp.sum(inverse * gram)


class Stability(NamedTuple):
    """What `stability_selection` found.

    Attributes:
        probabilities: For each feature, the fraction of the runs that selected it.
        chosen: For each feature, whether that is at least the threshold.
        expected_false: A bound on the expected number of noise features among the chosen.

    Example:
        >>> runs = np.array([[True, False], [True, False], [True, True]])
        >>> stability_selection(runs, threshold=0.9).chosen
        array([ True, False])
    """

    probabilities: np.ndarray
    chosen: np.ndarray
    expected_false: float


def stability_selection(selected: ArrayLike, threshold: float = 0.75) -> Stability:
    """Features that are selected again and again on halves of the data.

    A feature is chosen if a fraction of at least `threshold` of the runs selects it; with
    several strengths, at the strength that selects it most often. If q features are
    selected by a run on average (at any of the strengths), of p, then the expected number
    of noise features among the chosen is at most

        q² / ((2·threshold − 1) · p)

    provided that noise features are all alike, and less likely than the others. Choose the
    strengths so that q is small: they decide the bound.

    Args:
        selected: For each run and feature whether it was selected, an array of bools
            (runs, features) or (runs, strengths, features): each run on one of
            `complementary_pairs`.
        threshold: Above ½, at most 1.

    Returns:
        A `Stability`.

    Raises:
        ValueError: If `threshold` is out of its range or `selected` of another shape.

    Example:
        The lasso on orthogonal features, on ten halves of twelve samples:

        >>> x = jnp.tile(jnp.array([[1.0, 1.0], [1.0, -1.0]]), (6, 1))
        >>> y = 2 * x[:, 0] + 0.1 * jnp.sin(jnp.arange(12.0))
        >>> def run(weights):
        ...     return L1(1.5).prox(weighted_mean(x * y[:, None], weights)) != 0
        >>> halves = complementary_pairs(jax.random.key(0), n_samples=12, pairs=5)
        >>> found = stability_selection(jax.vmap(run)(halves))
        >>> found.chosen, found.expected_false
        (array([ True, False]), 1.0)

    References:
        Meinshausen and Bühlmann, *Stability selection* (2010), theorem 1; Shah and
        Samworth, *Variable selection with error control* (2013), for the halves.
    """
    if not 0.5 < threshold <= 1:
        raise ValueError(f"threshold must be above 0.5 and at most 1, got {threshold:g}.")
    if np.any(np.isnan(np.asarray(selected, float))):
        raise ValueError(
            "selected must say of each feature whether it was selected, got NaN: leave out "
            "runs that have diverged."
        )
    runs = np.asarray(selected).astype(bool)
    if runs.ndim not in (2, 3):
        raise ValueError(
            "selected must be (runs, features) or (runs, strengths, features), got shape "
            f"{runs.shape}."
        )
    runs = runs.reshape(len(runs), -1, runs.shape[-1])
    probabilities = np.asarray(np.max(np.mean(runs, axis=0), axis=0))
    q = float(np.mean(np.sum(np.any(runs, axis=1), axis=-1)))
    bound = q**2 / ((2 * threshold - 1) * runs.shape[-1])
    return Stability(probabilities, np.asarray(probabilities >= threshold), bound)


def complementary_pairs(key: Array, n_samples: int, pairs: int = 50) -> Array:
    """Random halves of the data, in pairs that have no sample in common.

    Args:
        key: A random key.
        n_samples: How many samples there are; of an odd number each pair leaves out one.
        pairs: How many pairs.

    Returns:
        A weight of 0 or 1 for each sample, an array (2 · pairs, samples): to `vmap` over,
        and to weight means with (`weighted_mean`).

    Raises:
        ValueError: If there are fewer than two samples or no pair.

    Example:
        >>> halves = complementary_pairs(jax.random.key(0), n_samples=4, pairs=3)
        >>> halves.shape, halves[0] + halves[1]
        ((6, 4), Array([1., 1., 1., 1.], dtype=float32))

    References:
        Shah and Samworth, *Variable selection with error control* (2013), section 2.
    """
    if n_samples < 2 or pairs < 1:
        raise ValueError(
            f"There must be at least 2 samples and 1 pair, got {n_samples} and {pairs}."
        )

    def pair(key: Array) -> Array:
        ranks = jax.random.permutation(key, n_samples)
        half = n_samples // 2
        return jnp.stack([ranks < half, (ranks >= half) & (ranks < 2 * half)])

    halves = jax.vmap(pair)(jax.random.split(key, pairs))
    return halves.reshape(2 * pairs, n_samples).astype(jnp.float32)
