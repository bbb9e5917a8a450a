"""Decay that is only as strong as it takes to keep the weights within a bound."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number
from jaxreg._dtypes import raise_precision
from jaxreg._scheduling import after
from jaxreg._sharding import MeshAxes, Specs, along, as_specs, part_count, splits_of, total
from jaxreg._tree import Leaf, Params, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights
from jaxreg.transforms._arguments import check_arguments
from jaxreg.transforms._lift import Length, check_params, map_chosen
from jaxreg.transforms._states import ConstrainedState


def constrained_parameter_regularization(
    warmup_steps: Length,
    mask: MaskLike = weights,
    *,
    bound: Scalar = 1.0,
    rate: Scalar = 1.0,
    specs: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Keep each matrix at the norm it has after a warm-up: constrained regularization.

    In place of one decay for all, each leaf gets its own, which an augmented Lagrangian
    finds: none while the norm of the leaf is within its bound, as much as needed otherwise.
    With R(w) = mean(w²) of a leaf, after the optimizer's update u:

        w ← w + u
        κ ← R(w)                                     during the warm-up, and then no more
        λ ← max(0, λ + rate · (R(w) − bound² · κ))   after it
        w ← w / (1 + 2λ)

    Place it *after* a finished optimizer, in the place of weight decay. It does not use
    the learning rate. What is left to choose is the number of warm-up steps: that of the
    schedule's own warm-up, or a few times as many.

    To keep norms below a fixed bound without a multiplier, project: a constraint's
    `proximal` does so, after any optimizer.

    Args:
        warmup_steps: Number of first steps, which learn the bounds and do not decay; with
            0 they come from the parameters that `init` is given.
        mask: Which leaves; by default `weights`.
        bound: The root mean square that a leaf may have, over that after the warm-up.
        rate: How fast a multiplier follows the excess of the mean square.
        specs: Inside `shard_map`, how leaves are split; see `Penalty`. `init` is then to be
            called inside as well.

    Returns:
        A transformation. `update` needs `params`. Its state holds two numbers per leaf.

    Raises:
        TypeError: If a number is none, or the mask cannot choose leaves.
        ValueError: If a concrete number is negative or NaN; when used, if the mask
            chooses nothing or `params` is missing.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1), constrained_parameter_regularization(0))
        >>> w = jnp.array([0.3, -0.4])
        >>> state = optimizer.init(w)
        >>> for _ in range(100):  # the loss pulls it outward
        ...     updates, state = optimizer.update(jnp.array([-0.3, 0.4]), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> bool(0.4 < jnp.linalg.norm(w) < 0.5)
        True

    References:
        Franke, Hefenbrock, Koehler and Hutter, *Improving deep learning optimization
        through constrained parameter regularization* (2024), algorithm 1 with a warm
        start; the division, in the place of w − 2λw, cannot overshoot.
    """
    check_arguments(
        constrained_parameter_regularization, warmup_steps=warmup_steps, mask=mask
    )
    mask, specs = as_mask(mask), as_specs(specs)
    for name, value in {"warmup_steps": warmup_steps, "bound": bound, "rate": rate}.items():
        check_number(name, value)

    def init(params: Params) -> ConstrainedState:
        tree = list(walk(params))
        axes = _axes_of(tree, chosen(mask, tree, params), specs)
        squares = _stacked(
            [
                _mean_square(raise_precision(leaf.value), own)
                for leaf, own in zip(tree, axes, strict=True)
                if own is not None
            ]
        )
        count = jnp.zeros([], jnp.int32)
        return ConstrainedState(count, squares, jnp.zeros_like(squares))

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ConstrainedState]:
        del extra_args
        params = check_params(params, updates)
        tree = list(walk(params))
        rows = itertools.count()
        bounded = [
            None if axes is None else _Bounded(axes, next(rows))
            for axes in _axes_of(tree, chosen(mask, tree, params), specs)
        ]
        is_warm = state.count >= warmup_steps
        squares, multipliers = list(state.squares), list(state.multipliers)

        def decayed(update: Array, w: Array, leaf: _Bounded) -> Array:
            row = leaf.row
            # Reached weights are kept until their mean square is known: one leaf's a time.
            reached = w + after(multipliers[row - 1] if row else None, update)
            square = _mean_square(reached, leaf.axes)
            squares[row] = jnp.where(is_warm, squares[row], square)
            excess = rate * (square - bound**2 * squares[row])
            grown = jnp.maximum(0.0, multipliers[row] + excess)
            multipliers[row] = jnp.where(is_warm, grown, 0.0).astype(square.dtype)
            return reached * (1 / (1 + 2 * multipliers[row])) - w

        updates = map_chosen(decayed, updates, params, tree, bounded)
        count = optax.safe_increment(state.count)
        return updates, ConstrainedState(count, _stacked(squares), _stacked(multipliers))

    return optax.GradientTransformationExtraArgs(init, update)


def _axes_of(
    tree: Sequence[Leaf], is_chosen: Sequence[bool], specs: Specs | None
) -> list[MeshAxes | None]:
    """For each chosen leaf, the mesh axes whose devices have a part of it each."""
    splits = splits_of(specs, tree)
    return [
        along(split) if needed else None
        for needed, split in zip(is_chosen, splits, strict=True)
    ]


class _Bounded(NamedTuple):
    """A chosen leaf: the mesh axes that split it, and its row in the state."""

    axes: MeshAxes
    row: int


def _mean_square(w: Array, axes: MeshAxes) -> Array:
    return total(jnp.mean(jnp.square(w)), axes) / part_count(axes)


def _stacked(numbers: list[Array]) -> Array:
    """Numbers of all chosen leaves, in one array; there are none for no leaves at all."""
    return jnp.stack(numbers) if numbers else jnp.zeros(0)
