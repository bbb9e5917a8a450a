"""One proximal step on a pytree of parameters and updates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._numbers import Scalar, compute_dtype, raise_precision
from jaxreg._tree import Params, values_at, walk
from jaxreg.penalties import Penalty
from jaxreg.transforms._lift import Slot, is_number, slots_of, zeros_at

# This many roundings leave a quotient about two digits.
_VISIBLE = 256 * float(jnp.finfo(jnp.float32).eps)


def terms_with_prox(penalty: Penalty, params: Params) -> list[Penalty | None]:
    """The penalty of each leaf and hole of `params`; refuses one without a prox."""
    terms = penalty.at_leaves(list(walk(params)), params)
    for term in terms:
        if term is not None:
            term.check_prox(in_metric=False)
    return terms


def prox_update(
    penalty: Penalty,
    updates: Params,
    params: Params,
    step: Scalar,
    metric: Params | None = None,
) -> Params:
    """The update that takes `params` to prox(params + updates).

    Args:
        penalty: What to step on.
        updates: The updates so far.
        params: The parameters.
        step: The proximal step.
        metric: A pytree with an array for every chosen leaf of `params`, or `None`.

    Returns:
        prox(params + updates) − params where the penalty applies, `updates` elsewhere.
    """
    tree = list(walk(params))
    picks = penalty.at_leaves(tree, params)
    slots, rebuilt = slots_of(updates, params, tree, picks)
    reached = [
        slot.leaf.value
        if slot.pick is None
        else raise_precision(slot.leaf.value) + raise_precision(slot.update)
        for slot in slots
    ]
    kept = jax.tree.leaves(penalty.unchecked_prox(rebuilt(reached), step, metric))
    return rebuilt(
        [
            slot.update
            if slot.pick is None
            else slot.finish(z - raise_precision(slot.leaf.value))
            for slot, z in zip(slots, kept, strict=True)
        ]
    )


class Dual(NamedTuple):
    """What dual averaging remembers.

    Attributes:
        length: Number of steps with a penalty so far.
        subgradients: A subgradient of the penalty at each chosen parameter.
    """

    length: Any
    subgradients: Any


def averaged_prox_update(
    penalty: Penalty,
    factor: Scalar,
    updates: Params,
    params: Params,
    dual: Dual,
    window: Scalar,
    learning_rate: Scalar,
    metric: Params,
) -> tuple[Params, Dual]:
    """A proximal step whose choice of zeros is averaged over a window of n steps.

        z ← w + u + (n − 1) · (learning_rate/d) · factor · q
        w ← prox of factor·R at z  in the metric d, with step  n · learning_rate
        q ← d · (z − w)/(n · learning_rate · factor)  ∈ ∂R(w)

    Args:
        penalty: What to step on.
        factor: What its strengths are multiplied by in this step.
        updates: The updates u so far.
        params: The parameters w.
        dual: The state, as `zero_dual` starts it.
        window: The largest n; at first, n counts the steps with a penalty.
        learning_rate: The length of one step.
        metric: The scales d of the step.

    Returns:
        The updates that take `params` to the new w, and the new state.
    """
    tree = list(walk(params))
    terms = penalty.at_leaves(tree, params)
    metrics = values_at(metric, tree, [term is not None for term in terms], "The metric")
    slots, rebuilt = slots_of(updates, params, tree, metrics)
    subgradients = jax.tree.structure(params).flatten_up_to(dual.subgradients)
    length = jnp.minimum(dual.length + 1, window).astype(jnp.float32)

    def reach_of(slot: Slot, steps: Any) -> Array:
        dtype = compute_dtype(slot.leaf.value.dtype)
        return jnp.asarray(steps * learning_rate * factor, dtype) / slot.pick

    start = [
        slot.leaf.value
        if slot.pick is None
        else raise_precision(slot.leaf.value)
        + raise_precision(slot.update)
        + reach_of(slot, length - 1) * q
        for slot, q in zip(slots, subgradients, strict=True)
    ]
    scaled = penalty if is_number(factor, 1) else penalty * factor
    landed = jax.tree.leaves(
        scaled.unchecked_prox(rebuilt(start), length * learning_rate, metric)
    )
    chosen = [i for i, slot in enumerate(slots) if slot.pick is not None]

    def value(arrays: list[Array]) -> Array:
        places = dict(zip(chosen, arrays, strict=True))
        return penalty(rebuilt([places.get(i, w) for i, w in enumerate(landed)]))

    moved = [slot.update for slot in slots]
    gradients = jax.grad(value)([landed[i] for i in chosen])
    for i, gradient in zip(chosen, gradients, strict=True):
        slot, z, w = slots[i], start[i], landed[i]
        moved[i] = slot.finish(w - raise_precision(slot.leaf.value))
        reach = reach_of(slot, length)
        subgradients[i] = _subgradient(z - w, w, reach, gradient, subgradients[i])
    steps = dual.length + jnp.where(factor > 0, 1, 0)
    return rebuilt(moved), Dual(steps, rebuilt(subgradients))


def zero_dual(params: Params, terms: Sequence[Penalty | None]) -> Dual:
    """The state of `averaged_prox_update` before the first step."""
    return Dual(jnp.zeros([], jnp.int32), zeros_at(params, list(walk(params)), terms))


def _subgradient(
    shift: Array, w: Array, reach: Array, gradient: Array, old: Array
) -> Array:
    """The subgradient shift/reach, by other means where that has no digits.

    Rounding leaves about eps·|w| in a shift. One that does not stand out from it belongs
    to a weight far from any kink, where the subgradient is the gradient. A step of no
    length tells nothing, and the old subgradient stays.
    """
    visible = jnp.abs(shift) > _VISIBLE * jnp.abs(w)
    fresh = jnp.where(visible, shift / jnp.where(reach > 0, reach, 1.0), gradient)
    return jnp.where(reach > 0, fresh, old).astype(old.dtype)
