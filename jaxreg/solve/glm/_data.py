"""Data of a generalised linear model in the units of Newton's method, and the way back.

Shapes: n samples, p features, k outputs (classes; otherwise 1).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg.losses import LinearLoss, Multinomial
from jaxreg.penalties import L1, L2, ElasticNet, GroupLasso, Penalty
from jaxreg.solve.checks import check_penalty
from jaxreg.solve.glm._candidate_model import Data, Fold
from jaxreg.solve.glm._design import Design
from jaxreg.solve.glm._groups import Groups
from jaxreg.solve.sharded import ShardedDesign, ShardedFeatures
from jaxreg.solve.sparse import column_means, is_sparse, largest_of, mean_squares


class GLM(NamedTuple):
    """A generalised linear model as the user gives it.

    Attributes:
        loss: The loss of targets (n, k).
        x: Features, an array (n, p), a `csc_array`, or `ShardedFeatures`.
        offset: Known parts of the linear predictors, an array (n, k).
        weights: The weights of the samples, an array (n,).
        l1: Strengths at λ = 1, an array (k, p).
        l2: Likewise, of Σ l2 · w².
        group: For each of these coefficients the number of its group, or `None`.
        intercept: Whether there is one.
        standardize: Whether strengths are for features of variance 1, or, without an
            intercept, of mean square 1.
        of_sum: Whether the objective has the sum of the losses of all samples: then folds,
            which have fewer samples, are penalised more.
        score: That of the folds, see `check_score`.
    """

    loss: LinearLoss
    x: Any
    offset: np.ndarray
    weights: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    group: np.ndarray | None
    intercept: bool
    standardize: bool
    of_sum: bool = False
    score: str = "deviance"


class Layout(NamedTuple):
    """What depends on the features and the folds only, not on the targets.

    Attributes:
        design: The features in the units of Newton's method.
        mean: What was subtracted from each feature, an array (p,).
        divisor: What the difference was divided by, an array (p,).
        l1: Strengths at λ = 1 for these, an array (folds, k, p); 0 for the intercept.
        l2: Likewise, of ½ Σ l2 · w².
    """

    design: Design | ShardedDesign
    mean: np.ndarray
    divisor: np.ndarray
    l1: np.ndarray
    l2: np.ndarray

    @classmethod
    def of(cls, model: GLM, train: np.ndarray) -> "Layout":
        """The layout for weights of samples (folds, n), of all data last."""
        totals = train.sum(1)
        train = train / train.sum(1, keepdims=True)
        mean, scale = _units(model, train[-1])
        units = mean, scale, model.intercept
        if isinstance(model.x, ShardedFeatures):
            design = ShardedDesign.of(model.x, *units)
        else:
            design = Design.of(model.x, *units)
        divisor = np.tile(scale, (len(train), 1))
        if model.standardize:
            spreads = np.stack([_moments(model, weights)[1] for weights in train])
            divisor /= np.where(spreads > 0, spreads, scale)
        l1, l2 = _scaled_strengths(model, divisor)
        if model.of_sum:
            l1, l2 = (part * (totals[-1] / totals)[:, None, None] for part in (l1, l2))
        return cls(design, mean, scale, l1, l2)


class Scale(NamedTuple):
    """The shift and the scale of each feature.

    Attributes:
        mean: What was subtracted, an array (p,).
        divisor: What the difference was divided by, an array (p,).
        intercepts: Those of the null model, an array (k,).
    """

    mean: np.ndarray
    divisor: np.ndarray
    intercepts: np.ndarray

    def back(self, w: np.ndarray, model: GLM) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and intercepts of the original features; it overwrites `w`.

        Unpenalised coefficients of several classes are centred: only their differences
        matter, and those that add up to zero are the smallest.

        Args:
            w: Those of the scaled features, an array (folds, strengths, k, p).
            model: The model.

        Returns:
            Arrays (folds, strengths, k, p) and (folds, strengths, k).
        """
        features, several = len(self.divisor), isinstance(model.loss, Multinomial)
        coefficients = w[..., :features]
        active = np.flatnonzero(np.any(coefficients != 0, axis=(0, 1, 2)))
        coefficients[..., active] /= self.divisor[active]
        if several:
            only = np.flatnonzero(np.all(model.l1 + model.l2 == 0, axis=0))
            means = np.mean(coefficients[..., only], axis=-2, keepdims=True)
            coefficients[..., only] -= means
        if not model.intercept:
            return coefficients, np.zeros(w.shape[:-1])
        shifts = coefficients[..., active] @ self.mean[active]
        intercepts = self.intercepts + w[..., features] - shifts
        if several:
            intercepts -= np.mean(intercepts, axis=-1, keepdims=True)
        return coefficients, intercepts


def strengths_of(
    penalty: Penalty, features: int, outputs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The strengths of a penalty for each coefficient.

    Returns:
        Strengths of L1 (or of the group) and of L2, and numbers of groups, if there are
        any: arrays (outputs, features). A coefficient with an infinite strength must stay
        zero: its first strength is infinity then, and its second one 0.

    Raises:
        TypeError: If it is another penalty than `L1`, `L2`, `ElasticNet`, `GroupLasso`.
        ValueError: If its strengths do not fit.
    """
    shape = (features,) if outputs == 1 else (features, outputs)
    l1: Any = 0.0
    l2: Any = 0.0
    group = None
    if isinstance(penalty, L1):
        l1 = penalty.strength
    elif isinstance(penalty, L2):
        l2 = penalty.strength
    elif isinstance(penalty, ElasticNet):
        l1, l2 = penalty.l1, penalty.l2
    elif isinstance(penalty, GroupLasso):
        if np.ndim(penalty.strength):  # Traced, it could not be looked at.
            penalty(np.zeros(shape))
        l1, group = _strengths_and_numbers(penalty, shape)
    else:
        raise TypeError(
            "penalty must be an L1, L2, ElasticNet or GroupLasso, got "
            f"{penalty!r}: `minimize` takes any other."
        )
    check_penalty(penalty, shape)
    try:
        wide = [np.broadcast_to(_per_feature(v, outputs), shape) for v in (l1, l2)]
    except ValueError:
        raise ValueError(
            f"Strengths of the penalty must be numbers, or one for each of the {features} "
            f"features, got shapes {np.shape(l1)} and {np.shape(l2)}."
        ) from None
    if group is not None:
        group = np.broadcast_to(group, shape).reshape(features, outputs).T
    l1, l2 = (np.array(v, float).reshape(features, outputs).T for v in wide)
    excluded = np.isinf(l1) | np.isinf(l2)
    return np.where(excluded, np.inf, l1), np.where(excluded, 0.0, l2), group


@functools.partial(jax.jit, static_argnums=1)
def _strengths_and_numbers(penalty: GroupLasso, shape: tuple[int, ...]) -> Any:
    """For each coefficient the strength and the number of its group."""
    like = jnp.zeros(shape)
    penalty(like)  # The penalty itself refuses what does not fit.
    groups = penalty.groups_in(like)
    numbers = np.arange(np.prod(groups.shape)).reshape(groups.shape)
    strengths = penalty.per_group(groups, penalty.strength)
    return groups.spread(strengths), groups.spread(numbers)


def _per_feature(strength: Any, outputs: int) -> np.ndarray:
    strength = np.asarray(strength, float)
    return strength[:, None] if strength.ndim == 1 and outputs > 1 else strength


def arrange(
    model: GLM, train: np.ndarray, test: np.ndarray, layout: Layout
) -> tuple[Data, list[Fold], Scale]:
    """Features as rows of mean 0 and mean square 1, the last one of ones.

    Args:
        model: The model.
        train: Weights of the samples, an array (folds, n); of all data last.
        test: Likewise, for the score.
        layout: The layout of the features, which targets may share.

    Returns:
        Data and folds for Newton's method; and the scale of the features.
    """
    train, test = (weights / weights.sum(1, keepdims=True) for weights in (train, test))
    loss, offset = model.loss, model.offset
    intercepts = np.zeros(offset.shape[1])
    if model.intercept:
        intercepts = loss.null_intercept(offset, train[-1])
        loss, offset = loss.shifted(offset + intercepts, train[-1])
    # For each sample min ℓ, which is minus the conjugate at 0.
    least = -np.asarray(loss.sample_conjugates(np.zeros_like(loss.y)))
    groups = None if model.group is None else _groups(model.group, model.intercept)
    each = zip(train, test, layout.l1, layout.l2, strict=True)
    folds = [Fold(*parts) for parts in each]
    scale = Scale(layout.mean, layout.divisor, intercepts)
    return Data(layout.design, loss, offset.T, least, groups), folds, scale


def _scaled_strengths(model: GLM, divisor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strengths for features that were divided, of Σ l1·|w| + ½ Σ l2·w².

    Args:
        model: The model.
        divisor: An array (folds, features).

    Returns:
        Arrays (folds, k, p); 0 for the intercept.
    """
    l1 = model.l1 / divisor[:, None]
    l2 = 2 * model.l2 / divisor[:, None] ** 2
    last = (0, 0), (0, 0), (0, int(model.intercept))
    return np.pad(l1, last), np.pad(l2, last)


def _groups(group: np.ndarray, intercept: bool) -> Groups:
    """The groups of all coefficients; each intercept is one of its own."""
    names = np.pad(group, ((0, 0), (0, int(intercept))))
    if intercept:
        names[:, -1] = np.max(group) + 1 + np.arange(len(group))
    return Groups.of(names.ravel())


def _units(model: GLM, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and root mean squares of the features; one for all in groups as they are."""
    mean, spread = _moments(model, weights)
    first = _first_sample(model.x)
    constant = spread == 0
    mean = np.where(constant & model.intercept, first, mean)
    divisor = np.where(constant, 1.0, spread)
    if model.group is not None and not model.standardize:
        divisor = np.full_like(divisor, np.sqrt(np.mean(divisor**2)))
    return mean, divisor


def _first_sample(x: Any) -> np.ndarray:
    """The features of the first sample."""
    if isinstance(x, ShardedFeatures):
        return x.means(np.eye(1, x.shape[0])[0])
    return x[[0]].toarray()[0] if is_sparse(x) else x[0]


def _moments(model: GLM, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of every feature.

    Without an intercept 0 and the root mean square.
    """
    x, mean = model.x, np.zeros(model.x.shape[1])
    if isinstance(x, ShardedFeatures):
        mean = x.means(weights) if model.intercept else mean
        squares, largest = x.mean_squares(weights, mean), x.largest()
    else:
        mean = column_means(x, weights) if model.intercept else mean
        squares = mean_squares(x, weights, mean)
        largest = largest_of(x, np.arange(x.shape[1]))
    spread = np.sqrt(squares)
    # The spread of a constant feature is a rounding error.
    return mean, np.where(spread <= ROUNDING * largest, 0.0, spread)
