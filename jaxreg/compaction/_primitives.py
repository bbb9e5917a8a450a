"""What the axes of a primitive's operands and results have to do with one another.

One place that says which primitives are known, read by the analysis of zeros, by the search
for what must go together, and where the smaller function is evaluated.
"""

import string
from typing import Any, NamedTuple

from jaxreg.compaction._program import Op

UNARY = (
    "abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil conj "
    "convert_element_type copy copy_p cos cosh digamma erf erf_inv erfc exp exp2 expm1 "
    "floor imag integer_pow is_finite lgamma log log1p logistic name neg not "
    "population_count real reduce_precision relu reshard round rsqrt sharding_constraint "
    "sign sin sinh sqrt square stop_gradient tan tanh"
)
BINARY = (
    "add add_any and atan2 clamp complex div eq eq_to ge gt igamma igammac le le_to lt "
    "lt_to max min mul ne nextafter or pow rem select_n shift_left "
    "shift_right_arithmetic shift_right_logical sub xor"
)
ELEMENTWISE = frozenset(f"{UNARY} {BINARY}".split())
"""Each entry of the result is a function of those entries of the operands."""

SUMS = frozenset({"reduce_sum", "reduce_xor", "reduce_or"})
"""Reductions to which an entry that is zero adds nothing."""

REDUCTIONS = SUMS | {"reduce_max", "reduce_min", "reduce_prod", "reduce_and"}

ARG_REDUCTIONS = frozenset({"argmax", "argmin"})

CUMULATIVE = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})

WINDOWS = frozenset(
    {"reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window"}
)


class Contraction(NamedTuple):
    """A `dot_general` in letters, one for each axis.

    Attributes:
        left: Those of the first operand.
        right: Those of the second.
        out: Those of the result.
        inner: The letters that are summed over.
    """

    left: str
    right: str
    out: str
    inner: str


def contraction(op: Op) -> Contraction:
    """The axes of a `dot_general`."""
    (inner_x, inner_y), (batch_x, batch_y) = op.params["dimension_numbers"]
    x, y = op.ins
    names = iter(string.ascii_letters)
    left, right = [""] * x.ndim, [""] * y.ndim
    for i, j in (*zip(batch_x, batch_y, strict=True), *zip(inner_x, inner_y, strict=True)):
        left[i] = right[j] = next(names)
    left = [name or next(names) for name in left]
    right = [name or next(names) for name in right]
    batch = [left[i] for i in batch_x]
    inner = [left[i] for i in inner_x]
    free = [name for name in (*left, *right) if name not in batch and name not in inner]
    return Contraction(
        "".join(left), "".join(right), "".join((*batch, *free)), "".join(inner)
    )


class Convolution(NamedTuple):
    """The axes of a convolution.

    Attributes:
        lhs: Batch, features, and spatial axes of the images.
        rhs: Outputs, inputs, and spatial axes of the kernel.
        out: Batch, features, and spatial axes of the result.
        groups: Number of groups of features.
        is_padded: Whether zeros are put around or between the pixels.
    """

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]
    out: tuple[int, ...]
    groups: int
    is_padded: bool


def convolution(op: Op) -> Convolution:
    """The axes of a `conv_general_dilated`."""
    params = op.params
    lhs, rhs, out = params["dimension_numbers"]
    is_padded = any(low or high for low, high in params["padding"]) or any(
        n != 1 for n in params["lhs_dilation"]
    )
    return Convolution(
        tuple(lhs), tuple(rhs), tuple(out), params["feature_group_count"], is_padded
    )


class Gather(NamedTuple):
    """Which axes of a `gather` are taken whole.

    Attributes:
        whole: Pairs of an axis of the operand and the axis of the result that it becomes.
        picked: The axes of the operand of which indices pick some.
        batch: Pairs of an axis of the indices and the axis of the result.
    """

    whole: list[tuple[int, int]]
    picked: list[int]
    batch: list[tuple[int, int]]


def gather(op: Op) -> Gather:
    """The axes of a `gather`."""
    numbers: Any = op.params["dimension_numbers"]
    sizes = op.params["slice_sizes"]
    operand, indices = op.ins
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    offset = iter(numbers.offset_dims)
    whole: list[tuple[int, int]] = []
    picked: list[int] = []
    for axis, size in enumerate(sizes):
        target = None if axis in dropped else next(offset)
        is_whole = size == operand.shape[axis] and axis not in numbers.start_index_map
        if target is not None and is_whole:
            whole.append((axis, target))
        else:
            picked.append(axis)
    others = [i for i in range(op.outs[0].ndim) if i not in numbers.offset_dims]
    batch = list(zip(range(indices.ndim - 1), others, strict=True))
    return Gather(whole, picked, batch)


def window_axes(op: Op) -> list[int]:
    """The axes of a pool of which a window holds more than one index."""
    params = op.params
    sizes = zip(
        params["window_dimensions"],
        params["window_strides"],
        params["padding"],
        params["base_dilation"],
        strict=True,
    )
    alone = (1, 1, (0, 0), 1)
    return [
        axis
        for axis, (size, stride, pad, base) in enumerate(sizes)
        if (size, stride, tuple(pad), base) != alone
    ]


def partial_axes(op: Op) -> list[int]:
    """The axes of which a slice takes a part."""
    shape = op.ins[0].shape
    return [i for i, n in enumerate(op.outs[0].shape) if n != shape[i]]
