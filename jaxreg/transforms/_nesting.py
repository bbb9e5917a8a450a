"""Which transforms may stand around which, found out from the states inside.

A wrapper sees the state of the optimizer inside when `init` makes it, and by the types in
it what the optimizer is made of. What would be wrong inside is refused, with the right
order. What has no state of its own (scaling, clipping) cannot be seen, nor can a link of
a chain see the others.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax

from jaxreg._checks import is_concrete
from jaxreg._prefixes import nested
from jaxreg._tree import Leaf
from jaxreg.monitoring.record import MonitorState
from jaxreg.transforms._injected import check_injected
from jaxreg.transforms._states import (
    CompensatedState,
    DecoupledL1State,
    FixedNormState,
    OrthantState,
    ProximalState,
    ProxState,
    SelectiveDecayState,
    TargetSparsityState,
)

Refused = Mapping[type, str]
"""Types of states that must not be inside a wrapper, and why, with what to do."""

_DECAY_AFTER_ZEROS = "decay after a step that makes exact zeros moves weights off them"
_OF_A_PENALTY = (ProxState, TargetSparsityState, ProximalState, DecoupledL1State)
_TWO_PENALTIES = "both make exact zeros, and their penalties would add up"

# Optax's own optimizers that keep parameters of their own: where the last step ended is
# not where they go on from, so what is done to the weights after it is undone.


def _of_contrib(name: str) -> type:
    """A type of state that some versions of Optax do not have."""
    return getattr(optax.contrib, name, type(name, (), {}))


_SCHEDULE_FREE = _of_contrib("ScheduleFreeState")
_COCOB = _of_contrib("COCOBState")
_MADGRAD = _of_contrib("MadgradState")

INSIDE_DECAY: Refused = {
    _SCHEDULE_FREE: (
        "the weights that are returned in the end are others, and would not decay. Use "
        "optax.contrib.schedule_free(with_decay(optimizer, ...), learning_rate)."
    ),
    **dict.fromkeys(
        (_COCOB, _MADGRAD),
        "it makes its steps from where it started, and so undoes the decay. Use "
        "optax.chain(add_l2_decay(weight_decay), optimizer).",
    ),
    CompensatedState: (
        "in bf16 and f16 the decay would be rounded away. Use "
        "with_kahan_compensation(with_decay(optimizer, ...))."
    ),
    MonitorState: (
        "it would not see the decay in the updates. Use "
        "monitor(with_decay(optimizer, ...))."
    ),
    OrthantState: (
        f"{_DECAY_AFTER_ZEROS}. Use orthant_wise(with_decay(optimizer, ...), strength)."
    ),
    ProxState: (
        f"{_DECAY_AFTER_ZEROS}. Use the decay of the optimizer inside: "
        "prox_adam(..., weight_decay=...)."
    ),
    TargetSparsityState: (
        f"{_DECAY_AFTER_ZEROS}. Use the decay of the optimizer inside: "
        "target_sparsity(..., optimizer=functools.partial(prox_adam, weight_decay=...))."
    ),
    ProximalState: (
        f"{_DECAY_AFTER_ZEROS}. Use "
        "optax.chain(with_decay(optimizer, ...), proximal(learning_rate, penalty))."
    ),
    DecoupledL1State: (
        f"{_DECAY_AFTER_ZEROS}. Use "
        "optax.chain(with_decay(optimizer, ...), decoupled_l1(strength, ...))."
    ),
    FixedNormState: (
        "decay moves weights off the norm that is fixed. Leave one of them out, or give "
        "them masks that do not meet, by optax.partition."
    ),
}

INSIDE_ORTHANT_WISE: Refused = {
    _SCHEDULE_FREE: (
        "the weights that are returned in the end are others, and not zero. Use "
        "prox_adam(learning_rate, penalty) with a schedule, or dual_averaging_adam."
    ),
    CompensatedState: (
        "the remainders it keeps would be those of other steps. Use "
        "with_kahan_compensation(orthant_wise(optimizer, strength))."
    ),
    MonitorState: (
        "it would see changed gradients. Use monitor(orthant_wise(optimizer, strength))."
    ),
    OrthantState: (
        f"{_TWO_PENALTIES}. Give one of them all strengths, as a pytree prefix of the "
        "parameters."
    ),
    ProxState: (
        f"{_TWO_PENALTIES}. Use prox_adam(learning_rate, penalty) alone, or "
        "orthant_wise around a plain optimizer, such as optax.adam(learning_rate)."
    ),
    TargetSparsityState: (
        f"{_TWO_PENALTIES}. Use target_sparsity(learning_rate, penalty, target) alone."
    ),
    ProximalState: f"{_TWO_PENALTIES}. Leave the proximal step out.",
    DecoupledL1State: f"{_TWO_PENALTIES}. Leave decoupled_l1 out.",
    FixedNormState: "weights cut to zero change the norm that is fixed. Leave one out.",
}

INSIDE_FIXED_NORM: Refused = {
    **dict.fromkeys(
        (_SCHEDULE_FREE, _COCOB, _MADGRAD),
        "it keeps parameters of its own, whose norms are others. Use another optimizer, "
        "such as optax.adam, inside.",
    ),
    CompensatedState: (
        "the remainders it keeps would be those of other steps. Use "
        "with_kahan_compensation(with_fixed_norm(optimizer, ...))."
    ),
    MonitorState: (
        "it would see other updates than are made. Use "
        "monitor(with_fixed_norm(optimizer, ...))."
    ),
    FixedNormState: "a weight has one norm. Leave one of them out.",
    **dict.fromkeys(
        (OrthantState, *_OF_A_PENALTY),
        "scaling to a norm moves weights off their exact zeros. Leave one out.",
    ),
}

INSIDE_SELECTIVE_DECAY: Refused = {
    **dict.fromkeys(
        (_SCHEDULE_FREE, _COCOB, _MADGRAD),
        "it keeps parameters of its own, and so undoes the decay. Use another optimizer, "
        "such as optax.adam, inside.",
    ),
    CompensatedState: (
        "in bf16 and f16 the decay would be rounded away. Use "
        "with_kahan_compensation(selective_projection_decay(optimizer, ...))."
    ),
    MonitorState: (
        "it would not see the decay in the updates. Use "
        "monitor(selective_projection_decay(optimizer, ...))."
    ),
    FixedNormState: (
        "decay moves weights off the norm that is fixed. Use "
        "with_fixed_norm(selective_projection_decay(optimizer, ...), ...)."
    ),
    OrthantState: (
        f"{_DECAY_AFTER_ZEROS}. Use "
        "orthant_wise(selective_projection_decay(optimizer, ...), strength)."
    ),
    **dict.fromkeys(_OF_A_PENALTY, f"{_DECAY_AFTER_ZEROS}. Leave one of them out."),
}

INSIDE_MONITOR: Refused = {
    MonitorState: "latest_stats reads one. Use the outer one alone.",
}

_NAMES = {
    _COCOB: "optax.contrib.cocob",
    _MADGRAD: "optax.contrib.madgrad",
    _SCHEDULE_FREE: "optax.contrib.schedule_free",
    CompensatedState: "with_kahan_compensation",
    DecoupledL1State: "decoupled_l1",
    FixedNormState: "with_fixed_norm",
    MonitorState: "monitor",
    OrthantState: "orthant_wise",
    ProximalState: "proximal",
    ProxState: "prox_sgd, prox_adam or their like",
    SelectiveDecayState: "selective_projection_decay",
    TargetSparsityState: "target_sparsity",
}


def check_inside(wrapper: str, state: optax.OptState, refused: Refused) -> None:
    """Refuse an optimizer by what its state holds.

    Args:
        wrapper: The name of the function around it.
        state: The state that the optimizer's `init` has made.
        refused: What must not be in it, and why.

    Raises:
        ValueError: If a state of a refused type is in it, or hyperparameters are that
            `optax.inject_hyperparams` has rounded to useless numbers.
    """
    check_injected(wrapper, state)
    kinds = tuple(refused)
    for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(node, kinds):
            raise ValueError(
                f"{wrapper} must not go around {_NAMES[type(node)]}: {refused[type(node)]}"
            )


def warn_of_threshold_after_adaptive(state: optax.OptState) -> None:
    """Warn of a chain with `proximal` after an optimizer that scales its steps."""
    for parts in _chains(state):
        for index, part in enumerate(parts):
            before = (name for x in parts[:index] for name in _scalings(x))
            scaling = next(before, None)
            if scaling and _has(part, ProximalState):
                warnings.warn(
                    "proximal comes after an adaptive optimizer (its state holds "
                    f"{scaling}): the pair does not minimise loss + penalty. Use "
                    "prox_adam, prox_preconditioned or orthant_wise; or, if a fixed "
                    "threshold is what you want, decoupled_l1.",
                    UserWarning,
                    stacklevel=4,
                )
                return


def warn_of_second_decay(optimizer: optax.GradientTransformation, leaf: Leaf) -> None:
    """Warn of an optimizer that decays a weight by itself, inside of `with_decay`."""
    if has_decay(optimizer, leaf):
        warnings.warn(
            f"with_decay goes around an optimizer that decays {leaf.quoted} by itself, so "
            "that both decays add up. Turn one of them off, such as by "
            "optax.adamw(..., weight_decay=0.0).",
            UserWarning,
            stacklevel=4,
        )


def warn_of_useless_decay(optimizer: optax.GradientTransformation, leaf: Leaf) -> None:
    """Warn of an optimizer that decays a weight whose norm is fixed."""
    if has_decay(optimizer, leaf):
        warnings.warn(
            f"with_fixed_norm goes around an optimizer that decays {leaf.quoted} by "
            "itself: the norm stays as it is, and the decay only shortens the steps along "
            "the sphere. Turn it off, such as by optax.adamw(..., weight_decay=0.0).",
            UserWarning,
            stacklevel=4,
        )


def has_decay(optimizer: optax.GradientTransformation, leaf: Leaf) -> bool:
    """Whether an optimizer decays a weight by itself.

    It is given a few weights under the name of `leaf`, with gradients of zero: without
    decay they stay, and not all of them move to zero by chance. What cannot be tried so
    is let pass: an optimizer that needs a loss, labels or a mask of the whole tree, or
    whose learning rate starts at 0.
    """
    weight = np.resize([1.0, 2.0, -1.0], (1,) * (np.ndim(leaf.value) - 1) + (16,))
    with jax.ensure_compile_time_eval(), jax.transfer_guard("allow"):
        # NumPy's, as what JAX makes inside `shard_map` is for that place alone.
        params = nested({leaf.names: np.float32(weight)})
        zeros = jax.tree.map(np.zeros_like, params)
        try:
            updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        except Exception:  # Whatever another library raises: see above.
            return False
        (moved,) = jax.tree.leaves(updates) or (None,)
        return bool(is_concrete(moved) and np.all(np.asarray(moved) * weight < 0))


# States of Optax that say that steps are not plain, whatever comes after them.
_SCALINGS = {"FactoredState", "MuonState"}
_PLAIN = {
    "ScaleByBacktrackingLinesearchState",
    "ScaleByScheduleState",
    "ScaleByZoomLinesearchState",
}


def _scalings(state: optax.OptState) -> Iterator[str]:
    """The names of states of adaptive scalings, outside of our own optimizers."""

    def is_one(node: Any) -> bool:
        name = type(node).__name__
        return name in _SCALINGS or (name.startswith("ScaleBy") and name not in _PLAIN)

    def ends(node: Any) -> bool:
        return is_one(node) or isinstance(node, ProxState)

    for node in jax.tree.leaves(state, is_leaf=ends):
        if is_one(node):
            yield type(node).__name__


def _has(state: optax.OptState, kind: type) -> bool:
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return any(isinstance(node, kind) for node in nodes)


def _chains(state: Any) -> Iterator[tuple[Any, ...]]:
    """The states of all chains in a state: plain tuples, each with the links' states."""
    if isinstance(state, tuple) and not hasattr(state, "_fields"):
        yield state
    for child in jax.tree.leaves(state, is_leaf=lambda node: node is not state):
        if child is not state:
            yield from _chains(child)
