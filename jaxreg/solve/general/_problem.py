"""A smooth function plus a penalty, over the arrays of a pytree that can be optimised."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._tree import Params
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import Toward

Values = dict[int, Array]
"""The arrays that are optimised, by their index in the pytree."""

Metric = Mapping[int, Scalar]
"""The weights dᵢ > 0 of the metric, by the index of the array."""


class Problem(NamedTuple):
    """What is minimised: smooth(w) + R(w).

    Attributes:
        smooth: The smooth part, a function of the values.
        penalty: R.
        full: Makes the whole pytree of parameters from the values.
    """

    smooth: Callable[[Values], Array]
    penalty: Penalty
    full: Callable[[Metric], Params]

    def prox(self, values: Values, step: Scalar, metric: Metric) -> Values:
        """argmin_z  step·R(z) + ½·Σ dᵢ(zᵢ − xᵢ)²."""
        moved = self.penalty.unchecked_prox(self.full(values), step, self.full(metric))
        leaves = jax.tree.leaves(moved)
        return {index: leaves[index] for index in values}

    def descend(
        self, values: Values, gradient: Values, step: Scalar, metric: Metric
    ) -> Values:
        """A proximal gradient step: prox(w − step·g/d)."""

        def ahead(w: Array, g: Array, d: Scalar) -> Array:
            return (w - step * g / d).astype(w.dtype)

        return self.prox(jax.tree.map(ahead, values, gradient, metric), step, metric)

    def objective(self, values: Values) -> Array:
        return self.smooth(values) + self.penalty(self.full(values))


def shared_metric(metric: Values, penalty: Penalty, params: Params) -> Values:
    """A metric in which the prox is known: uniform where the penalty needs it to be.

    Args:
        metric: A positive array for each variable.
        penalty: The penalty.
        params: The parameters.

    Returns:
        The metric; scalars, the mean over a leaf, where it must be uniform.
    """
    shared = dict(metric)
    for block in penalty.bind(params).blocks:
        for index in block.indices:
            if not _takes_metric(block.term) and index in metric:
                shared[index] = jnp.mean(metric[index])
    return shared


def _takes_metric(term: Penalty) -> bool:
    return _takes_metric(term.penalty) if isinstance(term, Toward) else term.takes_metric


def dot(a: Any, b: Any) -> Array:
    """The inner product of two pytrees, whatever the sharding of their leaves."""
    parts = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    return sum(jax.tree.leaves(parts), start=jnp.zeros(()))


def largest(tree: Any) -> Array:
    """The largest absolute value in a pytree."""
    each = [jnp.max(jnp.abs(x), initial=0.0) for x in jax.tree.leaves(tree)]
    return jnp.max(jnp.stack(each))


def square(a: Any, metric: Any) -> Array:
    """Σ dᵢ·aᵢ²."""
    return dot(a, jax.tree.map(jnp.multiply, metric, a))


def difference(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.subtract, a, b)


def all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))
