"""The scaling of an adaptive optimizer, applied to some leaves at a time.

All that Optax scales entry by entry has states of trees like the parameters, beside a
count. So a few leaves, with their part of the state, are scaled as all of them are, and
what their step needs for a moment is gone before the next ones begin.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import compute_dtype, is_tiny, raise_precision
from jaxreg._scheduling import after
from jaxreg._tree import Leaf, Params, assembled, values_beside, walk
from jaxreg.transforms._lift import where_updated

Directions = dict[int, tuple[Any, Any]]
"""The direction m/d of leaves, by their indices, and d; `None` for frozen leaves."""


@dataclasses.dataclass
class Scaled:
    """Gradients that are scaled, leaf by leaf or all at once, when they are asked for.

    Attributes:
        metric_of: From the new state to the scales d.
        scaling: The transformation, from gradients to directions m/d.
        gradients: The gradients; `None` for frozen leaves.
        state: The state of the scaling; in the end, the new one.
        params: The parameters.
        extra_args: What else its `update` is given.
        needs_scale: Whether the d of each leaf is of use.
    """

    metric_of: Callable[[Any], Any]
    scaling: optax.GradientTransformationExtraArgs
    gradients: Params
    state: Any
    params: Params
    extra_args: dict[str, Any]
    needs_scale: Sequence[bool]

    def __post_init__(self) -> None:
        self.tree: list[Leaf] = list(walk(self.params))

    def at(self, indices: Sequence[int], done: Array | None) -> Directions:
        """The directions and scales of some leaves, computed after a number is known."""
        raise NotImplementedError

    def new_state(self) -> Any:
        """The state of the scaling, once all leaves were asked for."""
        raise NotImplementedError


class AllAtOnce(Scaled):
    """Of any transformation. `metric_of` gives a list, with an entry for each leaf."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.gradients, self.state, self.params, self.extra_args
        directions, self.state = _update(self.scaling, *given)
        self._pairs = list(
            zip(
                values_beside(self.tree, self.params, directions),
                self.metric_of(self.state),
                strict=True,
            )
        )

    def at(self, indices: Sequence[int], done: Array | None) -> Directions:
        return {i: after(done, self._pairs[i]) for i in indices}

    def new_state(self) -> Any:
        return self.state


class LeafByLeaf(Scaled):
    """Of a transformation that works entry by entry."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._gradients = values_beside(self.tree, self.params, self.gradients)
        self._parts = {
            name: values_beside(self.tree, self.params, part)
            for name, part in self.state._asdict().items()
            if name != "count"
        }
        self._last = self.state  # Its count, if it has one, is the new one.

    def at(self, indices: Sequence[int], done: Array | None) -> Directions:
        own = [i for i in indices if not self.tree[i].is_missing]
        parts = {name: [part[i] for i in own] for name, part in self._parts.items()}
        gradients = [after(done, self._gradients[i]) for i in own]
        params = [self.tree[i].value for i in own]
        state = self.state._replace(**parts)
        directions, new = _update(self.scaling, gradients, state, params, self.extra_args)
        for name, part in self._parts.items():
            for i, value in zip(own, getattr(new, name), strict=True):
                part[i] = value
        self._last = new
        scales = self.metric_of(new._replace(**self._needed(new, own)))
        if not isinstance(scales, list):
            scales = [scales] * len(own)
        found = zip(own, directions, map(_fitted, scales, params), strict=True)
        nothing: Directions = dict.fromkeys(indices, (None, None))
        return nothing | {i: (direction, scale) for i, direction, scale in found}

    def _needed(self, new: Any, own: Sequence[int]) -> dict[str, list[Any]]:
        """The parts of a new state where scales are of use."""
        unused = optax.MaskedNode()
        return {
            name: [
                x if self.needs_scale[i] else unused
                for i, x in zip(own, getattr(new, name), strict=True)
            ]
            for name in self._parts
        }

    def new_state(self) -> Any:
        parts = {
            name: assembled(self.tree, self.params, part)
            for name, part in self._parts.items()
        }
        return self._last._replace(**parts)


def _fitted(scale: Any, leaf: Any) -> Any:
    """A scale in the dtype in which formulas about a leaf compute."""
    is_array = isinstance(scale, Array)
    return scale.astype(compute_dtype(leaf.dtype)) if is_array else scale


def _update(
    scaling: optax.GradientTransformationExtraArgs,
    gradients: Params,
    state: Any,
    params: Params,
    extra_args: dict[str, Any],
) -> tuple[Params, Any]:
    """The directions, with `None` for frozen leaves, and the new state."""
    wide = jax.tree.map(as_scaled, params)
    filled = jax.tree.map(_filled, gradients, params, is_leaf=lambda x: x is None)
    # Optax multiplies floats and counts, which JAX's strict mode forbids.
    with jax.numpy_dtype_promotion("standard"):
        directions, new = scaling.update(filled, state, wide, **extra_args)
    # Moments keep their dtype, also under injected numbers of more digits.
    return where_updated(gradients, directions), jax.tree.map(_like, new, state)


def as_scaled(x: Any) -> Any:
    """Float8 as float32: moments and 1e-8 are beyond its range."""
    return raise_precision(x) if is_tiny(x) else x


def _filled(gradient: Any, leaf: Any) -> Any:
    """A gradient as scalings take it: 0 for a frozen leaf, since most fail without."""
    is_frozen = gradient is None and Leaf((), leaf).is_parameter
    return as_scaled(jnp.zeros_like(leaf) if is_frozen else gradient)


def _like(new: Any, old: Any) -> Any:
    """A part of a state, in the dtype that it had if it was an array."""
    has_other = hasattr(old, "dtype") and new.dtype != old.dtype
    return new.astype(old.dtype) if has_other else new
