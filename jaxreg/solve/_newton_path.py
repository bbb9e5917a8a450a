"""Proximal Newton along falling strengths, on the candidate features of a block."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg.solve._families import Family
from jaxreg.solve._newton_groups import group_step, lengths, shares
from jaxreg.solve._newton_steps import lasso_step

_STEPS = 100
# A step that leaves more of the gap than this asks for a new curvature.
_SLOW = 0.01


class Data(NamedTuple):
    """What a model is fitted to; folds differ in their weights and penalties only.

    Attributes:
        columns: Features, an array (features, samples); ones, if there is an intercept.
        y: An array (outputs, samples).
        offset: What is added to the linear predictors, of the same shape.
        saturated: For each sample the least that its loss could be, with its sign changed.
        group: For each coefficient, output after output, the first one of its group; `None`
            if each is a group of its own.
    """

    columns: Array
    y: Array
    offset: Array
    saturated: Array
    group: Array | None = None


class Candidates(NamedTuple):
    """The coefficients that a block may move: the free ones first, padding last.

    Attributes:
        column: For each of them its row in `Data.columns`; too large for padding.
        output: And the output that it belongs to.
        group: The first candidate of its group, or `None`.
    """

    column: Array
    output: Array
    group: Array | None = None


class Fold(NamedTuple):
    """One fold: weights of the samples, which sum to 1, and strengths at λ = 1.

    Attributes:
        weights: An array (samples,).
        test: Likewise, for the score.
        l1: An array (outputs, features).
        l2: Likewise, of ½ Σ l2 · w².
        scale: By what the duality gap is divided.
    """

    weights: Array
    test: Array
    l1: Array
    l2: Array
    scale: Array


class Block(NamedTuple):
    """What a block of strengths found, each with an axis for the strengths in front.

    Attributes:
        w: Coefficients of the candidates.
        slope: The gradient of the loss, an array (outputs, features).
        loss: The mean loss above the least possible.
        score: The same on the samples for the score.
        gap: Relative duality gap over all features.
        residual: Largest violation of the optimality conditions over all features.
        steps: Number of Newton steps.
    """

    w: Array
    slope: Array
    loss: Array
    score: Array
    gap: Array
    residual: Array
    steps: Array


class _Point(NamedTuple):
    """Coefficients, and what the loss says there."""

    w: Array
    eta: Array
    difference: Array
    objective: Array


class _State(NamedTuple):
    steps: Array
    stuck: Array
    fresh: Array
    point: _Point
    dual: Array
    curvature: Array
    gap: Array


@functools.partial(jax.jit, static_argnames=("family", "free", "together"))
def solve_block(
    family: Family,
    data: Data,
    candidates: Candidates,
    folds: Fold,
    strengths: Array,
    w: Array,
    tol: Array,
    *,
    free: int,
    together: bool,
) -> Block:
    """Solve a block of strengths on every fold, and certify it over all features.

    Args:
        family: The distribution of y.
        data: Features, y and offsets.
        candidates: Which coefficients may move.
        folds: A `Fold` with an axis in front.
        strengths: Falling.
        w: Where each fold starts, an array (folds, candidates).
        tol: The relative duality gap to reach.
        free: How many candidates have no strength.
        together: Whether folds are solved side by side (best on accelerators) or one
            after the other.

    Returns:
        A `Block` with an axis for the folds in front.
    """
    rows = jnp.take(data.columns, candidates.column, axis=0, mode="fill", fill_value=0.0)
    model = _Model(family, data, rows, candidates.output, candidates.group, free)

    def one(fold: Fold, w: Array) -> tuple[Array, ...]:
        return _path(model, candidates, fold, strengths, w, tol)

    size = len(w) if together else 1
    w, loss, score, duals, count = jax.lax.map(
        lambda args: one(*args), (folds, w), batch_size=size
    )
    slopes = jnp.einsum("fson,jn->fsoj", duals, data.columns)

    @jax.vmap
    def certified(fold: Fold, *rest: Array) -> Any:
        @jax.vmap
        def at(strength: Array, w: Array, loss: Array, dual: Array, slope: Array) -> Any:
            l1, l2 = strength * fold.l1, strength * fold.l2
            full = (
                jnp.zeros_like(l1)
                .at[candidates.output, candidates.column]
                .add(w, mode="drop")
            )
            full, slope, l1, l2 = map(jnp.ravel, (full, slope, l1, l2))
            primal = loss + _value(full, l1, l2, data.group)
            gap = model.certified(fold, primal, dual, slope, l1, l2, data.group)
            return gap, _violation(full, slope, l1, l2, data.group)

        return at(strengths, *rest)

    gap, residual = certified(folds, w, loss, duals, slopes)
    return Block(w, slopes, loss, score, gap, residual, count)


class _Model(NamedTuple):
    """A loss restricted to the candidates."""

    family: Family
    data: Data
    rows: Array
    output: Array
    group: Array | None
    free: int

    def predictor(self, w: Array) -> Array:
        outputs = len(self.data.y)
        if outputs == 1:
            return (w @ self.rows)[None, :]
        chosen = jnp.arange(outputs)[:, None] == self.output[None, :]
        return jnp.where(chosen, w, 0.0) @ self.rows

    def slope(self, residual: Array) -> Array:
        every = self.rows @ residual.T
        return jnp.take_along_axis(every, self.output[:, None], axis=1)[:, 0]

    def loss(self, weights: Array, eta: Array) -> Array:
        each = self.family.cumulant(eta) - jnp.sum(self.data.y * eta, axis=0)
        return jnp.sum(jnp.where(weights > 0, each + self.data.saturated, 0.0) * weights)

    def curvature(self, fold: Fold, eta: Array) -> Array:
        return self.family.curvature(eta, fold.weights, self.rows, self.output)

    def dual(self, fold: Fold, point: _Point) -> Array:
        """Weighted means − y, with those parts projected out that move free coefficients.

        Only such differences are points of the dual problem.
        """
        if not self.free:
            return point.difference
        rows, output = self.rows[: self.free], self.output[: self.free]
        h = self.family.curvature(point.eta, fold.weights, rows, output)
        h = h + jnp.diag(1e-12 * jnp.diagonal(h) + jnp.finfo(h.dtype).tiny)
        part = self._replace(rows=rows, output=output)
        u = jnp.linalg.solve(h, part.slope(point.difference))
        change = jax.jvp(self.family.mean, (point.eta,), (part.predictor(u),))[1]
        return point.difference - fold.weights * change

    def gap(self, fold: Fold, point: _Point, dual: Array, l1: Array, l2: Array) -> Array:
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
        change = scale * dual / weights
        each = self.family.conjugate(change + self.data.y)
        each = each - jnp.sum(change * self.data.offset, axis=0) - self.data.saturated
        excess = jnp.maximum(scale * length - l1, 0.0)
        conjugate = jnp.where(l2 > 0, excess**2 / (2 * jnp.where(l2 > 0, l2, 1.0)), 0.0)
        total = jnp.sum(jnp.where(fold.weights > 0, each * weights, 0.0))
        gap = (primal + total + jnp.sum(conjugate)) / fold.scale
        return jnp.where(jnp.isnan(gap), jnp.inf, gap)


def _chosen(candidates: Candidates, *tables: Array) -> list[Array]:
    where = (candidates.output, candidates.column)
    return [table.at[where].get(mode="fill", fill_value=1.0) for table in tables]


def _value(w: Array, l1: Array, l2: Array, group: Array | None) -> Array:
    return jnp.sum(l1 * shares(w, group) * w) + jnp.sum(l2 * w**2) / 2


def _violation(w: Array, slope: Array, l1: Array, l2: Array, group: Array | None) -> Array:
    """By how much the largest violation misses the optimality conditions."""
    slope = slope + l2 * w
    off = jnp.maximum(lengths(slope, group) - l1, 0.0)
    on = jnp.abs(slope + l1 * shares(w, group))
    return jnp.max(jnp.where(lengths(w, group) == 0, off, on))


def _path(
    model: _Model,
    candidates: Candidates,
    fold: Fold,
    strengths: Array,
    w: Array,
    tol: Array,
) -> tuple[Array, ...]:
    l1, l2 = _chosen(candidates, fold.l1, fold.l2)

    def run(carry: tuple[Array, ...], strength: Array) -> Any:
        w, dual, curvature, before, gap = carry
        # Blocks are filled up by repeating their last strength.
        gap = jnp.where(strength == before, gap, jnp.inf)
        known = w, dual, curvature, gap
        state = _newton(model, fold, strength * l1, strength * l2, known, tol)
        point = state.point
        loss = point.objective - _value(point.w, strength * l1, strength * l2, model.group)
        score = model.loss(fold.test, point.eta)
        carry = point.w, state.dual, state.curvature, strength, state.gap
        return carry, (point.w, loss, score, state.dual, state.steps)

    eta = model.predictor(w) + model.data.offset
    curvature = model.curvature(fold, eta)
    start = w, eta, curvature, jnp.full([], jnp.nan), jnp.full([], jnp.inf)
    return jax.lax.scan(run, start, strengths)[1]


def _newton(
    model: _Model,
    fold: Fold,
    l1: Array,
    l2: Array,
    known: tuple[Array, Array, Array, Array],
    tol: Array,
) -> _State:
    """Newton steps until the duality gap is small.

    The curvature is kept, from one strength to the next, until a step gains too little:
    it costs as much as a hundred slopes.
    """
    step = lasso_step
    if model.group is not None:
        step = functools.partial(group_step, group=model.group)

    def at(w: Array) -> _Point:
        eta = model.predictor(w) + model.data.offset
        difference = fold.weights * (model.family.mean(eta) - model.data.y)
        objective = model.loss(fold.weights, eta) + _value(w, l1, l2, model.group)
        return _Point(w, eta, difference, objective)

    def advance(state: _State) -> _State:
        here = state.point
        slope = model.slope(here.difference)
        violation = _violation(here.w, slope, l1, l2, model.group)
        tolerance = jnp.maximum(1e-3 * violation, 1e-12 * jnp.max(jnp.abs(slope)))
        z = step(state.curvature, slope, here.w, l1, l2, tolerance)
        rise = _value(z, l1, l2, model.group) - _value(here.w, l1, l2, model.group)
        expected = slope @ (z - here.w) + rise
        rounding = 1e-14 * (jnp.abs(here.objective) + fold.scale)

        def too_long(tried: tuple[Array, _Point]) -> Array:
            length, point = tried
            enough = here.objective + 1e-4 * length * expected + rounding
            return ~(point.objective <= enough) & (length > 1e-6)

        def shorter(tried: tuple[Array, _Point]) -> tuple[Array, _Point]:
            length = tried[0] / 2
            return length, at(jnp.where(length == 1, z, here.w + length * (z - here.w)))

        above = here._replace(objective=jnp.full([], jnp.inf))
        length, there = jax.lax.while_loop(too_long, shorter, (jnp.full([], 2.0), above))
        dual = model.dual(fold, there)
        gap = model.gap(fold, there, dual, l1, l2)
        slow = (gap > _SLOW * state.gap) | (length < 1)
        fell = there.objective < here.objective - rounding
        stuck = state.fresh & ~fell & (gap >= state.gap)
        curvature = jax.lax.cond(
            slow & (gap > tol),
            lambda: model.curvature(fold, there.eta),
            lambda: state.curvature,
        )
        return _State(state.steps + 1, stuck, slow, there, dual, curvature, gap)

    def goes_on(state: _State) -> Array:
        return (state.gap > tol) & ~state.stuck & (state.steps < _STEPS)

    no = jnp.zeros([], bool)
    w, dual, curvature, gap = known
    start = _State(jnp.zeros([], int), no, no, at(w), dual, curvature, gap)
    return jax.lax.while_loop(goes_on, advance, start)
