"""Statistics in the state of an optimizer, and out of it again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._tree import Leaf, Names, Params, listing, walk
from jaxreg.masks import MaskLike, as_mask, chosen, weights
from jaxreg.monitoring._sums import OF_EACH, OF_MATRICES
from jaxreg.monitoring.statistics import Measured, is_matrix, is_measurable


class Record(NamedTuple):
    """Statistics in a few arrays: a model may have thousands of leaves.

    Attributes:
        each: A row for each of `OF_EACH`, the last maybe left out, with a number for each
            parameter.
        matrices: A row for each of `OF_MATRICES`, with a number for each parameter that
            has two axes or more.
        total: A number for each row of both, of all leaves of the mask together.
        costs: What the loss and the penalty amount to, by name.
    """

    each: Any
    matrices: Any
    total: Any
    costs: dict[str, Any]


class MonitorState(NamedTuple):
    """State of `monitor`: `latest_stats` reads it.

    Attributes:
        count: Number of updates made.
        step: The update at which the statistics were taken, counted from 0; −1 if there
            are none yet.
        record: The statistics.
        inner: State of the optimizer.
    """

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]
    step: Any
    record: Record
    inner: optax.OptState


def packed(measured: Measured) -> Record:
    """Statistics as they are kept; `leaves` must be of every parameter."""

    def rows(statistics: Sequence[str]) -> Array:
        made = [list(measured.leaves[name].values()) for name in statistics]
        return jnp.stack([jnp.stack(row) if row else jnp.zeros(0) for row in made])

    of_each = [name for name in OF_EACH if name in measured.leaves]
    return Record(
        each=rows(of_each),
        matrices=rows(OF_MATRICES),
        total=jnp.stack([measured.total[name] for name in (*of_each, *OF_MATRICES)]),
        costs=dict(measured.costs),
    )


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
    picks = chosen(as_mask(mask), tree, params)
    state = found[0]
    record = Record(*map(_unboxed, state.record))
    of_each = OF_EACH[: record.each.shape[-2]]
    every = {
        **_named(record.each, of_each, [x for x in tree if is_measurable(x)]),
        **_named(record.matrices, OF_MATRICES, [x for x in tree if is_matrix(x)]),
    }
    names = {leaf.names for leaf, pick in zip(tree, picks, strict=True) if pick}
    leaves = {
        statistic: {name: value for name, value in column.items() if name in names}
        for statistic, column in every.items()
    }
    numbers = jnp.moveaxis(record.total, -1, 0)
    total = dict(zip((*of_each, *OF_MATRICES), numbers, strict=True))
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


def _named(
    rows: Array, statistics: Sequence[str], leaves: list[Leaf]
) -> dict[str, dict[Names, Array]]:
    """The numbers of statistics by the names of their leaves."""
    if rows.shape[-1] != len(leaves):
        raise ValueError(
            "latest_stats needs the parameters that the monitored optimizer is for: it has "
            f"statistics of {rows.shape[-1]} arrays, but {len(leaves)} are given "
            f"({listing(leaves)}). Inside optax.partition or optax.masked those are the "
            "parameters of its group, with None in the place of the others; "
            "jaxreg.monitor(optax.partition(...)) has statistics of all."
        )
    return {
        statistic: {leaf.names: rows[..., i, j] for j, leaf in enumerate(leaves)}
        for i, statistic in enumerate(statistics)
    }
