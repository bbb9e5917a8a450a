"""Seeing what is regularized, and what the weights do."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._text import table
from jaxreg._tree import Params, walk
from jaxreg.masks import MaskLike, as_mask, chosen, chosen_arrays, weights
from jaxreg.penalties import Penalty


def weight_stats(params: Params, mask: MaskLike = weights) -> dict[str, Array]:
    """Sizes and exact zeros of the weights: per leaf and in total.

    For each leaf, and under `total` for all of them together:

        mean_abs        mean |w|
        max_abs         max |w|
        norm            √(Σ w²)
        zero_fraction   share of entries that are exactly zero

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.

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
    arrays = chosen_arrays(params, mask)
    sums = {names: _Sums.of(x) for names, x in arrays.items()}
    if not sums:
        return {}
    if ("total",) in sums:
        raise ValueError("A leaf must not be called 'total': that is for all of them.")
    total = _Sums.merged(list(sums.values()))
    return {
        "/".join((*names, statistic)): value
        for names, part in {**sums, ("total",): total}.items()
        for statistic, value in part.statistics().items()
    }


def sparsity(params: Params, mask: MaskLike = weights) -> Array:
    """The share of weights that are exactly zero.

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.

    Returns:
        A float32 scalar between 0 and 1. It may be computed inside `jit`.

    Raises:
        ValueError: If the mask chooses nothing.

    Example:
        >>> params = {"kernel": jnp.array([3.0, 0.0, -4.0, 0.0]), "bias": jnp.zeros(4)}
        >>> sparsity(params)
        Array(0.5, dtype=float32)
    """
    arrays = chosen_arrays(params, mask).values()
    zeros = sum((_count_zeros(x) for x in arrays), start=jnp.zeros(()))
    return zeros / max(1, sum(x.size for x in arrays))


def _count_zeros(x: Array) -> Array:
    return jnp.sum(x == 0, dtype=jnp.float32)


@dataclasses.dataclass(frozen=True)
class _Sums:
    """What the statistics of a set of arrays are made of; sets can be merged."""

    size: int
    absolute: Array
    largest: Array
    squares: Array
    zeros: Array

    @classmethod
    def of(cls, x: Array) -> "_Sums":
        magnitudes = jnp.abs(x)
        return cls(
            x.size,
            jnp.sum(magnitudes),
            jnp.max(magnitudes, initial=0.0),
            jnp.sum(jnp.square(x)),
            _count_zeros(x),
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
