"""Samples and inputs that change nothing, so that data of similar sizes share a program.

A sample of weight 0 has no effect. An input that is always 0, with weights of 0, gets no
gradient, so that its weights stay 0.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxreg.networks.inputs import Folded, InputPath
from jaxreg.networks.perceptron import FIRST

# Data of fewer samples or inputs than this are so small that padding costs no time.
_SAMPLES, _INPUTS = 256, 16


def padded_length(length: int, least: int) -> int:
    """A length that is at most a quarter larger, one of four for each power of two."""
    step = 2 ** max(0, (length - 1).bit_length() - 3)
    return max(least, -(-length // step) * step)


def padded(starts: Any, data: Any, folds: Folded) -> tuple[Any, Any, Folded]:
    """Parameters, data and weights with more samples and inputs, which have no effect.

    Args:
        starts: Parameters of a `Perceptron`, with an axis in front.
        data: Inputs (samples, inputs) and targets (samples,).
        folds: Weights of the samples.

    Returns:
        The same of the padded sizes.
    """
    x, y = data
    samples, inputs = x.shape
    more = padded_length(samples, _SAMPLES) - samples
    wider = padded_length(inputs, _INPUTS) - inputs
    x = np.pad(x, ((0, more), (0, wider)))
    layer = starts[FIRST]
    kernel = np.pad(layer["kernel"], ((0, 0), (0, wider), (0, 0)))
    starts = {**starts, FIRST: {**layer, "kernel": kernel}}
    widened = [np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, more)]) for w in folds]
    return starts, (x, np.pad(y, (0, more))), Folded(*widened)


def without_padding(path: InputPath, inputs: int) -> InputPath:
    """The path of the first inputs alone."""
    layer = path.networks[FIRST]
    first = {**layer, "kernel": layer["kernel"][:, :inputs]}
    networks = {**path.networks, FIRST: first}
    return dataclasses.replace(path, used=path.used[:, :inputs], networks=networks)
