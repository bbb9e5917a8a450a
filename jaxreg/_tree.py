"""Parameter pytrees: their leaves, and what each is called.

A list about a tree has an entry for every leaf that `walk` gives, missing ones too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._frameworks import OPTIMIZER_FIELD, STATE_COLLECTIONS, node_kind

Params = Any
"""A pytree of parameters. Only its floating-point arrays are ever regularized."""


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Tree = Mapping[Any, Any] | list[Any] | tuple[Any, ...] | _Dataclass
"""A pytree of something, as far as Python's types can tell it from text and numbers."""

Names = tuple[str, ...]
"""What leads to a leaf: keys, attributes and indices, as text."""


class Leaf(NamedTuple):
    """One leaf of a pytree, with the names that lead to it.

    Attributes:
        names: Keys, attributes and indices from the root, as text.
        value: The leaf. `None` or `optax.MaskedNode()` if it is missing, since somebody
            has taken it out.
        owner: Class name of the node that holds the leaf.
        is_state: Whether a model carries the leaf but does not train it.
        optimizer: What the leaf belongs to, if that holds the state of an optimizer: the
            name of a class.
        same_as: For a layer that a model has at several paths, the names of the first;
            `None` there, and for all other leaves.
    """

    names: Names
    value: Any
    owner: str = ""
    is_state: bool = False
    optimizer: str = ""
    same_as: Names | None = None

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
    def is_missing(self) -> bool:
        return self.value is None or isinstance(self.value, optax.MaskedNode)

    @property
    def is_array(self) -> bool:
        return hasattr(self.value, "dtype") and hasattr(self.value, "shape")

    @property
    def is_parameter(self) -> bool:
        """Whether the leaf is an array of trainable real or complex numbers.

        One that is found at several paths is a parameter at the first of them only.
        """
        return (
            self.is_array
            and jnp.issubdtype(self.value.dtype, jnp.inexact)
            and not self.is_state
            and self.same_as is None
        )


def path_text(names: Names) -> str:
    """The path as users write and read it: `encoder/Dense_0/kernel`."""
    return "/".join(names) if names else "<the array itself>"


def quoted_path(names: Names) -> str:
    """The path in quotation marks, or words for an array that is the whole pytree."""
    return repr(path_text(names)) if names else "the array given"


def walk(tree: Params) -> Iterator[Leaf]:
    """Every leaf of `tree`, missing ones too, in the order of `jax.tree.leaves`.

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
    if leaf.is_missing:
        yield leaf
        return
    children = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda child: child is not node
    )[0]
    if len(children) == 1 and not children[0][0]:
        yield leaf if variable is None else _met_before(leaf, met, *variable)
        return
    kind = node_kind(type(node))
    keys = [_key_text(path[0]) for path, _ in children]
    if kind.is_variable:
        variable = node, len(names)
    leaf = leaf._replace(
        is_state=leaf.is_state or kind.is_state,
        optimizer=leaf.optimizer
        or kind.optimizer
        or (type(node).__name__ if OPTIMIZER_FIELD in keys else ""),
    )
    if kind.is_box and len(children) == 1:
        yield from _walk(children[0][1], leaf, met, variable)
        return
    for key, (_, child) in zip(keys, children, strict=True):
        below = leaf._replace(
            names=(*names, key),
            owner=type(node).__name__,
            is_state=leaf.is_state or key in STATE_COLLECTIONS,
        )
        yield from _walk(child, below, met, variable)


def _met_before(leaf: Leaf, met: _Met, variable: Any, depth: int) -> Leaf:
    """A leaf of an `nnx.Variable`, which may be found at other paths of the tree too."""
    key = id(variable), leaf.names[depth:]
    first, _ = met.setdefault(key, (leaf.names, variable))
    return leaf if first == leaf.names else leaf._replace(same_as=first)


def with_shared(tree: Sequence[Leaf], values: Sequence[Any]) -> list[Any]:
    """Values for the leaves of a tree, where leaves that are one have the same."""
    if all(leaf.same_as is None for leaf in tree):
        return list(values)
    first = {leaf.names: x for leaf, x in zip(tree, values, strict=True)}
    return [
        x if leaf.same_as is None else first[leaf.same_as]
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
    """Refuse to make new parameters of a module that has one layer at several paths.

    Raises:
        ValueError: If there is such a layer.
    """
    for leaf in tree:
        if leaf.same_as is not None:
            raise ValueError(
                f"New parameters can be made of distinct ones only, but {leaf.quoted} is "
                f"{quoted_path(leaf.same_as)}, of which JAX would make two. Pass "
                "nnx.state(model, nnx.Param), or train with nnx.Optimizer."
            )


def leaves_of(tree: Params) -> list[Leaf]:
    """One `Leaf` for each entry of `jax.tree.leaves(tree)`."""
    return [leaf for leaf in walk(tree) if not leaf.is_missing]


def assembled(tree: Sequence[Leaf], params: Params, values: Iterable[Any]) -> Params:
    """A pytree like `params` with other values.

    Args:
        tree: `list(walk(params))`.
        params: The parameters.
        values: One for each of `tree`; those of missing leaves are not looked at.

    Returns:
        The pytree.
    """
    present = [x for leaf, x in zip(tree, values, strict=True) if not leaf.is_missing]
    return jax.tree.unflatten(jax.tree.structure(params), present)


def values_beside(tree: Sequence[Leaf], params: Params, other: Params) -> list[Any]:
    """For each leaf of `params`, what a pytree of its structure has; missing ones `None`.

    Args:
        tree: `list(walk(params))`.
        params: The parameters.
        other: A pytree that has something at every leaf of `params`.
    """
    present = iter(jax.tree.structure(params).flatten_up_to(other))
    return [None if leaf.is_missing else next(present) for leaf in tree]


def variables_of(tree: Params) -> tuple[dict[int, Array], Callable[[Any], Params]]:
    """The parameters in a pytree, and how to put others in their stead.

    Args:
        tree: A pytree of parameters, and of other things, which stay as they are.

    Returns:
        The parameters by their index in `list(walk(tree))`, in at least float32; and the
        function that makes the whole pytree from such values.

    Raises:
        TypeError: If it holds the state of an optimizer.
    """
    leaves = list(walk(tree))
    check_no_optimizer(leaves)
    variables = {
        index: raise_precision(leaf.value)
        for index, leaf in enumerate(leaves)
        if leaf.is_parameter
    }

    def full(values: Any) -> Params:
        filled = [values.get(index, leaf.value) for index, leaf in enumerate(leaves)]
        return assembled(leaves, tree, with_shared(leaves, filled))

    return variables, full


def path_listing(paths: Iterable[Names], most: int = 8) -> str:
    """The first few paths, for a message."""
    texts = [quoted_path(names) for names in paths]
    more = f", ... ({len(texts)} in all)" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def listing(tree: Sequence[Leaf], most: int = 8) -> str:
    """The paths of the first few leaves, for a message."""
    return path_listing([leaf.names for leaf in tree], most)
