"""Units that are the same for every input, and what they give to those that read them.

A unit whose incoming weights are zero and whose bias is not is relu(bias) for every input.
It can go as well: what it adds to its readers is a constant, computed here.
"""

from collections.abc import Mapping

import numpy as np

from jaxreg.compaction._convolutions import CONV_NAMES, conv_kernel
from jaxreg.compaction._known import Facts, Known
from jaxreg.compaction._masks import broadcast, sum_product
from jaxreg.compaction._needed import Uses
from jaxreg.compaction._primitives import contraction, convolution
from jaxreg.compaction._program import Op, Program
from jaxreg.compaction._removal import Removed
from jaxreg.compaction._ties import Ties


def pin_uneven(program: Program, ties: Ties, facts: Facts) -> None:
    """Pin constant units that are not the same at all positions: no sum serves them all."""
    for op in products(program):
        side = _side(op)
        if side is None:
            continue
        if op.kind == "dot_general":
            left, right, _, inner = contraction(op)
            names, other = (left, right) if side == 0 else (right, left)
            free = [i for i, name in enumerate(names) if name not in other]
            axes = [i for i, name in enumerate(names) if name in inner]
        else:
            conv = convolution(op)
            free, axes = [conv.lhs[0], *conv.lhs[2:]], [conv.lhs[1]]
        known = facts.known[op.ins[side]]
        if any(known.value.shape[i] > 1 or known.varies.shape[i] > 1 for i in free):
            ties.pin(op.ins[side], axes, "constant, but not everywhere", unless_zero=True)


def products(program: Program) -> list[Op]:
    """The matrix products and convolutions outside of loops, in order."""
    return [op for op in program.ops if op.kind in ("dot_general", "conv_general_dilated")]


def _side(op: Op) -> int | None:
    """Which operand of a product depends on the inputs, if the other does not."""
    first, second = (value.depends for value in op.ins)
    if first == second:
        return None
    if op.kind == "conv_general_dilated" and (
        second or convolution(op).groups > 1 or convolution(op).is_padded
    ):
        return None
    return 0 if first else 1


def constant_sums(
    program: Program, ties: Ties, facts: Facts, uses: Uses, removed: Removed
) -> dict[int, np.ndarray]:
    """For each product, by its number, what constant units that go contribute."""
    sums: dict[int, np.ndarray] = {}
    for number, op in enumerate(products(program)):
        side = _side(op)
        if side is None:
            continue
        x, weights = (facts.known[op.ins[i]] for i in (side, 1 - side))
        # What nothing depends on need not be the same everywhere, and is left out.
        varies, live = broadcast([x.varies, uses.live[op.ins[side]]], x.varies.ndim)
        x = Known(varies | ~live, x.value)
        if op.kind == "dot_general":
            term = _dot(op, side, x, weights, ties, removed)
        else:
            term = _conv(op, x, weights, ties, removed)
        if term is not None and np.any(term):
            sums[number] = term
    return sums


def _gone(x: Known, ndim: int, gone: Mapping[int, np.ndarray]) -> np.ndarray | None:
    """The values of constant entries that go, and 0 for all others."""
    if not any(mask.any() for mask in gone.values()) or x.varies.all():
        return None
    chosen = [
        mask.reshape([-1 if i == axis else 1 for i in range(ndim)])
        for axis, mask in gone.items()
    ]
    *masks, varies, value = broadcast([*chosen, x.varies, x.value], ndim)
    value = value.astype(np.result_type(value.dtype, np.float32))
    return np.where(np.logical_or.reduce(masks) & ~varies, value, 0)


def _dot(
    op: Op, side: int, x: Known, weights: Known, ties: Ties, removed: Removed
) -> np.ndarray | None:
    left, right, out, inner = contraction(op)
    names = left if side == 0 else right
    value = op.ins[side]
    others = right if side == 0 else left
    gone = {
        names.index(name): removed[ties.node(value, names.index(name))]
        | removed[ties.node(op.ins[1 - side], others.index(name))]
        for name in inner
    }
    kept = _gone(x, value.ndim, gone)
    if kept is None or not kept.any():
        return None
    matrix = weights.value.astype(np.result_type(weights.value.dtype, np.float32))
    return sum_product(kept, names, matrix, others, out)


def _conv(
    op: Op, x: Known, weights: Known, ties: Ties, removed: Removed
) -> np.ndarray | None:
    conv = convolution(op)
    value = op.ins[0]
    axis = conv.lhs[1]
    gone = removed[ties.node(value, axis)] | removed[ties.node(op.ins[1], conv.rhs[1])]
    kept = _gone(x, value.ndim, {axis: gone})
    if kept is None or not kept.any():
        return None
    kernel = weights.value.astype(np.float32).sum(conv.rhs[2:], keepdims=True)
    images = kept.transpose(conv.lhs).reshape(1, 1, -1)
    names = CONV_NAMES
    result = sum_product(images, names[0], conv_kernel(op, kernel), names[1], names[2])
    full = result.reshape(1, -1, *[1] * (len(conv.out) - 2))
    return full.transpose(np.argsort(conv.out))
