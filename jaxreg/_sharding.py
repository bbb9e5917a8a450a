"""Arrays in parts: what is gathered on every device, and what is added up over them.

Sums and maxima of a sharded array are right as they are: XLA, or JAX in a mesh with
Explicit axes, adds what devices have. Only formulas that need an axis whole, such as
those about chains and singular values, ask for it, by `whole`: the one place where a
parameter is gathered. In `shard_map` and `pmap`, where each device sees its own part and
nothing else, `total` and `largest` join what the parts say.
"""

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec, reshard

from jaxreg._prefixes import broadcast, entries_of
from jaxreg._tree import Leaf, Names

MeshAxes = tuple[str, ...]
"""Names of mesh axes."""

Split = tuple[MeshAxes, ...]
"""For each axis of an array, the mesh axes whose devices have a part of it each."""


# In a mesh with Explicit axes, where the type of an array says how it is sharded. With
# Auto axes the types say nothing, and XLA gathers what it has to.


def whole(x: Array, axes: Iterable[int]) -> Array:
    """`x` with some axes whole on every device; axes that it lacks are ignored."""
    spec = list(_spec(x))
    for axis in axes:
        if -len(spec) <= axis < len(spec):
            spec[axis] = None
    return _resharded(x, spec, x)


def like(x: Array, other: Any) -> Array:
    """`x`, sharded as another array of its shape is."""
    mesh = jax.typeof(other).sharding.mesh
    return _resharded(x, _spec(other), x if mesh.empty else other)


def parts_along(x: Array, axis: int) -> int:
    """In how many parts an axis is."""
    sizes = jax.typeof(x).sharding.mesh.shape
    return math.prod(sizes[name] for name in _as_names(_spec(x)[axis]))


def is_split(x: Array) -> bool:
    """Whether the type of `x` says that devices have parts of it."""
    return any(_spec(x))


def _spec(x: Any) -> tuple[Any, ...]:
    return tuple(jax.typeof(x).sharding.spec)


def _resharded(x: Array, spec: Sequence[Any], meshed: Any) -> Array:
    if _spec(x) == tuple(spec):
        return x
    mesh = jax.typeof(meshed).sharding.mesh
    return reshard(x, NamedSharding(mesh, PartitionSpec(*spec)))


# In `shard_map` and `pmap`, where only the user knows how.


@dataclasses.dataclass(frozen=True)
class Specs:
    """A pytree (prefix) of partition specs, in a form that can be hashed."""

    entries: tuple[tuple[Names, PartitionSpec], ...]

    def splits(self, tree: Sequence[Leaf]) -> list[Split | None]:
        """How each leaf of `tree` is split; `None` if it is not."""
        found = broadcast(dict(self.entries), tree, "specs", [False] * len(tree))
        return [
            None if spec is None or leaf.is_missing else _split(spec, leaf)
            for spec, leaf in zip(found, tree, strict=True)
        ]

    def __repr__(self) -> str:
        if self.entries[0][0] == ():
            return str(self.entries[0][1])
        shown = (f"{'/'.join(names)!r}: {spec}" for names, spec in self.entries)
        return "{" + ", ".join(shown) + "}"


def as_specs(specs: Any) -> Specs | None:
    """Partition specs that can be hashed; `None` if nothing is split.

    Raises:
        TypeError: If something is no partition spec.
    """
    if specs is None or isinstance(specs, Specs):
        return specs
    entries = tuple(entries_of(specs).items())
    for _, spec in entries:
        if not isinstance(spec, PartitionSpec):
            raise TypeError(
                "specs must be the in_specs of shard_map for the parameters, a pytree "
                f"prefix of jax.sharding.PartitionSpec, got {spec!r} in it."
            )
    return Specs(entries) if entries else None


def splits_of(specs: Specs | None, tree: Sequence[Leaf]) -> list[Split | None]:
    """How each leaf of `tree` is split; `None` if it is not."""
    return [None] * len(tree) if specs is None else specs.splits(tree)


def _split(spec: PartitionSpec, leaf: Leaf) -> Split | None:
    ndim = len(getattr(leaf.value, "shape", ()))
    if len(spec) > ndim:
        raise ValueError(
            f"specs must have an entry for each axis of a leaf at most, got {spec} for "
            f"{leaf.quoted} with {ndim} axes."
        )
    split = tuple(map(_as_names, spec)) + ((),) * (ndim - len(spec))
    return split if any(split) else None


def _as_names(entry: Any) -> MeshAxes:
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def along(split: Split | None, axes: Iterable[int] | None = None) -> MeshAxes:
    """The mesh axes that split an array along some of its axes, or along any."""
    if split is None:
        return ()
    axes = range(len(split)) if axes is None else axes
    return tuple(name for axis in axes for name in split[axis])


def part_count(names: MeshAxes) -> int:
    """How many devices have a part each."""
    return jax.lax.axis_size(names) if names else 1


def part_index(names: MeshAxes) -> int | Array:
    """Which of the parts this device has."""
    return jax.lax.axis_index(names) if names else 0


def total(x: Array, names: MeshAxes) -> Array:
    """The sum over devices. Its derivatives are those by what this device has."""
    if not names:
        return x
    return jax.lax.psum(x, names) if varies(x) else _total(x, names)


# Where JAX does not track what differs between devices (`pmap`, `check_vma=False`), it
# takes the derivative of a sum over devices for that of a sum of such sums.


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _total(x: Array, names: MeshAxes) -> Array:
    return jax.lax.psum(x, names)


@_total.defjvp
def _(names: MeshAxes, primals: Any, tangents: Any) -> Any:
    return _total(*primals, names), tangents[0]


def greatest(x: Array, names: MeshAxes) -> Array:
    """The maximum over devices."""
    return largest(x, jnp.ones_like(x, int), names) if names else x


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def largest(x: Array, ties: Array, names: MeshAxes) -> Array:
    """The maximum over devices; `ties` is how many entries of a device's part are it."""
    del ties
    return jax.lax.pmax(x, names)


@largest.defjvp
def _(names: MeshAxes, primals: Any, tangents: Any) -> Any:
    x, ties = primals
    top = jax.lax.pmax(x, names)
    ties = jnp.where(x == top, ties, 0)
    change = tangents[0] * (ties / jnp.maximum(jax.lax.psum(ties, names), 1))
    return top, jax.lax.psum(change, names) if varies(x) else change


def varies(x: Array) -> bool:
    """Whether the type of `x` says that it differs between devices."""
    kind: Any = jax.typeof(x)
    if hasattr(kind, "vma"):  # JAX 0.8
        return bool(kind.vma)
    return bool(kind.manual_axis_type.varying)


def count_zeros(x: Array, names: MeshAxes) -> Array:
    """How many entries are exactly zero, on all devices."""
    return total(jnp.sum(x == 0, dtype=jnp.float32), names)


def zero_fraction(parts: Collection[tuple[Array, MeshAxes]]) -> Array:
    """The fraction of exact zeros in arrays, each with the mesh axes that split it."""
    zeros = sum((count_zeros(x, names) for x, names in parts), start=jnp.zeros(()))
    return zeros / max(1, sum(x.size * part_count(names) for x, names in parts))
