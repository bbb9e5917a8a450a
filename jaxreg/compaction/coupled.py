"""Which weights compute one unit, channel, head or expert: groups for a group penalty."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreg._coupling import CoupledGroups, Member
from jaxreg._tree import leaves_of
from jaxreg.compaction._forward import forward
from jaxreg.compaction._known import Known, anything, fixed
from jaxreg.compaction._needed import backward
from jaxreg.compaction._program import Program, Value, structs, trace
from jaxreg.compaction._removal import Removed, Search
from jaxreg.compaction._tie_rules import ties_of
from jaxreg.compaction._ties import Node, Tie, Ties, components


def coupled_groups(fn: Callable[..., Any], params: Any, *inputs: Any) -> CoupledGroups:
    """Find the weights that must become zero together for a slice of a network to go.

    One group is all that computes one unit: its column of the kernel, its bias, its scale
    and offset of a norm; one attention head; one expert; one channel of a residual stream,
    with all kernels that write to it and the embedding. When a group is zero, `compact`
    removes it, and what reads it. So a whole network is trained to lose units, channels and
    heads without naming an axis:

        penalty = jaxreg.GroupLasso(1e-3, groups=jaxreg.coupled_groups(fn, params, x))

    Groups are found by the analysis of `compact` and checked by it. Each weight is in one
    group at most: a kernel belongs to the units that it computes, or, where these must
    stay (the results of the network), to those that it reads.

    Args:
        fn: A pure function `fn(params, *inputs)`, as for `compact`: at inference.
        params: A pytree of arrays, or of `jax.ShapeDtypeStruct`: those that the penalty
            will be used on. Close over all others, as running averages.
        *inputs: Example inputs, pytrees of arrays.

    Returns:
        A `CoupledGroups`, for the argument `groups` of `GroupLasso`, `SparseGroupLasso`,
        ...

    Raises:
        ValueError: If no slice of the parameters could go.

    Example:
        >>> params = {"hidden": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
        ...           "out": {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1)}}
        >>> def fn(params, x):
        ...     h = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        ...     return h @ params["out"]["kernel"] + params["out"]["bias"]
        >>> groups = coupled_groups(fn, params, jnp.ones((1, 2)))
        >>> groups
        CoupledGroups(3 groups in 3 leaves)
        >>> GroupLasso(1.0, groups=groups, scale="none")(params)  # 3 · ‖(1, 1, 1, 1)‖
        Array(6., dtype=float32)

    References:
        Fang et al., *DepGraph: Towards any structural pruning* (2023), section 3.
    """
    tree = leaves_of(params)
    program, _ = trace(fn, structs(params), structs(inputs))
    values = program.ins[: len(tree)]
    chosen = [v for v, leaf in zip(values, tree, strict=True) if leaf.is_parameter]
    refused: list[tuple[Value, int]] = []
    while True:
        ties = ties_of(program)
        for value, axis in refused:
            ties.pin(value, [axis], "it stays when its group is zero")
        possible = Search(ties, None).removed
        members = _members(ties, chosen, possible)
        failing = _failing(program, ties, members)
        if not failing:
            break
        refused += failing
    if not members:
        unknown = ", ".join(sorted(ties.unknown))
        raise ValueError(
            "No slice of the parameters could go by becoming zero: every axis is that of "
            "an input or a result"
            + (
                f", or is read by a primitive without a rule: {unknown}."
                if unknown
                else "."
            )
        )
    numbers: dict[int, int] = {}  # of the groups, in the order of the leaves
    return CoupledGroups(
        tuple(
            Member(
                leaf.path,
                members[value].axis,
                tuple(
                    numbers.setdefault(label, len(numbers))
                    for label in members[value].labels.tolist()
                ),
            )
            for leaf, value in zip(tree, values, strict=True)
            if value in members
        ),
        tuple(
            leaf.path
            for leaf, value in zip(tree, values, strict=True)
            if value in chosen and value not in members
        ),
    )


class _Part(NamedTuple):
    """The axis of a leaf that numbers groups, and the class of each of its indices."""

    axis: int
    labels: np.ndarray


def _members(ties: Ties, chosen: Sequence[Value], possible: Removed) -> dict[Value, _Part]:
    """The axis of each leaf: one that numbers what it computes, else what it reads."""
    computing = _computing(ties)
    starts, classes = components(ties, possible)
    members: dict[Value, _Part] = {}
    for value in chosen:
        nodes = [ties.node(value, axis) for axis in range(value.ndim)]
        axes = [i for i, node in enumerate(nodes) if possible[node].all() and value.size]
        axes.sort(key=lambda i: (value.shape[i] == 1, nodes[i] not in computing, i))
        if axes:
            start = starts[nodes[axes[0]]]
            labels = classes[start : start + value.shape[axes[0]]]
            members[value] = _Part(axes[0], labels)
    return members


def _computing(ties: Ties) -> set[Node]:
    """Axes of parameters that become axes of activations, rather than being summed over."""
    near: dict[Node, set[Node]] = {}
    for link in ties.links:
        if isinstance(link, Tie):
            if not any(link.alone):
                near.setdefault(link.a, set()).add(link.b)
                near.setdefault(link.b, set()).add(link.a)
        else:
            for node in link.factors:
                near.setdefault(link.whole, set()).add(node)
                near.setdefault(node, set()).add(link.whole)

    def depends(node: Node) -> bool:
        place = ties.axes[node]
        return place is not None and place[0].depends

    found: set[Node] = set()
    frontier = [node for node in near if depends(node)]
    while frontier:
        node = frontier.pop()
        for other in near.get(node, ()):
            if other not in found and not depends(other):
                found.add(other)
                frontier.append(other)
    return found


def _failing(
    program: Program, ties: Ties, members: dict[Value, _Part]
) -> list[tuple[Value, int]]:
    """Axes whose slices stay although their groups are zero.

    One group of each kind is set to zero among numbers that are not, and the analysis of
    `compact` says whether it goes.
    """
    rng = np.random.default_rng(0)
    tried = _one_of_each_kind([part.labels for part in members.values()])
    known: list[Known] = []
    for value in program.ins:
        if value.depends or not jnp.issubdtype(value.dtype, jnp.floating):
            known.append(anything(value))
            continue
        array = rng.uniform(1, 2, value.shape).astype(np.float32)
        if value in members:
            axis, labels = members[value]
            array[(slice(None),) * axis + (np.isin(labels, tried),)] = 0
        known.append(fixed(array))
    facts = forward(program, known)
    removed = Search(ties, backward(program, facts)).removed
    return [
        (value, axis)
        for value, (axis, labels) in members.items()
        if (np.isin(labels, tried) & ~removed[ties.node(value, axis)]).any()
    ]


def _one_of_each_kind(labels: Sequence[np.ndarray]) -> list[int]:
    """The first group of each set of leaves that groups reach over."""
    leaves: dict[int, list[int]] = {}
    for index, own in enumerate(labels):
        for label in np.unique(own).tolist():
            leaves.setdefault(label, []).append(index)
    first: dict[tuple[int, ...], int] = {}
    for label, indices in leaves.items():
        first.setdefault(tuple(indices), label)
    return list(first.values())
