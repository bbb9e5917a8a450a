"""Whether updates fit the parameters: the same pytree, and the same shapes.

Optax's conventions stay: an update may be missing (`None`, `MaskedNode`), and may have
another dtype than its parameter. Only shapes and structures are looked at, so that under
`jit` nothing is computed.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._tree import Params, leaves_of, listing, walk

_ADVICE = (
    "Pass the gradients with respect to these very parameters: "
    "jax.grad(loss)(params), or the updates made of them."
)


def check_fit(updates: Params, params: Params) -> None:
    """Refuse updates that do not have the structure and the shapes of the parameters.

    Raises:
        ValueError: If they do not.
    """
    leaves, structure = jax.tree.flatten(params)
    try:
        given = structure.flatten_up_to(updates)
    except (TypeError, ValueError) as error:
        given, text = [], str(error).strip().splitlines()[0]
    else:
        text = "one has an array in a box, the other without."
    if len(given) < len(leaves) or any(map(_is_nested, given)):
        raise ValueError(
            "Updates must have the structure of the parameters, but "
            f"{_difference(updates, params, text)} {_ADVICE}"
        )
    for i, (update, leaf) in enumerate(zip(given, leaves, strict=True)):
        if not _has_shape(update, leaf):
            path = leaves_of(params)[i].quoted
            raise ValueError(
                f"An update must have the shape of its parameter, but at {path} they are "
                f"{update.shape} and {leaf.shape}. {_ADVICE}"
            )


def _is_nested(update: Any) -> bool:
    """Whether there is a pytree of arrays where one update belongs."""
    if hasattr(update, "dtype") or jax.tree_util.all_leaves([update]):
        return False
    return len(jax.tree.leaves(update)) > 0  # Nothing is in `None` and `MaskedNode`.


def _has_shape(update: Any, leaf: Any) -> bool:
    """Whether an update has the shape of its parameter, or is no array of numbers."""
    if not (hasattr(update, "dtype") and hasattr(leaf, "shape")):
        return True
    return update.shape == leaf.shape or not jnp.issubdtype(update.dtype, jnp.inexact)


def _difference(updates: Params, params: Params, otherwise: str) -> str:
    """The first leaf that one of two pytrees has and the other has not."""
    given, wanted = list(walk(updates)), list(walk(params))
    given_names = {leaf.names for leaf in given}
    wanted_names = {leaf.names for leaf in wanted if not leaf.is_missing}
    missing = [leaf for leaf in wanted if leaf.names in wanted_names - given_names]
    extra = [
        leaf for leaf in given if not leaf.is_missing and leaf.names not in wanted_names
    ]
    for leaf in (missing + extra)[:1]:
        what = (
            "an update is missing where a parameter is"
            if missing
            else "there is an update where no parameter is"
        )
        return (
            f"{what}, at {leaf.quoted} of shape {getattr(leaf.value, 'shape', None)}. The "
            f"updates are {listing(given)}, the parameters {listing(wanted)}."
        )
    return f"their containers differ: {otherwise}"
