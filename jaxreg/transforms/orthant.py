"""Exact L1 around any optimizer, by keeping each step inside one orthant."""

from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import is_tiny, raise_precision
from jaxreg._tree import Params, assembled, values_beside
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.operators import soft_threshold
from jaxreg.penalties import L1
from jaxreg.transforms._arguments import check_arguments, check_steps
from jaxreg.transforms._lift import (
    Length,
    Rates,
    Slot,
    check_params,
    check_rate,
    is_number,
    rate_at,
    slots_of,
)
from jaxreg.transforms._nesting import INSIDE_ORTHANT_WISE, check_inside
from jaxreg.transforms._states import (
    OrthantState,
    counter_beside,
    incremented,
    zeros_at,
)


def orthant_wise(
    optimizer: optax.GradientTransformation,
    strength: Rates,
    mask: MaskLike = weights,
    *,
    window: Length = 1000,
) -> optax.GradientTransformationExtraArgs:
    """Exact L1 around any finished optimizer: Lion, Muon, Adafactor, Adan, ...

    Minimises `loss + strength · Σ |w|` with exact zeros, without knowing the optimizer's
    learning rate or metric. Within one orthant (no weight changes its sign) L1 is a
    linear function, so any optimizer will do; at the border this wrapper decides:

        a ← mean of the gradients g over the window
        q ← g + strength · sign(w)            where w ≠ 0
            soft_threshold(a, strength)       where w = 0     (0: the weight stays)
        u ← the optimizer's update for the gradient q
        u ← −w   where w + u would leave the orthant of w     (so it lands on zero)
             0   where w = 0, unless u goes down along q      (so momentum alone cannot)

    The optimizer's own state is left alone: q is zero where weights stay at zero, so its
    momentum there dies out by itself. At a fixed point q = 0, which says that the
    penalised problem is solved. Without a window (1), minibatch noise pushes weights off
    zero in every step; the mean of the gradients does not.

    Give the optimizer a learning rate that decays to zero: sign-like and normalised ones
    (Lion, Muon, LAMB, LARS, NovoGrad, Adafactor, RMSProp) only settle then, with or
    without L1; under a constant rate Adam and its kin reach the solution, but leave it
    again in bursts. LARS scales each step by its `trust_coefficient` and the norm of the
    weights, and needs a learning rate about 1/trust_coefficient times as large.
    In bf16 an update below the resolution of a weight does nothing, here as elsewhere.

    Gradient clipping belongs *inside*: `orthant_wise(optax.chain(clip, optimizer), ...)`;
    clipped gradients weigh less than the strength they are compared with. For elastic
    net put `add_l2_decay` before it. `with_decay` goes inside too;
    `with_kahan_compensation` and
    `monitor` go around it, and are refused inside, like whatever makes exact zeros itself.

    Args:
        optimizer: Any finished Optax optimizer.
        strength: Non-negative number, array or pytree prefix of the parameters, or an
            Optax schedule.
        mask: Which leaves; by default `weights`. The others get the optimizer's update.
        window: Number of steps over which gradients are averaged to decide whether a
            zero may leave; at most a tenth of the run. 1 for none, which needs no state
            and will do with full batches.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `optimizer` is no finished optimizer, a strength no real number, or
            the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN or `window` below 1; when
            used, if the mask chooses nothing, `params` is missing, or a transform is
            inside that must not be.

    Example:
        >>> optimizer = orthant_wise(optax.lion(0.1, weight_decay=0.0), 0.5)
        >>> params = {"kernel": jnp.array([2.0, 0.05, 0.0]), "bias": jnp.array([0.05])}
        >>> gradients = {"kernel": jnp.array([1.0, 0.1, 0.4]), "bias": jnp.array([1.0])}
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> optax.apply_updates(params, updates)["kernel"]
        Array([1.9, 0. , 0. ], dtype=float32)

    References:
        Andrew and Gao, *Scalable training of L1-regularized log-linear models* (2007),
        section 3 (OWL-QN); the window is ours.
    """
    check_arguments(orthant_wise, optimizer=optimizer, strength=strength, mask=mask)
    mask = as_mask(mask)
    check_rate("strength", strength, scalar=False)
    check_steps("window", window)
    averages = not is_number(window, 1)
    inner = optax.with_extra_args_support(optimizer)

    def penalty_at(count: Any) -> L1:
        return L1(rate_at("strength", strength, count, scalar=False), mask=mask)

    def init(params: Params) -> OrthantState:
        state = inner.init(params)
        check_inside("orthant_wise", state, INSIDE_ORTHANT_WISE)
        counter = counter_beside(state)
        bound = penalty_at(counter[0]).bind(params)
        mean = zeros_at(params, bound.tree, bound.terms) if averages else ()
        return OrthantState(counter, mean, state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, OrthantState]:
        params = check_params(params, updates)
        bound = penalty_at(state.updates[0]).bind(params)
        tree, counter = bound.tree, incremented(state.updates)
        slots = slots_of(updates, params, tree, bound.terms)
        means: list[Any] = [slot.update for slot in slots]  # Those of one step.
        if averages:
            weight = 1 / jnp.minimum(counter[0], window).astype(jnp.float32)
            means = _averaged(slots, values_beside(tree, params, state.mean), weight)
        pseudo = [
            slot.update if slot.term is None else _pseudo_gradient(slot, mean)
            for slot, mean in zip(slots, means, strict=True)
        ]
        moved, inner_state = inner.update(
            assembled(tree, params, pseudo), state.inner, params, **extra_args
        )
        kept = [
            slot.update if slot.term is None else slot.finish(_within_orthant(slot, q))
            for slot, q in zip(
                slots_of(moved, params, tree, bound.terms), pseudo, strict=True
            )
        ]
        mean = assembled(tree, params, means) if averages else ()
        return assembled(tree, params, kept), OrthantState(counter, mean, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _averaged(slots: list[Slot], means: list[Any], weight: Array) -> list[Any]:
    """The means of the gradients so far, with those of this step."""
    return [
        old
        if slot.term is None
        else old + weight.astype(old.dtype) * (slot.update.astype(old.dtype) - old)
        for slot, old in zip(slots, means, strict=True)
    ]


def _pseudo_gradient(slot: Slot, mean: Array) -> Array:
    """The subgradient of loss + L1 of least norm; at zeros, of the mean gradient."""
    w, strength = raise_precision(slot.leaf.value), slot.term.strength
    active = raise_precision(slot.update) + strength * jnp.sign(w)
    q = jnp.where(w != 0, active, soft_threshold(raise_precision(mean), strength))
    if is_tiny(slot.update):  # float8 may have no infinity: too large gives NaN.
        largest = float(jnp.finfo(slot.update.dtype).max)
        q = jnp.clip(q, -largest, largest)
    return q.astype(slot.update.dtype)


def _within_orthant(slot: Slot, q: Array) -> Array:
    """The update, cut where it would change a sign or leave zero uphill."""
    w, u = raise_precision(slot.leaf.value), raise_precision(slot.update)
    lands = (w != 0) & ((w + u) * jnp.sign(w) <= 0)
    stays = (w == 0) & (jnp.sign(u) * jnp.sign(raise_precision(q)) >= 0)
    return jnp.where(lands, -w, jnp.where(stays, 0.0, u))
