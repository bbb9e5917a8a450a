"""How a product of axes is cut into blocks, and which devices run a block."""

import itertools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxreg.strength._saved import is_key


class Layout(NamedTuple):
    """How a product of axes is cut into blocks.

    Attributes:
        sizes: The length of each axis.
        block: How many of each axis one block runs.
    """

    sizes: tuple[int, ...]
    block: tuple[int, ...]

    def starts(self) -> list[tuple[int, ...]]:
        """Where each block starts."""
        ranges = zip(self.sizes, self.block, strict=True)
        return list(itertools.product(*(range(0, n, step) for n, step in ranges)))

    def window(self, start: tuple[int, ...]) -> tuple[slice, ...]:
        """The slices of all results that the block at `start` fills."""
        extent = self.extent(start)
        return tuple(slice(at, at + n) for at, n in zip(start, extent, strict=True))

    def extent(self, start: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the block at `start`; the last along an axis may be smaller."""
        return tuple(
            min(step, n - at)
            for n, step, at in zip(self.sizes, self.block, start, strict=True)
        )


def layout_of(sizes: tuple[int, ...], runs: int, spread: "Spread | None") -> Layout:
    """Blocks of about `runs` runs, the same number for every device.

    The first axes are cut first.
    """
    block: list[int] = []
    for n in reversed(sizes):
        block.insert(0, max(1, min(n, runs)))
        runs //= block[0]
    if spread is not None:
        block[spread.axis] = spread.padded(block[spread.axis])
    return Layout(sizes, tuple(block))


class Spread(NamedTuple):
    """The devices that a block is sharded over, and along which of its axes.

    Attributes:
        mesh: All its devices take part, whatever the names of its axes.
        axis: The axis of the product that is sharded.
    """

    mesh: Mesh
    axis: int

    def padded(self, n: int) -> int:
        """n, rounded up to a multiple of the number of devices."""
        return math.ceil(n / self.mesh.size) * self.mesh.size

    def replicated(self, tree: Any) -> Any:
        """A copy of every array on every device."""
        sharding = NamedSharding(self.mesh, PartitionSpec())

        def copied(x: Any) -> Any:
            if isinstance(x, Array) and not x.is_fully_addressable:
                return x
            if is_key(x):
                impl = jax.random.key_impl(x)
                return jax.random.wrap_key_data(copied(jax.random.key_data(x)), impl=impl)
            return jax.device_put(x, sharding)

        return jax.tree.map(copied, tree)

    def sharded(self, indices: np.ndarray) -> Array:
        """An array with an equal part on each device."""
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        return jax.make_array_from_callback(
            indices.shape, sharding, lambda index: indices[index]
        )
