"""Small models of many kinds and frameworks, as pure functions of their parameters."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class Model(NamedTuple):
    """A model.

    Attributes:
        fn: `fn(params, *inputs)`.
        params: Its parameters, random.
        inputs: From a number of samples, its inputs.
    """

    fn: Callable[..., Any]
    params: Any
    inputs: Callable[[int], tuple[Any, ...]]


def randomized(params: Any, seed: int = 0) -> Any:
    """Parameters without zeros, so that none is left by an initializer."""
    rng = np.random.default_rng(seed)

    def draw(x: Any) -> Any:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        values = rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1, 1], x.shape)
        scale = 1 / np.sqrt(np.prod(x.shape[:-1])) if x.ndim > 1 else 1.0
        return jnp.asarray(values * scale, x.dtype)

    return jax.tree.map(draw, params)


def images(size: int, channels: int) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: (_normal((n, size, size, channels)),)


def vectors(length: int) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: (_normal((n, length)),)


def tokens(n: int) -> tuple[Any, ...]:
    """A batch of `n` texts of n + 3 tokens."""
    return (jnp.asarray(np.random.default_rng(n).integers(0, 11, (n, n + 3))),)


def _normal(shape: tuple[int, ...]) -> Any:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def _positive_variance(variables: Any) -> Any:
    def fix(path: Any, x: Any) -> Any:
        return jnp.abs(x) if "var" in jax.tree_util.keystr(path) else x

    return jax.tree_util.tree_map_with_path(fix, variables)


def _linen(module: nn.Module, inputs: Callable[[int], tuple[Any, ...]]) -> Model:
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs(2))
    params = _positive_variance(randomized(shapes))
    return Model(module.apply, params, inputs)  # pyright: ignore[reportArgumentType]


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        norm = functools.partial(nn.BatchNorm, use_running_average=True)
        x = nn.relu(norm()(nn.Conv(6, (3, 3))(x)))
        h = nn.relu(norm()(nn.Conv(5, (3, 3))(x)))
        x = nn.relu(x + norm()(nn.Conv(6, (3, 3))(h)))
        h = nn.relu(norm()(nn.Conv(8, (3, 3), strides=2)(x)))
        x = norm()(nn.Conv(4, (1, 1), strides=2)(x)) + norm()(nn.Conv(4, (3, 3))(h))
        return nn.Dense(3)(nn.relu(x).mean((1, 2)))


class Mobile(nn.Module):
    """Depthwise, grouped and dilated convolutions, group norm, pooling, flattening."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.relu(nn.Conv(8, (1, 1))(x))
        x = nn.relu(nn.Conv(8, (3, 3), feature_group_count=8)(x))
        x = nn.GroupNorm(4)(nn.Conv(8, (1, 1), use_bias=False)(x))
        x = nn.relu(nn.Conv(8, (3, 3), feature_group_count=4)(x))
        x = nn.relu(nn.Conv(6, (3, 3), kernel_dilation=2, padding="VALID")(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(3)(nn.relu(nn.Dense(7)(x.reshape(x.shape[0], -1))))


class DenseNet(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (3, 3))(x)
        for _ in range(3):
            h = nn.BatchNorm(use_running_average=True)(x)
            x = jnp.concatenate([x, nn.Conv(3, (3, 3))(nn.relu(h))], axis=-1)
        return nn.Dense(3)(nn.avg_pool(x, (2, 2), strides=(2, 2)).mean((1, 2)))


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        top = nn.relu(nn.Conv(4, (3, 3))(x))
        low = nn.relu(nn.Conv(6, (3, 3))(nn.max_pool(top, (2, 2), strides=(2, 2))))
        up = nn.ConvTranspose(5, (2, 2), strides=(2, 2))(low)
        x = nn.relu(nn.Conv(4, (3, 3))(jnp.concatenate([top, up], -1)))
        return nn.Conv(2, (1, 1))(x)


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.RNN(nn.LSTMCell(6))(x)
        x = nn.RNN(nn.GRUCell(5))(x)
        return nn.Dense(2)(x[:, -1])


class Block(nnx.Module):
    """A block of a transformer with one kernel for queries, keys and values."""

    def __init__(self, rngs: nnx.Rngs, width: int, heads: int):
        self.norm1, self.norm2 = (
            nnx.LayerNorm(width, rngs=rngs),
            nnx.RMSNorm(width, rngs=rngs),
        )
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.up = nnx.Linear(width, 10, rngs=rngs)
        self.down = nnx.Linear(10, width, rngs=rngs)
        self.heads = heads

    def __call__(self, x: Any) -> Any:
        n, t, width = x.shape
        q, k, v = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        q, k, v = (y.reshape(n, t, self.heads, -1) for y in (q, k, v))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.reshape(n, t, width))
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class Transformer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.position = nnx.Param(jnp.ones((32, 8)))
        self.blocks = nnx.List([Block(rngs, 8, 2) for _ in range(2)])
        self.norm = nnx.LayerNorm(8, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.embed.attend(self.norm(x))


def transformer() -> Model:
    graph, params = nnx.split(nnx.eval_shape(lambda: Transformer(nnx.Rngs(0))))
    return Model(lambda p, x: nnx.merge(graph, p)(x), randomized(params), tokens)


def _rms(x: Any, scale: Any) -> Any:
    return scale * x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def _layer(p: Any, x: Any) -> Any:
    """Grouped-query attention and a gated MLP, as in Llama."""
    h = _rms(x, p["norm1"])
    q = jnp.einsum("btd,dhk->bthk", h, p["q"])
    k, v = (jnp.einsum("btd,dgk->btgk", h, p[name]) for name in "kv")
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    x = x + jnp.einsum("bthk,hkd->btd", y, p["o"])
    h = _rms(x, p["norm2"])
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]


_LAYER = {
    "norm1": (8,),
    "norm2": (8,),
    "q": (8, 4, 3),
    "k": (8, 2, 3),
    "v": (8, 2, 3),
    "o": (4, 3, 8),
    "gate": (8, 10),
    "up": (8, 10),
    "down": (10, 8),
}


def _structs(shapes: Any, *front: int) -> Any:
    return {
        name: jax.ShapeDtypeStruct((*front, *shape), jnp.float32)
        for name, shape in shapes.items()
    }


def llama() -> Model:
    params = {
        "embed": jax.ShapeDtypeStruct((11, 8), jnp.float32),
        "layers": [_structs(_LAYER), _structs(_LAYER)],
        "head": jax.ShapeDtypeStruct((8, 11), jnp.float32),
    }

    def fn(p: Any, x: Any) -> Any:
        x = p["embed"][x]
        for layer in p["layers"]:
            x = _layer(layer, x)
        return x @ p["head"]

    return Model(fn, randomized(params), tokens)


def scanned() -> Model:
    params = {
        "embed": jax.ShapeDtypeStruct((11, 8), jnp.float32),
        "layers": _structs(_LAYER, 3),
    }

    def fn(p: Any, x: Any) -> Any:
        body = jax.checkpoint(lambda x, layer: (_layer(layer, x), None))
        x, _ = jax.lax.scan(body, p["embed"][x], p["layers"])
        return x @ p["embed"].T

    return Model(fn, randomized(params), tokens)


def experts() -> Model:
    """A mixture of experts, of which a router chooses two."""
    shapes = {"router": (6, 4), "up": (4, 6, 5), "down": (4, 5, 6), "out": (6, 2)}

    def fn(p: Any, x: Any) -> Any:
        logits = x @ p["router"]
        best, chosen = jax.lax.top_k(logits, 2)
        weights = jnp.einsum("nk,nke->ne", jax.nn.softmax(best), jax.nn.one_hot(chosen, 4))
        h = jax.nn.relu(jnp.einsum("nd,edf->nef", x, p["up"]))
        y = jnp.einsum("nef,efd->ned", h, p["down"])
        return (x + jnp.einsum("ned,ne->nd", y, weights)) @ p["out"]

    return Model(fn, randomized(_structs(shapes)), vectors(6))


def soft_experts() -> Model:
    """A mixture of all experts, whose weights sum to one."""
    shapes = {"router": (6, 4), "up": (4, 6, 5), "down": (4, 5, 6), "out": (6, 2)}

    def fn(p: Any, x: Any) -> Any:
        weights = jax.nn.softmax(x @ p["router"])
        h = jax.nn.relu(jnp.einsum("nd,edf->nef", x, p["up"]))
        y = jnp.einsum("nef,efd->ned", h, p["down"])
        return jnp.einsum("ned,ne->nd", y, weights) @ p["out"]

    return Model(fn, randomized(_structs(shapes)), vectors(6))


def _is_struct(x: Any) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct)


def equinox_mlp() -> Model:
    mlp = eqx.filter_eval_shape(eqx.nn.MLP, 5, 3, 7, 2, key=jax.random.key(0))
    params, static = eqx.partition(mlp, _is_struct)
    fn = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    return Model(fn, randomized(params), vectors(5))


def equinox_cnn() -> Model:
    def make() -> Any:
        key = jax.random.key(0)
        return eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(2, 5, 3, key=key),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.MaxPool2d(2, 2),
                eqx.nn.Conv2d(5, 4, 2, key=key),
                eqx.nn.Lambda(jnp.ravel),
                eqx.nn.Linear(16, 3, key=key),
            ]
        )

    params, static = eqx.partition(eqx.filter_eval_shape(make), _is_struct)
    fn = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    return Model(fn, randomized(params), lambda n: (_normal((n, 2, 8, 8)),))


def haiku_mlp() -> Model:
    network = hk.without_apply_rng(
        hk.transform(lambda x: hk.nets.MLP([6, 7, 3])(hk.LayerNorm(-1, True, True)(x)))
    )
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.ones((1, 5)))
    return Model(network.apply, randomized(params), vectors(5))


MAKERS: dict[str, Callable[[], Model]] = {
    "linen_resnet": lambda: _linen(ResNet(), images(6, 2)),
    "linen_mobile": lambda: _linen(Mobile(), images(8, 2)),
    "linen_densenet": lambda: _linen(DenseNet(), images(4, 2)),
    "linen_unet": lambda: _linen(UNet(), images(4, 2)),
    "linen_recurrent": lambda: _linen(Recurrent(), lambda n: (_normal((n, n + 2, 4)),)),
    "nnx_transformer": transformer,
    "llama": llama,
    "scanned": scanned,
    "experts": experts,
    "soft_experts": soft_experts,
    "equinox_mlp": equinox_mlp,
    "equinox_cnn": equinox_cnn,
    "haiku_mlp": haiku_mlp,
}


@functools.cache
def model(name: str) -> Model:
    """A model by its name."""
    return MAKERS[name]()
