"""Rules that choose one strength among many by their scores.

A rule returns the *index* of the strength that it chooses, so that everything else of that
run is at hand: `found.strengths[i]`, `found.results[i]`.
"""

from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxreg.strength.cross_validation import CrossValidation
from jaxreg.strength.sweeps import strength_axis


def select_best(found: CrossValidation) -> int:
    """The strength with the best mean score; among equals the largest.

    Strengths with a score that is NaN or infinite are left out.

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
    losses = _losses_of(found)
    ties = losses == np.min(losses)
    return int(np.argmax(np.where(ties, _sorted_ranks(found.strengths)[0], -1)))


def one_standard_error(found: CrossValidation, *, paired: bool = False) -> int:
    """The largest strength whose mean score is within one standard error of the best.

    The error is that of the best strength. Smaller differences are noise, so this is the
    sparsest model that is not clearly worse. The scores of two strengths on one fold rise
    and fall together, so their difference has a smaller error: with `paired`, a strength is
    compared with the best one by that, which gives up less of the score. *Larger strengths
    are sparser*, whatever the order in which they were given, and whether scores are losses
    or (`higher_is_better`) accuracies.

    Args:
        found: Scores of strengths on two folds or more.
        paired: Whether the error is that of the difference from the best strength.

    Returns:
        Its index.

    Raises:
        TypeError: If `found` is no `CrossValidation`.
        ValueError: If there is one fold only, every strength has a score that is not
            finite, or the strengths cannot be ordered (each of two penalties has a
            strength that is larger than the other's).

    Example:
        >>> scores = np.array([[9.0, 9.0], [3.5, 3.5], [2.0, 4.0]])
        >>> one_standard_error(CrossValidation(np.array([10.0, 1.0, 0.1]), scores))
        1

    References:
        Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning* (2009),
        section 7.10.
    """
    losses = _losses_of(found)
    if found.scores.shape[1] < 2:
        raise ValueError("A standard error needs at least two folds, got scores of one.")
    best = select_best(found)
    error = found.standard_error[best]
    if paired:
        # Where a score is not finite the loss is infinite already.
        with np.errstate(invalid="ignore"):
            differences = np.asarray(found.scores, float) - found.scores[best]
        error = CrossValidation(found.strengths, differences).standard_error
    within = losses <= losses[best] + error
    return int(np.argmax(np.where(within, _ordered_ranks(found.strengths), -1)))


def index_by_rule(found: CrossValidation, rule: Any) -> int:
    """The strength that a rule chooses, by the rule's name.

    Args:
        found: Scores of strengths on folds.
        rule: `"best"` for `select_best`, `"1se"` for `one_standard_error`.

    Returns:
        Its index.

    Raises:
        ValueError: If there is no such rule; and as the rule does.
    """
    if not isinstance(rule, str) or rule not in _RULES:
        words = ", ".join(map(repr, _RULES))
        raise ValueError(f"rule must be one of {words}, got {rule!r}.")
    return _RULES[rule](found)


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
    fractions = np.asarray(zero_fractions)
    reached = fractions >= target
    if not np.any(reached):
        known = fractions[~np.isnan(fractions)]
        largest = f"{np.max(known):.3g}" if known.size else "unknown (all are NaN)"
        raise ValueError(
            f"target must be reached by one of the strengths, but the largest fraction of "
            f"zeros is {largest}, not {target:.3g}: try larger strengths."
        )
    ranks = _ordered_ranks(strengths)
    return int(np.argmin(np.where(reached, ranks, len(ranks))))


def mean_losses(
    scores: np.ndarray,
    higher_is_better: bool,
    *,
    name: str = "strength",
    remedy: str | None = None,
) -> np.ndarray:
    """Mean losses over the folds; infinite where a score is not finite on some fold.

    So a rule that takes the smallest never chooses a model whose score is NaN or infinite,
    of either sign.

    Args:
        scores: An array (models, folds).
        higher_is_better: Whether scores are accuracies and the like; then losses are minus
            the scores.
        name: What a model is called in a message.
        remedy: What to do if there is none to choose; by default what helps usually.

    Raises:
        ValueError: If every model has a score that is not finite.
    """
    scores = np.asarray(scores, float)
    with np.errstate(invalid="ignore"):  # Of ∞ and −∞.
        means = np.mean(scores, axis=1)
    finite = np.isfinite(means)
    if np.any(finite):
        return np.where(finite, -means if higher_is_better else means, np.inf)
    undefined = np.flatnonzero(~np.any(np.isfinite(scores), axis=0))
    message = f"At least one {name} must have a finite score on every fold, but none has"
    usual = ". Training has diverged: lower the learning rate."
    if undefined.size:
        message += (
            f". On the folds {undefined.tolist()} it is NaN or infinite for every {name}"
        )
        usual = (
            ": leave these folds out, or choose a score that is defined on them (R² is "
            "not, where all targets are the same)."
        )
    raise ValueError(message + (usual if remedy is None else f": {remedy}"))


_RULES = {"best": select_best, "1se": one_standard_error}


def _losses_of(found: Any) -> np.ndarray:
    """The mean losses of a cross-validation."""
    if not isinstance(found, CrossValidation):
        raise TypeError(
            "found must be the result of jaxreg.cross_validate, got "
            f"{type(found).__name__}."
        )
    return mean_losses(found.scores, found.higher_is_better)


def _ordered_ranks(strengths: Any) -> np.ndarray:
    """The rank of each strength, from the smallest (0) to the largest.

    One penalty is larger than another if none of its strengths is smaller.

    Raises:
        ValueError: If penalties cannot be ordered.
    """
    ranks, is_ordered = _sorted_ranks(strengths)
    if not is_ordered:
        raise ValueError(
            "The strengths must have an order, but of two penalties each has a strength "
            "that is larger than the other's: choose among them by `select_best`."
        )
    return ranks


def _sorted_ranks(strengths: Any) -> tuple[np.ndarray, bool]:
    """A rank for each strength, and whether the strengths have an order.

    Penalties without one are sorted by their last strengths first: any rule breaks ties, if
    it does not depend on how they were listed.
    """
    leaves = [
        np.asarray(x, float).reshape(len(x), -1)
        for x in jax.tree.leaves(strength_axis(strengths))
    ]
    rows: Any = np.concatenate(leaves, axis=1)
    order = np.lexsort(rows.T)
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order))
    return ranks, not np.any(np.diff(rows[order], axis=0) < 0)
