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
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import DTypeLike

from jaxreg._tree import Params, Scalar, check_numbers, walk
from jaxreg.masks import MaskLike, as_mask, weights
from jaxreg.penalties import Penalty
from jaxreg.transforms._lift import Rate, rate_at, required
from jaxreg.transforms.decay import decoupled_weight_decay
from jaxreg.transforms.proximal import prox_update, require_momentum, require_penalty

Metric = Callable[[Any], Params]
"""From an optimizer's new state to the scales d of its step, a pytree (or a scalar)."""


class ProxState(NamedTuple):
    """State of an optimizer with a proximal step.

    Attributes:
        count: Number of updates made.
        inner: State of the optimizer's own scaling.
    """

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]
    inner: optax.OptState


def prox_preconditioned(
    scaler: Callable[..., optax.GradientTransformation] | optax.GradientTransformation,
    learning_rate: Rate,
    penalty: Penalty,
    *,
    metric: Metric | None = None,
    warmup_steps: int = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rate = 0.0,
    weight_decay_mask: MaskLike = weights,
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer of the form w − learning_rate·m/d, with the proximal step it needs.

        w ← prox(w − learning_rate · m/d)  in the metric d, with step learning_rate

    It minimises `loss + penalty`, with the exact zeros of the penalty's prox. `prox_sgd`
    and `prox_adam` are two instances; this is the way to all others.

    Args:
        scaler: Either one of the `optax.scale_by_*` functions whose metric is known
            (adam, amsgrad, adamax, belief, rms, rss, stddev, yogi; also `optax.trace`
            and `optax.identity`), with its arguments among `settings`; or any finished
            transformation that turns gradients into m/d, with its `metric`.
        learning_rate: A non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask.
        metric: For a finished transformation: the function from its new state to d > 0,
            a pytree like the parameters or a scalar.
        warmup_steps: Number of first steps without a proximal step. Coordinates that
            have not seen a gradient yet have dᵢ ≈ 0, and L1 would cut them off.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step, as in AdamW.
        weight_decay_mask: The leaves that decay; by default `weights`.
        **settings: Arguments of `scaler`.

    Returns:
        An optimizer: its updates are to be applied as they are, by
        `optax.apply_updates`. `update` needs `params`.

    Raises:
        TypeError: If `penalty` is no penalty, or `settings` do not fit `scaler`.
        ValueError: If the metric of `scaler` is unknown and not given; if a number is
            negative or NaN.

    Example:
        >>> optimizer = prox_preconditioned(optax.scale_by_rms, 0.1, L1(1.0), decay=0.9)
        >>> params = {"kernel": jnp.array([2.0, 0.05]), "bias": jnp.array([0.05])}
        >>> gradients = jax.tree.map(lambda w: 0.1 * w, params)
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> [round(float(w), 3) for w in optax.apply_updates(params, updates)["kernel"]]
        [0.103, 0.0]

    References:
        Yun, Lozano and Yang, *Adaptive proximal gradient methods for structured neural
        networks* (2021), algorithm 1 (ProxGen).
    """
    require_penalty(penalty)
    check_numbers("warmup_steps", warmup_steps)
    scaling, metric_of = _with_metric(scaler, metric, settings)
    for name, rate in {
        "learning_rate": learning_rate,
        "strength_schedule": strength_schedule,
    }.items():
        if not callable(rate):
            check_numbers(name, rate)
    decays = callable(weight_decay) or not _is_number(weight_decay, 0)
    decay_mask = as_mask(weight_decay_mask)

    def decay_at(count: Array, rate: Any) -> optax.GradientTransformationExtraArgs:
        return decoupled_weight_decay(rate_at(weight_decay, count), rate, decay_mask)

    def init(params: Params) -> ProxState:
        count = jnp.zeros([], jnp.int32)
        penalty.at_leaves(list(walk(params)), params)
        if decays:
            decay_at(count, 1.0).init(params)
        return ProxState(count, scaling.init(params))

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ProxState]:
        params = required(params)
        rate = rate_at(learning_rate, state.count)
        factor = rate_at(strength_schedule, state.count)
        if not _is_number(warmup_steps, 0):
            factor = jnp.where(state.count < warmup_steps, 0.0, factor)
        directions, inner = scaling.update(updates, state.inner, params, **extra_args)
        updates = optax.tree.scale(-rate, directions)
        if decays:
            updates, _ = decay_at(state.count, rate).update(
                updates, optax.EmptyState(), params
            )
        scaled = penalty if _is_number(factor, 1) else penalty * factor
        updates = prox_update(scaled, updates, params, rate, metric_of(inner))
        return updates, ProxState(optax.safe_increment(state.count), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def prox_sgd(
    learning_rate: Rate,
    penalty: Penalty,
    momentum: Scalar = 0.0,
    nesterov: bool = False,
    *,
    warmup_steps: int = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rate = 0.0,
    weight_decay_mask: MaskLike = weights,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent with a proximal step, right with momentum.

        m ← momentum · m + g
        w ← prox(w − learning_rate · m),  with step  learning_rate / (1 − momentum)

    Heavy-ball momentum multiplies a constant gradient by 1/(1 − momentum) in the long
    run, so the proximal step is as much longer. With the step `learning_rate` that is
    often written, momentum 0.9 solves the problem with a tenth of the penalty.

    Args:
        learning_rate: A non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask.
        momentum: In [0, 1).
        nesterov: Whether the momentum looks ahead.
        warmup_steps: Number of first steps without a proximal step.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step.
        weight_decay_mask: The leaves that decay; by default `weights`.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If a number is negative or NaN, or `momentum` is not less than 1.

    Example:
        >>> optimizer = prox_sgd(0.1, L1(1.0), momentum=0.5)
        >>> params = {"kernel": jnp.array([2.0, 0.05]), "bias": jnp.array([0.05])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        >>> optax.apply_updates(params, updates)
        {'bias': Array([0.05], dtype=float32), 'kernel': Array([1.8, 0. ], dtype=float32)}

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 4.2; the gain of the
        momentum from the fixed point of the two lines above.
    """
    require_momentum(momentum)
    if _is_number(momentum, 0):
        scaler: Any = optax.identity
        settings: dict[str, Any] = {}
    else:
        scaler = optax.trace
        settings = {"decay": momentum, "nesterov": nesterov}
    return prox_preconditioned(
        scaler,
        learning_rate,
        penalty,
        warmup_steps=warmup_steps,
        strength_schedule=strength_schedule,
        weight_decay=weight_decay,
        weight_decay_mask=weight_decay_mask,
        **settings,
    )


def prox_adam(
    learning_rate: Rate,
    penalty: Penalty,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    warmup_steps: int = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rate = 0.0,
    weight_decay_mask: MaskLike = weights,
) -> optax.GradientTransformationExtraArgs:
    """Adam with the proximal step in Adam's own metric: exact zeros, right minimiser.

        d = √(v̂ + eps_root) + eps
        w ← prox(w − learning_rate · m̂/d)  in the metric d, with step learning_rate

    For L1: soft-thresholding of each weight by `learning_rate · strength / dᵢ`. Full
    batch, it converges to the minimiser of `loss + penalty`; with minibatches and a
    decaying learning rate to its neighbourhood, with some weights left that noise keeps
    off zero: `dual_averaging_adam` removes those too.

    Weights that have not seen a gradient (constant pixels, unused rows of an embedding)
    have v̂ = 0 and are cut to zero on the first step: right for L1, since they do not
    matter to the loss so far; `warmup_steps` lets them be until then.

    Args:
        learning_rate: A non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask.
        b1: Decay of the mean of the gradients.
        b2: Decay of the mean of their squares.
        eps: Added to the root.
        eps_root: Added under the root.
        mu_dtype: Dtype of the mean of the gradients; that of the parameters if `None`.
        nesterov: Whether to use Nesterov momentum (NAdam).
        warmup_steps: Number of first steps without a proximal step.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step, as in AdamW.
        weight_decay_mask: The leaves that decay; by default `weights`.

    Returns:
        An optimizer. `update` needs `params`. Nothing should scale, clip, cast or
        average its updates after it; `optax.MultiSteps` goes around it.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If a number is negative or NaN; when used, if the penalty has no prox
            in a diagonal metric, its mask chooses nothing, or `params` is missing.

    Example:
        >>> optimizer = prox_adam(0.1, L1(0.5))
        >>> params = {"kernel": jnp.array([2.0, 0.05]), "bias": jnp.array([0.05])}
        >>> gradients = {"kernel": jnp.array([1.0, 0.1]), "bias": jnp.array([0.0])}
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> [round(float(w), 2) for w in optax.apply_updates(params, updates)["kernel"]]
        [1.85, 0.0]

    References:
        Yun, Lozano and Yang, *Adaptive proximal gradient methods for structured neural
        networks* (2021), algorithm 1 (ProxGen); Kingma and Ba, *Adam* (2015).
    """
    return prox_preconditioned(
        optax.scale_by_adam,
        learning_rate,
        penalty,
        warmup_steps=warmup_steps,
        strength_schedule=strength_schedule,
        weight_decay=weight_decay,
        weight_decay_mask=weight_decay_mask,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
    )


def _is_number(value: Any, number: float) -> bool:
    return isinstance(value, float | int) and value == number


def _with_metric(
    scaler: Any, metric: Metric | None, settings: Mapping[str, Any]
) -> tuple[optax.GradientTransformationExtraArgs, Metric]:
    """A scaling and the function from its state to its metric."""
    if isinstance(scaler, optax.GradientTransformation):
        if metric is None:
            raise ValueError(
                "The metric of a finished transformation cannot be known: pass `metric=`, "
                "a function from its state to the scales d of its step m/d; or pass the "
                "function `optax.scale_by_...` and its arguments instead. For an optimizer "
                "whose step is not of that form (Lion, Muon, ...) use orthant_wise."
            )
        if settings:
            raise TypeError(
                f"Arguments {sorted(settings)} are for a `scaler` that is a function, but "
                "this one is finished already."
            )
        return optax.with_extra_args_support(scaler), metric
    scaling = optax.with_extra_args_support(scaler(**settings))
    if metric is not None:
        return scaling, metric
    if scaler not in _METRICS:
        names = sorted(function.__name__ for function in _METRICS)
        raise ValueError(
            f"scaler must be one of optax's {', '.join(names)}, whose metric is known, or "
            f"come with `metric=`; got {scaler!r}. For an optimizer whose step is not of "
            "the form m/d (Lion, Muon, ...) use orthant_wise."
        )
    bound = inspect.signature(scaler).bind(**settings)
    bound.apply_defaults()
    return scaling, lambda state: _METRICS[scaler](state, **bound.arguments)


def _rooted(squares: Params, eps: Scalar, eps_root: Scalar = 0.0) -> Params:
    return jax.tree.map(lambda v: jnp.sqrt(v + eps_root) + eps, squares)


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
