"""Stochastic gradient descent and Adam with the proximal step that each needs."""

from functools import partial

import optax
from jax.typing import DTypeLike

from jaxreg._checks import Scalar, check_number
from jaxreg.masks.selection import MaskLike, weights
from jaxreg.penalties import Penalty
from jaxreg.transforms._arguments import check_arguments, check_below_one, check_digits
from jaxreg.transforms._lift import Length, Rate, Rates, is_number
from jaxreg.transforms.preconditioned import prox_preconditioned


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
