"""What can go from a function with certain parameters, and why the rest stays."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.compaction._fold import constant_sums, pin_uneven
from jaxreg.compaction._forward import forward
from jaxreg.compaction._known import Facts, Known, anything, fixed
from jaxreg.compaction._masks import any_but
from jaxreg.compaction._needed import backward, unread
from jaxreg.compaction._program import Program, Value
from jaxreg.compaction._removal import IN_USE, Search, closure, kept_indices
from jaxreg.compaction._tie_rules import ties_of
from jaxreg.compaction._ties import Node, Ties


class Analysis:
    """What can go from a program with certain parameters."""

    def __init__(self, program: Program, arrays: list[Any], *, drop_inputs: bool) -> None:
        self.program, self.count = program, len(arrays)
        known = [known_parameter(x) for x in arrays]
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
                kept[self.ties.node(value, axis)] = any_but(lost, axis)
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
                live = np.broadcast_to(self.uses.live[value], value.shape)
                dead = ~any_but(live, axis) & ~self.removed[node]
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
                unused = ~any_but(mask, axis)
                if mask.shape[axis] > 1 and unused.any():
                    found.setdefault(path, {})[axis] = np.flatnonzero(unused).tolist()
            if value.size and not mask.any():
                found.setdefault(path, {})
        return found


def known_parameter(x: Any) -> Known:
    """What is known about a parameter: its value, if it is a number."""
    if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
        shape = (1,) * np.ndim(x)
        return Known(np.ones(shape, bool), np.zeros(shape))
    return fixed(x)
