"""What weights decay toward: checked once, and copied into the state of a transform."""

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp

from jaxreg._prefixes import broadcast, checked_reference, entries_of
from jaxreg._tree import Leaf, Params, assembled
from jaxreg.transforms._states import unused

Reference = Params | Literal["start"] | None
"""What weights decay toward: a pytree of arrays, their first values, or zero."""


def checked_toward(toward: Any) -> Any:
    """What to decay toward, if it can be that."""
    if isinstance(toward, str):
        if toward != "start":
            raise ValueError(
                f"toward must be a pytree of arrays, or 'start' for the parameters that "
                f"init is given, got {toward!r}."
            )
        return toward
    return checked_reference("toward", toward)


def reference_copies(
    source: Params, tree: Sequence[Leaf], needed: Sequence[bool], params: Params
) -> Params:
    """A pytree like `params`, with a copy of the source at each chosen leaf.

    A copy, since the initial parameters, a common source, may be donated.
    """
    if isinstance(source, str):
        found = [leaf.value for leaf in tree]
    else:
        found = broadcast(entries_of(source), tree, "toward", needed)
    copies = [
        jnp.copy(value) if is_chosen else unused(leaf)
        for leaf, value, is_chosen in zip(tree, found, needed, strict=True)
    ]
    return assembled(tree, params, copies)
