"""A proximal step whose choice of zeros is averaged over a window of steps."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._tree import Params, assembled, values_beside
from jaxreg.penalties import Penalty
from jaxreg.penalties.bound import BoundPenalty
from jaxreg.transforms._lift import Slot, slots_of, where_updated
from jaxreg.transforms._states import Dual, zeros_at

# This many roundings leave a quotient about two digits.
_VISIBLE = 256 * float(jnp.finfo(jnp.float32).eps)


def averaged_prox_update(
    bound: BoundPenalty,
    penalty: Penalty,
    factor: Scalar,
    updates: Params,
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
        bound: factor·R, at the parameters w.
        penalty: R.
        factor: What its strengths are multiplied by in this step.
        updates: The updates u so far.
        dual: The state, as `zero_dual` starts it.
        window: The largest n; at first, n counts the steps with a penalty.
        learning_rate: The length of one step.
        metric: The scales d of the step.

    Returns:
        The updates that take the parameters to the new w, and the new state.
    """
    params, tree = bound.params, bound.tree
    slots = slots_of(updates, params, tree, bound.metrics(metric))
    subgradients = values_beside(tree, params, where_updated(updates, dual.subgradients))
    length = jnp.minimum(dual.length + 1, window).astype(jnp.float32)

    def reach_of(slot: Slot, steps: Any) -> Array:
        dtype = compute_dtype(slot.leaf.value.dtype)
        return jnp.asarray(steps * learning_rate * factor, dtype) / slot.term

    start = [
        slot.leaf.value
        if slot.term is None
        else raise_precision(slot.leaf.value)
        + raise_precision(slot.update)
        + reach_of(slot, length - 1) * q
        for slot, q in zip(slots, subgradients, strict=True)
    ]
    landed = bound.prox(length * learning_rate, metric, at=start)
    gradients = _gradients(bound, penalty, slots, landed)
    moved = [slot.update for slot in slots]
    for i, gradient in gradients.items():
        slot, z, w = slots[i], start[i], landed[i]
        moved[i] = slot.finish(w - raise_precision(slot.leaf.value))
        reach = reach_of(slot, length)
        subgradients[i] = _subgradient(z - w, w, reach, gradient, subgradients[i])
    steps = dual.length + jnp.where(factor > 0, 1, 0)
    kept = jax.tree.map(
        lambda new, old: old if new is None else new,
        assembled(tree, params, subgradients),
        dual.subgradients,
        is_leaf=lambda new: new is None,
    )
    return assembled(tree, params, moved), Dual(steps, kept)


def _gradients(
    bound: BoundPenalty, penalty: Penalty, slots: list[Slot], landed: list[Any]
) -> dict[int, Array]:
    """The gradient of R at each chosen leaf, by its index."""

    def value(arrays: dict[int, Array]) -> Array:
        values = [arrays.get(i, w) for i, w in enumerate(landed)]
        return penalty(assembled(bound.tree, bound.params, values))

    chosen = {i: landed[i] for i, slot in enumerate(slots) if slot.term is not None}
    return jax.grad(value)(chosen)


def zero_dual(bound: BoundPenalty) -> Dual:
    """The state of `averaged_prox_update` before the first step."""
    terms = [x or None for x in bound.is_regularized]
    return Dual(jnp.zeros([], jnp.int32), zeros_at(bound.params, bound.tree, terms))


def _subgradient(
    shift: Array, w: Array, reach: Array, gradient: Array, old: Array
) -> Array:
    """The subgradient shift/reach, by other means where that has no digits.

    Rounding leaves about eps·|w| in a shift. One that does not stand out from it belongs
    to a weight where the penalty is smooth, and the subgradient is its gradient. A step
    of no length tells nothing, and the old subgradient stays.
    """
    visible = jnp.abs(shift) > _VISIBLE * jnp.abs(w)
    fresh = jnp.where(visible, shift / jnp.where(reach > 0, reach, 1.0), gradient)
    return jnp.where(reach > 0, fresh, old).astype(old.dtype)
