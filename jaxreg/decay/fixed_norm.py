"""Norms that are fixed in place of weight decay: each step turns a matrix by an angle."""

from typing import Any, get_args

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number
from jaxreg._sharding import as_specs
from jaxreg._tree import Params, walk
from jaxreg.decay._matrices import MatrixAxes, check_matrix_axes
from jaxreg.decay._sphere import Norm, Path, Sphere, Turn
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.transforms.authoring import (
    INSIDE_FIXED_NORM,
    FixedNormState,
    Length,
    Rate,
    check_arguments,
    check_inside,
    check_params,
    check_rate,
    check_steps,
    counter_beside,
    incremented,
    is_schedule,
    map_chosen,
    rate_at,
    warn_of_useless_decay,
)


def with_fixed_norm(
    optimizer: optax.GradientTransformation,
    learning_rate: Rate,
    mask: MaskLike = weights,
    *,
    matrix_axes: MatrixAxes = None,
    norm: Norm = "frobenius",
    radius: Scalar | None = None,
    path: Path = "chord",
    iterations: Length = 2,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer, with the norm of each matrix fixed: Hyperball, AdamH, MuonH.

    In place of weight decay, which holds norms by a balance that takes long to settle and
    moves with every change of the learning rate, norms are constants here. With the
    optimizer's update u and R = ‖W‖ at the start:

        W ← W + learning_rate · R · u/‖u‖
        W ← R · W/‖W‖

    Only the direction of u counts, so the optimizer's own learning rate cancels, and
    `learning_rate` is the *angle* in radians by which a matrix turns in a step, whatever
    its shape and scale. Give it the schedule, and the optimizer a learning rate for the
    leaves that the mask leaves out: biases and norm scales, and better also embeddings and
    the last layer, whose scale matters to the loss:

        with_fixed_norm(optax.adam(3e-4), schedule, jaxreg.weights & ~jaxreg.named("embed"))

    is AdamH, and with `optax.contrib.muon` in the place of `optax.adam` it is MuonH. A
    decay inside does nothing but shorten steps; `init` warns of it.

    **What one matrix is.** Leaves of up to two axes are one matrix. A stack of layers,
    experts or heads in one leaf needs `matrix_axes`, so that each of them has a norm of its
    own: `(-2, -1)` for a stack of kernels. Without it a leaf of three axes or more is
    refused, since a norm across experts would let one grow as others shrink.

    **bf16.** A norm is right to the last digit of the dtype, for any number of steps. But
    bf16 rounds entries of a step below 1/512 of the weight away, so that a matrix turns
    less than it should: put `with_kahan_compensation` around.

    Args:
        optimizer: Any finished Optax optimizer.
        learning_rate: The angle: a non-negative number or an Optax schedule.
        mask: Which leaves; by default `weights`.
        matrix_axes: The axes of the rows and those of the columns of one matrix,
            `(-2, -1)`, or `((0, 1, 2), 3)` for several; or a dict of these by patterns of
            paths. Other axes number a stack.
        norm: `"frobenius"`, or `"spectral"`: the largest singular value, of W as of u, by
            power iteration.
        radius: The norm to keep, the same number for every shape: the root mean square of
            the entries, or √(rows/columns) · σ₁, by which the root mean square of a
            layer's outputs is at most that of its inputs. That of each matrix at the start
            if `None`; needed for matrices that start at zero.
        path: `"chord"` as above, whose angle is less than the learning rate by a third of
            its cube, or by the part of u along W; or `"arc"`, along the sphere: u without
            that part, and exactly that angle. For Frobenius norms only.
        iterations: Rounds of power iteration in a step, for spectral norms.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`. `init` is then to be
            called inside as well.

    Returns:
        An optimizer. `update` needs `params`. Its state has a number for each matrix, and
        for spectral norms two vectors.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a concrete number is negative or NaN, or an option unknown; when
            used, if it is not known which axes of a leaf make one matrix, if one is zero at
            the start and there is no `radius`, if a transform is inside that must go
            around, or `params` is missing.

    Warns:
        UserWarning: If the optimizer decays weights of the mask by itself.

    Example:
        >>> optimizer = with_fixed_norm(optax.sgd(1.0), 0.1)
        >>> params = {"kernel": jnp.array([[3.0, 4.0]])}
        >>> gradients = {"kernel": jnp.array([[4.0, -3.0]])}
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> turned = optax.apply_updates(params, updates)["kernel"]
        >>> jnp.round(jnp.linalg.norm(turned), 5)
        Array(5., dtype=float32)
        >>> jnp.arctan2(4.0, 3.0) - jnp.arctan2(turned[0, 1], turned[0, 0])
        Array(-0.0996..., dtype=float32)

    References:
        Wen, Dang, Lyu, Ma and Liang, *Fantastic pretraining optimizers and where to find
        them II: Hyperball optimization* (2026); Kosson, Messmer and Jaggi, *Rotational
        equilibrium* (2024), on what decay does in its place; Bernstein and Newhouse,
        *Modular duality in deep learning* (2024), on the norm from root mean square to root
        mean square.
    """
    check_arguments(
        with_fixed_norm, optimizer=optimizer, learning_rate=learning_rate, mask=mask
    )
    check_rate("learning_rate", learning_rate)
    check_matrix_axes(matrix_axes)
    check_steps("iterations", iterations)
    if radius is not None:
        check_number("radius", radius)
    _check_options(norm, path)
    sphere = Sphere(
        as_mask(mask), matrix_axes, norm, radius, path, iterations, as_specs(specs)
    )
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Params) -> FixedNormState:
        state = inner.init(params)
        check_inside("with_fixed_norm", state, INSIDE_FIXED_NORM)
        steps = counter_beside(state) if is_schedule(learning_rate) else ()
        tree = list(walk(params))
        found = sphere.matrices(tree, params)
        first = next((x for x, m in zip(tree, found, strict=True) if m is not None), None)
        if first is not None:
            warn_of_useless_decay(inner, first)
        return FixedNormState(steps, *sphere.start(tree, found), state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, FixedNormState]:
        params = check_params(params, updates)
        angle, steps = learning_rate, state.steps
        if is_schedule(learning_rate):
            angle, steps = rate_at("learning_rate", angle, steps[0]), incremented(steps)
        moved, inner_state = inner.update(updates, state.inner, params, **extra_args)
        tree = list(walk(params))
        turns = sphere.turns(tree, params, state)
        # Leaves that get no update keep their vectors.
        vectors = [() if own is None else own.vectors for own in turns]

        def turn(update: Array, w: Array, own: Turn) -> Array:
            change, vectors[own.place] = sphere.step(
                update, w, own, jnp.asarray(angle, w.dtype)
            )
            return change

        moved = map_chosen(turn, moved, params, tree, turns)
        kept = sphere.packed_vectors(vectors)
        return moved, FixedNormState(steps, state.squares, kept, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _check_options(norm: Any, path: Any) -> None:
    for name, value, kind in (("norm", norm, Norm), ("path", path, Path)):
        if value not in get_args(kind):
            known = ", ".join(map(repr, get_args(kind)))
            raise ValueError(f"{name} must be one of {known}, got {value!r}.")
    if norm == "spectral" and path == "arc":
        raise ValueError(
            "path must be 'chord' for norm='spectral', whose sphere has no arcs, got 'arc'."
        )
