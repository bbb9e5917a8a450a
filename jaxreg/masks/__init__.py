"""Masks: which leaves are regularized, chosen by name.

See `Mask`.
"""

from jaxreg.masks.selection import (
    Mask as Mask,
    as_mask as as_mask,
    everything as everything,
    matrices as matrices,
    named as named,
    weights as weights,
)
