"""What a function costs: multiply-adds, and the bytes of what it computes."""

import math
from collections.abc import Callable

import numpy as np

from jaxreg.compaction._primitives import contraction, convolution
from jaxreg.compaction._program import Program, Value

ShapeOf = Callable[[Value], tuple[int, ...]]


def multiply_adds(program: Program, shape_of: ShapeOf) -> int:
    """Those of matrix products and convolutions."""
    count = 0
    for op in program.ops:
        if op.body is not None:
            count += op.params["length"] * multiply_adds(op.body, shape_of)
        elif op.kind == "dot_general":
            left, right, _, inner = contraction(op)
            x, y = map(shape_of, op.ins)
            lengths = [min(x[left.index(name)], y[right.index(name)]) for name in inner]
            count += math.prod(shape_of(op.outs[0])) * math.prod(lengths)
        elif op.kind == "conv_general_dilated":
            kernel = shape_of(op.ins[1])
            rhs = convolution(op).rhs
            size = math.prod(kernel[i] for i in rhs[1:])
            count += math.prod(shape_of(op.outs[0])) * size
    return count


def activation_bytes(program: Program, shape_of: ShapeOf) -> int:
    """Those of all results of operations that depend on the inputs."""
    count = 0
    for op in program.ops:
        if op.body is not None:
            count += op.params["length"] * activation_bytes(op.body, shape_of)
        count += sum(
            math.prod(shape_of(value)) * np.dtype(value.dtype).itemsize
            for value in op.outs
            if value.depends and _is_plain(value)
        )
    return count


def _is_plain(value: Value) -> bool:
    return isinstance(value.dtype, np.dtype)
