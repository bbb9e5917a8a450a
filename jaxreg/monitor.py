"""Seeing what is regularized, and what the weights do."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._sharding import (
    MeshAxes,
    along,
    as_specs,
    count_zeros,
    greatest,
    part_count,
    splits_of,
    total,
    zero_share,
)
from jaxreg._text import table
from jaxreg._tree import Names, Params, walk
from jaxreg.masks import MaskLike, as_mask, chosen, chosen_arrays, weights
from jaxreg.penalties import Penalty


def weight_stats(
    params: Params, mask: MaskLike = weights, *, specs: Any = None
) -> dict[str, Array]:
    """Sizes and exact zeros of the weights: per leaf and in total.

    For each leaf, and under `total` for all of them together:

        mean_abs        mean |w|
        max_abs         max |w|
        norm            √(Σ w²)
        zero_fraction   share of entries that are exactly zero

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`.

    Returns:
        A flat dict from `path/statistic` to a scalar of at least float32, ready for
        TensorBoard and the like. It may be computed inside `jit`.

    Raises:
        ValueError: If the mask chooses nothing, or a leaf is called `total`.

    Example:
        >>> stats = weight_stats({"kernel": jnp.array([3.0, 0.0, -4.0, 0.0])})
        >>> {name: float(value) for name, value in stats.items() if "kernel" in name}
        {'kernel/mean_abs': 1.75, 'kernel/max_abs': 4.0, 'kernel/norm': 5.0,
         'kernel/zero_fraction': 0.5}
    """
    sums = {names: _Sums.of(*part) for names, part in _parts(params, mask, specs).items()}
    if not sums:
        return {}
    if ("total",) in sums:
        raise ValueError("A leaf must not be called 'total': that is for all of them.")
    everywhere = _Sums.merged(list(sums.values()))
    return {
        "/".join((*names, statistic)): value
        for names, part in {**sums, ("total",): everywhere}.items()
        for statistic, value in part.statistics().items()
    }


def sparsity(params: Params, mask: MaskLike = weights, *, specs: Any = None) -> Array:
    """The share of weights that are exactly zero.

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`.

    Returns:
        A float32 scalar between 0 and 1. It may be computed inside `jit`.

    Raises:
        ValueError: If the mask chooses nothing.

    Example:
        >>> params = {"kernel": jnp.array([3.0, 0.0, -4.0, 0.0]), "bias": jnp.zeros(4)}
        >>> sparsity(params)
        Array(0.5, dtype=float32)
    """
    return zero_share(_parts(params, mask, specs).values())


def _parts(
    params: Params, mask: MaskLike, specs: Any
) -> dict[Names, tuple[Array, MeshAxes]]:
    """The chosen leaves by name, and the mesh axes whose devices have a part of each."""
    tree = list(walk(params))
    splits = splits_of(as_specs(specs), tree)
    split = {leaf.names: along(own) for leaf, own in zip(tree, splits, strict=True)}
    return {names: (x, split[names]) for names, x in chosen_arrays(params, mask).items()}


@dataclasses.dataclass(frozen=True)
class _Sums:
    """What the statistics of a set of arrays are made of; sets can be merged."""

    size: int
    absolute: Array
    largest: Array
    squares: Array
    zeros: Array

    @classmethod
    def of(cls, x: Array, names: MeshAxes) -> "_Sums":
        magnitudes = jnp.abs(x)
        return cls(
            x.size * part_count(names),
            total(jnp.sum(magnitudes), names),
            greatest(jnp.max(magnitudes, initial=0.0), names),
            total(jnp.sum(jnp.square(x)), names),
            count_zeros(x, names),
        )

    @classmethod
    def merged(cls, parts: list["_Sums"]) -> "_Sums":
        def fold(combine: Callable[[Array, Array], Array], name: str) -> Array:
            first, *rest = (getattr(part, name) for part in parts)
            for value in rest:
                first = combine(first, value)
            return first

        return cls(
            sum(part.size for part in parts),
            fold(jnp.add, "absolute"),
            fold(jnp.maximum, "largest"),
            fold(jnp.add, "squares"),
            fold(jnp.add, "zeros"),
        )

    def statistics(self) -> dict[str, Array]:
        size = max(1, self.size)
        return {
            "mean_abs": self.absolute / size,
            "max_abs": self.largest,
            "norm": jnp.sqrt(self.squares),
            "zero_fraction": self.zeros / size,
        }


@dataclasses.dataclass(frozen=True)
class Row:
    """One leaf in a `Description`.

    Attributes:
        path: Its path, `encoder/Dense_0/kernel`.
        shape: Its shape.
        dtype: Its dtype.
        size: Its number of entries.
        regularized: How, in words; empty if it is not regularized.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    regularized: str


@dataclasses.dataclass(frozen=True, repr=False)
class Description:
    """What a penalty or a mask does to each leaf; prints as a table.

    Attributes:
        rows: One `Row` for each array of the parameters.
    """

    rows: tuple[Row, ...]

    @property
    def total(self) -> int:
        """Number of entries of all arrays."""
        return sum(row.size for row in self.rows)

    @property
    def regularized(self) -> int:
        """Number of entries that are regularized."""
        return sum(row.size for row in self.rows if row.regularized)

    def __repr__(self) -> str:
        head = ("path", "shape", "dtype", "parameters", "regularized")
        cells = [
            (r.path, str(r.shape), r.dtype, f"{r.size:,}", r.regularized or "no")
            for r in self.rows
        ]
        share = 100 * self.regularized / max(1, self.total)
        foot = ("total", "", "", f"{self.total:,}", f"{self.regularized:,} ({share:.1f} %)")
        return table(head, cells, foot, numbers=["parameters"])


def describe(what: Penalty | MaskLike, params: Params) -> Description:
    """Show which leaves are regularized, how, and how many parameters that makes.

    Args:
        what: A penalty (or sum of penalties), or the mask of a transform.
        params: The parameters; a pytree of `jax.ShapeDtypeStruct` will do.

    Returns:
        A `Description`: print it for a table, or read its `rows`.

    Raises:
        TypeError: If `what` is neither a penalty nor a mask.
        ValueError: If it chooses nothing, or does not match `params`.

    Example:
        >>> params = {"Dense_0": {"kernel": jnp.ones((64, 10)), "bias": jnp.ones(10)}}
        >>> print(describe(L1(1e-4), params))
        path            shape     dtype    parameters  regularized
        --------------  --------  -------  ----------  -------------------
        Dense_0/bias    (10,)     float32          10  no
        Dense_0/kernel  (64, 10)  float32         640  L1(strength=0.0001)
        --------------  --------  -------  ----------  -------------------
        total                                     650  640 (98.5 %)
    """
    tree = list(walk(params))
    if isinstance(what, Penalty):
        terms = what.at_leaves(tree, params)
        words = ["" if term is None else _in_words(term) for term in terms]
    else:
        if isinstance(what, type):
            raise TypeError(f"describe needs a penalty or a mask, got {what}.")
        picks = chosen(as_mask(what), tree, params)
        words = ["yes" if pick else "" for pick in picks]
    return Description(
        tuple(
            Row(
                path=leaf.path,
                shape=tuple(leaf.value.shape),
                dtype=str(leaf.value.dtype),
                size=math.prod(leaf.value.shape),
                regularized=text,
            )
            for leaf, text in zip(tree, words, strict=True)
            if hasattr(leaf.value, "dtype") and hasattr(leaf.value, "shape")
        )
    )


class _Text(str):
    __repr__ = str.__str__


def _in_words(term: Penalty) -> str:
    def shown(value: Any) -> _Text:
        if np.size(value) == 0:
            return _Text("none")
        low, high = float(np.min(value)), float(np.max(value))
        return _Text(f"{low:g}" if low == high else f"{low:g}..{high:g}")

    return repr(jax.tree.map(shown, term))
