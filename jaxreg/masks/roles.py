"""What a leaf is in its layer, decided by its name: the same in every framework.

Where a leaf has no name that tells, its neighbours may: in pairs (W, b) of a tuple or a
list, b is the bias, and `gamma` and `beta` of one shape beside a kernel of as many units
are those of a normalisation. Frozen leaves, which are missing, count as fitting.
"""

import re
from collections.abc import Sequence
from typing import Literal

from jaxreg._tree import Leaf, Names

Role = Literal["weight", "embedding", "bias", "normalisation"]
"""What a leaf is in its layer."""

UNITS, FEATURES = -1, -2
"""The axes of a kernel, inputs before outputs as in Flax and Haiku, that number both."""

# `b`, `b1` and `b_out` are biases; `lora_b`, `B` and `embedding` are weights.
_BIAS = re.compile(
    r"(?i:(?:^|_)(?:bias|biases|intercept|offset|scales?)\d*(?:_|$))|^b\d*(?:_|$)"
)
_NORM = re.compile(
    r"norm(?!al)|normali[sz]|(?:^|_)(?:bn|ln|gn|rms)[a-z]?\d*(?:_|$)", re.IGNORECASE
)
_NORM_PARAMETERS = frozenset({"beta", "g", "gain", "gamma", "w", "weight"})
_EMBEDDING = re.compile(r"embed|(?:^|_)(?:emb|wte|wpe)\d*(?:_|$)", re.IGNORECASE)
_WEIGHT = re.compile(
    r"(?:^|_)(?:w|weights?|kernels?|coefs?|coefficients?|betas?)\d*(?:_|$)", re.IGNORECASE
)
_GAMMA_OR_BETA = re.compile(r"(?:(?<=_)|^)(gamma|beta)(?=\d*(?:_|$))")

# A layer that embeds patches holds a kernel; one of these in a plain mapping is a table.
_TABLES = frozenset({"table", "w", "weight"})
_MAPPINGS = frozenset({"dict", "FlatMapping", "FrozenDict", "State"})
_SEQUENCES = frozenset({"list", "tuple"})


def roles_of(tree: Sequence[Leaf]) -> list[Role]:
    """What each leaf of a tree is in its layer.

    Args:
        tree: All leaves of the tree, missing ones too, as `walk` gives them.

    Returns:
        For each of `tree` its role; `"weight"` for what nothing tells of.
    """
    layers = _layers(tree)
    biases = {
        leaf.names
        for layer in layers.values()
        if _is_pairs(layer)
        for leaf in list(layer.values())[1::2]
    }
    roles: list[Role] = []
    for leaf in tree:
        role = _role_by_name(leaf)
        if role == "weight" and leaf.names in biases:
            role = "bias"
        if role == "weight" and _is_scale_or_offset(leaf, layers[leaf.names[:-1]]):
            role = "normalisation"
        roles.append(role)
    return roles


def doubtful(tree: Sequence[Leaf], roles: Sequence[Role]) -> list[bool]:
    """Whether each leaf is taken for a weight, but may be a bias or a scale.

    Such are vectors and scalars whose names say nothing, beside larger arrays, and `gamma`
    and `beta` of one shape.

    Args:
        tree: All leaves of the tree, missing ones too.
        roles: Those of the leaves.
    """
    layers = _layers(tree)
    has_matrix = any(len(_shape(leaf)) >= 2 for leaf in tree)
    return [
        has_matrix
        and bool(leaf.names)
        and role == "weight"
        and (
            _partner(leaf, layers[leaf.names[:-1]]) is not None
            or (len(_shape(leaf)) < 2 and not _WEIGHT.search(_name(leaf.names)))
        )
        for leaf, role in zip(tree, roles, strict=True)
    ]


_Layer = dict[Names, Leaf]
"""The leaves of one node, by their names."""


def _layers(tree: Sequence[Leaf]) -> dict[Names, _Layer]:
    layers: dict[Names, _Layer] = {}
    for leaf in tree:
        layers.setdefault(leaf.names[:-1], {})[leaf.names] = leaf
    return layers


def _role_by_name(leaf: Leaf) -> Role:
    names = leaf.names
    if leaf.owner == "SplitRealAndImaginaryArrays":
        names = names[:-1]
    if not names:
        return "weight"
    name = _name(names)
    layer = next((x for x in reversed(names[:-1]) if not x.isdigit()), "")
    is_bias = _BIAS.search(name)
    of_norm = _NORM.search(layer) or _NORM.search(leaf.owner)
    if name != names[-1]:
        # The name of a list: of biases, or of a network that computes a scale.
        is_vector = len(_shape(leaf)) < 2
        is_bias = is_bias and (is_vector or "bias" in name.lower())
        if of_norm and is_vector:
            return "normalisation"
    elif of_norm and (is_bias or name in _NORM_PARAMETERS):
        return "normalisation"
    if is_bias:
        return "normalisation" if "scale" in name.lower() else "bias"
    is_table = name in _TABLES and leaf.owner in _MAPPINGS
    telling = (name, leaf.owner, layer) if is_table else (name, leaf.owner)
    return "embedding" if any(map(_EMBEDDING.search, telling)) else "weight"


def _name(names: Names) -> str:
    """The name that tells: the last one, or that of the list in which a leaf is."""
    last, above = (*reversed(names), "")[:2]
    return above if last.isdigit() and above and not above.isdigit() else last


def _is_pairs(layer: _Layer) -> bool:
    """Whether a node is a sequence (W, b), or (W₁, b₁, W₂, b₂, ...)."""
    leaves = list(layer.values())
    return (
        leaves[0].owner in _SEQUENCES
        and len(leaves) % 2 == 0
        and not _WEIGHT.search(_name(leaves[0].names))
        and all(map(_fits_as_bias, leaves[1::2], leaves[::2]))
    )


def _fits_as_bias(bias: Leaf, kernel: Leaf) -> bool:
    """Whether an array has a number for each unit of a kernel, and the kernel has more."""
    if bias.is_missing or kernel.is_missing:
        return bias.is_missing or len(_shape(bias)) < 2
    shape, whole = _shape(bias), _shape(kernel)
    if len(whole) < 2:
        return len(whole) == 1 and shape == ()
    units = whole[UNITS:]
    return shape == units or shape == (1,) * (len(whole) - 1) + units != whole


def _is_scale_or_offset(leaf: Leaf, layer: _Layer) -> bool:
    """Whether a leaf is `gamma` or `beta`, beside the other and a kernel of those units."""
    other, shape = _partner(leaf, layer), _shape(leaf)
    return other is not None and any(
        x.is_missing or (len(_shape(x)) > len(shape) and _shape(x)[UNITS:] == shape[UNITS:])
        for x in layer.values()
        if x is not leaf and x is not other
    )


def _partner(leaf: Leaf, layer: _Layer) -> Leaf | None:
    """The `beta` beside a `gamma`, of one shape, or the other way round."""
    if not leaf.names or not (found := _GAMMA_OR_BETA.search(leaf.names[-1])):
        return None
    start, stop = found.span(1)
    other = "beta" if found.group(1) == "gamma" else "gamma"
    name = leaf.names[-1][:start] + other + leaf.names[-1][stop:]
    partner = layer.get((*leaf.names[:-1], name))
    if partner is None or not (partner.is_missing or _shape(partner) == _shape(leaf)):
        return None
    return partner


def _shape(leaf: Leaf) -> tuple[int, ...]:
    return tuple(getattr(leaf.value, "shape", ()))
