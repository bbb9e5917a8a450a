"""The controller ends at the wanted share of zeros, and those zeros are the penalty's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

import jaxreg as jr


def features():
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    x = np.c_[x, np.random.default_rng(0).normal(size=(len(x), 30))]
    return (
        StandardScaler().fit_transform(x).astype(np.float32),
        (y / y.std()).astype(np.float32),
    )


X, Y = features()
START = {"kernel": jnp.zeros(40), "bias": jnp.zeros(())}


def loss(params):
    return jnp.mean((X @ params["kernel"] + params["bias"] - Y) ** 2) / 2


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(optimizer, steps):
    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), jr.sparsity(params)

    carry = START, optimizer.init(START)
    (params, state), zeros = jax.lax.scan(step, carry, length=steps)
    return params, state, zeros


@pytest.mark.parametrize("strength", [1e-6, 0.1])
@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [(None, 0.01), (jr.prox_sgd, 0.1), (jr.dual_averaging_adam, 0.01)],
)
def test_it_ends_at_the_target(optimizer, rate, strength):
    tx = jr.target_sparsity(rate, jr.L1(strength), 0.7, optimizer=optimizer)
    params, state, zeros = train(tx, 3000)
    assert np.all(np.abs(np.asarray(zeros[-200:]) - 0.7) <= 0.026)  # one weight of 40
    assert params["bias"] != 0
    # The strength that it found makes these zeros by itself.
    found = jr.L1(strength) * jnp.exp(state.log_factor)
    slopes = np.abs(jax.grad(loss)(params)["kernel"])
    assert np.all(slopes[np.asarray(params["kernel"]) == 0] <= 1.05 * found.strength)


def test_a_rising_target_is_followed():
    tx = jr.target_sparsity(
        0.1, jr.L1(1e-3), optax.linear_schedule(0.2, 0.8, 2000), optimizer=jr.prox_sgd
    )
    zeros = np.asarray(train(tx, 3000)[2])
    assert abs(zeros[1000] - 0.5) < 0.08
    assert abs(zeros[-1] - 0.8) < 0.026


def test_without_gain_the_strength_stays():
    plain = train(jr.prox_adam(0.01, jr.L1(0.05)), 100)[0]
    params, state, _ = train(jr.target_sparsity(0.01, jr.L1(0.05), 0.9, gain=0.0), 100)
    np.testing.assert_array_equal(params["kernel"], plain["kernel"])
    assert state.log_factor == 0


def test_a_target_out_of_reach_gives_finite_numbers():
    tx = jr.target_sparsity(0.01, jr.L2(0.1), 1.0, gain=1.0)
    params, state, _ = train(tx, 200)
    assert state.log_factor == 20
    assert np.all(np.isfinite(params["kernel"]))


def test_targets_are_shares():
    with pytest.raises(ValueError, match=r"target must be at most 1, got 1.5"):
        jr.target_sparsity(0.1, jr.L1(0.1), 1.5)
    with pytest.raises(TypeError, match="must be a jaxreg penalty"):
        jr.target_sparsity(0.1, 0.1, 0.5)  # pyright: ignore[reportArgumentType]
