"""Penalties that tie the entries along some axes together."""

import abc
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._groups import groups_of
from jaxreg._tree import Leaf, Params
from jaxreg.penalties._grouped import check_per_group
from jaxreg.penalties.base import Penalty
from jaxreg.penalties.fields import traced_fields


class Coupled(Penalty):
    """A penalty on chains, matrices or vectors that lie side by side in an array.

    It is a sum over the problems in a leaf. A strength is one number for each of them:
    an array of strengths has length 1 along the axes within one, unless the subclass
    names it in `entrywise`.
    """

    entrywise: ClassVar[frozenset[str]] = frozenset()

    @abc.abstractmethod
    def beside(self, ndim: int) -> tuple[int, ...]:
        """The axes that number the problems in an array of `ndim` axes."""

    @abc.abstractmethod
    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        """argmin_z  step·R(z) + ½·Σ dᵢ(zᵢ − xᵢ)²."""

    @abc.abstractmethod
    def joint_critical_scale(self, gradient: Array) -> Array:
        """For each problem, the smallest c for which 0 minimises ⟨gradient, z⟩ + c·R(z)."""

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(ndim) if axis not in self.beside(ndim))

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return _compiled_prox(self, x, step, metric)

    def array_critical_scale(self, gradient: Array) -> Array:
        return _compiled_critical_scale(self, gradient)

    def check_leaf(self, shape: tuple[int, ...]) -> None:
        """Refuse, by a ValueError, a leaf that this penalty does not fit."""

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        terms = super().at_leaves(tree, params)
        for leaf, term in zip(tree, terms, strict=True):
            if term is not None:
                self._check(leaf, term)
        return terms

    def _check(self, leaf: Leaf, term: Penalty) -> None:
        shape = np.shape(leaf.value)
        try:
            self.check_leaf(shape)
            problems = groups_of(leaf.value, self.beside(len(shape)), None)
            for name in traced_fields(self):
                if name not in self.entrywise:
                    check_per_group(name, getattr(term, name), problems)
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__} does not fit {leaf.described} of shape "
                f"{shape}: {error}. Choose other leaves with its mask."
            ) from None


# Compiled as a whole: JAX would otherwise compile loops anew at each call.


@jax.jit
def _compiled_prox(penalty: Coupled, x: Array, step: Scalar, metric: Array | None) -> Array:
    if x.size == 0:
        return x
    return penalty.joint_prox(x, step, metric)


@jax.jit
def _compiled_critical_scale(penalty: Coupled, gradient: Array) -> Array:
    if gradient.size == 0:
        return jnp.zeros((), gradient.dtype)
    return jnp.max(penalty.joint_critical_scale(gradient))
