"""Which entries are zero or constant, from the first operation of a program to the last."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._forward_rules import RULES, split
from jaxreg.compaction._known import Facts, Known, anything, fixed
from jaxreg.compaction._masks import broadcast, is_same
from jaxreg.compaction._program import Op, Program, Value


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
            results = split(op, *arguments)
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
        while True:  # It ends: what may vary only grows, and all of it may at most.
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
    nonzero = np.asarray(x.nonzero.any(axis=0))
    return Known(nonzero, np.zeros(nonzero.shape, x.value.dtype))


def _stacked(x: Known) -> Known:
    return Known(x.varies[None], x.value[None])


def _either(x: Known, y: Known) -> Known:
    parts = broadcast([x.varies, y.varies, x.value, y.value], x.varies.ndim)
    return Known(parts[0] | parts[1] | (parts[2] != parts[3]), parts[2]).settled()


def _differs(x: Known, y: Known) -> bool:
    return not is_same(x.varies, y.varies)


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
    **dict.fromkeys(
        ("stop_gradient", "copy", "sharding_constraint", "reshard"), lambda x: x
    ),
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
