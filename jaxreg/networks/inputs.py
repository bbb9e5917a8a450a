"""Which inputs a network uses: a path of networks, from all inputs to none."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxreg._checks import check_count, check_number, check_numbers
from jaxreg._groups import Labels
from jaxreg._tree import Params
from jaxreg.masks.selection import MaskLike, as_mask
from jaxreg.networks.input_path import InputPath
from jaxreg.networks.program import METHODS, Loss, Program, Schedule, has_skip
from jaxreg.networks.tracing import (
    SPARSEST,
    Options,
    bound_by_skip,
    default_strengths,
    folded,
    input_penalty,
    null_loss,
    relative_pull,
    trace_paths,
)
from jaxreg.strength.cross_validation import CrossValidation, Folds


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


def select_inputs(
    fn: Callable[[Params, Any], Any],
    params: Params,
    data: tuple[Any, Any],
    *,
    kernel: MaskLike,
    loss: Loss = squared_error,
    method: str = METHODS[0],
    skip: MaskLike | None = None,
    hierarchy: float = 10.0,
    folds: Folds = 5,
    groups: Labels | None = None,
    input_axis: int = 0,
    strengths: ArrayLike | None = None,
    num: int = 50,
    ridge: float | ArrayLike = 3e-3,
    rule: Callable[[CrossValidation], int] | None = None,
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
    The second time, inputs that matter are hardly shrunk, and the others leave early.
    Without `ridge` the other layers would undo the shrinking.

    With LassoNet, a linear skip connection θ is penalised in the place of W, and bounds it:

        mean loss + strength · Σ_j c_j · ‖θ_j‖₂ + ridge · Σ v²,   max |W_j| ≤ M · ‖θ_j‖₂

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
        method: `"adaptive group lasso"` or `"group lasso"`, which keeps more inputs; or
            `"adaptive lassonet"` or `"lassonet"`, likewise, for a network with a skip
            connection.
        skip: For LassoNet, which leaves are the kernel of the linear skip connection from
            the inputs to the outputs, which `fn` adds; `kernel` does not choose them.
        hierarchy: For LassoNet, M.
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
        rule: Chooses the strength; `None` for `one_standard_error` with `paired`, the
            sparsest network that is not clearly worse. `select_best` keeps more inputs.
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
    check_skip(method, skip)
    x, y = data
    samples = check_data(x, y)
    if sample_weight is not None:
        check_numbers("sample_weight", np.asarray(sample_weight))
    check_numbers("ridge", np.asarray(ridge))
    readers = kernel if skip is None else as_mask(kernel) | skip
    penalty = input_penalty(readers, params, groups, input_axis)
    bound = None
    if skip is not None:
        bound = bound_by_skip(penalty, kernel, skip, hierarchy, params)
    if strengths is None:
        null = null_loss(fn, loss, penalty, params, (x, y), sample_weight)
        grid = default_strengths(null * relative_pull(bound, params), num)
    else:
        grid = check_rising(strengths)
    schedule = check_schedule(Schedule() if schedule is None else schedule)
    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params)
    keys = (jax.random.key(0) if key is None else key)[None]
    return trace_paths(
        Program(fn, loss, penalty, method, schedule, bound),
        ridge,
        (starts, keys),
        (x, y),
        folded(folds, samples, sample_weight),
        grid,
        SPARSEST if rule is None else rule,
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


def check_skip(method: str, skip: Any) -> None:
    """Refuse a skip connection that is missing, or that nothing is done with.

    Raises:
        ValueError: If a method needs one and none is named, or the other way round.
    """
    if has_skip(method) == (skip is None):
        raise ValueError(
            'skip must name the kernel of the skip connection for method="lassonet" and '
            f'"adaptive lassonet", and for these alone, got method={method!r} and '
            f"skip={skip!r}."
        )


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
                f"{name} must be finite, but has NaN or infinite numbers: leave such "
                "samples out, or fill in what is missing."
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
