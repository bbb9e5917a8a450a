"""Decay toward pretrained values, only of the layers that go too far from them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._prefixes import values_at
from jaxreg._sharding import MeshAxes, along, as_specs, splits_of, total
from jaxreg._tree import Params, values_beside, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights
from jaxreg.transforms.authoring import (
    INSIDE_SELECTIVE_DECAY,
    Rates,
    Reference,
    SelectiveDecayState,
    check_arguments,
    check_inside,
    check_params,
    check_rate,
    checked_toward,
    counter_beside,
    incremented,
    is_schedule,
    map_chosen,
    rate_at,
    reference_copies,
)


def selective_projection_decay(
    optimizer: optax.GradientTransformation,
    strength: Rates,
    mask: MaskLike = weights,
    *,
    toward: Reference = "start",
    stacked: MaskLike = False,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer, held back where a layer goes further from w₀ against its gradient.

    For fine-tuning, beside decay toward pretrained values (L2-SP), which holds back every
    layer in every step. With the optimizer's update u, of each leaf:

        w̃ ← w + u
        r ← max(0, ‖w̃ − w₀‖ − ‖w − w₀‖) / ‖w̃ − w₀‖
        w ← w̃ − strength · r · (w̃ − w₀)     where  Σ g · (w − w₀) > 0,  w̃ elsewhere

    The condition says that the gradient g points back to w₀: momentum carries the layer on
    although the loss no longer asks for it. With strength 1 it then stays as far from w₀ as
    it was (a projection); with less it goes a part of the way, with more it returns. Where
    layers go down consistently nothing is done. The strength is not multiplied by the
    learning rate, since r shrinks with it.

    Args:
        optimizer: Any finished Optax optimizer, without a decay of its own.
        strength: Non-negative number, pytree prefix of the parameters, or an Optax
            schedule; 1 is a good start.
        mask: Which leaves; by default `weights`.
        toward: w₀: `"start"` for the parameters that `init` is given, a pytree with an
            array for every chosen leaf, or `None` for zero. A copy is kept in the state.
        stacked: A mask of the leaves whose first axis numbers layers, which are then judged
            one by one; none by default.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`.

    Returns:
        An optimizer. `update` needs `params`, and gradients as its updates.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a concrete strength is negative or NaN; when used, if a transform is
            inside that must go around, if the mask chooses nothing, or `params` is missing.

    Example:
        Momentum carries a weight on from 0, where it started, past a minimum at 1:

        >>> optimizer = selective_projection_decay(optax.sgd(0.1, momentum=0.9), 1.0)
        >>> w = jnp.array([0.0])
        >>> state = optimizer.init(w)
        >>> for _ in range(50):
        ...     updates, state = optimizer.update(w - 1.0, state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> bool(0.9 < w[0] < 1.2)
        True

    References:
        Tian, Huang and Kira, *Rethinking weight decay for robust fine-tuning of foundation
        models* (2024).
    """
    check_arguments(
        selective_projection_decay, optimizer=optimizer, strength=strength, mask=mask
    )
    check_rate("strength", strength, scalar=False)
    source = None if toward is None else checked_toward(toward)
    inner = optax.with_extra_args_support(optimizer)
    mask, stacks, specs = as_mask(mask), as_mask(stacked), as_specs(specs)
    is_scheduled = is_schedule(strength, scalar=False)

    def init(params: Params) -> SelectiveDecayState:
        state = inner.init(params)
        check_inside("selective_projection_decay", state, INSIDE_SELECTIVE_DECAY)
        tree = list(walk(params))
        is_chosen = chosen(mask, tree, params)
        if not is_scheduled:
            values_at(strength, tree, is_chosen, "strength", by_pattern=True)
        steps = counter_beside(state) if is_scheduled else ()
        reference: Any = ()
        if source is not None:
            reference = reference_copies(source, tree, is_chosen, params)
        return SelectiveDecayState(steps, reference, state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, SelectiveDecayState]:
        params = check_params(params, updates)
        strengths, steps = strength, state.steps
        if is_scheduled:
            strengths = rate_at("strength", strength, steps[0], scalar=False)
            steps = incremented(steps)
        moved, inner_state = inner.update(updates, state.inner, params, **extra_args)
        tree = list(walk(params))
        is_chosen = chosen(mask, tree, params)
        found = values_at(strengths, tree, is_chosen, "strength", by_pattern=True)
        references: Sequence[Any] = [0.0] * len(tree)
        if source is not None:
            references = values_beside(tree, params, state.reference)
        axes = [
            tuple(range(int(is_stack), leaf.value.ndim)) if is_one else ()
            for leaf, is_one, is_stack in zip(
                tree, is_chosen, stacks.choose(tree, params), strict=True
            )
        ]
        terms = [
            None if value is None else _Layer(value, w0, g, inside, along(split, inside))
            for value, w0, g, inside, split in zip(
                found,
                references,
                values_beside(tree, params, updates),
                axes,
                splits_of(specs, tree),
                strict=True,
            )
        ]
        moved = map_chosen(_held_back, moved, params, tree, terms)
        return moved, SelectiveDecayState(steps, state.reference, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


class _Layer(NamedTuple):
    """What is known of a leaf that may be held back.

    Attributes:
        strength: How far.
        reference: Where to.
        gradient: Of the loss.
        axes: Those that belong to one layer.
        mesh_axes: Inside `shard_map`, the mesh axes whose devices have parts of a layer.
    """

    strength: Any
    reference: Any
    gradient: Any
    axes: tuple[int, ...]
    mesh_axes: MeshAxes

    def sum(self, x: Array) -> Array:
        return total(jnp.sum(x, axis=self.axes, keepdims=True), self.mesh_axes)

    def norm(self, x: Array) -> Array:
        return jnp.sqrt(self.sum(jnp.square(x)))


def _held_back(update: Array, w: Array, layer: _Layer) -> Array:
    w0 = jnp.asarray(layer.reference, w.dtype)
    before, after = w - w0, (w + update) - w0
    is_back = layer.sum(raise_precision(layer.gradient) * before) > 0
    far = layer.norm(after)
    further = jnp.maximum(far - layer.norm(before), 0.0)
    ratio = jnp.where(far > 0, further / jnp.where(far > 0, far, 1.0), 0.0)
    return update - jnp.where(is_back, layer.strength * ratio, 0.0) * after
