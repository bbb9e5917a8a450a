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


class Perceptron(NamedTuple):
    """A network of dense layers, a pure function of parameters and inputs.

    Attributes:
        hidden: The units of each hidden layer.
        activation: One of `ACTIVATIONS`.
        outputs: The numbers that it returns for each sample.
    """

    hidden: tuple[int, ...]
    activation: str
    outputs: int

    def __call__(self, params: Any, x: Array) -> Array:
        """The outputs, an array (samples, outputs)."""
        activate = ACTIVATIONS[self.activation]
        for i in range(len(self.hidden)):
            x = activate(_dense(params[f"Dense_{i}"], x))
        return _dense(params[f"Dense_{len(self.hidden)}"], x)

    def init(self, key: Array, inputs: int) -> Any:
        """Random parameters, with variances of one over the inputs of a layer (LeCun)."""
        widths = (inputs, *self.hidden, self.outputs)
        keys = jax.random.split(key, len(widths) - 1)
        return {
            f"Dense_{i}": {
                "kernel": jax.random.normal(keys[i], shape) / shape[0] ** 0.5,
                "bias": jnp.zeros(shape[1]),
            }
            for i, shape in enumerate(zip(widths[:-1], widths[1:], strict=True))
        }


def _dense(layer: Any, x: Array) -> Array:
    return x @ layer["kernel"] + layer["bias"]
