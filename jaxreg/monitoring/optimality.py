"""How far weights are from a minimiser of `loss + penalty`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._tree import Leaf, Params
from jaxreg.penalties import Penalty
from jaxreg.penalties.blocks import disjoint, picked


def has_prox(penalty: Penalty, tree: list[Leaf], params: Params) -> bool:
    """Whether the prox of a penalty is known on these parameters."""
    blocks = penalty.blocks(tree, params)
    try:
        for block in disjoint(blocks):
            block.term.check_prox(in_metric=False)
    except ValueError:
        return False
    return True


def without_penalty(
    penalty: Penalty, tree: list[Leaf], params: Params, gradients: Sequence[Any]
) -> list[Any]:
    """The gradients of `loss + penalty`, less those of the penalty."""
    places = [
        i for i, pick in enumerate(picked(penalty.blocks(tree, params), tree)) if pick
    ]

    def value(arrays: list[Array]) -> Array:
        return penalty(rebuilt(tree, params, dict(zip(places, arrays, strict=True))))

    own = jax.grad(value)([raise_precision(tree[place].value) for place in places])
    left = list(gradients)
    for place, gradient in zip(places, own, strict=True):
        if left[place] is not None:
            left[place] = raise_precision(left[place]) - gradient
    return left


def residuals(
    penalty: Penalty, tree: list[Leaf], params: Params, gradients: Sequence[Any]
) -> list[Any]:
    """W − prox(w − g) for each leaf that has a gradient: 0 where w is stationary."""
    arrays = {
        place: raise_precision(tree[place].value) - raise_precision(gradient)
        for place, gradient in enumerate(gradients)
        if gradient is not None
    }
    stepped = rebuilt(tree, params, arrays)
    reached = jax.tree.leaves(penalty.unchecked_prox(stepped, 1.0, None))
    present = (place for place, leaf in enumerate(tree) if not leaf.is_hole)
    landed = dict(zip(present, reached, strict=True))
    return [
        raise_precision(leaf.value) - landed[place] if place in arrays else None
        for place, leaf in enumerate(tree)
    ]


def strength_ratio(
    penalty: Penalty, tree: list[Leaf], params: Params, gradients: Sequence[Any]
) -> Array:
    """The strength by the smallest one at which the gradients leave all weights zero."""
    known = {i: jnp.asarray(g) for i, g in enumerate(gradients) if g is not None}
    missing = {
        i: jnp.zeros_like(leaf.value)
        for i, leaf in enumerate(tree)
        if leaf.is_parameter and i not in known
    }
    critical = penalty.strength_max(rebuilt(tree, params, {**known, **missing}))
    strength = penalty.only_strength()
    return (1.0 if strength is None else strength) / critical


def rebuilt(tree: list[Leaf], params: Params, arrays: dict[int, Array]) -> Params:
    """The parameters with other arrays in some places."""
    present = [
        arrays.get(place, leaf.value) for place, leaf in enumerate(tree) if not leaf.is_hole
    ]
    return jax.tree.unflatten(jax.tree.structure(params), present)
