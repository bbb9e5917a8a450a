"""What a dtype is too coarse for."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_number, check_numbers
from jaxreg._prefixes import values_at
from jaxreg._text import table
from jaxreg._tree import Params, walk
from jaxreg.masks.selection import MaskLike, as_mask, chosen, weights


@dataclasses.dataclass(frozen=True)
class LeafResolution:
    """What a decay does to one leaf.

    Attributes:
        path: Its path, `encoder/Dense_0/kernel`.
        dtype: Its dtype.
        decay: The largest fraction of a weight that one step takes away.
        resolution: The fraction above which every weight of this dtype moves. Half of it
            moves those just below a power of two, and less moves none.
        effect: `"none"`, `"some"` or `"all"`: which weights the decay moves.
    """

    path: str
    dtype: str
    decay: float
    resolution: float
    effect: Literal["none", "some", "all"]


@dataclasses.dataclass(frozen=True, repr=False)
class Resolution:
    """Which leaves a decay moves; prints as a table.

    Attributes:
        leaves: One `LeafResolution` for each leaf that decays.
    """

    leaves: tuple[LeafResolution, ...]

    @property
    def lost(self) -> list[str]:
        """Paths of the leaves on which the decay does nothing at all."""
        return [leaf.path for leaf in self.leaves if leaf.effect == "none"]

    def __repr__(self) -> str:
        said = {"none": "none: it does nothing", "some": "some", "all": "all"}
        head = ("path", "dtype", "decay a step", "resolution", "moves weights")
        cells = [
            (x.path, x.dtype, f"{x.decay:.1e}", f"{x.resolution:.1e}", said[x.effect])
            for x in self.leaves
        ]
        return table(head, cells)


def decay_resolution(
    params: Params,
    *,
    learning_rate: float,
    weight_decay: Any,
    mask: MaskLike = weights,
) -> Resolution:
    """Tell on which leaves a weight decay is too small for the dtype to do anything.

    A step of decay replaces w by w − learning_rate · weight_decay · w, rounded to the
    dtype of w. The spacing of bf16 numbers is 1/128 to 1/256 of their absolute value, so a
    fraction below 1/512 rounds to nothing: by itself such a decay never moves a weight,
    however long one trains. Steps of the optimizer carry it along where they are larger
    than the spacing, and less and less of it as they become smaller. Wrap the optimizer in
    `with_kahan_compensation` to
    make all of it count.

    Args:
        params: The parameters; a pytree of `jax.ShapeDtypeStruct` will do.
        learning_rate: A number; of a schedule, the peak. 1 for independent decay.
        weight_decay: As for `decoupled_weight_decay`, but no schedule.
        mask: Which leaves decay; by default `weights`.

    Returns:
        A `Resolution`: print it for a table, or read `lost`, the paths of the leaves on
        which the decay does nothing.

    Raises:
        TypeError: If a rate is no number.
        ValueError: If a rate is negative or NaN, or the mask chooses nothing.

    Example:
        >>> params = {
        ...     "encoder": {"kernel": jnp.ones((8, 8), jnp.bfloat16)},
        ...     "head": {"kernel": jnp.ones((8, 2)), "bias": jnp.ones(2)},
        ... }
        >>> print(decay_resolution(params, learning_rate=1e-3, weight_decay=1e-2))
        path            dtype     decay a step  resolution  moves weights
        --------------  --------  ------------  ----------  ---------------------
        encoder/kernel  bfloat16  1.0e-05       3.9e-03     none: it does nothing
        head/kernel     float32   1.0e-05       6.0e-08     all
        >>> decay_resolution(params, learning_rate=1e-3, weight_decay=1e-2).lost
        ['encoder/kernel']
    """
    check_number("learning_rate", learning_rate)
    check_numbers("weight_decay", weight_decay)
    tree = list(walk(params))
    is_chosen = chosen(as_mask(mask), tree, params)
    decays = values_at(weight_decay, tree, is_chosen, "weight_decay", by_pattern=True)
    fractions = [
        0.0 if decay is None else float(learning_rate * np.max(decay)) for decay in decays
    ]
    return Resolution(
        tuple(
            _resolved(leaf.path, leaf.value.dtype, fraction)
            for leaf, fraction in zip(tree, fractions, strict=True)
            if fraction > 0
        )
    )


def _resolved(path: str, dtype: Any, decay: float) -> LeafResolution:
    resolution = float(jnp.finfo(dtype).eps) / 2
    effect = "some" if decay > resolution / 2 else "none"
    if decay > resolution:
        effect = "all"
    return LeafResolution(path, str(dtype), decay, resolution, effect)
