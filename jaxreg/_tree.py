"""Parameter pytrees: what a leaf is called, and what applies to it.

Every rule about paths, leaves, prefixes and dtypes lives here, once. Leaves are matched
by *name*, never by container type, so that a mask or a strength written as a plain dict
fits a `FrozenDict`, an `nnx.State` or a dataclass with the same names.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._arithmetic import ready, times
from jaxreg._checks import is_real
from jaxreg._dtypes import compute_dtype, raise_precision

Params = Any
"""A pytree of parameters. Only its floating-point arrays are ever regularized."""


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Tree = Mapping[Any, Any] | list[Any] | tuple[Any, ...] | _Dataclass
"""A pytree of something, as far as Python's types can tell it from text and numbers."""

Names = tuple[str, ...]

# Collections of variables that a model carries but does not train.
_STATE_COLLECTIONS = frozenset({"batch_stats"})
_STATE_VARIABLES = frozenset({"BatchStat", "Cache", "Intermediate"})

# The field in which training states (`TrainState`, `nnx.Optimizer`) keep the optimizer's.
_OPTIMIZER_FIELD = "opt_state"
# Variables in which `nnx.Optimizer` keeps it.
_OPTIMIZER_VARIABLE = "OptState"


class Leaf(NamedTuple):
    """One leaf of a pytree, with the names that lead to it.

    Attributes:
        names: Keys, attributes and indices from the root, as text.
        value: The leaf. `None` or `optax.MaskedNode()` for a hole: a place where
            somebody took a leaf out.
        owner: Class name of the node that holds the leaf.
        is_state: Whether a model carries the leaf but does not train it.
        optimizer: What the leaf belongs to, if that holds the state of an optimizer: the
            name of a class.
        shares: For a layer that a model has in several places, the names of the first of
            them; `None` there, and for all other leaves.
    """

    names: Names
    value: Any
    owner: str = ""
    is_state: bool = False
    optimizer: str = ""
    shares: Names | None = None

    @property
    def path(self) -> str:
        return path_text(self.names)

    @property
    def quoted(self) -> str:
        """The path as messages write it."""
        return quoted_path(self.names)

    @property
    def described(self) -> str:
        """The leaf as messages write it: `the leaf 'encoder/kernel'`."""
        return f"the leaf {self.quoted}" if self.names else self.quoted

    @property
    def is_hole(self) -> bool:
        return self.value is None or isinstance(self.value, optax.MaskedNode)

    @property
    def is_array(self) -> bool:
        return hasattr(self.value, "dtype") and hasattr(self.value, "shape")

    @property
    def is_parameter(self) -> bool:
        """Whether the leaf is an array of trainable real or complex numbers.

        One that stands in several places is a parameter in the first of them only.
        """
        return (
            self.is_array
            and jnp.issubdtype(self.value.dtype, jnp.inexact)
            and not self.is_state
            and self.shares is None
        )


def path_text(names: Names) -> str:
    """The path as users write and read it: `encoder/Dense_0/kernel`."""
    return "/".join(names) if names else "<the array itself>"


def quoted_path(names: Names) -> str:
    """The path in quotation marks, or words for an array that is the whole pytree."""
    return repr(path_text(names)) if names else "the array given"


def walk(tree: Params) -> Iterator[Leaf]:
    """Every leaf and every hole of `tree`, in the order of `jax.tree.leaves`.

    Boxes around an array (`nnx.Variable`, linen's `nn.Partitioned`) add nothing to the
    path, so a leaf has the same name whether or not a framework has unboxed it.
    """
    return _walk(tree, Leaf((), tree), {})


_Met = dict[tuple[int, Names], tuple[Names, Any]]
"""The names of the leaves of each `nnx.Variable` so far; and it, so that its id stays."""


def _walk(
    node: Any, above: Leaf, met: _Met, variable: tuple[Any, int] | None = None
) -> Iterator[Leaf]:
    """The leaves of a node.

    Args:
        node: The node.
        above: What a leaf there would be.
        met: What has been met so far.
        variable: The `nnx.Variable` that holds the node, and how many names lead to it.
    """
    names, leaf = above.names, above._replace(value=node)
    if leaf.is_hole:
        yield leaf
        return
    children = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda child: child is not node
    )[0]
    if len(children) == 1 and not children[0][0]:
        yield leaf if variable is None else _met_before(leaf, met, *variable)
        return
    traits = _traits(type(node))
    keys = [_key_text(path[0]) for path, _ in children]
    if traits.is_variable:
        variable = node, len(names)
    leaf = leaf._replace(
        is_state=leaf.is_state or traits.is_state,
        optimizer=leaf.optimizer
        or traits.optimizer
        or (type(node).__name__ if _OPTIMIZER_FIELD in keys else ""),
    )
    if traits.is_box and len(children) == 1:
        yield from _walk(children[0][1], leaf, met, variable)
        return
    for key, (_, child) in zip(keys, children, strict=True):
        below = leaf._replace(
            names=(*names, key),
            owner=type(node).__name__,
            is_state=leaf.is_state or key in _STATE_COLLECTIONS,
        )
        yield from _walk(child, below, met, variable)


def _met_before(leaf: Leaf, met: _Met, variable: Any, depth: int) -> Leaf:
    """A leaf of an `nnx.Variable`, which may stand in other places of the tree as well."""
    key = id(variable), leaf.names[depth:]
    first, _ = met.setdefault(key, (leaf.names, variable))
    return leaf if first == leaf.names else leaf._replace(shares=first)


class _Traits(NamedTuple):
    """What the class of a node tells of the leaves below.

    Attributes:
        is_box: Whether it is a box around an array.
        is_variable: Whether it is an `nnx.Variable`: the same one in two places is one.
        is_state: Whether a model carries it but does not train it.
        optimizer: Its name, if it is the state of an optimizer.
    """

    is_box: bool
    is_variable: bool
    is_state: bool
    optimizer: str


@functools.lru_cache(maxsize=1024)
def _traits(kind: type) -> _Traits:
    bases = {base.__name__ for base in kind.__mro__}
    is_box = hasattr(kind, "add_axis") and hasattr(kind, "remove_axis")
    is_optimizer = _OPTIMIZER_VARIABLE in bases or (
        issubclass(kind, tuple)
        and kind.__name__.endswith("State")
        and kind.__module__.partition(".")[0] in ("optax", "jaxreg")
    )
    return _Traits(
        is_box=is_box,
        is_variable=is_box and "Variable" in bases,
        is_state=bool(bases & _STATE_VARIABLES),
        optimizer=kind.__name__ if is_optimizer else "",
    )


def with_shared(tree: Sequence[Leaf], values: Sequence[Any]) -> list[Any]:
    """Values for the leaves of a tree, where leaves that are one have the same."""
    if all(leaf.shares is None for leaf in tree):
        return list(values)
    first = {leaf.names: x for leaf, x in zip(tree, values, strict=True)}
    return [
        x if leaf.shares is None else first[leaf.shares]
        for leaf, x in zip(tree, values, strict=True)
    ]


def _key_text(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def check_no_optimizer(tree: Sequence[Leaf]) -> None:
    """Refuse parameters that hold the state of an optimizer: moments are no weights.

    Raises:
        TypeError: If they do.
    """
    holder = next((leaf for leaf in tree if leaf.optimizer), None)
    if holder is not None:
        raise TypeError(
            "Parameters must not hold the state of an optimizer, but "
            f"{holder.optimizer} does at {holder.quoted}. Pass the parameters alone: "
            "state.params of a TrainState; beside an nnx.Optimizer the model, or "
            "nnx.state(model, nnx.Param)."
        )


def check_distinct(tree: Sequence[Leaf]) -> None:
    """Refuse to make new parameters of a module that has one layer in several places.

    Raises:
        ValueError: If there is such a layer.
    """
    for leaf in tree:
        if leaf.shares is not None:
            raise ValueError(
                f"New parameters can be made of distinct ones only, but {leaf.quoted} is "
                f"{quoted_path(leaf.shares)}, of which JAX would make two. Pass "
                "nnx.state(model, nnx.Param), or train with nnx.Optimizer."
            )


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

    Raises:
        TypeError: If it holds the state of an optimizer.
    """
    leaves, structure = leaves_of(tree), jax.tree.structure(tree)
    check_no_optimizer(leaves)
    variables = {
        place: raise_precision(leaf.value)
        for place, leaf in enumerate(leaves)
        if leaf.is_parameter
    }

    def full(values: Any) -> Params:
        filled = [values.get(place, leaf.value) for place, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, with_shared(leaves, filled))

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
        tree: All leaves and holes of the tree, as `walk` gives them.
        what: What the entries are, for the error messages.
        needed: For each of `tree`, whether it must have an entry.
        by_pattern: Whether keys may be patterns.

    Returns:
        One entry for each of `tree`, `None` where there is none and none is needed.

    Raises:
        ValueError: If an entry governs nothing, a needed entry is missing, or there are
            several.
    """
    governing = [_at_or_above(leaf.names, entries) for leaf in tree]
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
                f"{leaf.quoted}. It has {_listing(entries)}.{rest}"
            )
    idle = entries.keys() - set(governing) - ({("",)} if by_pattern else set())
    unused = [names for names in entries if names in idle]
    if unused and tree:
        raise ValueError(
            f"{what} must have the structure of the parameters (or be a prefix of it), "
            f"but nothing is found at {quoted_path(unused[0])}. The parameters are "
            f"{_listing([leaf.names for leaf in tree])}."
        )
    return [None if names is None else entries[names] for names in governing]


def _at_or_above(names: Names, entries: Mapping[Names, Any]) -> Names | None:
    heads = (names[:n] for n in range(len(names) + 1))
    return next((head for head in heads if head in entries), None)


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
    picks: Sequence[bool],
    what: str,
    advice: str = "",
    *,
    by_pattern: bool = False,
) -> list[Any]:
    """The number or array in a pytree prefix for each picked leaf, ready to compute with.

    Args:
        prefix: A number, an array, or a pytree prefix of these.
        tree: All leaves and holes of the tree, as `walk` gives them.
        picks: Which of them are wanted.
        what: What the values are, for the error messages.
        advice: A sentence for the error about a shape that does not fit.
        by_pattern: Whether keys of the prefix may be patterns, as for `broadcast`.

    Returns:
        For each of `tree` a Python number, or an array of the leaf's compute dtype that
        broadcasts to the leaf; `None` if it is not picked.

    Raises:
        ValueError: If a picked leaf has no value or one whose shape does not fit.
    """
    found = broadcast(entries_of(prefix), tree, what, picks, by_pattern=by_pattern)
    return [
        _fitted(value, leaf, what, advice) if pick else None
        for value, leaf, pick in zip(found, tree, picks, strict=True)
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


def _listing(paths: Any, most: int = 8) -> str:
    texts = [quoted_path(names) for names in paths]
    more = f", ... ({len(texts)} in all)" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def listing(tree: Sequence[Leaf], most: int = 8) -> str:
    """The first few paths, for a message."""
    return _listing([leaf.names for leaf in tree], most)
