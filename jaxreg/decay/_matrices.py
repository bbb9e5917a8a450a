"""Which axes of a leaf make one matrix, and norms of each of them.

Nothing is reshaped or multiplied as matrices: sums along axes are right for any number of
axes on either side, and for leaves that devices share, which JAX adds up by itself.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxreg._prefixes import broadcast
from jaxreg._sharding import MeshAxes, Specs, along, part_count, splits_of, total
from jaxreg._tree import Leaf, Params
from jaxreg.masks.selection import Mask, chosen

MatrixAxes = Sequence[Any] | Mapping[str, Any] | None
"""The axes of the rows and those of the columns, `(-2, -1)` or `((0, 1, 2), 3)`; or a dict
of these by patterns of paths. Axes that are named by neither number a stack of matrices.
`None` is for leaves of up to two axes, which are one matrix."""

_HELP = (
    "Give (-2, -1) for a stack of matrices (layers, experts), ((0, 1, 2), 3) for a "
    "convolution kernel as one matrix, ((-1,), ()) for a norm of each row, or a dict of "
    "these by patterns of paths: {'experts': (-2, -1), 'conv': ((0, 1, 2), 3)}."
)


class Matrix(NamedTuple):
    """The axes of a leaf that make one matrix, counted from 0, and who has parts of it.

    Attributes:
        rows: The axes along which rows are numbered: inputs of a dense kernel.
        columns: Those of the columns: outputs.
        row_mesh: Inside `shard_map`, the mesh axes whose devices have some of the rows.
        column_mesh: Those whose devices have some of the columns.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    row_mesh: MeshAxes = ()
    column_mesh: MeshAxes = ()

    @property
    def axes(self) -> tuple[int, ...]:
        return self.rows + self.columns

    def over_rows(self, x: Array) -> Array:
        """The sum over the rows, as an array of length 1 along them."""
        return total(jnp.sum(x, axis=self.rows, keepdims=True), self.row_mesh)

    def over_columns(self, x: Array) -> Array:
        """The sum over the columns, likewise."""
        return total(jnp.sum(x, axis=self.columns, keepdims=True), self.column_mesh)

    def over_both(self, x: Array) -> Array:
        """The sum over each matrix, likewise."""
        return self.sums(x)[0]

    def sums(self, *terms: Array) -> list[Array]:
        """The sums over each matrix of some arrays of one shape, likewise, in one pass."""

        def one_by_one(*terms: Array) -> list[Array]:
            return [jnp.sum(x, axis=self.axes, keepdims=True) for x in terms]

        def together(*terms: Array) -> list[Array]:
            return one_by_one(*_sums_of_columns(*terms))

        if len(terms) > 1 and _has_long_rows(terms[0], self):
            inside = lax.platform_dependent(*terms, cpu=together, default=one_by_one)
        else:
            inside = one_by_one(*terms)
        return [total(x, self.row_mesh + self.column_mesh) for x in inside]

    def lengths(self, x: Array) -> tuple[int, int]:
        """How many rows and columns each matrix has."""
        rows, columns = (
            math.prod(x.shape[axis] for axis in axes) for axes in (self.rows, self.columns)
        )
        return rows * part_count(self.row_mesh), columns * part_count(self.column_mesh)


# XLA for CPUs makes a pass over memory for each sum, where other backends join them. One
# `reduce` of all terms takes a single pass, and is fast if it leaves some columns, whose
# sums are vectors to the processor. 64 are two to four of its vectors and divide the usual
# widths; more of them would make the partial sums longer.
_COLUMNS = 64


def _has_long_rows(x: Array, matrix: "Matrix") -> bool:
    """Whether partial sums are much smaller than the array, and JAX may reshape it."""
    is_long = x.ndim - 1 in matrix.axes and x.shape[-1] >= 4 * _COLUMNS
    return is_long and x.shape[-1] % _COLUMNS == 0 and jax.typeof(x).sharding.mesh.empty


def _sums_of_columns(*terms: Array) -> Sequence[Array]:
    """Each array with a last axis of `_COLUMNS` partial sums."""
    *lead, length = terms[0].shape
    split = tuple(jnp.reshape(x, (*lead, length // _COLUMNS, _COLUMNS)) for x in terms)
    zeros = tuple(jnp.zeros([], x.dtype) for x in terms)
    return lax.reduce(
        split, zeros, lambda x, y: tuple(map(operator.add, x, y)), (len(lead),)
    )


def matrices_of(
    axes: MatrixAxes,
    mask: Mask,
    tree: Sequence[Leaf],
    params: Params,
    specs: Specs | None = None,
) -> list[Matrix | None]:
    """For each of `tree = list(walk(params))`, its matrices; `None` if it is not chosen.

    Raises:
        TypeError: If axes are no axes, or the mask cannot choose leaves.
        ValueError: If a leaf lacks an axis, has one on both sides, or has three axes or
            more of which nobody has said what they are; or if the mask chooses nothing.
    """
    needed = chosen(mask, tree, params)
    given: Sequence[Any] = [axes] * len(tree)
    if isinstance(axes, Mapping):
        entries: dict[tuple[str, ...], Any] = {(key,): value for key, value in axes.items()}
        nothing = [False] * len(tree)
        given = broadcast(entries, tree, "matrix_axes", nothing, by_pattern=True)
    found: list[Matrix | None] = []
    for leaf, own, is_needed, split in zip(
        tree, given, needed, splits_of(specs, tree), strict=True
    ):
        matrix = None
        if is_needed:
            matrix = _matrix(own, leaf, is_own=isinstance(axes, Mapping))
            matrix = matrix._replace(
                row_mesh=along(split, matrix.rows), column_mesh=along(split, matrix.columns)
            )
        found.append(matrix)
    return found


def check_matrix_axes(axes: Any) -> None:
    """Refuse what cannot say which axes make one matrix."""
    for spec in axes.values() if isinstance(axes, Mapping) else [axes]:
        if spec is not None:
            _sides(spec)


def _sides(spec: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    is_pair = isinstance(spec, tuple | list) and len(spec) == 2
    sides = [(side,) if isinstance(side, int) else side for side in spec] if is_pair else []
    if not sides or not all(
        isinstance(side, tuple | list) and all(type(axis) is int for axis in side)
        for side in sides
    ):
        raise TypeError(
            "matrix_axes must be the axes of the rows and those of the columns, got "
            f"{spec!r}. {_HELP}"
        )
    return tuple(sides[0]), tuple(sides[1])


def _matrix(spec: Any, leaf: Leaf, *, is_own: bool) -> Matrix:
    ndim = len(leaf.value.shape)
    if spec is None or (ndim <= 2 and not is_own):
        if ndim > 2:
            raise ValueError(
                f"matrix_axes must say which axes of {leaf.described} of shape "
                f"{leaf.value.shape} make one matrix. {_HELP}"
            )
        return Matrix(tuple(range(min(ndim, 1))), tuple(range(1, ndim)))
    rows, columns = _sides(spec)
    flat = rows + columns
    positive = [axis % ndim if -ndim <= axis < ndim else -1 for axis in flat]
    if -1 in positive or len(set(positive)) < len(positive):
        raise ValueError(
            f"matrix_axes must be different axes of {leaf.described} of shape "
            f"{leaf.value.shape}, got {spec!r}. {_HELP}"
        )
    return Matrix(tuple(positive[: len(rows)]), tuple(positive[len(rows) :]))


def frobenius_norm(x: Array, matrix: Matrix) -> Array:
    """‖X‖ of each matrix, an array of length 1 along its axes."""
    return jnp.sqrt(matrix.over_both(jnp.square(x)))


def mean_square(x: Array, matrix: Matrix) -> Array:
    """‖X‖² over the number of entries, of each matrix, to the last digit."""
    count = math.prod(matrix.lengths(x))
    rough = matrix.over_both(jnp.square(x)) / count
    return rough - _lack(rough, x, matrix) / count


def brought_to_mean(x: Array, mean: Array, matrix: Matrix) -> Array:
    """`x` with a given mean square of the entries of each matrix."""
    target = mean * math.prod(matrix.lengths(x))
    lack = _lack(mean, x, matrix)
    return scaled(x, target - lack, target, lack)


def _lack(mean: Array, x: Array, matrix: Matrix) -> Array:
    """What the squares of a matrix lack of their number times a mean.

    Where it is little, it has all its digits, which the difference of two sums has not.
    """
    return matrix.over_both(mean - jnp.square(x))


def scaled(x: Array, square: Array, target: Array, lack: Array) -> Array:
    """`x`, the square of whose norm is n² = `square`, with the norm R: see `stretch`."""
    return x + x * stretch(square, target, lack)


def stretch(square: Array, target: Array, lack: Array) -> Array:
    """R/n − 1: by how much of itself an array of the norm n misses the norm R.

    R/n would be off by the rounding of both roots and of the quotient, for all entries
    alike; its difference from 1 is small near the sphere, and so is its rounding:

        R/n − 1 = (R² − n²) / (n · (R + n))

    Args:
        square: n².
        target: R².
        lack: R² − n², from where it has most digits.
    """
    norm = jnp.sqrt(square)
    scale = norm * (jnp.sqrt(target) + norm)
    return jnp.where(scale > 0, lack / jnp.where(scale > 0, scale, 1.0), 0.0)


def from_rms(x: Array, matrix: Matrix) -> float:
    """The σ₁ of a matrix that keeps the root mean square of its inputs: √(columns/rows)."""
    rows, columns = matrix.lengths(x)
    return math.sqrt(columns / rows)


def unit(x: Array, norm: Array, length: Any = 1.0) -> Array:
    """`x` brought to a length; zero where its norm is."""
    return x * jnp.where(norm > 0, length / jnp.where(norm > 0, norm, 1.0), 0.0)
