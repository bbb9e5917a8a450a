"""Weight decay: L2 in the gradient, and beside the optimizer's step."""

from collections.abc import Callable
from typing import Any

import optax
from jax import Array

from jaxreg._tree import Leaf, Params, values_at, walk
from jaxreg.masks import Mask, MaskLike, as_mask, chosen, weights
from jaxreg.transforms._lift import Rate, Rates, map_chosen, transformation


def add_l2_decay(
    weight_decay: Rates, mask: MaskLike = weights
) -> optax.GradientTransformationExtraArgs:
    """Add the gradient of L2 to the gradients: coupled weight decay.

        g ← g + weight_decay · w

    Place it *before* the optimizer. It then minimises `loss + weight_decay/2 · Σ w²`
    with any optimizer, as if the penalty stood in the loss, at a lower cost. An adaptive
    optimizer divides it by its own scale, together with the gradient: under Adam its
    strength relative to the loss is as in the loss, its shrinking per step is not.

    Args:
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule. Twice the strength of `L2`.
        mask: Which leaves; by default `weights`.

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If `weight_decay` is no real number or the mask cannot choose leaves.
        ValueError: If a concrete `weight_decay` is negative or NaN; when used, if the
            mask chooses nothing or `params` is missing.

    Example:
        >>> optimizer = optax.chain(add_l2_decay(0.1), optax.sgd(0.5))
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> optimizer.update(zeros, optimizer.init(params), params)[0]["kernel"]
        Array([-0.1 ,  0.05], dtype=float32)

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), section 2.
    """

    def add(gradient: Array, w: Array, rate: Any) -> Array:
        return gradient + rate * w

    return _leafwise(add, as_mask(mask), weight_decay=weight_decay)


def decoupled_weight_decay(
    weight_decay: Rates, learning_rate: Rate, mask: MaskLike = weights
) -> optax.GradientTransformationExtraArgs:
    """Shrink the weights beside the optimizer's step, as AdamW does.

        u ← u − learning_rate · weight_decay · w

    Place it *after* a finished optimizer, whichever it is; the sign is right there
    (`optax.add_decayed_weights` in that place makes weights grow). The decay does not
    pass through the optimizer's preconditioner and momentum.

    Args:
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves; by default `weights`.

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If a rate is no real number or the mask cannot choose leaves.
        ValueError: If a concrete rate is negative or NaN; when used, if the mask chooses
            nothing or `params` is missing.

    Example:
        >>> optimizer = optax.chain(optax.adam(0.5), decoupled_weight_decay(0.1, 0.5))
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> optimizer.update(zeros, optimizer.init(params), params)[0]["kernel"]
        Array([-0.1 ,  0.05], dtype=float32)

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019),
        algorithm 2; coupled to the learning rate as in Optax and PyTorch.
    """

    def shrink(update: Array, w: Array, rate: Any) -> Array:
        return update - rate * w

    return _leafwise(
        shrink, as_mask(mask), weight_decay=weight_decay, learning_rate=learning_rate
    )


def _leafwise(
    function: Callable[[Array, Array, Any], Array],
    mask: Mask,
    *,
    weight_decay: Rates,
    learning_rate: Rate = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """`function(update, w, learning_rate · weight_decay)` on the leaves of a mask."""

    def rates_at(params: Params, decay: Any, rate: Any) -> tuple[list[Leaf], list[Any]]:
        tree = list(walk(params))
        decays = values_at(decay, tree, chosen(mask, tree, params), "weight_decay")
        return tree, [None if x is None else rate * x for x in decays]

    def rule(updates: Params, params: Params, decay: Any, rate: Any) -> Params:
        return map_chosen(function, updates, params, *rates_at(params, decay, rate))

    def check(params: Params) -> None:
        rates_at(params, 0.0 if callable(weight_decay) else weight_decay, 1.0)

    return transformation(
        rule, check, weight_decay=weight_decay, learning_rate=learning_rate
    )
