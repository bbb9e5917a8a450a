"""What the benchmarks measure: parameter trees, penalties and optimizers."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr

LEARNING_RATE = 1e-3

Params = dict[str, dict[str, jax.Array]]
Shapes = dict[str, dict[str, tuple[int, ...]]]
Optimizers = dict[str, Callable[[], optax.GradientTransformation]]


def layers(leaves: int, size: int) -> Shapes:
    """Kernels and biases, about `size` entries in `leaves` leaves."""
    count = leaves // 2
    rows = max(1, round(size / count / 256))
    return {f"layer_{i}": {"kernel": (rows, 256), "bias": (256,)} for i in range(count)}


def gpt(width: int = 768, depth: int = 12, vocabulary: int = 50257) -> Shapes:
    """The leaves of a GPT-2: 124 million entries in 196 leaves, unless told otherwise."""
    square, wide = (width, width), (width, 4 * width)
    tree: Shapes = {
        "embedding": {"tokens": (vocabulary, width), "positions": (1024, width)},
        "final_norm": {"scale": (width,), "bias": (width,)},
    }
    for i in range(depth):
        for name in ("query", "key", "value", "output"):
            tree[f"block_{i}_{name}"] = {"kernel": square, "bias": (width,)}
        tree[f"block_{i}_up"] = {"kernel": wide, "bias": wide[1:]}
        tree[f"block_{i}_down"] = {"kernel": wide[::-1], "bias": (width,)}
        for name in ("norm_1", "norm_2"):
            tree[f"block_{i}_{name}"] = {"scale": (width,), "bias": (width,)}
    return tree


TREES: dict[str, Callable[[], Shapes]] = {
    "one leaf": lambda: {"layer": {"kernel": (10_000, 1_000)}},
    "resnet": lambda: layers(300, 25_000_000),
    "gpt": gpt,
    "small leaves": lambda: layers(2000, 2000 * 256),
    "tiny": lambda: layers(4, 1024),
}


def filled(shapes: Shapes, dtype: Any = "float32") -> Params:
    """Parameters of given shapes: numbers of usual sizes, the same in every run."""

    def fill(shape: tuple[int, ...]) -> jax.Array:
        return jnp.broadcast_to(0.1 * jnp.cos(jnp.arange(shape[-1])), shape).astype(dtype)

    return jax.tree.map(fill, shapes, is_leaf=lambda x: type(x) is tuple)


def penalties(strength: float = 1e-4) -> dict[str, jr.Penalty]:
    """Every public penalty that has a prox, with that strength where it has one."""
    found: dict[str, jr.Penalty] = {}
    for name in dir(jr):
        cls = getattr(jr, name)
        is_class = isinstance(cls, type) and issubclass(cls, jr.Penalty)
        if is_class and not inspect.isabstract(cls) and cls.has_prox:
            found[name] = cls() * strength
    return found


def optimizers() -> Optimizers:
    """The optimizers that the claims are about, and what they are compared with."""
    return {
        "optax.adam": lambda: optax.adam(LEARNING_RATE),
        "optax.adamw": lambda: optax.adamw(LEARNING_RATE, weight_decay=1e-2),
        "prox_adam, L1": lambda: jr.prox_adam(LEARNING_RATE, jr.L1(1e-4)),
        "prox_adam, ElasticNet": lambda: jr.prox_adam(
            LEARNING_RATE, jr.ElasticNet(1e-4, 1e-4)
        ),
        "prox_adam, GroupLasso": lambda: jr.prox_adam(LEARNING_RATE, jr.GroupLasso(1e-4)),
        "adam, decoupled decay": lambda: jr.with_decay(
            optax.adam(LEARNING_RATE), 1e-2, learning_rate=LEARNING_RATE
        ),
    }


def decays() -> Optimizers:
    """The other decays, and what wraps an optimizer."""

    def with_decay(**options: Any) -> Callable[[], optax.GradientTransformation]:
        adam = optax.adam(LEARNING_RATE)
        return lambda: jr.with_decay(adam, 1e-2, learning_rate=LEARNING_RATE, **options)

    def adam_then(*after: optax.GradientTransformation) -> Any:
        return lambda: optax.chain(optax.adam(LEARNING_RATE), *after)

    adamw = optax.adamw(LEARNING_RATE, weight_decay=1e-2)
    return {
        "l2 decay, adam": lambda: optax.chain(
            jr.add_l2_decay(1e-2), optax.adam(LEARNING_RATE)
        ),
        "with_decay, corrected": with_decay(coupling="corrected"),
        "with_decay, implicit": with_decay(implicit=True),
        "with_decay, cautious": with_decay(cautious=True),
        "with_decay, toward start": with_decay(toward="start"),
        "constrained_parameter_regularization": adam_then(
            jr.constrained_parameter_regularization(100)
        ),
        "compensated adamw": lambda: jr.with_kahan_compensation(adamw),
        "monitor, adam": lambda: jr.monitor(optax.adam(LEARNING_RATE), every=100),
        "orthant_wise adam": lambda: jr.orthant_wise(optax.adam(LEARNING_RATE), 1e-4),
        "dual_averaging_adam, L1": lambda: jr.dual_averaging_adam(
            LEARNING_RATE, jr.L1(1e-4)
        ),
    }


def in_adam() -> Optimizers:
    """`prox_adam` with every penalty whose prox is known in Adam's metric."""

    def prox_adam(penalty: jr.Penalty) -> Callable[[], optax.GradientTransformation]:
        return lambda: jr.prox_adam(LEARNING_RATE, penalty)

    return {
        f"prox_adam, {name}": prox_adam(penalty)
        for name, penalty in penalties().items()
        if penalty.takes_metric
    }


def stepper(
    optimizer: optax.GradientTransformation,
) -> Callable[[tuple[Any, Any], Any], tuple[Any, Any]]:
    """The step that trains: from parameters and state, and gradients, to the next ones."""

    def step(carry: tuple[Any, Any], gradients: Any) -> tuple[Any, Any]:
        params, state = carry
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return step
