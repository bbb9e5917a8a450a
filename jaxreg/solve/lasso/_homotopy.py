"""The lasso on a Gram matrix, strength after strength.

The solution at one strength is known once the set of active features and their signs are:
it is linear algebra then. So guess the set, solve, and exchange what is wrong: active
features of the wrong sign leave, others whose correlation with the residuals is too large
enter. From the solution at a neighbouring strength this takes two to five rounds, however
many features change (`GUESS`).

Where guesses do not settle (near the point where as many features are active as there are
samples, say), the path between the two strengths is walked instead (`WALK`), from each kink
to the next: it is piecewise linear, and one feature changes at each kink. At its end,
guesses mend what rounding has left (`FINISH`). A table that has lost its digits is made
anew, and moved to the active features of before (`MOVE`):

    MOVE → GUESS → settled, at the first try
    MOVE → GUESS → no progress, or a worn table → MOVE → WALK → ... → FINISH → settled
                                       a worn table → MOVE → WALK

References:
    Kim and Park, *Fast active-set-type algorithms for L1-regularized linear regression*
    (2010), for exchanges by blocks; Osborne, Presnell and Turlach, *A new approach to
    variable selection in least squares problems* (2000), for the walk.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg.solve.lasso._pivots import Basis, dependent, exchange, fresh, lengths, solve

ROUNDOFF = 1e-14
"""Correlations beyond their threshold by this share of the largest are within it."""
WORN = 1e-9
"""A table that leaves errors of this share in a solution is made anew."""
LEAST_RIDGE = 1e-7
"""By the squares of the features, that of a table."""
HIDDEN = 2e-16
"""A ridge of less than this, by the squares of the features, changes no Gram matrix."""
STEPS = 25
"""Conjugate gradients that a solution may take; while signs are moved to, none is asked."""
PATIENCE = 3
"""After so many rounds without progress the path is walked."""
ROUNDS = 8
"""So many rounds for each feature, and PATIENCE more, may be needed for one strength."""
MOVE, GUESS, WALK, FINISH = 0, 1, 2, 3
STAY, EXCHANGE, RENEW = 0, 1, 2


class Quadratic(NamedTuple):
    """½ wᵀ·gram·w − correlations·w + strength · Σ (l1·|w| + l2·w²); w ≥ 0 if `positive`."""

    gram: Array
    correlations: Array
    l1: Array
    l2: Array
    positive: Array


class Solution(NamedTuple):
    """Coefficients at a strength, and signs: not zero where a feature is active."""

    strength: Array
    w: Array
    signs: Array


class Followed(NamedTuple):
    """Solutions at each strength, and the basis at the end."""

    w: Array
    signs: Array
    basis: Basis


class _Stage(NamedTuple):
    """How far the way to one strength is.

    Attributes:
        mode: `MOVE` to given signs, `GUESS`, `WALK` or, after a walk, `FINISH`.
        goal: The signs to move to.
        share: How much of the way has been walked.
        w: The coefficients there.
        g: The correlations with the residuals there.
        last: The feature that has just left, or −1.
        fewest: The least number of wrong features so far.
        patience: How many rounds may pass without a lesser one.
        rounds: How many rounds there were.
        renewed: Whether the table has just been made anew.
        renewed_at: The share at which it last was, in this walk.
    """

    mode: Any
    goal: Any
    share: Any
    w: Any
    g: Any
    last: Any
    fewest: Any
    patience: Any
    rounds: Any
    renewed: Any
    renewed_at: Any


class _Proposal(NamedTuple):
    """What to do with the table, and whether the solution of the round is the right one."""

    action: Any
    scores: Any
    signs: Any
    stage: _Stage
    settled: Any


class _Way(NamedTuple):
    """From the solution at one strength towards the next."""

    good: Solution
    strength: Array
    step: Array
    ridge: Array
    shift: Array


def _begin(mode: Any, goal: Array) -> _Stage:
    zeros = jnp.zeros_like(goal)
    numbers = (-1, len(goal) + 1, PATIENCE, 0, False, -1.0)
    return _Stage(
        jnp.asarray(mode), goal, jnp.asarray(0.0), zeros, zeros, *map(jnp.asarray, numbers)
    )


@functools.partial(jax.jit, static_argnums=5)
def follow(
    problem: Quadratic,
    basis: Basis,
    before: Solution,
    strengths: Any,
    stop: Any,
    ridged: bool,
) -> Followed:
    """Solve for each strength in turn.

    Args:
        problem: The problem.
        basis: Any basis of it.
        before: The solution at a strength that is at least as large; at the start of a
            path all zeros, which is no solution if some features have `l2` only, but does
            to begin with.
        strengths: Falling.
        stop: How many of them to solve for; of the others nothing is to be read.
        ridged: Whether there is some `l2`. A basis of another ridge is no use then: a new
            one is begun, for the last strength.
    """
    basis = _begun(problem, strengths[-1]) if ridged else basis
    count, size = len(strengths), len(before.w)
    ends = jnp.concatenate([before.strength[None], strengths])
    found = tuple(
        jnp.concatenate([x[None], jnp.zeros((count, size), x.dtype)])
        for x in (before.w, before.signs)
    )

    def body(carry: Any) -> Any:
        basis, k, stage, found = carry
        way = _way(problem, Solution(ends[k], *(x[k] for x in found)), ends[k + 1])
        w, proposal = _round(problem, basis, stage, way)
        basis = jax.lax.switch(
            proposal.action,
            (
                lambda: basis,
                lambda: exchange(basis, proposal.scores, proposal.signs, problem.gram),
                lambda: _begun(problem, way.strength),
            ),
        )
        # Every loop ends: a strength that never settles keeps the solution before, whose
        # gap tells.
        exhausted = ~proposal.settled & (stage.rounds > ROUNDS * size + PATIENCE)
        settled = proposal.settled | exhausted
        found = tuple(
            x.at[k + 1].set(jnp.where(settled, jnp.where(exhausted, x[k], value), x[k + 1]))
            for x, value in zip(found, (w, basis.signs), strict=True)
        )
        # Where one walk was needed, the next strengths will need one.
        mode = jnp.where(stage.mode == FINISH, WALK, stage.mode)
        again = _walking(
            _begin(mode, stage.goal), problem, Solution(ends[k + 1], w, basis.signs)
        )
        stage = jax.tree.map(
            lambda new, old: jnp.where(settled, new, old),
            again,
            proposal.stage._replace(rounds=stage.rounds + 1),
        )
        return basis, k + settled.astype(k.dtype), stage, found

    first = basis, jnp.asarray(0), _begin(MOVE, before.signs), found
    basis, _, _, found = jax.lax.while_loop(lambda c: c[1] < stop, body, first)
    return Followed(found[0][1:], found[1][1:], basis)


def _begun(problem: Quadratic, strength: Any) -> Basis:
    """A basis without active features, for the ridge of a strength.

    What is too small a ridge for a table that keeps its digits is made larger: solutions
    are refined for the right one. One that rounding hides cannot be refined for, and tells
    no dependent features apart: it is left out.
    """
    squares, ridge = jnp.diagonal(problem.gram), 2 * strength * problem.l2
    raised = jnp.maximum(ridge, LEAST_RIDGE * squares)
    ridge = jnp.where(ridge > HIDDEN * squares, raised, 0.0)
    return fresh(problem.gram + jnp.diag(ridge))


def _way(problem: Quadratic, good: Solution, strength: Array) -> _Way:
    """With the ridge of the end, the start is the solution for shifted correlations."""
    step = strength - good.strength
    shift = 2 * step * problem.l2 * good.w
    return _Way(good, strength, step, 2 * strength * problem.l2, shift)


def _walking(stage: _Stage, problem: Quadratic, good: Solution) -> _Stage:
    """A walk from a solution on."""
    slope = problem.gram @ good.w + 2 * good.strength * problem.l2 * good.w
    return stage._replace(w=good.w, g=problem.correlations - slope)


def _round(
    problem: Quadratic, basis: Basis, stage: _Stage, way: _Way
) -> tuple[Array, _Proposal]:
    """One solution: the coefficients at the strength or, on a walk, their rates."""
    walking = stage.mode == WALK
    aim = jnp.where(walking, -way.shift, problem.correlations)
    rate = jnp.where(walking, way.step, way.strength)
    signed = problem.l1 * basis.signs
    steps = jnp.where(stage.mode == MOVE, 0, STEPS)
    w, slope = solve(problem.gram, way.ridge, basis, aim - rate * signed, steps)
    g = aim - slope
    units = lengths(jnp.diagonal(problem.gram))
    error = jnp.abs(g - rate * signed) / units
    scale = (jnp.abs(aim) + jnp.abs(rate) * problem.l1) / units
    most = [jnp.max(jnp.where(basis.active, x, 0.0)) for x in (error, scale)]
    worn = ~(most[0] <= WORN * most[1])
    proposal = jax.lax.switch(
        jnp.where(stage.mode == FINISH, GUESS, stage.mode),
        (
            lambda: _move(problem, basis, stage),
            lambda: _guess(problem, basis, stage, way, w, g, worn),
            lambda: _walk(problem, basis, stage, way, w, g, worn),
        ),
    )
    return w, proposal


def _move(problem: Quadratic, basis: Basis, stage: _Stage) -> _Proposal:
    """Exchange what differs from the goal, but for features that depend on others."""
    differ = (basis.active != (stage.goal != 0)) & ~dependent(basis, problem.gram)
    scores = jnp.where(differ, jnp.where(basis.active, 2.0, 1.0), 0.0)
    moving = jnp.any(differ)
    mode = jnp.where(moving, MOVE, jnp.where(stage.renewed, WALK, GUESS))
    action = jnp.where(moving, EXCHANGE, STAY)
    stage = stage._replace(mode=mode)
    return _Proposal(action, scores, stage.goal, stage, jnp.asarray(False))


def _guess(
    problem: Quadratic,
    basis: Basis,
    stage: _Stage,
    way: _Way,
    w: Array,
    g: Array,
    worn: Array,
) -> _Proposal:
    """Exchange every feature that the solution shows to be on the wrong side.

    After a walk that only mends what rounding has left, and ends where it does not help.
    """
    scores, stuck = _wrong(problem, basis, w, g, way.strength)
    number = jnp.sum(scores > 0)
    better = number < stage.fewest
    lost = worn | (~better & (stage.patience == 0)) | (stuck & (number == 0))
    walked = stage.mode == FINISH
    settled = jnp.where(lost, walked, number == 0)
    start = _walking(stage, problem, way.good)
    stage = start._replace(
        mode=jnp.where(lost, MOVE, stage.mode),
        goal=jnp.where(lost, way.good.signs, stage.goal),
        fewest=jnp.where(lost, len(w) + 1, jnp.minimum(number, stage.fewest)),
        patience=jnp.where(better, PATIENCE, stage.patience - 1),
        renewed=lost,
    )
    action = jnp.where(settled, STAY, jnp.where(lost, RENEW, EXCHANGE))
    return _Proposal(action, scores, jnp.sign(g), stage, settled)


def _walk(
    problem: Quadratic,
    basis: Basis,
    stage: _Stage,
    way: _Way,
    w_rate: Array,
    g_rate: Array,
    worn: Array,
) -> _Proposal:
    """Go to the next kink of the path between two solutions, and exchange its feature."""
    order = jnp.arange(len(w_rate))
    kinks = _kinks(problem, basis, stage, way, w_rate, g_rate)
    index = jnp.argmin(kinks)
    reached = stage.share + kinks[index]
    worn = worn & ~stage.renewed
    # A new table that has lost its digits again before any progress will not do better.
    endless = (stage.rounds > 4 * len(order)) | (worn & (stage.share <= stage.renewed_at))
    arrived, worn = (reached >= 1) | endless, worn & ~endless
    g = stage.g + kinks[index] * g_rate
    here = way.good.strength + reached * way.step
    active = basis.active & (order != index)
    walked = stage._replace(
        mode=jnp.where(arrived, FINISH, WALK),
        share=reached,
        w=jnp.where(active, stage.w + kinks[index] * w_rate, 0.0),
        g=jnp.where(basis.active, here * problem.l1 * basis.signs, g),
        last=jnp.where(basis.active[index], index, -1),
        renewed=jnp.zeros_like(worn),
    )
    anew = stage._replace(
        mode=jnp.asarray(MOVE), goal=basis.signs, renewed=worn, renewed_at=stage.share
    )
    scores = jnp.where((order == index) & ~arrived, 1.0, 0.0)
    action = jnp.where(worn, RENEW, jnp.where(arrived, STAY, EXCHANGE))
    stage = jax.tree.map(lambda a, b: jnp.where(worn, a, b), anew, walked)
    return _Proposal(action, scores, jnp.sign(g), stage, jnp.asarray(False))


def _wrong(
    problem: Quadratic, basis: Basis, w: Array, g: Array, strength: Array
) -> tuple[Array, Array]:
    """A positive score for each feature that a solution shows to be on the wrong side.

    And whether some that should enter cannot, as they depend on the active ones.
    """
    units = lengths(jnp.diagonal(problem.gram))
    slack = ROUNDOFF * units * jnp.max(jnp.abs(problem.correlations) / units)
    leaves = _bounded(problem, basis) & (basis.signs * w < 0)
    pull = jnp.where(problem.positive, g, jnp.abs(g)) - strength * problem.l1
    enters = ~basis.active & (pull > slack)
    cannot = enters & dependent(basis, problem.gram)
    entering = jnp.where(enters & ~cannot, pull / units, 0.0)
    return jnp.where(leaves, jnp.inf, entering), jnp.any(cannot)


def _bounded(problem: Quadratic, basis: Basis) -> Array:
    """Which active features keep their signs, or leave."""
    return basis.active & ((problem.l1 > 0) | problem.positive)


def _kinks(
    problem: Quadratic,
    basis: Basis,
    stage: _Stage,
    way: _Way,
    w_rate: Array,
    g_rate: Array,
) -> Array:
    """How far each feature can go along the path until it must enter or leave."""
    l1, signs = problem.l1, basis.signs
    leaves = _bounded(problem, basis) & (signs * w_rate < 0)
    leaving = jnp.maximum(signs * stage.w, 0) / jnp.abs(jnp.where(leaves, w_rate, 1.0))
    outside = ~basis.active & ~dependent(basis, problem.gram)
    left = jnp.arange(len(l1)) == stage.last
    here = way.good.strength + stage.share * way.step

    def entering(sign: float) -> Array:
        room = jnp.maximum(here * l1 - sign * stage.g, 0)
        closing = sign * g_rate - way.step * l1
        enters = (
            outside
            & ~(left & (sign * stage.g > 0))
            & (closing > 1e-9 * jnp.abs(way.step) * l1)
        )
        return jnp.where(enters, room / jnp.where(enters, closing, 1.0), jnp.inf)

    down = jnp.where(problem.positive, jnp.inf, entering(-1.0))
    leaving = jnp.where(leaves, leaving, jnp.inf)
    return jnp.where(basis.active, leaving, jnp.minimum(entering(1.0), down))
