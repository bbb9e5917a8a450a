"""Arrays in parts: what moves between devices, and what is added up over them.

Sums and maxima of a sharded array are right as they are: XLA, or JAX in a mesh with
Explicit axes, adds what devices have. Only formulas that need an axis on one device, such
as those about chains and singular values, ask for it: by `whole`, the one place where a
parameter is gathered. Inside `shard_map` there is no such help, since each device sees
its own part alone: `total` and `largest` join the parts there.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec, reshard

MeshAxes = tuple[str, ...]
"""Names of mesh axes."""


# In a mesh with Explicit axes, where the type of an array says how it is sharded. With
# Auto axes XLA gathers what it needs to by itself.


def whole(x: Array, axes: Iterable[int]) -> Array:
    """`x` with all of the given axes on every device; axes that it lacks are ignored."""
    spec = list(_spec(x))
    for axis in axes:
        if -len(spec) <= axis < len(spec):
            spec[axis] = None
    return _resharded(x, spec)


def like(x: Array, other: Any) -> Array:
    """`x`, sharded as `other` of the same shape is."""
    return _resharded(x, _spec(other), other)


def parts_along(x: Array, axis: int) -> int:
    """How many parts an axis is in."""
    names = _spec(x)[axis]
    names = (names,) if isinstance(names, str) else names or ()
    mesh = jax.typeof(x).sharding.mesh
    return math.prod(mesh.shape[name] for name in names)


def _spec(x: Any) -> tuple[Any, ...]:
    return tuple(jax.typeof(x).sharding.spec)


def _resharded(x: Array, spec: Iterable[Any], other: Any = None) -> Array:
    if _spec(x) == tuple(spec):
        return x
    mesh = jax.typeof(x if other is None else other).sharding.mesh
    mesh = jax.typeof(x).sharding.mesh if mesh.empty else mesh
    return reshard(x, NamedSharding(mesh, PartitionSpec(*spec)))
