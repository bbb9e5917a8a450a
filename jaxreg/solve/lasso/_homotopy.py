"""The lasso on a Gram matrix at one strength: guesses and homotopy steps, by rounds.

The minimum of ½ wᵀ·gram·w − c·w + strength · Σ (l1·|w| + l2·w²) has active features A with
signs s. With ridge = 2·strength·l2 and the correlations with the residuals
g = c − (gram + diag(ridge))·w, it is where

    g_j = strength·l1_j·s_j  and  s_j·w_j ≥ 0    for j in A, and w_j = 0 elsewhere     (1)
    |g_j| ≤ strength·l1_j                        elsewhere                             (2)

Given A and s, the equations (1) are linear. So a *guess* (Kim and Park) solves them, and
exchanges every feature that violates a condition: active ones of the wrong sign leave,
others beyond their threshold enter. From the solution at a neighbouring strength this takes
two to five rounds, however many features change.

Where guesses do not settle (with about as many active features as samples, say), the
*homotopy* (Osborne, Presnell and Turlach) follows the solution from the previous strength,
at t = 0, to this one, at t = 1. With strength(t) = start + t·step and the ridge of the end,
the previous solution solves the problem for c + shift, shift = 2·step·l2·w; so follow
c + (1 − t)·shift. Then w and g are piecewise linear in t, with

    (gram + diag(ridge))_AA · dw_A/dt = −shift_A − step·l1_A·s_A                       (3)
    dg/dt = −shift − (gram + diag(ridge)) · dw/dt

and one feature is exchanged at each breakpoint, where a condition is about to be violated.

Each round solves (1) or (3), and then acts by its mode:

    MOVE → GUESS → settled, at the first attempt
    MOVE → GUESS → no progress, or inaccurate → MOVE → STEP → ... → FINISH → settled
                                          inaccurate → MOVE → STEP

A swept matrix that has lost precision is computed anew, without active features, and then
moved to those that there were. Invariants: `signs` is zero exactly where a feature is not
active; in mode STEP, `w` and `g` of the state are the solution at its `fraction` t; and
every strength ends after a bounded number of rounds.

References:
    Kim and Park, *Fast active-set-type algorithms for L1-regularized linear regression*
    (2010); Osborne, Presnell and Turlach, *A new approach to variable selection in least
    squares problems* (2000).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg.solve.lasso._swept import ActiveSet, dependent, norms, solve

FEASIBLE = 1e-14
"""How far correlations may exceed their threshold, relative to the largest correlation."""
INACCURATE = 1e-9
"""Relative error of a solution beyond which the swept matrix is computed anew."""
PARALLEL = 1e-9
"""Correlations that approach their threshold more slowly than this fraction of the
threshold's own speed do not reach it."""
CG_STEPS = 25
"""Largest number of refinement steps for a solution; 0 in mode MOVE, which discards it."""
PATIENCE = 3
"""How many rounds without progress lead from guesses to the homotopy."""

MOVE, GUESS, STEP, FINISH = range(4)
"""Modes: make given features active; guess; take homotopy steps; then guess once more, to
remove the rounding errors of the steps."""
KEEP, EXCHANGE, RESTART = range(3)
"""What happens to the active set after a round."""


class Quadratic(NamedTuple):
    """½ wᵀ·gram·w − correlations·w + strength · Σ (l1·|w| + l2·w²); w ≥ 0 if `positive`.

    The rounds call it `problem`; a `Problem` is a model with its data.

    Attributes:
        gram: An array (features, features).
        correlations: An array (features,), as are `l1` and `l2`.
        positive: A bool.
    """

    gram: Array
    correlations: Array
    l1: Array
    l2: Array
    positive: Array


class Solution(NamedTuple):
    """Coefficients (features,) at a strength, and their signs: zero where not active."""

    strength: Array
    w: Array
    signs: Array


class State(NamedTuple):
    """How far the solution at one strength has come.

    Attributes:
        mode: `MOVE`, `GUESS`, `STEP` or `FINISH`.
        goal: In mode MOVE, the signs to move to, (features,).
        fraction: In mode STEP, how far along the segment (t above).
        w: In mode STEP, the coefficients there, (features,).
        g: In mode STEP, the correlations with the residuals there, (features,).
        exited: The feature that left at the last breakpoint, or −1.
        fewest: The smallest number of violated conditions so far.
        patience: How many more rounds may pass without fewer.
        rounds: How many rounds there have been.
        restarted: Whether the swept matrix has just been computed anew.
        restarted_at: The fraction at which it last was, in this homotopy; −1 if never.
    """

    mode: Array
    goal: Array
    fraction: Array
    w: Array
    g: Array
    exited: Array
    fewest: Array
    patience: Array
    rounds: Array
    restarted: Array
    restarted_at: Array


class Segment(NamedTuple):
    """From the solution at one strength to the next: see the equations above.

    Attributes:
        start: The previous solution.
        strength: The next strength.
        step: The difference of the strengths.
        ridge: That of the next strength, (features,).
        shift: Of the correlations, (features,).
    """

    start: Solution
    strength: Array
    step: Array
    ridge: Array
    shift: Array


class _Round(NamedTuple):
    """A solved system, (1) or (3), and what each mode needs to act on it.

    Attributes:
        problem: The problem.
        current: The active set.
        state: The state before the round.
        segment: The segment.
        w: The coefficients at the strength or, in mode STEP, dw/dt, (features,).
        g: The correlations with the residuals or, in mode STEP, dg/dt, (features,).
        norms: Of the features, (features,).
        bounded: Which active features must keep their sign, bools (features,).
        dependent: Which others depend on the active ones, bools (features,).
        inaccurate: Whether the solution has lost precision.
    """

    problem: Quadratic
    current: ActiveSet
    state: State
    segment: Segment
    w: Array
    g: Array
    norms: Array
    bounded: Array
    dependent: Array
    inaccurate: Array


class Decision(NamedTuple):
    """What a round leads to.

    Attributes:
        action: `KEEP`, `EXCHANGE` or `RESTART`.
        scores: Which features to exchange: those of the largest, (features,).
        signs: The signs with which they enter, (features,).
        state: The next state.
        settled: Whether the solution of the round is that of the strength.
    """

    action: Array
    scores: Array
    signs: Array
    state: State
    settled: Array


def begun(problem: Quadratic, start: Solution, mode: Array) -> State:
    """The state at the start of a segment, with a solution there."""
    image = problem.gram @ start.w + 2 * start.strength * problem.l2 * start.w
    return State(
        mode=mode,
        goal=start.signs,
        fraction=jnp.asarray(0.0),
        w=start.w,
        g=problem.correlations - image,
        exited=jnp.asarray(-1),
        fewest=jnp.asarray(len(start.w) + 1),
        patience=jnp.asarray(PATIENCE),
        rounds=jnp.asarray(0),
        restarted=jnp.asarray(False),
        restarted_at=jnp.asarray(-1.0),
    )


def solve_round(
    problem: Quadratic, current: ActiveSet, state: State, segment: Segment
) -> tuple[Array, Decision]:
    """Solve (1) or, in mode STEP, (3), and decide what to do."""
    stepping = state.mode == STEP
    target = jnp.where(stepping, -segment.shift, problem.correlations)
    strength = jnp.where(stepping, segment.step, segment.strength)
    threshold = strength * problem.l1 * current.signs
    steps = jnp.where(state.mode == MOVE, 0, CG_STEPS)
    w, image = solve(problem.gram, segment.ridge, current, target - threshold, steps)
    g = target - image
    units = norms(jnp.diagonal(problem.gram))
    error = jnp.abs(g - threshold) / units
    scale = (jnp.abs(target) + jnp.abs(strength) * problem.l1) / units
    largest_error = jnp.max(jnp.where(current.active, error, 0.0))
    largest_scale = jnp.max(jnp.where(current.active, scale, 0.0))
    solved = _Round(
        problem=problem,
        current=current,
        state=state,
        segment=segment,
        w=w,
        g=g,
        norms=units,
        bounded=current.active & ((problem.l1 > 0) | problem.positive),
        dependent=dependent(current, problem.gram),
        inaccurate=~(largest_error <= INACCURATE * largest_scale),
    )
    mode = jnp.where(state.mode == FINISH, GUESS, state.mode)
    return w, jax.lax.switch(mode, (_move, _guess, _step), solved)


def _move(this: _Round) -> Decision:
    """Exchange the features that differ from the goal, unless they depend on others."""
    state, active = this.state, this.current.active
    differ = (active != (state.goal != 0)) & ~this.dependent
    # First out, then in.
    scores = jnp.where(differ, jnp.where(active, 2.0, 1.0), 0.0)
    moving = jnp.any(differ)
    mode = jnp.where(moving, MOVE, jnp.where(state.restarted, STEP, GUESS))
    action = jnp.where(moving, EXCHANGE, KEEP)
    return Decision(
        action, scores, state.goal, state._replace(mode=mode), jnp.asarray(False)
    )


def _guess(this: _Round) -> Decision:
    """Exchange every feature that violates a condition; if none does, this is the solution.

    In mode FINISH the solution is accepted as it is where guesses make no progress.
    """
    state, segment = this.state, this.segment
    scores, is_blocked = _violations(this)
    number = jnp.sum(scores > 0)
    is_better = number < state.fewest
    failed = this.inaccurate | (~is_better & (state.patience == 0))
    failed |= is_blocked & (number == 0)
    settled = jnp.where(failed, state.mode == FINISH, number == 0)
    going_on = state._replace(
        fewest=jnp.minimum(number, state.fewest),
        patience=jnp.where(is_better, PATIENCE, state.patience - 1),
        restarted=jnp.asarray(False),
    )
    homotopy = begun(this.problem, segment.start, jnp.asarray(MOVE))
    homotopy = homotopy._replace(rounds=state.rounds, restarted=jnp.asarray(True))
    state = jax.tree.map(functools.partial(jnp.where, failed), homotopy, going_on)
    action = jnp.where(settled, KEEP, jnp.where(failed, RESTART, EXCHANGE))
    return Decision(action, scores, jnp.sign(this.g), state, settled)


def _violations(this: _Round) -> tuple[Array, Array]:
    """A positive score for each feature that violates (1) or (2).

    And whether some that should enter cannot, as they depend on the active ones.
    """
    problem, current, strength = this.problem, this.current, this.segment.strength
    largest = jnp.max(jnp.abs(problem.correlations) / this.norms)
    leaves = this.bounded & (current.signs * this.w < 0)
    magnitude = jnp.where(problem.positive, this.g, jnp.abs(this.g))
    excess = magnitude - strength * problem.l1
    enters = ~current.active & (excess > FEASIBLE * this.norms * largest)
    cannot = enters & this.dependent
    entering = jnp.where(enters & ~cannot, excess / this.norms, 0.0)
    return jnp.where(leaves, jnp.inf, entering), jnp.any(cannot)


def _step(this: _Round) -> Decision:
    """Go to the next breakpoint of the homotopy, and exchange its feature."""
    problem, current, state, segment = this[:4]
    order = jnp.arange(len(this.w))
    distances = _breakpoints(this)
    index = jnp.argmin(distances)
    distance = distances[index]
    reached = state.fraction + distance
    inaccurate = this.inaccurate & ~state.restarted
    # A restart that brings no progress before the next would go on for ever.
    is_hopeless = inaccurate & (state.fraction <= state.restarted_at)
    is_hopeless |= state.rounds > 4 * len(order)
    arrived, restart = (reached >= 1) | is_hopeless, inaccurate & ~is_hopeless
    g = state.g + distance * this.g
    strength = segment.start.strength + reached * segment.step
    stays = current.active & (order != index)
    # On arrival w and g may be beyond t = 1: FINISH needs the active set alone.
    stepped = state._replace(
        mode=jnp.where(arrived, FINISH, STEP),
        fraction=reached,
        w=jnp.where(stays, state.w + distance * this.w, 0.0),
        g=jnp.where(current.active, strength * problem.l1 * current.signs, g),
        exited=jnp.where(current.active[index], index, -1),
        restarted=jnp.asarray(False),
    )
    again = state._replace(
        mode=jnp.asarray(MOVE),
        goal=current.signs,
        restarted=jnp.asarray(True),
        restarted_at=state.fraction,
    )
    scores = jnp.where((order == index) & ~arrived, 1.0, 0.0)
    action = jnp.where(restart, RESTART, jnp.where(arrived, KEEP, EXCHANGE))
    state = jax.tree.map(functools.partial(jnp.where, restart), again, stepped)
    return Decision(action, scores, jnp.sign(g), state, jnp.asarray(False))


def _breakpoints(this: _Round) -> Array:
    """How far t can go until each feature must leave or enter, (features,)."""
    problem, current, state, segment = this[:4]
    l1, signs = problem.l1, current.signs
    leaves = this.bounded & (signs * this.w < 0)
    leaving = jnp.maximum(signs * state.w, 0) / jnp.abs(jnp.where(leaves, this.w, 1.0))
    outside = ~current.active & ~this.dependent
    has_exited = jnp.arange(len(l1)) == state.exited
    strength = segment.start.strength + state.fraction * segment.step
    # For both thresholds, arrays (2, features).
    g, rate = jnp.stack([state.g, -state.g]), jnp.stack([this.g, -this.g])
    slack = jnp.maximum((strength * l1)[None] - g, 0)
    approach = rate - (segment.step * l1)[None]
    # What has just left is at its threshold, and moves away from it.
    enters = outside[None] & ~(has_exited[None] & (g > 0))
    enters &= approach > (PARALLEL * jnp.abs(segment.step) * l1)[None]
    enters = enters.at[1].set(enters[1] & ~problem.positive)
    entering = jnp.where(enters, slack / jnp.where(enters, approach, 1.0), jnp.inf)
    leaving = jnp.where(leaves, leaving, jnp.inf)
    return jnp.where(current.active, leaving, jnp.min(entering, axis=0))
