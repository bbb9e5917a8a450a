"""What constraints have in common: they are zero in a set, and infinite outside."""

import abc
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import quotient
from jaxreg._checks import Scalar, check_number
from jaxreg._groups import Entries, Groups
from jaxreg._tree import Leaf, Params
from jaxreg.operators.balls import rounding
from jaxreg.penalties._grouped import Grouped, Scale
from jaxreg.penalties.base import Penalty
from jaxreg.penalties.bound import Block
from jaxreg.penalties.fields import static


class Constraint(Penalty):
    """A set C that weights are kept in: R(w) = 0 if w ∈ C, and ∞ if not.

    The prox is the projection on C, whatever the step: the nearest point of C in the
    metric. What is in C is returned as it is, bit by bit. Such a penalty has no strength,
    and its gradient is 0 everywhere: added to a loss it changes nothing but the value; in
    `prox_sgd`, `prox_adam` or `proximal` it keeps the weights in C at every step.
    """

    is_finite: ClassVar[bool] = False

    def array_critical_scale(self, gradient: Array) -> Array:
        """0 if −gradient pulls to nowhere but zero, and else ∞."""
        return jnp.max(_infinite(self.array_prox(-gradient, 1.0, None)), initial=0.0)


class Rounded(Penalty):
    """A penalty with a set that rounding can leave.

    `tolerance` is how far outside still counts as inside, relative to the extent of
    the set. By default it covers what rounding to the dtype of a leaf does to points of C.
    """

    tolerance: float | None = static(default=None, kw_only=True)

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        blocks = super().blocks(tree, params)
        if self.tolerance is not None:
            return blocks
        return [
            Block(
                indices,
                term._with(tolerance=rounding(*(tree[i].value for i in indices))),
            )
            for indices, term in blocks
        ]

    @property
    def slack(self) -> float:
        """The tolerance, which `blocks` gives to what has none of its own."""
        return self.tolerance or 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance is not None:
            check_number(f"{type(self).__name__}.tolerance", self.tolerance)


class RoundedConstraint(Rounded, Constraint):
    """A constraint that rounding can break."""


class GroupConstraint(Constraint, Grouped):
    """A constraint on each group of weights. Limits are multiplied by `scale`."""

    scale: Scale = static(default="none", kw_only=True)

    @abc.abstractmethod
    def inside(self, x: Entries, groups: Groups) -> Array:
        """Whether each group is in its set."""

    @abc.abstractmethod
    def project(self, x: Entries, groups: Groups, metric: Entries | None) -> Entries:
        """The nearest point of the set."""

    def groups_value(self, x: Entries, groups: Groups) -> Array:
        return zero_if(jnp.all(self.inside(x, groups)), groups.dtype)

    def groups_prox(
        self, x: Entries, groups: Groups, step: Scalar, metric: Entries | None
    ) -> Entries:
        return self.project(x, groups, metric)

    def groups_critical_scale(self, gradient: Entries, groups: Groups) -> Array:
        pull = jax.tree.map(jnp.negative, gradient)
        return groups.largest(jax.tree.map(_infinite, self.project(pull, groups, None)))

    def array_critical_scale(self, gradient: Entries) -> Array:
        return Grouped.array_critical_scale(self, gradient)


def zero_if(inside: Array, dtype: Any) -> Array:
    """0 or ∞."""
    return jnp.where(inside, jnp.zeros((), dtype), jnp.inf)


def _infinite(x: Array) -> Array:
    """0 at zeros, NaN at NaN, and else ∞."""
    return quotient(jnp.abs(x), 0.0)
