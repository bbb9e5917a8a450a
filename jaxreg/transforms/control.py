"""An optimizer whose penalty adapts while it trains, to end at a wanted sparsity."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxreg._checks import check_number, is_concrete
from jaxreg._sharding import along, zero_fraction
from jaxreg._tree import Params
from jaxreg.penalties import Penalty
from jaxreg.transforms._arguments import check_arguments, check_is_optimizer
from jaxreg.transforms._lift import Rate, check_params, check_rate, rate_at, where_updated
from jaxreg.transforms._states import TargetSparsityState, counter_beside, incremented
from jaxreg.transforms.adaptive import prox_adam

# The strength stays within a factor of about a billion of where it started.
_REACH = 20.0


def target_sparsity(
    learning_rate: Rate,
    penalty: Penalty,
    target: Rate,
    *,
    gain: Rate = 0.1,
    optimizer: Callable[..., optax.GradientTransformation] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that ends at a wanted fraction of exact zeros.

    The penalty decides *which* weights are zero; this controller decides how strong it is.
    Before each step it compares the fraction of exact zeros among the penalised weights
    with the target, and makes the penalty a little stronger or weaker:

        factor ← factor · exp(gain · (target − fraction of zeros))
        w      ← optimizer's step with  factor · penalty

    Nothing is cut off: at the end the weights are those that the loss and a penalty of the
    strength `penalty * jnp.exp(state.log_factor)` keep, and training on with that penalty
    would keep them.

    The strength to start from hardly matters. With minibatches the fraction keeps swinging
    about the target, by a few percent of the weights, and less as the learning rate falls;
    `dual_averaging_adam` is steadier. The fraction changes only as fast as weights can move
    to zero, so give it a few hundred steps: the strength first overshoots, and a smaller
    gain makes it overshoot less and arrive later. A gain that falls to 0 (a schedule)
    leaves the strength as it is for the last steps.

    Args:
        learning_rate: Of the optimizer: a non-negative number or an Optax schedule.
        penalty: What to regularize by, with its mask and the strength to start from, which
            must not be 0. Its prox must make exact zeros.
        target: The wanted fraction of exact zeros among the penalised weights, from 0 to 1:
            a number or an Optax schedule.
        gain: How fast the strength follows: a number or an Optax schedule.
        optimizer: Called as `optimizer(learning_rate, penalty, strength_schedule=factor)`
            with the factor of the step: `prox_sgd`, `dual_averaging_adam`, or a
            `functools.partial` of them with more arguments; `prox_adam` if `None`.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If a number is negative or NaN, or the target is above 1; when used, if
            the penalty has no prox here, its mask chooses nothing, or `params` is missing.

    Example:
        Half of four weights, which the loss alone would leave at 1, 2, 3 and 4:

        >>> optimum = jnp.array([1.0, 2.0, 3.0, 4.0])
        >>> optimizer = target_sparsity(0.1, L1(0.1), 0.5, optimizer=prox_sgd)
        >>> w = optimum
        >>> state = optimizer.init(w)
        >>> for _ in range(300):
        ...     updates, state = optimizer.update(w - optimum, state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> (w == 0).tolist()
        [True, True, False, False]
    """
    check_arguments(
        target_sparsity, learning_rate=learning_rate, penalty=penalty, target=target
    )
    check_rate("learning_rate", learning_rate)
    check_rate("gain", gain)
    _target_at(target, None)

    make = prox_adam if optimizer is None else optimizer

    def made(factor: Any) -> optax.GradientTransformationExtraArgs:
        tx = make(learning_rate, penalty, strength_schedule=factor)
        check_is_optimizer(tx)
        return optax.with_extra_args_support(tx)

    def init(params: Params) -> TargetSparsityState:
        penalty.bind(params).check_prox()
        inner = made(1.0).init(params)
        log_factor = jnp.zeros([], jnp.float32)
        return TargetSparsityState(counter_beside(inner), log_factor, inner)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, TargetSparsityState]:
        params = check_params(params, updates)
        (count,) = state.updates
        zeros = _zero_fraction(penalty, where_updated(updates, params))
        change = rate_at("gain", gain, count) * (_target_at(target, count) - zeros)
        log_factor = jnp.clip(state.log_factor + change, -_REACH, _REACH)
        log_factor = log_factor.astype(jnp.float32)
        inner = made(jnp.exp(log_factor))
        updates, inner_state = inner.update(updates, state.inner, params, **extra_args)
        counter = incremented(state.updates)
        return updates, TargetSparsityState(counter, log_factor, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _target_at(target: Rate, count: Any) -> Any:
    """The target after `count` updates, checked; before there is a count, only checked."""
    if callable(target) and count is None:
        return None
    value = target(count) if callable(target) else target
    check_number("target", value)
    if is_concrete(value) and np.asarray(value) > 1:
        raise ValueError(f"target must be at most 1, got {float(value):g}.")
    return value


def _zero_fraction(penalty: Penalty, params: Params) -> Array:
    """The fraction of exact zeros among the penalised parameters."""
    bound = penalty.bind(params)
    return zero_fraction(
        [
            (leaf.value, along(term.split))
            for leaf, term in zip(bound.tree, bound.terms, strict=True)
            if term is not None
        ]
    )
