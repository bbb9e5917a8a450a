"""Steps of matrices on the sphere of those that have the same norm.

What a state keeps of each matrix is the *square* of a norm that rounding moves least: the
mean square of its entries, or the square of its first singular value. A step first finds by
how much the square of the norm would be wrong after it, R² − n², as a sum of small numbers,
which has all its digits; the difference of two norms has not.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar, is_concrete
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._sharding import Specs
from jaxreg._tree import Leaf, Params
from jaxreg.decay._matrices import (
    Matrix,
    MatrixAxes,
    brought_to_mean,
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
from jaxreg.masks.selection import Mask
from jaxreg.transforms.authoring import Length

Norm = Literal["frobenius", "spectral"]
"""Which norm of a matrix is fixed."""

Path = Literal["chord", "arc"]
"""How a matrix goes to its next place on the sphere."""

Vectors = tuple[Array, ...]
"""For spectral norms the first right singular vectors of the matrices of a leaf, and those
of their updates; nothing for Frobenius norms."""


class Turn(NamedTuple):
    """What is known of a leaf whose matrices are turned.

    Attributes:
        place: The index of the leaf in the tree.
        matrix: Which of its axes make one matrix.
        square: What the state keeps of each matrix, of length 1 along its axes: the mean
            square of its entries, or the square of its first singular value.
        vectors: Of the step before.
    """

    place: int
    matrix: Matrix
    square: Array
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Sphere:
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

    # Between a state and what it says of each leaf.

    def start(
        self, tree: Sequence[Leaf], found: Sequence[Matrix | None]
    ) -> tuple[Array, Any]:
        """The squares, and the vectors, that a state has at first."""
        squares: list[Array] = []
        vectors: list[Vectors] = []
        for leaf, matrix in zip(tree, found, strict=True):
            if matrix is None:
                continue
            w = raise_precision(leaf.value)
            if self.is_spectral:
                first = first_top(w, matrix)
                vectors.append((first.right, first.right))
                squares.append(jnp.square(first.sigma))
            else:
                squares.append(mean_square(w, matrix))
            if self.radius is None:
                _check_nonzero(squares[-1], leaf)
        return packed(squares), self.packed_vectors(vectors)

    def packed_vectors(self, vectors: Iterable[Vectors]) -> Any:
        """The vectors of all leaves, as a state has them."""
        flat = [vector for pair in vectors for vector in pair]
        return packed(flat) if self.is_spectral else ()

    def turns(self, tree: Sequence[Leaf], params: Params, state: Any) -> list[Turn | None]:
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
        turns: list[Turn | None] = []
        for index, (leaf, matrix) in enumerate(zip(tree, found, strict=True)):
            if matrix is None:
                turns.append(None)
                continue
            square = self._square(next(squares), leaf, matrix)
            pair = (next(vectors), next(vectors)) if self.is_spectral else ()
            turns.append(Turn(index, matrix, square, pair))
        return turns

    def _square(self, kept: Array, leaf: Leaf, matrix: Matrix) -> Array:
        """The square of the norm to keep: that of the start, or of the given radius."""
        if self.radius is None:
            return kept
        radius = jnp.asarray(self.radius, kept.dtype)
        if self.is_spectral:
            radius = radius * from_rms(leaf.value, matrix)
        return jnp.full_like(kept, jnp.square(radius))

    # The steps, W + change for an update u, by an angle.

    def step(self, u: Array, w: Array, own: Turn, angle: Array) -> tuple[Array, Vectors]:
        """By what each matrix changes, and the vectors of then."""
        if self.is_spectral:
            return self._by_singular_values(u, w, own, angle)
        return (_along_chord if self.path == "chord" else _along_arc)(u, w, own, angle), ()

    def _by_singular_values(
        self, u: Array, w: Array, own: Turn, angle: Array
    ) -> tuple[Array, Vectors]:
        of_w, of_u = own.vectors
        first = top(u, of_u, own.matrix, self.iterations)
        reached = w + angle * unit(u, first.sigma, jnp.sqrt(own.square))
        second = top(reached, of_w, own.matrix, self.iterations)
        square = jnp.square(second.sigma)
        reached = scaled(reached, square, own.square, own.square - square)
        return reached - w, (second.right, first.right)


def _along_chord(u: Array, w: Array, own: Turn, angle: Array) -> Array:
    """From W to V = W + angle · R · u/‖u‖, and back to the sphere, by sums of one pass.

    With s = angle · R/‖u‖, ‖V‖² = ‖W‖² + s · (2·⟨W, u⟩ + s·‖u‖²): V is not needed for it.
    """
    matrix = own.matrix
    target = own.square * math.prod(matrix.lengths(w))
    lack, square, product = matrix.sums(  # R² − ‖W‖², ‖u‖² and ⟨W, u⟩
        own.square - jnp.square(w), jnp.square(u), w * u
    )
    length = angle * jnp.sqrt(target)
    is_moving = square > 0
    scale = jnp.where(is_moving, length / jnp.sqrt(jnp.where(is_moving, square, 1)), 0)
    added = scale * (2 * product + scale * square)
    back = stretch(target - lack + added, target, lack - added)
    return w * back + u * (scale + scale * back)


def _along_arc(u: Array, w: Array, own: Turn, angle: Array) -> Array:
    """Along the sphere, by the part of u that is orthogonal to W."""
    matrix = own.matrix
    radius = jnp.sqrt(own.square * math.prod(matrix.lengths(w)))
    along = unit(w, frobenius_norm(w, matrix))
    across = u - matrix.over_both(u * along) * along
    length = frobenius_norm(across, matrix)
    # What rounding leaves of an update along W has no direction.
    is_real = length > 1e-6 * frobenius_norm(u, matrix)
    turned = jnp.cos(angle) * along + jnp.sin(angle) * unit(across, length)
    reached = radius * jnp.where(is_real, turned, along)
    return brought_to_mean(reached, own.square, matrix) - w


def _check_nonzero(norms: Array, leaf: Leaf) -> None:
    """Refuse a matrix of zeros, as far as one can look at it."""
    if is_concrete(norms) and not np.all(np.asarray(norms) > 0):
        raise ValueError(
            f"A matrix must not be zero for its norm to be kept, but one in "
            f"{leaf.described} is. Give the norm that it shall have as radius=, or leave "
            "the leaf out of the mask."
        )
