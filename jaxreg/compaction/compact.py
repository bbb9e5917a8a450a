"""From zeros to a smaller model: the same function on smaller arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxreg._tree import Leaf, leaves_of
from jaxreg.compaction._analysis import Analysis, known_parameter
from jaxreg.compaction._costs import activation_bytes, multiply_adds
from jaxreg.compaction._fold import constant_sums
from jaxreg.compaction._forward import forward
from jaxreg.compaction._known import anything
from jaxreg.compaction._needed import backward
from jaxreg.compaction._plan import Plan
from jaxreg.compaction._program import Program, Value, structs, trace
from jaxreg.compaction._same import difference
from jaxreg.compaction._smaller import Kept, Smaller, reduced
from jaxreg.compaction.result import Compaction, Row


def compact(
    fn: Callable[..., Any],
    params: Any,
    *inputs: Any,
    drop_inputs: bool = False,
    kept: Kept | None = None,
) -> Compaction:
    """Make a smaller model of one with zeros: the same function on smaller arrays.

    A unit, channel, head or expert goes if it is zero for all inputs, if nothing that is
    not zero reads it, or if it is the same for all inputs (what it adds to its readers is
    then added as a constant). What goes follows from the parameters, never from the values
    of the inputs, so it holds for all of them, for other batch sizes and other lengths.

    It works on what `fn` does, not on layers, so `fn` may come from any framework: the
    `apply` of a linen or Haiku module, `nnx.merge(graphdef, params)(x)`,
    `eqx.combine(params, static)(x)`. Primitives without a rule keep all that they read and
    are named in `notes`.

    Args:
        fn: A pure function `fn(params, *inputs)`, as it is used: at inference, with
            dropout off and BatchNorm at its running averages.
        params: A pytree of arrays.
        *inputs: Example inputs, pytrees of arrays. A small batch will do.
        drop_inputs: Whether to leave out features of the inputs that no weight reads;
            `inputs` of the result says which indices it takes.
        kept: `kept` of an earlier result, to make the same smaller model of another
            checkpoint; `params` may then be a pytree of `jax.ShapeDtypeStruct`.

    Returns:
        A `Compaction`: call `small(small.params, *inputs)`, and print it for a table.

    Raises:
        TypeError: If parameters or inputs are no arrays, or `fn` no function.
        ValueError: If a parameter is not finite, `kept` does not fit, or the smaller
            function would differ by more than rounding, as for a function that is not pure.

    Example:
        >>> params = {"hidden": jnp.array([[1.0, 0.0, 2.0]]), "out": jnp.ones((3, 1))}
        >>> def fn(params, x):
        ...     return jnp.tanh(x @ params["hidden"]) @ params["out"]
        >>> x = jnp.ones((4, 1))
        >>> small = compact(fn, params, x)
        >>> small.params["hidden"]
        Array([[1., 2.]], dtype=float32)
        >>> bool(jnp.allclose(small(small.params, x), fn(params, x)))
        True
    """
    tree = _checked(fn, params, inputs)
    arrays = [leaf.value for leaf in tree]
    is_abstract = any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays)
    if is_abstract and kept is None:
        raise TypeError("params must be arrays, got jax.ShapeDtypeStruct without `kept`.")
    program, _ = trace(fn, structs(params), structs(inputs))
    paths = _paths(tree, inputs)
    if kept is None:
        found = Analysis(program, arrays, drop_inputs=drop_inputs)
        kept = found.as_data(paths)
        notes, reasons, unused = found.notes(), found.reasons(), found.unused(paths)
        added = found.added
    else:
        notes, reasons, unused = [], {}, {}
        added = None
    function = Smaller(fn, paths, _shapes(program), kept)
    plan = function.plan(program)
    if added is None:
        added = _added_again(program, plan, arrays, kept, is_abstract=is_abstract)
    function.added = added
    kept = {**kept, "constants": {str(i): x.tolist() for i, x in added.items()}}
    values = program.ins[: len(tree)]
    smaller = [reduced(plan, v, x) for v, x in zip(values, arrays, strict=True)]
    small_inputs = function.reduced_inputs(plan, program, inputs)
    small = Compaction(
        params=jax.tree.unflatten(jax.tree.structure(params), smaller),
        kept=kept,
        rows=tuple(_rows(tree, values, plan, reasons)),
        inputs=function.used_inputs(),
        unused_inputs=unused,
        notes=tuple(notes),
        multiply_adds=(
            multiply_adds(program, lambda v: v.shape),
            multiply_adds(program, plan.shape),
        ),
        activation_bytes=(
            activation_bytes(program, lambda v: v.shape),
            activation_bytes(program, plan.shape),
        ),
        function=jax.jit(function),
    )
    leaves = (*arrays, *jax.tree.leaves(inputs))
    if not any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
        full = jax.jit(lambda *arguments: fn(*arguments))(params, *inputs)
        problem = difference(full, small(small.params, *small_inputs))
        if problem:
            raise ValueError(
                "The smaller function must give the same on the example inputs, but it "
                f"differs by {problem}. A function that is not pure does so, which draws "
                "random numbers of its own or counts its calls. If yours is pure, this is "
                "a mistake of jaxreg: please report it, with the function."
            )
    return small


def _checked(fn: Any, params: Any, inputs: Sequence[Any]) -> list[Leaf]:
    if not callable(fn):
        raise TypeError(f"fn must be a function fn(params, *inputs), got {fn!r}.")
    tree = leaves_of(params)
    for leaf in tree:
        _check_array(leaf.described, leaf.value)
        if isinstance(leaf.value, jax.ShapeDtypeStruct):
            continue
        if _has_infinities(leaf.value):
            raise ValueError(
                f"Parameters must be finite, but {leaf.described} has NaN or infinite "
                "entries, which zeros do not cancel: 0 · NaN is NaN. Use a checkpoint from "
                "before the training diverged."
            )
    for index, given in enumerate(inputs):
        for x in jax.tree.leaves(given):
            _check_array(f"input {index}", x)
    return tree


def _has_infinities(x: Any) -> bool:
    if not jnp.issubdtype(jnp.result_type(x), jnp.inexact):
        return False
    wide = np.complex64 if jnp.iscomplexobj(x) else np.float32
    return not np.isfinite(np.asarray(x).astype(wide, copy=False)).all()


def _check_array(name: str, x: Any) -> None:
    if isinstance(x, Tracer):
        raise TypeError(
            "compact looks at the values of the parameters, so it cannot be called inside "
            "jit, grad or vmap. Call it outside, and its result inside."
        )
    if isinstance(x, jax.Array) and x.is_deleted():
        raise ValueError(
            f"{name} has been deleted: its buffer was donated to a function. Use the new "
            "array, which that function returned."
        )
    if not isinstance(x, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)) and (
        not isinstance(x, (bool, int, float, complex))
    ):
        raise TypeError(
            f"{name} must be an array, got {type(x).__name__}. Close over what is no "
            "array: fn = lambda params, x: model.apply(params, x, train=False)."
        )


def _paths(tree: Sequence[Leaf], inputs: Sequence[Any]) -> list[str]:
    """The names of the leaves of the parameters, and then of the inputs."""
    names = [leaf.path for leaf in tree]
    for index, given in enumerate(inputs):
        names += [
            "/".join(("inputs", str(index), *leaf.names)) for leaf in leaves_of(given)
        ]
    return names


def _shapes(program: Program) -> list[tuple[int, ...]]:
    return [value.shape for value in program.ins]


def _added_again(
    program: Program, plan: Plan, arrays: list[Any], kept: Kept, *, is_abstract: bool
) -> dict[int, np.ndarray]:
    """The constants of a compaction that is made again."""
    if is_abstract:
        return {
            int(number): np.asarray(values, np.float32)
            for number, values in kept.get("constants", {}).items()
        }
    known = [known_parameter(x) for x in arrays]
    known += [anything(value) for value in program.ins[len(arrays) :]]
    facts = forward(program, known)
    uses = backward(program, facts)
    return constant_sums(program, plan.ties, facts, uses, plan.removed)


def _rows(
    tree: Sequence[Leaf], values: Sequence[Value], plan: Plan, reasons: Mapping[Any, str]
) -> list[Row]:
    return [
        Row(leaf.path, value.shape, plan.shape(value), reasons.get(value, ""))
        for leaf, value in zip(tree, values, strict=True)
    ]
