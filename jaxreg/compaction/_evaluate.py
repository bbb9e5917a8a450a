"""The smaller function: the operations of the full one, on arrays that have lost slices."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend import core

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._evaluate_rules import AS_THEY_ARE, RULES, bind
from jaxreg.compaction._fold import products
from jaxreg.compaction._plan import Plan
from jaxreg.compaction._program import Checkpoint, Op, Program, Value


def evaluate(plan: Plan, arguments: Sequence[Any]) -> list[Any]:
    """The results of the smaller function."""
    return _run(plan, plan.program, arguments, plan.added)


def _run(
    plan: Plan, program: Program, arguments: Sequence[Any], added: Mapping[int, Any]
) -> list[Any]:
    env: dict[Value, Any] = dict(zip(program.ins, arguments, strict=True))
    for value in program.constants:
        env[value] = plan.reduced(value, value.constant)
    terms = {op: added[i] for i, op in enumerate(products(program)) if i in added}
    _run_ops(plan, program.ops, env, terms, set(program.outs))
    return [env[value] for value in program.outs]


def _run_ops(
    plan: Plan,
    ops: Sequence[Op],
    env: dict[Value, Any],
    terms: Mapping[Op, np.ndarray],
    wanted: set[Value],
    depth: int = 0,
) -> None:
    """Add the results of operations to `env`.

    Args:
        plan: The plan.
        ops: The operations, which all are in the same `depth` checkpoints.
        env: The arrays that they read.
        terms: What is added to the results of some.
        wanted: Which values others read.
        depth: In how many checkpoints this is.
    """
    groups = [
        (checkpoint, list(own))
        for checkpoint, own in itertools.groupby(ops, lambda op: _checkpoint_at(op, depth))
    ]
    later = [wanted]  # After each group, from the last to the first.
    for _, own in reversed(groups[1:]):
        later.append(later[-1].union(*(op.ins for op in own)))
    for (checkpoint, own), after in zip(groups, reversed(later), strict=False):
        if checkpoint is not None:
            _checkpointed(plan, own, env, terms, after, depth)
            continue
        for op in own:
            results = _apply(plan, op, [env[value] for value in op.ins])
            if op in terms:
                results = [results[0] + _reduced_sum(plan, op.outs[0], terms[op])]
            env.update(zip(op.outs, results, strict=True))


def _checkpoint_at(op: Op, depth: int) -> Checkpoint | None:
    return op.checkpoints[depth] if len(op.checkpoints) > depth else None


def _checkpointed(
    plan: Plan,
    ops: Sequence[Op],
    env: dict[Value, Any],
    terms: Mapping[Op, np.ndarray],
    wanted: set[Value],
    depth: int,
) -> None:
    """Add the results of operations to `env` that are in a checkpoint of their own."""
    checkpoint = ops[0].checkpoints[depth]
    made = dict.fromkeys(value for op in ops for value in op.outs)
    read = dict.fromkeys(value for op in ops for value in op.ins if value not in made)
    known = {value: env[value] for value in read if value.constant is not None}
    given = [value for value in read if value.constant is None]
    results = [value for value in made if value in wanted]

    def inside(*arguments: Any) -> list[Any]:
        inner = {**known, **dict(zip(given, arguments, strict=True))}
        _run_ops(plan, ops, inner, terms, set(results), depth + 1)
        return [inner[value] for value in results]

    function = jax.checkpoint(
        inside, policy=checkpoint.policy, prevent_cse=checkpoint.prevent_cse
    )
    env.update(zip(results, function(*(env[value] for value in given)), strict=True))


def _reduced_sum(plan: Plan, out: Value, term: np.ndarray) -> Array:
    for axis, length in enumerate(term.shape):
        if length > 1:
            term = np.take(term, plan.kept(out, axis), axis)
    return jnp.asarray(term, out.dtype)


def _apply(plan: Plan, op: Op, ins: list[Any]) -> list[Any]:
    if op.body is not None:
        return _loop(plan, op, op.body, ins)
    shapes = [plan.shape(value) for value in op.outs]
    is_empty = op.kind in ("dot_general", "conv_general_dilated") and any(
        0 in np.shape(x) for x in ins
    )
    if not op.eqn.effects and (is_empty or all(0 in shape for shape in shapes)) and shapes:
        return [
            jnp.zeros(shape, value.dtype)
            for shape, value in zip(shapes, op.outs, strict=True)
        ]
    if op.kind == "relu":
        return [jax.nn.relu(*ins)]
    if op.kind in RULES:
        result = RULES[op.kind](plan, op, *ins)
        return list(result) if isinstance(result, (list, tuple)) else [result]
    if op.kind in primitives.ELEMENTWISE or op.kind in AS_THEY_ARE:
        return bind(op, ins)
    return _as_written(op, ins)


def _as_written(op: Op, ins: Sequence[Any]) -> list[Any]:
    """An operation whose operands have lost nothing, with whatever it calls."""
    variables: dict[Any, Any] = {}
    for atom, x in zip(op.eqn.invars, ins, strict=True):
        if not isinstance(atom, core.Literal):
            variables[atom] = x
    inner = jax.make_jaxpr(lambda *arguments: arguments)(*variables.values())
    jaxpr = core.Jaxpr(
        [],
        list(variables),
        list(op.eqn.outvars),
        [op.eqn],
        op.eqn.effects,
        inner.jaxpr.debug_info,
    )
    function = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, []))
    return list(function(*variables.values()))


def _loop(plan: Plan, op: Op, body: Program, ins: list[Any]) -> list[Any]:
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    consts, xs = ins[:n_consts], ins[n_consts + n_carry :]
    carry = [jnp.asarray(x) for x in ins[n_consts : n_consts + n_carry]]

    def step(carry: Any, x: Any) -> Any:
        outs = _run(plan, body, [*consts, *carry, *x], {})
        return outs[:n_carry], outs[n_carry:]

    carry, ys = lax.scan(
        step,
        carry,
        xs,
        length=op.params["length"],
        reverse=op.params["reverse"],
        unroll=op.params["unroll"],
    )
    return [*carry, *ys]
