"""A function as a list of operations: its jaxpr with the calls written out.

A jaxpr says the same for every framework: which primitive is applied to which arrays. Here
functions that are called (`jit`, JAX's own functions with custom derivatives) are replaced
by what they do, and so is `jax.checkpoint`, of which the operations keep a note; loops
(`scan`) keep a body; everything else is one operation.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

CHECKPOINTS = ("remat", "remat2", "checkpoint")
CALLS = ("pjit", "jit", "closed_call", "core_call", *CHECKPOINTS)


@dataclasses.dataclass(eq=False)
class Value:
    """An array in a program, by identity.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        depends: Whether it is computed from an input of the function, rather than from
            parameters alone.
        constant: What it is, for literals and arrays that the function closes over.
        is_leaf: Whether it is a whole leaf of the parameters, perhaps in another precision.
    """

    shape: tuple[int, ...]
    dtype: Any
    depends: bool = False
    constant: Any = None
    is_leaf: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """One use of `jax.checkpoint` in a function, by identity.

    Attributes:
        policy: Which intermediate results are saved for the derivative.
        prevent_cse: Whether the compiler may not merge what is computed twice.
    """

    policy: Any
    prevent_cse: Any


@dataclasses.dataclass(eq=False)
class Op:
    """An operation of a program.

    Attributes:
        kind: The name of its primitive.
        ins: What it reads.
        outs: What it computes.
        params: The parameters of the primitive.
        eqn: The equation of the jaxpr.
        body: What a loop repeats.
        checkpoints: The checkpoints around it, from the outermost.
    """

    kind: str
    ins: list[Value]
    outs: list[Value]
    params: dict[str, Any]
    eqn: Any
    body: "Program | None" = None
    checkpoints: tuple[Checkpoint, ...] = ()


@dataclasses.dataclass(eq=False)
class Program:
    """A function as operations on values.

    Attributes:
        ins: Its arguments.
        outs: Its results.
        ops: What it does, in order.
        constants: The literals, and the arrays that it closes over.
    """

    ins: list[Value]
    outs: list[Value]
    ops: list[Op]
    constants: list[Value]

    def every_op(self) -> list[Op]:
        """All operations, those of the bodies of loops too."""
        return [
            inner
            for op in self.ops
            for inner in (op, *(op.body.every_op() if op.body else ()))
        ]


def structs(tree: Any) -> Any:
    """The shapes and dtypes of a pytree of arrays."""

    def struct(x: Any) -> Any:
        aval = jax.typeof(x) if not isinstance(x, jax.ShapeDtypeStruct) else x
        return jax.ShapeDtypeStruct(
            aval.shape, aval.dtype, weak_type=bool(getattr(aval, "weak_type", False))
        )

    return jax.tree.map(struct, tree)


def trace(
    fn: Callable[..., Any], params: Any, inputs: Sequence[Any]
) -> tuple[Program, Any]:
    """The program of `fn(params, *inputs)`, from shapes alone.

    Args:
        fn: The function.
        params: Its parameters: arrays or their `jax.ShapeDtypeStruct`.
        inputs: Its inputs, likewise.

    Returns:
        The program, whose arguments are the leaves of `params` and then those of the
        inputs; and the structure of its result.
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(params, *inputs)
    count = len(jax.tree.leaves(params))
    jaxpr = closed.jaxpr
    ins = [
        _value(var.aval, depends=index >= count) for index, var in enumerate(jaxpr.invars)
    ]
    for value in ins[:count]:
        value.is_leaf = True
    constants: list[Value] = []
    ops: list[Op] = []
    outs = _inline(jaxpr, closed.consts, ins, ops, constants)
    return Program(ins, outs, _used(ops, outs), constants), jax.tree.structure(shapes)


def _value(aval: Any, *, depends: bool) -> Value:
    return Value(tuple(aval.shape), aval.dtype, depends)


def _inline(
    jaxpr: Any,
    consts: Sequence[Any],
    ins: Sequence[Value],
    ops: list[Op],
    constants: list[Value],
    checkpoints: tuple[Checkpoint, ...] = (),
) -> list[Value]:
    """Append the operations of a jaxpr, and return its results."""
    env: dict[Any, Value] = dict(zip(jaxpr.invars, ins, strict=True))
    for var, const in zip(jaxpr.constvars, consts, strict=True):
        value = _value(var.aval, depends=False)
        value.constant = const
        constants.append(value)
        env[var] = value

    def read(atom: Any) -> Value:
        if not isinstance(atom, core.Literal):
            return env[atom]
        value = _value(atom.aval, depends=False)
        value.constant = np.asarray(atom.val, value.dtype)
        constants.append(value)
        return value

    for eqn in jaxpr.eqns:
        arguments = [read(atom) for atom in eqn.invars]
        called = _called(eqn)
        if eqn.primitive.name == "optimization_barrier":
            results = arguments
        elif called is not None:
            inner, closed_over = called
            around = (*checkpoints, *_checkpoint(eqn))
            results = _inline(inner, closed_over, arguments, ops, constants, around)
        else:
            op = _operation(eqn, arguments)
            op.checkpoints = checkpoints
            results = op.outs
            ops.append(op)
        env.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _called(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr that an equation calls, if all it does is that."""
    if eqn.primitive.name in CALLS:
        inner = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
    elif eqn.primitive.name == "custom_jvp_call" and _source(eqn) == "jax":
        inner = eqn.params["call_jaxpr"]
    else:
        return None
    return (inner.jaxpr, inner.consts) if hasattr(inner, "jaxpr") else (inner, ())


def _checkpoint(eqn: Any) -> tuple[Checkpoint, ...]:
    """That which an equation is, if it is one."""
    if eqn.primitive.name not in CHECKPOINTS:
        return ()
    return (Checkpoint(eqn.params["policy"], eqn.params["prevent_cse"]),)


def _source(eqn: Any) -> str:
    """Who defines the derivative of a `custom_jvp_call`: `relu`, `jax` or `user`."""
    info = getattr(eqn.params["call_jaxpr"].jaxpr, "debug_info", None)
    name = str(getattr(info, "func_src_info", "")).replace("\\", "/")
    if "/jax/_src/" not in name:
        return "user"
    # Its derivative at zero is 0, where that of max(x, 0) is ½.
    return "relu" if name.startswith("relu ") else "jax"


def _operation(eqn: Any, ins: list[Value]) -> Op:
    depends = any(value.depends for value in ins)
    outs = [_value(var.aval, depends=depends) for var in eqn.outvars]
    kind = eqn.primitive.name
    if kind == "convert_element_type":
        outs[0].is_leaf = ins[0].is_leaf
    if kind == "custom_jvp_call" and _source(eqn) == "relu":
        return Op("relu", ins, outs, {}, eqn)
    if kind != "scan" or eqn.effects:
        return Op(kind, ins, outs, dict(eqn.params), eqn)
    closed = eqn.params["jaxpr"]
    params = {**eqn.params, **_sizes_of_scan(eqn.params)}
    consts, carry = params["num_consts"], params["num_carry"]
    # A carry depends on the inputs as soon as anything in the loop does.
    inner_ins = [
        _value(var.aval, depends=depends if index >= consts else ins[index].depends)
        for index, var in enumerate(closed.jaxpr.invars)
    ]
    for index in range(consts + carry, len(ins)):
        inner_ins[index].depends = ins[index].depends
    constants: list[Value] = []
    ops: list[Op] = []
    inner_outs = _inline(closed.jaxpr, closed.consts, inner_ins, ops, constants)
    body = Program(inner_ins, inner_outs, _used(ops, inner_outs), constants)
    return Op(kind, ins, outs, params, eqn, body)


def _sizes_of_scan(params: Mapping[str, Any]) -> dict[str, int]:
    """How many of the operands of a scan are constants, and how many the carry."""
    if "num_consts" in params:
        return {}
    # JAX 0.12 has them as trees.
    consts, carry, _ = (len(list(part.vals)) for part in params["ft_in"].unpack())
    return {"num_consts": consts, "num_carry": carry}


def _used(ops: list[Op], outs: Sequence[Value]) -> list[Op]:
    """The operations that the results need, and those that have effects."""
    needed = {id(value) for value in outs}
    kept: list[Op] = []
    for op in reversed(ops):
        if op.eqn.effects or any(id(value) in needed for value in op.outs):
            needed.update(id(value) for value in op.ins)
            kept.append(op)
    return kept[::-1]
