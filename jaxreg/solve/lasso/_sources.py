"""The mean products that a path needs: from the samples, or from their moments.

Moments (the Gram matrix) are faster where they fit into memory, samples keep more digits
where coefficients cancel. Both have the same methods, sparse samples similar ones.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg.solve.gaps import Factors, Residuals, relative_gaps
from jaxreg.solve.sparse import Projected
from jaxreg.solve.standardize import on_host


class Samples(NamedTuple):
    """The data: features as rows, an array (features, samples), and the target."""

    xt: Any
    y: Any

    @property
    def capacities(self) -> tuple[int, ...]:
        """Numbers of slots to compile programs for: few, but none much too large."""
        return 256, 512, 896, 1152, 1536, 2048

    @property
    def width(self) -> int:
        """The length of the row of a feature, see `rows`."""
        return len(self.y)

    @property
    def correlations(self) -> Any:
        """Mean products of features and target."""
        return self.xt @ self.y / len(self.y)

    @property
    def square(self) -> Any:
        """The mean square of the target."""
        return self.y @ self.y / len(self.y)

    def rows(self, ids: Any) -> Any:
        """What the products below need of these features, an array (ids, width)."""
        return self.xt[ids]

    def inner(self, rows: Any, ids: Any) -> Any:
        """Mean products of the features of `rows` with others, an array (rows, ids)."""
        return rows @ self.xt[ids].T / len(self.y)

    def with_target(self, ids: Any) -> Any:
        """Mean products of features and target."""
        return self.xt[ids] @ self.y / len(self.y)

    def residuals(self, w: Any, ids: Any, rows: Any) -> Residuals:
        """Products with the residuals of coefficients (strengths, ids)."""
        del ids
        residuals, samples = self.y[None] - w @ rows, len(self.y)
        squares = (residuals**2).sum(axis=1) / samples
        with_target = residuals @ self.y / samples
        return Residuals(self.xt @ (residuals / samples).T, squares, with_target)


class SparseSamples(NamedTuple):
    """Sparse features as rows, and the target.

    SciPy makes the products, which compiled programs are given instead of the source.
    """

    xt: Projected
    y: np.ndarray

    @property
    def capacities(self) -> tuple[int, ...]:
        """As for `Samples`."""
        return 256, 512, 896, 1152, 1536, 2048

    @property
    def width(self) -> int:
        """Nothing is kept of the features in slots but their products."""
        return 0

    @property
    def correlations(self) -> np.ndarray:
        """As for `Samples`."""
        return self.xt.products(self.y) / len(self.y)

    @property
    def square(self) -> float:
        """As for `Samples`."""
        return float(self.y @ self.y / len(self.y))

    def inner(self, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Mean products of features with others, an array (ids, others)."""
        return self.xt.inner(ids, others) / len(self.y)

    def with_target(self, ids: np.ndarray) -> np.ndarray:
        """As for `Samples`."""
        return self.xt.part(ids).products(self.y) / len(self.y)

    def residuals(self, ids: np.ndarray, w: np.ndarray) -> Residuals:
        """Products with the residuals of coefficients (strengths, ids)."""
        residuals, samples = self.y - self.xt.part(ids).combined(w), len(self.y)
        squares = np.sum(residuals**2, axis=1) / samples
        with_target = residuals @ self.y / samples
        return Residuals(self.xt.products(residuals.T / samples), squares, with_target)


class Moments(NamedTuple):
    """Mean products of features, of features and target, and of the target."""

    gram: Any
    correlations: Any
    square: Any

    @property
    def capacities(self) -> tuple[int, ...]:
        """As for `Samples`: one for sparse solutions, and one for all features."""
        every = -(-len(self.correlations) // 256) * 256
        return every * 3 // 8, every

    @property
    def width(self) -> int:
        """As for `Samples`."""
        return len(self.gram)

    def rows(self, ids: Any) -> Any:
        """As for `Samples`."""
        return self.gram[ids]

    def inner(self, rows: Any, ids: Any) -> Any:
        """As for `Samples`."""
        return rows[:, ids]

    def with_target(self, ids: Any) -> Any:
        """As for `Samples`."""
        return self.correlations[ids]

    def residuals(self, w: Any, ids: Any, rows: Any) -> Residuals:
        """As for `Samples`."""
        # For ids beyond the end JAX reads the last feature; their w are zero.
        image, explained = rows.T @ w.T, w @ self.with_target(ids)
        squares = self.square - 2 * explained + (w * image[ids].T).sum(axis=1)
        correlations = self.correlations[:, None] - image
        return Residuals(correlations, squares, self.square - explained)


def moments(given: Samples | SparseSamples) -> Moments:
    """The moments of samples."""
    if isinstance(given, SparseSamples):
        every = np.arange(given.xt.shape[0])
        return Moments(given.inner(every, every), given.correlations, given.square)
    xt = given.xt
    gram = np.asarray(xt @ xt.T if on_host(xt.size) else _square(xt)) / len(given.y)
    return Moments(gram, np.asarray(given.correlations), float(given.square))


def gaps_of(
    source: Samples | SparseSamples | Moments,
    w: np.ndarray,
    strengths: np.ndarray,
    factors: Factors,
) -> np.ndarray:
    """The duality gaps of coefficients (strengths, features), see `relative_gaps`."""
    every = slice(None)
    if isinstance(source, SparseSamples):
        active = np.flatnonzero(np.any(w != 0, axis=0))
        residuals = source.residuals(active, w[:, active])
    else:
        residuals = source.residuals(w, every, source.rows(every))
    # A tiny l2 may make its term of the dual infinite; then 0 is the better bound.
    with np.errstate(over="ignore"):
        return relative_gaps(
            residuals, source.square, factors.penalty(w), strengths, factors, np
        )


@jax.jit
def _square(rows: Any) -> Any:
    return rows @ rows.T
