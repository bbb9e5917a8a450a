"""Statistics in the state of an optimizer, and out of it again."""

from collections.abc import Container
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._tree import Leaf, Params, listing, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights
from jaxreg.monitoring._sums import OF_EACH, OF_MATRICES
from jaxreg.monitoring.statistics import Measured, is_matrix, is_measurable


class Record(NamedTuple):
    """Statistics in a few arrays: a model may have thousands of leaves.

    Attributes:
        each: A row for each of `OF_EACH`, the last maybe left out, and of `OF_MATRICES`,
            with a number for each parameter: 0 where it has no such statistic.
        total: A number for each row, of all leaves of the mask together.
        costs: What the loss and the penalty amount to, by name.
    """

    each: Any
    total: Any
    costs: dict[str, Any]


class MonitorState(NamedTuple):
    """State of `monitor`: `latest_stats` reads it.

    Attributes:
        updates: Number of updates made.
        step: The update at which the statistics were taken, counted from 0; −1 if there
            are none yet.
        record: The statistics.
        inner: State of the optimizer.
    """

    updates: Any
    step: Any
    record: Record
    inner: optax.OptState


def packed(measured: Measured) -> Record:
    """Statistics as they are kept; `leaves` must be of every parameter."""
    leaves = list(measured.leaves[OF_EACH[0]])

    def row(statistic: str) -> Array:
        column = measured.leaves[statistic]
        numbers = [column.get(leaf, jnp.zeros([])) for leaf in leaves]
        return jnp.stack(numbers) if numbers else jnp.zeros(0)

    statistics = _statistics(measured.leaves)
    return Record(
        each=jnp.stack([row(statistic) for statistic in statistics]),
        total=jnp.stack([measured.total[statistic] for statistic in statistics]),
        costs=dict(measured.costs),
    )


def _statistics(known: Container[str]) -> list[str]:
    """The statistics of the rows of a record."""
    return [name for name in OF_EACH if name in known] + list(OF_MATRICES)


def latest_stats(state: Any, params: Params, mask: MaskLike = weights) -> dict[str, Array]:
    """Read the statistics that `monitor` has taken last out of an optimizer's state.

    Args:
        state: The state of an optimizer with a `monitor` somewhere in it, or what holds
            one: a linen `TrainState`, an `nnx.Optimizer`.
        params: The parameters that the monitored optimizer is for; a pytree of
            `jax.ShapeDtypeStruct` will do. They give the leaves their names.
        mask: Which leaves to read; by default `weights`.

    Returns:
        A flat dict as of `weight_stats`, and `step`, the update at which the statistics
        were taken, counted from 0: −1 if there are none yet, and then all others are 0. It
        may be computed inside `jit` and `scan`.

    Raises:
        ValueError: If there is no monitor in the state, or several; if the parameters
            have other leaves than those it has seen, or the mask chooses none.

    Example:
        >>> params = {"kernel": jnp.array([0.0, 4.0])}
        >>> optimizer = optax.chain(optax.clip(1.0), monitor(optax.sgd(1.0)))
        >>> state = optimizer.init(params)
        >>> gradients = {"kernel": jnp.array([1.0, 0.0])}
        >>> _, state = optimizer.update(gradients, state, params)
        >>> stats = latest_stats(state, params)
        >>> [float(stats[name]) for name in ("kernel/norm", "total/update_ratio", "step")]
        [4.0, 0.25, 0.0]
    """
    found = [
        node
        for node in jax.tree.leaves(state, is_leaf=_is_record)
        if isinstance(node, MonitorState)
    ]
    if len(found) != 1:
        raise ValueError(
            f"The state must hold one jaxreg.monitor, but there are {len(found)}: pass "
            "the state of an optimizer made by jaxreg.monitor(optimizer). Of a partition "
            "with several, pass that of one group, state.inner_states[label], and the "
            "parameters of the group."
        )
    tree = list(walk(params))
    is_chosen = chosen(as_mask(mask), tree, params)
    state = found[0]
    record = Record(*map(_unboxed, state.record))
    statistics = _statistics(OF_EACH[: record.total.shape[-1] - len(OF_MATRICES)])
    every = [leaf for leaf in tree if is_measurable(leaf)]
    _check_fits(record, every)
    names = {leaf.names for leaf, needed in zip(tree, is_chosen, strict=True) if needed}
    leaves = {
        statistic: {
            leaf.names: record.each[..., row, index]
            for index, leaf in enumerate(every)
            if leaf.names in names and (statistic in OF_EACH or is_matrix(leaf))
        }
        for row, statistic in enumerate(statistics)
    }
    numbers = jnp.moveaxis(record.total, -1, 0)
    total = dict(zip(statistics, numbers, strict=True))
    flat = Measured(leaves, total, record.costs).flat()
    return {**flat, "step": _unboxed(state.step)}


def _is_record(node: Any) -> bool:
    return isinstance(node, MonitorState)


def _unboxed(node: Any) -> Any:
    """An array, or a dict of them, without boxes such as those of `nnx.Optimizer`."""
    if isinstance(node, dict):
        return {name: _unboxed(value) for name, value in node.items()}
    (array,) = jax.tree.leaves(node)
    return array


def _check_fits(record: Record, leaves: list[Leaf]) -> None:
    """Refuse parameters that a record cannot be of."""
    if record.each.shape[-1] != len(leaves):
        raise ValueError(
            "latest_stats needs the parameters that the monitored optimizer is for: it has "
            f"statistics of {record.each.shape[-1]} arrays, but {len(leaves)} are given "
            f"({listing(leaves)}). Inside optax.partition or optax.masked those are the "
            "parameters of its group, with None for the others; "
            "jaxreg.monitor(optax.partition(...)) has statistics of all."
        )
