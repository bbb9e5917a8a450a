"""The smaller function: the operations of the full one, on arrays that have lost slices."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend import core
from jax.sharding import NamedSharding, PartitionSpec

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._fold import products
from jaxreg.compaction._primitives import contraction, convolution, gather
from jaxreg.compaction._program import Checkpoint, Op, Program, Value
from jaxreg.compaction._removal import Removed, kept_indices
from jaxreg.compaction._ties import Ties


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Everything that evaluating a smaller function needs.

    Attributes:
        program: The full function.
        ties: Its ties.
        removed: Which slices go.
        added: For matrix products and convolutions, by their number, what the constant
            units that go contribute.
    """

    program: Program
    ties: Ties
    removed: Removed
    added: Mapping[int, np.ndarray]

    def gone(self, value: Value, axis: int) -> np.ndarray:
        """Which indices of an axis go."""
        return self.removed[self.ties.node(value, axis)]

    def kept(self, value: Value, axis: int) -> np.ndarray:
        """Which indices of an axis stay."""
        return kept_indices(self.gone(value, axis))

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape that is left."""
        return tuple(int((~self.gone(value, i)).sum()) for i in range(value.ndim))

    def is_whole(self, values: Sequence[Value]) -> bool:
        """Whether none of the values loses anything."""
        return not any(
            self.gone(value, i).any() for value in values for i in range(value.ndim)
        )

    def reduced(self, value: Value, array: Any) -> Any:
        """What is left of an array."""
        for axis in range(value.ndim):
            if self.gone(value, axis).any():
                array = _take(array, self.kept(value, axis), axis)
        return array


def _take(x: Any, indices: np.ndarray, axis: int) -> Any:
    """Some indices of an axis, in ascending order; a slice where they are contiguous."""
    n = len(indices)
    if n == x.shape[axis]:
        return x
    if isinstance(x, np.ndarray):
        return np.take(x, indices, axis)
    if n and indices[-1] - indices[0] == n - 1:
        return lax.slice_in_dim(x, int(indices[0]), int(indices[-1]) + 1, axis=axis)
    return jnp.take(x, indices, axis, mode="clip", unique_indices=True)


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
    if op.kind in primitives.ELEMENTWISE or op.kind in _AS_THEY_ARE:
        return _bind(op, ins)
    return _as_written(op, ins)


def _bind(op: Op, ins: Sequence[Any], **changes: Any) -> list[Any]:
    primitive = op.eqn.primitive
    result = primitive.bind(*map(jnp.asarray, ins), **{**op.params, **changes})
    return list(result) if primitive.multiple_results else [result]


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


def _broadcast_in_dim(plan: Plan, op: Op, x: Any, *_: Any) -> Array:
    kept = op.params["broadcast_dimensions"]
    return lax.broadcast_in_dim(x, plan.shape(op.outs[0]), kept)


def _reshape(plan: Plan, op: Op, x: Any, *_: Any) -> Array:
    if op.params.get("dimensions") is not None:
        return _bind(op, [x])[0]
    return lax.reshape(x, plan.shape(op.outs[0]))


def _slice(plan: Plan, op: Op, x: Any) -> Array:
    value, out = op.ins[0], op.outs[0]
    strides = op.params["strides"] or (1,) * value.ndim
    if plan.is_whole([value]):
        return _bind(op, [x])[0]
    for axis, start in enumerate(op.params["start_indices"]):
        wanted = start + strides[axis] * plan.kept(out, axis)
        positions = np.searchsorted(plan.kept(value, axis), wanted)
        x = _take(x, positions, axis)
    return x


def _split(plan: Plan, op: Op, x: Any) -> list[Any]:
    axis = op.params["axis"]
    sizes = tuple(plan.shape(value)[axis] for value in op.outs)
    return _bind(op, [x], sizes=sizes)


def _concatenate(plan: Plan, op: Op, *ins: Any) -> Array:
    del plan
    axis = op.params["dimension"]
    return lax.concatenate([x for x in ins if x.shape[axis]], axis)


def _pad(plan: Plan, op: Op, x: Any, filling: Any) -> Array:
    value, out = op.ins[0], op.outs[0]
    for axis, (low, high, inner) in enumerate(op.params["padding_config"]):
        config = [(0, 0, 0)] * value.ndim
        kept = plan.kept(out, axis)
        if inner == 0 and low >= 0 and high >= 0:
            before = int((kept < low).sum())
            after = int((kept >= out.shape[axis] - high).sum())
            config[axis] = before, after, 0
            x = lax.pad(x, filling, config)
            continue
        full = plan.kept(value, axis)
        if len(full) < value.shape[axis]:
            shape = list(x.shape)
            shape[axis] = value.shape[axis]
            place = (slice(None),) * axis + (full,)
            x = jnp.zeros(shape, x.dtype).at[place].set(x)
        config[axis] = low, high, inner
        x = _take(lax.pad(x, filling, config), kept, axis)
    return x


def _iota(plan: Plan, op: Op) -> Array:
    out, axis = op.outs[0], op.params["dimension"]
    shape = plan.shape(out)
    if not plan.gone(out, axis).any():
        return lax.broadcasted_iota(out.dtype, shape, axis)
    return lax.broadcast_in_dim(
        jnp.asarray(plan.kept(out, axis), out.dtype), shape, (axis,)
    )


def _in_common(
    plan: Plan, pair: Sequence[Value], arrays: Sequence[Any], axes: Sequence[int]
) -> list[Any]:
    """Two operands with the same indices of an axis that a product sums over."""
    gone = [plan.gone(value, axis) for value, axis in zip(pair, axes, strict=True)]
    common = kept_indices(gone[0] | gone[1])
    return [
        _take(x, np.searchsorted(kept_indices(own), common), axis)
        for x, own, axis in zip(arrays, gone, axes, strict=True)
    ]


def _dot_general(plan: Plan, op: Op, x: Any, y: Any) -> Array:
    left, right, _, inner = contraction(op)
    for name in inner:
        axes = left.index(name), right.index(name)
        x, y = _in_common(plan, op.ins, (x, y), axes)
    if 0 in (*np.shape(x), *np.shape(y)):
        return jnp.zeros(plan.shape(op.outs[0]), op.outs[0].dtype)
    return _bind(op, [x, y])[0]


def _conv(plan: Plan, op: Op, x: Any, kernel: Any) -> Array:
    conv = convolution(op)
    groups = conv.groups
    if op in plan.ties.groups:
        groups = int((~plan.removed[plan.ties.groups[op]]).sum())
    else:
        axes = conv.lhs[1], conv.rhs[1]
        x, kernel = _in_common(plan, op.ins, (x, kernel), axes)
    if 0 in (*np.shape(x), *np.shape(kernel)):
        return jnp.zeros(plan.shape(op.outs[0]), op.outs[0].dtype)
    return _bind(op, [x, kernel], feature_group_count=groups)[0]


def _gather(plan: Plan, op: Op, x: Any, indices: Any) -> Array:
    sizes = list(op.params["slice_sizes"])
    for axis, _ in gather(op).whole:
        sizes[axis] = plan.shape(op.ins[0])[axis]
    return _bind(op, [x, indices], slice_sizes=tuple(sizes))[0]


def fitting(sharding: Any, shape: Sequence[int]) -> Any:
    """A sharding without the mesh axes that do not divide what is left of an axis."""
    if not isinstance(sharding, NamedSharding):
        return sharding
    entries: list[Any] = []
    for entry, length in zip(sharding.spec, shape, strict=False):
        names = (entry,) if isinstance(entry, str) else entry
        is_named = isinstance(names, tuple)
        parts = math.prod(sharding.mesh.shape[name] for name in names) if is_named else 1
        entries.append(entry if length % parts == 0 else None)
    spec = PartitionSpec(*entries)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)


def _reshard(plan: Plan, op: Op, x: Any) -> Array:
    sharding = fitting(op.params["dst_sharding"], plan.shape(op.outs[0]))
    return _bind(op, [x], dst_sharding=sharding)[0]


def _dynamic_slice(plan: Plan, op: Op, x: Any, *starts: Any) -> Array:
    return _bind(op, [x, *starts], slice_sizes=plan.shape(op.outs[0]))[0]


RULES: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "iota": _iota,
    "dot_general": _dot_general,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "reshard": _reshard,
}

_AS_THEY_ARE = frozenset(
    {
        "transpose",
        "squeeze",
        "rev",
        "dynamic_update_slice",
        "top_k",
        "sort",
        *primitives.REDUCTIONS,
        *primitives.ARG_REDUCTIONS,
        *primitives.CUMULATIVE,
        *(primitives.WINDOWS - {"reduce_window"}),
    }
)
"""Primitives whose parameters say nothing about lengths of axes that may shrink."""
