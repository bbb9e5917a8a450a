"""Paths of networks on folds: the weights of samples, the penalty, strengths, and runs."""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxreg._checks import check_count, check_number
from jaxreg._groups import Labels
from jaxreg._tree import Params, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen
from jaxreg.networks.input_path import InputPath
from jaxreg.networks.program import Data, Loss, Program
from jaxreg.penalties import GroupLasso, LassoNet
from jaxreg.strength.cross_validation import CrossValidation, Folds, fold_weights
from jaxreg.strength.rules import one_standard_error
from jaxreg.strength.sweeps import sweep

SPARSEST = functools.partial(one_standard_error, paired=True)
"""The rule that chooses a strength unless another one is given."""


class Folded(NamedTuple):
    """Weights of the samples: to train on, and to score with.

    Attributes:
        train: (lanes, samples): for each fold, then of all samples.
        test: (folds, parts, samples): the mean loss of each part is a score.
    """

    train: np.ndarray
    test: np.ndarray


def folded(folds: Folds, samples: int, sample_weight: Any = None) -> Folded:
    """The weights of folds, whose test samples are one part each."""
    train, test = fold_weights(folds, samples)
    own = np.ones(samples) if sample_weight is None else np.asarray(sample_weight, float)
    train, test = np.r_[train, np.ones((1, samples))] * own, test * own
    for name, weights in {"to train on": train, "for the score": test}.items():
        if not np.all(weights.sum(axis=1) > 0):
            raise ValueError(
                f"Every fold must have samples of positive weight {name}, but fold "
                f"{int(np.argmin(weights.sum(axis=1)))} has none."
            )
    return Folded(train, test[:, None])


def input_penalty(
    kernel: MaskLike, params: Params, groups: Labels | None, input_axis: int
) -> GroupLasso:
    """The group lasso whose groups are the inputs that the chosen kernels read.

    Raises:
        ValueError: If the mask chooses nothing, or kernels that do not fit.
    """
    mask = as_mask(kernel)
    tree = list(walk(params))
    hits = chosen(mask, tree, params)
    if not any(hits):
        raise ValueError(
            f"kernel must choose the weights that read the inputs, but {mask!r} chooses "
            "none of the parameters."
        )
    scale: Any = "none"
    if groups is not None:
        _, counts = np.unique(np.asarray(groups), return_counts=True)
        scale = np.sqrt(counts)
    penalty = GroupLasso(
        1.0,
        group_axis=input_axis,
        scale=scale,
        labels=groups,
        together="" if sum(hits) > 1 else None,
        mask=mask,
    )
    penalty.bind(params)  # Refuses what does not fit, by name.
    return penalty


def bound_by_skip(
    inputs: GroupLasso, kernel: MaskLike, skip: MaskLike, hierarchy: float, params: Params
) -> LassoNet:
    """`LassoNet` of the inputs that a group lasso of both layers has.

    Raises:
        TypeError: If `hierarchy` is no number.
        ValueError: If it is not positive, or the masks choose layers that do not fit.
    """
    check_number("hierarchy", hierarchy, above=0.0)
    penalty = LassoNet(
        1.0,
        hierarchy=hierarchy,
        skip=skip,
        mask=kernel,
        group_axis=inputs.group_axis,
        scale=inputs.scale,
        labels=inputs.labels,
    )
    penalty.bind(params)  # Refuses what does not fit, by name.
    return penalty


def relative_pull(bound: LassoNet | None, params: Params) -> float:
    """How many times larger strengths must be than those of the group lasso.

    With a pull g on W_j, an input leaves LassoNet where the strength is M·‖g‖₁, which is
    at most M·√units·‖g‖₂, and not ‖g‖₂.
    """
    if bound is None:
        return 1.0
    tree = list(walk(params))
    hits = chosen(as_mask(bound.mask), tree, params)
    axis: Any = bound.group_axis
    units = [
        np.size(leaf.value) / np.shape(leaf.value)[axis]
        for leaf, hit in zip(tree, hits, strict=True)
        if hit
    ]
    return 1 + float(bound.hierarchy) * sum(units) ** 0.5


def null_loss(
    fn: Callable[[Params, Any], Any],
    loss: Loss,
    penalty: GroupLasso,
    params: Params,
    data: Any,
    sample_weight: Any = None,
) -> float:
    """The mean loss of the network that reads no input.

    Raises:
        ValueError: If it is not positive and finite.
    """
    x, y = data
    deaf = penalty.replace(strength=np.inf).prox(params)
    losses = jnp.asarray(loss(fn(deaf, x), y))
    samples = len(jax.tree.leaves(y)[0])
    if losses.shape != (samples,):
        raise ValueError(
            f"loss must return a number for each of the {samples} samples, got shape "
            f"{losses.shape}."
        )
    value = float(np.average(losses, weights=sample_weight))
    if not np.isfinite(value) or value <= 0:
        raise ValueError(
            "The mean loss of the network without inputs must be positive and finite, got "
            f"{value}: are there NaN in the parameters?"
        )
    return value


def default_strengths(null: float, num: int, ratio: float = 1e-4) -> np.ndarray:
    """Strengths for losses of the size of `null`, rising to 10 times that."""
    check_count("num", num)
    return np.geomspace(10 * ratio * null, 10 * null, num)


class Options(NamedTuple):
    """How the runs are spread; see `sweep`."""

    chunk: int | None = None
    mesh: Mesh | None = None
    progress: bool = False
    directory: str | os.PathLike[str] | None = None


def trace_paths(
    program: Program,
    ridges: Any,
    starts: tuple[Params, Array],
    data: Any,
    weights: Folded,
    strengths: np.ndarray,
    rule: Callable[[CrossValidation], int],
    options: Options,
) -> InputPath:
    """Paths of all ridge strengths and starts; the one whose chosen score is best.

    Args:
        program: What to run.
        ridges: Strengths of `L2` on the other weights.
        starts: Parameters with an axis in front, and as many random keys.
        data: Inputs and targets.
        weights: Of the samples.
        strengths: Rising.
        rule: From a `CrossValidation` to the index of a strength.
        options: How the runs are spread.

    Raises:
        ValueError: If every run has diverged.
    """
    x, y = jax.tree.map(jnp.asarray, data)
    shared = Data(
        x,
        y,
        jnp.asarray(weights.train, jnp.float32),
        jnp.asarray(weights.test, jnp.float32),
        jnp.asarray(strengths, jnp.float32),
    )
    ridges = np.atleast_1d(np.asarray(ridges, float))
    found = sweep(program, ridges, keys=starts, data=shared, **options._asdict()).results
    best: InputPath | None = None
    for run in np.ndindex(*found["used"].shape[:2]):
        scores = found["scores"][run].reshape(len(strengths), -1)
        validation = CrossValidation(strengths, scores)
        if not np.any(np.all(np.isfinite(scores), axis=1)):
            continue
        one = InputPath(
            strengths,
            found["used"][run],
            validation,
            jax.tree.map(lambda leaf: leaf[run], found["params"]),  # noqa: B023
            int(rule(validation)),
            float(ridges[run[0]]),
            int(found["dense_steps"][run]),
        )
        if best is None or _chosen_loss(one) < _chosen_loss(best):
            best = one
    if best is None:
        raise ValueError(
            "At least one network must have a finite loss, but all have diverged. Scale "
            "the inputs to variance 1, or lower the learning rate."
        )
    return best


def _chosen_loss(path: InputPath) -> float:
    return float(path.validation.mean[path.best_index])
