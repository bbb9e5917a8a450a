"""Which entries are zero, or the same for every input: from the first operation to the last.

About each entry of each array it is known whether it *varies* with the inputs, and what its
value is otherwise, which follows from the parameters. An entry is zero if it does not vary
and its value is 0. Whatever is not known for certain varies.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._masks import (
    any_along,
    any_product,
    broadcast,
    expand,
    reshape,
    sum_product,
    uniform,
)
from jaxreg.compaction._primitives import contraction, convolution
from jaxreg.compaction._program import Op, Program, Value


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What is known about the entries of an array; see `_masks` for its shape.

    Attributes:
        varies: Whether an entry depends on the inputs.
        value: What it is if it does not.
    """

    varies: np.ndarray
    value: np.ndarray

    @functools.cached_property
    def nonzero(self) -> np.ndarray:
        """Whether an entry is not zero, for some input."""
        if self.varies.all():
            return self.varies
        return self.varies | (self.value != 0)

    @functools.cached_property
    def is_constant(self) -> bool:
        """Whether no entry varies."""
        return not self.varies.any()

    def settled(self) -> "Known":
        """The same, where what is not finite varies, and what varies has the value 0."""
        if self.varies.all():
            ndim = self.varies.ndim
            return Known(self.varies, uniform(ndim, np.zeros((), self.value.dtype)))
        varies = self.varies
        if self.value.dtype.kind not in "biu":
            finite = np.isfinite(self.value.astype(np.float32, copy=False))
            varies = varies if finite.all() else varies | ~finite
        value = np.where(varies, np.zeros((), self.value.dtype), self.value)
        return Known(varies, value) if varies.any() else Known(varies, self.value)


def anything(value: Value) -> Known:
    """What is known about an array of which nothing is known."""
    return Known(uniform(value.ndim, True), uniform(value.ndim, 0.0))  # noqa: FBT003


def fixed(array: Any) -> Known:
    """What is known about parameters."""
    values = np.asarray(array)
    return Known(uniform(values.ndim, False), values)  # noqa: FBT003


def nonzero_only(known: Known) -> Known:
    """What is not zero then counts as varying, so that no value is relied on."""
    nonzero = known.nonzero
    return Known(nonzero, np.zeros(nonzero.shape, known.value.dtype))


Env = dict[Value, Known]


@dataclasses.dataclass(eq=False)
class Facts:
    """What is known about the values of a program.

    Attributes:
        known: By value.
        steps: For each loop, what is known in each of its steps; or in all, if there is
            one entry.
    """

    known: Env
    steps: dict[Op, list["Facts"]]


def forward(program: Program, ins: Sequence[Known]) -> Facts:
    """What is known about all values of a program, given its arguments."""
    facts = Facts(dict(zip(program.ins, ins, strict=True)), {})
    for value in program.constants:
        array = np.asarray(value.constant) if value.ndim == 0 else None
        # Arrays that a function makes itself may look different for other shapes.
        is_number = array is not None and array.dtype.kind in "biufV"
        known = fixed(array) if is_number else anything(value)
        facts.known[value] = _finite_or_any(known, value)
    for op in program.ops:
        arguments = [facts.known[value] for value in op.ins]
        if op.body is not None:
            results = _loop(op, op.body, arguments, facts)
        elif op.kind == "split":
            results = _split(op, *arguments)
        elif op.kind in primitives.ELEMENTWISE:
            results = _elementwise(op, arguments)
        elif op.kind in RULES:
            results = [RULES[op.kind](op, *arguments)]
        else:
            results = [anything(value) for value in op.outs]
        for value, known in zip(op.outs, results, strict=True):
            facts.known[value] = known.settled()
    return facts


def _finite_or_any(known: Known, value: Value) -> Known:
    if known.value.dtype.kind in "biu":
        return known
    is_finite = np.isfinite(known.value.astype(np.float32)).all()
    return known if is_finite else anything(value)


# Loops: `scan`.


def is_stack(op: Op) -> bool:
    """Whether a loop goes over stacked parameters, so that its length is theirs.

    Its steps are then looked at one by one. The length of any other loop may depend on
    the shapes of the inputs, so all steps are looked at as one.
    """
    xs = op.ins[op.params["num_consts"] + op.params["num_carry"] :]
    return any(x.is_leaf for x in xs) and not any(x.depends for x in xs)


def steps_of(op: Op) -> list[int]:
    """The steps of a loop, in order."""
    steps = list(range(op.params["length"]))
    return steps[::-1] if op.params["reverse"] else steps


def _loop(op: Op, body: Program, ins: Sequence[Known], facts: Facts) -> list[Known]:
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    consts, xs = list(ins[:n_consts]), list(ins[n_consts + n_carry :])
    carry = list(ins[n_consts : n_consts + n_carry])
    steps: list[Facts] = []
    ys: list[Known] = []
    if is_stack(op):
        for index in steps_of(op):
            steps.append(forward(body, [*consts, *carry, *(_at(x, index) for x in xs)]))
            outs = [steps[-1].known[value] for value in body.outs]
            carry, new = outs[:n_carry], outs[n_carry:]
            ys = list(map(_either, ys, new)) if ys else new
    else:
        while True:
            inside = forward(body, [*consts, *carry, *map(_any_step, xs)])
            outs = [inside.known[value] for value in body.outs]
            joined = list(map(_either, carry, outs[:n_carry]))
            ys = outs[n_carry:]
            if not any(map(_differs, carry, joined)):
                break
            carry = joined
        steps = [inside]
    facts.steps[op] = steps
    return [*carry, *(_stacked(y) for y in ys)]


def _at(x: Known, index: int) -> Known:
    def taken(array: np.ndarray) -> np.ndarray:
        return array[index if array.shape[0] > 1 else 0]

    return Known(taken(x.varies), taken(x.value))


def _any_step(x: Known) -> Known:
    if x.varies.shape[0] == 1 and x.value.shape[0] == 1:
        return Known(x.varies[0], x.value[0])
    nonzero = x.nonzero.any(axis=0)
    return Known(nonzero, np.zeros(nonzero.shape, x.value.dtype))


def _stacked(x: Known) -> Known:
    return Known(x.varies[None], x.value[None])


def _either(x: Known, y: Known) -> Known:
    parts = broadcast([x.varies, y.varies, x.value, y.value], x.varies.ndim)
    return Known(parts[0] | parts[1] | (parts[2] != parts[3]), parts[2]).settled()


def _differs(x: Known, y: Known) -> bool:
    return not np.array_equal(*broadcast([x.varies, y.varies], x.varies.ndim))


# Entry by entry.


def _elementwise(op: Op, ins: Sequence[Known]) -> list[Known]:
    ndim = op.outs[0].ndim
    varies = functools.reduce(np.logical_or, broadcast([k.varies for k in ins], ndim))
    if op.kind in ("mul", "and"):
        x, y = ins
        nonzero = broadcast([x.nonzero, y.nonzero], ndim)
        varies = varies & nonzero[0] & nonzero[1]
    elif op.kind == "div":
        # 0/0 is not 0, but 0 divided by what depends on the inputs is.
        x, y = ins
        nonzero = broadcast([x.nonzero, y.nonzero], ndim)
        varies = varies & (nonzero[0] | ~nonzero[1])
    elif op.kind == "select_n":
        varies = varies & ~_all_zero(ins[1:], ndim)
    if varies.all():
        return [anything(value) for value in op.outs]
    values = broadcast([k.value for k in ins], ndim)
    if op.kind == "div":  # a divisor that varies is not zero
        values = [
            values[0],
            np.where(broadcast([ins[1].varies, varies], ndim)[0], 1, values[1]).astype(
                values[1].dtype
            ),
        ]
    value = _computed(op, values)
    varies, value = broadcast([varies, value], ndim)
    return [Known(varies, value)]


def _all_zero(cases: Sequence[Known], ndim: int) -> np.ndarray:
    nonzero = broadcast([case.nonzero for case in cases], ndim)
    return ~functools.reduce(np.logical_or, nonzero)


_NUMPY: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "stop_gradient": lambda x: x,
    "copy": lambda x: x,
    "relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
}


def _computed(op: Op, values: Sequence[np.ndarray]) -> np.ndarray:
    """What an operation makes of numbers."""
    dtypes = {value.dtype for value in op.ins}
    is_float = all(np.issubdtype(dtype, np.floating) for dtype in dtypes)
    with np.errstate(all="ignore"):
        if op.kind in _NUMPY and (is_float or op.kind != "div"):
            return np.asarray(_NUMPY[op.kind](*values)).astype(op.outs[0].dtype)
        if op.kind == "convert_element_type":
            return values[0].astype(op.outs[0].dtype)
    exact = [x.astype(v.dtype) for x, v in zip(values, op.ins, strict=True)]
    with jax.ensure_compile_time_eval():
        result = op.eqn.primitive.bind(*map(jax.numpy.asarray, exact), **op.params)
        return np.asarray(result[0] if op.eqn.primitive.multiple_results else result)


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


def partial_axes(op: Op) -> list[int]:
    """The axes of which a slice takes a part."""
    value = op.ins[0]
    return [i for i, n in enumerate(op.outs[0].shape) if n != value.shape[i]]


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


def _split(op: Op, x: Known) -> list[Known]:
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


def conv_names(op: Op) -> tuple[str, str, str]:
    """Letters for images, kernel and result, where features are split into groups.

    Spatial axes are of length 1, and have none; see `conv_parts`.
    """
    del op
    return "ngi", "goi", "ngo"


def conv_parts(op: Op, lhs: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of images as (batch, group, feature), of a kernel as (group, output, input)."""
    conv = convolution(op)
    x = any_along(lhs, conv.lhs[2:]).transpose(conv.lhs)
    x = x.reshape(x.shape[:2])
    groups = conv.groups
    features = op.ins[0].shape[conv.lhs[1]]
    if x.shape[1] == 1:
        x = x.reshape(x.shape[0], 1, 1)
    else:
        x = x.reshape(x.shape[0], groups, features // groups)
    return x, conv_kernel(op, any_along(rhs, conv.rhs[2:]))


def conv_kernel(op: Op, rhs: np.ndarray) -> np.ndarray:
    """A kernel whose spatial axes have length 1, as (group, output, input)."""
    conv = convolution(op)
    outputs = op.ins[1].shape[conv.rhs[0]]
    k = rhs.transpose(conv.rhs)
    k = k.reshape(k.shape[:2])
    if k.shape[0] == 1:
        return k.reshape(1, 1, k.shape[1])
    return k.reshape(conv.groups, outputs // conv.groups, k.shape[1])


def conv_result(op: Op, mask: np.ndarray) -> np.ndarray:
    """What is known of (batch, group, feature), for the axes of the result."""
    conv = convolution(op)
    features = op.outs[0].shape[conv.out[1]]
    if mask.shape[1:] != (1, 1):
        mask = np.broadcast_to(mask, (mask.shape[0], conv.groups, features // conv.groups))
    mask = mask.reshape(mask.shape[0], -1)
    full = mask.reshape(*mask.shape, *[1] * (len(conv.out) - 2))
    return full.transpose(np.argsort(conv.out))


def _conv(op: Op, x: Known, y: Known) -> Known:
    if op.params["batch_group_count"] != 1:
        return anything(op.outs[0])
    names = conv_names(op)

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


def window_axes(op: Op) -> list[int]:
    return [axis for axis, is_pooled in enumerate(primitives.pooled_axes(op)) if is_pooled]


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


def dynamic_axes(op: Op) -> list[int]:
    """The axes of which a `dynamic_slice` takes a part."""
    return partial_axes(op)


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
    "dynamic_slice": _mixing(dynamic_axes),
    "dynamic_update_slice": _update,
    **dict.fromkeys(primitives.REDUCTIONS, _reduce),
    **dict.fromkeys(
        ("cumsum", "cummax", "cummin"), _mixing(lambda op: [op.params["axis"]])
    ),
    **dict.fromkeys(
        ("reduce_window_sum", "reduce_window_max", "reduce_window_min"), _window
    ),
}
