"""Features as rows of mean 0 and mean square 1, dense or sparse, and a row of ones."""

from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.sparse import is_sparse


class Design(NamedTuple):
    """Features (x − mean) / divisor as rows, and perhaps ones for an intercept: (p, n).

    Attributes:
        columns: All rows, an array (p, n); or sparse features as they are, a `csc_array`
            (n, features).
        mean: Of sparse features, an array (features,).
        divisor: Likewise.
        shape: p and n.
    """

    columns: Any
    mean: np.ndarray
    divisor: np.ndarray
    shape: tuple[int, int]

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

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Some rows, an array (index, n)."""
        if not is_sparse(self.columns):
            return self.columns[index]
        features = len(self.mean)
        rows = np.ones((len(index), self.shape[1]))
        among = index < features
        ids = index[among]
        found = self.columns[:, ids].toarray().T - self.mean[ids, None]
        rows[among] = found / self.divisor[ids, None]
        return rows

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (..., n) with all rows, an array (..., p)."""
        if not is_sparse(self.columns):
            return vectors @ self.columns.T
        flat = vectors.reshape(-1, self.shape[1])
        sums = np.sum(flat, axis=1, keepdims=True)
        found = ((self.columns.T @ flat.T).T - sums * self.mean) / self.divisor
        if self.shape[0] > len(self.mean):
            found = np.concatenate([found, sums], axis=1)
        return found.reshape(*vectors.shape[:-1], -1)
