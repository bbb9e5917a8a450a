"""Norms that are fixed in place of weight decay: each step turns a matrix by an angle."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number, is_concrete
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._sharding import Specs, as_specs
from jaxreg._tree import Leaf, Params, walk
from jaxreg.decay._matrices import (
    Matrix,
    MatrixAxes,
    brought_to_mean,
    check_matrix_axes,
    frobenius_norm,
    from_rms,
    matrices_of,
    mean_square,
    scaled,
    stretch,
    unit,
)
from jaxreg.decay._packed import packed, unpacked
from jaxreg.decay._singular import first_top, right_shape, sigma_shape, top
from jaxreg.masks.selection import Mask, MaskLike, as_mask, weights
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

Norm = Literal["frobenius", "spectral"]
"""Which norm of a matrix is fixed."""

Path = Literal["chord", "arc"]
"""How a matrix goes to its next place on the sphere."""


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
    sphere = _Sphere(
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
        vectors: list[Any] = list(turns)

        def turn(update: Array, w: Array, own: _Turn) -> Array:
            change, after = sphere.step(update, w, own, angle)
            vectors[own.place] = after
            return change

        moved = map_chosen(turn, moved, params, tree, turns)
        kept = sphere.vectors_of(vectors, state.vectors)
        return moved, FixedNormState(steps, state.squares, kept, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


class _Turn(NamedTuple):
    """What is known of a leaf whose matrices are turned.

    Attributes:
        place: The index of the leaf in the tree.
        matrix: Which of its axes make one matrix.
        square: What the state keeps of each matrix, of length 1 along its axes: the mean
            square of its entries, or the square of its first singular value.
        vectors: For spectral norms the first right singular vectors, of the matrices and
            of their updates.
    """

    place: int
    matrix: Matrix
    square: Array
    vectors: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class _Sphere:
    """The options of `with_fixed_norm`, and the steps that they make."""

    mask: Mask
    axes: MatrixAxes
    norm: Norm
    radius: Scalar | None
    path: Path
    iterations: Length
    specs: Specs | None

    @property
    def is_spectral(self) -> bool:
        return self.norm == "spectral"

    def matrices(self, tree: Sequence[Leaf], params: Params) -> list[Matrix | None]:
        return matrices_of(self.axes, self.mask, tree, params, self.specs)

    def start(
        self, tree: Sequence[Leaf], found: Sequence[Matrix | None]
    ) -> tuple[Array, Any]:
        """The squares, and the vectors, that a state has at first."""
        squares: list[Array] = []
        vectors: list[Array] = []
        for leaf, matrix in zip(tree, found, strict=True):
            if matrix is None:
                continue
            w = raise_precision(leaf.value)
            if self.is_spectral:
                first = first_top(w, matrix)
                vectors += [first.right, first.right]
                squares.append(jnp.square(first.sigma))
            else:
                squares.append(mean_square(w, matrix))
            if self.radius is None:
                _check_nonzero(squares[-1], leaf)
        return packed(squares), packed(vectors) if self.is_spectral else ()

    def turns(self, tree: Sequence[Leaf], params: Params, state: Any) -> list[_Turn | None]:
        """What a state says of each leaf; `None` where it is not chosen."""
        found = self.matrices(tree, params)
        chosen = [(leaf, m) for leaf, m in zip(tree, found, strict=True) if m is not None]
        dtypes = [compute_dtype(leaf.value) for leaf, _ in chosen]
        shapes = [sigma_shape(leaf.value.shape, matrix) for leaf, matrix in chosen]
        squares = iter(unpacked(state.squares, zip(shapes, dtypes, strict=True)))
        sides = [
            (right_shape(leaf.value.shape, matrix), dtype)
            for (leaf, matrix), dtype in zip(chosen, dtypes, strict=True)
            for _ in range(2)
        ]
        vectors = iter(unpacked(state.vectors, sides) if self.is_spectral else [])
        turns: list[_Turn | None] = []
        for index, (leaf, matrix) in enumerate(zip(tree, found, strict=True)):
            if matrix is None:
                turns.append(None)
                continue
            own = next(squares)
            if self.radius is not None:
                radius = jnp.asarray(self.radius, own.dtype)
                if self.is_spectral:
                    radius = radius * from_rms(leaf.value, matrix)
                own = jnp.full_like(own, jnp.square(radius))
            pair = (next(vectors), next(vectors)) if self.is_spectral else ()
            turns.append(_Turn(index, matrix, own, pair))
        return turns

    def _radius(self, w: Array, own: _Turn) -> Array:
        """The norm of each matrix."""
        count = 1 if self.is_spectral else math.prod(own.matrix.lengths(w))
        return jnp.sqrt(own.square * count)

    def step(
        self, u: Array, w: Array, own: _Turn, angle: Any
    ) -> tuple[Array, tuple[Array, ...]]:
        """By what a matrix changes, and the vectors of then."""
        matrix, radius = own.matrix, self._radius(w, own)
        if self.is_spectral:
            of_w, of_u = own.vectors
            first = top(u, of_u, matrix, self.iterations)
            reached = w + jnp.asarray(angle, w.dtype) * unit(u, first.sigma, radius)
            second = top(reached, of_w, matrix, self.iterations)
            square = jnp.square(second.sigma)
            reached = scaled(reached, square, own.square, own.square - square)
            return reached - w, (second.right, first.right)
        angle = jnp.asarray(angle, w.dtype)
        if self.path == "chord":
            return self._along_chord(u, w, own, angle * radius), ()
        along = unit(w, frobenius_norm(w, matrix))
        across = u - matrix.over_both(u * along) * along
        length = frobenius_norm(across, matrix)
        # What rounding leaves of an update along W has no direction.
        is_real = length > 1e-6 * frobenius_norm(u, matrix)
        turned = jnp.cos(angle) * along + jnp.sin(angle) * unit(across, length)
        reached = radius * jnp.where(is_real, turned, along)
        return brought_to_mean(reached, own.square, matrix) - w, ()

    def _along_chord(self, u: Array, w: Array, own: _Turn, length: Array) -> Array:
        """From W to W + length · u/‖u‖, and back to the sphere, by sums of one pass."""
        matrix = own.matrix
        lack, square, product = matrix.sums(  # R² − ‖W‖², ‖u‖² and ⟨W, u⟩
            own.square - jnp.square(w), jnp.square(u), w * u
        )
        scale = jnp.where(
            square > 0, length / jnp.sqrt(jnp.where(square > 0, square, 1)), 0
        )
        added = scale * (2 * product + scale * square)
        target = own.square * math.prod(matrix.lengths(w))
        back = stretch(target - lack + added, target, lack - added)
        return w * back + u * (scale + scale * back)

    def vectors_of(self, turns: Sequence[Any], before: Any) -> Any:
        """The vectors of a state after a step, as far as matrices were turned."""
        if not self.is_spectral:
            return before
        return packed(
            [
                vector
                for turn in turns
                if turn is not None
                for vector in (turn.vectors if isinstance(turn, _Turn) else turn)
            ]
        )


def _check_options(norm: Any, path: Any) -> None:
    for name, value, kind in (("norm", norm, Norm), ("path", path, Path)):
        if value not in get_args(kind):
            known = ", ".join(map(repr, get_args(kind)))
            raise ValueError(f"{name} must be one of {known}, got {value!r}.")
    if norm == "spectral" and path == "arc":
        raise ValueError(
            "path must be 'chord' for norm='spectral', whose sphere has no arcs, got 'arc'."
        )


def _check_nonzero(norms: Array, leaf: Leaf) -> None:
    """Refuse a matrix of zeros, as far as one can look at it."""
    if is_concrete(norms) and not np.all(np.asarray(norms) > 0):
        raise ValueError(
            f"A matrix must not be zero for its norm to be kept, but one in "
            f"{leaf.described} is. Give the norm that it shall have as radius=, or leave "
            "the leaf out of the mask."
        )
