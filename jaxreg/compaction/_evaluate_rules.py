"""What each primitive is on arrays that have lost slices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._plan import Plan, fitting, take
from jaxreg.compaction._primitives import contraction, convolution, gather
from jaxreg.compaction._program import Op, Value
from jaxreg.compaction._removal import kept_indices


def bind(op: Op, ins: Sequence[Any], **changes: Any) -> list[Any]:
    """Apply the primitive of an operation, with some of its parameters changed."""
    primitive = op.eqn.primitive
    result = primitive.bind(*map(jnp.asarray, ins), **{**op.params, **changes})
    return list(result) if primitive.multiple_results else [result]


def _broadcast_in_dim(plan: Plan, op: Op, x: Any, *_: Any) -> Array:
    kept = op.params["broadcast_dimensions"]
    return lax.broadcast_in_dim(x, plan.shape(op.outs[0]), kept)


def _reshape(plan: Plan, op: Op, x: Any, *_: Any) -> Array:
    if op.params.get("dimensions") is not None:
        return bind(op, [x])[0]
    return lax.reshape(x, plan.shape(op.outs[0]))


def _slice(plan: Plan, op: Op, x: Any) -> Array:
    value, out = op.ins[0], op.outs[0]
    strides = op.params["strides"] or (1,) * value.ndim
    if plan.is_whole([value]):
        return bind(op, [x])[0]
    for axis, start in enumerate(op.params["start_indices"]):
        wanted = start + strides[axis] * plan.kept(out, axis)
        positions = np.searchsorted(plan.kept(value, axis), wanted)
        x = take(x, positions, axis)
    return x


def _split(plan: Plan, op: Op, x: Any) -> list[Any]:
    axis = op.params["axis"]
    sizes = tuple(plan.shape(value)[axis] for value in op.outs)
    return bind(op, [x], sizes=sizes)


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
        x = take(lax.pad(x, filling, config), kept, axis)
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
        take(x, np.searchsorted(kept_indices(own), common), axis)
        for x, own, axis in zip(arrays, gone, axes, strict=True)
    ]


def _dot_general(plan: Plan, op: Op, x: Any, y: Any) -> Array:
    left, right, _, inner = contraction(op)
    for name in inner:
        axes = left.index(name), right.index(name)
        x, y = _in_common(plan, op.ins, (x, y), axes)
    if 0 in (*np.shape(x), *np.shape(y)):
        return jnp.zeros(plan.shape(op.outs[0]), op.outs[0].dtype)
    return bind(op, [x, y])[0]


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
    return bind(op, [x, kernel], feature_group_count=groups)[0]


def _gather(plan: Plan, op: Op, x: Any, indices: Any) -> Array:
    sizes = list(op.params["slice_sizes"])
    for axis, _ in gather(op).whole:
        sizes[axis] = plan.shape(op.ins[0])[axis]
    return bind(op, [x, indices], slice_sizes=tuple(sizes))[0]


def _reshard(plan: Plan, op: Op, x: Any) -> Array:
    sharding = fitting(op.params["dst_sharding"], plan.shape(op.outs[0]))
    return bind(op, [x], dst_sharding=sharding)[0]


def _dynamic_slice(plan: Plan, op: Op, x: Any, *starts: Any) -> Array:
    return bind(op, [x, *starts], slice_sizes=plan.shape(op.outs[0]))[0]


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

AS_THEY_ARE = frozenset(
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
