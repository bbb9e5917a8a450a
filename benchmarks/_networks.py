"""Networks that the benchmarks of `compact` measure, and zeros in them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


class ConvNet(nn.Module):
    """Three convolutions with BatchNorm, the last two in a residual block, and pooling.

    Attributes:
        width: Channels of the residual stream; the block has twice as many inside.
    """

    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Scores of the ten digits."""

        def unit(x: jax.Array, features: int) -> jax.Array:
            h = nn.Conv(features, (3, 3), use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not train, momentum=0.9)(h)

        x = nn.relu(unit(x, self.width))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(x + unit(nn.relu(unit(x, 2 * self.width)), self.width))
        return nn.Dense(10)(x.mean((1, 2)))


def without_channels(variables: Any, kept: float) -> Any:
    """Variables of a `ConvNet` with all but a fraction of the channels at zero.

    Scales and offsets are set to zero, so that the kernels are not read.
    """

    def cut(path: Any, x: jax.Array) -> jax.Array:
        names = jax.tree_util.keystr(path)
        is_norm = "BatchNorm" in names and ("scale" in names or "bias" in names)
        return x.at[round(kept * x.size) :].set(0) if is_norm else x

    return jax.tree_util.tree_map_with_path(cut, variables)


def transformer(params: Any, tokens: jax.Array, *, heads: int = 12) -> jax.Array:
    """Scores of the next token by a GPT-2 with the parameters of `_subjects.gpt`."""

    def linear(name: str, x: jax.Array) -> jax.Array:
        return x @ params[name]["kernel"] + params[name]["bias"]

    def norm(name: str, x: jax.Array) -> jax.Array:
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x).mean(-1, keepdims=True) - jnp.square(mean)
        h = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
        return h * params[name]["scale"] + params[name]["bias"]

    batch, length = tokens.shape
    embedding = params["embedding"]
    x = embedding["tokens"][tokens] + embedding["positions"][:length]
    for i in range(sum(name.endswith("_query") for name in params)):
        h = norm(f"block_{i}_norm_1", x)
        q, k, v = (
            linear(f"block_{i}_{name}", h).reshape(batch, length, heads, -1)
            for name in ("query", "key", "value")
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(f"block_{i}_output", y.reshape(x.shape))
        h = jax.nn.gelu(linear(f"block_{i}_up", norm(f"block_{i}_norm_2", x)))
        x = x + linear(f"block_{i}_down", h)
    return norm("final_norm", x) @ embedding["tokens"].T


def without_heads_and_units(params: Any, *, heads: int = 12) -> Any:
    """Numpy arrays for `transformer`, with half of the heads and of the units at zero."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda shape: np.float32(0.02) * rng.standard_normal(shape, np.float32),
        params,
        is_leaf=lambda x: type(x) is tuple,
    )
    for name, layer in params.items():
        kind = name.rpartition("_")[2]
        if kind in ("query", "key", "value", "up"):
            for x in layer.values():
                x[..., _half(x.shape, x.shape[-1] if kind == "up" else heads)] = 0
    return params


def _half(shape: Sequence[int], parts: int) -> np.ndarray:
    """Every second part of the last axis."""
    return np.arange(shape[-1]) // (shape[-1] // parts) % 2 == 0
