"""Features as rows of mean 0 and mean square 1, and a row of ones.

They are dense, sparse, or on several devices.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.sharded import ShardedFeatures, ShardedRows
from jaxreg.solve.sparse import is_sparse


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some features, for products.

    Attributes:
        array: The features, an array (features, n).
    """

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def combined(self, kernel: np.ndarray) -> np.ndarray:
        """The sums kernel @ features, an array (k, n), for a kernel (k, features)."""
        return kernel @ self.array

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (k, n) with all features, an array (k, features)."""
        return vectors @ self.array.T

    def gram(self, row: np.ndarray, factors: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Products of features that are scaled in each sample.

        Args:
            row: For each of m coefficients the index of its feature.
            factors: What samples are scaled by, an array (k, n).
            output: For each coefficient the index of its factors.

        Returns:
            An array (m, m).
        """
        scaled = self.array[row] * factors[output]
        return scaled @ scaled.T


class Design(NamedTuple):
    """Features (x − mean) / divisor as rows, and perhaps ones for an intercept: (p, n).

    Attributes:
        columns: All rows, an array (p, n); or sparse features as they are, a `csc_array`
            (n, features), or `ShardedFeatures`.
        mean: Of features as they are, an array (features,).
        divisor: Likewise.
        shape: p and n.
    """

    columns: Any
    mean: np.ndarray
    divisor: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, x: Any, mean: np.ndarray, divisor: np.ndarray, intercept: bool) -> "Design":
        """The rows of features (n, features)."""
        samples, features = x.shape
        shape = features + intercept, samples
        if is_sparse(x) or isinstance(x, ShardedFeatures):
            return cls(x, mean, divisor, shape)
        columns = np.ones(shape)
        np.subtract(x.T, mean[:, None], out=columns[:features])
        columns[:features] /= divisor[:, None]
        return cls(columns, mean, divisor, shape)

    def rows(self, index: np.ndarray) -> Rows | ShardedRows:
        """Some rows."""
        if isinstance(self.columns, ShardedFeatures):
            return self.columns.rows(index, self.mean, self.divisor)
        if not is_sparse(self.columns):
            return Rows(self.columns[index])
        features = len(self.mean)
        rows = np.ones((len(index), self.shape[1]))
        among = index < features
        ids = index[among]
        found = self.columns[:, ids].toarray().T - self.mean[ids, None]
        rows[among] = found / self.divisor[ids, None]
        return Rows(rows)

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (..., n) with all rows, an array (..., p)."""
        if isinstance(self.columns, np.ndarray):
            return vectors @ self.columns.T
        flat = vectors.reshape(-1, self.shape[1])
        if isinstance(self.columns, ShardedFeatures):
            blocks = self.columns.blocks(self.shape[0], self.mean, self.divisor)
            found = np.concatenate([part.products(flat) for part in blocks], axis=1)
            return found.reshape(*vectors.shape[:-1], -1)
        sums = np.sum(flat, axis=1, keepdims=True)
        found = ((self.columns.T @ flat.T).T - sums * self.mean) / self.divisor
        if self.shape[0] > len(self.mean):
            found = np.concatenate([found, sums], axis=1)
        return found.reshape(*vectors.shape[:-1], -1)
