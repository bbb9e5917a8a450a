"""Sufficient statistics of least squares, for data that do not fit into memory.

Of samples z = (x, y) with weights, least squares needs three sums: the total weight W, the
means m = Σ w·z / W and the scatter S = Σ w·(z − m)(z − m)ᵀ. Two parts of the data join by

    W = W₁ + W₂,    d = m₂ − m₁,    m = m₁ + (W₂/W)·d,    S = S₁ + S₂ + (W₁·W₂/W)·ddᵀ

which never subtracts large numbers from each other, as Σ w·z² − W·m² would.

Solvers take samples. Any p + k + 1 + 1 samples with the same means and scatter have the
same solutions (`Moments.samples`): rows mᵀ + √(rows/W)·H·R with RᵀR = S, where the columns
of H are orthonormal, and orthogonal to a column of ones.

References:
    Chan, Golub and LeVeque, *Algorithms for computing the sample variance: analysis and
    recommendations* (1983).
"""

import dataclasses
import functools
import operator
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxreg._checks import is_real
from jaxreg._dtypes import ROUNDING
from jaxreg.solve.checks import check_concrete, check_weights

BLOCK = 2**20
"""How many numbers of x are converted to float64 at a time."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """The total weight, the means and the scatter of data: all that least squares need.

    Made by `Moments.of` from arrays, and by `+` and `sum` from parts of the data: batches
    read from disk, or those of other machines. The order of the parts matters to rounding
    only. `lasso_path` and `elastic_net_path` take it in the place of x and y.

    Attributes:
        weight: The sum of the sample weights; without weights, the number of samples.
        mean: Means of the features and then of the target, an array (features + 1,).
        scatter: Σ weight · (z − mean)(z − mean)ᵀ of z = (x, y), an array (features + 1,
            features + 1).

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 3.0, 6.0])
        >>> batches = [(x[:1], y[:1]), (x[1:], y[1:])]
        >>> moments = sum(Moments.of(*batch) for batch in batches)
        >>> moments
        Moments of weight 4 and 1 features
        >>> lasso_path(moments, strengths=[0.5]).coefficients
        array([[1.2]])

    References:
        Chan, Golub and LeVeque, *Algorithms for computing the sample variance: analysis
        and recommendations* (1983).
    """

    weight: float
    mean: np.ndarray
    scatter: np.ndarray

    @staticmethod
    def of(x: Any, y: Any, sample_weight: Any = None) -> "Moments":
        """The moments of arrays, which are read once.

        Sums are float64, whatever the arrays are. Of a `numpy.memmap`, only a few rows at a
        time are in memory. Of a JAX array that is sharded over its rows, each device's part
        is read by itself; what is gathered are moments. If other processes hold a part of
        it (`jax.distributed`), all of them must call this, and all get the moments of the
        whole.

        Args:
            x: Features, an array (samples, features) of numbers.
            y: The target, a number for each sample.
            sample_weight: Non-negative weights of the samples; those of a batch may all
                be zero.

        Returns:
            A `Moments`.

        Raises:
            TypeError: If something is no dense array of real numbers, or is traced.
            ValueError: If shapes do not fit, numbers are not finite or have squares that
                overflow, weights are negative, or x is sharded over its features.

        Example:
            >>> Moments.of(np.eye(3, dtype=np.float32), np.arange(3.0)).mean.round(3)
            array([0.333, 0.333, 0.333, 1.   ])
        """
        x, y = _readable("x", x, 2), _readable("y", y, 1)
        _check_length("y", y, len(x))
        if sample_weight is not None:
            sample_weight = _readable("sample_weight", sample_weight, 1)
            _check_length("sample_weight", sample_weight, len(x))
        parts = [
            _of_block(*map(_float64, block))
            for part in _parts(x, y, sample_weight)
            for block in _blocks(*part)
        ]
        none = Moments(0.0, np.zeros(x.shape[1] + 1), np.zeros((x.shape[1] + 1,) * 2))
        found = functools.reduce(operator.add, parts, none)
        if not getattr(x, "is_fully_addressable", True):
            found = _of_all_processes(found)
        if not np.all(np.isfinite(found.scatter)):
            raise ValueError(
                "x, y and sample_weight must be finite, and so must the sums of squares, "
                "but are not. Look for NaN; divide what is large by its standard deviation."
            )
        return found

    @property
    def features(self) -> int:
        """The number of features."""
        return len(self.mean) - 1

    def __add__(self, other: Any) -> "Moments":
        """The moments of both parts of the data together."""
        if not isinstance(other, Moments):
            return NotImplemented
        if self.features != other.features:
            raise ValueError(
                "Moments that are added must be of the same features, got "
                f"{self.features} and {other.features} of them."
            )
        total = self.weight + other.weight
        if total == 0:
            return self
        difference = other.mean - self.mean
        between = self.weight * (other.weight / total)
        with np.errstate(over="ignore", invalid="ignore"):
            return Moments(
                total,
                self.mean + other.weight / total * difference,
                self.scatter
                + other.scatter
                + between * difference[:, None] * difference[None],
            )

    def __radd__(self, other: Any) -> "Moments":
        """For `sum`, which starts with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """A few samples with the same moments, and so with the same least squares.

        Returns:
            x, an array (features + 2, features), and y, an array (features + 2,).

        Raises:
            ValueError: If the total weight is zero.

        Example:
            >>> x, y = Moments.of(np.eye(100)[:, :2], np.arange(100.0)).samples()
            >>> x.shape, y.mean().round(6)
            ((4, 2), np.float64(49.5))
        """
        if not self.weight > 0:
            raise ValueError(
                "Moments must have a positive weight, got 0: no sample has a weight."
            )
        rows = len(self.mean) + 1
        with np.errstate(over="ignore"):
            spread = np.sqrt(np.diagonal(self.scatter) / self.weight)
        # What is this close to a constant is one, but for rounding.
        spread = np.where(spread <= ROUNDING * np.abs(self.mean), 0.0, spread)
        units = np.where(spread > 0, spread, 1.0)
        correlation = self.scatter / self.weight / units[:, None] / units[None]
        np.fill_diagonal(correlation, 1.0)
        root = _root(correlation) * spread * np.sqrt(rows)
        z = np.concatenate([np.zeros((1, len(self.mean))), root])
        # The reflection that takes the first axis to a row of ones over √rows.
        normal = -np.full(rows, 1 / np.sqrt(rows))
        normal[0] += 1
        normal /= np.linalg.norm(normal)
        z = z - 2 * normal[:, None] * (normal @ z)[None] + self.mean
        z = np.where(spread > 0, z, self.mean)
        return z[:, :-1], z[:, -1]

    def __repr__(self) -> str:
        return f"Moments of weight {self.weight:g} and {self.features} features"


def _root(correlation: np.ndarray) -> np.ndarray:
    """An R with RᵀR = a correlation matrix."""
    try:
        return np.linalg.cholesky(correlation).T
    except np.linalg.LinAlgError:  # Features depend on each other.
        values, vectors = np.linalg.eigh(correlation)
        return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _readable(name: str, value: Any, ndim: int) -> Any:
    """An array of numbers, not yet read, that can be sliced.

    Raises:
        TypeError: If it is sparse, traced by JAX, or holds no real numbers.
        ValueError: If it has the wrong number of axes, or none of something.
    """
    if hasattr(value, "tocsr") or hasattr(value, "todense"):
        raise TypeError(f"{name} must be a dense array, got {type(value).__name__}.")
    check_concrete(name, value)
    array = value if isinstance(value, jax.Array | np.ndarray) else np.asarray(value)
    if not (array.dtype == bool or is_real(array)):
        raise TypeError(f"{name} must hold real numbers, got an array of {array.dtype}.")
    if array.ndim != ndim or 0 in array.shape:
        wanted = "(samples, features)" if ndim == 2 else "(samples,)"
        raise ValueError(f"{name} must be an array {wanted}, got shape {array.shape}.")
    return array


def _check_length(name: str, array: Any, samples: int) -> None:
    if len(array) != samples:
        raise ValueError(
            f"{name} must hold one number for each of the {samples} samples, got shape "
            f"{array.shape}."
        )


def _parts(x: Any, y: Any, weights: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The parts of x on each device of this process, with theirs of y and of weights."""
    if not isinstance(x, jax.Array) or len(x.addressable_shards) == 1 == len(
        x.sharding.device_set
    ):
        yield x, y, weights
        return
    for shard in x.addressable_shards:
        rows, columns = shard.index
        if columns.indices(x.shape[1]) != (0, x.shape[1], 1):
            raise ValueError(
                "x must be sharded over samples alone, but its features are split, too: "
                "pass jax.device_put(x, NamedSharding(mesh, PartitionSpec('data')))."
            )
        if shard.replica_id == 0:  # Each row once.
            yield (
                shard.data,
                _rows_of("y", y, rows),
                None if weights is None else _rows_of("sample_weight", weights, rows),
            )


def _rows_of(name: str, array: Any, rows: slice) -> Any:
    """The given rows of a vector, from this process's devices if others hold a part."""
    if getattr(array, "is_fully_addressable", True):
        return np.asarray(array)[rows]
    for shard in array.addressable_shards:
        if shard.index[0].indices(len(array)) == rows.indices(len(array)):
            return shard.data
    raise ValueError(f"{name} must be sharded over samples as x is, but is not.")


def _blocks(x: Any, y: Any, weights: Any) -> Iterator[tuple[Any, Any, Any]]:
    """A few rows at a time."""
    size = max(BLOCK // x.shape[1], 1)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield x[part], y[part], None if weights is None else weights[part]


def _float64(array: Any) -> Any:
    return None if array is None else np.asarray(array, np.float64)


def _of_block(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Moments:
    """The moments of arrays that are in memory."""
    z = np.concatenate([x, y[:, None]], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        if weights is None:
            mean = np.mean(z, axis=0)
            z -= mean
            return Moments(float(len(z)), mean, z.T @ z)
        check_weights(weights)
        weight = float(np.sum(weights))
        mean = weights @ z / (weight or 1.0)
        z = (z - mean) * np.sqrt(weights)[:, None]
        return Moments(weight, mean, z.T @ z)


def _of_all_processes(local: Moments) -> Moments:
    """The sum over the processes of `jax.distributed`."""
    with jax.enable_x64(True):
        weight, mean, scatter = (
            np.asarray(multihost_utils.process_allgather(np.asarray(part)))
            for part in (local.weight, local.mean, local.scatter)
        )
    return functools.reduce(operator.add, map(Moments, weight.tolist(), mean, scatter))
