"""What a penalty is on a pytree: what its users call, sums, and shifted penalties."""

import dataclasses
from typing import Any, NoReturn, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar, check_number, check_numbers, is_real
from jaxreg._prefixes import checked_reference, product, values_at
from jaxreg._sharding import MeshAxes, Split
from jaxreg._tree import Leaf, Params, assembled, leaves_of
from jaxreg.masks.selection import weights
from jaxreg.penalties.bound import Block, disjoint, joined
from jaxreg.penalties.fields import Strength as Strength, part, strength_fields
from jaxreg.penalties.formulas import Formulas

P = TypeVar("P")


class Penalty(Formulas):
    """A regularizer R(w): its value, its proximal operator, its strengths, its mask.

    A penalty is an immutable value. Called on parameters it is a pure function that
    returns a scalar, to add to a loss; `prox` is its proximal operator. It is also a
    pytree whose leaves are its strengths: pass it through `jit` (nothing recompiles when
    a strength changes), `vmap` it over a path of strengths, differentiate with respect
    to them.

    Strengths are non-negative numbers, arrays that broadcast against the leaf, or pytree
    prefixes of the parameters (a strength per layer, per coordinate, ...). At the top of a
    prefix, a key that is no name of the parameters is a pattern for the leaves in whose
    path it is found, and `""` is for all others: `L1({"encoder": 1e-4, "": 1e-3})`.

    **To add a penalty**, subclass `Entrywise` (or `Penalty`, for one that is not a sum
    over entries) and write its formulas about one array; fields are strengths unless
    declared `static`. Masks, pytrees, dtypes and per-leaf strengths are taken care of.

    Args:
        mask: Which leaves are regularized; `jaxreg.weights` unless given. The others
            count for nothing, and `prox` returns them as they are.
        specs: Only inside `shard_map` or `pmap`, where each device sees its own part of a
            leaf: how leaves are split, a pytree prefix of `jax.sharding.PartitionSpec` as
            in `in_specs`. Values, proxes and gradients are then those of the parameters as
            a whole. A leaf without a spec is the same on all devices.

    Raises:
        TypeError: If a strength is not a real number, the mask cannot choose leaves, or a
            spec is none.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> params = {"kernel": jnp.array([2.0, -0.1]), "bias": jnp.array([3.0])}
        >>> penalty = L1(0.5)
        >>> penalty(params)
        Array(1.05, dtype=float32)
        >>> penalty.prox(params)
        {'bias': Array([3.], dtype=float32), 'kernel': Array([1.5, 0. ], dtype=float32)}

        The strengths are leaves, so a whole path of them is one `vmap`:

        >>> path = L1(jnp.array([0.0, 0.5, 1.0]))
        >>> jax.vmap(lambda penalty: penalty(params))(path)
        Array([0.  , 1.05, 2.1 ], dtype=float32)
    """

    # What its users call, on a pytree.

    def __call__(self, params: Params) -> Array:
        """R(params): the sum over the chosen leaves, at least in float32.

        Args:
            params: A pytree of parameters.

        Returns:
            A scalar. Its gradient is finite everywhere.
        """
        return self.bind(params).value()

    def prox(self, params: P, step: Scalar = 1.0, metric: Params | None = None) -> P:
        """The proximal operator, in the Euclidean metric or in a diagonal one.

            argmin_z  step·R(z) + ½·Σ dᵢ(zᵢ − xᵢ)²

        Args:
            params: The point x, a pytree of parameters.
            step: A non-negative scalar. 0 gives `params` back, or what a constraint allows
                that is nearest.
            metric: The weights dᵢ > 0: a scalar, or a pytree with an array for every
                chosen leaf; `None` for ones.

        Returns:
            A pytree of the structure and the dtypes of `params`.

        Raises:
            TypeError: If `step` or `metric` are no real numbers.
            ValueError: If a concrete `step` is negative or NaN, or no scalar; if a
                concrete `metric` is not positive or does not match `params`; if an nnx
                module has a layer at several paths (pass its `nnx.state`).
        """
        check_number("step", step)
        if metric is not None:
            check_numbers("The metric", [x.value for x in leaves_of(metric)], above=0.0)
        return self.unchecked_prox(params, step, metric)

    def unchecked_prox(self, params: P, step: Scalar, metric: Params | None) -> P:
        """`prox` without looking at the numbers: inside a transform NaN gives NaN."""
        bound = self.bind(params)
        return assembled(bound.tree, params, bound.prox(step, metric))

    def init(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say what to do where a penalty was given for an optimizer.

        Optax and Flax call it where they were given a penalty for an optimizer, and
        `optax.inject_hyperparams` where it takes one for a schedule.

        Raises:
            TypeError: Always.
        """
        del args, kwargs
        raise TypeError(
            f"{self!r} is a penalty, not an optimizer. For a proximal optimizer use "
            "jaxreg.prox_adam(learning_rate, penalty) or jaxreg.prox_sgd; for a proximal "
            "step after optax.sgd, jaxreg.proximal(learning_rate, penalty); with any other "
            "optimizer, add it to the loss: loss + penalty(params). (Under "
            "`optax.inject_hyperparams`, name a penalty in `static_args`.)"
        )

    update = init

    def strength_max(self, gradients: Params) -> Array:
        """The smallest strength at which zero is the solution.

        That is, at which w = 0 minimises the penalised loss, given the gradients of the
        (mean, convex) loss at w = 0, or at the reference for `toward`. For a penalty that
        is not convex: at which zero is a local solution. Parameters that are not
        regularized, an intercept say, must be at their own optimum there; those whose
        strength is 0 count as such.

        A penalty whose only strength is a number gets it in the units of that strength,
        whatever its present value. One with several strengths, or an array of them, gets
        the factor c at which `penalty * c` is critical.

        Args:
            gradients: A pytree with the structure of the parameters.

        Returns:
            A scalar; infinity if no strength makes everything zero, as for `L2`.

        Example:
            >>> L1().strength_max({"kernel": jnp.array([0.3, -0.7])})
            Array(0.7, dtype=float32)
        """
        unit = self
        if self.only_strength() is not None:
            unit = self._with(**{strength_fields(self)[0]: 1.0})
        return unit.bind(gradients).critical_scale()

    def only_strength(self) -> Scalar | None:
        """The strength, if there is only one and it is a number; otherwise `None`."""
        strengths = [getattr(self, name) for name in strength_fields(self)]
        is_one = len(strengths) == 1 and is_real(strengths[0])
        return strengths[0] if is_one and np.ndim(strengths[0]) == 0 else None

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed: `penalty.replace(strength=0.1)`.

        Args:
            **changes: New values of fields, checked as in the constructor.

        Returns:
            A penalty of the same kind.

        Raises:
            TypeError: If there is no such field.
        """
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def toward(self, reference: Params) -> "Penalty":
        """The penalty R(w − reference): pulls the weights to given values, not to zero.

        With `L2` this is L2-SP (pretrained values as reference) or decay to the
        initialisation; with `L1` the weights that need not move stay where they were.

        Args:
            reference: A pytree with an array for every chosen leaf.

        Returns:
            A penalty.

        Example:
            >>> L1(0.5).toward({"w": jnp.array([1.0, 1.0])})({"w": jnp.array([3.0, 1.0])})
            Array(1., dtype=float32)

        References:
            Li, Grandvalet and Davoine, *Explicit inductive bias for transfer learning
            with convolutional networks* (2018), section 3.
        """
        return Toward(self, reference)

    def weighted(self, factors: Params) -> Self:
        """Multiply all strengths by factors: one for each layer, coordinate or group.

        glmnet calls these penalty factors. 0 frees a weight, infinity removes it.

        Args:
            factors: A non-negative number, an array that broadcasts against the leaf, or
                a pytree prefix of these.

        Returns:
            A penalty of the same kind.

        Raises:
            TypeError: If a factor is not a real number.
            ValueError: If a concrete factor is negative or NaN, or fits no strength.

        Example:
            >>> free_first = L1(0.5).weighted(jnp.array([0.0, 1.0]))
            >>> free_first.prox(jnp.array([2.0, 2.0]))
            Array([2. , 1.5], dtype=float32)

        References:
            Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
            models via coordinate descent* (2010), section 2.
        """
        check_numbers("The factors", factors)
        return self._scaled(factors)

    def _scaled(self, factors: Params) -> Self:
        scaled = {
            name: product(getattr(self, name), factors) for name in strength_fields(self)
        }
        return self._with(**scaled)

    __array_ufunc__ = None  # NumPy scalars on the left leave `*` to __rmul__

    def __mul__(self, factor: Scalar) -> Self:
        """Scale all strengths by a non-negative number."""
        check_number("A penalty's factor", factor)
        return self._scaled(factor)

    def __rmul__(self, factor: Scalar) -> Self:
        return self * factor

    def __add__(self, other: "Penalty | int") -> "Penalty":
        """The sum. Its prox exists where masks are disjoint, or terms combine.

        On a leaf, `L2` combines with any penalty, and an interval (`NonNegative`, `Box`,
        `LinfBall`) with convex penalties of single entries.
        """
        if type(other) is int and other == 0:  # the start of the built-in sum()
            return self
        if is_real(other):
            raise TypeError(
                "A penalty is a function of the parameters: loss + penalty(params), not "
                "loss + penalty."
            )
        if not isinstance(other, Penalty):
            return NotImplemented
        return Sum((*terms_of(self), *terms_of(other)))

    __radd__ = __add__


def terms_of(penalty: Penalty) -> tuple[Penalty, ...]:
    """The terms of a sum, or the penalty alone."""
    return penalty.terms if isinstance(penalty, Sum) else (penalty,)


def _refuse_own_mask(penalty: Penalty) -> None:
    if penalty.mask != weights or penalty.specs is not None:
        raise TypeError(
            "A combined penalty has no mask or specs of its own: give them to its terms."
        )


class Sum(Penalty):
    """R₁ + R₂ + ...: what `a + b` makes. Each term has its own mask."""

    terms: tuple[Penalty, ...] = part()

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        columns = [term.at_leaves(tree, params) for term in self.terms]
        return [
            _sum_of([term for term in row if term is not None], leaf)
            for leaf, row in zip(tree, zip(*columns, strict=True), strict=True)
        ]

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        return [block for term in self.terms for block in term.blocks(tree, params)]

    def _scaled(self, factors: Params) -> Self:
        return self._with(terms=tuple(term._scaled(factors) for term in self.terms))

    def __post_init__(self) -> None:
        _refuse_own_mask(self)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.terms))

    def array_value(self, x: Array) -> Array:
        return sum((t.array_value(x) for t in self.terms), start=jnp.zeros((), x.dtype))

    def _as_one(self) -> Any:
        return disjoint([Block((0,), term) for term in self.terms])[0].term

    def check_prox(self, *, in_metric: bool) -> None:
        self._as_one().check_prox(in_metric=in_metric)

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return self._as_one().array_prox(x, step, metric)

    def array_critical_scale(self, gradient: Array) -> Array:
        return self._as_one().array_critical_scale(gradient)


def _sum_of(terms: list[Penalty], leaf: Leaf) -> Penalty | None:
    return Sum(tuple(terms)) if len(terms) > 1 else next(iter(terms), None)


class Toward(Penalty):
    """R(w − reference): what `penalty.toward(reference)` makes."""

    penalty: Penalty = part()
    reference: Any = part()

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        terms = self.penalty.at_leaves(tree, params)
        needed = [term is not None for term in terms]
        references = values_at(self.reference, tree, needed, "The reference")
        return [
            term and self._with(penalty=term, reference=reference)
            for term, reference in zip(terms, references, strict=True)
        ]

    def blocks(self, tree: list[Leaf], params: Params) -> list[Block]:
        blocks = self.penalty.blocks(tree, params)
        indices = {i for block in blocks for i in block.indices}
        needed = [i in indices for i in range(len(tree))]
        references = values_at(self.reference, tree, needed, "The reference")
        return [
            Block(
                block.indices,
                self._with(
                    penalty=block.term,
                    reference=joined([references[i] for i in block.indices]),
                ),
            )
            for block in blocks
        ]

    def check_prox(self, *, in_metric: bool) -> None:
        self.penalty.check_prox(in_metric=in_metric)

    def as_square(self) -> tuple[Any, Any] | None:
        return _moved(self.penalty.as_square(), (1,), self.reference)

    def as_interval(self) -> tuple[Any, Any] | None:
        return _moved(self.penalty.as_interval(), (0, 1), self.reference)

    def is_by_entry(self) -> bool:
        return self.penalty.is_by_entry()

    def is_convex_by_entry(self) -> bool:
        return self.penalty.is_convex_by_entry()

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return self.penalty.whole_axes(ndim)

    @property
    def split(self) -> Split | None:
        return self.penalty.split

    def summed_over(self) -> MeshAxes:
        return self.penalty.summed_over()

    def strength_max(self, gradients: Params) -> Array:
        return self.penalty.strength_max(gradients)

    def only_strength(self) -> Scalar | None:
        return self.penalty.only_strength()

    def _scaled(self, factors: Params) -> Self:
        return self._with(penalty=self.penalty._scaled(factors))

    def __post_init__(self) -> None:
        _refuse_own_mask(self)
        reference = checked_reference("The reference", self.reference)
        # A copy: the initial parameters, a common reference, may be donated.
        object.__setattr__(self, "reference", jax.tree.map(jnp.copy, reference))

    def __repr__(self) -> str:
        return f"{self.penalty!r}.toward(...)"

    def array_value(self, x: Any) -> Array:
        return self.penalty.array_value(jax.tree.map(jnp.subtract, x, self.reference))

    def array_prox(self, x: Any, step: Scalar, metric: Any) -> Any:
        apart = jax.tree.map(jnp.subtract, x, self.reference)
        moved = self.penalty.array_prox(apart, step, metric)
        return jax.tree.map(jnp.add, self.reference, moved)

    def array_critical_scale(self, gradient: Array) -> Array:
        return self.penalty.array_critical_scale(gradient)


def _moved(pair: Any, which: tuple[int, ...], by: Any) -> Any:
    """The pair with some of its numbers moved; `None` as it is."""
    return pair and tuple(x + by if i in which else x for i, x in enumerate(pair))


def check_is_penalty(penalty: Any, advice: str = "") -> None:
    """Refuse anything but a penalty; the message ends with the advice."""
    if not isinstance(penalty, Penalty):
        given = repr(penalty)
        if len(given) > 80:  # The parameters, say.
            given = f"a {type(penalty).__name__}"
        raise TypeError(
            "penalty must be a jaxreg penalty such as jaxreg.L1(1e-4), got "
            f"{given}.{advice}"
        )
