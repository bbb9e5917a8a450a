"""The ties that each primitive makes between the axes of its operands and results."""

from collections.abc import Callable, Mapping, Sequence

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._masks import joined_dims
from jaxreg.compaction._primitives import (
    contraction,
    convolution,
    gather,
    partial_axes,
    window_axes,
)
from jaxreg.compaction._program import Op, Program, Value
from jaxreg.compaction._ties import ALL, Product, Tie, Ties


def ties_of(program: Program, pinned_inputs: Sequence[bool] | None = None) -> Ties:
    """The ties of a program.

    Args:
        program: The program.
        pinned_inputs: For each of its inputs, whether all of it must stay; by default so.

    Returns:
        The ties. Results are pinned.
    """
    ties = Ties()
    inputs = [value for value in program.ins if value.depends]
    for index, value in enumerate(inputs):
        if pinned_inputs is None or pinned_inputs[index]:
            ties.pin_all([value], "an input has it")
    _add(program, ties)
    ties.pin_all(program.outs, "the result has it")
    for value in program.ins:  # also those that nothing reads
        for axis in range(value.ndim):
            ties.node(value, axis)
    return ties


def _add(program: Program, ties: Ties) -> None:
    for op in program.ops:
        if op.body is not None:
            _loop(op, op.body, ties)
        elif op.kind in RULES:
            RULES[op.kind](op, ties)
        elif op.kind in primitives.ELEMENTWISE:
            _elementwise(op, ties)
        else:
            ties.unknown.add(op.kind)
            ties.pin_all([*op.ins, *op.outs], f"{op.kind} reads it")


def _elementwise(op: Op, ties: Ties) -> None:
    for value in op.ins:
        if value.ndim:
            ties.same(value, op.outs[0])
            ties.pin(value, _stretched(value, op.outs[0]), "its length is 1")
    for value in op.outs[1:]:
        ties.same(value, op.outs[0])


def _stretched(value: Value, out: Value) -> list[int]:
    """The axes of length 1 that serve all indices of the result."""
    return [i for i, n in enumerate(value.shape) if n != out.shape[i]]


def _loop(op: Op, body: Program, ties: Ties) -> None:
    """The axes of a loop's operands are those of its body's, but for the steps'."""
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    n_xs = n_consts + n_carry
    _add(body, ties)
    for index, (outer, inner) in enumerate(zip(op.ins, body.ins, strict=True)):
        _across(ties, outer, inner, steps=index >= n_xs)
    for index, (outer, inner) in enumerate(zip(op.outs, body.outs, strict=True)):
        _across(ties, outer, inner, steps=index >= n_carry)
        if index < n_carry:
            ties.same(inner, body.ins[n_consts + index])
    # What a constant contributes is added outside of loops only.
    inner_values = {value: None for inner in body.every_op() for value in inner.outs}
    ties.pin_all([*body.ins, *body.outs, *inner_values], "a loop", unless_zero=True)


def _across(ties: Ties, outer: Value, inner: Value, *, steps: bool) -> None:
    if steps:
        ties.pin(outer, [0], "the steps of a loop")
    for axis in range(inner.ndim):
        ties.tie(ties.node(outer, axis + steps), ties.node(inner, axis))


def _broadcast_in_dim(op: Op, ties: Ties) -> None:
    (x, *_), (out,) = op.ins, op.outs
    for axis, target in enumerate(op.params["broadcast_dimensions"]):
        if x.shape[axis] == out.shape[target]:
            ties.tie(ties.node(x, axis), ties.node(out, target))
        else:
            ties.pin(x, [axis], "its length is 1")


def _reshape(op: Op, ties: Ties) -> None:
    (x, *_), (out,) = op.ins, op.outs
    pairs = joined_dims(x.shape, out.shape)
    if pairs is None or op.params.get("dimensions") is not None:
        ties.pin_all([x, out], "reshape reads it")
        return
    for left, right in pairs:
        ties.join([ties.node(x, i) for i in left], [ties.node(out, i) for i in right])
    for value, used in (
        (x, {i for left, _ in pairs for i in left}),
        (out, {i for _, right in pairs for i in right}),
    ):
        ties.pin(value, [i for i in range(value.ndim) if i not in used], "its length is 1")


def _transpose(op: Op, ties: Ties) -> None:
    for target, axis in enumerate(op.params["permutation"]):
        ties.tie(ties.node(op.ins[0], axis), ties.node(op.outs[0], target))


def _squeeze(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    gone = {i % x.ndim for i in op.params["dimensions"]}
    ties.pin(x, sorted(gone), "its length is 1")
    for target, axis in enumerate(i for i in range(x.ndim) if i not in gone):
        ties.tie(ties.node(x, axis), ties.node(out, target))


def _rev(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    for axis in range(x.ndim):
        turned = slice(None, None, -1) if axis in op.params["dimensions"] else ALL
        ties.tie(ties.node(x, axis), ties.node(out, axis), turned, ALL)


def _slice(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    strides = op.params["strides"] or (1,) * x.ndim
    limits = zip(
        op.params["start_indices"], op.params["limit_indices"], strides, strict=True
    )
    for axis, limit in enumerate(limits):
        ties.tie(ties.node(x, axis), ties.node(out, axis), slice(*limit), ALL)


def _split(op: Op, ties: Ties) -> None:
    _sections(op.ins[0], op.outs, op.params["axis"], ties)


def _concatenate(op: Op, ties: Ties) -> None:
    _sections(op.outs[0], op.ins, op.params["dimension"], ties)


def _sections(whole: Value, parts: Sequence[Value], along: int, ties: Ties) -> None:
    start = 0
    for part in parts:
        ties.same(part, whole, but=[along])
        stop = start + part.shape[along]
        ties.tie(ties.node(whole, along), ties.node(part, along), slice(start, stop), ALL)
        start = stop


def _pad(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    for axis, (low, high, inner) in enumerate(op.params["padding_config"]):
        if low < 0 or high < 0:
            ties.pin(x, [axis], "negative padding")
            ties.pin(out, [axis], "negative padding")
            continue
        stop = out.shape[axis] - high
        ties.tie(ties.node(x, axis), ties.node(out, axis), ALL, slice(low, stop, inner + 1))


def _iota(op: Op, ties: Ties) -> None:
    for axis in range(op.outs[0].ndim):
        ties.node(op.outs[0], axis)


def _reduce(op: Op, ties: Ties) -> None:
    x, out = op.ins[0], op.outs[0]
    axes = sorted(i % x.ndim for i in op.params["axes"])
    for target, axis in enumerate(i for i in range(x.ndim) if i not in axes):
        ties.tie(ties.node(x, axis), ties.node(out, target))
    if op.kind in primitives.SUMS:
        ties.pin(x, axes, f"{op.kind} reads it", unless_zero=True)
    else:
        ties.pin(x, axes, f"{op.kind} reads it", unless_unneeded=True)


def _numbered(op: Op, ties: Ties) -> None:
    """`argmax` and `argmin`, whose results are indices."""
    x, out = op.ins[0], op.outs[0]
    axes = op.params["axes"]
    ties.pin(x, axes, f"{op.kind} reads it")
    for target, axis in enumerate(i for i in range(x.ndim) if i not in axes):
        ties.tie(ties.node(x, axis), ties.node(out, target))


def _same_but(axes_of: Callable[[Op], Sequence[int]]) -> Callable[[Op, Ties], None]:
    """For primitives whose results have the axes of the operands, some of them pinned."""

    def rule(op: Op, ties: Ties) -> None:
        axes = axes_of(op)
        values = [value for value in (*op.ins, *op.outs) if value.ndim == op.ins[0].ndim]
        for value in values[1:]:
            ties.same(values[0], value, but=axes)
        for value in values:
            ties.pin(value, axes, f"{op.kind} reads it")

    return rule


def _dot_general(op: Op, ties: Ties) -> None:
    left, right, out, inner = contraction(op)
    x, y = op.ins
    for axis, name in enumerate(left):
        if name in right:
            a, b = ties.node(x, axis), ties.node(y, right.index(name))
            is_inner = name in inner
            alone = (is_inner and x.depends, is_inner and y.depends)
            ties.links.append(Tie(a, b, alone=alone))
    for target, name in enumerate(out):
        for value, names in ((x, left), (y, right)):
            if name in names:
                axis = names.index(name)
                ties.tie(ties.node(value, axis), ties.node(op.outs[0], target))
    # What a constant unit gives to others is computed once where parameters read it.
    if x.depends == y.depends:
        inner_axes = [i for i, name in enumerate(left) if name in inner]
        ties.pin(x, inner_axes, "dot_general reads it", unless_zero=True)


def _conv(op: Op, ties: Ties) -> None:
    if op.params["batch_group_count"] != 1:
        ties.pin_all([*op.ins, *op.outs], f"{op.kind} reads it")
        return
    conv = convolution(op)
    x, k, out = *op.ins, op.outs[0]
    ties.tie(ties.node(x, conv.lhs[0]), ties.node(out, conv.out[0]))
    for value, axes in ((x, conv.lhs[2:]), (k, conv.rhs[2:]), (out, conv.out[2:])):
        ties.pin(value, axes, "a convolution moves over it")
    features, inner = ties.node(x, conv.lhs[1]), ties.node(k, conv.rhs[1])
    outputs, result = ties.node(k, conv.rhs[0]), ties.node(out, conv.out[1])
    ties.tie(outputs, result)
    if conv.groups == 1:
        ties.links.append(Tie(features, inner, alone=(x.depends, k.depends)))
    else:
        groups = ties.groups[op] = ties.new(conv.groups)
        ties.links.append(Product(features, (groups, inner)))
        each = ties.new(k.shape[conv.rhs[0]] // conv.groups)
        ties.links.append(Product(outputs, (groups, each)))
    if conv.groups > 1 or conv.is_padded or x.depends == k.depends:
        reason = "a padded or grouped convolution reads it"
        ties.pin(x, [conv.lhs[1]], reason, unless_zero=True)


def _gather(op: Op, ties: Ties) -> None:
    axes = gather(op)
    x, indices = op.ins
    for axis, target in axes.whole:
        ties.tie(ties.node(x, axis), ties.node(op.outs[0], target))
    ties.pin(x, axes.picked, "indices pick from it")
    ties.pin(indices, [indices.ndim - 1], "they are indices")
    for axis, target in axes.batch:
        ties.tie(ties.node(indices, axis), ties.node(op.outs[0], target))
    tied = {target for _, target in (*axes.whole, *axes.batch)}
    others = [i for i in range(op.outs[0].ndim) if i not in tied]
    ties.pin(op.outs[0], others, "indices pick from it")


def _update(op: Op, ties: Ties) -> None:
    x, new = op.ins[:2]
    axes = [i for i, n in enumerate(new.shape) if n != x.shape[i]]
    for value in (new, op.outs[0]):
        ties.same(x, value, but=axes)
    for value in (x, new, op.outs[0]):
        ties.pin(value, axes, "an update moves over it")


def _cumulative(op: Op) -> list[int]:
    return [op.params["axis"]]


def _last(op: Op) -> list[int]:
    return [op.ins[0].ndim - 1]


RULES: Mapping[str, Callable[[Op, Ties], None]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "iota": _iota,
    "dot_general": _dot_general,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "dynamic_slice": _same_but(partial_axes),
    "dynamic_update_slice": _update,
    "top_k": _same_but(_last),
    "sort": _same_but(lambda op: [op.params["dimension"]]),
    **dict.fromkeys(primitives.REDUCTIONS, _reduce),
    **dict.fromkeys(primitives.ARG_REDUCTIONS, _numbered),
    **dict.fromkeys(primitives.CUMULATIVE, _same_but(_cumulative)),
    **dict.fromkeys(primitives.WINDOWS - {"reduce_window"}, _same_but(window_axes)),
}
