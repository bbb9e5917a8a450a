"""What the weights do: norms, exact zeros, steps, and how far they are from a solution."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._dtypes import raise_precision
from jaxreg._prefixes import broadcast
from jaxreg._scheduling import after, waits
from jaxreg._sharding import along, as_specs, splits_of, zero_fraction
from jaxreg._tree import Leaf, Names, Params, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, chosen_arrays, weights
from jaxreg.monitoring._sums import Sums
from jaxreg.monitoring.optimality import (
    has_prox,
    residuals,
    strength_ratio,
    without_penalty,
)
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty, terms_of


def weight_stats(
    params: Params,
    mask: MaskLike = weights,
    *,
    updates: Params | None = None,
    gradients: Params | None = None,
    penalty: Penalty | None = None,
    loss: Scalar | None = None,
    in_loss: bool = False,
    specs: Any = None,
) -> dict[str, Array]:
    """Statistics of the weights, per leaf and in total: norms, zeros, steps, optimality.

    For each leaf, and under `total` for all of them together:

        mean_abs        mean |w|
        max_abs         max |w|
        norm            √(Σ w²)
        zero_fraction   fraction of entries that are exactly zero
        zero_units      fraction of units (indices of the last axis) with zeros only
        zero_features   fraction of inputs (indices of the axis before it) with zeros only
        update_ratio    √(Σ u²) / √(Σ w²), with the updates u
        gradient_norm   √(Σ g²), with the gradients g
        kkt_residual    max |w − prox(w − g)|, with the gradients and the penalty

    Units and features are those of kernels with inputs before outputs, as in Flax and
    Haiku; arrays with fewer than two axes have none. The KKT residual is 0 exactly where
    `loss + penalty` is stationary (for a penalty that is not convex: where a proximal
    step of length 1 stays), and small near it: unlike the shortest subgradient, which
    jumps when a weight leaves zero, it is continuous.

    In total only:

        penalty          the penalty; and penalty/L1, ... of each term of a sum
        loss             the loss, without the penalty
        penalty_fraction penalty / (loss + penalty); likewise of each term
        strength_ratio   strength / strength_max(g). With the gradients at zero weights
                         this is λ/λ_max; at a solution of the lasso, it is 1

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.
        updates: What the optimizer adds to the parameters, for `update_ratio`.
        gradients: Those of the loss at the parameters, for what needs them.
        penalty: The penalty, for what needs it. Without a prox there is no
            `kkt_residual` and no `strength_ratio`.
        loss: The mean loss at the parameters, for `loss` and `penalty_fraction`.
        in_loss: Whether `gradients` and `loss` are those of `loss + penalty`: the
            penalty's part is then taken out of them first.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`.

    Returns:
        A flat dict from `path/statistic` to a scalar of at least float32, ready for
        TensorBoard and the like. It may be computed inside `jit`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the mask chooses nothing, a leaf is called `total`, updates or
            gradients do not match the parameters, or `in_loss` has no penalty.

    Example:
        >>> stats = weight_stats({"kernel": jnp.array([3.0, 0.0, -4.0, 0.0])})
        >>> {name: float(value) for name, value in stats.items() if "kernel" in name}
        {'kernel/mean_abs': 1.75, 'kernel/max_abs': 4.0, 'kernel/norm': 5.0,
         'kernel/zero_fraction': 0.5}

        At the solution of a lasso, the residual is 0:

        >>> w = jnp.array([2.0, 0.0])
        >>> stats = weight_stats(w, gradients=jnp.array([-0.5, 0.3]), penalty=L1(0.5))
        >>> [float(stats[f"total/{name}"]) for name in ("kkt_residual", "penalty")]
        [0.0, 1.0]
    """
    given = Given(updates, gradients, penalty, loss, in_loss)
    return measure(params, mask, given, specs).flat()


def sparsity(params: Params, mask: MaskLike = weights, *, specs: Any = None) -> Array:
    """The fraction of weights that are exactly zero.

    Args:
        params: A pytree of parameters.
        mask: Which leaves to look at; by default `weights`.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`.

    Returns:
        A float32 scalar between 0 and 1. It may be computed inside `jit`.

    Raises:
        ValueError: If the mask chooses nothing.

    Example:
        >>> params = {"kernel": jnp.array([3.0, 0.0, -4.0, 0.0]), "bias": jnp.zeros(4)}
        >>> sparsity(params)
        Array(0.5, dtype=float32)
    """
    tree = list(walk(params))
    splits = splits_of(as_specs(specs), tree)
    split = {leaf.names: along(own) for leaf, own in zip(tree, splits, strict=True)}
    arrays = chosen_arrays(params, mask)
    return zero_fraction([(x, split[names]) for names, x in arrays.items()])


class Given(NamedTuple):
    """What statistics can be made of beside the parameters: see `weight_stats`."""

    updates: Params | None = None
    gradients: Params | None = None
    penalty: Penalty | None = None
    loss: Scalar | None = None
    in_loss: bool = False


class Measured(NamedTuple):
    """Statistics of leaves, and of all together.

    Attributes:
        leaves: Scalars by statistic and by leaf.
        total: Scalars by statistic, for those that leaves have too.
        costs: Scalars by name: what the loss and the penalty amount to.
    """

    leaves: Mapping[str, Mapping[Names, Array]]
    total: Mapping[str, Array]
    costs: Mapping[str, Array]

    def flat(self) -> dict[str, Array]:
        """All of them by `path/statistic`, leaf by leaf, the total last."""
        names = dict.fromkeys(key for column in self.leaves.values() for key in column)
        if ("total",) in names:
            raise ValueError("A leaf must not be called 'total': that is for all of them.")
        each = {
            "/".join((*leaf, statistic)): column[leaf]
            for leaf in names
            for statistic, column in self.leaves.items()
            if leaf in column
        }
        total = {**self.total, **self.costs}
        return each | {f"total/{name}": value for name, value in total.items()}


def measure(
    params: Params,
    mask: MaskLike,
    given: Given,
    specs: Any = None,
    *,
    each: bool = False,
) -> Measured:
    """The statistics of `weight_stats`, by leaf and by name.

    Args:
        params: A pytree of parameters.
        mask: Which leaves the total is of.
        given: What statistics can be made of.
        specs: Inside `shard_map`, how leaves are split.
        each: Whether to look at every real parameter, not only at those of the mask.

    Returns:
        The statistics. Which there are depends on what is given, not on the leaves.
    """
    tree = list(walk(params))
    counted = chosen(as_mask(mask), tree, params)
    every = [is_measurable(leaf) for leaf in tree]
    splits = splits_of(as_specs(specs), tree)
    updates = _beside(tree, every, given.updates, "The updates")
    gradients = _beside(tree, every, given.gradients, "The gradients")
    penalty = given.penalty
    if given.in_loss and penalty is not None and gradients is not None:
        gradients = without_penalty(penalty.bind(params), gradients)

    def at(column: list[Any] | None, index: int) -> Any:
        return None if column is None else column[index]

    sums: dict[int, Sums] = {}
    done: Array | None = None
    for index, is_chosen in enumerate(every if each else counted):
        if is_chosen:
            value = tree[index].value
            own = at(updates, index), at(gradients, index)
            sums[index] = Sums.of(value, *own, split=splits[index], done=done)
            done = sums[index].done if waits(value) else done
    empty = jnp.zeros((0, 0))
    none = Sums.of(
        empty,
        None if updates is None else empty,
        None if gradients is None else empty,
    )

    costs = _costs(after(done, params), given)
    bound = None if penalty is None or gradients is None else penalty.bind(params)
    if bound is not None and has_prox(bound):
        done = costs["penalty"]
        ratio = strength_ratio(bound, after(done, gradients))
        costs["strength_ratio"] = ratio
        gaps = residuals(bound, after(ratio, gradients))
        none = none.with_residual(empty)
        for index, part in sums.items():
            sums[index] = part.with_residual(gaps[index], splits[index], done)
            done = sums[index].done if waits(gaps[index]) else done
    total = Sums.merged([none, *(part for index, part in sums.items() if counted[index])])
    columns: dict[str, dict[Names, Array]] = {name: {} for name in none.statistics()}
    for index, part in sums.items():
        for statistic, value in part.statistics().items():
            columns[statistic][tree[index].names] = value
    return Measured(columns, total.statistics(), costs)


def is_measurable(leaf: Leaf) -> bool:
    """Whether a leaf is a real parameter."""
    return leaf.is_parameter and jnp.issubdtype(leaf.value.dtype, jnp.floating)


def is_matrix(leaf: Leaf) -> bool:
    """Whether a leaf is a real parameter with units and features."""
    return is_measurable(leaf) and len(leaf.value.shape) >= 2


def _beside(
    tree: Sequence[Leaf], needed: Sequence[bool], values: Params | None, what: str
) -> list[Any] | None:
    """What belongs to each parameter in another pytree; zeros where that is missing."""
    if values is None:
        return None
    entries = {leaf.names: None if leaf.is_missing else leaf.value for leaf in walk(values)}
    found = broadcast(entries, tree, what, needed)
    for leaf, is_chosen, value in zip(tree, needed, found, strict=True):
        if is_chosen and value is not None and value.shape != leaf.value.shape:
            raise ValueError(
                f"{what} must have the shapes of the parameters, but at {leaf.quoted} they "
                f"are {value.shape} and {leaf.value.shape}."
            )
    return [
        (jnp.zeros_like(leaf.value) if value is None else value) if is_chosen else None
        for leaf, is_chosen, value in zip(tree, needed, found, strict=True)
    ]


def _costs(params: Params, given: Given) -> dict[str, Array]:
    """The loss; the penalty and each term, alone and as fractions of the objective."""
    if given.penalty is None:
        if given.in_loss:
            raise ValueError("in_loss needs the penalty that is in the loss: penalty=...")
        return {} if given.loss is None else {"loss": raise_precision(given.loss)}
    check_is_penalty(given.penalty)
    terms = terms_of(given.penalty)
    values = [term(params) for term in terms]
    whole = sum(values[1:], start=values[0])
    costs = {"penalty": whole}
    if len(terms) > 1:
        named = zip(_names(terms), values, strict=True)
        costs |= {f"penalty/{name}": value for name, value in named}
    if given.loss is None:
        return costs
    loss = raise_precision(given.loss)
    objective = loss if given.in_loss else loss + whole
    fractions = {
        name.replace("penalty", "penalty_fraction", 1): value / objective
        for name, value in costs.items()
    }
    return {"loss": objective - whole if given.in_loss else loss} | costs | fractions


def _names(terms: Sequence[Penalty]) -> list[str]:
    """A name for each term: its class, with a number where there are several of it."""
    kinds = [type(getattr(term, "penalty", term)).__name__ for term in terms]
    return [
        kind if kinds.count(kind) == 1 else f"{kind}_{kinds[:index].count(kind)}"
        for index, kind in enumerate(kinds)
    ]
