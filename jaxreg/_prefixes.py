"""Pytree prefixes: strengths, masks and metrics, matched with leaves by name.

Leaves are matched by *name*, never by container type, so that a mask or a strength
written as a plain dict fits a `FrozenDict`, an `nnx.State` or a dataclass with the same
names.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._arithmetic import ready, times
from jaxreg._checks import is_real
from jaxreg._dtypes import compute_dtype
from jaxreg._tree import (
    Leaf,
    Names,
    Params,
    leaves_of,
    listing,
    path_listing,
    quoted_path,
)


def entries_of(prefix: Params) -> dict[Names, Any]:
    """The leaves of a pytree prefix, by name."""
    leaves = leaves_of(prefix)
    entries = {leaf.names: leaf.value for leaf in leaves}
    if len(entries) < len(leaves):
        raise ValueError(
            f"Leaves must have different paths, but among {listing(leaves)} some are the "
            "same: are there keys such as 1 and '1'?"
        )
    return entries


def checked_reference(what: str, reference: Params) -> Params:
    """A reference without the functions that a model holds beside its arrays.

    Raises:
        TypeError: If it is a function, or has something else than arrays in it.
    """
    if callable(reference) and jax.tree_util.all_leaves([reference]):
        raise TypeError(f"{what} must be a pytree of arrays, got {reference!r}.")

    def checked(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype") and not callable(leaf):
            raise TypeError(f"{what} must be a pytree of arrays, got {leaf!r}.")
        return leaf if hasattr(leaf, "dtype") else None

    return jax.tree.map(checked, reference)


def broadcast(
    entries: Mapping[Names, Any],
    tree: Sequence[Leaf],
    what: str,
    needed: Sequence[bool],
    *,
    by_pattern: bool = False,
) -> list[Any]:
    """The entry that governs each leaf of a tree, by name.

    With `by_pattern`, a key at the top that is no name of the tree is a regular expression,
    for all leaves that have no entry by name and whose path it is found in. `""` is for
    the leaves that no other pattern is for. Dicts have no order in JAX, so two others for
    one leaf are an error.

    Args:
        entries: A value for every leaf at or below its own path.
        tree: All leaves of the tree, missing ones too, as `walk` gives them.
        what: What the entries are, for the error messages.
        needed: For each of `tree`, whether it must have an entry.
        by_pattern: Whether keys may be patterns.

    Returns:
        One entry for each of `tree`, `None` where there is none and none is needed.

    Raises:
        ValueError: If an entry governs nothing, a needed entry is missing, or there are
            several.
    """
    heads = [[leaf.names[:n] for n in range(len(leaf.names) + 1)] for leaf in tree]
    governing = [next((head for head in own if head in entries), None) for own in heads]
    patterns = _patterns(entries, set(governing)) if by_pattern else {}
    if patterns:
        governing = [
            _by_pattern(leaf, patterns, what) if names is None else names
            for leaf, names in zip(tree, governing, strict=True)
        ]
    for leaf, names, is_needed in zip(tree, governing, needed, strict=True):
        if names is None and is_needed:
            rest = " An entry '' is for all others." if by_pattern else ""
            raise ValueError(
                f"{what} must cover every leaf it is for, but has no entry at or above "
                f"{leaf.quoted}. It has {path_listing(entries)}.{rest}"
            )
    idle = entries.keys() - set(governing) - ({("",)} if by_pattern else set())
    unused = [names for names in entries if names in idle]
    if unused and tree:
        raise ValueError(
            f"{what} must have the structure of the parameters (or be a prefix of it), "
            f"but nothing is found at {quoted_path(unused[0])}. The parameters are "
            f"{path_listing([leaf.names for leaf in tree])}."
        )
    return [None if names is None else entries[names] for names in governing]


def _patterns(
    entries: Mapping[Names, Any], used: set[Names | None]
) -> dict[Names, re.Pattern[str]]:
    """The keys at the top that are regular expressions: no names, no indices."""
    patterns: dict[Names, re.Pattern[str]] = {}
    for names in entries.keys() - used:
        if len(names) == 1 and not names[0].isdigit():
            with contextlib.suppress(re.error):
                patterns[names] = re.compile(names[0])
    return patterns


def _by_pattern(
    leaf: Leaf, patterns: Mapping[Names, re.Pattern[str]], what: str
) -> Names | None:
    """The pattern that is found in the path of a leaf; `""` where no other is."""
    path = "/".join(leaf.names)
    found = [x for x, pattern in patterns.items() if x != ("",) and pattern.search(path)]
    if len(found) > 1:
        both = " and ".join(sorted(quoted_path(names) for names in found))
        raise ValueError(
            f"{what} must have one pattern for each leaf, but {both} are found in "
            f"{leaf.quoted}. Make one of them narrower; '' is for all others."
        )
    return found[0] if found else ("",) if ("",) in patterns else None


def values_at(
    prefix: Params,
    tree: Sequence[Leaf],
    chosen: Sequence[bool],
    what: str,
    advice: str = "",
    *,
    by_pattern: bool = False,
) -> list[Any]:
    """The number or array in a pytree prefix for each chosen leaf, ready to compute with.

    Args:
        prefix: A number, an array, or a pytree prefix of these.
        tree: All leaves of the tree, missing ones too, as `walk` gives them.
        chosen: Which of them are wanted.
        what: What the values are, for the error messages.
        advice: A sentence for the error about a shape that does not fit.
        by_pattern: Whether keys of the prefix may be patterns, as for `broadcast`.

    Returns:
        For each of `tree` a Python number, or an array of the leaf's compute dtype that
        broadcasts to the leaf; `None` if it is not chosen.

    Raises:
        ValueError: If a chosen leaf has no value or one whose shape does not fit.
    """
    if jax.tree_util.all_leaves([prefix]):
        found = [prefix] * len(tree)
    else:
        entries = entries_of(prefix)
        found = broadcast(entries, tree, what, chosen, by_pattern=by_pattern)
    return [
        _fitted(value, leaf, what, advice) if is_chosen else None
        for value, leaf, is_chosen in zip(found, tree, chosen, strict=True)
    ]


def _fitted(value: Any, leaf: Leaf, what: str, advice: str) -> Any:
    """A value for one leaf: of its dtype, and of a shape that broadcasts to it."""
    if not is_real(value):
        raise TypeError(f"{what} must be numbers, got {value!r} for {leaf.quoted}.")
    if isinstance(value, float | int):
        return ready(value, leaf.value)
    shape, target = np.shape(value), np.shape(leaf.value)
    try:
        fits = np.broadcast_shapes(shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{what} must broadcast against {leaf.described} of shape {target}, got "
            f"shape {shape}. {advice}".rstrip()
        )
    missing = range(len(target) - len(shape)) if shape else ()
    value = jnp.expand_dims(value, tuple(missing))  # As NumPy broadcasts, but said so.
    return jnp.asarray(value, compute_dtype(leaf.value))


def product(a: Params, b: Params) -> Params:
    """Two pytree prefixes of the same parameters, multiplied; matched by name.

    Raises:
        ValueError: If an entry of one has no counterpart in the other.
    """
    if jax.tree_util.all_leaves([b]):
        return jax.tree.map(lambda x: times(x, b), a)
    if jax.tree_util.all_leaves([a]):
        return jax.tree.map(lambda y: times(a, y), b)
    left, right = entries_of(a), entries_of(b)
    pairs = [
        (x, y)
        for x in left
        for y in right
        if x[: len(y)] == y[: len(x)]  # One is at or above the other.
    ]
    for entries, met in ((left, {x for x, _ in pairs}), (right, {y for _, y in pairs})):
        for names in entries.keys() - met:
            raise ValueError(
                "Strengths and their factors must fit each other by name, but only one "
                f"of them has an entry at {quoted_path(names)}."
            )
    return nested({max(x, y, key=len): times(left[x], right[y]) for x, y in pairs})


def nested(entries: Mapping[Names, Any]) -> Params:
    """A pytree of dicts with given leaves."""
    tree: dict[str, Any] = {}
    for names, value in entries.items():
        if not names:
            return value
        node = tree
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = value
    return tree
