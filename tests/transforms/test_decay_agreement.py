"""Weight decay against Optax's, PyTorch's and Keras', where they mean the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg
from tests.helpers.decays import (
    DECAY,
    DECAY_SCHEDULE,
    RATE,
    RATE_SCHEDULE,
    close,
    loss,
    network,
    same,
    train,
)


def counts():
    """Whether Optax's schedules of a decay count: those of 0.2.6 stay at their start."""
    tx = optax.add_decayed_weights(lambda count: count)
    _, state = tx.update(jnp.zeros(1), tx.init(jnp.zeros(1)), jnp.zeros(1))
    return optax.tree.get(state, "count") == 1


if_it_counts = pytest.mark.skipif(not counts(), reason="Optax's schedule does not count")
constant_or_scheduled = pytest.mark.parametrize(
    ("rate", "decay"),
    [
        (RATE, DECAY),
        pytest.param(RATE_SCHEDULE, DECAY_SCHEDULE, marks=if_it_counts),
    ],
    ids=["constant", "scheduled"],
)


@pytest.fixture(scope="module")
def params():
    return network()


# Optax.


@pytest.mark.sampled(2)
@pytest.mark.parametrize("decay", [DECAY, DECAY_SCHEDULE], ids=["constant", "scheduled"])
@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_l2_in_the_gradient_is_that_of_optax(params, decay, wrap):
    def updates(tx):
        return wrap(tx.update)(jax.grad(loss)(params), tx.init(params), params)[0]

    ours = jaxreg.add_l2_decay(decay, mask=jaxreg.everything)
    same(updates(ours), updates(optax.add_decayed_weights(decay)))


SCALERS = {
    "adamw": (optax.scale_by_adam, optax.adamw),
    "lion": (functools.partial(optax.scale_by_lion, b2=0.99), optax.lion),
}


@pytest.mark.sampled(2)
@constant_or_scheduled
@pytest.mark.parametrize("name", SCALERS)
def test_l2_decay_after_the_scaling_is_theirs_bit_for_bit(params, rate, decay, name):
    scaler, theirs = SCALERS[name]
    ours = optax.chain(
        scaler(),
        jaxreg.add_l2_decay(decay, mask=jaxreg.everything),
        optax.scale_by_learning_rate(rate),
    )
    same(train(ours, params), train(theirs(rate, weight_decay=decay), params))


def sgdw(rate, weight_decay, mask=None):
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), optax.sgd(rate))


# An optimizer without decay, and Optax's with it.
PAIRS = {
    "adamw": (optax.adam, optax.adamw),
    "lion": (functools.partial(optax.lion, weight_decay=0.0), optax.lion),
    "sgd": (optax.sgd, sgdw),
}


@pytest.mark.sampled(3)
@constant_or_scheduled
@pytest.mark.parametrize("mask", [jaxreg.everything, jaxreg.weights], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_with_decay_is_theirs_to_a_rounding(params, rate, decay, mask, name):
    plain, decayed = PAIRS[name]
    ours = jaxreg.with_decay(plain(rate), decay, learning_rate=rate, mask=mask)
    theirs = decayed(rate, weight_decay=decay, mask=mask.of)
    jax.tree.map(
        functools.partial(np.testing.assert_array_max_ulp, maxulp=1),
        train(ours, params, steps=1),
        train(theirs, params, steps=1),
    )
    # Two units in the last place of numbers around one.
    close(train(ours, params), train(theirs, params), rtol=2.0**-22, atol=2.0**-22)


# PyTorch.

TARGET = np.linspace(-1.0, 1.0, 6)
CURVATURE = np.geomspace(0.1, 3.0, 6)


def gradient(w):
    return CURVATURE * (w - TARGET) + 0.3 * w**3


def torch_path(make):
    torch = pytest.importorskip("torch")
    w = torch.tensor(np.cos(np.arange(6.0)), requires_grad=True)
    optimizer = make(torch.optim, [w])
    for _ in range(50):
        w.grad = torch.tensor(gradient(w.detach().numpy()))
        optimizer.step()
    return w.detach().numpy()


def our_path(tx):
    def step(carry, _):
        w, state = carry
        updates, state = tx.update(gradient(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.cos(jnp.arange(6.0))
    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=50)[0])((w, tx.init(w)))[
        0
    ]


coupled = functools.partial(jaxreg.add_l2_decay, DECAY)

TORCH = {
    "Adam": (
        lambda optim, w: optim.Adam(w, RATE, weight_decay=DECAY),
        lambda: optax.chain(coupled(), optax.adam(RATE)),
    ),
    "AdamW": (
        lambda optim, w: optim.AdamW(w, RATE, weight_decay=DECAY),
        lambda: jaxreg.with_decay(optax.adam(RATE), DECAY, learning_rate=RATE),
    ),
    "SGD": (
        lambda optim, w: optim.SGD(w, RATE, weight_decay=DECAY, momentum=0.9),
        lambda: optax.chain(coupled(), optax.sgd(RATE, momentum=0.9)),
    ),
    "RMSprop": (
        lambda optim, w: optim.RMSprop(w, RATE, weight_decay=DECAY, alpha=0.9),
        lambda: optax.chain(coupled(), optax.rmsprop(RATE, eps_in_sqrt=False)),
    ),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", TORCH)
def test_fifty_steps_of_pytorch(name):
    theirs, ours = TORCH[name]
    with jax.enable_x64(True):
        np.testing.assert_allclose(our_path(ours()), torch_path(theirs), atol=1e-12)


# Keras.

KERAS = {
    "L1": (jaxreg.L1(0.03), {"l1": 0.03}),
    "L2": (jaxreg.L2(0.2), {"l2": 0.2}),
    "L1L2": (jaxreg.ElasticNet(l1=0.03, l2=0.2), {"l1": 0.03, "l2": 0.2}),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", KERAS)
def test_regularizers_of_keras(monkeypatch, params, name):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    penalty, arguments = KERAS[name]
    kernel = params["first"]["kernel"]
    theirs = getattr(keras.regularizers, name)(**arguments)(kernel)
    np.testing.assert_allclose(penalty(kernel), theirs, rtol=1e-6)
