"""How far weights are from a minimiser of `loss + penalty`.

Lists of arrays and gradients have an entry for each leaf of the bound penalty's tree.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._tree import assembled
from jaxreg.penalties.bound import BoundPenalty


def has_prox(bound: BoundPenalty) -> bool:
    """Whether the prox of a penalty is known on its parameters."""
    try:
        for block in bound.separate:
            block.term.check_prox(in_metric=False)
    except ValueError:
        return False
    return True


def without_penalty(bound: BoundPenalty, gradients: Sequence[Any]) -> list[Any]:
    """The gradients of `loss + penalty`, less those of the penalty."""
    chosen = {
        i: raise_precision(leaf.value)
        for i, leaf in enumerate(bound.tree)
        if bound.is_regularized[i]
    }

    def value(arrays: dict[int, Array]) -> Array:
        values = [arrays.get(i, leaf.value) for i, leaf in enumerate(bound.tree)]
        return bound.penalty(assembled(bound.tree, bound.params, values))

    left = list(gradients)
    for i, gradient in jax.grad(value)(chosen).items():
        if left[i] is not None:
            left[i] = raise_precision(left[i]) - gradient
    return left


def residuals(bound: BoundPenalty, gradients: Sequence[Any]) -> list[Any]:
    """W − prox(w − g) for each leaf that has a gradient: 0 where w is stationary."""
    stepped = [
        leaf.value
        if gradient is None
        else raise_precision(leaf.value) - raise_precision(gradient)
        for leaf, gradient in zip(bound.tree, gradients, strict=True)
    ]
    landed = bound.prox(1.0, at=stepped)
    return [
        None if gradient is None else raise_precision(leaf.value) - z
        for leaf, gradient, z in zip(bound.tree, gradients, landed, strict=True)
    ]


def strength_ratio(bound: BoundPenalty, gradients: Sequence[Any]) -> Array:
    """The strength by the smallest one at which the gradients leave all weights zero."""
    filled = [
        jnp.zeros_like(leaf.value)
        if gradient is None and leaf.is_parameter
        else leaf.value
        if gradient is None
        else jnp.asarray(gradient)
        for leaf, gradient in zip(bound.tree, gradients, strict=True)
    ]
    penalty = bound.penalty
    critical = penalty.strength_max(assembled(bound.tree, bound.params, filled))
    strength = penalty.only_strength()
    return (1.0 if strength is None else strength) / critical
