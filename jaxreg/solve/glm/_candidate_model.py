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
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import ROUNDING
from jaxreg._namespace import namespace
from jaxreg.losses import LinearLoss
from jaxreg.solve.glm._backend import Backend
from jaxreg.solve.glm._group_step import directions, lengths

# Violations relative to the error without features: smaller ones are rounding, and larger
# ones would leave errors in coefficients that one more Newton step takes away.
_LEAST, _MOST = 1e-12, 1e-6


class Data(NamedTuple):
    """The data of a model, shared by all folds.

    Attributes:
        columns: Features, an array (p, n); ones, if there is an intercept.
        loss: The loss of targets (n, k).
        offset: What is added to the linear predictors, an array (k, n).
        least: min ℓᵢ for each sample, an array (n,).
        group: For each coefficient, output after output, the index of the first one of its
            group; `None` if each is a group of its own.
    """

    columns: Array
    loss: LinearLoss
    offset: Array
    least: Array
    group: Array | None = None


class Candidates(NamedTuple):
    """The coefficients that a block optimises: unpenalised ones first, padding last.

    Attributes:
        column: For each of them its row in `Data.columns`; p for padding.
        output: And the output that it belongs to.
        group: The first candidate of its group, or `None`.
    """

    column: Array
    output: Array
    group: Array | None = None


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

    weights: Array
    test: Array
    l1: Array
    l2: Array
    null_loss: Array
    null_error: Array


class Point(NamedTuple):
    """Coefficients, with the value and the slopes of the loss.

    Attributes:
        w: An array (m,).
        eta: Linear predictors, an array (k, n).
        slopes: Weighted slopes d, an array (k, n).
        objective: Loss and penalty.
    """

    w: Array
    eta: Array
    slopes: Array
    objective: Array


class Model(NamedTuple):
    """A loss restricted to the candidates.

    Attributes:
        backend: What computes.
        data: Features, loss and offsets.
        rows: The features of the candidates, an array (m, n).
        output: The output of each candidate.
        group: The first candidate of its group, or `None`.
        unpenalised: How many candidates, the first ones, have no penalty.
    """

    backend: Backend
    data: Data
    rows: Array
    output: Array
    group: Array | None
    unpenalised: int

    def predictor(self, w: Array) -> Array:
        """The part of η that coefficients make, an array (k, n)."""
        outputs = len(self.data.offset)
        if outputs == 1:
            return (w @ self.rows)[None, :]
        xp = self.backend.xp
        chosen = xp.arange(outputs)[:, None] == self.output[None, :]
        return xp.where(chosen, w[None, :], 0.0) @ self.rows

    def gradient(self, slopes: Array) -> Array:
        """The gradient of the loss in the candidates, given weighted slopes (k, n)."""
        every = self.rows @ slopes.T
        xp = self.backend.xp
        return xp.take_along_axis(every, self.output[:, None], axis=1)[:, 0]

    def loss(self, weights: Array, eta: Array) -> Array:
        """The mean loss above the least possible one."""
        each = self.data.loss.sample_losses(eta.T) - self.data.least
        xp = self.backend.xp
        return xp.sum(xp.where(weights > 0, each, 0.0) * weights)

    def slopes(self, fold: Fold, eta: Array) -> Array:
        """Weighted slopes d, an array (k, n)."""
        return fold.weights[None, :] * self.data.loss.sample_slopes(eta.T).T

    def hessian(self, fold: Fold, eta: Array) -> Array:
        """The Hessian of the loss in the candidates, an array (m, m).

        With curvatures diag(a) − b·bᵀ of each sample, the entry of two candidates is
        Σᵢ sᵢ·xᵢ·xᵢ′·(a − b²) for one output, and −Σᵢ sᵢ·xᵢ·xᵢ′·b·b′ for two different ones.
        """
        xp = self.backend.xp
        diagonal, minus = self.data.loss.sample_curvatures(eta.T)
        weighted = fold.weights[None, :] * diagonal.T
        own = (self.rows * weighted[self.output]) @ self.rows.T
        if len(eta) > 1:
            same = self.output[:, None] == self.output[None, :]
            own = xp.where(same, own, 0.0)
        if minus is None:
            return own
        scaled = self.rows * minus.T[self.output]
        # A certain class makes entries differences of nearly equal numbers.
        rounding = xp.diag(ROUNDING * xp.diagonal(own))
        return own - (scaled * fold.weights[None, :]) @ scaled.T + rounding

    def at(self, fold: Fold, w: Array, l1: Array, l2: Array) -> Point:
        eta = self.predictor(w) + self.data.offset
        objective = self.loss(fold.weights, eta) + penalty_value(w, l1, l2, self.group)
        return Point(w, eta, self.slopes(fold, eta), objective)

    def dual(self, fold: Fold, point: Point) -> Array:
        """Weighted slopes near those of a point that are feasible in the dual problem.

        The gradient of unpenalised coefficients must be zero. One Newton step in these,
        linearised, removes what is left of it.
        """
        if not self.unpenalised:
            return point.slopes
        xp = self.backend.xp
        rows, output = self.rows[: self.unpenalised], self.output[: self.unpenalised]
        part = self._replace(rows=rows, output=output)
        h = part.hessian(fold, point.eta)
        h = h + xp.diag(1e-12 * xp.diagonal(h) + float(np.finfo(h.dtype).tiny))
        change = part.predictor(self.backend.solve(h, part.gradient(point.slopes)))
        diagonal, minus = self.data.loss.sample_curvatures(point.eta.T)
        curved = diagonal.T * change
        if minus is not None:
            curved = curved - minus.T * xp.sum(minus.T * change, axis=0)[None, :]
        return point.slopes - fold.weights[None, :] * curved

    def gap(self, fold: Fold, point: Point, dual: Array, l1: Array, l2: Array) -> Array:
        """The relative duality gap on the candidates."""
        gradient = self.gradient(dual)
        return self.certified(fold, point.objective, dual, gradient, l1, l2, self.group)

    def certified(
        self,
        fold: Fold,
        primal: Array,
        dual: Array,
        gradient: Array,
        l1: Array,
        l2: Array,
        group: Array | None,
    ) -> Array:
        """The relative duality gap, with the dual point scaled until it is feasible.

        Or until no gradient exceeds its l1, if that gives a smaller gap: where an l2 is
        tiny, its term of the bound makes much of rounding errors.
        """
        xp = self.backend.xp
        length = lengths(gradient, group)
        weights = xp.where(fold.weights > 0, fold.weights, 1.0)

        def gap(bound: Array) -> Array:
            ratios = xp.where(bound, length / xp.where(bound, l1, 1.0), 0.0)
            ratio = xp.max(ratios, initial=0.0)
            scale = 1 / xp.maximum(ratio, 1.0)
            slopes = scale * dual / weights[None, :]
            each = self.data.loss.sample_conjugates(slopes.T) + self.data.least
            each = each - xp.sum(slopes * self.data.offset, axis=0)
            # Once for each group: the squares of a direction add up to one.
            excess = xp.maximum(scale * length - l1, 0.0) * directions(gradient, group)
            excess = xp.where(bound, 0.0, excess)
            conjugate = xp.where(l2 > 0, excess**2 / (2 * xp.where(l2 > 0, l2, 1.0)), 0.0)
            total = xp.sum(xp.where(fold.weights > 0, each * weights, 0.0))
            gap = (primal + total + xp.sum(conjugate)) / fold.null_loss
            return xp.where(xp.isnan(gap), xp.inf, gap)

        bound = l1 > 0
        return self.backend.choose(
            xp.any(bound & (l2 > 0)),
            lambda: xp.minimum(gap(bound & (l2 == 0)), gap(bound)),
            lambda: gap(bound),
        )


def penalty_value(w: Array, l1: Array, l2: Array, group: Array | None) -> Array:
    """Σ_g l1_g · ‖w_g‖ + ½ Σ l2 · w², where coefficients with l1 = ∞ are zero."""
    xp = namespace(w)
    l1 = xp.where(xp.isinf(l1), 0.0, l1)
    return xp.sum(l1 * directions(w, group) * w) + xp.sum(l2 * w**2) / 2


def largest_violation(
    w: Array, gradient: Array, l1: Array, l2: Array, group: Array | None
) -> Array:
    """The largest violation of the optimality conditions, in units of the gradient.

    A group that is zero needs ‖gradient‖ ≤ l1, any other gradient + l2·w = −l1 · w/‖w‖.
    """
    xp = namespace(w)
    gradient = gradient + l2 * w
    off = xp.maximum(lengths(gradient, group) - l1, 0.0)
    on = abs(gradient + xp.where(xp.isinf(l1), 0.0, l1) * directions(w, group))
    return xp.max(xp.where(lengths(w, group) == 0, off, on), initial=0.0)


def allowed_violation(tol: Scalar, null_error: Any) -> Any:
    """The largest violation of the optimality conditions that a solution may have."""
    return namespace(null_error).clip(tol, _LEAST, _MOST) * null_error


def null_magnitudes(backend: Backend, data: Data, folds: Fold) -> tuple[Array, Array]:
    """The magnitude of the terms that make up the loss and the error, arrays (folds,).

    Each is the larger one of its value at η = offset and of its terms in y. Numbers that
    are many digits smaller are rounding errors.
    """
    xp = backend.xp
    none = data.columns[:0]
    model = Model(backend, data, none, xp.zeros(0, int), None, 0)

    def at(fold: Fold) -> tuple[Array, Array]:
        error = error_of(fold, model.slopes(fold, data.offset))
        square = xp.sum(data.loss.y**2 * fold.weights[:, None])
        least = xp.sum(abs(data.least) * fold.weights)
        loss = model.loss(fold.weights, data.offset)
        return xp.maximum(loss, least), xp.maximum(error, xp.sqrt(square))

    return backend.each(at, folds)


def error_of(fold: Fold, slopes: Array) -> Array:
    """√(Σ d²/s) of weighted slopes d and weights s."""
    xp = namespace(slopes)
    weights = xp.where(fold.weights > 0, fold.weights, 1.0)
    return xp.sqrt(xp.sum(slopes**2 / weights[None, :]))
