r"""Optimizers whose proximal step uses the metric of their gradient step.

An adaptive optimizer steps by `learning_rate · m/d`, with a scale dᵢ of its own for each
coordinate. A fixed point of "step, then threshold" solves the penalised problem only if
the threshold is scaled alike:

    w ← argmin_z  ⟨m, z⟩ + R(z) + 1/(2·learning_rate) · Σ dᵢ(zᵢ − wᵢ)²

For L1 that is soft-thresholding by `learning_rate · strength / dᵢ`. With the same
threshold for all coordinates, Adam converges to the unregularized solution for strengths
below 1 and to zero above it, whatever the data.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import DTypeLike

from jaxreg._checks import Scalar, check_number
from jaxreg._dtypes import is_tiny, raise_precision
from jaxreg._tree import Leaf, Params
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.penalties import Penalty
from jaxreg.transforms._arguments import check_arguments
from jaxreg.transforms._lift import (
    Length,
    Rate,
    Rates,
    check_below_one,
    check_digits,
    check_params,
    check_rate,
    check_steps,
    is_number,
    is_schedule,
    rate_at,
    where_updated,
)
from jaxreg.transforms._metrics import Metric, with_metric
from jaxreg.transforms._states import ProxState, counter_beside, incremented
from jaxreg.transforms._steps import aim, averaged_prox_update, prox_update, zero_dual
from jaxreg.transforms.decay import decoupled_weight_decay


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
        prox_preconditioned,
        scaler=scaler,
        learning_rate=learning_rate,
        penalty=penalty,
    )
    scaling, metric_of = with_metric(scaler, metric)
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

    def init(params: Params) -> ProxState:
        target, inner = aim(penalty, params), scaling.init(_wide(params))
        target.check_prox(lambda: metric_of(inner, target.only))
        counter = counter_beside(inner)
        if decays:
            decay_at(counter[0], 1.0).init(params)
        return ProxState(counter, inner, zero_dual(target) if averages else ())

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ProxState]:
        params = check_params(params, updates)
        (count,) = state.updates
        rate = rate_at("learning_rate", learning_rate, count)
        factor = rate_at("strength_schedule", strength_schedule, count)
        if not is_number(warmup_steps, 0):
            factor = jnp.where(count < warmup_steps, 0.0, factor)
        gradients = _wide(_zeros_for_none(updates, params))
        # Optax multiplies floats and counts, which JAX's strict mode forbids.
        with jax.numpy_dtype_promotion("standard"):
            directions, inner = scaling.update(
                gradients, state.inner, _wide(params), **extra_args
            )
        # Moments keep their dtype, also under injected numbers of more digits.
        inner = jax.tree.map(_like, inner, state.inner)
        directions = where_updated(updates, directions)
        given, updates = updates, jax.tree.map(partial(_against, rate), directions)
        if decays:
            decay = decay_at(count, rate)
            updates, _ = decay.update(updates, optax.EmptyState(), params)
        scaled = penalty if is_number(factor, 1) else penalty * factor
        target, dual = aim(scaled, params, updates), ()
        metric = metric_of(inner, target.only)
        if averages:
            updates, dual = averaged_prox_update(
                target, penalty, factor, updates, state.dual, window, rate, metric
            )
        else:
            updates = prox_update(target, updates, rate, metric)
        updates = jax.tree.map(_narrow_again, updates, given)
        return updates, ProxState(incremented(state.updates), inner, dual)

    return optax.GradientTransformationExtraArgs(init, update)


def _zeros_for_none(updates: Params, params: Params) -> Params:
    """Gradients of 0 for frozen leaves: most of Optax's scalings fail without."""

    def filled(update: Any, leaf: Any) -> Any:
        is_frozen = update is None and Leaf((), leaf).is_parameter
        return jnp.zeros_like(leaf) if is_frozen else update

    return jax.tree.map(filled, updates, params, is_leaf=lambda update: update is None)


def _wide(tree: Params) -> Params:
    """Float8 arrays as float32: moments and 1e-8 are beyond their range."""
    return jax.tree.map(lambda x: raise_precision(x) if is_tiny(x) else x, tree)


def _narrow_again(update: Array, given: Array) -> Array:
    """An update in float8, if the gradient was."""
    return update.astype(given.dtype) if is_tiny(given) else update


def _like(new: Any, old: Any) -> Any:
    """A part of a state, in the dtype that it had if it was an array."""
    has_other = hasattr(old, "dtype") and new.dtype != old.dtype
    return new.astype(old.dtype) if has_other else new


def _against(rate: Scalar, direction: Array) -> Array:
    """A step of the length of a rate against a direction, in its dtype."""
    if isinstance(rate, float | int):
        return -rate * direction
    return -jnp.asarray(rate, direction.dtype) * direction


def prox_sgd(
    learning_rate: Rate,
    penalty: Penalty,
    momentum: Scalar = 0.0,
    nesterov: bool = False,
    *,
    window: Length = 1,
    warmup_steps: Length = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rates = 0.0,
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
        window: Number of steps over which the choice of zeros is averaged, as
            `dual_averaging_adam` explains; 1 for the proximal step alone.
        warmup_steps: Number of first steps without a proximal step.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step. It is no part of the
            objective, and momentum does not add to it; for L2 that is, use `ElasticNet`.
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
    check_arguments(prox_sgd, learning_rate=learning_rate, penalty=penalty)
    check_below_one("momentum", momentum)
    scaler = (
        optax.identity
        if is_number(momentum, 0)
        else partial(optax.trace, momentum, nesterov)
    )
    return prox_preconditioned(
        scaler,
        learning_rate,
        penalty,
        window=window,
        warmup_steps=warmup_steps,
        strength_schedule=strength_schedule,
        weight_decay=weight_decay,
        weight_decay_mask=weight_decay_mask,
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
    window: Length = 1,
    nesterov: bool = False,
    warmup_steps: Length = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rates = 0.0,
    weight_decay_mask: MaskLike = weights,
) -> optax.GradientTransformationExtraArgs:
    """Adam with the proximal step in Adam's own metric: exact zeros, right minimiser.

        d = √(v̂ + eps_root) + eps
        w ← prox(w − learning_rate · m̂/d)  in the metric d, with step learning_rate

    For L1: soft-thresholding of each weight by `learning_rate · strength / dᵢ`. For a
    convex loss, the points where it rests are exactly the minimisers of `loss + penalty`.
    With minibatches and a decaying learning rate it ends near one, with some weights left
    that noise keeps off zero: `dual_averaging_adam` removes those too.

    Clipping gradients before it changes the problem: Adam hides that they are shorter, the
    proximal step does not. Clip inside, with `prox_preconditioned` and a `metric`, or not
    at all.

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
        window: Number of steps over which the choice of zeros is averaged, as
            `dual_averaging_adam` explains; 1 for the proximal step alone.
        nesterov: Whether to use Nesterov momentum (NAdam).
        warmup_steps: Number of first steps without a proximal step.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step, as in AdamW. It is no part
            of the objective; for L2 that is, use `ElasticNet`.
        weight_decay_mask: The leaves that decay; by default `weights`.

    Returns:
        An optimizer. `update` needs `params`. Nothing should scale, clip, cast or
        average its updates after it; `optax.MultiSteps` goes around it.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If a number is negative or NaN, a decay of a mean is not less than 1, or
            one of Adam's numbers is an array of less than float32, in which 0.999 is 1;
            when used, if the penalty has no prox in a diagonal metric, its mask chooses
            nothing, or `params` is missing.

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
    check_arguments(prox_adam, learning_rate=learning_rate, penalty=penalty)
    for name, value in {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}.items():
        check_number(name, value)
    for name, value in {"b2": b2, "eps": eps, "eps_root": eps_root}.items():
        check_digits(name, value)
    check_below_one("b1", b1)
    check_below_one("b2", b2)
    scaler = partial(
        optax.scale_by_adam, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov
    )
    return prox_preconditioned(
        scaler,
        learning_rate,
        penalty,
        window=window,
        warmup_steps=warmup_steps,
        strength_schedule=strength_schedule,
        weight_decay=weight_decay,
        weight_decay_mask=weight_decay_mask,
    )


def dual_averaging_adam(
    learning_rate: Rate,
    penalty: Penalty,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    window: Length = 1000,
    nesterov: bool = False,
    warmup_steps: Length = 0,
    strength_schedule: Rate = 1.0,
    weight_decay: Rates = 0.0,
    weight_decay_mask: MaskLike = weights,
) -> optax.GradientTransformationExtraArgs:
    """Adam that finds the exact support under minibatch noise.

    The proximal step of `prox_adam` looks at one step at a time, so with minibatches
    noise keeps kicking weights off zero. This optimizer remembers, beside Adam's two
    means, a subgradient q ∈ ∂R(w): for a weight that is zero, a mean of its gradients
    over the last `window` steps. It leaves zero only if that mean says so. With
    n = min(count, window) and d as in `prox_adam`:

        z ← w + learning_rate · ((n − 1) · q − m̂)/d
        w ← prox(z)  in the metric d, with step  n · learning_rate
        q ← d · (z − w) / (n · learning_rate)

    A fixed point has −g = q ∈ ∂R(w) for every window, learning rate and start: it solves
    `loss + penalty`. A window of 1 is `prox_adam`; a window without end is, at a constant
    learning rate and metric, regularized dual averaging.

    A longer window tells smaller gradients from noise, and needs longer to let a weight
    leave zero: about window · ln(|g|/(|g| − strength)) steps at a mean gradient g. A
    quarter of the run finds exact supports. Change strengths gradually, or by
    `strength_schedule`: a strength that is injected in a jump moves weights as far as a
    window of steps.

    Args:
        learning_rate: A non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask.
        b1: Decay of the mean of the gradients.
        b2: Decay of the mean of their squares.
        eps: Added to the root.
        eps_root: Added under the root.
        mu_dtype: Dtype of the mean of the gradients; that of the parameters if `None`.
        window: Number of steps over which the choice of zeros is averaged.
        nesterov: Whether to use Nesterov momentum (NAdam).
        warmup_steps: Number of first steps without a proximal step.
        strength_schedule: A factor on the penalty: a number or an Optax schedule.
        weight_decay: Decoupled weight decay beside the step, as in AdamW. It is no part
            of the objective; for L2 that is, use `ElasticNet`.
        weight_decay_mask: The leaves that decay; by default `weights`.

    Returns:
        An optimizer. `update` needs `params`. Its state holds one float32 array per
        regularized leaf more than Adam's, and one byte for each other parameter.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If a number is negative or NaN or `window` below 1; when used, if the
            penalty has no prox in a diagonal metric, its mask chooses nothing, or
            `params` is missing.

    Example:
        A weight whose gradients are noise around 0.1 stays at zero under a strength of 1:

        >>> optimizer = dual_averaging_adam(0.1, L1(1.0))
        >>> w = jnp.array([0.0])
        >>> state = optimizer.init(w)
        >>> for noise in (0.5, -0.5, 3.0, -3.0):
        ...     updates, state = optimizer.update(jnp.array([0.1 + noise]), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> w
        Array([0.], dtype=float32)

    References:
        Xiao, *Dual averaging methods for regularized stochastic learning* (2010),
        section 2; Yun, Lozano and Yang, *Adaptive proximal gradient methods* (2021), for
        the metric.
    """
    check_arguments(dual_averaging_adam, learning_rate=learning_rate, penalty=penalty)
    return prox_adam(
        learning_rate,
        penalty,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        window=window,
        nesterov=nesterov,
        warmup_steps=warmup_steps,
        strength_schedule=strength_schedule,
        weight_decay=weight_decay,
        weight_decay_mask=weight_decay_mask,
    )
