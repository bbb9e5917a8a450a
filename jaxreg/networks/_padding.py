"""Samples and inputs that change nothing, so that data of similar sizes share a program.

A sample of weight 0 has no effect. An input that is always 0, with weights of 0, gets no
gradient, so that its weights stay 0.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxreg.networks.input_path import InputPath
from jaxreg.networks.perceptron import FIRST, SKIP, Perceptron
from jaxreg.networks.tracing import Folded

# Data of fewer samples or inputs than this are so small that padding costs no time.
_SAMPLES, _INPUTS = 256, 16


def padded_length(length: int, least: int) -> int:
    """A length that is at most a quarter larger, one of four for each power of two."""
    step = 2 ** max(0, (length - 1).bit_length() - 3)
    return max(least, -(-length // step) * step)


def padded_inputs(inputs: int) -> int:
    """How many inputs a network of `inputs` is padded to."""
    return padded_length(inputs, _INPUTS)


def padded_rows(array: np.ndarray, columns: int = 0) -> np.ndarray:
    """An array with more samples, and `columns` more inputs, all zero."""
    more = padded_length(len(array), _SAMPLES) - len(array)
    return np.pad(array, [(0, more), (0, columns)][: array.ndim])


def padded_starts(network: Perceptron, keys: Array, inputs: int) -> Any:
    """Random parameters for each key, of a network with more inputs that it ignores."""
    wide = padded_inputs(inputs)
    starts = jax.tree.map(np.array, _starts(network, keys, wide))
    kernel = starts[FIRST]["kernel"] * (wide / inputs) ** 0.5  # Of variance 1/inputs.
    kernel[:, inputs:] = 0
    starts[FIRST]["kernel"] = kernel
    return starts


@functools.partial(jax.jit, static_argnums=(0, 2))
def _starts(network: Perceptron, keys: Array, wide: int) -> Any:
    return jax.vmap(lambda key: network.init(key, wide))(keys)


def padded_folds(folds: Folded) -> Folded:
    """The weights of more samples, which are zero."""
    more = padded_length(folds.train.shape[-1], _SAMPLES) - folds.train.shape[-1]
    return Folded(*[np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, more)]) for w in folds])


def without_padding(path: InputPath, inputs: int) -> InputPath:
    """The path of the first inputs alone."""
    networks = {
        name: {**layer, "kernel": layer["kernel"][:, :inputs]}
        if name in (FIRST, SKIP)
        else layer
        for name, layer in path.networks.items()
    }
    return dataclasses.replace(path, used=path.used[:, :inputs], networks=networks)
