"""What `compact` returns."""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxreg._text import table


@dataclasses.dataclass(frozen=True)
class Row:
    """One leaf of the parameters in a `Compaction`.

    Attributes:
        path: Its path.
        before: Its shape before.
        after: Its shape after.
        reason: Why slices stayed that are zero or that nothing reads; empty if none did.
    """

    path: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Compaction:
    """A smaller model that computes the same function; see `compact`.

    Call it as the full function, with its own parameters: `small(small.params, *inputs)`.

    Attributes:
        params: The parameters, in the structure of those given, with smaller arrays.
        kept: What stays, as plain data: for each leaf and axis that loses something the
            indices that stay, and the constants that are added. With it,
            `compact(fn, params, *inputs, kept=kept)` makes the same model again.
        rows: One `Row` for each leaf.
        inputs: For inputs that lose features, the indices of those they must have, by axis.
        unused_inputs: Features of the inputs that nothing depends on, by path and axis.
        notes: Sentences about what was left alone.
        multiply_adds: Of the example inputs, before and after.
        activation_bytes: Likewise, of all that is computed on the way.
        function: The smaller function.
    """

    params: Any
    kept: Mapping[str, Any]
    rows: tuple[Row, ...]
    inputs: Mapping[str, Mapping[int, list[int]]]
    unused_inputs: Mapping[str, Mapping[int, list[int]]]
    notes: tuple[str, ...]
    multiply_adds: tuple[int, int]
    activation_bytes: tuple[int, int]
    function: Callable[..., Any]

    def __call__(self, params: Any, *inputs: Any) -> Any:
        """The smaller function."""
        return self.function(params, *inputs)

    @property
    def parameters(self) -> tuple[int, int]:
        """Number of parameters before and after."""
        return (
            sum(math.prod(row.before) for row in self.rows),
            sum(math.prod(row.after) for row in self.rows),
        )

    @property
    def features(self) -> dict[str, int]:
        """For each layer with a kernel or an embedding, the `features` that it has now.

        The numbers to define a linen module with, if it is to be written anew; `fits` says
        whether such a module computes the same.
        """
        return {
            row.path.rpartition("/")[0]: row.after[-1]
            for row in self.rows
            if row.path.rpartition("/")[2] in ("kernel", "embedding", "w", "embeddings")
            and row.after
        }

    def fits(self, fn: Callable[..., Any], *inputs: Any) -> bool:
        """Whether the full function itself takes the smaller parameters, and is the same.

        Then the module that it calls can be had with smaller arrays:
        `nnx.merge(graphdef, small.params)`, `eqx.combine(small.params, static)`. It is not
        so where a layer takes a mean over channels that went, splits a kernel by numbers
        that it was made with, has constants added, or checks shapes: keep to this function.

        Args:
            fn: The full function.
            *inputs: Example inputs.

        Returns:
            Whether it gives what this function gives.
        """
        try:
            theirs = fn(self.params, *inputs)
        except Exception:  # noqa: BLE001  Each framework has errors of its own.
            return False
        ours = self(self.params, *inputs)
        pairs = zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True)
        return all(
            np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=1e-4, atol=1e-5)
            for x, y in pairs
        )

    def __repr__(self) -> str:
        rows = [
            (
                row.path,
                str(row.before),
                str(row.after) if row.after != row.before else "",
                f"{math.prod(row.before):,}",
                f"{math.prod(row.after):,}",
            )
            for row in self.rows
        ]
        before, after = self.parameters
        foot = ("parameters", "", "", f"{before:,}", f"{after:,}")
        head = ("path", "shape", "smaller", "before", "after")
        costs = {
            "multiply-adds": self.multiply_adds,
            "bytes of activations": self.activation_bytes,
        }
        lines = [table(head, rows, foot, numbers=("before", "after"))]
        lines += [
            f"{name}: {old:,} -> {new:,} ({_ratio(old, new)})"
            for name, (old, new) in costs.items()
        ]
        notes = [f"left alone: {r.path}: {r.reason}" for r in self.rows if r.reason]
        notes += [f"unused: {_unused(*found)}" for found in self.unused_inputs.items()]
        notes += [f"note: {note}" for note in self.notes]
        lines += [textwrap.fill(note, 88, subsequent_indent="  ") for note in notes]
        return "\n".join(lines)


def _ratio(old: int, new: int) -> str:
    return f"{old / new:.2f} times fewer" if new else "none left"


def _unused(path: str, axes: Mapping[int, list[int]]) -> str:
    if not axes:
        return f"nothing depends on {path}"
    texts = [f"{len(found)} indices of axis {axis}" for axis, found in axes.items()]
    return f"nothing depends on {' and '.join(texts)} of {path}"
