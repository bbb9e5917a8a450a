"""Statistics of training, kept in the optimizer's state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import is_concrete
from jaxreg._scheduling import after
from jaxreg._sharding import as_specs
from jaxreg._tree import Params
from jaxreg.masks.selection import MaskLike, as_mask, weights
from jaxreg.monitoring.record import MonitorState, Record, packed
from jaxreg.monitoring.statistics import Given, measure
from jaxreg.penalties import Penalty
from jaxreg.transforms._arguments import check_arguments, check_steps
from jaxreg.transforms._lift import Length, check_params
from jaxreg.transforms._nesting import (
    INSIDE_MONITOR,
    check_inside,
    warn_of_threshold_after_adaptive,
)
from jaxreg.transforms._states import counter_beside, incremented


def monitor(
    optimizer: optax.GradientTransformation,
    penalty: Penalty | None = None,
    *,
    every: Length = 100,
    mask: MaskLike = weights,
    loss: bool = False,
    in_loss: bool = False,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Keep statistics of the weights in the optimizer's state, every so many steps.

    Around an optimizer it sees all that `weight_stats` can use: the parameters, their
    gradients and the updates. The updates pass through it as they are. At the updates
    0, `every`, 2·`every`, ... it takes the statistics of the parameters *before* the
    update, leaf after leaf, which costs about as much as two steps of Adam; in between it
    costs next to nothing. Read them with `latest_stats`, inside `jit` and `scan` or
    outside:

        stats = latest_stats(state, params)     of optimizer.init and optimizer.update
        stats = latest_stats(state, state.params)                 of a linen TrainState
        stats = latest_stats(optimizer, nnx.state(model, nnx.Param))  of an nnx.Optimizer

    `optax.MultiSteps` goes around it, since within one batch of several there is no
    update.

    Args:
        optimizer: Any finished optimizer.
        penalty: For the penalty's own statistics and for the distance to a solution.
        every: Number of steps from one taking to the next.
        mask: Which leaves the total is of; each leaf has its own statistics anyhow.
        loss: Whether `update` is given the mean loss, as `value=loss` like those
            optimizers of Optax that need it; for `loss` and `penalty_fraction`.
        in_loss: Whether gradients and loss are those of `loss + penalty`, as they are not
            with `prox_adam` and its like.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`. `init` is then to be
            called inside as well.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `optimizer` is no finished optimizer, or `penalty` no penalty.
        ValueError: If `every` is less than 1, or `in_loss` has no penalty; when used, if
            `params` is missing, or the loss is where it is wanted, or another monitor is
            inside.

    Warns:
        UserWarning: If a proximal step comes after an adaptive optimizer inside.

    Example:
        The distance to the solution of a lasso, after 0, 20 and 40 steps:

        >>> penalty = L1(1.0)
        >>> optimizer = monitor(prox_sgd(0.5, penalty), penalty, every=20)
        >>> w = jnp.array([3.0, 0.5])
        >>> def step(carry, _):
        ...     w, state = carry
        ...     updates, state = optimizer.update(w - jnp.array([3.0, 0.5]), state, w)
        ...     return (w + updates, state), latest_stats(state, w)["total/kkt_residual"]
        >>> _, residuals = jax.lax.scan(step, (w, optimizer.init(w)), length=41)
        >>> [f"{x:.0e}" for x in residuals[::20]]
        ['1e+00', '1e-06', '0e+00']
    """
    check_arguments(monitor, optimizer=optimizer, mask=mask)
    check_steps("every", every)
    mask, specs = as_mask(mask), as_specs(specs)
    if penalty is not None:
        check_arguments(monitor, penalty=penalty)
    elif in_loss:
        raise ValueError("in_loss needs the penalty that is in the loss: penalty=...")
    inner = optax.with_extra_args_support(optimizer)

    def taken(params: Params, gradients: Params, updates: Params, value: Any) -> Record:
        given = Given(updates, gradients, penalty, value if loss else None, in_loss)
        return packed(measure(params, mask, given, specs, each=True))

    def init(params: Params) -> MonitorState:
        shapes = jax.eval_shape(lambda: taken(params, params, params, 0.0))
        record = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        state = inner.init(params)
        check_inside("monitor", state, INSIDE_MONITOR)
        warn_of_threshold_after_adaptive(state)
        step = jnp.full([], -1, jnp.int32)
        return MonitorState(counter_beside(state), step, record, state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, MonitorState]:
        params = check_params(params, updates)
        if loss and extra_args.get("value") is None:
            raise ValueError(
                "monitor(..., loss=True) needs the mean loss: call "
                "`update(updates, state, params, value=loss)`."
            )

        def record() -> Record:
            # Made again here: to keep all updates for a step that is due would cost every
            # step a copy of them.
            moved, _ = inner.update(updates, state.inner, params, **extra_args)
            return taken(params, updates, moved, extra_args.get("value"))

        step, kept = _recorded_if(state.updates[0] % every == 0, record, state)
        # Else it would copy parameters and moments in every step: what overwrites them in
        # place must wait for the statistics, which read them.
        moved, inner_state = inner.update(
            after(step, updates), state.inner, params, **extra_args
        )
        return moved, MonitorState(incremented(state.updates), step, kept, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _recorded_if(due: Any, record: Callable[[], Record], state: Any) -> tuple[Any, Record]:
    """The step and the record of the last statistics: new ones if they are due."""
    before = state.step, state.record

    def now() -> tuple[Any, Record]:
        new = state.updates[0], record()
        return jax.tree.map(lambda new, old: new.astype(old.dtype), new, before)

    if is_concrete(due):
        return now() if due else before
    return jax.lax.cond(due, now, lambda: before)
