r"""Which leaves are regularized.

A mask is a small hashable value that chooses leaves *by name*, from the parameters and
never from the gradients:

    weights                         everything but biases, norm scales and intercepts
    everything                      every floating-point array
    matrices                        every array with two axes or more
    named("encoder/.*kernel$")      the leaves whose path matches a regular expression
    weights & ~named("embedding")   combinations, with `&`, `|` and `~`

Wherever jaxreg takes a `mask`, a pytree of bools (or a prefix of one) and a function from
the parameters to such a pytree will also do. The path of a leaf is the same in every
framework: `encoder/Dense_0/kernel`.

Masks are deliberately not callable: `optax.inject_hyperparams` takes every callable
argument for a schedule, calls it on the step counter, and so silently turns a masked decay
off. To hand a mask to Optax itself, pass `mask.of`, a function of the
parameters: `optax.masked(transform, jaxreg.weights.of)`.
"""

import abc
import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.core import Tracer

from jaxreg._checks import CalledOnParams, is_function
from jaxreg._dtypes import raise_precision
from jaxreg._prefixes import broadcast
from jaxreg._tree import (
    Leaf,
    Names,
    Params,
    Tree,
    assembled,
    check_no_optimizer,
    listing,
    walk,
    with_shared,
)
from jaxreg.masks.roles import roles_of


class Mask(abc.ABC):
    """A choice of leaves, made by their names, shapes and paths in the tree.

    Masks combine with `&`, `|` and `~`, also with bool pytrees and functions. They are
    hashable, so a penalty that carries one never recompiles because of it.

    Example:
        >>> params = {"Dense_0": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
        >>> weights.of(params)
        {'Dense_0': {'bias': False, 'kernel': True}}
        >>> (everything & ~named("kernel")).of(params)
        {'Dense_0': {'bias': True, 'kernel': False}}
    """

    @abc.abstractmethod
    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        """One bool for each leaf of `tree = list(walk(params))`, missing ones too."""

    def of(self, params: Params) -> Params:
        """The mask as a pytree of bools with the structure of `params`.

        Args:
            params: The parameters.

        Returns:
            A pytree of Python bools, for `optax.masked` and its like.

        Raises:
            TypeError: If a complex-valued leaf is chosen.
            ValueError: If `params` has leaves, but none of them is chosen.

        Example:
            >>> matrices.of({"w": jnp.ones((2, 2)), "step": jnp.array(3)})
            {'step': False, 'w': True}
        """
        tree = list(walk(params))
        is_chosen = with_shared(tree, chosen(self, tree, params))
        return assembled(tree, params, is_chosen)

    def __bool__(self) -> bool:
        raise TypeError(
            f"The mask {self!r} is neither true nor false by itself. To combine masks use "
            "&, | and ~ (not `and`, `or`, `not`); to hand one to Optax pass its function "
            "of the parameters, mask.of: optax.masked(transform, jaxreg.weights.of)."
        )

    def __and__(self, other: "MaskLike") -> "Mask":
        return _Combined("&", (self, as_mask(other)))

    def __or__(self, other: "MaskLike") -> "Mask":
        return _Combined("|", (self, as_mask(other)))

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> "Mask":
        return _Not(self)


MaskLike = Mask | bool | np.bool_ | Array | Tree | Callable[[Any], Any]
"""A `Mask`, a pytree (prefix) of bools, or a function of the parameters giving one."""


class NothingChosenError(ValueError):
    """A mask chooses none of the leaves that it could choose."""


@dataclasses.dataclass(frozen=True)
class _Rule(Mask):
    """A mask that looks at the leaves alone."""

    name: str
    rule: Callable[[Sequence[Leaf]], list[bool]] = dataclasses.field(repr=False)

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        del params
        return self.rule(tree)

    def __repr__(self) -> str:
        return self.name


@dataclasses.dataclass(frozen=True)
class _Named(Mask):
    patterns: tuple[str, ...]

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        del params
        hits = [
            [re.search(pattern, "/".join(leaf.names)) is not None for leaf in tree]
            for pattern in self.patterns
        ]
        for pattern, hit in zip(self.patterns, hits, strict=True):
            if tree and not any(hit):
                raise ValueError(
                    f"The pattern {pattern!r} of {self!r} must match at least one path, "
                    f"but it matches none of {listing(tree)}. Patterns are searched "
                    "with `re.search` in the whole path."
                )
        return [any(column) for column in zip(*hits, strict=True)]

    def __repr__(self) -> str:
        return f"named({', '.join(map(repr, self.patterns))})"


@dataclasses.dataclass(frozen=True)
class _Tree(Mask):
    """A pytree (prefix) of bools, kept as text so that it can be hashed."""

    entries: tuple[tuple[Names, bool], ...]

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        del params
        needed = [leaf.is_parameter for leaf in tree]
        entries = dict(self.entries)
        found = broadcast(entries, tree, "The mask", needed, by_pattern=True)
        return list(map(bool, found))

    def __repr__(self) -> str:
        if self.entries[0][0] == ():
            return str(self.entries[0][1])
        shown = (f"{'/'.join(names)!r}: {value}" for names, value in self.entries)
        return "{" + ", ".join(shown) + "}"


@dataclasses.dataclass(frozen=True)
class _Function(Mask):
    function: Callable[[Params], Any]

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        made = self.function(params)
        if is_function(made):
            raise TypeError(f"A mask function must return a pytree of bools, got {made!r}.")
        return as_mask(made).choose(tree, params)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


@dataclasses.dataclass(frozen=True)
class _Combined(Mask):
    operator: str
    parts: tuple[Mask, Mask]

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        decide = all if self.operator == "&" else any
        columns = [part.choose(tree, params) for part in self.parts]
        return [decide(column) for column in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        return "(" + f" {self.operator} ".join(map(repr, self.parts)) + ")"


@dataclasses.dataclass(frozen=True)
class _Not(Mask):
    part: Mask

    def choose(self, tree: Sequence[Leaf], params: Params) -> list[bool]:
        return [not x for x in self.part.choose(tree, params)]

    def __repr__(self) -> str:
        return f"~{self.part!r}"


weights: Mask = _Rule(
    "weights",
    lambda tree: [role in ("weight", "embedding") for role in roles_of(tree)],
)
"""The default: every weight, and no bias, normalisation scale or offset, or intercept.

Decided by the *name* of the leaf, so that layers stacked by `nn.scan` or `vmap`, whose
biases have two axes, are right too. Left out are leaves called `bias`, `b`, `intercept`,
`offset` or `scale` (alone, numbered, or as a word of a longer name: `b1`, `bias_n`,
`logit_scale`), and `weight`, `gain`, `beta` and `gamma` of a normalisation layer, known
by its name (`norm`, `LayerNorm_0`, `bn1`, `ln_f`) or, in an Equinox module, by its class.
A bare array is a weight, and so is a coefficient vector called `beta`.

Where a name says nothing, the neighbours may: in a tuple or list that consists of pairs
`(W, b)`, the vector with an entry for each unit of the matrix before it is its bias; and
`gamma` and `beta` of one shape, beside a kernel with as many units, are the scale and the
offset of a normalisation. All else is a weight, and `describe` warns of vectors that may be
something else.
"""

everything: Mask = _Rule("everything", lambda tree: [True] * len(tree))
"""Every floating-point array: Optax's own default."""

matrices: Mask = _Rule(
    "matrices",
    lambda tree: [len(getattr(leaf.value, "shape", ())) >= 2 for leaf in tree],
)
"""Every floating-point array with two axes or more.

The rule of many training scripts. It also takes in the biases and scales of layers
stacked by `nn.scan` or `vmap`, which have two axes: `weights` does not.
"""


def named(*patterns: str) -> Mask:
    r"""The leaves whose path matches any of some regular expressions.

    Each pattern is searched (`re.search`) in the normalised path, the same in every
    framework: `encoder/Dense_0/kernel`, without a trailing `.value`. Anchor with `^` and
    `$` as needed.

    Args:
        *patterns: Regular expressions. Each must match at least one leaf of the
            parameters that the mask is used on.

    Returns:
        A mask.

    Raises:
        TypeError: If a pattern is not a string.
        ValueError: If there is no pattern or one is not a regular expression; and, where
            the mask is used, if a pattern matches nothing.

    Example:
        >>> params = {"embed": jnp.ones((4, 2)), "head": {"kernel": jnp.ones((2, 3))}}
        >>> (weights & ~named("^embed")).of(params)
        {'embed': False, 'head': {'kernel': True}}
    """
    if not patterns:
        raise ValueError("named() needs at least one pattern, got none.")
    for pattern in patterns:
        if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A pattern of named() must be a string, got {pattern!r}.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{pattern!r} is not a regular expression: {error}. Patterns are searched "
                "anywhere in the path: named('kernel') needs no '*', which is '.*' there."
            ) from error
    return _Named(patterns)


def as_mask(mask: MaskLike) -> Mask:
    """Turn anything that can choose leaves into a `Mask`.

    jaxreg does this wherever it takes a `mask`. Call it yourself to hide a function from
    `optax.inject_hyperparams`, which would call it as a schedule.

    Args:
        mask: A mask; a pytree of bools with the structure of the parameters or a prefix
            of it, at whose top keys may be patterns as in the strengths of a `Penalty`; or
            a function from the parameters to one of these.

    Returns:
        A mask, hashable and not callable.

    Raises:
        TypeError: If `mask` is, or contains, something else: a string, a number, an
            array of several bools, `None`.

    Example:
        >>> as_mask({"encoder": True, "head": False})
        {'encoder': True, 'head': False}
    """
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, str):
        raise TypeError(
            f"A mask must choose leaves, got the string {mask!r}. For leaves by name use "
            f"jaxreg.named({mask!r})."
        )
    if mask is None:
        raise TypeError(
            "A mask must choose leaves, got None. Leave it out for the default "
            "(jaxreg.weights), or pass jaxreg.everything for every leaf."
        )
    if isinstance(mask, type):
        raise TypeError(f"A mask must choose leaves, got {mask}.")
    if isinstance(mask, CalledOnParams):
        raise TypeError(
            f"A mask must hold True or False, got the penalty {mask!r}. Name the argument "
            "that it is for (penalty=...); are arguments in the wrong order?"
        )
    if isinstance(mask, optax.GradientTransformation):
        raise TypeError(
            "A mask must hold True or False, got an Optax optimizer, which does not say "
            "what it regularizes: pass the penalty or the mask that it was made with."
        )
    if is_function(mask):
        _check_takes_params(mask)
        return _Function(mask)
    entries = tuple(
        (leaf.names, _as_bool(leaf)) for leaf in walk(mask) if not leaf.is_missing
    )
    if not entries:
        raise TypeError(f"A mask must choose leaves, got the empty pytree {mask!r}.")
    return _Tree(entries)


def _check_takes_params(function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with the parameters alone."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # It has none, as some built-in functions.
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            f"A mask function must take the parameters alone, but has the arguments "
            f"{signature} ({error}). To choose leaves by their paths, use "
            "jaxreg.named(pattern), or jax.tree_util.tree_map_with_path(function, params) "
            "in a function of the parameters."
        ) from None


def _as_bool(leaf: Leaf) -> bool:
    value = leaf.value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Tracer):
        raise TypeError(
            f"A mask must be known before tracing, but its entry at {leaf.quoted} is "
            f"traced: {value}. Choose leaves by name, shape or dtype, not by their values."
            " (Under `optax.inject_hyperparams`, name a mask function in `static_args`, or"
            " wrap it: `jaxreg.masks.as_mask(function)`.)"
        )
    if getattr(value, "dtype", None) == jnp.bool_:
        if np.ndim(value) == 0:
            return bool(value)
        raise TypeError(
            f"A mask chooses whole leaves, but its entry at {leaf.quoted} is an array of "
            f"shape {np.shape(value)}. To treat the coordinates of one leaf differently, "
            "give the penalty an array of strengths."
        )
    weighs = "To weigh leaves differently, give the penalty a pytree of strengths."
    if leaf.is_parameter and np.ndim(value) > 0:
        weighs = "Are the parameters given for the mask?"
    raise TypeError(
        f"A mask must hold True or False, got {value!r} at {leaf.quoted}. {weighs}"
    )


def chosen(mask: Mask, tree: Sequence[Leaf], params: Params) -> list[bool]:
    """Whether each leaf of `tree = list(walk(params))` is regularized.

    Raises:
        TypeError: If `params` are no parameters, or a complex-valued leaf is chosen.
        ValueError: If there are leaves, but none of them is chosen.
    """
    if params is None:
        raise TypeError("Parameters must be a pytree of arrays, got None.")
    if isinstance(params, CalledOnParams):
        raise TypeError(
            f"Parameters must be a pytree of arrays, got the penalty {params!r}: are "
            "arguments in the wrong order?"
        )
    check_no_optimizer(tree)
    is_chosen = [
        hit and leaf.is_parameter
        for leaf, hit in zip(tree, mask.choose(tree, params), strict=True)
    ]
    for leaf, hit in zip(tree, is_chosen, strict=True):
        if hit and jnp.issubdtype(leaf.value.dtype, jnp.complexfloating):
            raise TypeError(
                f"Regularized leaves must be real, but {leaf.quoted} has dtype "
                f"{leaf.value.dtype}. Wrap the optimizer in "
                "`optax.contrib.split_real_and_imaginary`, or leave it out of the mask."
            )
    present = [leaf for leaf in tree if not leaf.is_missing]
    if present and not any(is_chosen):
        floats = [leaf for leaf in present if leaf.is_parameter]
        if not floats:
            first = present[0].value
            given = f"{first.dtype}" if present[0].is_array else type(first).__name__
            raise ValueError(
                "Parameters must hold a floating-point array, but there is none at "
                f"{listing(present)}: got {given}."
            )
        raise NothingChosenError(
            f"The mask {mask!r} must choose at least one floating-point leaf, but it "
            f"chooses none of {listing(floats)}. Nothing would be regularized: name the "
            "leaves with jaxreg.named(...), or pass mask=jaxreg.everything."
            f"{_injected_mask(mask)}"
        )
    return is_chosen


def _injected_mask(mask: Mask) -> str:
    """Advice where a mask is what a function returned that Optax took for a schedule."""
    if mask != as_mask(False):
        return ""
    return (
        " (Under `optax.inject_hyperparams`, wrap a mask function in jaxreg.masks.as_mask.)"
    )


def chosen_arrays(params: Params, mask: MaskLike) -> dict[Names, Array]:
    """The regularized leaves by name, as arrays of at least float32."""
    tree = list(walk(params))
    is_chosen = chosen(as_mask(mask), tree, params)
    return {
        leaf.names: raise_precision(leaf.value)
        for leaf, hit in zip(tree, is_chosen, strict=True)
        if hit
    }
