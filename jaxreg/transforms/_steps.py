"""One proximal step on a pytree of parameters and updates."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._tree import Params, Scalar, raise_precision, values_at, walk
from jaxreg.penalties import Penalty
from jaxreg.transforms._lift import slots_of

# A difference holds digits only while it is this visible beside what it is added to.
_VISIBLE = 256 * float(jnp.finfo(jnp.float32).eps)


def check_penalty(penalty: Penalty, params: Params) -> list[Penalty | None]:
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


def averaged_prox_update(
    penalty: Penalty,
    updates: Params,
    params: Params,
    dual: Params,
    length: Array,
    learning_rate: Scalar,
    metric: Params,
) -> tuple[Params, Params]:
    """A proximal step whose choice of zeros is averaged over `length` steps.

        z ← w + u + (length − 1) · (learning_rate/d) · q
        w ← prox(z)  in the metric d, with step  length · learning_rate
        q ← d · (z − w)/(length · learning_rate)  ∈ ∂R(w)

    Args:
        penalty: What to step on.
        updates: The updates u so far.
        params: The parameters w.
        dual: The subgradients q of the penalty at w, as `zeros_at` starts them.
        length: Number of steps that q stands for, this one included.
        learning_rate: The length of one step.
        metric: The scales d of the step.

    Returns:
        The updates that take `params` to the new w, and the new q.
    """
    tree = list(walk(params))
    terms = penalty.at_leaves(tree, params)
    metrics = values_at(metric, tree, [term is not None for term in terms], "The metric")
    slots, rebuilt = slots_of(updates, params, tree, metrics)
    duals = jax.tree.structure(params).flatten_up_to(dual)
    step = length * learning_rate
    reached = [
        slot.leaf.value
        if slot.pick is None
        else raise_precision(slot.leaf.value)
        + raise_precision(slot.update)
        + (length - 1) * learning_rate / slot.pick * q
        for slot, q in zip(slots, duals, strict=True)
    ]
    kept = jax.tree.leaves(penalty.unchecked_prox(rebuilt(reached), step, metric))
    moved: list[Any] = []
    for i, (slot, z, w, q) in enumerate(zip(slots, reached, kept, duals, strict=True)):
        if slot.pick is None:
            moved.append(slot.update)
            continue
        moved.append(slot.finish(w - raise_precision(slot.leaf.value)))
        reach = step / slot.pick
        visible = jnp.maximum(jnp.abs(z - w), reach * jnp.abs(q)) > _VISIBLE * jnp.abs(w)
        safe_reach = jnp.where(reach > 0, reach, 1.0)
        duals[i] = jnp.where(visible & (reach > 0), (z - w) / safe_reach, q)
    return rebuilt(moved), rebuilt(duals)
