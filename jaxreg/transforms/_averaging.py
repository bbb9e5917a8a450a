"""A proximal step whose choice of zeros is averaged over a window of steps."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._scheduling import computed_once
from jaxreg._tree import Params, assembled, values_beside
from jaxreg.penalties import Penalty
from jaxreg.penalties.bound import BoundPenalty
from jaxreg.transforms._lift import Slot, UpdatesAt, where_updated
from jaxreg.transforms._states import Dual, zeros_at

# This many roundings leave a quotient about two digits.
_VISIBLE = 256 * float(jnp.finfo(jnp.float32).eps)


def averaged_prox_update(
    bound: BoundPenalty,
    penalty: Penalty,
    factor: Scalar,
    updates_at: UpdatesAt,
    dual: Dual,
    window: Scalar,
    learning_rate: Scalar,
) -> tuple[Params, Dual]:
    """A proximal step whose choice of zeros is averaged over a window of n steps.

        z ← w + u + (n − 1) · (learning_rate/d) · factor · q
        w ← prox of factor·R at z  in the metric d, with step  n · learning_rate
        q ← d · (z − w)/(n · learning_rate · factor)  ∈ ∂R(w)

    Args:
        bound: factor·R, at the parameters w.
        penalty: R.
        factor: What its strengths are multiplied by in this step.
        updates_at: Gives the updates u so far and the scales d of some leaves.
        dual: The state, as `zero_dual` starts it.
        window: The largest n; at first, n counts the steps with a penalty.
        learning_rate: The length of one step.

    Returns:
        The updates that take the parameters to the new w, and the new state.
    """
    params, tree = bound.params, bound.tree
    subgradients = values_beside(tree, params, where_updated(params, dual.subgradients))
    length = jnp.minimum(dual.length + 1, window).astype(jnp.float32)
    slots: dict[int, Slot] = {}
    points: dict[int, Array] = {}

    def reach_of(slot: Slot, steps: Any) -> Array:
        dtype = compute_dtype(slot.leaf.value.dtype)
        return jnp.asarray(steps * learning_rate * factor, dtype) / slot.term

    def start(indices: Sequence[int], done: Array | None) -> dict[int, tuple[Any, Any]]:
        for i, (update, scale) in updates_at(indices, done).items():
            slots[i] = Slot(tree[i], update, scale)
            reach = reach_of(slots[i], length - 1)
            # Both new parameters and subgradients follow from it, not from the old ones.
            points[i] = computed_once(slots[i].reached + reach * subgradients[i])
        return {i: (points[i], slots[i].term) for i in indices}

    landed = bound.prox_in_turn(length * learning_rate, start, all_in_turn=True)
    others = updates_at([i for i in range(len(tree)) if i not in landed], None)
    moved = [others[i][0] if i in others else None for i in range(len(tree))]
    for i, gradient in _gradients(bound, penalty, landed).items():
        slot, z, w = slots[i], points[i], landed[i]
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
    bound: BoundPenalty, penalty: Penalty, landed: dict[int, Array]
) -> dict[int, Array]:
    """The gradient of R at each leaf in a block, by its index."""

    def value(arrays: dict[int, Array]) -> Array:
        values = [arrays.get(i, leaf.value) for i, leaf in enumerate(bound.tree)]
        return penalty(assembled(bound.tree, bound.params, values))

    return jax.grad(value)(landed)


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
