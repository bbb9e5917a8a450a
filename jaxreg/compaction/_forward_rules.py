"""What primitives make of entries that are zero or constant, one rule for each."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._convolutions import (
    CONV_NAMES,
    conv_kernel,
    conv_parts,
    conv_result,
)
from jaxreg.compaction._known import Known, anything, nonzero_only
from jaxreg.compaction._masks import (
    any_along,
    any_product,
    broadcast,
    expand,
    reshape,
    sum_product,
    uniform,
)
from jaxreg.compaction._primitives import (
    contraction,
    convolution,
    partial_axes,
    window_axes,
)
from jaxreg.compaction._program import Op

# Moving entries.


def _moving(
    move: Callable[[Op, np.ndarray], np.ndarray],
) -> Callable[..., Known]:
    def rule(op: Op, x: Known, *others: Known) -> Known:
        del others
        return Known(move(op, x.varies), move(op, x.value))

    return rule


def _broadcast_in_dim(op: Op, x: np.ndarray) -> np.ndarray:
    shape = [1] * op.outs[0].ndim
    for i, axis in enumerate(op.params["broadcast_dimensions"]):
        shape[axis] = x.shape[i]
    return x.reshape(shape)


def _reshape(op: Op, x: np.ndarray) -> np.ndarray:
    return reshape(x, op.ins[0].shape, op.outs[0].shape)


def _transpose(op: Op, x: np.ndarray) -> np.ndarray:
    return x.transpose(op.params["permutation"])


def _squeeze(op: Op, x: np.ndarray) -> np.ndarray:
    return x.squeeze(op.params["dimensions"])


def _rev(op: Op, x: np.ndarray) -> np.ndarray:
    return np.flip(x, op.params["dimensions"])


def _slice(op: Op, x: Known) -> Known:
    strides = op.params["strides"] or (1,) * op.ins[0].ndim
    limits = zip(
        op.params["start_indices"], op.params["limit_indices"], strides, strict=True
    )
    index = tuple(
        slice(None) if x.varies.shape[i] == 1 and x.value.shape[i] == 1 else slice(*limit)
        for i, limit in enumerate(limits)
    )
    varies, value = broadcast([x.varies, x.value], op.ins[0].ndim)
    sliced = Known(varies[index], value[index])
    # How much is taken may depend on the shapes of the inputs: a value at the only
    # position of a short example is not that of all positions.
    return nonzero_only(sliced) if partial_axes(op) else sliced


def split(op: Op, x: Known) -> list[Known]:
    axis = op.params["axis"]
    edges = np.cumsum([0, *op.params["sizes"]])
    varies, value = broadcast([x.varies, x.value], op.ins[0].ndim)
    parts = list(zip(edges[:-1], edges[1:], strict=True))
    if varies.shape[axis] == 1:
        return [Known(varies, value)] * len(parts)
    index = [(slice(None),) * axis + (slice(a, b),) for a, b in parts]
    return [Known(varies[i], value[i]) for i in index]


def _concatenate(op: Op, *ins: Known) -> Known:
    axis = op.params["dimension"]

    def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
        full = [
            expand(x, axis, value.shape[axis])
            for x, value in zip(parts, op.ins, strict=True)
        ]
        shapes = [[n for i, n in enumerate(x.shape) if i != axis] for x in full]
        common = np.broadcast_shapes(*map(tuple, shapes))
        return np.concatenate(
            [
                np.broadcast_to(x, (*common[:axis], x.shape[axis], *common[axis:]))
                for x in full
            ],
            axis,
        )

    return Known(joined([k.varies for k in ins]), joined([k.value for k in ins]))


def _pad(op: Op, x: Known, filling: Known) -> Known:
    """Padding by zeros leaves zeros; axes that are uniform stay so, by what varies."""
    nonzero = x.nonzero
    padded = uniform(nonzero.ndim, bool(filling.nonzero.any()))
    for axis, (low, high, inner) in enumerate(op.params["padding_config"]):
        if (low, high, inner) == (0, 0, 0):
            continue
        if nonzero.shape[axis] == 1 or low < 0 or high < 0:
            nonzero = any_along(nonzero, [axis]) | padded
        else:
            shape = list(nonzero.shape)
            n = shape[axis]
            shape[axis] = low + high + n + max(0, n - 1) * inner
            full = np.full(shape, padded.any())
            start = (slice(None),) * axis
            full[(*start, slice(low, low + n + max(0, n - 1) * inner, inner + 1))] = nonzero
            nonzero = full
    return nonzero_only(Known(nonzero, np.zeros(nonzero.shape, x.value.dtype)))


def _iota(op: Op) -> Known:
    return anything(op.outs[0])


# Reductions and products.


def _reduce(op: Op, x: Known) -> Known:
    axes = op.params["axes"]
    varies, value = broadcast([x.varies, x.value], op.ins[0].ndim)
    reduced = any_along(varies, axes).squeeze(axes)
    counted = [i for i in axes if value.shape[i] == 1 and op.ins[0].shape[i] > 1]
    if op.kind in ("reduce_max", "reduce_min", "reduce_and", "reduce_or"):
        reducer: Any = {"reduce_max": np.max, "reduce_min": np.min}.get(op.kind)
        if reducer is None:
            reducer = np.all if op.kind == "reduce_and" else np.any
        return Known(reduced, reducer(value, axis=axes).astype(op.outs[0].dtype))
    nonzero = any_along(x.nonzero, axes).squeeze(axes)
    if op.kind != "reduce_sum":
        kept = Known(nonzero, np.zeros(nonzero.shape, value.dtype))
        return kept if op.kind in primitives.SUMS else anything(op.outs[0])
    if counted or reduced.all():  # A sum over a batch depends on its size.
        return Known(nonzero, np.zeros(nonzero.shape, value.dtype))
    return Known(reduced, value.sum(axis=axes).astype(op.outs[0].dtype))


def _dot_general(op: Op, x: Known, y: Known) -> Known:
    left, right, out, inner = contraction(op)
    varies = any_product(x.varies, left, y.nonzero, right, out)
    if not y.is_constant:
        varies = varies | any_product(x.nonzero, left, y.varies, right, out)
    if varies.all():
        return anything(op.outs[0])
    counted = any(
        x.value.shape[left.index(name)] == 1
        and y.value.shape[right.index(name)] == 1
        and op.ins[0].shape[left.index(name)] > 1
        for name in inner
    )
    if counted:
        return nonzero_only(
            Known(any_product(x.nonzero, left, y.nonzero, right, out), np.zeros(()))
        )
    value = sum_product(*_reduced(x, left, y, right, out))
    return Known(*broadcast([varies, value.astype(op.outs[0].dtype)], len(out)))


def _reduced(x: Known, left: str, y: Known, right: str, out: str) -> Any:
    def masked(known: Known) -> np.ndarray:
        value = np.where(known.varies, np.zeros((), known.value.dtype), known.value)
        return value.astype(np.result_type(value.dtype, np.float32))

    return masked(x), left, masked(y), right, out


def _conv(op: Op, x: Known, y: Known) -> Known:
    if op.params["batch_group_count"] != 1:
        return anything(op.outs[0])
    names = CONV_NAMES

    def connected(lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
        image, kernel = conv_parts(op, lhs, rhs)
        return any_product(image, names[0], kernel, names[1], names[2])

    varies = connected(x.varies, y.nonzero)
    if not y.is_constant:
        varies = varies | connected(x.nonzero, y.varies)
    if varies.all():
        return anything(op.outs[0])
    conv = convolution(op)
    flat = all(x.value.shape[i] == 1 for i in conv.lhs[2:])
    if conv.is_padded or not flat or not y.is_constant:
        # Borders see fewer pixels.
        nonzero = conv_result(op, connected(x.nonzero, y.nonzero))
        return nonzero_only(Known(nonzero, np.zeros(nonzero.shape, x.value.dtype)))
    spatial = conv.rhs[2:]
    counts = [op.ins[1].shape[i] if y.value.shape[i] == 1 else 1 for i in spatial]
    kernel = y.value.astype(np.float32).sum(spatial, keepdims=True) * np.prod(counts)
    image, _ = conv_parts(op, np.ones(x.value.shape, bool), y.nonzero)
    value = np.where(x.varies, 0, x.value).astype(np.float32)
    value = value.transpose(conv.lhs).reshape(value.shape[conv.lhs[0]], -1)
    value = value.reshape(value.shape[0], *image.shape[1:])
    result = sum_product(value, names[0], conv_kernel(op, kernel), names[1], names[2])
    varied, value = broadcast(
        [conv_result(op, varies), conv_result(op, result)], op.outs[0].ndim
    )
    return Known(varied, value.astype(op.outs[0].dtype))


# Where entries meet others of their axis, all of it counts as one.


def _mixing(axes_of: Callable[[Op], Sequence[int]]) -> Callable[..., Known]:
    def rule(op: Op, x: Known, *others: Known) -> Known:
        del others
        nonzero = any_along(x.nonzero, axes_of(op))
        return Known(nonzero, np.zeros(nonzero.shape, x.value.dtype))

    return rule


def _window(op: Op, x: Known, *others: Known) -> Known:
    """Pools of zeros are zeros, also next to a border of minus infinity."""
    del others
    axes = window_axes(op)
    sizes = op.params["window_dimensions"]
    if any(max(pad) >= size for pad, size in zip(op.params["padding"], sizes, strict=True)):
        return anything(op.outs[0])  # A window may hold nothing but the border.
    nonzero = any_along(x.nonzero, axes)
    return Known(nonzero, np.zeros(nonzero.shape, x.value.dtype))


def _gather(op: Op, x: Known, indices: Known) -> Known:
    axes = primitives.gather(op)
    found = any_along(x.nonzero, axes.picked)
    # Where an index is out of bounds JAX may write NaN, whatever the entries: a mistake,
    # for which the smaller function need not make the same NaN.
    shape = [1] * op.outs[0].ndim
    for axis, target in axes.whole:
        shape[target] = found.shape[axis]
    mask = found.reshape(shape)
    return Known(mask, np.zeros(mask.shape, x.value.dtype))


def _update(op: Op, x: Known, new: Known, *starts: Known) -> Known:
    del starts
    axes = [i for i, n in enumerate(op.ins[1].shape) if n != op.ins[0].shape[i]]
    parts = broadcast(
        [any_along(x.nonzero, axes), any_along(new.nonzero, axes)], op.outs[0].ndim
    )
    mask = parts[0] | parts[1]
    return Known(mask, np.zeros(mask.shape, x.value.dtype))


RULES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _moving(_broadcast_in_dim),
    "reshape": _moving(_reshape),
    "transpose": _moving(_transpose),
    "squeeze": _moving(_squeeze),
    "rev": _moving(_rev),
    "slice": _slice,
    "concatenate": _concatenate,
    "pad": _pad,
    "iota": _iota,
    "dot_general": _dot_general,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "dynamic_slice": _mixing(partial_axes),
    "dynamic_update_slice": _update,
    **dict.fromkeys(primitives.REDUCTIONS, _reduce),
    **dict.fromkeys(
        ("cumsum", "cummax", "cummin"), _mixing(lambda op: [op.params["axis"]])
    ),
    **dict.fromkeys(
        ("reduce_window_sum", "reduce_window_max", "reduce_window_min"), _window
    ),
}
