"""From zeros to a smaller model: the same function on smaller arrays."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxreg._tree import Leaf, leaves_of
from jaxreg.compaction._costs import activation_bytes, multiply_adds
from jaxreg.compaction._evaluate import Plan, evaluate
from jaxreg.compaction._fold import constant_sums, pin_uneven
from jaxreg.compaction._known import Facts, Known, anything, fixed, forward
from jaxreg.compaction._needed import backward, unread
from jaxreg.compaction._program import Program, Value, structs, trace
from jaxreg.compaction._removal import (
    IN_USE,
    Search,
    StructureError,
    closure,
    kept_indices,
)
from jaxreg.compaction._ties import Node, Ties, ties_of
from jaxreg.compaction.result import Compaction, Row

Kept = Mapping[str, Any]


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
        found = _Analysis(program, arrays, drop_inputs=drop_inputs)
        kept = found.as_data(paths)
        notes, reasons, unused = found.notes(), found.reasons(), found.unused(paths)
        added = found.added
    else:
        notes, reasons, unused = [], {}, {}
        added = None
    function = _Smaller(fn, paths, _shapes(program), kept)
    plan = function.plan(program)
    if added is None:
        added = _added_again(program, plan, arrays, kept, is_abstract=is_abstract)
    function.added = added
    kept = {**kept, "constants": {str(i): x.tolist() for i, x in added.items()}}
    values = program.ins[: len(tree)]
    smaller = [_reduce(plan, v, x) for v, x in zip(values, arrays, strict=True)]
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
        _check_same(full, small(small.params, *small_inputs))
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


def _reduce(plan: Plan, value: Value, x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(plan.shape(value), x.dtype)
    if isinstance(x, jax.Array) and len(x.sharding.device_set) > 1:
        return plan.reduced(value, x)  # stays as it is split
    if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
        return x
    smaller = plan.reduced(value, np.asarray(x))
    return x if smaller is x or smaller.shape == np.shape(x) else jnp.asarray(smaller)


class _Analysis:
    """What can go from a program with certain parameters."""

    def __init__(self, program: Program, arrays: list[Any], *, drop_inputs: bool) -> None:
        self.program, self.count = program, len(arrays)
        known = [_fixed(x) for x in arrays]
        known += [anything(value) for value in program.ins[len(arrays) :]]
        self.facts: Facts = forward(program, known)
        self.uses = backward(program, self.facts)
        inputs = program.ins[len(arrays) :]
        is_used = [bool(self.uses.needed[value].any()) for value in inputs]
        self.ties: Ties = ties_of(program, [not (drop_inputs and used) for used in is_used])
        pin_uneven(program, self.ties, self.facts)
        self.search = Search(self.ties, self.uses, self._unread(known))
        seeds = {
            node: self.search.removed[node]
            for value in program.ins
            for node in self.ties.nodes.get(value, ())
        }
        self.removed, self.choices = closure(self.ties, seeds, self.search.removed)
        self.added = constant_sums(program, self.ties, self.facts, self.uses, self.removed)

    def _unread(self, known: list[Known]) -> dict[Node, np.ndarray]:
        """Slices with entries that only other shapes of the inputs might need."""
        kept: dict[Node, np.ndarray] = {}
        for value, mask, about in zip(
            self.program.ins, unread(self.program), known, strict=True
        ):
            if value.depends or not mask.any() or mask.all():
                continue
            lost = np.broadcast_to(mask, value.shape) & about.nonzero
            for axis in range(value.ndim):
                others = tuple(i for i in range(value.ndim) if i != axis)
                kept[self.ties.node(value, axis)] = lost.any(axis=others)
                if mask.shape[axis] > 1:  # The indices that are read may be others.
                    kept[self.ties.node(value, axis)] = np.ones(value.shape[axis], bool)
        return kept

    def as_data(self, paths: Sequence[str]) -> dict[str, Any]:
        """What stays of each argument that loses something, as plain data."""
        slices: dict[str, dict[str, list[int]]] = {}
        for path, value in zip(paths, self.program.ins, strict=True):
            for axis in range(value.ndim):
                gone = self.removed[self.ties.node(value, axis)]
                if gone.any():
                    indices = kept_indices(gone).tolist()
                    slices.setdefault(path, {})[str(axis)] = indices
        choices = {str(number): factor for number, factor in self.choices.items()}
        return {"slices": slices, "emptied": choices}

    def notes(self) -> list[str]:
        """Sentences about what was left alone."""
        notes: list[str] = []
        if not any(
            self.removed[node].any()
            for value in self.program.ins
            for node in self.ties.nodes[value]
        ):
            notes.append("No slice of the parameters can go: there are no zeros to remove.")
        if self.ties.unknown:
            names = ", ".join(sorted(self.ties.unknown))
            notes.append(
                f"All that these primitives read was kept, for want of a rule: {names}."
            )
        return notes

    def reasons(self) -> dict[Value, str]:
        """For leaves of the parameters, why slices that are zero by themselves stayed."""
        reasons: dict[Value, str] = {}
        for value in self.program.ins[: self.count]:
            texts: list[str] = []
            for axis in range(value.ndim):
                node = self.ties.node(value, axis)
                others = tuple(i for i in range(value.ndim) if i != axis)
                live = np.broadcast_to(self.uses.live[value], value.shape)
                dead = ~live.any(axis=others) & ~self.removed[node]
                for number in np.unique(self.search.why[node][dead]):
                    reason = self.search.reasons[number]
                    if reason and reason != IN_USE:
                        count = int((self.search.why[node][dead] == number).sum())
                        texts.append(f"axis {axis}: {count} × {reason}")
            reasons[value] = "; ".join(texts)
        return reasons

    def unused(self, paths: Sequence[str]) -> dict[str, dict[int, list[int]]]:
        """Features of the inputs that nothing depends on."""
        found: dict[str, dict[int, list[int]]] = {}
        for path, value in zip(
            paths[self.count :], self.program.ins[self.count :], strict=True
        ):
            mask = self.uses.needed[value]
            for axis in range(value.ndim):
                others = tuple(i for i in range(value.ndim) if i != axis)
                unused = ~mask.any(axis=others)
                if mask.shape[axis] > 1 and unused.any():
                    found.setdefault(path, {})[axis] = np.flatnonzero(unused).tolist()
            if value.size and not mask.any():
                found.setdefault(path, {})
        return found


def _fixed(x: Any) -> Known:
    if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
        shape = (1,) * np.ndim(x)
        return Known(np.ones(shape, bool), np.zeros(shape))
    return fixed(x)


class _Smaller:
    """The smaller function. It traces the full one for the shapes that it gets."""

    def __init__(
        self,
        fn: Callable[..., Any],
        paths: list[str],
        shapes: list[tuple[int, ...]],
        kept: Kept,
    ) -> None:
        self.fn, self.paths, self.shapes = fn, paths, shapes
        self.slices: dict[str, dict[int, np.ndarray]] = {
            path: {int(axis): np.asarray(found, np.int64) for axis, found in axes.items()}
            for path, axes in kept["slices"].items()
        }
        for path, axes in self.slices.items():
            if path not in paths or any(
                axis >= len(shape) or (len(found) and found.max() >= shape[axis])
                for shape in [shapes[paths.index(path)]]
                for axis, found in axes.items()
            ):
                raise ValueError(f"`kept` does not fit these parameters, at {path!r}.")
        self.choices = {int(i): factor for i, factor in kept.get("emptied", {}).items()}
        self.added: dict[int, np.ndarray] = {}

    def plan(self, program: Program) -> Plan:
        """How the function is evaluated for certain shapes.

        Raises:
            ValueError: If slices cannot go there that went for the example inputs.
        """
        is_cut = [
            any(path in self.slices for path in [path]) and value.depends
            for path, value in zip(self.paths, program.ins, strict=True)
        ]
        inputs = [
            not cut for cut, value in zip(is_cut, program.ins, strict=True) if value.depends
        ]
        ties = ties_of(program, inputs)
        seeds: dict[Node, np.ndarray] = {}
        for path, value in zip(self.paths, program.ins, strict=True):
            for axis in range(value.ndim):
                gone = np.zeros(value.shape[axis], bool)
                if axis in self.slices.get(path, {}):
                    gone[:] = True
                    gone[self.slices[path][axis]] = False
                seeds[ties.node(value, axis)] = gone
        try:
            removed, _ = closure(ties, seeds, choices=self.choices)
        except StructureError as error:
            raise ValueError(
                "For inputs of these shapes the function is built differently, so that "
                f"slices that were removed are needed ({error}). Give compact example "
                "inputs of the shapes that the function will get."
            ) from None
        return Plan(program, ties, removed, self.added)

    def __call__(self, params: Any, *inputs: Any) -> Any:
        count = len(jax.tree.leaves(params))
        full_params = self._full(params, self.paths[:count], self.shapes[:count])
        full_inputs = self._full(inputs, self.paths[count:], self.shapes[count:])
        program, structure = trace(self.fn, full_params, full_inputs)
        plan = self.plan(program)
        results = evaluate(plan, jax.tree.leaves((params, inputs)))
        return jax.tree.unflatten(structure, results)

    def _full(
        self, tree: Any, paths: Sequence[str], shapes: Sequence[tuple[int, ...]]
    ) -> Any:
        """The shapes before anything was removed."""
        leaves, structure = jax.tree.flatten(tree)
        if len(leaves) != len(paths):
            raise TypeError(
                "The smaller function takes parameters and inputs of the same structure "
                f"as the full one: {len(paths)} leaves here, got {len(leaves)}."
            )
        return jax.tree.unflatten(
            structure,
            [
                self._full_leaf(path, shape, x)
                for path, shape, x in zip(paths, shapes, leaves, strict=True)
            ],
        )

    def _full_leaf(self, path: str, full: tuple[int, ...], x: Any) -> Any:
        struct = structs(x)
        shape = list(struct.shape)
        is_parameter = not path.startswith("inputs/")
        own = self.slices.get(path, {})
        wanted = tuple(len(own[i]) if i in own else n for i, n in enumerate(full))
        if len(shape) == len(full):
            for axis, indices in own.items():
                if shape[axis] == len(indices):
                    shape[axis] = full[axis]
        is_wrong = (
            tuple(struct.shape) != wanted
            if is_parameter
            else any(struct.shape[i] != len(own[i]) for i in own)
        )
        if is_wrong:
            raise ValueError(
                f"{path!r} must have the shape {wanted} here, got {tuple(struct.shape)}. "
                "Pass the `.params` of the compaction, or what was trained from them."
            )
        return jax.ShapeDtypeStruct(tuple(shape), struct.dtype, weak_type=struct.weak_type)

    def used_inputs(self) -> dict[str, dict[int, list[int]]]:
        """For inputs that are cut, the indices that they must have."""
        return {
            path: {axis: found.tolist() for axis, found in axes.items()}
            for path, axes in self.slices.items()
            if path in self.paths[self._first_input() :]
        }

    def _first_input(self) -> int:
        return next(
            (i for i, path in enumerate(self.paths) if path.startswith("inputs/")),
            len(self.paths),
        )

    def reduced_inputs(self, plan: Plan, program: Program, inputs: Any) -> Any:
        leaves, structure = jax.tree.flatten(inputs)
        values = program.ins[len(program.ins) - len(leaves) :]
        return jax.tree.unflatten(
            structure, [_reduce(plan, v, x) for v, x in zip(values, leaves, strict=True)]
        )


def _added_again(
    program: Program, plan: Plan, arrays: list[Any], kept: Kept, *, is_abstract: bool
) -> dict[int, np.ndarray]:
    """The constants of a compaction that is made again."""
    if is_abstract:
        return {
            int(number): np.asarray(values, np.float32)
            for number, values in kept.get("constants", {}).items()
        }
    known = [_fixed(x) for x in arrays]
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


def _check_same(full: Any, small: Any) -> None:
    """Refuse a smaller function that differs.

    Raises:
        ValueError: If it does.
    """
    for x, y in zip(jax.tree.leaves(full), jax.tree.leaves(small), strict=True):
        if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
            continue
        difference, largest = _difference(x, y)
        is_exact = not jnp.issubdtype(jnp.result_type(x), jnp.inexact)
        eps = 0.0 if is_exact else float(jnp.finfo(jnp.result_type(x)).eps)
        if not difference <= max(largest, 1e-30) * max(1e-3 * (eps > 0), 8 * eps):
            raise ValueError(
                "The smaller function must give the same on the example inputs, but it "
                f"differs by {difference:.2g} where results are up to {largest:.2g}. A "
                "function that is not pure does so, which draws random numbers of its own "
                "or counts its calls. If yours is pure, this is a mistake of jaxreg: "
                "please report it, with the function."
            )


def _difference(x: Any, y: Any) -> tuple[float, float]:
    if math.prod(np.shape(x)) == 0:
        return 0.0, 0.0
    wide = np.complex128 if jnp.iscomplexobj(x) else np.float64
    a, b = (np.asarray(v).astype(wide) for v in (x, y))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a)
    largest = float(np.max(np.abs(a), where=finite, initial=0.0))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return float(np.max(difference)), largest


__all__ = ["Array", "compact"]
