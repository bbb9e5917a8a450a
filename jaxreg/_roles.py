"""What a leaf is in its layer, told by its name: the same in every framework."""

import re
from typing import Literal

from jaxreg._tree import Leaf

Role = Literal["weight", "embedding", "bias", "normalisation"]
"""What a leaf is in its layer."""

# `b`, `b1` and `b_out` are biases; `lora_b`, `B` and `embedding` are weights.
_BIAS = re.compile(
    r"(?i:(?:^|_)(?:bias|biases|intercept|offset|scales?)\d*(?:_|$))|^b\d*(?:_|$)"
)
_NORM = re.compile(
    r"norm(?!al)|normali[sz]|(?:^|_)(?:bn|ln|gn|rms)[a-z]?\d*(?:_|$)", re.IGNORECASE
)
_NORM_PARAMETERS = frozenset({"beta", "g", "gain", "gamma", "w", "weight"})
_EMBEDDING = re.compile(r"embed|(?:^|_)(?:emb|wte|wpe)\d*(?:_|$)", re.IGNORECASE)

# A layer that embeds patches holds a kernel; one of these in a plain mapping is a table.
_TABLES = frozenset({"table", "w", "weight"})
_MAPPINGS = frozenset({"dict", "FlatMapping", "FrozenDict", "State"})


def role_of(leaf: Leaf) -> Role:
    """What a leaf is in its layer.

    Args:
        leaf: A leaf with the names that lead to it.

    Returns:
        `"weight"` for what has no name that tells.
    """
    names = leaf.names
    if leaf.owner == "SplitRealAndImaginaryArrays":
        names = names[:-1]
    if not names:
        return "weight"
    name = names[-1]
    layer = next((x for x in reversed(names[:-1]) if not x.isdigit()), "")
    is_bias = _BIAS.search(name)
    of_norm = _NORM.search(layer) or _NORM.search(leaf.owner)
    if of_norm and (is_bias or name in _NORM_PARAMETERS):
        return "normalisation"
    if is_bias:
        return "normalisation" if "scale" in name.lower() else "bias"
    is_table = name in _TABLES and leaf.owner in _MAPPINGS
    telling = (name, leaf.owner, layer) if is_table else (name, leaf.owner)
    return "embedding" if any(map(_EMBEDDING.search, telling)) else "weight"
