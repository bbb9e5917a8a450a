"""A multilayer perceptron in plain JAX: parameters are a dictionary of layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
}
"""What `activation` may be. With smooth ones inputs leave more clearly."""

FIRST = "Dense_0"
"""The layer that reads the inputs."""
KERNEL = f"^{FIRST}/kernel$"
"""The path of its weights."""
SKIP = "Skip"
"""The layer that leads from the inputs to the outputs past all others."""
SKIP_KERNEL = f"^{SKIP}/kernel$"
"""The path of its weights."""


class Perceptron(NamedTuple):
    """A network of dense layers, a pure function of parameters and inputs.

    Attributes:
        hidden: The units of each hidden layer.
        activation: One of `ACTIVATIONS`.
        outputs: The numbers that it returns for each sample.
        has_skip: Whether a linear skip connection is added to the outputs.
    """

    hidden: tuple[int, ...]
    activation: str
    outputs: int
    has_skip: bool = False

    def __call__(self, params: Any, x: Array) -> Array:
        """The outputs, an array (samples, outputs)."""
        skipped = x @ params[SKIP]["kernel"] if self.has_skip else 0.0
        activate = ACTIVATIONS[self.activation]
        for i in range(len(self.hidden)):
            x = activate(_dense(params[f"Dense_{i}"], x))
        return _dense(params[f"Dense_{len(self.hidden)}"], x) + skipped

    def init(self, key: Array, inputs: int) -> Any:
        """Random parameters, with variances of one over the inputs of a layer (LeCun).

        A skip connection is zero at first.
        """
        widths = (inputs, *self.hidden, self.outputs)
        keys = jax.random.split(key, len(widths) - 1)
        layers = {
            f"Dense_{i}": {
                "kernel": jax.random.normal(keys[i], shape) / shape[0] ** 0.5,
                "bias": jnp.zeros(shape[1]),
            }
            for i, shape in enumerate(zip(widths[:-1], widths[1:], strict=True))
        }
        skip = {SKIP: {"kernel": jnp.zeros((inputs, self.outputs))}}
        return layers | skip if self.has_skip else layers


def _dense(layer: Any, x: Array) -> Array:
    return x @ layer["kernel"] + layer["bias"]
