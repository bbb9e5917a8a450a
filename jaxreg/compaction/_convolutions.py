"""Masks of images and kernels of convolutions, where spatial axes count as one."""

from typing import Any

import numpy as np

from jaxreg.compaction._masks import any_along
from jaxreg.compaction._primitives import convolution
from jaxreg.compaction._program import Op

CONV_NAMES = ("ngi", "goi", "ngo")
"""Letters for images, kernel and result, where features are split into groups.

Spatial axes are of length 1, and have none; see `conv_parts`.
"""


def conv_parts(op: Op, lhs: Any, rhs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Masks of images as (batch, group, feature), of a kernel as (group, output, input)."""
    conv = convolution(op)
    x: Any = any_along(lhs, conv.lhs[2:]).transpose(conv.lhs)
    x = x.reshape(x.shape[:2])
    groups = conv.groups
    features = op.ins[0].shape[conv.lhs[1]]
    if x.shape[1] == 1:
        x = x.reshape(x.shape[0], 1, 1)
    else:
        x = x.reshape(x.shape[0], groups, features // groups)
    return x, conv_kernel(op, any_along(rhs, conv.rhs[2:]))


def conv_kernel(op: Op, rhs: Any) -> np.ndarray:
    """A kernel whose spatial axes have length 1, as (group, output, input)."""
    conv = convolution(op)
    outputs = op.ins[1].shape[conv.rhs[0]]
    k = rhs.transpose(conv.rhs)
    k = k.reshape(k.shape[:2])
    if k.shape[0] == 1:
        return k.reshape(1, 1, k.shape[1])
    return k.reshape(conv.groups, outputs // conv.groups, k.shape[1])


def conv_result(op: Op, mask: Any) -> np.ndarray:
    """What is known of (batch, group, feature), for the axes of the result."""
    conv = convolution(op)
    features = op.outs[0].shape[conv.out[1]]
    if mask.shape[1:] != (1, 1):
        mask = np.broadcast_to(mask, (mask.shape[0], conv.groups, features // conv.groups))
    mask = mask.reshape(mask.shape[0], -1)
    full = mask.reshape(*mask.shape, *[1] * (len(conv.out) - 2))
    return full.transpose(np.argsort(conv.out))
