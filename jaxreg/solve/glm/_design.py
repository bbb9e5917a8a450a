"""Features as rows of mean 0 and mean square 1, dense or sparse, and a row of ones."""

from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.sparse import (
    column_products,
    features_of_entries,
    inner_products,
    is_sparse,
    some_columns,
    with_values,
)


class Design(NamedTuple):
    """Features (x − mean) / divisor as rows, and perhaps ones for an intercept: (p, n).

    Attributes:
        columns: All rows, an array (p, n); or sparse features as they are, a `csc_array`
            (n, features).
        mean: Of sparse features, an array (features,).
        divisor: Likewise.
        shape: p and n.
        ones: What the row of an intercept is, and means are multiples of: a number or, of
            samples that are weighted, an array (n,).
    """

    columns: Any
    mean: np.ndarray
    divisor: np.ndarray
    shape: tuple[int, int]
    ones: Any = 1.0

    @classmethod
    def of(cls, x: Any, mean: np.ndarray, divisor: np.ndarray, intercept: bool) -> "Design":
        """The rows of features (n, features), dense or sparse."""
        samples, features = x.shape
        shape = features + intercept, samples
        if is_sparse(x):
            return cls(x, mean, divisor, shape)
        columns = np.ones(shape)
        np.subtract(x.T, mean[:, None], out=columns[:features])
        columns[:features] /= divisor[:, None]
        return cls(columns, mean, divisor, shape)

    @property
    def is_sparse(self) -> bool:
        """Whether the features are sparse."""
        return is_sparse(self.columns)

    def part(self, index: np.ndarray) -> "Design":
        """Some rows, of rising indices."""
        shape = len(index), self.shape[1]
        if not is_sparse(self.columns):
            return Design(self.columns[index], self.mean, self.divisor, shape)
        ids = index[index < len(self.mean)]
        columns = some_columns(self.columns, ids)
        return Design(columns, self.mean[ids], self.divisor[ids], shape)

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (..., n) with all rows, an array (..., p)."""
        if not is_sparse(self.columns):
            return vectors @ self.columns.T
        flat = vectors.reshape(-1, self.shape[1])
        found = column_products(self.columns, flat.T).T / self.divisor
        if self.is_shifted:
            sums = np.sum(flat * self.ones, axis=1, keepdims=True)
            found -= sums * (self.mean / self.divisor)
            found = np.concatenate([found, sums[:, : self.shape[0] - len(self.mean)]], 1)
        return found.reshape(*vectors.shape[:-1], -1)

    @property
    def is_shifted(self) -> bool:
        """Whether sparse rows are others than multiples of the columns."""
        return self.shape[0] > len(self.mean) or bool(np.any(self.mean))

    def combined(self, w: np.ndarray) -> np.ndarray:
        """The sums w @ rows, for w of (k, p)."""
        if not is_sparse(self.columns):
            return w @ self.columns
        scaled = w[:, : len(self.mean)] / self.divisor
        found = (self.columns @ scaled.T).T
        if self.is_shifted:
            rest = np.sum(w[:, len(self.mean) :], axis=1) - scaled @ self.mean
            found += rest[:, None] * self.ones
        return found

    def weighted(self, root: np.ndarray, dtype: Any) -> "Design":
        """Sparse rows times a number for each sample, an array (n,), in another dtype."""
        # Divided first, so that 32 bits hold them.
        values = self.columns.data / self.divisor[features_of_entries(self.columns)]
        values *= root[self.columns.indices]
        columns = with_values(self.columns, values.astype(dtype))
        mean, ones = (
            np.asarray(each, dtype) for each in (self.mean / self.divisor, self.ones * root)
        )
        return Design(columns, mean, np.ones_like(mean), self.shape, ones)

    def squares(self, weights: np.ndarray) -> np.ndarray:
        """Σ weights · row² for weights (k, n), an array (k, p)."""
        if not is_sparse(self.columns):
            return weights @ self.columns.T**2
        total = np.sum(weights, axis=1, keepdims=True)
        raw = with_values(self.columns, self.columns.data**2).T @ weights.T
        crossed = (self.columns.T @ weights.T).T * self.mean
        found = (raw.T - 2 * crossed + total * self.mean**2) / self.divisor**2
        if self.shape[0] > len(self.mean):
            found = np.concatenate([found, total], axis=1)
        return found

    def gram(self, index: np.ndarray, roots: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Products of some rows, each times one of several roots of weights.

        Args:
            index: Which rows, an array (m,).
            roots: An array (k, n).
            which: For each row the root that it is multiplied by, an array (m,).

        Returns:
            An array (m, m).
        """
        if not is_sparse(self.columns):
            scaled = self.columns[index] * roots[which]
            return scaled @ scaled.T
        # With the columns s = root · x: (s − root·mean)ᵀ(s′ − root′·mean′).
        among = index < len(self.mean)
        ids, which_among = index[among], which[among]
        every = np.array_equal(ids, np.arange(len(self.mean)))
        part = self.columns if every else self.columns[:, ids]
        if len(roots) == 1:
            values = roots[0][part.indices]
        else:
            owner = np.repeat(which_among, np.diff(part.indptr))
            values = roots[owner, part.indices]
        values *= part.data
        part = with_values(part, values)
        raw = inner_products(part, part)
        mean, divisor = np.zeros(len(index)), np.ones(len(index))
        mean[among], divisor[among] = self.mean[ids], self.divisor[ids]
        if self.is_shifted:
            raw = _spread(raw, among)
            between = roots @ roots.T
            with_roots = between[which]
            with_roots[among] = part.T @ roots.T
            crossed = with_roots[:, which]
            raw[:, ~among], raw[~among] = crossed[:, ~among], crossed[:, ~among].T
            crossed *= mean
            raw -= crossed
            raw -= crossed.T
            raw += np.outer(mean, mean) * between[np.ix_(which, which)]
        raw /= divisor
        raw /= divisor[:, None]
        return raw


def _spread(matrix: np.ndarray, among: np.ndarray) -> np.ndarray:
    """A square matrix as the part of a larger one whose rows and columns are chosen."""
    if among.all():
        return matrix
    found = np.empty((len(among), len(among)))
    found[np.ix_(among, among)] = matrix
    return found
