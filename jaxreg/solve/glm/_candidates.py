"""Some coefficients of a model: products with their features, and their Hessian.

A Hessian of few coefficients is stored. One of many sparse features would neither fit into
memory nor be factorised in time: it is a product with the features and back, and its
equations are solved by conjugate gradients.

Shapes: n samples, k outputs (classes; otherwise 1), m candidates.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg.solve.glm._design import Design
from jaxreg.solve.sharded import ShardedDesign, ShardedRows

# The most sparse candidates whose Hessian is stored.
STORED = 1000
# How many steps conjugate gradients take at most.
_STEPS = 1000
# The smallest factor by which these reduce violations in one go.
_LEAST = 1e-4


class Candidates(NamedTuple):
    """Which coefficients are candidates, and their features.

    Attributes:
        rows: The features, each once.
        row: For each candidate its feature there, an array (m,).
        output: And the output that it belongs to.
        outputs: k.
    """

    rows: Design | ShardedRows
    row: np.ndarray
    output: np.ndarray
    outputs: int

    @classmethod
    def of(
        cls, design: Design | ShardedDesign, index: np.ndarray, outputs: int
    ) -> "Candidates":
        """Those of some coefficients, numbered output after output."""
        output, feature = np.divmod(index, design.shape[0])
        features, row = np.unique(feature, return_inverse=True)
        return cls(design.part(features), row, output, outputs)

    def part(self, index: np.ndarray) -> "Candidates":
        """Some of them."""
        features, row = np.unique(self.row[index], return_inverse=True)
        return Candidates(self.rows.part(features), row, self.output[index], self.outputs)

    def predictor(self, w: np.ndarray) -> np.ndarray:
        """The part of η that coefficients make, an array (k, n)."""
        kernel = np.zeros((self.outputs, self.rows.shape[0]))
        kernel[self.output, self.row] = w
        return self.rows.combined(kernel)

    def gradient(self, slopes: np.ndarray) -> np.ndarray:
        """The gradient of the loss, given weighted slopes (k, n)."""
        return self.rows.products(slopes)[self.output, self.row]

    def hessian(self, diagonal: np.ndarray, minus: np.ndarray | None) -> np.ndarray:
        """The Hessian for weighted curvatures diag(a) − b·bᵀ, an array (m, m).

        The entry of two candidates is Σᵢ xᵢ·xᵢ′·(a − b²) for one output, and
        −Σᵢ xᵢ·xᵢ′·b·b′ for two different ones.
        """
        if self.outputs == 1 and minus is None:
            return self.rows.gram(self.row, np.sqrt(diagonal), self.output)
        h = np.zeros((len(self.row), len(self.row)))
        for output, root in enumerate(np.sqrt(diagonal)):
            mine = np.flatnonzero(self.output == output)
            only = np.zeros(len(mine), int)
            h[np.ix_(mine, mine)] = self.rows.gram(self.row[mine], root[None], only)
        if minus is None:
            return h
        # A certain class makes entries differences of nearly equal numbers.
        rounding = np.diag(ROUNDING * np.diagonal(h))
        return h - self.rows.gram(self.row, minus, self.output) + rounding


class HessianProducts(NamedTuple):
    """A Hessian that is not stored, with l2 on its diagonal.

    Attributes:
        candidates: The coefficients.
        curvature: Weighted curvatures a, an array (k, n).
        minus: Likewise b; `None` for zero.
        l2: An array (m,).
    """

    candidates: Candidates
    curvature: np.ndarray
    minus: np.ndarray | None
    l2: np.ndarray

    def __matmul__(self, w: np.ndarray) -> np.ndarray:
        """The product with coefficients (m,)."""
        eta = self.candidates.predictor(w)
        slopes = self.curvature * eta
        if self.minus is not None:
            slopes -= self.minus * np.sum(self.minus * eta, axis=0)
        return self.candidates.gradient(slopes) + self.l2 * w

    def part(self, index: np.ndarray) -> "HessianProducts":
        """That of some of the candidates."""
        candidates = self.candidates.part(index)
        return HessianProducts(candidates, self.curvature, self.minus, self.l2[index])

    @property
    def _features(self) -> Design:
        """Sparse ones, as only their Hessians are not stored."""
        return cast(Design, self.candidates.rows)

    def _product(self) -> Callable[[np.ndarray], np.ndarray]:
        """The product with coefficients, for many of them; of one output in 32 bits."""
        if self.minus is not None or len(self.curvature) > 1:
            return self.__matmul__
        rows = self._features.weighted(np.sqrt(self.curvature[0]), np.float32)
        row, w = self.candidates.row, np.zeros((1, len(self.l2)), np.float32)

        def product(vector: np.ndarray) -> np.ndarray:
            w[0, row] = vector
            return rows.products(rows.combined(w))[0, row] + self.l2 * vector

        return product

    def solved(self, vector: np.ndarray, damping: float, tol: float) -> np.ndarray:
        """The solution of (H + damping · D)·z = vector, D near the diagonal of H.

        By conjugate gradients, until no equation is violated by more than `tol`, or by
        more than products in 32 bits are accurate to.
        """
        # These hold numbers of no size but that of 1.
        unit = np.max(np.abs(vector), initial=0.0) or 1.0
        vector, tol = vector / unit, max(tol / unit, _LEAST)
        each = self.candidates
        diagonal = self._features.squares(self.curvature)[each.output, each.row] + self.l2
        diagonal = np.where(diagonal > 0, diagonal, 1.0)
        product = self._product()
        z, r, direction, before = np.zeros_like(vector), vector, np.zeros(1), np.inf
        for _ in range(_STEPS):
            if not np.max(np.abs(r), initial=0.0) > tol:
                break
            scaled = r / diagonal
            now = r @ scaled
            direction = scaled + now / before * direction
            along = product(direction) + damping * diagonal * direction
            curvature = direction @ along
            if not curvature > 0:
                break
            z = z + now / curvature * direction
            r, before = r - now / curvature * along, now
        return unit * z
