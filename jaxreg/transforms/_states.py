"""The states of the transforms, and the rules that all of them follow.

Tools that read states (`optax.tree.get`, `optax.tree.map_params`, checkpoints) work only
if states keep three rules:

* **One `count`.** `optax.tree.get(state, "count")` fails if there are several. The count
  of an optimizer inside stays the only one; a wrapper's own is then called `steps`.
* **Trees like the parameters.** What is kept for each parameter is an array at *every*
  leaf, also where nothing is regularized: a missing leaf would stop `jax.tree.map` over
  the state and the parameters, their shardings, ...
* **No arrays of size 0**, which Orbax does not save.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._tree import Leaf, Params, assembled

# One count.


class Count(NamedTuple):
    """The number of updates made, where no other state counts them.

    Attributes:
        count: An int32 scalar.
    """

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]


class Steps(NamedTuple):
    """The number of updates made, beside the count of the optimizer inside.

    Attributes:
        steps: An int32 scalar.
    """

    steps: Any


Counter = Count | Steps
"""The number of updates made, by the name that no other state has."""


def counter_beside(inner: optax.OptState) -> Counter:
    """A counter at 0 for a state that also holds the state of an optimizer inside."""
    counts = optax.tree_utils.tree_get_all_with_path(inner, "count")
    zero = jnp.zeros([], jnp.int32)
    return Steps(zero) if counts else Count(zero)


def incremented(counter: Any) -> Any:
    """The counter after one more update."""
    return type(counter)(optax.safe_increment(counter[0]))


def renamed_beside(inner: optax.OptState, state: optax.OptState) -> optax.OptState:
    """A new state whose `Count` is called `steps` if the one inside has a `count`."""

    def is_count(node: Any) -> bool:
        return isinstance(node, Count)

    counter = counter_beside(inner)
    return jax.tree.map(
        lambda node: counter if is_count(node) else node, state, is_leaf=is_count
    )


# Trees like the parameters.


def zeros_at(params: Params, tree: Sequence[Leaf], terms: Sequence[Any]) -> Params:
    """Zeros of at least float32 like each chosen parameter; `unused` elsewhere.

    Args:
        params: The parameters.
        tree: `list(walk(params))`.
        terms: For each of `tree`, `None` if it is not chosen.

    Returns:
        A pytree like `params`.
    """
    zeros = [
        unused(leaf) if chosen is None else jnp.zeros_like(raise_precision(leaf.value))
        for leaf, chosen in zip(tree, terms, strict=True)
    ]
    return assembled(tree, params, zeros)


def unused(leaf: Leaf) -> Array:
    """What a state holds for a leaf that it has nothing to say of.

    An array of the leaf's shape, so that the leaf's sharding fits it; of the smallest
    dtype, one byte for each number.
    """
    if hasattr(leaf.value, "shape"):
        return jnp.zeros_like(leaf.value, bool)
    return jnp.zeros([], bool)


# The states.


class ConstrainedState(NamedTuple):
    """State of `constrained_parameter_regularization`.

    Attributes:
        count: Number of updates made.
        squares: The mean square of each chosen leaf after the warm-up, in their order.
        multipliers: The multiplier of the bound of each, likewise.
    """

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]
    squares: Any
    multipliers: Any


class TowardState(NamedTuple):
    """State of a decay toward given values.

    Attributes:
        reference: A copy of them for each chosen leaf.
        inner: The state of the decay itself: a step count if a rate is a schedule.
    """

    reference: Params
    inner: optax.OptState


class ProximalState(NamedTuple):
    """State of `proximal`.

    Attributes:
        inner: A step count if the learning rate is a schedule.
    """

    inner: optax.OptState


class DecoupledL1State(NamedTuple):
    """State of `decoupled_l1`.

    Attributes:
        inner: A step count if the learning rate is a schedule.
    """

    inner: optax.OptState


class ProxState(NamedTuple):
    """State of an optimizer with a proximal step.

    Attributes:
        updates: Number of updates made.
        inner: State of the optimizer's own scaling.
        dual: For a window above 1, what dual averaging remembers.
    """

    updates: Counter
    inner: optax.OptState
    dual: Any


class Dual(NamedTuple):
    """What dual averaging remembers.

    Attributes:
        length: Number of steps with a penalty so far.
        subgradients: A subgradient of the penalty at each chosen parameter.
    """

    length: Any
    subgradients: Any


class TargetSparsityState(NamedTuple):
    """State of `target_sparsity`.

    Attributes:
        updates: Number of updates made.
        log_factor: Logarithm of what the penalty is multiplied by now.
        inner: State of the optimizer.
    """

    updates: Counter
    log_factor: Any
    inner: optax.OptState


class OrthantState(NamedTuple):
    """State of `orthant_wise`.

    Attributes:
        updates: Number of updates made.
        mean: For a window above 1, the mean of the gradients over it.
        inner: State of the optimizer inside.
    """

    updates: Counter
    mean: Any
    inner: optax.OptState


class FixedNormState(NamedTuple):
    """State of `with_fixed_norm`.

    Attributes:
        steps: Number of updates made, if the learning rate is a schedule.
        squares: For all matrices of the chosen leaves, one after the other, the mean square
            of the entries; for spectral norms the square of the first singular value.
        vectors: For spectral norms, the first right singular vectors of these matrices and
            of their updates, likewise.
        inner: State of the optimizer inside.
    """

    steps: Any
    squares: Any
    vectors: Any
    inner: optax.OptState


class SpectralState(NamedTuple):
    """State of a decay or a bound of singular values.

    Attributes:
        vectors: The first right singular vectors of all matrices of the chosen leaves, one
            after the other.
        inner: A step count if a rate is a schedule.
    """

    vectors: Any
    inner: optax.OptState


class SelectiveDecayState(NamedTuple):
    """State of `selective_projection_decay`.

    Attributes:
        steps: Number of updates made, if a strength is a schedule.
        reference: A copy of the values to decay toward, for each chosen leaf.
        inner: State of the optimizer inside.
    """

    steps: Any
    reference: Params
    inner: optax.OptState


class CompensatedState(NamedTuple):
    """State of `with_kahan_compensation`.

    Attributes:
        remainders: For each low-precision parameter, what rounding has left out of it: an
            int16 array of 65,536ths of the spacing of its dtype.
        inner: State of the optimizer inside.
    """

    remainders: Params
    inner: optax.OptState
