"""Decay and bounds of singular values: what a matrix can do to its inputs at most."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._prefixes import values_at
from jaxreg._sharding import as_specs, like, whole
from jaxreg._tree import Leaf, Params, walk
from jaxreg.decay._matrices import (
    Matrix,
    MatrixAxes,
    check_matrix_axes,
    from_rms,
    matrices_of,
)
from jaxreg.decay._packed import packed, unpacked
from jaxreg.decay._singular import clip_all, first_top, right_shape, top
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.transforms.authoring import (
    Count,
    Length,
    Rate,
    Rates,
    SpectralState,
    check_arguments,
    check_params,
    check_rate,
    check_steps,
    incremented,
    is_schedule,
    map_chosen,
    rate_at,
)


def spectral_decay(
    weight_decay: Rates,
    *,
    learning_rate: Rate,
    mask: MaskLike = weights,
    matrix_axes: MatrixAxes = None,
    iterations: Length = 1,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Shrink the largest singular value of each matrix, and no other.

        W ← W + u − learning_rate · weight_decay · σ₁ · u₁ · v₁ᵀ

    after the optimizer's update u, where σ₁, u₁ and v₁ are the first singular value of W
    and its vectors: decoupled decay by the gradient of ½·σ₁² in the place of ½·‖W‖². What
    a matrix does to its inputs at most becomes less, and what it has learned in its other
    directions stays.

    Place it *after* a finished optimizer. The vectors come from power iteration, which
    starts with 32 rounds in `init` and goes on from those of the step before. Where σ₂ is
    near σ₁ both are shrunk in turns.

    Args:
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule. An array has length 1 along the axes of a matrix.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves; by default `weights`. A vector is a matrix of one column, whose
            singular value is its norm.
        matrix_axes: The axes of the rows and those of the columns of one matrix, as in
            `with_fixed_norm`.
        iterations: Rounds of power iteration in a step.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`. `init` is then to be
            called inside as well.

    Returns:
        A transformation. `update` needs `params`. Its state has a vector for each matrix.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a concrete rate is negative or NaN; when used, if it is not known
            which axes of a leaf make one matrix, if the mask chooses nothing, or `params`
            is missing.

    Example:
        >>> decay = spectral_decay(0.1, learning_rate=0.5)
        >>> optimizer = optax.chain(optax.adam(0.5), decay)
        >>> params = {"kernel": jnp.array([[4.0, 0.0], [0.0, 1.0]])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        >>> jnp.round(optax.apply_updates(params, updates)["kernel"], 4)
        Array([[3.8, 0. ],
               [0. , 1. ]], dtype=float32)

    References:
        Yoshida and Miyato, *Spectral norm regularization for improving the
        generalizability of deep learning* (2017); Newhouse et al., *Training transformers
        with enforced Lipschitz constants* (2025), on spectral weight decay.
    """
    check_arguments(
        spectral_decay, weight_decay=weight_decay, learning_rate=learning_rate, mask=mask
    )

    def shrink(update: Array, w: Array, own: _Spectrum) -> Array:
        first = top(w, own.vector, own.matrix, iterations)
        own.keep(first.right)
        rate = own.rates["learning_rate"] * own.rates["weight_decay"]
        return update - rate * first.sigma * first.left * first.right

    return _by_singular_values(
        shrink,
        mask,
        matrix_axes,
        iterations,
        specs,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
    )


def spectral_clip(
    bound: Scalar,
    mask: MaskLike = weights,
    *,
    matrix_axes: MatrixAxes = None,
    method: Literal["top", "all"] = "top",
    iterations: Length = 2,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Keep the singular values of each matrix below a bound.

        σ ← min(σ, c)   of  W + u,   where   √(rows/columns) · c = bound

    after the optimizer's update u. In these units a layer whose bound is 1 does not make
    the root mean square of its inputs larger, whatever its shape.

    With `method="top"` the first singular value is clipped, by a power iteration that goes
    on from the step before:

        W ← W + u − max(σ₁ − c, 0) · u₁ · v₁ᵀ

    Others above the bound follow in the next steps, as long as no more of them come than
    go: enough after SGD and Adam, and not after Muon, which raises all of them in every
    step. With `"all"` every singular value is clipped in every step, by the Newton–Schulz
    iteration, at the cost of about a hundred products of matrices; sharded matrices are
    gathered for it.

    Where `"top"` has brought σ₁ down to σ₂, rounding decides which direction is clipped
    next: weights of runs in another precision, or on other devices, are then equal to some
    1e-4 and not to the last digit.

    Place it *after* a finished optimizer. In bf16, put `with_kahan_compensation` around
    both.

    Args:
        bound: Non-negative number.
        mask: Which leaves; by default `weights`. A vector is a matrix of one column, whose
            singular value is its norm.
        matrix_axes: The axes of the rows and those of the columns of one matrix, as in
            `with_fixed_norm`. With `"all"`, the last two of the leaf.
        method: `"top"` or `"all"`, as above.
        iterations: Rounds of power iteration in a step.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`. `init` is then to be
            called inside as well.

    Returns:
        A transformation. `update` needs `params`. Its state has a vector for each matrix.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a concrete bound is negative or NaN; when used, if it is not known
            which axes of a leaf make one matrix, if the mask chooses nothing, or `params`
            is missing.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1), spectral_clip(2.0))
        >>> params = {"kernel": jnp.array([[4.0, 0.0], [0.0, 1.0]])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        >>> jnp.round(optax.apply_updates(params, updates)["kernel"], 4)
        Array([[2., 0.],
               [0., 1.]], dtype=float32)

    References:
        Newhouse et al., *Training transformers with enforced Lipschitz constants* (2025),
        on the spectral hammer and the spectral cap; Cesista, *Fast, numerically stable, and
        auto-differentiable spectral clipping via Newton–Schulz iteration* (2025).
    """
    check_arguments(spectral_clip, bound=bound, mask=mask)
    check_number("bound", bound)
    if method not in ("top", "all"):
        raise ValueError(f"method must be one of 'top', 'all', got {method!r}.")

    def clip(update: Array, w: Array, own: _Spectrum) -> Array:
        reached, limit = w + update, own.rates["bound"] * from_rms(w, own.matrix)
        limit = jnp.asarray(limit, w.dtype)
        first = top(reached, own.vector, own.matrix, iterations)
        own.keep(first.right)
        if method == "all" and own.matrix.rows and own.matrix.columns:
            _check_last_two(own, w)
            return like(clip_all(whole(reached, (-2, -1)), limit), w) - w
        excess = jnp.maximum(first.sigma - limit, 0.0)
        return update - excess * first.left * first.right

    return _by_singular_values(clip, mask, matrix_axes, iterations, specs, bound=bound)


class _Spectrum(NamedTuple):
    """What a formula about the singular values of a leaf is given.

    Attributes:
        leaf: The leaf.
        matrix: Which of its axes make one matrix.
        vector: The first right singular vectors of the step before.
        rates: The values of the rates for this leaf.
        keep: Takes the vectors of now.
    """

    leaf: Leaf
    matrix: Matrix
    vector: Array
    rates: dict[str, Any]
    keep: Callable[[Array], None]


def _by_singular_values(
    formula: Callable[[Array, Array, _Spectrum], Array],
    mask: MaskLike,
    axes: MatrixAxes,
    iterations: Length,
    specs: Any,
    **rates: Any,
) -> optax.GradientTransformationExtraArgs:
    """`formula(update, w, spectrum)` on each chosen leaf, with vectors that are kept."""
    check_matrix_axes(axes)
    check_steps("iterations", iterations)
    mask, specs = as_mask(mask), as_specs(specs)
    scalars = {name: name != "weight_decay" for name in rates}
    for name, rate in rates.items():
        check_rate(name, rate, scalar=scalars[name])
    scheduled = any(is_schedule(x, scalar=scalars[name]) for name, x in rates.items())

    def init(params: Params) -> SpectralState:
        tree = list(walk(params))
        found = matrices_of(axes, mask, tree, params, specs)
        vectors = [
            first_top(raise_precision(leaf.value), matrix).right
            for leaf, matrix in zip(tree, found, strict=True)
            if matrix is not None
        ]
        counter = Count(jnp.zeros([], jnp.int32)) if scheduled else optax.EmptyState()
        return SpectralState(packed(vectors), counter)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, SpectralState]:
        del extra_args
        params = check_params(params, updates)
        tree = list(walk(params))
        found = matrices_of(axes, mask, tree, params, specs)
        count = state.inner[0] if scheduled else None
        own_rates = _rates_at(rates, scalars, count, tree, found)
        shapes = [
            (right_shape(leaf.value.shape, matrix), compute_dtype(leaf.value))
            for leaf, matrix in zip(tree, found, strict=True)
            if matrix is not None
        ]
        vectors = unpacked(state.vectors, shapes)
        rows = iter(range(len(vectors)))
        spectra: list[_Spectrum | None] = []
        for leaf, matrix, values in zip(tree, found, own_rates, strict=True):
            if matrix is None:
                spectra.append(None)
                continue
            row = next(rows)
            keep = _keeper(vectors, row)
            spectra.append(_Spectrum(leaf, matrix, vectors[row], values, keep))
        moved = map_chosen(formula, updates, params, tree, spectra)
        counter = incremented(state.inner) if scheduled else state.inner
        return moved, SpectralState(packed(vectors), counter)

    return optax.GradientTransformationExtraArgs(init, update)


def _keeper(vectors: list[Array], row: int) -> Callable[[Array], None]:
    def keep(vector: Array) -> None:
        vectors[row] = vector

    return keep


def _rates_at(
    rates: dict[str, Any],
    scalars: dict[str, bool],
    count: Any,
    tree: Sequence[Leaf],
    found: Sequence[Matrix | None],
) -> list[dict[str, Any]]:
    """The rates of each leaf, where it is chosen."""
    is_chosen = [matrix is not None for matrix in found]
    columns: dict[str, Sequence[Any]] = {}
    for name, rate in rates.items():
        value = rate_at(name, rate, count, scalar=scalars[name])
        if scalars[name]:
            columns[name] = [value] * len(tree)
        else:
            columns[name] = values_at(value, tree, is_chosen, name, by_pattern=True)
    return [
        {name: column[index] for name, column in columns.items()}
        for index in range(len(tree))
    ]


def _check_last_two(own: _Spectrum, w: Array) -> None:
    """Refuse other matrices than the last two axes for Newton–Schulz."""
    if set(own.matrix.axes) != {w.ndim - 2, w.ndim - 1}:
        raise ValueError(
            f"method='all' needs matrices in the last two axes, got the axes "
            f"{own.matrix.axes} of {own.leaf.described} of shape {w.shape}. Use "
            "method='top', or move the axes in the model."
        )
    if own.matrix.row_mesh or own.matrix.column_mesh:
        raise ValueError(
            f"method='all' needs the matrices of {own.leaf.described} whole inside "
            "shard_map. Use method='top'."
        )
