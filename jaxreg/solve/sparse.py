"""Sparse features: columns that are centred and scaled without being stored.

With weights, an intercept and unpenalised features, solvers need features X as they are
after a projection, P = X − Q·A, where the columns of Q are orthonormal and A = QᵀX. P is
dense even if X is sparse, so it is never made: products with it are

    Pᵀr = Xᵀr − Aᵀ(Qᵀr)        P·w = X·w − Q·(A·w)        PᵀP = XᵀX − AᵀA

Where a column of P is much smaller than that of X, the difference would lose digits. Such
columns have few zeros (they are constants with some noise, say); they are stored projected.

The entries may take most of the memory. So they are not copied where they can stay as they
are, and what is computed of columns is computed of a few columns at a time. Numbers of 32
bits stay so, but all computation is in double precision.

SciPy's matrices do the products. It is imported where sparse features are given only; JAX
depends on it.
"""

import itertools
import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxreg._checks import is_real
from jaxreg._dtypes import ROUNDING

CANCELS = 1e-4
"""Columns whose squared norm falls below this fraction by the projection are projected."""
DENSE = 2**18
"""How many numbers of a few columns are made dense at a time."""
SPARSE = 0.1
"""Up to this fraction of entries, columns are multiplied as sparse ones."""
ENTRIES = 2**16
"""About how many entries of a few columns are looked at, or made double, at a time."""


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse array of SciPy or of JAX."""
    return hasattr(value, "tocsr") or hasattr(value, "todense")


def sparse_columns(name: str, value: Any) -> Any:
    """A SciPy matrix by columns (`csc_array`), each entry stored once.

    Its numbers are floats, of 32 bits if the given ones are, else of 64. The given matrix
    is not changed, but may share its memory, so never write to it. Entries of the same
    index are added.

    Args:
        name: What it is called in errors.
        value: A SciPy sparse array or matrix, or a JAX `BCOO` or `BCSR`.

    Raises:
        TypeError: If it is another kind of sparse array, or holds no real numbers.
        ValueError: If it is no matrix, or indices are out of range.
    """
    from scipy.sparse import coo_array, csc_array

    if len(value.shape) != 2:
        raise ValueError(
            f"{name} must be an array (samples, features), got shape {value.shape}."
        )
    if hasattr(value, "tocsc"):
        given: Any = value.tocsc()
    else:
        given = coo_array(*_entries_of(name, value)).tocsc()
    values, rows, starts = given.data, given.indices, given.indptr
    if not (values.dtype == bool or is_real(values)):
        raise TypeError(f"{name} must hold real numbers, got an array of {values.dtype}.")
    if rows.size and (rows.min() < 0 or rows.max() >= given.shape[0]):
        raise ValueError(
            f"{name} must have row indices from 0 to {given.shape[0] - 1}, got some from "
            f"{rows.min()} to {rows.max()}."
        )
    if values.dtype != np.float32:
        values = values.astype(np.float64, copy=False)
    found = csc_array((values, rows, starts), shape=given.shape)
    if not found.has_canonical_format:
        # In double precision, as all sums; and of a copy, because they are made in place.
        arrays = np.array(values, np.float64), rows.copy(), starts.copy()
        found = csc_array(arrays, shape=given.shape)
        found.sum_duplicates()
    return found


def _entries_of(name: str, value: Any) -> tuple[Any, tuple[int, int]]:
    """Values and indices of a JAX array, and its shape; JAX's padding is left out."""
    entries = value.to_bcoo() if hasattr(value, "to_bcoo") else value
    if not hasattr(entries, "nse") or entries.n_batch or entries.n_dense:
        raise TypeError(
            f"{name} must be dense, a SciPy sparse array or matrix, or a JAX BCOO or BCSR "
            f"without batch and dense dimensions, got {type(value).__name__}."
        )
    indices = np.asarray(entries.indices)
    inside = np.all(indices < np.array(entries.shape), axis=1)
    return (np.asarray(entries.data)[inside], tuple(indices[inside].T)), entries.shape


def features_of_entries(x: Any) -> np.ndarray:
    """For each stored entry the index of its column."""
    return np.repeat(np.arange(x.shape[1]), np.diff(x.indptr))


def with_values(x: Any, values: np.ndarray) -> Any:
    """The same matrix with other values of its stored entries."""
    from scipy.sparse import csc_array

    return csc_array((values, x.indices, x.indptr), shape=x.shape)


def unused_zeros(shape: tuple[int, int]) -> np.ndarray:
    """Zeros of which only the parts that are written take memory, page by page.

    Those of NumPy are given huge pages where they are large: one number takes 2 MB.
    """
    size = int(np.prod(shape))
    if size < ENTRIES:
        return np.zeros(shape)
    pages = mmap.mmap(-1, 8 * size, access=mmap.ACCESS_COPY)
    return np.frombuffer(pages, np.float64).reshape(shape)


def column_blocks(x: Any) -> Iterator[tuple[slice, Any]]:
    """The columns, a few at a time, as sparse arrays of 64-bit floats."""
    from scipy.sparse import csc_array

    marks = np.searchsorted(x.indptr, np.arange(ENTRIES, x.nnz, ENTRIES))
    cuts = np.unique(np.concatenate([[0], marks, [x.shape[1]]]))
    for first, last in itertools.pairwise(cuts.tolist()):
        start, stop = x.indptr[first], x.indptr[last]
        values = x.data[start:stop].astype(np.float64, copy=False)
        arrays = values, x.indices[start:stop], x.indptr[first : last + 1] - start
        yield (
            slice(first, last),
            csc_array(arrays, shape=(x.shape[0], last - first)),
        )


def row_blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a dense array, a few at a time, in double precision."""
    height = max(DENSE // x.shape[1], 1)
    for start in range(0, len(x), height):
        rows = slice(start, start + height)
        yield rows, x[rows].astype(np.float64, copy=False)


def column_products(x: Any, vectors: np.ndarray) -> np.ndarray:
    """Xᵀ·vectors of sparse columns, vectors (n,) or (n, number), in their precision."""
    if x.dtype == vectors.dtype:
        return x.T @ vectors
    # SciPy would make all entries double, at each product.
    return np.concatenate([part.T @ vectors for _, part in column_blocks(x)])


def some_columns(x: Any, ids: np.ndarray) -> Any:
    """Some sparse columns, in double precision."""
    return x[:, ids].astype(np.float64, copy=False)


def column_squares(x: Any) -> np.ndarray:
    """The sum of squares of each column, dense or sparse."""
    if not is_sparse(x):
        # Not BLAS: its threads stay awake, and keep JAX's waiting.
        return np.einsum("ij,ij->j", x, x)
    ones = np.ones(x.shape[0])
    parts = [with_values(part, part.data**2).T @ ones for _, part in column_blocks(x)]
    return np.concatenate(parts)


def column_means(x: Any, weights: np.ndarray) -> np.ndarray:
    """Σ weights · x_j for every column j, dense or sparse; weights add to 1."""
    if is_sparse(x):
        return column_products(x, weights)
    sums = (weights[rows] @ part for rows, part in row_blocks(x))
    return sum(sums, np.zeros(x.shape[1]))


def mean_squares(x: Any, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Σ weights · (x_j − mean_j)² for every column j, dense or sparse; weights add to 1."""
    if not is_sparse(x):
        squares = (weights[rows] @ (part - mean) ** 2 for rows, part in row_blocks(x))
        return sum(squares, np.zeros(x.shape[1]))
    ones, found = np.ones(x.shape[0]), np.empty(x.shape[1])
    for columns, part in column_blocks(x):
        at, centre = weights[part.indices], mean[columns]
        stored = with_values(part, at).T @ ones
        squares = at * (part.data - centre[features_of_entries(part)]) ** 2
        inside = with_values(part, squares).T @ ones
        found[columns] = inside + centre**2 * np.maximum(1 - stored, 0.0)
    return found


def largest_of(x: Any, columns: np.ndarray) -> np.ndarray:
    """The largest absolute value in some columns, dense or sparse."""
    if not is_sparse(x):
        largest = np.zeros(len(columns))
        for _, part in row_blocks(x):
            largest = np.maximum(largest, np.max(np.abs(part[:, columns]), axis=0))
        return largest
    largest = np.zeros(x.shape[1])
    for those, part in column_blocks(x):
        full = np.flatnonzero(np.diff(part.indptr))
        if full.size:  # Else `reduceat` has no segments; NaN is the largest.
            most = np.maximum.reduceat(np.abs(part.data), part.indptr[full])
            largest[those.start + full] = most
    return largest[columns]


def times_powers_of_two(x: Any, exponents: np.ndarray) -> Any:
    """x_j · 2^exponent_j for every column j, dense or sparse."""
    if not is_sparse(x):
        return np.ldexp(x, exponents)
    return with_values(x, np.ldexp(x.data, exponents[features_of_entries(x)]))


def without_columns(x: Any, excluded: np.ndarray) -> Any:
    """The features with zeros in some columns, dense or sparse."""
    if not is_sparse(x):
        return np.where(excluded, 0.0, x)
    return with_values(x, np.where(excluded[features_of_entries(x)], 0.0, x.data))


class Projected(NamedTuple):
    """Features as rows, projected and scaled as above: an array (features, samples).

    Attributes:
        columns: X, a `csc_array` (samples, features).
        q: Q, an array (samples, k).
        inside: A, an array (k, features).
    """

    columns: Any
    q: np.ndarray
    inside: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """How many features, and samples."""
        samples, features = self.columns.shape
        return features, samples

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Of all features with vectors (samples,) or (samples, vectors)."""
        found = column_products(self.columns, vectors)
        if self.q.shape[1]:
            found -= self.inside.T @ (self.q.T @ vectors)
        return found

    @property
    def squares(self) -> np.ndarray:
        """The sum of squares of each feature."""
        total = column_squares(self.columns) - np.sum(self.inside**2, axis=0)
        return np.maximum(total, 0.0)

    def part(self, ids: np.ndarray) -> "Projected":
        """Some of the features."""
        return Projected(some_columns(self.columns, ids), self.q, self.inside[:, ids])

    def combined(self, w: np.ndarray) -> np.ndarray:
        """The sums w @ features, for w of (features,) or (strengths, features)."""
        found = self.columns @ w.T
        if self.q.shape[1]:
            found -= self.q @ (self.inside @ w.T)
        return found.T

    def dense(self, ids: np.ndarray) -> np.ndarray:
        """Some features, an array (ids, samples)."""
        rows = some_columns(self.columns, ids).toarray().T
        return rows - self.inside[:, ids].T @ self.q.T

    def inner(self, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Products of some features with others, an array (ids, others)."""
        left, right = (some_columns(self.columns, each) for each in (ids, others))
        return inner_products(left, right) - self.inside[:, ids].T @ self.inside[:, others]


def inner_products(left: Any, right: Any) -> np.ndarray:
    """leftᵀ·right of sparse columns, an array."""
    is_sparser = right.nnz < SPARSE * np.prod(right.shape)
    numbers = ENTRIES // max(left.shape[1], 1) if is_sparser else DENSE // left.shape[0]
    width = max(numbers, 1)
    found = np.empty((left.shape[1], right.shape[1]))
    for start in range(0, right.shape[1], width):
        part = slice(start, start + width)
        some = right[:, part]
        product = left.T @ (some if is_sparser else some.toarray())
        found[:, part] = product.toarray() if is_sparser else product
    return found


def project_sparse(
    x: Any, root: np.ndarray | None, q: np.ndarray, standardize: bool
) -> tuple[Projected, np.ndarray, np.ndarray]:
    """Features without their parts in the span of q, these parts, and scales.

    Args:
        x: A `csc_array` (samples, features).
        root: Roots of the weights of the samples.
        q: Orthonormal columns, an array (samples, k).
        standardize: Whether to divide features by their root mean square.
    """
    if root is not None:
        values = root[x.indices]
        values *= x.data
        x = with_values(x, values)
    inside = column_products(x, q)
    raw, squares = _squares_beside(x, q, inside)
    stored = np.flatnonzero((squares <= CANCELS * raw) & (raw > 0))
    projected = inside.T
    if stored.size:
        projected = projected.copy()
        projected[:, stored] = 0.0
        x = _stored_projected(x, q, stored, raw, squares)
    scale = np.ones(0)
    if standardize:
        gone = np.sqrt(squares) <= ROUNDING * np.sqrt(raw)
        scale = np.where(gone, 1.0, np.sqrt(squares / x.shape[0]))
        x = with_values(x, x.data / np.repeat(scale, np.diff(x.indptr)))
        projected = projected / scale
    return Projected(x, q, projected), inside.T, scale


def _squares_beside(
    x: Any, q: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Σ x² of each column, and that of its projection x − q·inside."""
    raw = column_squares(x)
    if not q.shape[1]:
        return raw, raw
    # What the projection adds where x has no entry: all of it, but for its entries.
    squares = np.sum(inside**2, axis=1)
    for columns, part in column_blocks(x):
        features = features_of_entries(part)
        fitted = np.einsum("ek,ek->e", q[part.indices], inside[columns][features])
        outside = squares[columns] - column_squares(with_values(part, fitted))
        left = column_squares(with_values(part, part.data - fitted))
        squares[columns] = left + np.maximum(outside, 0.0)
    return raw, squares


def _stored_projected(
    x: Any, q: np.ndarray, stored: np.ndarray, raw: np.ndarray, squares: np.ndarray
) -> Any:
    """The matrix with some columns projected; their `squares` are computed anew."""
    from scipy.sparse import csc_array

    excluded = np.zeros(x.shape[1], bool)
    excluded[stored] = True
    found = without_columns(x, excluded)
    width = max(DENSE // x.shape[0], 1)
    for start in range(0, len(stored), width):
        ids = stored[start : start + width]
        columns = some_columns(x, ids).toarray()
        for _ in range(2):  # The second removes the rounding errors of the first.
            columns -= q @ (q.T @ columns)
        squares[ids] = column_squares(columns)
        columns *= np.sqrt(squares[ids]) > ROUNDING * np.sqrt(raw[ids])
        entry = np.nonzero(columns)
        found = found + csc_array((columns[entry], (entry[0], ids[entry[1]])), x.shape)
    return found
