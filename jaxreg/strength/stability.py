"""Stability selection: features that many random halves of the data select."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


class Stability(NamedTuple):
    """The result of `stability_selection`.

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

    provided that noise features are exchangeable, and selected no more often than by
    chance. The strengths decide q, so choose them such that it is small.

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
