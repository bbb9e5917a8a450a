"""Which entries anything depends on: from the last operation back to the first.

A mask says which entries of a value some result depends on, where it is multiplied with
something that is not zero. Together with which are not zero it says which are *live*; the
others can go.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxreg.compaction import _primitives as primitives
from jaxreg.compaction._forward import is_stack, steps_of
from jaxreg.compaction._known import Facts, anything
from jaxreg.compaction._masks import any_along, both, broadcast, either, is_same, uniform
from jaxreg.compaction._needed_rules import RULES, elementwise
from jaxreg.compaction._program import Op, Program, Value

Mask = np.ndarray
Masks = dict[Value, Mask]


@dataclasses.dataclass(eq=False)
class Uses:
    """What the analysis found about each value.

    Attributes:
        needed: Entries that a result depends on.
        live: Those that are also not zero.
        varying: Those that also vary with the inputs.
    """

    needed: Masks
    live: Masks
    varying: Masks


def backward(program: Program, facts: Facts) -> Uses:
    """Which entries of all values are needed, those in loops too."""
    uses = Uses({}, {}, {})
    outs = [uniform(value.ndim, True) for value in program.outs]  # noqa: FBT003
    _backward(program, facts, outs, uses)
    return uses


def unread(program: Program) -> list[Mask]:
    """For each argument, the entries that no operation reads, whatever their values.

    They may be read for other shapes of the inputs: the positions after the last of a
    short example, say.
    """
    facts = _nothing_known(program)
    uses = Uses({}, {}, {})
    outs = [uniform(value.ndim, True) for value in program.outs]  # noqa: FBT003
    _backward(program, facts, outs, uses)
    return [~uses.needed[value] for value in program.ins]


def _nothing_known(program: Program) -> Facts:
    known = {
        value: anything(value)
        for value in [*program.ins, *program.constants]
        + [value for op in program.ops for value in op.outs]
    }
    # One step suffices where nothing is known.
    steps = {op: [_nothing_known(op.body)] for op in program.ops if op.body is not None}
    return Facts(known, steps)


def _backward(
    program: Program, facts: Facts, outs: Sequence[Mask], uses: Uses
) -> list[Mask]:
    """Masks of the arguments, given those of the results; adds to `uses`."""
    needed: Masks = {}

    def add(value: Value, mask: Mask) -> None:
        old = needed.get(value)
        if old is None:
            needed[value] = mask
        elif not old.all():
            needed[value] = either(old, mask)

    for value, mask in zip(program.outs, outs, strict=True):
        add(value, mask)
    for op in reversed(program.ops):
        wanted = [
            needed.setdefault(value, uniform(value.ndim, False))  # noqa: FBT003
            for value in op.outs
        ]
        masks = _operands(op, wanted, facts, uses)
        for value, mask in zip(op.ins, masks, strict=True):
            add(value, mask)
    _record(needed, facts, uses)
    return [needed[value] for value in program.ins]


def _operands(op: Op, wanted: list[Mask], facts: Facts, uses: Uses) -> list[Mask]:
    """What an operation needs of its operands."""
    ins = [facts.known[value] for value in op.ins]
    if op.body is not None:
        return _loop(op, op.body, wanted, facts.steps[op], uses)
    if op.kind in RULES:
        return RULES[op.kind](op, wanted, ins)
    if op.kind in primitives.ELEMENTWISE:
        return elementwise(op, wanted, ins)
    return [uniform(value.ndim, True) for value in op.ins]  # noqa: FBT003


def _record(needed: Masks, facts: Facts, uses: Uses) -> None:
    """Add to what was found in other steps of a loop."""
    for value, known in facts.known.items():
        mask = needed.setdefault(value, uniform(value.ndim, False))  # noqa: FBT003
        for masks, found in (
            (uses.needed, mask),
            (uses.live, both(mask, known.nonzero, value.ndim)),
            (uses.varying, both(mask, known.varies, value.ndim)),
        ):
            masks[value] = either(masks[value], found) if value in masks else found


def _loop(
    op: Op, body: Program, wanted: list[Mask], steps: list[Facts], uses: Uses
) -> list[Mask]:
    n_consts, n_carry = op.params["num_consts"], op.params["num_carry"]
    carry = wanted[:n_carry]
    ys = [any_along(mask, [0])[0] for mask in wanted[n_carry:]]
    consts = [uniform(value.ndim, False) for value in op.ins[:n_consts]]  # noqa: FBT003
    if len(steps) == 1 and not (is_stack(op) and op.params["length"] == 1):
        while True:  # It ends: the needed entries only grow, to all of them at most.
            masks = _backward(body, steps[0], [*carry, *ys], uses)
            new = masks[n_consts : n_consts + n_carry]
            joined = [either(old, other) for old, other in zip(carry, new, strict=True)]
            if all(map(is_same, carry, joined)):
                break
            carry = joined
        xs = [mask[None] for mask in masks[n_consts + n_carry :]]
        return [*masks[:n_consts], *carry, *xs]
    stacks: list[list[Mask]] = []
    order = steps_of(op)
    for facts in reversed(steps):
        masks = _backward(body, facts, [*carry, *ys], uses)
        consts = [either(a, b) for a, b in zip(consts, masks[:n_consts], strict=True)]
        carry = masks[n_consts : n_consts + n_carry]
        stacks.append(masks[n_consts + n_carry :])
    by_step = dict(zip(reversed(order), stacks, strict=True))
    xs = [
        np.stack(broadcast([by_step[step][i] for step in sorted(by_step)], value.ndim - 1))
        for i, value in enumerate(op.ins[n_consts + n_carry :])
    ]
    return [*consts, *carry, *xs]
