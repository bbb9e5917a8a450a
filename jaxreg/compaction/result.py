"""What `compact` returns."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any


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
