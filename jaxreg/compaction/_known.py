"""What is known about the entries of an array: whether they vary with the inputs.

About each entry of each array it is known whether it *varies* with the inputs, and what its
value is otherwise, which follows from the parameters. An entry is zero if it does not vary
and its value is 0. Whatever is not known for certain varies.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxreg.compaction._masks import uniform
from jaxreg.compaction._program import Op, Value


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
