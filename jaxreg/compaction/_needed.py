"""Which entries anything depends on: from the last operation back to the first.

A mask says which entries of a value some result depends on, where it is multiplied with
something that is not zero. Together with which are not zero it says which are *live*; the
others can go.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._convolutions import conv_names, conv_parts
from jaxreg.compaction._forward import is_stack, steps_of
from jaxreg.compaction._known import Facts, Known, anything
from jaxreg.compaction._masks import (
    any_along,
    any_product,
    broadcast,
    is_same,
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
from jaxreg.compaction._program import Op, Program, Value

Mask = np.ndarray
Masks = dict[Value, Mask]


@dataclasses.dataclass(eq=False)
class Uses:
    """What the analysis found about each value.

    Attributes:
        needed: Entries that a result depends on.
        live: Those that are also not zero.
        varying: Those that also vary with the inputs.
    """

    needed: Masks
    live: Masks
    varying: Masks


def backward(program: Program, facts: Facts) -> Uses:
    """Which entries of all values are needed, those in loops too."""
    uses = Uses({}, {}, {})
    outs = [uniform(value.ndim, True) for value in program.outs]  # noqa: FBT003
    _backward(program, facts, outs, uses)
    return uses


def unread(program: Program) -> list[Mask]:
    """For each argument, the entries that no operation reads, whatever their values.

    They may be read for other shapes of the inputs: the positions after the last of a
    short example, say.
    """
    facts = _nothing_known(program)
    uses = Uses({}, {}, {})
    outs = [uniform(value.ndim, True) for value in program.outs]  # noqa: FBT003
    _backward(program, facts, outs, uses)
    return [~uses.needed[value] for value in program.ins]


def _nothing_known(program: Program) -> Facts:
    known = {
        value: anything(value)
        for value in [*program.ins, *program.constants]
        + [value for op in program.ops for value in op.outs]
    }
    # One step suffices where nothing is known.
    steps = {op: [_nothing_known(op.body)] for op in program.ops if op.body is not None}
    return Facts(known, steps)


def _backward(
    program: Program, facts: Facts, outs: Sequence[Mask], uses: Uses
) -> list[Mask]:
    """Masks of the arguments, given those of the results; adds to `uses`."""
    needed: Masks = {}

    def add(value: Value, mask: Mask) -> None:
        old = needed.get(value)
        if old is None:
            needed[value] = mask
        elif not old.all():
            parts = broadcast([old, mask], value.ndim)
            needed[value] = parts[0] | parts[1]

    for value, mask in zip(program.outs, outs, strict=True):
        add(value, mask)
    for op in reversed(program.ops):
        wanted = [
            needed.setdefault(value, uniform(value.ndim, False))  # noqa: FBT003
            for value in op.outs
        ]
        masks = _operands(op, wanted, facts, uses)
        for value, mask in zip(op.ins, masks, strict=True):
            add(value, mask)
    _record(needed, facts, uses)
    return [needed[value] for value in program.ins]


def _operands(op: Op, wanted: list[Mask], facts: Facts, uses: Uses) -> list[Mask]:
    """What an operation needs of its operands."""
    ins = [facts.known[value] for value in op.ins]
    if op.body is not None:
        return _loop(op, op.body, wanted, facts.steps[op], uses)
    if op.kind in RULES:
        return RULES[op.kind](op, wanted, ins)
    if op.kind in primitives.ELEMENTWISE:
        return _elementwise(op, wanted, ins)
    return [uniform(value.ndim, True) for value in op.ins]  # noqa: FBT003


def _record(needed: Masks, facts: Facts, uses: Uses) -> None:
    """Add to what was found in other steps of a loop."""
    for value, known in facts.known.items():
        mask = needed.setdefault(value, uniform(value.ndim, False))  # noqa: FBT003
        for masks, found in (
            (uses.needed, mask),
            (uses.live, _and(mask, known.nonzero, value.ndim)),
            (uses.varying, _and(mask, known.varies, value.ndim)),
        ):
            masks[value] = _or(masks[value], found) if value in masks else found


def _to(value: Value, mask: Mask) -> Mask:
    """A mask of a result as that of an operand, whose entries may serve several."""
    if value.ndim == 0:
        return np.array(mask.any())
    return any_along(mask, [i for i, n in enumerate(value.shape) if n == 1])


def _elementwise(op: Op, wanted: list[Mask], ins: list[Known]) -> list[Mask]:
    ndim = op.outs[0].ndim
    mask = functools.reduce(np.logical_or, broadcast(wanted, ndim))
    masks = [mask for _ in ins]
    if op.kind in ("mul", "and", "div"):
        x, y = ins
        times_y = mask if op.kind == "div" else _and(mask, y.nonzero, ndim)
        masks = [times_y, _and(mask, x.nonzero, ndim)]
    return [_to(value, mask) for value, mask in zip(op.ins, masks, strict=True)]


def _and(mask: Mask, other: Mask, ndim: int) -> Mask:
    parts = broadcast([mask, other], ndim)
    return parts[0] & parts[1]


def _loop(
    op: Op, body: Program, wanted: list[Mask], steps: list[Facts], uses: Uses
) -> list[Mask]:
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    carry = wanted[:n_carry]
    ys = [any_along(mask, [0])[0] for mask in wanted[n_carry:]]
    consts = [uniform(value.ndim, False) for value in op.ins[:n_consts]]  # noqa: FBT003
    if len(steps) == 1 and not (is_stack(op) and op.params["length"] == 1):
        while True:  # It ends: the needed entries only grow, to all of them at most.
            masks = _backward(body, steps[0], [*carry, *ys], uses)
            new = masks[n_consts : n_consts + n_carry]
            joined = [_or(old, other) for old, other in zip(carry, new, strict=True)]
            if all(map(is_same, carry, joined)):
                break
            carry = joined
        xs = [mask[None] for mask in masks[n_consts + n_carry :]]
        return [*masks[:n_consts], *carry, *xs]
    stacks: list[list[Mask]] = []
    order = steps_of(op)
    for facts in reversed(steps):
        masks = _backward(body, facts, [*carry, *ys], uses)
        consts = [_or(a, b) for a, b in zip(consts, masks[:n_consts], strict=True)]
        carry = masks[n_consts : n_consts + n_carry]
        stacks.append(masks[n_consts + n_carry :])
    by_step = dict(zip(reversed(order), stacks, strict=True))
    xs = [
        np.stack(broadcast([by_step[step][i] for step in sorted(by_step)], value.ndim - 1))
        for i, value in enumerate(op.ins[n_consts + n_carry :])
    ]
    return [*consts, *carry, *xs]


def _or(x: Mask, y: Mask) -> Mask:
    parts = broadcast([x, y], x.ndim)
    return parts[0] | parts[1]


# Primitives that move entries, sum them, or multiply them.

Rule = Callable[[Op, list[Mask], list[Known]], list[Mask]]


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
    images, kernel, result = conv_names(op)
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
