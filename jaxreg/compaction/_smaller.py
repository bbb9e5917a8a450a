"""The smaller function, for inputs of any shapes that the full one takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.compaction._evaluate import evaluate
from jaxreg.compaction._plan import Plan, fitting
from jaxreg.compaction._program import Program, Value, structs, trace
from jaxreg.compaction._removal import StructureError, closure
from jaxreg.compaction._tie_rules import ties_of
from jaxreg.compaction._ties import Node

Kept = Mapping[str, Any]


def reduced(plan: Plan, value: Value, x: Any) -> Any:
    """What is left of an argument."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(plan.shape(value), x.dtype)
    if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
        return x
    smaller = plan.reduced(value, np.asarray(x))
    if smaller.shape == np.shape(x):
        return x
    if isinstance(x, jax.Array) and len(x.sharding.device_set) > 1:
        return jax.device_put(smaller, fitting(x.sharding, smaller.shape))
    return jnp.asarray(smaller)


class Smaller:
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
            path in self.slices and value.depends
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
            structure, [reduced(plan, v, x) for v, x in zip(values, leaves, strict=True)]
        )
