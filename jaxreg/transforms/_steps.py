"""One proximal step on a pytree of parameters and updates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import compute_dtype, raise_precision
from jaxreg._tree import Leaf, Params, values_at, walk
from jaxreg.penalties import Penalty
from jaxreg.penalties.blocks import Block, disjoint, moved_by, picked
from jaxreg.transforms._lift import Slot, slots_of, where_updated
from jaxreg.transforms._states import Dual, zeros_at

# This many roundings leave a quotient about two digits.
_VISIBLE = 256 * float(jnp.finfo(jnp.float32).eps)


class Aim(NamedTuple):
    """What a penalty moves among some parameters, found out once for a step.

    Attributes:
        params: The parameters, with `None` for those without an update.
        tree: `list(walk(params))`.
        blocks: What the penalty's formulas are applied to.
        picks: For each of `tree`, whether it is in a block.
    """

    params: Params
    tree: list[Leaf]
    blocks: list[Block]
    picks: list[bool]

    def only(self, values: Params) -> Params:
        """A pytree like the parameters, without the leaves that are in no block."""
        picks = jax.tree.unflatten(
            jax.tree.structure(self.params),
            [
                pick
                for leaf, pick in zip(self.tree, self.picks, strict=True)
                if not leaf.is_hole
            ],
        )
        return jax.tree.map(
            lambda pick, value: value if pick else optax.MaskedNode(),
            picks,
            values,
            is_leaf=lambda pick: pick is None,
        )

    def prox(self, values: list[Any], step: Scalar, metric: Params | None) -> list[Any]:
        """The prox of other values at the leaves that are no holes."""
        present = iter(values)
        tree = [
            leaf if leaf.is_hole else leaf._replace(value=next(present))
            for leaf in self.tree
        ]
        moved = moved_by(self.blocks, tree, step, metric)
        return [z for leaf, z in zip(tree, moved, strict=True) if not leaf.is_hole]

    def check_prox(self, metric: Callable[[], Params] | None = None) -> None:
        """Refuse a penalty whose prox is not known here, or not in a metric.

        A prox is traced, and so says what is wrong without computing anything.
        """
        values = [leaf.value for leaf in self.tree if not leaf.is_hole]

        def trial() -> None:
            self.prox(values, 1.0, None if metric is None else metric())

        jax.eval_shape(trial)


def aim(penalty: Penalty, params: Params, updates: Params | None = None) -> Aim:
    """Where a penalty applies; refuses a sum without a prox.

    With `updates`, leaves that have none are left out, as if they had been filtered.
    """
    if updates is not None:
        params = where_updated(updates, params)
    tree = list(walk(params))
    blocks = disjoint(penalty.blocks(tree, params))
    return Aim(params, tree, blocks, picked(blocks, tree))


def prox_update(
    target: Aim, updates: Params, step: Scalar, metric: Params | None = None
) -> Params:
    """The update that takes the parameters to prox(params + updates).

    Args:
        target: The penalty's, at the parameters.
        updates: The updates so far.
        step: The proximal step.
        metric: A pytree with an array for every chosen leaf of the parameters, or `None`.

    Returns:
        prox(params + updates) − params where the penalty applies, `updates` elsewhere.
    """
    picks = [pick or None for pick in target.picks]
    slots, rebuilt = slots_of(updates, target.params, target.tree, picks)
    reached = [
        slot.leaf.value
        if slot.pick is None
        else raise_precision(slot.leaf.value) + raise_precision(slot.update)
        for slot in slots
    ]
    kept = target.prox(reached, step, metric)
    return rebuilt(
        [
            slot.update
            if slot.pick is None
            else slot.finish(z - raise_precision(slot.leaf.value))
            for slot, z in zip(slots, kept, strict=True)
        ]
    )


def averaged_prox_update(
    target: Aim,
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
        target: That of factor·R, at the parameters w.
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
    params, tree = target.params, target.tree
    metrics = values_at(metric, tree, target.picks, "The metric")
    slots, rebuilt = slots_of(updates, params, tree, metrics)
    updated = where_updated(updates, dual.subgradients)
    subgradients = jax.tree.structure(params).flatten_up_to(updated)
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
    landed = target.prox(start, length * learning_rate, metric)
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
    kept = jax.tree.map(
        lambda new, old: old if new is None else new,
        rebuilt(subgradients),
        dual.subgradients,
        is_leaf=lambda new: new is None,
    )
    return rebuilt(moved), Dual(steps, kept)


def zero_dual(target: Aim) -> Dual:
    """The state of `averaged_prox_update` before the first step."""
    picks = [pick or None for pick in target.picks]
    return Dual(jnp.zeros([], jnp.int32), zeros_at(target.params, target.tree, picks))


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
