"""The largest singular value of each matrix, by power iteration; and clipping of all.

Power iteration on WᵀW from a vector v:

    u ← W·v/‖W·v‖     v ← Wᵀ·u/‖Wᵀ·u‖     σ ← ‖Wᵀ·u‖

The error of v shrinks by (σ₂/σ₁)² in each round, that of σ by its square. Weights change
little in a step, so that a vector kept from the step before makes one or two rounds enough.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._sharding import part_index
from jaxreg.decay._matrices import Matrix, unit
from jaxreg.operators.matrices import dot

FIRST_ROUNDS = 32
"""Rounds of power iteration from a vector that knows nothing of the matrix."""


class Top(NamedTuple):
    """The first singular value of each matrix, and its vectors.

    Attributes:
        sigma: Of length 1 along the axes of a matrix.
        left: u, of length 1 along the columns.
        right: v, of length 1 along the rows.
    """

    sigma: Array
    left: Array
    right: Array


def right_shape(shape: tuple[int, ...], matrix: Matrix) -> tuple[int, ...]:
    """The shape of the right singular vectors of the matrices in a leaf."""
    return tuple(1 if axis in matrix.rows else n for axis, n in enumerate(shape))


def sigma_shape(shape: tuple[int, ...], matrix: Matrix) -> tuple[int, ...]:
    """The shape of one number for each matrix in a leaf."""
    return tuple(1 if axis in matrix.axes else n for axis, n in enumerate(shape))


def top(w: Array, right: Array, matrix: Matrix, rounds: int | Array) -> Top:
    """The first singular triple of each matrix, after some rounds of power iteration."""

    def one_round(_: Any, before: Top) -> Top:
        moved = matrix.over_columns(w * before.right)
        left = unit(moved, jnp.sqrt(matrix.over_rows(jnp.square(moved))))
        back = matrix.over_rows(w * left)
        sigma = jnp.sqrt(matrix.over_columns(jnp.square(back)))
        # A zero matrix has no direction: the vector stays, for when it has one.
        return Top(sigma, left, jnp.where(sigma > 0, unit(back, sigma), before.right))

    found = one_round(0, Top(right, right, right))
    if isinstance(rounds, int) and rounds < FIRST_ROUNDS:
        for _ in range(rounds - 1):
            found = one_round(0, found)
        return found
    return jax.lax.fori_loop(1, rounds, one_round, found)


def first_top(w: Array, matrix: Matrix) -> Top:
    """The same from no knowledge, with enough rounds to start from."""
    return top(w, _start(w, matrix), matrix, FIRST_ROUNDS)


def _start(w: Array, matrix: Matrix) -> Array:
    """Vectors that are orthogonal to no singular vector that one meets in practice."""
    shape = right_shape(w.shape, matrix)
    v = jnp.ones(shape, w.dtype)
    for axis in matrix.columns:
        index = jax.lax.broadcasted_iota(w.dtype, shape, axis)
        if len(matrix.columns) == 1:  # As on one device.
            part = jnp.asarray(part_index(matrix.column_mesh), w.dtype)
            index = index + part * w.shape[axis]
        v = v * (jnp.sin(12.9898 * (index + 1)) + 0.5)
    return unit(v, jnp.sqrt(matrix.over_columns(jnp.square(v))))


def clip_all(w: Array, bound: Array) -> Array:
    """min(σ, bound) of the singular values of each matrix in the last two axes.

    With c = bound, W = U·Σ·Vᵀ and the polar factor Q = U·Vᵀ, since
    min(σ, c) = ½·(σ + c − |σ − c|) and |σ − c| = (σ − c)·sign(σ − c):

        W ← ½ · (W + c·Q − P)     P = U·|Σ − c|·Vᵀ = (W − c·Q) · sign(Wᵀ·Q − c)

    Q, and the sign, are what odd polynomials make of matrices that bring singular values
    near 1. Those that are too near to zero, or to c, do not come so far: the error that
    they make is as small as they are.
    """
    is_wide = w.shape[-2] < w.shape[-1]
    tall = w.mT if is_wide else w
    scale = jnp.sqrt(jnp.sum(jnp.square(tall), axis=(-2, -1), keepdims=True))
    bound = jnp.minimum(bound, scale)  # No σ is larger; and c·Q keeps its digits.
    polar = _polar(unit(tall, scale))
    beyond = tall - bound * polar
    gram = dot(polar.mT, beyond)
    size = jnp.sqrt(jnp.sum(jnp.square(gram), axis=(-2, -1), keepdims=True))
    signed = dot(beyond, _polar(unit((gram + gram.mT) / 2, size)))
    clipped = (tall + bound * polar - signed) / 2
    return clipped.mT if is_wide else clipped


# X ← a·X + b·X·XᵀX + c·X·(XᵀX)²: first the polynomial of Muon, whose slope of 3.4 at zero
# brings singular values from 10⁻⁶ into [0.7, 1.2], then the cubic one, which converges.
_COEFFICIENTS = ((3.4445, -4.775, 2.0315),) * 11 + ((1.5, -0.5, 0.0),) * 5


def _polar(x: Array) -> Array:
    """The polar factor of matrices whose singular values are at most 1."""

    def step(x: Array, coefficients: Array) -> tuple[Array, None]:
        a, b, c = coefficients
        gram = dot(x.mT, x)
        return a * x + dot(x, b * gram + c * dot(gram, gram)), None

    return jax.lax.scan(step, x, jnp.array(_COEFFICIENTS, x.dtype))[0]
