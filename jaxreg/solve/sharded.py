"""Features on several devices, some samples on each: products with them.

What has a number for each sample (targets, linear predictors, slopes) is on the host, the
same in all processes of `jax.distributed`. The features stay on their devices. A few of
them at a time are converted to float64 and scaled there, and what the devices add up or
put together are products: sums over the samples, or a number for each sample.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec as P

BLOCK = 2**22
"""How many numbers of a device's features are converted to float64 at a time."""


def is_sharded(value: Any) -> bool:
    """Whether a value is a JAX array that a mesh divides."""
    return (
        isinstance(value, jax.Array)
        and not isinstance(value, Tracer)
        and not value.sharding.is_fully_replicated
        and isinstance(value.sharding, NamedSharding)
    )


def of_all_processes(value: Any) -> Any:
    """An array that this process can read, of one that others hold a part of."""
    if isinstance(value, Tracer) or getattr(value, "is_fully_addressable", True):
        return value
    return multihost_utils.process_allgather(value, tiled=True)


@dataclasses.dataclass(frozen=True)
class ShardedRows:
    """Some features on their devices, for products.

    Attributes:
        array: A float64 array (n, columns), sharded over n; the last columns are padding.
        count: How many features there are.
        sharding: That of n.
    """

    array: jax.Array
    count: int
    sharding: NamedSharding

    is_sparse = False

    @property
    def shape(self) -> tuple[int, int]:
        """How many features, and n."""
        return self.count, self.array.shape[0]

    def part(self, index: np.ndarray) -> "ShardedRows":
        """Some of the features."""
        raw = ShardedFeatures(self.array)
        return raw.rows(index) if len(index) < self.count else self

    def combined(self, w: np.ndarray) -> np.ndarray:
        """The sums w @ features, for w of (k, features)."""
        w = np.pad(w, ((0, 0), (0, self.array.shape[1] - self.count)))
        return self._run(_combined, None, w)

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (k, n) with all features, an array (k, features)."""
        return self._run(_products, vectors)[:, : self.count]

    def gram(self, index: np.ndarray, roots: np.ndarray, which: np.ndarray) -> np.ndarray:
        """As `Design.gram`."""
        # The number of coefficients changes often: programs are for a few sizes only.
        width = 0, _padded(len(index)) - len(index)
        found = self._run(_gram, roots, np.pad(index, width), np.pad(which, width))
        return found[: len(index), : len(index)]

    def squares(self, weights: np.ndarray) -> np.ndarray:
        """Σ weights · x_j² for every feature j, an array (k, features)."""
        return self._run(_squares, weights)[:, : self.count]

    def largest(self) -> np.ndarray:
        """The largest absolute value of each feature."""
        return self._run(_largest, None)[: self.count]

    def _run(
        self, operation: Callable[..., Any], vectors: np.ndarray | None, *others: Any
    ) -> np.ndarray:
        split = None
        if vectors is not None:
            sharding = NamedSharding(self.sharding.mesh, P(None, self.sharding.spec[0]))
            split = jax.make_array_from_callback(
                vectors.shape, sharding, vectors.__getitem__
            )
        run = _on_devices(operation, self.sharding)
        return np.asarray(run(self.array, split, others))


@dataclasses.dataclass(frozen=True)
class ShardedFeatures:
    """Features (n, p) on their devices, in their own dtype.

    Attributes:
        array: The features.
    """

    array: jax.Array

    @classmethod
    def of(cls, x: jax.Array) -> "ShardedFeatures":
        """The features of a sharded array (n, p).

        Raises:
            ValueError: If its features are split.
        """
        spec: Any = tuple(x.sharding.spec)  # pyright: ignore[reportAttributeAccessIssue]
        if spec[1:] not in ((), (None,)):
            raise ValueError(
                "x must be sharded over samples alone, but its features are split, too: "
                "pass jax.device_put(x, NamedSharding(mesh, PartitionSpec('data')))."
            )
        return cls(x)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of samples and features: n and p."""
        samples, features = self.array.shape
        return samples, features

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def sharding(self) -> NamedSharding:
        """That of the samples."""
        sharding: Any = self.array.sharding
        return NamedSharding(sharding.mesh, P(sharding.spec[0]))

    def rows(
        self,
        index: np.ndarray,
        mean: np.ndarray | None = None,
        divisor: np.ndarray | None = None,
    ) -> ShardedRows:
        """Some features (x_j − mean_j) / divisor_j, and ones for the index p."""
        features = self.shape[1]
        mean = np.zeros(features) if mean is None else mean
        divisor = np.ones(features) if divisor is None else divisor
        ids = np.pad(index, (0, _padded(len(index)) - len(index)))
        run = _on_devices(_taken, self.sharding)
        # Those of the index p are not used.
        others = ids, np.append(mean, 0.0), np.append(divisor, 1.0)
        return ShardedRows(run(self.array, None, others), len(index), self.sharding)

    def blocks(
        self, count: int, mean: np.ndarray | None, divisor: np.ndarray | None
    ) -> Iterator[ShardedRows]:
        """The first `count` of `rows`, a few at a time."""
        on_one = self.array.addressable_shards[0].data.shape[0]
        width = max(BLOCK // on_one, 1)
        for start in range(0, count, width):
            yield self.rows(np.arange(start, min(start + width, count)), mean, divisor)

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Σ weights · x_j for every feature j."""
        blocks = self.blocks(self.shape[1], None, None)
        return np.concatenate([part.products(weights[None])[0] for part in blocks])

    def mean_squares(self, weights: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
        """Σ weights · (x_j − mean_j)² for every feature j."""
        blocks = self.blocks(self.shape[1], mean, None)
        return np.concatenate([part.squares(weights[None])[0] for part in blocks])

    def largest(self) -> np.ndarray:
        """The largest absolute value of each feature."""
        blocks = self.blocks(self.shape[1], None, None)
        return np.concatenate([part.largest() for part in blocks])


@dataclasses.dataclass(frozen=True)
class ShardedDesign:
    """Features (x − mean) / divisor, and perhaps ones for an intercept, as `Design`.

    Attributes:
        features: The features as they are.
        mean: An array (features,).
        divisor: Likewise.
        shape: How many rows, and samples.
    """

    features: ShardedFeatures
    mean: np.ndarray
    divisor: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, x: ShardedFeatures, mean: np.ndarray, divisor: np.ndarray, intercept: bool
    ) -> "ShardedDesign":
        """The rows of features."""
        samples, features = x.shape
        return cls(x, mean, divisor, (features + intercept, samples))

    def part(self, index: np.ndarray) -> ShardedRows:
        """Some rows."""
        return self.features.rows(index, self.mean, self.divisor)

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (..., n) with all rows, an array (..., p)."""
        flat = vectors.reshape(-1, self.shape[1])
        blocks = self.features.blocks(self.shape[0], self.mean, self.divisor)
        found = np.concatenate([part.products(flat) for part in blocks], axis=1)
        return found.reshape(*vectors.shape[:-1], -1)


def _padded(count: int) -> int:
    """The next power of two, so that few programs are compiled."""
    return 1 << max(count - 1, 0).bit_length()


# Of what follows, each runs on a device with its samples: its rows (n, columns), vectors
# (k, n) or nothing, and other arrays, which are the same on all devices.


def _taken(x: Any, vectors: None, ids: Any, mean: Any, divisor: Any, axes: Any) -> Any:
    del vectors, axes
    columns = x[:, jnp.minimum(ids, x.shape[1] - 1)].astype(jnp.float64)
    scaled = (columns - mean[ids]) / divisor[ids]
    return jnp.where(ids == x.shape[1], 1.0, scaled)


def _combined(rows: Any, vectors: None, kernel: Any, axes: Any) -> Any:
    del vectors
    return jax.lax.all_gather(kernel @ rows.T, axes, axis=1, tiled=True)


def _products(rows: Any, vectors: Any, axes: Any) -> Any:
    return jax.lax.psum(vectors @ rows, axes)


def _gram(rows: Any, roots: Any, index: Any, which: Any, axes: Any) -> Any:
    scaled = rows.T[index] * roots[which]
    return jax.lax.psum(scaled @ scaled.T, axes)


def _squares(rows: Any, weights: Any, axes: Any) -> Any:
    return jax.lax.psum(weights @ rows**2, axes)


def _largest(rows: Any, vectors: None, axes: Any) -> Any:
    del vectors
    return jax.lax.pmax(jnp.max(jnp.abs(rows), axis=0), axes)


@functools.cache
def _on_devices(operation: Callable[..., Any], sharding: NamedSharding) -> Any:
    """The program of all devices: its result is the same on all, but for `_taken`."""
    axes = sharding.spec[0]

    def local(rows: Any, vectors: Any, others: tuple[Any, ...]) -> Any:
        return operation(rows, vectors, *others, axes=axes)

    mapped = jax.shard_map(
        local,
        mesh=sharding.mesh,
        in_specs=(P(axes), P(None, axes), P()),
        out_specs=P(axes) if operation is _taken else P(),
        # What is gathered is the same on all devices, which JAX does not know.
        check_vma=False,
    )
    return jax.jit(mapped)
