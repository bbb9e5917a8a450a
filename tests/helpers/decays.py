"""What the tests of weight decay train: a small network, for a few steps."""

import functools

import chex
import jax
import jax.numpy as jnp
import optax

STEPS = 20
RATE, DECAY = 0.03, 0.2
RATE_SCHEDULE = optax.cosine_decay_schedule(RATE, 2 * STEPS)
DECAY_SCHEDULE = optax.linear_schedule(DECAY, 0.0, 2 * STEPS)

same = chex.assert_trees_all_equal
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


def network():
    keys = jax.random.split(jax.random.key(0), 2)
    return {
        "first": {"kernel": jax.random.normal(keys[0], (3, 4)), "bias": jnp.ones(4)},
        "second": {"kernel": jax.random.normal(keys[1], (4, 2)), "bias": -jnp.ones(2)},
    }


def loss(params):
    x = jnp.linspace(-1.0, 2.0, 15).reshape(5, 3)
    first, second = params["first"], params["second"]
    hidden = jnp.tanh(x @ first["kernel"] + first["bias"])
    return jnp.mean((hidden @ second["kernel"] + second["bias"] - 1.0) ** 2)


def train(tx, params, loss=loss, steps=STEPS):
    """The parameters after some jitted steps."""

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params
