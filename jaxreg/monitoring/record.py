"""Statistics in the state of an optimizer, and out of it again."""

from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from jaxreg._tree import Leaf, Names, Params, listing, walk
from jaxreg.masks import MaskLike, as_mask, chosen, weights
from jaxreg.monitoring._sums import has_statistic
from jaxreg.monitoring.statistics import Measured, is_measurable


class MonitorState(NamedTuple):
    """State of `monitor`: `latest_stats` reads it.

    Attributes:
        count: Number of updates made.
        step: The update at which the statistics were taken, counted from 0; −1 if there
            are none yet.
        total: Statistics of all leaves together, by name.
        leaves: Statistics by name, each an array with a number for each leaf that has it,
            in the order of the parameters. (One array for all leaves keeps the state
            small: a model may have thousands of them.)
        inner: State of the optimizer.
    """

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]
    step: Any
    total: dict[str, Any]
    leaves: dict[str, Any]
    inner: optax.OptState


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
            "the state of an optimizer made by jaxreg.monitor(optimizer)."
        )
    tree = list(walk(params))
    picks = chosen(as_mask(mask), tree, params)
    picked = {leaf.names for leaf, pick in zip(tree, picks, strict=True) if pick}
    # Boxes around the arrays, as `nnx.Optimizer` has, come off.
    step, total, leaves = (_unboxed(part) for part in found[0][1:4])
    columns = {
        statistic: _named(values, statistic, tree) for statistic, values in leaves.items()
    }
    chosen_columns = {
        statistic: {name: x for name, x in column.items() if name in picked}
        for statistic, column in columns.items()
    }
    return {**Measured(chosen_columns, total).flat(), "step": step}


def _is_record(node: Any) -> bool:
    return isinstance(node, MonitorState)


def _unboxed(node: Any) -> Any:
    """An array, or a dict of them, without boxes such as those of `nnx.Optimizer`."""
    if isinstance(node, dict):
        return {name: _unboxed(value) for name, value in node.items()}
    (array,) = jax.tree.leaves(node)
    return array


def _named(values: Array, statistic: str, tree: list[Leaf]) -> dict[Names, Array]:
    """The numbers of a statistic by the names of their leaves."""
    having = [
        leaf for leaf in tree if is_measurable(leaf) and has_statistic(statistic, leaf)
    ]
    if values.shape[-1] != len(having):
        raise ValueError(
            "latest_stats needs the parameters that the monitored optimizer is for: it has "
            f"seen {values.shape[-1]} arrays, but {len(having)} are given "
            f"({listing(having)})."
        )
    return {leaf.names: values[..., place] for place, leaf in enumerate(having)}
