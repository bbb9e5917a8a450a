"""What the classes of Flax, nnx and Optax say about the leaves below them.

Classes are known by name or by what they have, so that no framework is imported.
"""

import functools
from typing import NamedTuple

STATE_COLLECTIONS = frozenset({"batch_stats"})
"""Collections of linen variables that a model carries but does not train."""

OPTIMIZER_FIELD = "opt_state"
"""Where training states (`TrainState`, `nnx.Optimizer`) keep the optimizer's state."""

# nnx variables that a model carries but does not train.
_STATE_VARIABLES = frozenset({"BatchStat", "Cache", "Intermediate"})

# nnx variables that hold the state of an optimizer.
_OPTIMIZER_VARIABLE = "OptState"


class NodeKind(NamedTuple):
    """What the class of a node says about the leaves below it.

    Attributes:
        is_box: Whether it is a box around an array.
        is_variable: Whether it is an `nnx.Variable`: the same one at two paths is one.
        is_state: Whether a model carries it but does not train it.
        optimizer: Its name, if it is the state of an optimizer.
    """

    is_box: bool
    is_variable: bool
    is_state: bool
    optimizer: str


@functools.lru_cache(maxsize=1024)
def node_kind(kind: type) -> NodeKind:
    """What a class says about the leaves below its instances."""
    bases = {base.__name__ for base in kind.__mro__}
    is_box = hasattr(kind, "add_axis") and hasattr(kind, "remove_axis")
    is_optimizer = _OPTIMIZER_VARIABLE in bases or (
        issubclass(kind, tuple)
        and kind.__name__.endswith("State")
        and kind.__module__.partition(".")[0] in ("optax", "jaxreg")
    )
    return NodeKind(
        is_box=is_box,
        is_variable=is_box and "Variable" in bases,
        is_state=bool(bases & _STATE_VARIABLES),
        optimizer=kind.__name__ if is_optimizer else "",
    )
