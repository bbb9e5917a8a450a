"""A loss and penalty on a few candidate coefficients: values, gradients, certificates.

The problem, in units that `_glm_data.arrange` chooses, for one fold and one strength λ:

    min  F(w) = Σᵢ sᵢ · (A(ηᵢ) − yᵢ·ηᵢ)  +  Σ_g l1_g · ‖w_g‖ + ½ Σ l2 · w²

with η = offset + w @ rows, Σ sᵢ = 1 and a convex cumulant A. The gradient of the loss is
rows @ d with the weighted residuals dᵢ = sᵢ · (A′(ηᵢ) − yᵢ).

Shapes: n samples, p features, k outputs (classes; otherwise 1), m candidates.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg.solve.glm._group_step import directions, lengths
from jaxreg.solve.glm.families import Family

# Violations relative to the error without features: smaller ones are rounding, and larger
# ones would leave errors in coefficients that one more Newton step takes away.
_LEAST, _MOST = 1e-12, 1e-6


class Data(NamedTuple):
    """What a model is fitted to; folds differ in their weights and penalties only.

    Attributes:
        columns: Features, an array (p, n); ones, if there is an intercept.
        y: An array (k, n).
        offset: What is added to the linear predictors, an array (k, n).
        saturated: For each sample the least that its loss could be, with its sign changed.
        group: For each coefficient, output after output, the index of the first one of its
            group; `None` if each is a group of its own.
    """

    columns: Array
    y: Array
    offset: Array
    saturated: Array
    group: Array | None = None


class Candidates(NamedTuple):
    """The coefficients that a block may change: unpenalised ones first, padding last.

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
    """Coefficients, and what the loss says there.

    Attributes:
        w: An array (m,).
        eta: Linear predictors, an array (k, n).
        residual: Weighted means − y, an array (k, n).
        objective: Loss and penalty.
    """

    w: Array
    eta: Array
    residual: Array
    objective: Array


class Model(NamedTuple):
    """A loss restricted to the candidates.

    Attributes:
        family: The distribution of y.
        data: Features, y and offsets.
        rows: The features of the candidates, an array (m, n).
        output: The output of each candidate.
        group: The first candidate of its group, or `None`.
        unpenalised: How many candidates, the first ones, have no penalty.
    """

    family: Family
    data: Data
    rows: Array
    output: Array
    group: Array | None
    unpenalised: int

    def predictor(self, w: Array) -> Array:
        """The part of η that coefficients make, an array (k, n)."""
        outputs = len(self.data.y)
        if outputs == 1:
            return (w @ self.rows)[None, :]
        chosen = jnp.arange(outputs)[:, None] == self.output[None, :]
        return jnp.where(chosen, w[None, :], 0.0) @ self.rows

    def slope(self, residual: Array) -> Array:
        """The gradient in the candidates, given residuals (k, n)."""
        every = self.rows @ residual.T
        return jnp.take_along_axis(every, self.output[:, None], axis=1)[:, 0]

    def loss(self, weights: Array, eta: Array) -> Array:
        """The mean loss above the least possible one."""
        each = self.family.cumulant(eta) - jnp.sum(self.data.y * eta, axis=0)
        return jnp.sum(jnp.where(weights > 0, each + self.data.saturated, 0.0) * weights)

    def curvature(self, fold: Fold, eta: Array) -> Array:
        """The Hessian of the loss in the candidates, an array (m, m)."""
        return self.family.curvature(eta, fold.weights, self.rows, self.output)

    def residual(self, fold: Fold, eta: Array) -> Array:
        """Weighted means − y, an array (k, n)."""
        return fold.weights[None, :] * (self.family.mean(eta) - self.data.y)

    def at(self, fold: Fold, w: Array, l1: Array, l2: Array) -> Point:
        eta = self.predictor(w) + self.data.offset
        residual = self.residual(fold, eta)
        objective = self.loss(fold.weights, eta) + penalty_value(w, l1, l2, self.group)
        return Point(w, eta, residual, objective)

    def dual(self, fold: Fold, point: Point) -> Array:
        """Residuals near those of a point that are feasible in the dual problem.

        Only residuals on which unpenalised coefficients have no gradient are. What they
        have is taken away by one Newton step in them, linearised.
        """
        if not self.unpenalised:
            return point.residual
        rows, output = self.rows[: self.unpenalised], self.output[: self.unpenalised]
        h = self.family.curvature(point.eta, fold.weights, rows, output)
        h = h + jnp.diag(1e-12 * jnp.diagonal(h) + float(jnp.finfo(h.dtype).tiny))
        part = self._replace(rows=rows, output=output)
        u = jnp.linalg.solve(h, part.slope(point.residual))
        change = jax.jvp(self.family.mean, (point.eta,), (part.predictor(u),))[1]
        return point.residual - fold.weights[None, :] * change

    def gap(self, fold: Fold, point: Point, dual: Array, l1: Array, l2: Array) -> Array:
        """The relative duality gap on the candidates."""
        slope = self.slope(dual)
        return self.certified(fold, point.objective, dual, slope, l1, l2, self.group)

    def certified(
        self,
        fold: Fold,
        primal: Array,
        dual: Array,
        slope: Array,
        l1: Array,
        l2: Array,
        group: Array | None,
    ) -> Array:
        """The relative duality gap, with the dual point scaled until it is feasible."""
        bound = (l1 > 0) & (l2 == 0)
        length = lengths(slope, group)
        ratio = jnp.max(jnp.where(bound, length / jnp.where(bound, l1, 1.0), 0.0))
        scale = 1 / jnp.maximum(ratio, 1.0)
        weights = jnp.where(fold.weights > 0, fold.weights, 1.0)
        change = scale * dual / weights[None, :]
        each = self.family.conjugate(change + self.data.y)
        each = each - jnp.sum(change * self.data.offset, axis=0) - self.data.saturated
        excess = jnp.maximum(scale * length - l1, 0.0)
        conjugate = jnp.where(l2 > 0, excess**2 / (2 * jnp.where(l2 > 0, l2, 1.0)), 0.0)
        total = jnp.sum(jnp.where(fold.weights > 0, each * weights, 0.0))
        gap = (primal + total + jnp.sum(conjugate)) / fold.null_loss
        return jnp.where(jnp.isnan(gap), jnp.inf, gap)


def penalty_value(w: Array, l1: Array, l2: Array, group: Array | None) -> Array:
    """Σ_g l1_g · ‖w_g‖ + ½ Σ l2 · w², where infinite strengths of zeros count nothing."""
    l1 = jnp.where(jnp.isinf(l1), 0.0, l1)
    return jnp.sum(l1 * directions(w, group) * w) + jnp.sum(l2 * w**2) / 2


def largest_violation(
    w: Array, slope: Array, l1: Array, l2: Array, group: Array | None
) -> Array:
    """How far the optimality conditions are from holding, in units of the gradient.

    A group that is zero needs ‖slope‖ ≤ l1, any other slope + l2·w = −l1 · w/‖w‖.
    """
    slope = slope + l2 * w
    off = jnp.maximum(lengths(slope, group) - l1, 0.0)
    on = jnp.abs(slope + jnp.where(jnp.isinf(l1), 0.0, l1) * directions(w, group))
    return jnp.max(jnp.where(lengths(w, group) == 0, off, on))


def allowed_violation(tol: Scalar, null_error: Array) -> Array:
    """The largest violation of the optimality conditions that a solution may have."""
    return jnp.clip(tol, _LEAST, _MOST) * null_error


@functools.partial(jax.jit, static_argnames="family")
def null_magnitudes(family: Family, data: Data, folds: Fold) -> tuple[Array, Array]:
    """How large numbers in the loss and in the error are, arrays (folds,).

    The larger one of what they are at η = offset, and of what their terms in y are: what
    is many digits smaller is rounding.
    """
    none = jnp.zeros((0, data.columns.shape[1]))
    model = Model(family, data, none, jnp.zeros(0, int), None, 0)

    @jax.vmap
    def at(fold: Fold) -> tuple[Array, Array]:
        error = error_of(fold, model.residual(fold, data.offset))
        square = jnp.sum(data.y**2 * fold.weights[None, :])
        least = jnp.sum(jnp.abs(data.saturated) * fold.weights)
        loss = model.loss(fold.weights, data.offset)
        return jnp.maximum(loss, least), jnp.maximum(error, jnp.sqrt(square))

    return at(folds)


def error_of(fold: Fold, residual: Array) -> Array:
    """√(Σ d²/s) of weighted residuals d and weights s."""
    weights = jnp.where(fold.weights > 0, fold.weights, 1.0)
    return jnp.sqrt(jnp.sum(residual**2 / weights[None, :]))
