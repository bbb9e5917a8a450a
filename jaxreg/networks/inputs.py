"""Which inputs a network uses: a path of networks, from all inputs to none."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxreg._checks import check_count, check_number, check_numbers
from jaxreg._groups import Labels
from jaxreg._tree import Params, walk
from jaxreg.masks.selection import Mask, MaskLike, as_mask, chosen
from jaxreg.networks.program import METHODS, Data, Program, Schedule
from jaxreg.penalties import GroupLasso
from jaxreg.strength.cross_validation import CrossValidation, Folds, fold_weights
from jaxreg.strength.rules import one_standard_error
from jaxreg.strength.sweeps import sweep

Loss = Callable[[Any, Any], Any]
"""The loss of each sample, of the network's outputs and the targets."""

SPARSEST = functools.partial(one_standard_error, paired=True)
"""The rule that chooses a strength unless another one is given."""


def squared_error(outputs: Array, y: Array) -> Array:
    """The squared error of each sample, without a half; summed over several outputs.

    Args:
        outputs: An array (samples,), (samples, 1) or (samples, targets).
        y: The targets, as many numbers for each sample.

    Returns:
        An array (samples,).

    Raises:
        ValueError: If there are not as many outputs as targets.

    Example:
        >>> squared_error(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 5.0]))
        Array([0., 9.], dtype=float32)
    """
    if outputs.size != y.size or len(outputs) != len(y):
        raise ValueError(
            "fn must return as many numbers for each sample as there are targets, but "
            f"outputs have shape {outputs.shape} and y has shape {y.shape}."
        )
    errors = (outputs.reshape(y.shape) - y).reshape(len(y), -1)
    return jnp.sum(errors**2, axis=1)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class InputPath:
    """Networks with fewer and fewer inputs, and the one that a rule chose.

    Attributes:
        strengths: The strengths, rising.
        used: For each strength and input, whether the network uses it.
        validation: The losses of the folds, a `CrossValidation`: for the rules of
            `jaxreg.strength` and `plot.cross_validation`.
        networks: The parameters at all strengths, with an axis for them in front, trained
            on all samples.
        index: Which strength the rule chose.
        ridge: The strength of `L2` on the other weights.
        dense_steps: How many steps the fit of all inputs took.

    Example:
        >>> path = InputPath(
        ...     np.array([0.1, 1.0]), np.array([[True, True], [True, False]]),
        ...     CrossValidation(np.array([0.1, 1.0]), np.array([[2.0, 3.0], [2.0, 2.0]])),
        ...     networks={"kernel": np.ones((2, 2, 1))}, index=1, ridge=0.003, dense_steps=100,
        ... )
        >>> path, path.chosen, path.importances
        (InputPath of 2 strengths: 1 of 2 inputs chosen, at strength 1,
         array([0]), array([1. , 0.1]))
    """

    strengths: np.ndarray
    used: np.ndarray
    validation: CrossValidation
    networks: Params
    index: int
    ridge: float
    dense_steps: int

    @property
    def importances(self) -> np.ndarray:
        """The largest strength at which the network uses each input; 0 if at none."""
        return np.max(np.where(self.used, self.strengths[:, None], 0.0), axis=0)

    @property
    def counts(self) -> np.ndarray:
        """How many inputs the network uses at each strength."""
        return np.sum(self.used, axis=1)

    @property
    def chosen(self) -> np.ndarray:
        """The inputs in use at the chosen strength, their numbers."""
        return np.flatnonzero(self.used[self.index])

    @property
    def best_index(self) -> int:
        """Of the strengths that use exactly the chosen inputs, the one with the best score.

        A smaller strength with the same inputs shrinks them less.
        """
        same = np.all(self.used == self.used[self.index], axis=1)
        losses = np.where(same, np.nan_to_num(self.validation.mean, nan=np.inf), np.inf)
        return int(np.argmin(losses)) if np.any(np.isfinite(losses)) else self.index

    @property
    def params(self) -> Params:
        """The network of the chosen inputs, at `best_index`; for `jaxreg.compact` too."""
        return self.network_at(self.best_index)

    def network_at(self, index: int) -> Params:
        """The parameters at one of the strengths.

        Args:
            index: Its number.

        Returns:
            A pytree like the parameters that the path started from.
        """
        return jax.tree.map(lambda x: jnp.asarray(x[index]), self.networks)

    def at(self, index: int) -> Self:
        """The same path with another choice.

        Args:
            index: The number of a strength, from a rule of your own for instance.

        Returns:
            A path.
        """
        return dataclasses.replace(self, index=int(index))

    def with_at_most(self, inputs: int) -> Self:
        """The same path, at the smallest strength with at most so many inputs.

        Args:
            inputs: How many, at least 1.

        Returns:
            A path.

        Raises:
            TypeError: If `inputs` is no whole number.
            ValueError: If the network has more inputs at every strength.
        """
        check_count("inputs", inputs)
        few = np.flatnonzero(self.counts <= inputs)
        if not few.size:
            raise ValueError(
                f"The network uses {np.min(self.counts)} inputs or more at every strength, "
                f"not {inputs}: give larger strengths."
            )
        return self.at(few[0])

    def __repr__(self) -> str:
        strengths, inputs = self.used.shape
        return (
            f"InputPath of {strengths} strengths: {len(self.chosen)} of {inputs} inputs "
            f"chosen, at strength {self.strengths[self.index]:.3g}"
        )


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


def null_loss(fn: Any, loss: Loss, penalty: GroupLasso, params: Params, data: Any) -> float:
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
    value = float(jnp.mean(losses))
    if not np.isfinite(value) or value <= 0:
        raise ValueError(
            "The mean loss of the network without inputs must be positive and finite, got "
            f"{value}: are there NaN in the data or in the parameters?"
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
    x, y = data
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
            "At least one network must have a finite loss, but all have diverged. Scale the "
            "inputs to variance 1, or lower the learning rate."
        )
    return best


def _chosen_loss(path: InputPath) -> float:
    return float(path.validation.mean[path.best_index])


def select_inputs(
    fn: Callable[[Params, Any], Any],
    params: Params,
    data: tuple[Any, Any],
    *,
    kernel: Mask | MaskLike,
    loss: Loss = squared_error,
    method: str = METHODS[0],
    folds: Folds = 5,
    groups: Labels | None = None,
    input_axis: int = 0,
    strengths: ArrayLike | None = None,
    num: int = 50,
    ridge: float | ArrayLike = 3e-3,
    rule: Callable[[CrossValidation], int] = SPARSEST,
    sample_weight: ArrayLike | None = None,
    schedule: Schedule | None = None,
    key: Array | None = None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
    directory: str | os.PathLike[str] | None = None,
) -> InputPath:
    """Find the inputs that a network needs, and train it on them.

        mean loss + strength · Σ_j c_j · ‖W_j‖₂ + ridge · Σ v²

    W_j are the weights that read input j, v all other weights. The network is trained on
    all inputs, and then with rising strengths, each from the parameters of the one before,
    while inputs leave one by one. The adaptive group lasso does so twice: with c_j = 1, and
    then from the parameters with the best score, with c_j = max_k ‖W_k‖ / ‖W_j‖ of these.
    The second time, inputs that matter are hardly shrunk, and those that do not leave early.
    Without `ridge` the other layers would undo the shrinking.

    All this is done on every fold, whose scores choose the strength, and on all samples, as
    one compiled program. Scale the inputs to variance 1 first: the penalty compares them.

    Args:
        fn: The network, a pure function `fn(params, x)` of parameters and all samples.
        params: The parameters to start from, random or trained.
        data: Inputs and targets `(x, y)`, arrays whose first axis numbers the samples.
        kernel: Which leaves read the inputs: `jaxreg.named("Dense_0/kernel")`. Inputs are
            numbered by `input_axis`; of several leaves, input j is index j of each.
        loss: A function of the outputs and `y` that returns a number for each sample; by
            default squared errors. For classes,
            `optax.softmax_cross_entropy_with_integer_labels`.
        method: `"adaptive group lasso"` or `"group lasso"`, which keeps more inputs.
        folds: As for `cross_validate`: how many, cut in the order of the samples, or pairs
            of indices.
        groups: An integer for each input; equal ones enter and leave together, as the
            columns of a one-hot encoding should.
        input_axis: The axis of the kernel that numbers inputs: 0 in Flax, 1 in PyTorch's
            layout.
        strengths: Rising, positive numbers; by default `num` of them from a thousandth of
            the loss without inputs to ten times that.
        num: How many strengths.
        ridge: The strength of `L2` on the other weights; several of them to choose from.
        rule: Chooses the strength: by default `one_standard_error` with `paired`, the
            sparsest network that is not clearly worse; `select_best` keeps more inputs.
        sample_weight: Non-negative weights of the samples.
        schedule: How long to train, and how fast; see `Schedule`.
        key: A random key for minibatches.
        chunk: As for `sweep`, like the arguments that follow.
        mesh: Devices to spread several ridge strengths over.
        progress: Whether to show a bar.
        directory: Where to save finished runs.

    Returns:
        An `InputPath`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of its range, the data have NaN, `kernel` chooses
            nothing, or all networks have diverged.

    Example:
        A linear network that needs the first of its three inputs:

        >>> x = jax.random.normal(jax.random.key(0), (60, 3))
        >>> found = select_inputs(
        ...     lambda params, x: x @ params["kernel"] @ params["head"],
        ...     {"kernel": jnp.ones((3, 2)), "head": jnp.ones((2,))},
        ...     (x, 2 * x[:, 0]),
        ...     kernel=named("kernel"),
        ...     schedule=Schedule(learning_rate=0.02, dense_steps=100, path_steps=20),
        ... )
        >>> found.chosen
        array([0])

    References:
        Dinh and Ho, *Consistent feature selection for analytic deep neural networks*
        (2020), for the adaptive group lasso; Lemhadri, Ruan, Abraham and Tibshirani,
        *LassoNet* (2021), section 3, for the path from dense to sparse; Feng and Simon,
        *Sparse-input neural networks* (2017), for the ridge.
    """
    check_method(method)
    x, y = data
    samples = check_data(x, y)
    if sample_weight is not None:
        check_numbers("sample_weight", np.asarray(sample_weight))
    check_numbers("ridge", np.asarray(ridge))
    penalty = input_penalty(kernel, params, groups, input_axis)
    if strengths is None:
        null = null_loss(fn, loss, penalty, params, (x, y))
        grid = default_strengths(null, num)
    else:
        grid = check_rising(strengths)
    schedule = check_schedule(Schedule() if schedule is None else schedule)
    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params)
    keys = (jax.random.key(0) if key is None else key)[None]
    return trace_paths(
        Program(fn, loss, penalty, method, schedule),
        ridge,
        (starts, keys),
        (x, y),
        folded(folds, samples, sample_weight),
        grid,
        rule,
        Options(chunk, mesh, progress, directory),
    )


def check_method(method: Any) -> None:
    """Refuse a method that there is not.

    Raises:
        ValueError: If it is none of `METHODS`.
    """
    if not (isinstance(method, str) and method in METHODS):
        words = " or ".join(map(repr, METHODS))
        raise ValueError(f"method must be {words}, got {method!r}.")


def check_data(x: Any, y: Any) -> int:
    """How many samples there are.

    Raises:
        ValueError: If arrays differ in it, or have NaN.
    """
    leaves = jax.tree.leaves((x, y))
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "data must be arrays (x, y) with one entry or more for each sample, got shapes "
            f"{[np.shape(leaf) for leaf in leaves]}."
        )
    for name, part in {"x": x, "y": y}.items():
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(part)):
            raise ValueError(
                f"{name} must be finite, but has NaN or infinite numbers: leave such samples "
                "out, or fill in what is missing."
            )
    return lengths.pop()


def check_rising(strengths: ArrayLike) -> np.ndarray:
    """Strengths as an array.

    Raises:
        ValueError: If they are not positive and rising.
    """
    check_numbers("strengths", np.asarray(strengths), above=0.0)
    grid = np.asarray(strengths, float)
    if grid.ndim != 1 or len(grid) < 1 or np.any(np.diff(grid) <= 0):
        raise ValueError(
            "strengths must rise, an array of one axis: the path goes from all inputs to "
            f"none. Got shape {grid.shape}"
            + (f", {grid[:4].tolist()}..." if grid.ndim == 1 else "")
            + "."
        )
    return grid


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule, if its numbers are in their ranges.

    Raises:
        TypeError: If one is of the wrong type.
        ValueError: If one is too small.
    """
    check_number("learning_rate", schedule.learning_rate, above=0.0)
    check_count("dense_steps", schedule.dense_steps)
    check_count("path_steps", schedule.path_steps)
    if schedule.patience is not None:
        check_count("patience", schedule.patience)
    if schedule.batch_size is not None:
        check_count("batch_size", schedule.batch_size)
    return schedule
