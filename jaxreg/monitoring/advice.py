"""Likely mistakes in what is regularized, and how strongly."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg._tree import Leaf, listing
from jaxreg.masks.roles import Role
from jaxreg.penalties import L1, L2, NonNegativeL1, Penalty
from jaxreg.penalties.base import Toward


class Treated(NamedTuple):
    """A leaf, and what regularizes it.

    Attributes:
        leaf: The leaf.
        terms: The penalties on it, with their strengths there.
        decay: Its decoupled weight decay: a number or an array; `None` without one.
        is_marked: Whether a mask chooses it, and nothing more is known.
        role: What it is in its layer.
        is_doubtful: Whether it may be something else than that.
    """

    leaf: Leaf
    terms: tuple[Penalty, ...]
    decay: Any
    is_marked: bool
    role: Role
    is_doubtful: bool

    @property
    def is_regularized(self) -> bool:
        """Whether anything chooses it."""
        return bool(self.terms) or self.decay is not None or self.is_marked

    @property
    def has_effect(self) -> bool:
        """Whether anything in it is not 0; a constraint has nothing that could be."""
        numbers = [jax.tree.leaves(term) for term in self.terms]
        decay = self.decay is not None and np.any(self.decay)
        known = any(not leaves or any(map(np.any, leaves)) for leaves in numbers)
        return bool(decay) or known or self.is_marked

    def strength(self, kind: str) -> float:
        """Its strength of L1 or L2, or its decay; 0 if it differs between entries."""
        if kind == "weight decay":
            return _uniform(self.decay)
        return sum(_strength(term, kind) for term in self.terms)


_CLASSES = {"L1": (L1, NonNegativeL1), "L2": (L2,)}

_USUAL = {"L1": (1e-6, 1e-3), "L2": (1e-5, 1e-2), "weight decay": (1e-3, 1e-1)}
# Strengths in float32 are near the ends, not on them.
_SLACK = 1e-6


def advice(leaves: Sequence[Treated], lost: Sequence[str]) -> Iterator[str]:
    """What is likely to be a mistake; nothing for a setup without any.

    Args:
        leaves: What regularizes each leaf.
        lost: Paths of leaves whose decay is too small for their dtype.

    Yields:
        A sentence or two for each mistake.
    """
    chosen = [treated for treated in leaves if treated.is_regularized]
    if leaves and not any(treated.has_effect for treated in leaves):
        why = "every strength is 0" if chosen else "no leaf is chosen"
        yield f"nothing is regularized: {why}."
    yield from _roles(chosen)
    for kind in _USUAL:
        yield from _range(chosen, kind)
    equal = [x for x in chosen if x.strength("L1") == x.strength("L2") != 0]
    if equal:
        yield (
            f"L1 and L2 have the same strength, {equal[0].strength('L1'):g}, on "
            f"{_paths(equal)}. They have different units (Σ|w| and Σw²): choose each by "
            "itself."
        )
    if lost:
        narrow = [treated for treated in chosen if treated.leaf.path in lost]
        yield (
            f"weight decay is below the resolution of the dtype on {_paths(narrow)}: a "
            "step of it rounds to nothing. Put jaxreg.with_kahan_compensation around the "
            "optimizer."
        )
    both = [x for x in chosen if x.strength("weight decay") and _pulls_to_zero(x)]
    if both:
        yield (
            f"decoupled weight decay and L2 meet on {_paths(both)}: both shrink the same "
            "weights, in different units. Keep one of them."
        )


_ROLES: dict[Role, str] = {
    "normalisation": (
        "normalisation scales are regularized: {paths}. The next layer undoes it, or it "
        "changes how fast layers learn. Leave them out: mask=jaxreg.weights."
    ),
    "bias": (
        "biases are regularized: {paths}. They move outputs and do not make them more "
        "complex. Leave them out: mask=jaxreg.weights."
    ),
    "embedding": (
        "embeddings are regularized: {paths}. Rows that a batch does not use shrink too. "
        "To leave them out: mask=jaxreg.weights & ~jaxreg.named({paths})."
    ),
}


def _roles(chosen: Sequence[Treated]) -> Iterator[str]:
    for role, text in _ROLES.items():
        found = [x for x in chosen if x.has_effect and x.role == role]
        if found:
            yield text.format(paths=_paths(found))
    found = [x for x in chosen if x.has_effect and x.is_doubtful]
    if found:
        paths = _paths(found)
        yield (
            f"vectors that no rule knows are regularized: {paths}. If they are biases, or "
            "scales and offsets of a normalisation, leave them out: "
            f"mask=jaxreg.weights & ~jaxreg.named({paths})."
        )


def _range(chosen: Sequence[Treated], kind: str) -> Iterator[str]:
    low, high = _USUAL[kind]
    sides = {
        "below": lambda x: 0 < x < low * (1 - _SLACK),
        "above": lambda x: x > high * (1 + _SLACK),
    }
    for side, is_outside in sides.items():
        found = [x for x in chosen if is_outside(x.strength(kind))]
        if found:
            values = ", ".join(sorted({f"{x.strength(kind):g}" for x in found}))
            what, unit = (
                ("weight decay", "as AdamW takes it")
                if kind == "weight decay"
                else (f"strength of {kind}", "beside a mean loss")
            )
            yield (
                f"the {what}, {values}, is {side} the usual range {low:g}..{high:g} "
                f"({unit}) on {_paths(found)}."
            )


def _strength(term: Penalty, kind: str) -> float:
    term = term.penalty if isinstance(term, Toward) else term
    if isinstance(term, _CLASSES[kind]):
        return _uniform(vars(term)["strength"])
    return _uniform(vars(term).get(kind.lower()))


def _uniform(value: Any) -> float:
    """A number, or what all entries of an array are; 0 if they differ."""
    if value is None or np.size(value) == 0 or np.min(value) != np.max(value):
        return 0.0
    return float(np.min(value))


def _pulls_to_zero(treated: Treated) -> bool:
    terms = [term for term in treated.terms if not isinstance(term, Toward)]
    return any(_strength(term, "L2") > 0 for term in terms)


def _paths(found: Sequence[Treated]) -> str:
    return listing([treated.leaf for treated in found], most=3)
