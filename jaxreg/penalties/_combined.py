"""The prox of a sum whose terms meet on the same leaf, where it is known exactly.

Two kinds of term combine with others, in every diagonal metric d:

- *Squares*, λ·Σ(w − r)². With the proximal term they are one square again, so

      step·R(z) + step·λ·Σ(z − r)² + ½·Σ d·(z − x)²  =  step·R(z) + ½·Σ d'·(z − x')² + const

  where d' = d + 2·step·λ and d'·x' = d·x + 2·step·λ·r: the prox of R at another point,
  in another metric, whatever R is.
- *Intervals*, low ≤ w ≤ high. A convex function of one number falls up to its minimiser
  and rises from there, so that its minimiser in an interval is the nearest point of the
  interval. For a sum of convex functions of single entries the prox is thus clipped.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import times
from jaxreg._checks import Scalar, is_concrete
from jaxreg._sharding import MeshAxes
from jaxreg.penalties.fields import strength_fields

Square = tuple[Any, Any]
"""The strength λ and the reference r of λ·Σ(w − r)²."""

Interval = tuple[Any, Any]
"""The least and the greatest value of an entry."""


class Combined(NamedTuple):
    """The sum of the terms of some blocks, as far as a prox is concerned.

    Attributes:
        rest: The one term that is neither squares nor an interval, or `None`.
        squares: For each leaf, the squares on it.
        intervals: For each leaf, the intervals on it.
        axes: The mesh axes over whose devices the terms are split.
    """

    rest: Any
    squares: tuple[tuple[Square, ...], ...]
    intervals: tuple[tuple[Interval, ...], ...]
    axes: MeshAxes

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        """As that of a penalty."""
        return () if self.rest is None else self.rest.whole_axes(ndim)

    def summed_over(self) -> MeshAxes:
        """As that of a penalty."""
        return self.axes

    def is_by_entry(self) -> bool:
        """As that of a penalty."""
        return self.rest is None or self.rest.is_by_entry()

    def check_prox(self, *, in_metric: bool) -> None:
        """As that of a penalty: squares whose strengths differ make a metric."""
        if self.rest is not None:
            self.rest.check_prox(in_metric=in_metric or not self._is_uniform())

    def array_prox(self, x: Any, step: Scalar, metric: Any) -> Any:
        """As that of a penalty."""
        arrays, structure = jax.tree.flatten(x)
        weights = [1.0] * len(arrays) if metric is None else jax.tree.leaves(metric)
        moved = [
            _with_squares(*leaf, step)
            for leaf in zip(arrays, weights, self.squares, strict=True)
        ]
        points, weights = (structure.unflatten(part) for part in zip(*moved, strict=True))
        if self.rest is not None:
            if metric is None and self._is_uniform():
                step, weights = step / jax.tree.leaves(weights)[0], None
            points = self.rest.array_prox(points, step, weights)
        clipped = map(_clipped, jax.tree.leaves(points), self.intervals)
        return structure.unflatten(clipped)

    def array_critical_scale(self, gradient: Any) -> Array:
        """As that of a penalty. Squares hold nothing at zero, where they are flat."""
        self._check_centred()
        arrays, structure = jax.tree.flatten(gradient)
        pulls = [_inward(g, own) for g, own in zip(arrays, self.intervals, strict=True)]
        is_unpenalised: Any = True if self.rest is None else _is_unpenalised(self.rest)
        scales = [
            jnp.max(self._unheld(i, pull, is_unpenalised), initial=0.0)
            for i, pull in enumerate(pulls)
        ]
        if self.rest is not None:
            scales.append(self.rest.array_critical_scale(structure.unflatten(pulls)))
        return functools.reduce(jnp.maximum, scales)

    def _unheld(self, index: int, pull: Array, is_unpenalised: Any) -> Array:
        """∞ where an entry is pulled off zero, and no strength can hold it there."""
        is_penalised = functools.reduce(
            jnp.logical_or,
            (strength > 0 for strength, _ in self.squares[index]),
            self.rest is None and bool(self.intervals[index]),
        )
        is_lost = (is_unpenalised & is_penalised & (pull != 0)) | jnp.isinf(pull)
        return jnp.where(is_lost, jnp.inf, 0.0)

    def _check_centred(self) -> None:
        """Refuse references: zero is not where the terms of such a sum are least."""
        references = [reference for own in self.squares for _, reference in own]
        if hasattr(self.rest, "reference") or any(
            np.ndim(r) or not is_concrete(r) or r for r in references
        ):
            raise ValueError(
                "strength_max must be of terms that pull to zero where several meet on a "
                "leaf, got one toward a reference: there is no strength in common at which "
                "a known point is the solution."
            )

    def _is_uniform(self) -> bool:
        """Whether squares leave a uniform metric uniform."""
        strengths = [strength for own in self.squares for strength, _ in own]
        return not strengths or (
            len(self.squares) == 1 and all(np.ndim(strength) == 0 for strength in strengths)
        )


def combined(blocks: Sequence[Any]) -> Combined | None:
    """The sum of the terms of blocks that meet on a leaf; `None` if its prox is unknown.

    The first block must cover the leaves of all others.
    """
    indices = blocks[0].indices
    squares: dict[int, list[Square]] = {i: [] for i in indices}
    intervals: dict[int, list[Interval]] = {i: [] for i in indices}
    others = []
    for block in blocks:
        if (square := block.term.as_square()) is not None:
            squares[block.indices[0]].append(square)
        elif (interval := block.term.as_interval()) is not None:
            intervals[block.indices[0]].append(interval)
        else:
            others.append(block.term)
    if len(others) > 1:
        return None
    rest = others[0] if others else None
    if rest is not None and any(intervals.values()) and not rest.is_convex_by_entry():
        return None
    axes = sorted({name for block in blocks for name in block.term.summed_over()})
    return Combined(
        rest,
        tuple(tuple(squares[i]) for i in indices),
        tuple(tuple(intervals[i]) for i in indices),
        tuple(axes),
    )


def _with_squares(
    x: Array, weight: Any, squares: tuple[Square, ...], step: Scalar
) -> tuple[Array, Any]:
    """The point and the metric that squares make of a point and a metric."""
    for strength, reference in squares:
        pull = 2 * times(strength, step)
        x = reference + (x - reference) / (1 + pull / weight)
        weight = weight + pull
    return x, weight


def _bounds(intervals: tuple[Interval, ...]) -> Interval:
    """The intersection of intervals.

    Raises:
        ValueError: If it is known to be empty.
    """
    lows, highs = zip(*intervals, strict=True)
    if all(map(is_concrete, (*lows, *highs))):
        low, high = functools.reduce(np.maximum, lows), functools.reduce(np.minimum, highs)
        if np.any(low > high):
            raise ValueError(
                "Intervals on the same leaf must have points in common, got from "
                f"{' and '.join(map(str, lows))} to {' and '.join(map(str, highs))}."
            )
    return functools.reduce(jnp.maximum, lows), functools.reduce(jnp.minimum, highs)


def _clipped(x: Array, intervals: tuple[Interval, ...]) -> Array:
    return jnp.clip(x, *_bounds(intervals)) if intervals else x


def _inward(gradient: Array, intervals: tuple[Interval, ...]) -> Array:
    """The gradient, without what pulls zero out of its interval; ∞ if zero is not in it."""
    if not intervals:
        return gradient
    low, high = _bounds(intervals)
    gradient = jnp.where(low == 0, jnp.minimum(gradient, 0.0), gradient)
    gradient = jnp.where(high == 0, jnp.maximum(gradient, 0.0), gradient)
    return jnp.where((low > 0) | (high < 0), jnp.inf, gradient)


def _is_unpenalised(term: Any) -> Any:
    """Where all strengths of a term are zero."""
    strengths = [jnp.asarray(getattr(term, name)) for name in strength_fields(term)]
    return functools.reduce(jnp.add, strengths) == 0 if strengths else False
