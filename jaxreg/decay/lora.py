"""Decay of low-rank adapters: of the product of two factors, not of the factors."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number, is_function
from jaxreg._dtypes import raise_precision
from jaxreg._prefixes import values_at
from jaxreg._sharding import like, whole
from jaxreg._tree import Leaf, Params, listing, quoted_path, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights
from jaxreg.operators.matrices import dot
from jaxreg.transforms.authoring import (
    Rate,
    Rates,
    check_arguments,
    map_chosen,
    transformation,
)


def lora_decay(
    weight_decay: Rates,
    *,
    learning_rate: Rate,
    mask: MaskLike = weights,
    factors: tuple[str, str] = ("lora_a", "lora_b"),
    scale: Scalar = 1.0,
    base: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Shrink what a low-rank adapter adds to a layer, and not its two factors.

    With P = scale · A · B, what the adapter adds (or W₀ + scale · A · B, the merged weight,
    with `base`), after the optimizer's update u:

        A ← A + u_A − learning_rate · weight_decay · scale · P · Bᵀ
        B ← B + u_B − learning_rate · weight_decay · scale · Aᵀ · P

    That is decoupled decay by the gradient of ½·‖P‖². Decay of the factors is another
    penalty, ½·(‖A‖² + ‖B‖²), whose least value for a product is its nuclear norm: it is as
    strong for an adapter that adds nothing as for one that does, shrinks A while B still is
    the zero that it starts from, and lowers the rank. Here, an adapter that adds nothing
    is left alone. Without `base` a fine-tuned model decays to the pretrained one (it is
    L2-SP of the merged weight); with `base` to zero, as the full weight would.

    Place it *after* a finished optimizer.

    Args:
        weight_decay: Non-negative number, pytree prefix of the parameters, or an Optax
            schedule.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves, among the factors; by default `weights`.
        factors: The last names of A and B in the paths, in the order in which they are
            multiplied: ("lora_a", "lora_b") of `flax.nnx`; ("lora_B", "lora_A") where
            kernels are (out, in), as in PyTorch and Equinox. The last two axes are the
            matrix, axes before them number a stack.
        scale: What the model multiplies the product by: alpha / rank.
        base: The last name of W₀ in the path of the same layer, "kernel": of A's module or
            of one around it. It must be among the parameters that `update` is given, where
            its own update may be `None`.

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a concrete number is negative or NaN; when used, if there are no
            factors, one of a pair is missing, they cannot be multiplied, there is no
            `base`, or `params` is missing.

    Example:
        >>> decay = lora_decay(0.1, learning_rate=0.5)
        >>> optimizer = optax.chain(optax.adam(0.5), decay)
        >>> params = {"lora_a": jnp.array([[2.0]]), "lora_b": jnp.array([[0.0]])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> abs(optimizer.update(zeros, optimizer.init(params), params)[0]["lora_a"])
        Array([[0.]], dtype=float32)

    References:
        Hu et al., *LoRA: low-rank adaptation of large language models* (2022); Srebro,
        Rennie and Jaakkola, *Maximum-margin matrix factorization* (2004), on decay of the
        factors; Li, Grandvalet and Davoine, *Explicit inductive bias for transfer learning
        with convolutional networks* (2018), on L2-SP.
    """
    check_arguments(
        lora_decay, weight_decay=weight_decay, learning_rate=learning_rate, mask=mask
    )
    check_number("scale", scale)
    _check_names(factors, base)
    mask = as_mask(mask)

    def terms_of(
        tree: Sequence[Leaf], params: Params, decay: Any, rate: Any
    ) -> list["_Factor | None"]:
        is_chosen = chosen(mask, tree, params)
        pairs = _pairs(tree, is_chosen, factors, base)
        needed = [index in pairs for index in range(len(tree))]
        decays = values_at(decay, tree, needed, "weight_decay", by_pattern=True)
        return [
            _Factor(rate * decays[index], scale, *pairs[index]) if is_one else None
            for index, is_one in enumerate(needed)
        ]

    def rule(updates: Params, params: Params, decay: Any, rate: Any) -> Params:
        tree = list(walk(params))
        terms = terms_of(tree, params, decay, rate)
        return map_chosen(_shrunk, updates, params, tree, terms)

    def check(params: Params) -> None:
        decay = 0.0 if is_function(weight_decay) else weight_decay
        terms_of(list(walk(params)), params, decay, 1.0)

    return transformation(
        rule, check, weight_decay=weight_decay, learning_rate=learning_rate
    )


class _Factor(NamedTuple):
    """One factor of an adapter, and what it makes together with the others.

    Attributes:
        rate: learning_rate · weight_decay.
        scale: Of the product.
        side: Which factor it is.
        left: A.
        right: B.
        base: W₀, if it is part of what decays.
    """

    rate: Any
    scale: Any
    side: Literal["left", "right"]
    left: Any
    right: Any
    base: Any


def _shrunk(update: Array, w: Array, factor: _Factor) -> Array:
    left, right = (_whole(x) for x in (factor.left, factor.right))
    scale = jnp.asarray(factor.scale, w.dtype)
    # A·B is never made: in the order below, everything is as small as the factors.
    if factor.side == "left":
        gradient = scale * dot(left, dot(right, right.mT))
        if factor.base is not None:
            gradient = gradient + dot(_whole(factor.base), right.mT)
    else:
        gradient = scale * dot(dot(left.mT, left), right)
        if factor.base is not None:
            gradient = gradient + dot(left.mT, _whole(factor.base))
    return update - factor.rate * scale * like(gradient, w)


def _whole(x: Any) -> Array:
    return whole(raise_precision(x), (-2, -1))


_Pair = tuple[Literal["left", "right"], Any, Any, Any]


def _pairs(
    tree: Sequence[Leaf], is_chosen: Sequence[bool], names: tuple[str, str], base: Any
) -> dict[int, _Pair]:
    """For each factor, by its index in the tree: its side, A, B, and W₀."""
    found: dict[int, _Pair] = {}
    by_path = {leaf.names: leaf for leaf in tree if not leaf.is_missing}
    for index, (leaf, is_one) in enumerate(zip(tree, is_chosen, strict=True)):
        last = leaf.names[-1] if leaf.names else ""
        if last not in names or leaf.is_missing or not is_one:
            continue
        module = leaf.names[:-1]
        sides = [by_path.get((*module, name)) for name in names]
        for side, name in zip(sides, names, strict=True):
            if side is None:
                raise ValueError(
                    f"A factor of an adapter must come with the other, but beside "
                    f"{leaf.quoted} there is no {name!r}. The parameters are "
                    f"{listing(tree)}."
                )
        left, right = (side.value for side in sides if side is not None)
        under = None if base is None else _base_of(module, base, by_path, leaf)
        _check_shapes(leaf, left, right, under)
        found[index] = ("left" if last == names[0] else "right", left, right, under)
    if not found and any(not leaf.is_missing for leaf in tree):
        raise ValueError(
            f"factors must be the last names of leaves that the mask chooses, but of "
            f"{names!r} there are none among {listing(tree)}."
        )
    return found


def _base_of(module: Any, base: str, by_path: dict[Any, Leaf], leaf: Leaf) -> Any:
    """W₀: of the module of the factors, or of the nearest one around it."""
    for depth in range(len(module), -1, -1):
        if (*module[:depth], base) in by_path:
            return by_path[(*module[:depth], base)].value
    raise ValueError(
        f"base must be the last name of a leaf in the module of {leaf.quoted} or in one "
        f"around it, but there is no {quoted_path((*module, base))}. Give `update` the "
        "parameters of the whole model, with None as the updates of what is frozen."
    )


def _check_shapes(leaf: Leaf, left: Any, right: Any, base: Any) -> None:
    fits = (
        left.ndim == right.ndim >= 2
        and left.shape[:-2] == right.shape[:-2]
        and left.shape[-1] == right.shape[-2]
    )
    product = (*left.shape[:-1], right.shape[-1])
    if not fits or (base is not None and base.shape != product):
        beside = "" if base is None else f" and added to one of {base.shape}"
        raise ValueError(
            f"The factors at {leaf.quoted} must be such that A of shape {left.shape} can "
            f"be multiplied by B of shape {right.shape}{beside}. Give their names in the "
            'order in which the model multiplies them: factors=("lora_B", "lora_A")?'
        )


def _check_names(factors: Any, base: Any) -> None:
    are_names = isinstance(factors, tuple | list) and len(factors) == 2
    if not are_names or not all(isinstance(name, str) for name in factors):
        raise TypeError(f"factors must be two names of leaves, got {factors!r}.")
    if not (base is None or isinstance(base, str)):
        raise TypeError(f"base must be a name of leaves, or None, got {base!r}.")
