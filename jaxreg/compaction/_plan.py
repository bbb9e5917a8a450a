"""What an evaluation of the smaller function needs: which slices of each value stay."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxreg.compaction._program import Program, Value
from jaxreg.compaction._removal import Removed, kept_indices
from jaxreg.compaction._ties import Ties


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Everything that evaluating a smaller function needs.

    Attributes:
        program: The full function.
        ties: Its ties.
        removed: Which slices go.
        added: For matrix products and convolutions, by their number, what the constant
            units that go contribute.
    """

    program: Program
    ties: Ties
    removed: Removed
    added: Mapping[int, np.ndarray]

    def gone(self, value: Value, axis: int) -> np.ndarray:
        """Which indices of an axis go."""
        return self.removed[self.ties.node(value, axis)]

    def kept(self, value: Value, axis: int) -> np.ndarray:
        """Which indices of an axis stay."""
        return kept_indices(self.gone(value, axis))

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape that is left."""
        return tuple(int((~self.gone(value, i)).sum()) for i in range(value.ndim))

    def is_whole(self, values: Sequence[Value]) -> bool:
        """Whether none of the values loses anything."""
        return not any(
            self.gone(value, i).any() for value in values for i in range(value.ndim)
        )

    def reduced(self, value: Value, array: Any) -> Any:
        """What is left of an array."""
        for axis in range(value.ndim):
            if self.gone(value, axis).any():
                array = take(array, self.kept(value, axis), axis)
        return array


def take(x: Any, indices: np.ndarray, axis: int) -> Any:
    """Some indices of an axis, in ascending order; a slice where they are contiguous."""
    n = len(indices)
    if n == x.shape[axis]:
        return x
    if isinstance(x, np.ndarray):
        return np.take(x, indices, axis)
    if n and indices[-1] - indices[0] == n - 1:
        return lax.slice_in_dim(x, int(indices[0]), int(indices[-1]) + 1, axis=axis)
    return jnp.take(x, indices, axis, mode="clip", unique_indices=True)


def fitting(sharding: Any, shape: Sequence[int]) -> Any:
    """A sharding without the mesh axes that do not divide what is left of an axis."""
    if not isinstance(sharding, NamedSharding):
        return sharding
    entries: list[Any] = []
    for entry, length in zip(sharding.spec, shape, strict=False):
        names = (entry,) if isinstance(entry, str) else entry
        is_named = isinstance(names, tuple)
        parts = math.prod(sharding.mesh.shape[name] for name in names) if is_named else 1
        entries.append(entry if length % parts == 0 else None)
    spec = PartitionSpec(*entries)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)
