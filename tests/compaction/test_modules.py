"""Modules of nnx and Equinox whose layers are smaller, by their own code."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx

from jaxreg.compaction import compact_module
from tests.compaction.models import Transformer, randomized
from tests.compaction.test_compact import numbers


class Attention(nnx.Module):
    """An embedding, attention of two heads, a convolution, and a norm that keeps means."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 6, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 6, 8, decode=False, rngs=rngs)
        self.conv = nnx.Conv(6, 4, (3,), rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.out = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        return self.out(nnx.relu(self.norm(self.conv(x + self.attend(x)))))


def nnx_module(make):
    """A module with random numbers, and a function that sets slices to zero."""
    graph, state = nnx.split(make(nnx.Rngs(0)))
    return nnx.merge(graph, jax.tree.map(jnp.abs, randomized(state)))


def cut(variable, index):
    variable[...] = variable[...].at[index].set(0)


def attention():
    module = nnx_module(Attention)
    for part in (module.attend.value.kernel, module.attend.value.bias):
        cut(part, (..., 0, slice(None)))  # a head
    for part in (module.norm.scale, module.norm.bias):
        cut(part, jnp.array([1, 3]))
    for part in (module.embed.embedding, module.attend.out.kernel, module.attend.out.bias):
        cut(part, (..., 2))  # a channel of the stream
    return module


def test_the_sizes_of_nnx_layers_are_those_of_their_arrays():
    module, tokens = attention(), jnp.array([[0, 1, 2, 4]])
    small, table = compact_module(module, tokens)
    assert type(small) is Attention
    assert small.embed.features == small.embed.embedding.shape[-1] == 5
    assert small.attend.num_heads == 1
    assert (small.attend.in_features, small.attend.out_features) == (5, 5)
    assert small.attend.query.out_features == (1, 4)
    assert (small.conv.in_features, small.conv.out_features) == (5, 2)
    assert small.conv.kernel_shape == (3, 5, 2)
    assert (small.norm.num_features, small.out.in_features) == (2, 2)
    assert table.parameters[1] < table.parameters[0]
    more = jnp.array([[3, 1, 0], [2, 2, 4]])
    np.testing.assert_allclose(small(more), module(more), rtol=1e-4, atol=1e-5)
    assert module.embed.features == 6  # That which was given is as it was.
    value, slopes = nnx.value_and_grad(lambda m: m(more).sum())(small)
    assert jnp.isfinite(value)
    assert slopes.out.kernel.shape == (2, 3)


def test_the_sizes_of_equinox_layers_are_those_of_their_arrays():
    keys = jax.random.split(jax.random.key(0), 2)
    module = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, key=keys[0]),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(16, 3, key=keys[1]),
        ]
    )
    parts = lambda m: (m[0].weight, m[0].bias)  # noqa: E731
    module = eqx.tree_at(parts, module, [x.at[1].set(0) for x in parts(module)])
    x = numbers(2, 1, 4, 4)
    small, _ = compact_module(module, x, call=lambda m, x: jax.vmap(m)(x))
    assert (small[0].out_channels, small[0].in_channels) == (3, 1)
    assert small[0].weight.shape == (3, 1, 3, 3)
    assert (small[2].in_features, small[2].out_features) == (12, 3)
    assert module[0].out_channels == 4
    np.testing.assert_allclose(small(x[0]), module(x[0]), rtol=1e-5, atol=1e-6)


class Scaled(eqx.Module):
    linear: eqx.nn.Linear

    def __call__(self, x):
        h = jax.nn.relu(self.linear(x))
        return h[:2] + h.mean()


@pytest.mark.parametrize("x", [jnp.zeros(3), numbers(3)])
def test_a_module_that_would_compute_something_else_is_refused(x):
    """A mean over fewer channels: of zeros, it is the same by chance."""
    module = Scaled(eqx.nn.Linear(3, 4, key=jax.random.key(0)))
    parts = lambda m: (m.linear.weight, m.linear.bias)  # noqa: E731
    module = eqx.tree_at(parts, module, [0 * y.at[:2].set(1) for y in parts(module)])
    module = eqx.tree_at(lambda m: m.linear.weight, module, numbers(4, 3).at[3].set(0))
    with pytest.raises(ValueError, match=r"its results differ by .* jaxreg\.compact"):
        compact_module(module, x)


def test_a_module_whose_code_splits_by_numbers_is_refused():
    module = nnx_module(Transformer)
    cut(module.blocks[0].qkv.kernel, (slice(None), slice(20, 24)))
    cut(module.blocks[0].qkv.bias, slice(20, 24))
    with pytest.raises(ValueError, match="Its code uses sizes that cannot be rewritten"):
        compact_module(module, jnp.array([[0, 1, 2]]))


def test_linen_modules_are_to_be_defined_anew():
    with pytest.raises(TypeError, match="nnx or Equinox, got Dense.*features"):
        compact_module(nn.Dense(2), jnp.ones((1, 2)))
