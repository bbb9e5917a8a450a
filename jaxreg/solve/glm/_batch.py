"""Many models of one output on the same features: their losses and gradients at once.

A *problem* is one target on one fold. Products with the features are the cost of a Newton
step, and a product of matrices is many times faster than as many products with vectors. So
all problems are evaluated together, for a few samples at a time that stay in the cache.

Samples are sorted by the folds that they belong to. Then a block of samples belongs to the
same folds, and the Hessian of a fold is the sum of those of its blocks: one pass over the
samples makes the Hessians of all folds, near the coefficients of one of them.

Shapes: n samples, p features (with the row of ones), T targets, F folds with all data last,
B problems. The problem and its certificate are those of `_candidate_model`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.glm._candidate_model import Data, Fold

BLOCK = 2**10
"""How many samples are evaluated at a time."""
PATTERNS = 4
"""With more sets of samples than this times the folds, blocks would be too small."""


class Block(NamedTuple):
    """Samples that belong to the same folds.

    Attributes:
        samples: Which ones, after sorting.
        pattern: The number of this set of folds.
        train: For each fold whether it trains on them, bools (F,).
        test: For each fold whether it is scored on them, bools (F,).
    """

    samples: slice
    pattern: int
    train: np.ndarray
    test: np.ndarray


class Shared(NamedTuple):
    """What all targets share; the samples are sorted, and none has weight 0.

    Attributes:
        order: The indices of the samples as they were given.
        rows: The features, an array (p, n).
        coarse: The same in float32, for Hessians, which need few digits.
        weights: Of the samples, in all data; they sum to 1, an array (n,).
        factors: By what a fold multiplies those of its samples, an array (F,).
        test: Weights for the score, an array (F, n).
        l1: Strengths at λ = 1, an array (F, p).
        l2: Likewise, of ½ Σ l2 · w².
        blocks: The samples in blocks.
    """

    order: np.ndarray
    rows: np.ndarray
    coarse: np.ndarray
    weights: np.ndarray
    factors: np.ndarray
    test: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    blocks: list[Block]

    @classmethod
    def of(cls, rows: np.ndarray, folds: Sequence[Fold]) -> "Shared | None":
        """The shared part; `None` if the folds cut the samples into too many sets."""
        train = np.stack([fold.weights for fold in folds])
        test = np.stack([fold.test for fold in folds])
        member = np.concatenate([train > 0, test > 0])
        patterns, which = np.unique(member, axis=1, return_inverse=True)
        which = which.ravel()
        if patterns.shape[1] > PATTERNS * len(folds):
            return None
        order = np.argsort(which, kind="stable")
        order = order[train[-1, order] > 0]
        blocks = []
        for number, pattern in enumerate(patterns.T):
            found = np.flatnonzero(which[order] == number)
            for start in range(0, len(found), BLOCK):
                first = found[start]
                last = min(first + BLOCK, found[-1] + 1)
                blocks.append(Block(slice(first, last), number, *np.split(pattern, 2)))
        l1, l2 = (np.stack([getattr(f, name)[0] for f in folds]) for name in ("l1", "l2"))
        rows, weights = rows[:, order], train[-1, order]
        factors = np.max(train[:, order] / weights, axis=1)
        coarse, test = rows.astype(np.float32), test[:, order]
        return cls(order, rows, coarse, weights, factors, test, l1, l2, blocks)


class Values(NamedTuple):
    """The losses of problems.

    Attributes:
        loss: Their means over the samples, an array (B,).
        gradient: An array (B, p).
        curvature: Mean second derivatives with respect to η, an array (B,).
    """

    loss: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray

    @classmethod
    def zeros(cls, problems: int, features: int) -> "Values":
        shapes = problems, (problems, features), problems
        return cls(*(np.zeros(shape) for shape in shapes))

    def at(self, which: np.ndarray) -> "Values":
        return Values(*(part[which] for part in self))

    def put(self, which: np.ndarray, others: "Values") -> None:
        for part, other in zip(self, others, strict=True):
            part[which] = other


class Problems(NamedTuple):
    """Some targets on all folds, problem after problem: target · F + fold.

    Attributes:
        shared: The features and the folds.
        loss: A `LinearLoss`, whose targets are replaced.
        y: Targets, an array (T, n).
        offset: Known parts of the linear predictors, an array (T, n).
        level: The same where it is one number for all samples of a target, (T, 1).
    """

    shared: Shared
    loss: Any
    y: np.ndarray
    offset: np.ndarray | None
    level: np.ndarray

    @classmethod
    def of(cls, shared: Shared, each: Sequence[Data]) -> "Problems":
        """The problems of targets whose data were arranged alike."""
        y = np.stack([data.loss.y[shared.order, 0] for data in each])
        offset = np.stack([data.offset[0, shared.order] for data in each])
        level = offset[:, :1]
        known = None if np.all(offset == level) else offset
        return cls(shared, each[0].loss, y, known, level)

    @property
    def folds(self) -> int:
        """How many folds, with all data."""
        return len(self.shared.factors)

    @property
    def number(self) -> int:
        """How many problems."""
        return len(self.y) * self.folds

    @property
    def patterns(self) -> int:
        """How many sets of samples belong to the same folds."""
        return self.shared.blocks[-1].pattern + 1

    def evaluate(self, w: np.ndarray, which: np.ndarray) -> Values:
        """Losses and gradients of some problems at coefficients (B, p)."""
        rows, found = self.shared.rows, Values.zeros(len(which), w.shape[1])
        for block, at in self._blocks(which):
            weights = self.shared.weights[block.samples]
            eta, loss = self._predictor(w[at], which[at], block)
            flat = eta.ravel()
            found.loss[at] += loss.sample_losses(flat).reshape(eta.shape) @ weights
            bends = loss.sample_curvatures(flat)[0].reshape(eta.shape)
            found.curvature[at] += bends @ weights
            slopes = loss.sample_slopes(flat).reshape(eta.shape)
            slopes *= weights
            found.gradient[at] += slopes @ rows[:, block.samples].T
        factors = self.shared.factors[which % self.folds]
        for part in found:
            part *= factors.reshape(-1, *[1] * (part.ndim - 1))
        return found

    def errors(self, w: np.ndarray) -> np.ndarray:
        """Root mean squares of the slopes of all problems, an array (B,)."""
        which, found = np.arange(self.number), np.zeros(self.number)
        for block, at in self._blocks(which):
            eta, loss = self._predictor(w[at], which[at], block)
            slopes = loss.sample_slopes(eta.ravel()).reshape(eta.shape)
            found[at] += slopes**2 @ self.shared.weights[block.samples]
        return np.sqrt(found * np.tile(self.shared.factors, len(self.y)))

    def dual(
        self, w: np.ndarray, which: np.ndarray, shift: np.ndarray, scale: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The dual problems at slopes d = scale · (∂ℓ/∂η − shift · ∂²ℓ/∂η²).

        Args:
            w: Coefficients, an array (B, p).
            which: The numbers of the problems.
            shift: What makes the slopes add up to zero, an array (B,).
            scale: What makes them feasible, an array (B,).

        Returns:
            The gradients, an array (B, p), and the mean conjugates at d with the part of
            the offset, an array (B,).
        """
        rows = self.shared.rows
        gradient, total = np.zeros_like(w), np.zeros(len(which))
        for block, at in self._blocks(which):
            weights = self.shared.weights[block.samples]
            eta, loss = self._predictor(w[at], which[at], block)
            bends = loss.sample_curvatures(eta.ravel())[0].reshape(eta.shape)
            slopes = loss.sample_slopes(eta.ravel()).reshape(eta.shape)
            slopes = scale[at, None] * (slopes - shift[at, None] * bends)
            each = loss.sample_conjugates(slopes.ravel()).reshape(eta.shape)
            each -= slopes * self._offset(which[at], block)
            total[at] += each @ weights
            slopes *= weights
            gradient[at] += slopes @ rows[:, block.samples].T
        factors = self.shared.factors[which % self.folds]
        return gradient * factors[:, None], total * factors

    def hessians(self, w: np.ndarray, target: int) -> np.ndarray:
        """The Hessians of all folds of a target at coefficients (p,), (F, p, p)."""
        rows, weights = self.shared.coarse, self.shared.weights
        coarse = w.astype(np.float32)
        parts = np.zeros((self.patterns, len(w), len(w)), np.float32)
        trains = np.zeros((self.folds, self.patterns))
        for block in self.shared.blocks:
            part = rows[:, block.samples]
            eta = (coarse @ part).astype(float)
            eta += self._offset(np.array([target * self.folds]), block)[0]
            loss = self.loss.with_targets(self.y[target, block.samples])
            bends = loss.sample_curvatures(eta)[0] * weights[block.samples]
            scaled = part * np.sqrt(bends).astype(np.float32)
            parts[block.pattern] += scaled @ scaled.T
            trains[:, block.pattern] = block.train * self.shared.factors
        return np.tensordot(trains, parts.astype(float), axes=1)

    def scores(self, w: np.ndarray) -> np.ndarray:
        """The mean losses of all problems on the samples for the score, an array (B,)."""
        which, found = np.arange(self.number), np.zeros(self.number)
        for block in self.shared.blocks:
            at = np.flatnonzero(block.test[which % self.folds])
            if at.size:
                eta, loss = self._predictor(w[at], at, block)
                each = loss.sample_losses(eta.ravel()).reshape(eta.shape)
                weights = self.shared.test[at % self.folds, block.samples]
                found[at] += np.einsum("ij,ij->i", weights, each)
        return found

    def _blocks(self, which: np.ndarray) -> Iterator[tuple[Block, np.ndarray]]:
        """Blocks of samples, and which of these problems train on them."""
        fold = which % self.folds
        for block in self.shared.blocks:
            at = np.flatnonzero(block.train[fold])
            if at.size:
                yield block, at

    def _predictor(
        self, w: np.ndarray, which: np.ndarray, block: Block
    ) -> tuple[np.ndarray, Any]:
        """Linear predictors (B, samples), and the loss of these samples, flattened."""
        eta = w @ self.shared.rows[:, block.samples]
        eta += self._offset(which, block)
        y = self.y[which // self.folds, block.samples]
        return eta, self.loss.with_targets(y.ravel())

    def _offset(self, which: np.ndarray, block: Block) -> np.ndarray:
        """The offsets of problems, an array (B, samples) or (B, 1)."""
        target = which // self.folds
        known = self.offset
        return self.level[target] if known is None else known[target, block.samples]
