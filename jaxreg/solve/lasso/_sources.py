"""The mean products that a path needs: from the samples, or from their moments.

Moments (the Gram matrix) are faster where they fit into memory, samples keep more digits
where coefficients cancel. All have the same methods.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg.solve.gaps import Factors, Residuals, relative_gaps
from jaxreg.solve.sparse import Projected
from jaxreg.solve.standardize import on_host

CAPACITIES = 256, 512, 896, 1152, 1536, 2048
"""Numbers of features to compile programs for: few, but none much too large."""
FEWEST = 64
"""How many features, or vectors, an accelerator takes at least, and then powers of two, so
that few programs are compiled."""


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """The data: features as rows, an array (features, samples), and the target.

    Where JAX has an accelerator the features may be one of its arrays. Then it makes the
    products with them.
    """

    xt: Any
    y: np.ndarray

    @property
    def capacities(self) -> tuple[int, ...]:
        """How many features programs are compiled for."""
        return CAPACITIES

    @functools.cached_property
    def correlations(self) -> np.ndarray:
        """Mean products of features and target."""
        return np.asarray(self.xt @ self.y / len(self.y))

    @property
    def square(self) -> float:
        """The mean square of the target."""
        return float(self.y @ self.y / len(self.y))

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Some features, an array (ids, samples)."""
        if isinstance(self.xt, np.ndarray):
            return self.xt[ids]
        return np.asarray(_taken(self.xt, _padded(ids)))[: len(ids)]

    def inner(self, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Mean products of features with others, an array (ids, others)."""
        return self.rows(ids) @ self.rows(others).T / len(self.y)

    def residuals(self, ids: np.ndarray, w: np.ndarray) -> Residuals:
        """Products with the residuals of coefficients (strengths, ids)."""
        residuals, samples = self.y - w @ self.rows(ids), len(self.y)
        squares = np.sum(residuals**2, axis=1) / samples
        with_target = residuals @ self.y / samples
        return Residuals(self._products(residuals / samples), squares, with_target)

    def _products(self, vectors: np.ndarray) -> np.ndarray:
        """With all features, an array (features, vectors)."""
        if isinstance(self.xt, np.ndarray):
            return self.xt @ vectors.T
        index = _padded(np.arange(len(vectors)))
        return np.asarray(self.xt @ vectors[index].T)[:, : len(vectors)]


def _padded(ids: np.ndarray) -> np.ndarray:
    """Indices, and copies of the last one up to one of few numbers."""
    size = max(FEWEST, 2 ** int(np.ceil(np.log2(max(len(ids), 1)))))
    return np.pad(ids, (0, size - len(ids)), mode="edge" if len(ids) else "constant")


@jax.jit
def _taken(xt: Any, ids: Any) -> Any:
    return xt[ids]


@dataclasses.dataclass(frozen=True, eq=False)
class SparseSamples:
    """Sparse features as rows, and the target: SciPy makes the products."""

    xt: Projected
    y: np.ndarray

    @property
    def capacities(self) -> tuple[int, ...]:
        """As for `Samples`."""
        return CAPACITIES

    @functools.cached_property
    def correlations(self) -> np.ndarray:
        """As for `Samples`."""
        return self.xt.products(self.y) / len(self.y)

    @property
    def square(self) -> float:
        """As for `Samples`."""
        return float(self.y @ self.y / len(self.y))

    def inner(self, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
        """As for `Samples`."""
        return self.xt.inner(ids, others) / len(self.y)

    def residuals(self, ids: np.ndarray, w: np.ndarray) -> Residuals:
        """As for `Samples`."""
        residuals, samples = self.y - self.xt.part(ids).combined(w), len(self.y)
        squares = np.sum(residuals**2, axis=1) / samples
        with_target = residuals @ self.y / samples
        return Residuals(self.xt.products(residuals.T / samples), squares, with_target)


class Moments(NamedTuple):
    """Mean products of features, of features and target, and of the target."""

    gram: np.ndarray
    correlations: np.ndarray
    square: float

    @property
    def capacities(self) -> tuple[int, ...]:
        """As for `Samples`: one for sparse solutions, and one for all features."""
        every = -(-len(self.correlations) // 256) * 256
        return every * 3 // 8, every

    def inner(self, ids: np.ndarray, others: np.ndarray) -> np.ndarray:
        """As for `Samples`."""
        return self.gram[np.ix_(ids, others)]

    def residuals(self, ids: np.ndarray, w: np.ndarray) -> Residuals:
        """As for `Samples`."""
        image, explained = w @ self.gram[ids], w @ self.correlations[ids]
        squares = self.square - 2 * explained + np.sum(w * image[:, ids], axis=1)
        correlations = self.correlations - image
        return Residuals(correlations.T, squares, self.square - explained)


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
    active = np.flatnonzero(np.any(w != 0, axis=0))
    residuals = source.residuals(active, w[:, active])
    return relative_gaps(residuals, source.square, factors.penalty(w), strengths, factors)


@jax.jit
def _square(rows: Any) -> Any:
    return rows @ rows.T
