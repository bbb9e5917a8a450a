"""Proximal steps after an optimizer whose steps are plain: exact zeros for L1."""

from typing import Any

import optax

from jaxreg._checks import Scalar
from jaxreg._tree import Params
from jaxreg.masks.selection import MaskLike, weights
from jaxreg.penalties import L1, Penalty
from jaxreg.penalties.base import Strength
from jaxreg.transforms._arguments import check_arguments, check_below_one
from jaxreg.transforms._lift import (
    Rate,
    check_params,
    prox_update,
    transformation,
    where_updated,
)
from jaxreg.transforms._states import DecoupledL1State, ProximalState


def proximal(
    learning_rate: Rate, penalty: Penalty, momentum: Scalar = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Follow the optimizer's step by the proximal step of a penalty.

        w ← prox(w + u),  with step  learning_rate / (1 − momentum)

    Place it *last* in the chain, after plain gradient steps: `optax.sgd(learning_rate)`.
    The pair is proximal gradient descent: it minimises `loss + penalty`, and with `L1`
    it makes weights exactly zero. The momentum of `optax.sgd` multiplies the gradients
    in the long run by 1/(1 − momentum), but would leave the threshold alone; give the
    same `momentum` here to keep loss and penalty in balance.

    After an *adaptive* optimizer (Adam, RMSProp, Lion, ...) this is wrong: the threshold
    must use the metric of the step. Under `optax.adam` it converges to the unregularized
    solution for L1 strengths below 1, and to zero above.

    What comes after it in a chain scales or clips the proximal step, and averages of the
    parameters lose the zeros. Put it inside `optax.MultiSteps`, not after.

    Args:
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        penalty: What to step on, with its mask.
        momentum: The optimizer's `momentum`, in [0, 1).

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the learning rate is negative or `momentum` outside [0, 1); when
            used, if the penalty has no prox on these parameters, its mask chooses
            nothing, or `params` is missing.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1), proximal(0.1, L1(1.0)))
        >>> params = {"kernel": jnp.array([2.0, 0.05]), "bias": jnp.array([0.05])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        >>> optax.apply_updates(params, updates)
        {'bias': Array([0.05], dtype=float32), 'kernel': Array([1.9, 0. ], dtype=float32)}

    References:
        Parikh and Boyd, *Proximal Algorithms* (2014), section 4.2; Yun, Lozano and Yang,
        *Adaptive proximal gradient methods for structured neural networks* (2021).
    """
    check_arguments(
        proximal, penalty=penalty, learning_rate=learning_rate, momentum=momentum
    )
    return _proximal(penalty, learning_rate, momentum, ProximalState)


def _proximal(
    penalty: Penalty,
    learning_rate: Rate,
    momentum: Scalar,
    kind: type[ProximalState] | type[DecoupledL1State],
) -> optax.GradientTransformationExtraArgs:
    """The proximal step, whose state says by its type what it is."""
    check_below_one("momentum", momentum)

    def rule(updates: Params, params: Params, learning_rate: Any) -> Params:
        step = learning_rate / (1 - momentum)
        bound = penalty.bind(where_updated(updates, params))
        return prox_update(bound, updates, step)

    def check(params: Params) -> None:
        penalty.bind(params).check_prox()

    step = transformation(rule, check, learning_rate=learning_rate)

    def init(params: Params) -> optax.OptState:
        return kind(step.init(params))

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, optax.OptState]:
        params = check_params(params, updates)
        moved, inner = step.update(updates, state.inner, params, **extra_args)
        return moved, kind(inner)

    return optax.GradientTransformationExtraArgs(init, update)


def decoupled_l1(
    strength: Strength, *, learning_rate: Rate, mask: MaskLike = weights
) -> optax.GradientTransformationExtraArgs:
    """Shrink the weights by a constant beside the optimizer's step: AdamW-style L1.

        w ← sign(w + u) · max(|w + u| − learning_rate · strength, 0)

    **This is not the lasso.** It is to L1 what decoupled weight decay is to L2: the
    shrinking does not pass through the optimizer's preconditioner. After Adam, whose
    steps are about as large as the learning rate whatever the loss, `strength` is a
    pure number, compared with 1: a weight is held at zero where Adam's direction
    m̂/√v̂, between −1 and 1, stays below `strength` in absolute value. With full batches that
    direction is ±1 wherever the gradient is not zero, so strengths below 1 change
    nothing in the end and strengths above 1 make *all* weights zero; with minibatches it
    is smaller where gradients are noisy, and the result depends on the batch size.

    It can serve as a heuristic that thins out weights with noisy gradients, at strengths
    of 0.01 to 1. For the minimiser of `loss + strength · Σ |w|` use `prox_adam`.

    Args:
        strength: Non-negative number, array or pytree prefix of the parameters.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves; by default `weights`.

    Returns:
        A transformation, to place last, after a finished optimizer. `update` needs
        `params`.

    Raises:
        TypeError: If a strength is no real number or the mask cannot choose leaves.
        ValueError: If a concrete number is negative or NaN; when used, if the mask
            chooses nothing or `params` is missing.

    Example:
        >>> optimizer = optax.chain(optax.adam(0.1), decoupled_l1(0.5, learning_rate=0.1))
        >>> params = jnp.array([2.0, 0.01])
        >>> gradients = jnp.array([7.0, 0.0])
        >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        >>> [round(float(w), 2) for w in optax.apply_updates(params, updates)]
        [1.85, 0.0]

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), for L2;
        the fixed points follow from Adam's update with v = g².
    """
    check_arguments(decoupled_l1, strength=strength, learning_rate=learning_rate, mask=mask)
    return _proximal(L1(strength, mask=mask), learning_rate, 0.0, DecoupledL1State)
