"""What weight decay does to a whole run: its units, its equilibria, its fixed points."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg

# Whether the strength depends on the scale of the loss.

TARGET = jnp.array([1.0, -2.0, 3.0])
CURVATURE = jnp.array([4.0, 1.0, 0.5])


def quadratic(w):
    return jnp.sum(CURVATURE * (w - TARGET) ** 2) / 2


def minimised(tx, steps, scale=1.0, loss=quadratic):
    """Where an optimizer ends on a multiple of the loss."""

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(scale * jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.zeros(3, TARGET.dtype)
    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0])(
        (w, tx.init(w))
    )[0]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_only_decoupled_decay_does_not_feel_the_scale_of_the_loss(scale):
    with jax.enable_x64(True):
        adam = optax.adam(1e-2, eps=1e-20)
        decoupled = jaxreg.with_decay(adam, 0.1, learning_rate=1e-2, mask=jaxreg.everything)
        coupled = optax.chain(jaxreg.add_l2_decay(0.1, jaxreg.everything), adam)
        for tx, is_same in ((decoupled, True), (coupled, False)):
            apart = minimised(tx, 500, scale) - minimised(tx, 500)
            assert (np.max(abs(apart)) < 1e-6) == is_same


def test_cautious_decay_keeps_the_minimiser():
    def fitted(cautious):
        rate = optax.linear_schedule(0.2, 0.0, 4000)
        return minimised(
            jaxreg.with_decay(optax.sgd(rate), 0.5, learning_rate=rate, cautious=cautious),
            4000,
        )

    np.testing.assert_allclose(fitted(cautious=True), TARGET, atol=1e-3)
    ridge = CURVATURE * TARGET / (CURVATURE + 0.5)
    np.testing.assert_allclose(fitted(cautious=False), ridge, atol=1e-3)


def test_momentum_multiplies_the_gradient_but_not_a_decay_beside_it():
    sgd = optax.sgd(0.02, momentum=0.9)
    beside = minimised(jaxreg.with_decay(sgd, 0.5, learning_rate=0.02), 3000)
    inside = minimised(optax.chain(jaxreg.add_l2_decay(0.5), sgd), 3000)
    np.testing.assert_allclose(beside, CURVATURE * TARGET / (CURVATURE + 0.05), rtol=1e-4)
    np.testing.assert_allclose(inside, CURVATURE * TARGET / (CURVATURE + 0.5), rtol=1e-4)


# A layer before a normalisation: the loss does not depend on its norm, so gradients are
# orthogonal to it, and inversely proportional to its norm. Here they are all noise.

SIZE = 256


def norms(tx, start, steps):
    """The norm of such a layer after every step."""

    def step(carry, key):
        w, state = carry
        norm = jnp.linalg.norm(w)
        noise = jax.random.normal(key, (SIZE,))
        gradient = (noise - (noise @ w) * w / norm**2) / norm
        updates, state = tx.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), jnp.linalg.norm(w)

    keys = jax.random.split(jax.random.key(0), steps)
    w = jnp.full(SIZE, start / SIZE**0.5)
    run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[1])
    return run((w, tx.init(w)), keys)


@pytest.mark.parametrize("decay", [0.05, 0.2])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_norms_settle_where_theory_says(name, decay):
    rate = 0.01
    optimizer, predicted = {
        "adamw": (optax.adam(rate), (rate * SIZE / (2 * decay)) ** 0.5),
        "sgd": (optax.sgd(rate), (rate * SIZE / (2 * decay)) ** 0.25),
    }[name]
    path = norms(
        jaxreg.with_decay(optimizer, decay, learning_rate=rate), 1.3 * predicted, 6000
    )
    assert path[0] > 1.2 * predicted
    np.testing.assert_allclose(jnp.mean(path[-1000:]), predicted, rtol=0.03)


def test_corrected_decay_keeps_norms_under_a_falling_learning_rate():
    peak, decay, steps = 0.01, 0.2, 8000
    schedule = optax.cosine_decay_schedule(peak, steps)
    start = (peak * SIZE / (2 * decay)) ** 0.5

    def path(**options):
        tx = jaxreg.with_decay(
            optax.adam(schedule), decay, learning_rate=schedule, **options
        )
        return norms(tx, start, steps)

    corrected = path(coupling="corrected", peak=peak)
    np.testing.assert_allclose(corrected[500:], start, rtol=0.05)
    assert path()[-1] < 0.7 * start


# Bounds.


def outward(tx, w, steps):
    """Norms of both leaves, and states, step by step under gradients that pull outward."""

    def step(carry, _):
        w, state = carry
        pull = jax.tree.map(lambda x: -0.1 * x / jnp.linalg.norm(x), w)
        updates, state = tx.update(pull, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), (jax.tree.map(jnp.linalg.norm, w), state)

    carry = w, tx.init(w)
    return jax.jit(lambda c: jax.lax.scan(step, c, length=steps)[1])(carry)


@pytest.mark.parametrize("bound", [1.0, 0.5])
def test_each_leaf_keeps_the_norm_that_it_has_after_the_warmup(bound):
    w = {"a": jnp.ones(4) / 2, "b": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(1)}}
    tx = optax.chain(
        optax.sgd(0.1), jaxreg.constrained_parameter_regularization(10, bound=bound)
    )
    free, _ = outward(optax.sgd(0.1), w, 10)
    path, states = outward(tx, w, 1000)
    kernel, bias = path["b"]["kernel"], path["b"]["bias"]
    np.testing.assert_array_equal(path["a"][:10], free["a"])
    np.testing.assert_allclose(path["a"][-1], bound * 1.1, rtol=0.02)
    np.testing.assert_allclose(kernel[-1], bound * kernel[9], rtol=0.02)
    np.testing.assert_allclose(bias[-1], 1 + 1000 * 0.01, rtol=1e-4)
    # A multiplier may touch zero in one step; on average it does not.
    multipliers = jnp.mean(states[1].multipliers[-100:], axis=0)
    assert multipliers[0] > multipliers[1] > 0


def test_what_is_within_its_bound_does_not_decay():
    w = {"kernel": jnp.array([3.0, -4.0])}
    tx = jaxreg.constrained_parameter_regularization(0, bound=1.5)
    inward = {"kernel": jnp.array([-0.5, 0.25])}
    updates: Any
    state: Any
    updates, state = tx.update(inward, tx.init(w), w)
    np.testing.assert_array_equal(updates["kernel"], inward["kernel"])
    assert state.multipliers.tolist() == [0]


def test_small_multipliers_give_the_update_of_the_paper():
    rng = np.random.default_rng(0)
    start, steps = rng.normal(size=8), 0.02 * rng.normal(size=(30, 8)) + 0.01
    w, multiplier = start.copy(), 0.0
    for u in steps:
        w = w + u
        multiplier = max(0.0, multiplier + 0.02 * (np.mean(w**2) - np.mean(start**2)))
        w = w - 2 * multiplier * w
    tx = jaxreg.constrained_parameter_regularization(0, rate=0.02)
    ours: Any = jnp.asarray(start, jnp.float32)
    state: Any = tx.init(ours)
    for u in jnp.asarray(steps, jnp.float32):
        updates, state = tx.update(u, state, ours)
        ours = optax.apply_updates(ours, updates)
    effect = np.max(abs(start + np.sum(steps, axis=0) - w))
    assert effect > 0.1
    np.testing.assert_allclose(ours, w, atol=0.01 * effect)
    np.testing.assert_allclose(state.multipliers, [multiplier], rtol=0.01)
