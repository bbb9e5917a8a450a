"""A loss and penalty on a few candidate coefficients: values, gradients, certificates.

The problem, in units that `_data.arrange` chooses, for one fold and one strength λ:

    min  F(w) = Σᵢ sᵢ · (ℓᵢ(ηᵢ) − min ℓᵢ)  +  Σ_g l1_g · ‖w_g‖ + ½ Σ l2 · w²

with η = offset + w @ rows, Σ sᵢ = 1 and convex ℓᵢ. With the weighted slopes
dᵢ = sᵢ · ∂ℓᵢ/∂η the gradient of the loss is rows @ d. Any d whose gradient g = rows @ d has
‖g_g‖ ≤ l1_g wherever l2 = 0 proves (Fenchel) that

    min F  ≥  −Σᵢ sᵢ · (ℓᵢ*(dᵢ/sᵢ) + min ℓᵢ)  +  Σᵢ dᵢ · offsetᵢ
              − Σ_g max(‖g_g‖ − l1_g, 0)² / (2 · l2)

The duality gap is F minus this bound.

Shapes: n samples, p features, k outputs (classes; otherwise 1), m candidates. Losses take
arrays (n, k), so that arrays (k, n) are transposed for them.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxreg.losses import LinearLoss
from jaxreg.solve.definite import solve_positive
from jaxreg.solve.glm._candidates import STORED, Candidates, HessianProducts
from jaxreg.solve.glm._design import Design
from jaxreg.solve.glm._groups import Groups, directions, lengths
from jaxreg.solve.sharded import ShardedDesign

# Violations relative to the error without features: smaller ones are rounding, and larger
# ones would leave errors in coefficients that one more Newton step takes away.
_LEAST, _MOST = 1e-12, 1e-6


class Data(NamedTuple):
    """The data of a model, shared by all folds.

    Attributes:
        design: The features, and ones for the intercept, as p rows.
        loss: The loss of targets (n, k).
        offset: What is added to the linear predictors, an array (k, n).
        least: min ℓᵢ for each sample, an array (n,).
        groups: Of all coefficients, output after output; `None` if each is one of its own.
    """

    design: Design | ShardedDesign
    loss: LinearLoss
    offset: np.ndarray
    least: np.ndarray
    groups: Groups | None = None

    def losses(self, eta: Any) -> np.ndarray:
        """The losses of linear predictors (k, n) above the least ones, an array (n,)."""
        return np.asarray(self.loss.sample_losses(eta.T)) - self.least

    def slopes(self, eta: Any) -> np.ndarray:
        """∂ℓ/∂η, an array (k, n)."""
        return np.asarray(self.loss.sample_slopes(eta.T)).T

    def curvatures(self, eta: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """∂²ℓ/∂η² = diag(a) − b·bᵀ: a and b, arrays (k, n); `None` for a b of zero."""
        diagonal, minus = self.loss.sample_curvatures(eta.T)
        return np.asarray(diagonal).T, None if minus is None else np.asarray(minus).T

    def conjugates(self, slopes: Any) -> np.ndarray:
        """(ℓ − min ℓ)* of slopes (k, n) and the part of the offset, an array (n,)."""
        each = np.asarray(self.loss.sample_conjugates(slopes.T)) + self.least
        return each - np.sum(slopes * self.offset, axis=0)


class Fold(NamedTuple):
    """One fold: weights of the samples, which sum to 1, and strengths at λ = 1.

    Attributes:
        weights: An array (n,).
        test: Likewise, for the score.
        l1: An array (k, p); infinite for a coefficient that must stay zero.
        l2: Likewise, of ½ Σ l2 · w².
        null_loss: The loss without penalised features; duality gaps are relative to it.
        null_error: √(Σ d²/s) there: no gradient in a feature of mean square 1 can be
            larger. Violations of the optimality conditions are relative to it.
    """

    weights: np.ndarray
    test: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    null_loss: float = 1.0
    null_error: float = 1.0


class Point(NamedTuple):
    """Coefficients, with the value and the slopes of the loss.

    Attributes:
        w: An array (m,).
        eta: Linear predictors, an array (k, n).
        slopes: Weighted slopes d, an array (k, n).
        objective: Loss and penalty.
    """

    w: np.ndarray
    eta: np.ndarray
    slopes: np.ndarray
    objective: float


class Model(NamedTuple):
    """A loss restricted to the candidates.

    Attributes:
        data: Features, loss and offsets.
        fold: The weights of the samples.
        candidates: Which these are, and their features.
        groups: The groups of the candidates, or `None`.
        unpenalised: How many candidates, the first ones, have no penalty.
    """

    data: Data
    fold: Fold
    candidates: Candidates
    groups: Groups | None
    unpenalised: int

    @classmethod
    def of(cls, data: Data, fold: Fold, index: np.ndarray, unpenalised: int) -> "Model":
        """The model of some coefficients, numbered output after output."""
        groups = None if data.groups is None else data.groups.part(index)
        candidates = Candidates.of(data.design, index, len(data.offset))
        return cls(data, fold, candidates, groups, unpenalised)

    def loss(self, weights: np.ndarray, eta: np.ndarray) -> float:
        """The mean loss above the least possible one."""
        return np.sum(np.where(weights > 0, self.data.losses(eta), 0.0) * weights)

    def hessian(self, eta: np.ndarray) -> np.ndarray | HessianProducts:
        """The Hessian of the loss in the candidates: stored, unless they are too many."""
        each, weights = self.candidates, self.fold.weights
        diagonal, minus = self.data.curvatures(eta)
        diagonal = weights * diagonal
        minus = None if minus is None else np.sqrt(weights) * minus
        if each.rows.is_sparse and self.groups is None and len(each.row) > STORED:
            return HessianProducts(each, diagonal, minus, np.zeros(len(each.row)))
        return each.hessian(diagonal, minus)

    def at(self, w: np.ndarray, l1: np.ndarray, l2: np.ndarray) -> Point:
        eta = self.candidates.predictor(w) + self.data.offset
        loss = self.loss(self.fold.weights, eta)
        slopes = self.fold.weights * self.data.slopes(eta)
        return Point(w, eta, slopes, loss + penalty_value(w, l1, l2, self.groups))

    def dual(self, point: Point) -> np.ndarray:
        """Weighted slopes near those of a point that are feasible in the dual problem.

        The gradient of unpenalised coefficients must be zero. One Newton step in these,
        linearised, removes what is left of it.
        """
        if not self.unpenalised:
            return point.slopes
        part = self.candidates.part(np.arange(self.unpenalised))
        diagonal, minus = self.data.curvatures(point.eta)
        roots = None if minus is None else np.sqrt(self.fold.weights) * minus
        h = part.hessian(self.fold.weights * diagonal, roots)
        h = h + np.diag(1e-12 * np.diagonal(h) + np.finfo(float).tiny)
        change = part.predictor(solve_positive(h, part.gradient(point.slopes)))
        curved = diagonal * change
        if minus is not None:
            curved = curved - minus * np.sum(minus * change, axis=0)
        return point.slopes - self.fold.weights * curved

    def gap(self, point: Point, dual: np.ndarray, l1: np.ndarray, l2: np.ndarray) -> float:
        """The relative duality gap on the candidates."""
        gradient = self.candidates.gradient(dual)
        return duality_gap(
            self.data, self.fold, point.objective, dual, gradient, l1, l2, self.groups
        )


def duality_gap(
    data: Data,
    fold: Fold,
    primal: float,
    dual: np.ndarray,
    gradient: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    groups: Groups | None,
) -> float:
    """The relative duality gap, with the dual point scaled until it is feasible.

    Or until no gradient exceeds its l1, if that gives a smaller gap: where an l2 is tiny,
    its term of the bound makes much of rounding errors.
    """
    length = lengths(gradient, groups)
    weights = np.where(fold.weights > 0, fold.weights, 1.0)

    def gap(bound: np.ndarray) -> float:
        ratio = np.max(length[bound] / l1[bound], initial=0.0)
        scale = 1 / np.maximum(ratio, 1.0)
        slopes = scale * dual / weights
        # Once for each group: the squares of a direction add up to one.
        excess = np.maximum(scale * length - l1, 0.0) * directions(gradient, groups)
        ridge = (l2 > 0) & ~bound
        conjugate = np.sum(excess[ridge] ** 2 / (2 * l2[ridge]))
        total = np.sum(np.where(fold.weights > 0, data.conjugates(slopes) * weights, 0.0))
        found = (primal + total + conjugate) / fold.null_loss
        return np.inf if np.isnan(found) else found

    bound = l1 > 0
    ridge = l2 > 0
    if np.any(bound & ridge):
        return min(gap(bound & ~ridge), gap(bound))
    return gap(bound)


def penalty_value(
    w: np.ndarray, l1: np.ndarray, l2: np.ndarray, groups: Groups | None
) -> float:
    """Σ_g l1_g · ‖w_g‖ + ½ Σ l2 · w², where coefficients with l1 = ∞ are zero."""
    l1 = np.where(np.isinf(l1), 0.0, l1)
    return float((l1 * directions(w, groups)) @ w + l2 @ w**2 / 2)


def largest_violation(
    w: np.ndarray,
    gradient: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    groups: Groups | None,
) -> float:
    """The largest violation of the optimality conditions, in units of the gradient.

    A group that is zero needs ‖gradient‖ ≤ l1, any other gradient + l2·w = −l1 · w/‖w‖.
    """
    gradient = gradient + l2 * w
    off = np.maximum(lengths(gradient, groups) - l1, 0.0)
    on = abs(gradient + np.where(np.isinf(l1), 0.0, l1) * directions(w, groups))
    return np.max(np.where(lengths(w, groups) == 0, off, on), initial=0.0)


def allowed_violation(tol: float, null_error: float) -> float:
    """The largest violation of the optimality conditions that a solution may have."""
    return min(max(tol, _LEAST), _MOST) * null_error


def null_magnitudes(data: Data, fold: Fold) -> tuple[float, float]:
    """The magnitude of the terms that make up the loss and the error.

    Each is the larger one of its value at η = offset and of its terms in y. Numbers that
    are many digits smaller are rounding errors.
    """
    nothing = np.zeros(0, int)
    model = Model.of(data, fold, nothing, 0)
    point = model.at(np.zeros(0), np.zeros(0), np.zeros(0))
    least = float(np.sum(abs(data.least) * fold.weights))
    square = float(np.sum(data.loss.y**2 * fold.weights[:, None]))
    error = error_of(fold, point.slopes)
    return max(point.objective, least), max(error, np.sqrt(square))


def error_of(fold: Fold, slopes: np.ndarray) -> float:
    """√(Σ d²/s) of weighted slopes d and weights s."""
    weights = np.where(fold.weights > 0, fold.weights, 1.0)
    return float(np.sqrt(np.sum(slopes**2 / weights)))
