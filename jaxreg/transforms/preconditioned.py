r"""Optimizers whose proximal step uses the metric of their gradient step.

An adaptive optimizer steps by `learning_rate · m/d`, with a scale dᵢ of its own for each
coordinate. A fixed point of "step, then threshold" solves the penalised problem only if
the threshold is scaled alike:

    w ← argmin_z  ⟨m, z⟩ + R(z) + 1/(2·learning_rate) · Σ dᵢ(zᵢ − wᵢ)²

For L1 that is soft-thresholding by `learning_rate · strength / dᵢ`. With the same
threshold for all coordinates, Adam converges to the unregularized solution for strengths
below 1 and to zero above it, whatever the data.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number
from jaxreg._dtypes import is_tiny, raise_precision
from jaxreg._tree import Leaf, Params, values_beside, walk
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.penalties import Penalty
from jaxreg.transforms._arguments import check_arguments, check_steps
from jaxreg.transforms._averaging import averaged_prox_update, zero_dual
from jaxreg.transforms._leaf_by_leaf import AllAtOnce, LeafByLeaf, as_scaled
from jaxreg.transforms._lift import (
    Length,
    Rate,
    Rates,
    Slot,
    check_params,
    check_rate,
    is_number,
    is_schedule,
    prox_update_in_turn,
    rate_at,
    where_updated,
)
from jaxreg.transforms._states import ProxState, counter_beside, incremented
from jaxreg.transforms.decay import decoupled_weight_decay

Metric = Callable[[Any], Params]
"""From an optimizer's new state to the scales d of its step, a pytree or a scalar."""


def prox_preconditioned(
    scaler: Callable[..., optax.GradientTransformation] | optax.GradientTransformation,
    learning_rate: Rate,
    penalty: Penalty,
    *,
    metric: Metric | None = None,
    window: Length = 1,
    warmup_steps: Length = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rates = 0.0,
    weight_decay_mask: MaskLike = weights,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer of the form w − learning_rate·m/d, with the proximal step it needs.

        w ← prox(w − learning_rate · m/d)  in the metric d, with step learning_rate

    It minimises `loss + penalty`, with the exact zeros of the penalty's prox. `prox_sgd`
    and `prox_adam` are two instances; this is the way to all others.

    Args:
        scaler: Either one of the `optax.scale_by_*` functions whose metric is known
            (adam, amsgrad, adamax, belief, rms, rss, stddev, yogi; also `optax.trace`
            and `optax.identity`), or a `functools.partial` of it; or any finished
            transformation that turns gradients into +m/d, with its `metric`.
        learning_rate: A non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask.
        metric: For a finished transformation: the function from its new state to d > 0,
            a pytree like the parameters or a scalar.
        window: Number of steps over which the choice of zeros is averaged, as
            `dual_averaging_adam` explains; 1 for the proximal step alone.
        warmup_steps: Number of first steps without a proximal step. Coordinates that
            have not seen a gradient yet have dᵢ ≈ 0, and L1 would cut them off.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step, as in AdamW. It is no part
            of the objective; for L2 that is, use `ElasticNet`.
        weight_decay_mask: The leaves that decay; by default `weights`.

    Returns:
        An optimizer: its updates are to be applied as they are, by
        `optax.apply_updates`. `update` needs `params`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the metric of `scaler` is unknown and not given; if a number is
            negative or NaN.

    Example:
        >>> rms = functools.partial(optax.scale_by_rms, decay=0.9)
        >>> optimizer = prox_preconditioned(rms, 0.1, L1(1.0))
        >>> params = {"kernel": jnp.array([2.0, 0.05]), "bias": jnp.array([0.05])}
        >>> gradients = jax.tree.map(lambda w: 0.1 * w, params)
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> [round(float(w), 3) for w in optax.apply_updates(params, updates)["kernel"]]
        [0.103, 0.0]

    References:
        Yun, Lozano and Yang, *Adaptive proximal gradient methods for structured neural
        networks* (2021), algorithm 1 (ProxGen).
    """
    check_arguments(
        prox_preconditioned, scaler=scaler, learning_rate=learning_rate, penalty=penalty
    )
    scaling, metric_of = _with_metric(scaler, metric)
    check_rate("learning_rate", learning_rate)
    check_rate("strength_schedule", strength_schedule)
    check_rate("weight_decay", weight_decay, scalar=False)
    check_number("warmup_steps", warmup_steps)
    check_steps("window", window)
    averages = not is_number(window, 1)
    decays = is_schedule(weight_decay, scalar=False) or not is_number(weight_decay, 0)
    decay_mask = as_mask(weight_decay_mask)

    def decay_at(count: Any, rate: Any) -> optax.GradientTransformationExtraArgs:
        decay = rate_at("weight_decay", weight_decay, count, scalar=False)
        return decoupled_weight_decay(decay, learning_rate=rate, mask=decay_mask)

    def decays_at(count: Any, rate: Any, gradients: Params, params: Params) -> list[Any]:
        """What the decay adds to the update of each leaf; `None` for nothing."""
        none = jax.tree.map(_no_update, gradients)
        moved, _ = decay_at(count, rate).update(none, optax.EmptyState(), params)
        tree = list(walk(params))
        pairs = (values_beside(tree, params, x) for x in (none, moved))
        return [None if new is old else new for old, new in zip(*pairs, strict=True)]

    def init(params: Params) -> ProxState:
        bound, inner = penalty.bind(params), scaling.init(jax.tree.map(as_scaled, params))
        bound.check_prox(lambda: metric_of(inner))
        counter = counter_beside(inner)
        if decays:
            decay_at(counter[0], 1.0).init(params)
        return ProxState(counter, inner, zero_dual(bound) if averages else ())

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ProxState]:
        params, gradients = check_params(params, updates), updates
        (count,) = state.updates  # A `Counter`, which has one field.
        rate = rate_at("learning_rate", learning_rate, count)
        factor = _factor_at(count, strength_schedule, warmup_steps)
        scaled_penalty = penalty if is_number(factor, 1) else penalty * factor
        bound, dual = scaled_penalty.bind(where_updated(gradients, params)), ()
        tree, chosen = bound.tree, bound.is_regularized
        given = scaling, gradients, state.inner, params, extra_args, chosen
        if metric is None:
            scaled = LeafByLeaf(metric_of, *given)
        else:
            scaled = AllAtOnce(lambda new: bound.metrics(metric_of(new)), *given)
        decay = decays_at(count, rate, gradients, params) if decays else [None] * len(tree)

        def updates_at(indices: Sequence[int], done: Array | None) -> dict[int, Any]:
            return {
                i: (_update(tree[i], rate, direction, decay[i]), scale)
                for i, (direction, scale) in scaled.at(indices, done).items()
            }

        if averages:
            updates, dual = averaged_prox_update(
                bound, penalty, factor, updates_at, state.dual, window, rate
            )
        else:
            updates = prox_update_in_turn(bound, rate, updates_at)
        updates = jax.tree.map(_narrow_again, updates, gradients)
        return updates, ProxState(incremented(state.updates), scaled.new_state(), dual)

    return optax.GradientTransformationExtraArgs(init, update)


def _factor_at(count: Array, strength_schedule: Rate, warmup_steps: Length) -> Any:
    """What the penalty is multiplied by after `count` updates."""
    factor = rate_at("strength_schedule", strength_schedule, count)
    if is_number(warmup_steps, 0):
        return factor
    return jnp.where(count < warmup_steps, 0.0, factor)


def _narrow_again(update: Array, given: Array) -> Array:
    """An update in float8, if the gradient was."""
    return update.astype(given.dtype) if is_tiny(given) else update


def _no_update(gradient: Array) -> Array:
    return jnp.zeros_like(raise_precision(gradient))


def _update(leaf: Leaf, rate: Scalar, direction: Any, decay: Any) -> Any:
    """A step of the length of a rate against a direction, with its decay."""
    if direction is None:
        return None
    if not isinstance(rate, float | int):
        rate = jnp.asarray(rate, direction.dtype)
    slot = Slot(leaf, -rate * direction, True)
    if decay is None:
        return slot.update
    return slot.finish(raise_precision(slot.update) + decay)


# The scales by which optimizers divide their steps, read from their states.


def _with_metric(
    scaler: Any, metric: Metric | None
) -> tuple[optax.GradientTransformationExtraArgs, Metric]:
    """A scaling and the function from its state to its metric."""
    if isinstance(scaler, optax.GradientTransformation):
        if metric is None:
            raise ValueError(
                "A finished transformation needs `metric=`, a function from its state to "
                "the scales d of its step m/d; or pass the function that makes it, such as "
                "functools.partial(optax.scale_by_rms, decay=0.9). For an optimizer whose "
                "step is not of that form (Lion, Muon, ...) use orthant_wise."
            )
        return optax.with_extra_args_support(scaler), metric
    call = scaler if isinstance(scaler, partial) else partial(scaler)
    if metric is None and call.func not in _METRICS:
        known = ", ".join(sorted(function.__name__ for function in _METRICS))
        raise ValueError(
            f"The metric of {getattr(call.func, '__name__', call.func)!r} is not known. "
            f"Pass one of optax's functions {known}, or give `metric=`, a function from "
            "its state to the scales d of its step m/d. For an optimizer whose step is not "
            "of that form (Lion, Muon, ...) use orthant_wise."
        )
    scaling = optax.with_extra_args_support(scaler())
    if metric is not None:
        return scaling, metric
    given = inspect.signature(call.func).bind(*call.args, **call.keywords)
    given.apply_defaults()

    def of_known(state: Any) -> Params:
        # Optax multiplies floats and counts, which JAX's strict mode forbids.
        with jax.numpy_dtype_promotion("standard"):
            return _METRICS[call.func](state, **given.arguments)

    return scaling, of_known


def _rooted(squares: Params, eps: Scalar, eps_root: Scalar = 0.0) -> Params:
    if not is_number(eps_root, 0):
        squares = jax.tree.map(lambda v: v + eps_root, squares)
    return jax.tree.map(lambda v: jnp.sqrt(v) + eps, squares)


def _adam(state: Any, *, b2: Scalar, eps: Scalar, eps_root: Scalar, **_: Any) -> Params:
    return _rooted(optax.tree.bias_correction(state.nu, b2, state.count), eps, eps_root)


def _amsgrad(state: Any, *, eps: Scalar, eps_root: Scalar, **_: Any) -> Params:
    return _rooted(state.nu_max, eps, eps_root)


def _belief(state: Any, *, b2: Scalar, eps: Scalar, **_: Any) -> Params:
    return _rooted(optax.tree.bias_correction(state.nu, b2, state.count), eps)


def _rms(
    state: Any,
    *,
    decay: Scalar,
    eps: Scalar,
    eps_in_sqrt: bool,
    bias_correction: bool,
    **_: Any,
) -> Params:
    def unbiased(moment: Params) -> Params:
        if not bias_correction:
            return moment
        return optax.tree.bias_correction(moment, decay, state.count)

    squares = unbiased(state.nu)
    if hasattr(state, "mu"):  # scale_by_stddev
        squares = jax.tree.map(lambda n, m: n - m**2, squares, unbiased(state.mu))
    return _rooted(squares, 0.0, eps) if eps_in_sqrt else _rooted(squares, eps)


def _rss(state: Any, *, eps: Scalar, **_: Any) -> Params:
    return _rooted(state.sum_of_squares, 0.0, eps)


_METRICS: dict[Any, Callable[..., Params]] = {
    optax.identity: lambda state: 1.0,
    optax.scale_by_adam: _adam,
    optax.scale_by_adamax: lambda state, **_: state.nu,
    optax.scale_by_amsgrad: _amsgrad,
    optax.scale_by_belief: _belief,
    optax.scale_by_rms: _rms,
    optax.scale_by_rss: _rss,
    optax.scale_by_stddev: _rms,
    optax.scale_by_yogi: _adam,
    optax.trace: lambda state, decay, **_: 1.0 - decay,
}
