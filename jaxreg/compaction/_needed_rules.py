"""What each primitive needs of its operands, given what is needed of its results."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._convolutions import CONV_NAMES, conv_parts
from jaxreg.compaction._known import Known
from jaxreg.compaction._masks import (
    any_along,
    any_product,
    both,
    broadcast,
    reshape,
    uniform,
)
from jaxreg.compaction._primitives import (
    contraction,
    convolution,
    gather,
    partial_axes,
    window_axes,
)
from jaxreg.compaction._program import Op, Value

Mask = np.ndarray
Rule = Callable[[Op, list[Mask], list[Known]], list[Mask]]


def _to(value: Value, mask: Mask) -> Mask:
    """A mask of a result as that of an operand, whose entries may serve several."""
    if value.ndim == 0:
        return np.array(mask.any())
    return any_along(mask, [i for i, n in enumerate(value.shape) if n == 1])


def elementwise(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    """What is needed of operands of which each entry makes one of the result."""
    ndim = op.outs[0].ndim
    mask = functools.reduce(np.logical_or, broadcast(wanted, ndim))
    masks = [mask for _ in ins]
    if op.kind in ("mul", "and", "div"):
        x, y = ins
        times_y = mask if op.kind == "div" else both(mask, y.nonzero, ndim)
        masks = [times_y, both(mask, x.nonzero, ndim)]
    return [_to(value, mask) for value, mask in zip(op.ins, masks, strict=True)]


def _first(rule: Callable[[Op, Mask], Mask]) -> Rule:
    """A rule about the first operand; all of the others is needed, if anything is."""

    def full(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
        del ins
        mask = wanted[0]
        others = [uniform(value.ndim, bool(mask.any())) for value in op.ins[1:]]
        return [rule(op, mask), *others]

    return full


def _broadcast_in_dim(op: Op, mask: Mask) -> Mask:
    kept = op.params["broadcast_dimensions"]
    value = op.ins[0]
    grown = [
        axis
        for axis in range(mask.ndim)
        if axis not in kept or value.shape[kept.index(axis)] != op.outs[0].shape[axis]
    ]
    mask = any_along(mask, grown)
    return mask.reshape([mask.shape[axis] for axis in kept])


def _slice(op: Op, mask: Mask) -> Mask:
    shape, out = op.ins[0].shape, op.outs[0].shape
    strides = op.params["strides"] or (1,) * len(shape)
    limits = zip(
        op.params["start_indices"], op.params["limit_indices"], strides, strict=True
    )
    index: list[slice] = []
    full: list[int] = []
    for axis, limit in enumerate(limits):
        is_part = out[axis] != shape[axis]
        full.append(shape[axis] if is_part else mask.shape[axis])
        index.append(slice(*limit) if is_part else slice(None))
    result = np.zeros(full, bool)
    result[tuple(index)] = mask
    return result


def _split(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    del ins
    return [_joined(op.params["axis"], wanted, op.outs)]


def _joined(axis: int, parts: Sequence[Mask], values: Sequence[Value]) -> Mask:
    shape = list(
        np.broadcast_shapes(*((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in parts))
    )
    full: list[Mask] = []
    for x, value in zip(parts, values, strict=True):
        shape[axis] = value.shape[axis]
        full.append(np.broadcast_to(x, shape))
    return np.concatenate(full, axis)


def _concatenate(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    del ins
    mask, axis = wanted[0], op.params["dimension"]
    if mask.shape[axis] == 1:
        return [mask for _ in op.ins]
    edges = np.cumsum([0, *(value.shape[axis] for value in op.ins)])
    return [
        mask[(slice(None),) * axis + (slice(a, b),)]
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]


def _pad(op: Op, mask: Mask) -> Mask:
    for axis, (low, high, inner) in enumerate(op.params["padding_config"]):
        if (low, high, inner) == (0, 0, 0) or mask.shape[axis] == 1:
            continue
        if low < 0 or high < 0:
            mask = any_along(mask, [axis])
        else:
            stop = mask.shape[axis] - high
            mask = mask[(slice(None),) * axis + (slice(low, stop, inner + 1),)]
    return mask


def _reduce(op: Op, mask: Mask) -> Mask:
    return np.expand_dims(mask, tuple(op.params["axes"]))


def _dot_general(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    left, right, out, _ = contraction(op)
    x, y = ins
    return [
        any_product(wanted[0], out, y.nonzero, right, left),
        any_product(wanted[0], out, x.nonzero, left, right),
    ]


def _conv(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    if op.params["batch_group_count"] != 1:
        return [uniform(value.ndim, True) for value in op.ins]  # noqa: FBT003
    conv = convolution(op)
    images, kernel, result = CONV_NAMES
    x, k = conv_parts(op, ins[0].nonzero, ins[1].nonzero)
    out: Any = any_along(wanted[0], conv.out[2:]).transpose(conv.out)
    out = out.reshape(out.shape[:2])
    n_out = op.outs[0].shape[conv.out[1]]
    if out.shape[1] == 1:
        out = out.reshape(-1, 1, 1)
    else:
        out = out.reshape(-1, conv.groups, n_out // conv.groups)
    to_x = any_product(out, result, k, kernel, images)
    to_k = any_product(out, result, x, images, kernel)
    n_in, groups = op.ins[0].shape[conv.lhs[1]], conv.groups
    if to_x.shape[1:] != (1, 1):
        to_x = np.broadcast_to(to_x, (to_x.shape[0], groups, n_in // groups))
    to_x = to_x.reshape(to_x.shape[0], -1)
    to_x = to_x.reshape(*to_x.shape, *[1] * (len(conv.lhs) - 2))
    if to_k.shape[:2] != (1, 1):
        to_k = np.broadcast_to(to_k, (groups, n_out // groups, to_k.shape[2]))
    to_k = to_k.reshape(-1, to_k.shape[2])
    to_k = to_k.reshape(*to_k.shape, *[1] * (len(conv.rhs) - 2))
    return [to_x.transpose(np.argsort(conv.lhs)), to_k.transpose(np.argsort(conv.rhs))]


def _gather(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    del ins
    axes = gather(op)
    mask = any_along(wanted[0], [target for _, target in axes.batch])
    picked = {target for _, target in axes.whole}
    mask = any_along(mask, [i for i in range(mask.ndim) if i not in picked])
    shape = [1] * op.ins[0].ndim
    for axis, target in axes.whole:
        shape[axis] = mask.shape[target]
    return [
        mask.reshape(shape),
        uniform(op.ins[1].ndim, bool(wanted[0].any())),
    ]


def _update(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    axes = [i for i, n in enumerate(op.ins[1].shape) if n != op.ins[0].shape[i]]
    mask = any_along(wanted[0], axes)
    others = [uniform(known.varies.ndim, bool(mask.any())) for known in ins[2:]]
    return [mask, mask, *others]


def _along(axes_of: Callable[[Op], Sequence[int]]) -> Rule:
    return _first(lambda op, mask: any_along(mask, axes_of(op)))


RULES: Mapping[str, Rule] = {
    "broadcast_in_dim": _first(_broadcast_in_dim),
    "reshape": _first(lambda op, mask: reshape(mask, op.outs[0].shape, op.ins[0].shape)),
    "transpose": _first(lambda op, x: x.transpose(np.argsort(op.params["permutation"]))),
    "squeeze": _first(lambda op, x: x.reshape(_unsqueezed(op, x))),
    "rev": _first(lambda op, mask: np.flip(mask, op.params["dimensions"])),
    "slice": _first(_slice),
    "split": _split,
    "concatenate": _concatenate,
    "pad": _first(_pad),
    "dot_general": _dot_general,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "dynamic_slice": _along(partial_axes),
    "dynamic_update_slice": _update,
    **dict.fromkeys(primitives.REDUCTIONS, _first(_reduce)),
    **dict.fromkeys(primitives.CUMULATIVE, _along(lambda op: [op.params["axis"]])),
    **dict.fromkeys(primitives.WINDOWS - {"reduce_window"}, _along(window_axes)),
}


def _unsqueezed(op: Op, mask: Mask) -> list[int]:
    dims = {i % op.ins[0].ndim for i in op.params["dimensions"]}
    lengths = iter(mask.shape)
    return [1 if i in dims else next(lengths) for i in range(op.ins[0].ndim)]
