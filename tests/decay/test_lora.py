"""Decay of what an adapter adds, beside NumPy and beside derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxreg.decay import lora_decay
from tests.helpers.training import draw, first_update, trained

close = np.testing.assert_allclose
STEPS = 50


@pytest.mark.parametrize("base", [None, "kernel"])
def test_fifty_steps_are_those_of_the_formula(base):
    rng = np.random.default_rng(0)
    w0, a, b = (rng.normal(size=shape) for shape in [(6, 4), (6, 2), (2, 4)])
    slopes = rng.normal(size=(STEPS, 6, 2)), rng.normal(size=(STEPS, 2, 4))
    start = {"kernel": w0, "lora_a": a, "lora_b": b}
    for t in range(STEPS):
        rate = 0.05 * (1 - t / (2 * STEPS)) * 0.3
        product = 0.5 * a @ b + (0 if base is None else w0)
        a, b = (
            a - 0.05 * slopes[0][t] - rate * 0.5 * product @ b.T,
            b - 0.05 * slopes[1][t] - rate * 0.5 * a.T @ product,
        )
    with jax.enable_x64(True):
        given = [jnp.asarray(x) for x in slopes]
        schedule = optax.linear_schedule(0.05, 0.025, STEPS)
        tx = optax.chain(
            optax.sgd(0.05),
            lora_decay(0.3, learning_rate=schedule, scale=0.5, base=base),
        )
        moved, _ = trained(
            tx,
            jax.tree.map(jnp.asarray, start),
            lambda p, i: {
                "kernel": 0 * p["kernel"],
                "lora_a": given[0][i],
                "lora_b": given[1][i],
            },
            STEPS,
        )
    close(moved["lora_a"], a, rtol=1e-6, atol=1e-6)
    close(moved["lora_b"], b, rtol=1e-6, atol=1e-6)
    close(moved["kernel"], w0)


def updates_of(tx, params, frozen=()) -> Any:
    zeros = {
        name: None if name in frozen else jnp.zeros_like(x) for name, x in params.items()
    }
    return first_update(tx, params, zeros)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_it_goes_down_the_square_of_the_merged_weight(shape):
    params = {
        "kernel": draw((*shape, 5, 4)),
        "lora_B": draw((*shape, 5, 2), 1),
        "lora_A": draw((*shape, 2, 4), 2),
    }

    def half_square(params):
        merged = params["kernel"] + 2.0 * params["lora_B"] @ params["lora_A"]
        return jnp.sum(jnp.square(merged)) / 2

    tx = lora_decay(
        0.5, learning_rate=0.1, factors=("lora_B", "lora_A"), scale=2.0, base="kernel"
    )
    updates, slopes = updates_of(tx, params, ["kernel"]), jax.grad(half_square)(params)
    assert updates["kernel"] is None
    for name in ("lora_A", "lora_B"):
        close(updates[name], -0.05 * slopes[name], rtol=1e-4, atol=1e-5)


def test_an_adapter_that_adds_nothing_is_left_alone():
    params = {"lora_a": draw((5, 2)), "lora_b": jnp.zeros((2, 4))}
    updates = updates_of(lora_decay(0.5, learning_rate=0.1), params)
    assert not any(map(np.any, updates.values()))


def test_it_shrinks_the_product_in_flax():
    model = nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(0))
    model.lora.lora_b[...] = jnp.ones((2, 3))
    added = model.lora.lora_a[...] @ model.lora.lora_b[...]
    decay = lora_decay(0.5, learning_rate=0.1, base="kernel")
    only = nnx.Any(nnx.LoRAParam)
    decayed = optax.chain(optax.sgd(0.1), lora_decay(0.5, learning_rate=0.1))
    optimizer = nnx.Optimizer(model, decayed, wrt=only)
    slopes = nnx.grad(
        lambda model: 0 * jnp.sum(model(jnp.ones((1, 4)))), argnums=nnx.DiffState(0, only)
    )
    optimizer.update(model, slopes(model))
    after = model.lora.lora_a[...] @ model.lora.lora_b[...]
    assert jnp.linalg.norm(after) < 0.99 * jnp.linalg.norm(added)
    with pytest.raises(ValueError, match="base must be.*Give `update` the parameters of"):
        decay.init(nnx.state(model, only))
    decay.init(nnx.state(model))  # The kernel is in the module around.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dtypes_jit_and_vmap(dtype):
    params = {"lora_a": draw((5, 2), dtype=dtype), "lora_b": draw((2, 4), 1, dtype)}

    def update(decay):
        return updates_of(lora_decay(decay, learning_rate=0.1), params)

    one = jax.jit(update)(0.5)
    assert {x.dtype for x in one.values()} == {jnp.dtype(dtype)}
    many = jax.vmap(update)(jnp.array([0.0, 0.5]))
    close(many["lora_a"][1].astype("float32"), one["lora_a"].astype("float32"), rtol=1e-2)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        jax.eval_shape(update, 0.5)


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({"kernel": (3, 3)}, {}, r"factors must be the last names.*none among 'kernel'"),
        ({"lora_a": (3, 2)}, {}, "beside 'lora_a' there is no 'lora_b'"),
        ({"lora_a": (2, 3), "lora_b": (4, 2)}, {}, "can be multiplied by B.*order"),
        (
            {"lora_a": (3, 2), "lora_b": (2, 4)},
            {"base": "kernel"},
            "base must be the last name.*there is no 'kernel'",
        ),
        (
            {"lora_a": (3, 2), "lora_b": (2, 4), "kernel": (4, 3)},
            {"base": "kernel"},
            "added to one of",
        ),
    ],
)
def test_what_is_no_adapter_is_refused(params, options, message):
    with pytest.raises(ValueError, match=message):
        lora_decay(0.1, learning_rate=0.1, **options).init(
            {name: jnp.ones(shape) for name, shape in params.items()}
        )


def test_names_are_checked():
    with pytest.raises(TypeError, match="factors must be two names"):
        lora_decay(0.1, learning_rate=0.1, factors="lora")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="base must be a name"):
        lora_decay(0.1, learning_rate=0.1, base=0)  # pyright: ignore[reportArgumentType]
