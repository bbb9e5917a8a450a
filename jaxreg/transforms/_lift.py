"""How a formula about one array becomes an Optax transformation.

Every rule that all transforms share lives here, once: parameters are required, masks are
resolved from the parameters, missing leaves are skipped, rates may be schedules,
mathematics is done in at least float32, and an update is returned in the promoted dtype
of parameter and update, so that the exact zeros of a prox survive `optax.apply_updates`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number, check_numbers, is_function
from jaxreg._dtypes import promoted, raise_precision
from jaxreg._scheduling import after
from jaxreg._tree import Leaf, Params, assembled, check_distinct, values_beside, walk
from jaxreg.penalties import Penalty
from jaxreg.penalties.bound import BoundPenalty
from jaxreg.transforms._fit import check_fit
from jaxreg.transforms._states import Count, incremented

Rate = Scalar | Callable[[Array], Any]
"""A number, a tracer of one, or an Optax schedule: a function of the step count."""

Rates = Rate | Any
"""A rate, or a pytree prefix of the parameters with a number for every leaf."""

Length = int | Array
"""A number of steps."""


def transformation(
    rule: Callable[..., Params], check: Callable[[Params], Any], **rates: Rate
) -> optax.GradientTransformationExtraArgs:
    """An Optax transformation from a stateless rule and its rates.

    Schedules among the rates are evaluated at the number of updates made before, as
    Optax does; only then is there a step count in the state.

    Args:
        rule: Called as `rule(updates, params, *values_of_rates)`.
        check: Called with the parameters by `init`, to refuse bad ones early.
        **rates: Numbers, arrays, pytrees of them, or schedules, by argument name.

    Returns:
        A transformation that needs `params` in `update`.
    """
    for name, rate in rates.items():
        check_rate(name, rate, scalar=name == "learning_rate")
    scheduled = any(
        is_schedule(rate, scalar=name == "learning_rate") for name, rate in rates.items()
    )

    def init(params: Params) -> optax.OptState:
        check(params)
        return Count(jnp.zeros([], jnp.int32)) if scheduled else optax.EmptyState()

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, Any]:
        del extra_args
        params = check_params(params, updates)
        if not scheduled:
            return rule(updates, params, *rates.values()), state
        values = [
            rate_at(name, rate, state[0], scalar=name == "learning_rate")
            for name, rate in rates.items()
        ]
        return rule(updates, params, *values), incremented(state)

    return optax.GradientTransformationExtraArgs(init, update)


def is_schedule(rate: Any, *, scalar: bool = True) -> TypeGuard[Callable[[Any], Any]]:
    """Whether a rate is a function of the step count.

    Where a pytree of numbers would do too, a callable module of numbers is that.
    """
    return callable(rate) if scalar else is_function(rate)


def check_rate(name: str, rate: Any, *, scalar: bool = True) -> None:
    """Refuse what is neither a number (or a pytree of them) nor a schedule."""
    if isinstance(rate, Penalty):
        raise TypeError(f"{name} must be a real number or a schedule, got {rate!r}.")
    if not is_schedule(rate, scalar=scalar):
        (check_number if scalar else check_numbers)(name, rate)


def rate_at(name: str, rate: Rate, count: Array, *, scalar: bool = True) -> Any:
    """The value of a number or a schedule after `count` updates."""
    if not is_schedule(rate, scalar=scalar):
        return rate  # Checked when the transformation was made.
    value = rate(count)
    check_rate(name, value, scalar=scalar)
    return value


def check_params(params: Params | None, updates: Params) -> Params:
    """Refuse an update without parameters, in Optax's words, or one that does not fit."""
    if params is None:
        raise ValueError(
            "You are using a transformation that requires the current value of "
            "parameters, but you are not passing `params` when calling `update`: call "
            "`update(updates, state, params)`."
        )
    check_fit(updates, params)
    return params


def where_updated(updates: Params, values: Params) -> Params:
    """A pytree like the parameters, with `None` where the update is `None`.

    A frozen leaf, one without an update, is for every penalty as if it had been filtered
    out of the parameters: it is in no group, budget or norm with others.
    """
    leaves = jax.tree.leaves(updates, is_leaf=lambda update: update is None)
    if all(update is not None for update in leaves):
        return values
    check_distinct(list(walk(values)))  # The new tree has copies, and so hides them.
    return jax.tree.map(
        lambda update, value: None if update is None else value,
        updates,
        values,
        is_leaf=lambda update: update is None,
    )


class Slot(NamedTuple):
    """A parameter, its update, and what a transform needs to know to change it.

    Attributes:
        leaf: The parameter.
        update: The update so far.
        term: What the transform needs to know of the leaf (its penalty, strength or metric;
            `True` for nothing more); `None` if its update must stay as it is.
    """

    leaf: Leaf
    update: Any
    term: Any

    @property
    def reached(self) -> Array:
        """The parameter with its update."""
        return raise_precision(self.leaf.value) + raise_precision(self.update)

    def finish(self, update: Array) -> Array:
        """A new update, in a dtype in which −param is exact: exact zeros survive."""
        return update.astype(promoted(self.leaf.value.dtype, self.update.dtype))


def slots_of(
    updates: Params, params: Params, tree: Sequence[Leaf], terms: Sequence[Any]
) -> list[Slot]:
    """Parameters and updates side by side.

    Args:
        updates: The updates so far; `None` where there is nothing to update.
        params: The parameters.
        tree: `list(walk(params))`.
        terms: For each of `tree`, what to remember of it; `None` if it is not chosen.

    Returns:
        A slot for each of `tree`.
    """
    check_distinct(tree)
    slots: list[Slot] = []
    beside = values_beside(tree, params, updates)
    for leaf, term, update in zip(tree, terms, beside, strict=True):
        is_array = hasattr(update, "dtype") and jnp.issubdtype(update.dtype, jnp.inexact)
        slots.append(Slot(leaf, update, term if is_array else None))
    return slots


def map_chosen(
    function: Callable[[Array, Array, Any], Array],
    updates: Params,
    params: Params,
    tree: Sequence[Leaf],
    terms: Sequence[Any],
) -> Params:
    """Replace the update of each chosen parameter by `function(update, param, term)`.

    The function works in at least float32. Updates that are not chosen stay the same
    objects. For the arguments see `slots_of`.
    """
    moved = [
        update
        if term is None
        else slot.finish(
            function(raise_precision(update), raise_precision(leaf.value), term)
        )
        for slot in slots_of(updates, params, tree, terms)
        for leaf, update, term in [slot]
    ]
    return assembled(tree, params, moved)


UpdatesAt = Callable[[Sequence[int], Array | None], dict[int, tuple[Any, Any]]]
"""The update and the metric of some leaves by their indices, computed after a number."""


def prox_update(
    bound: BoundPenalty, updates: Params, step: Scalar, metric: Params | None = None
) -> Params:
    """The update that takes the parameters to prox(params + updates).

    Args:
        bound: The penalty at the parameters.
        updates: The updates so far.
        step: The proximal step.
        metric: A pytree with an array for every chosen leaf of the parameters, or `None`.

    Returns:
        prox(params + updates) − params where the penalty applies, `updates` elsewhere.
    """
    check_distinct(bound.tree)
    beside = values_beside(bound.tree, bound.params, updates)
    metrics = bound.metrics(1.0 if metric is None else metric)
    pairs = list(zip(beside, metrics, strict=True))
    return prox_update_in_turn(
        bound, step, lambda indices, done: {i: after(done, pairs[i]) for i in indices}
    )


def prox_update_in_turn(bound: BoundPenalty, step: Scalar, updates_at: UpdatesAt) -> Params:
    """As `prox_update`, for updates that are computed for some leaves after others."""
    tree = bound.tree
    slots: dict[int, Slot] = {}

    def start(indices: Sequence[int], done: Array | None) -> dict[int, tuple[Any, Any]]:
        found = updates_at(indices, done)
        slots.update({i: Slot(tree[i], update, True) for i, (update, _) in found.items()})
        return {i: (slots[i].reached, metric) for i, (_, metric) in found.items()}

    landed = bound.prox_in_turn(step, start)
    others = updates_at([i for i in range(len(tree)) if i not in landed], None)
    moved = [
        slots[i].finish(landed[i] - raise_precision(leaf.value))
        if i in landed
        else others[i][0]
        for i, leaf in enumerate(tree)
    ]
    return assembled(tree, bound.params, moved)


def is_number(value: Any, number: float) -> bool:
    """Whether `value` is this Python number: known to be, before tracing."""
    return isinstance(value, float | int) and value == number
