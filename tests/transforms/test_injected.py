"""Hyperparameters that `optax.inject_hyperparams` rounds to useless numbers in bf16."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxreg as jr
from jaxreg.decay import selective_projection_decay, with_fixed_norm
from tests.helpers.training import first_update

WRAPPERS = {
    "with_decay": lambda tx: jr.with_decay(tx, 0.1, learning_rate=0.1),
    "orthant_wise": lambda tx: jr.orthant_wise(tx, 0.1),
    "monitor": jr.monitor,
    "with_fixed_norm": lambda tx: with_fixed_norm(tx, 0.1),
    "selective_projection_decay": lambda tx: selective_projection_decay(tx, 1.0),
}
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)
W = {"kernel": jnp.ones((3, 2), jnp.bfloat16)}


def test_optax_makes_steps_of_nan():
    """If this fails, Optax has mended it, and nothing needs to be refused."""
    updates: Any = first_update(optax.inject_hyperparams(optax.adam)(0.1), W, W)
    assert jnp.all(jnp.isnan(updates["kernel"]))


@every_wrapper
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_what_is_lost_in_bf16_is_refused(name, wrap):
    injected = optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.adam)(0.1))
    with pytest.raises(ValueError, match=f"{name} needs.*rounded b2 to bfloat16.*float32"):
        wrap(WRAPPERS[name](injected).init)(W)


def test_an_epsilon_of_zero_in_f16_is_refused():
    injected = optax.inject_hyperparams(optax.adam)(0.1)
    with pytest.raises(ValueError, match="rounded eps to float16"):
        jr.with_decay(injected, 0.1, learning_rate=0.1).init({"kernel": jnp.ones(2, "f2")})


GOOD = {
    "float32": optax.inject_hyperparams(optax.adam, hyperparam_dtype=jnp.float32)(0.1),
    "few digits": optax.inject_hyperparams(optax.adam)(0.1, b2=0.95),
    "sgd": optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
}


@pytest.mark.sampled(2)
@every_wrapper
@pytest.mark.parametrize("kind", GOOD)
def test_what_keeps_its_digits_is_taken(name, kind):
    updates = first_update(WRAPPERS[name](GOOD[kind]), W, W)
    assert jnp.all(jnp.isfinite(updates["kernel"]))


def test_compensated_steps_have_float32_inside():
    injected = optax.inject_hyperparams(optax.adam)(0.1)
    tx = jr.with_kahan_compensation(jr.with_decay(injected, 0.1, learning_rate=0.1))
    assert jnp.all(jnp.isfinite(first_update(tx, W, W)["kernel"]))
