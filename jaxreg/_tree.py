"""Parameter pytrees: what a leaf is called, and what applies to it.

Every rule about paths, leaves, prefixes and dtypes lives here, once. Leaves are matched
by *name*, never by container type, so that a mask or a strength written as a plain dict
fits a `FrozenDict`, an `nnx.State` or a dataclass with the same names.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._numbers import compute_dtype, is_real, raise_precision, times

Params = Any
"""A pytree of parameters. Only its floating-point arrays are ever regularized."""

Names = tuple[str, ...]

# Collections of variables that a model carries but does not train.
_STATE_COLLECTIONS = frozenset({"batch_stats"})
_STATE_VARIABLES = frozenset({"BatchStat", "Cache", "Intermediate"})


class Leaf(NamedTuple):
    """One leaf of a pytree, with the names that lead to it.

    Attributes:
        names: Keys, attributes and indices from the root, as text.
        value: The leaf. `None` or `optax.MaskedNode()` for a hole: a place where
            somebody took a leaf out.
        owner: Class name of the node that holds the leaf.
        is_state: Whether a model carries the leaf but does not train it.
    """

    names: Names
    value: Any
    owner: str = ""
    is_state: bool = False

    @property
    def path(self) -> str:
        return path_text(self.names)

    @property
    def is_hole(self) -> bool:
        return self.value is None or isinstance(self.value, optax.MaskedNode)

    @property
    def is_parameter(self) -> bool:
        """Whether the leaf is an array of trainable real or complex numbers."""
        dtype = getattr(self.value, "dtype", None)
        return (
            dtype is not None
            and hasattr(self.value, "shape")
            and jnp.issubdtype(dtype, jnp.inexact)
            and not self.is_state
        )


def path_text(names: Names) -> str:
    """The path as users write and read it: `encoder/Dense_0/kernel`."""
    return "/".join(names) or "<the array itself>"


def walk(tree: Params) -> Iterator[Leaf]:
    """Every leaf and every hole of `tree`, in the order of `jax.tree.leaves`.

    Boxes around an array (`nnx.Variable`, linen's `nn.Partitioned`) add nothing to the
    path, so a leaf has the same name whether or not a framework has unboxed it.
    """
    return _walk(tree, (), "", False)


def _walk(node: Any, names: Names, owner: str, is_state: bool) -> Iterator[Leaf]:
    leaf = Leaf(names, node, owner, is_state)
    if leaf.is_hole:
        yield leaf
        return
    children = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda child: child is not node
    )[0]
    if len(children) == 1 and not children[0][0]:
        yield leaf
        return
    kind = type(node)
    is_state |= any(base.__name__ in _STATE_VARIABLES for base in kind.__mro__)
    if _is_box(kind) and len(children) == 1:
        yield from _walk(children[0][1], names, owner, is_state)
        return
    for (key,), child in children:
        name = _key_text(key)
        yield from _walk(
            child, (*names, name), kind.__name__, is_state or name in _STATE_COLLECTIONS
        )


def _is_box(kind: type) -> bool:
    return hasattr(kind, "add_axis") and hasattr(kind, "remove_axis")


def _key_text(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def leaves_of(tree: Params) -> list[Leaf]:
    """One `Leaf` for each entry of `jax.tree.leaves(tree)`."""
    return [leaf for leaf in walk(tree) if not leaf.is_hole]


def variables_of(tree: Params) -> tuple[dict[int, Array], Callable[[Any], Params]]:
    """The parameters in a pytree, and how to put others in their place.

    Args:
        tree: A pytree of parameters, and of other things, which stay as they are.

    Returns:
        The parameters by their places in `jax.tree.leaves`, in at least float32; and the
        function that makes the whole pytree from such values.
    """
    leaves, structure = leaves_of(tree), jax.tree.structure(tree)
    variables = {
        place: raise_precision(leaf.value)
        for place, leaf in enumerate(leaves)
        if leaf.is_parameter
    }

    def full(values: Any) -> Params:
        filled = [values.get(place, leaf.value) for place, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, filled)

    return variables, full


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


def broadcast(
    entries: Mapping[Names, Any],
    tree: Sequence[Leaf],
    what: str,
    needed: Sequence[bool],
) -> list[Any]:
    """The entry that governs each leaf of a tree, by name.

    Args:
        entries: A value for every leaf at or below its own path.
        tree: All leaves and holes of the tree, as `walk` gives them.
        what: What the entries are, for the error messages.
        needed: For each of `tree`, whether it must have an entry.

    Returns:
        One entry for each of `tree`, `None` where there is none and none is needed.

    Raises:
        ValueError: If an entry governs nothing, or a needed entry is missing.
    """
    used: set[Names] = set()
    found: list[Any] = []
    for leaf, is_needed in zip(tree, needed, strict=True):
        heads = (leaf.names[:n] for n in range(len(leaf.names) + 1))
        governing = next((head for head in heads if head in entries), None)
        if governing is not None:
            used.add(governing)
        elif is_needed:
            raise ValueError(
                f"{what} must cover every leaf it is for, but has no entry at or above "
                f"{leaf.path!r}. It has {_listing(entries)}."
            )
        found.append(None if governing is None else entries[governing])
    unused = [names for names in entries if names not in used]
    if unused and tree:
        raise ValueError(
            f"{what} must have the structure of the parameters (or be a prefix of it), "
            f"but nothing is found at {path_text(unused[0])!r}. The parameters are "
            f"{_listing([leaf.names for leaf in tree])}."
        )
    return found


def values_at(
    prefix: Params,
    tree: Sequence[Leaf],
    picks: Sequence[bool],
    what: str,
    advice: str = "",
) -> list[Any]:
    """The number or array in a pytree prefix for each picked leaf, ready to compute with.

    Args:
        prefix: A number, an array, or a pytree prefix of these.
        tree: All leaves and holes of the tree, as `walk` gives them.
        picks: Which of them are wanted.
        what: What the values are, for the error messages.
        advice: A sentence for the error about a shape that does not fit.

    Returns:
        For each of `tree` a Python number, or an array of the leaf's compute dtype that
        broadcasts to the leaf; `None` if it is not picked.

    Raises:
        ValueError: If a picked leaf has no value or one whose shape does not fit.
    """
    found = broadcast(entries_of(prefix), tree, what, picks)
    return [
        _fitted(value, leaf, what, advice) if pick else None
        for value, leaf, pick in zip(found, tree, picks, strict=True)
    ]


def _fitted(value: Any, leaf: Leaf, what: str, advice: str) -> Any:
    """A value for one leaf: of its dtype, and of a shape that broadcasts to it."""
    if not is_real(value):
        raise TypeError(f"{what} must be numbers, got {value!r} for {leaf.path!r}.")
    if isinstance(value, float | int):
        return value
    shape, target = np.shape(value), np.shape(leaf.value)
    try:
        fits = np.broadcast_shapes(shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{what} must broadcast against the leaf {leaf.path!r} of shape {target}, got "
            f"shape {shape}. {advice}".rstrip()
        )
    return jnp.asarray(value, compute_dtype(leaf.value.dtype))


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
                f"of them has an entry at {path_text(names)!r}."
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


def _listing(paths: Any, most: int = 8) -> str:
    texts = [repr(path_text(names)) for names in paths]
    more = f", ... ({len(texts)} in all)" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def listing(tree: Sequence[Leaf], most: int = 8) -> str:
    """The first few paths, for a message."""
    return _listing([leaf.names for leaf in tree], most)
