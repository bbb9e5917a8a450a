"""The lasso on a Gram matrix, at one strength after another."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg.solve.lasso._homotopy import (
    FINISH,
    MOVE,
    PATIENCE,
    STEP,
    Quadratic,
    Segment,
    Solution,
    begun,
    solve_round,
)
from jaxreg.solve.lasso._swept import ActiveSet, empty_set, exchange

LEAST_RIDGE = 1e-7
"""Minimum ridge of the swept matrix, relative to the squared norms of the features."""
HIDDEN = 2e-16
"""Relative to the squared norms, a ridge below this is lost to rounding."""
ROUNDS = 8
"""How many rounds each strength may take: this for each feature, and PATIENCE more."""


class Followed(NamedTuple):
    """Coefficients and signs, (strengths, features), and the active set at the end."""

    w: Array
    signs: Array
    active_set: ActiveSet


@partial(jax.jit, static_argnums=5)
def follow(
    problem: Quadratic,
    current: ActiveSet,
    before: Solution,
    strengths: Any,
    stop: Any,
    has_l2: bool,
) -> Followed:
    """Solve for each strength in turn.

    Args:
        problem: The problem.
        current: Any active set of it, and its swept Gram matrix.
        before: The solution at a strength that is at least as large; at the start of a
            path all zeros (even if some features have `l2` only, and are never zero: the
            first guess makes them active).
        strengths: Falling, (strengths,).
        stop: How many of them to solve for. The results at the others have no meaning.
        has_l2: Whether some `l2` is positive. Then the given swept matrix, of another
            ridge, is replaced by one for the last strength.
    """
    current = _restarted(problem, strengths[-1]) if has_l2 else current
    ends = jnp.concatenate([before.strength[None], strengths])
    zeros = jnp.zeros((len(strengths), len(before.w)), before.w.dtype)

    def body(carry: Any) -> Any:
        current, k, state, all_w, all_signs = carry
        start = Solution(ends[k], all_w[k], all_signs[k])
        step, ridge = ends[k + 1] - start.strength, 2 * ends[k + 1] * problem.l2
        shift = 2 * step * problem.l2 * start.w
        segment = Segment(start, ends[k + 1], step, ridge, shift)
        w, decision = solve_round(problem, current, state, segment)
        current = jax.lax.switch(
            decision.action,  # KEEP, EXCHANGE or RESTART
            (
                lambda: current,
                partial(exchange, current, decision.scores, decision.signs, problem.gram),
                partial(_restarted, problem, segment.strength),
            ),
        )
        # A strength that never settles keeps the previous solution; its gap shows that.
        exhausted = ~decision.settled & (state.rounds > ROUNDS * len(w) + PATIENCE)
        settled = decision.settled | exhausted
        w = jnp.where(exhausted, start.w, w)
        signs = jnp.where(exhausted, start.signs, current.signs)
        all_w = all_w.at[k + 1].set(jnp.where(settled, w, all_w[k + 1]))
        all_signs = all_signs.at[k + 1].set(jnp.where(settled, signs, all_signs[k + 1]))
        # Where one strength needed the homotopy, the next ones will need it. Others start
        # with a guess from this active set.
        mode = jnp.where(state.mode == FINISH, STEP, state.mode)
        mode = jnp.where(exhausted, MOVE, mode)
        anew = begun(problem, Solution(ends[k + 1], w, signs), mode)
        going_on = decision.state._replace(rounds=state.rounds + 1)
        state = jax.tree.map(partial(jnp.where, settled), anew, going_on)
        return current, k + settled.astype(k.dtype), state, all_w, all_signs

    first = (
        current,
        jnp.asarray(0),
        begun(problem, before, jnp.asarray(MOVE)),
        jnp.concatenate([before.w[None], zeros]),
        jnp.concatenate([before.signs[None], zeros]),
    )
    last = jax.lax.while_loop(lambda carry: carry[1] < stop, body, first)
    current, _, _, all_w, all_signs = last
    return Followed(all_w[1:], all_signs[1:], current)


def _restarted(problem: Quadratic, strength: Any) -> ActiveSet:
    """The empty active set, with the ridge of a strength.

    Too small a ridge, with which the swept matrix would lose precision, is raised;
    refinement solves for the right one. A ridge that rounding hides is left out: it could
    not be refined for, and does not make dependent features independent.
    """
    squares, ridge = jnp.diagonal(problem.gram), 2 * strength * problem.l2
    raised = jnp.maximum(ridge, LEAST_RIDGE * squares)
    ridge = jnp.where(ridge > HIDDEN * squares, raised, 0.0)
    return empty_set(problem.gram + jnp.diag(ridge))
