"""Weight decay against its formulas, and against L2 in the loss."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg

STEPS = 20
RATE, DECAY = 0.03, 0.2
RATE_SCHEDULE = optax.cosine_decay_schedule(RATE, 2 * STEPS)
DECAY_SCHEDULE = optax.linear_schedule(DECAY, 0.0, 2 * STEPS)

same = chex.assert_trees_all_equal
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def params():
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


def nothing(params):
    return 0.0 * sum(jnp.sum(w) for w in jax.tree.leaves(params))


def train(tx, params, loss=loss):
    """The parameters after `STEPS` jitted steps."""

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params


# Against the formulas.

OPTIMIZERS = {
    "sgd": optax.sgd(RATE),
    "momentum": optax.sgd(RATE, momentum=0.9),
    "adam": optax.adam(RATE),
    "lion": optax.lion(RATE, weight_decay=0.0),
    "rmsprop": optax.rmsprop(RATE),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_decoupled_decay_adds_its_formula_to_any_optimizer(params, optimizer):
    gradients = jax.grad(loss)(params)
    tx = optax.chain(optimizer, jaxreg.decoupled_weight_decay(DECAY, RATE))
    bare, _ = optimizer.update(gradients, optimizer.init(params), params)
    decayed, _ = tx.update(gradients, tx.init(params), params)
    decay = jax.tree.map(lambda new, old: new - old, decayed, bare)
    expected = jax.tree.map(
        lambda w, is_weight: -RATE * DECAY * w * is_weight,
        params,
        jaxreg.weights.of(params),
    )
    close(decay, expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_without_gradients_weights_decay_geometrically(params, optimizer):
    tx = optax.chain(optimizer, jaxreg.decoupled_weight_decay(DECAY, RATE))
    trained = train(tx, params, nothing)
    for name, layer in params.items():
        factor = (1 - RATE * DECAY) ** STEPS
        np.testing.assert_allclose(
            trained[name]["kernel"], factor * layer["kernel"], rtol=1e-5
        )
        same(trained[name]["bias"], layer["bias"])


def test_decoupled_decay_follows_both_schedules(params):
    tx = jaxreg.decoupled_weight_decay(DECAY_SCHEDULE, RATE_SCHEDULE)
    trained = train(tx, params, nothing)
    steps = np.arange(STEPS)
    factor = np.prod(1 - np.vectorize(RATE_SCHEDULE)(steps) * DECAY_SCHEDULE(steps))
    for name, layer in params.items():
        np.testing.assert_allclose(
            trained[name]["kernel"], factor * layer["kernel"], rtol=1e-5
        )


@pytest.mark.parametrize("axis", [None, "coordinate"])
def test_weight_decay_per_layer(params, axis):
    second = jnp.array([0.0, 0.4]) if axis else 0.4
    tx = jaxreg.decoupled_weight_decay({"first": 0.1, "second": second}, RATE)
    trained = train(tx, params, nothing)
    for name, decay in {"first": 0.1, "second": second}.items():
        factor = (1 - RATE * decay) ** STEPS
        np.testing.assert_allclose(
            trained[name]["kernel"], factor * params[name]["kernel"], rtol=1e-5
        )


def test_weight_decay_of_another_structure_is_refused(params):
    with pytest.raises(ValueError, match="weight_decay must .* 'third'"):
        jaxreg.add_l2_decay({"first": 0.1, "second": 0.2, "third": 0.3}).init(params)
    with pytest.raises(ValueError, match="weight_decay must .* 'second/kernel'"):
        jaxreg.add_l2_decay({"first": 0.1}).init(params)


# Against L2 in the loss.


@pytest.mark.parametrize(
    "decay", [DECAY, {"first": 0.1, "second": 0.4}], ids=["everywhere", "per-layer"]
)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_l2_in_the_loss_is_l2_in_the_gradient(params, decay, name):
    optimizer, penalty = OPTIMIZERS[name], jaxreg.L2.from_weight_decay(decay)
    in_loss = train(optimizer, params, lambda w: loss(w) + penalty(w))
    in_gradient = train(optax.chain(jaxreg.add_l2_decay(decay), optimizer), params)
    close(in_gradient, in_loss, rtol=1e-4, atol=1e-5)
    assert not np.allclose(
        in_loss["first"]["kernel"], train(optimizer, params)["first"]["kernel"], rtol=1e-2
    )


@pytest.mark.parametrize("decay", [0.2, {"first": 0.1, "second": jnp.array([0.2, 0.4])}])
def test_weight_decay_of_l2(params, decay):
    penalty = jaxreg.L2.from_weight_decay(decay)
    close(penalty.weight_decay, decay)
    close(penalty.strength, jax.tree.map(lambda x: x / 2, decay))


def test_weight_decay_of_l2_keeps_the_mask(params):
    penalty = jaxreg.L2.from_weight_decay(DECAY, mask=jaxreg.named("bias"))
    expected = jax.tree.map(
        lambda w, is_weight: DECAY * w * (not is_weight),
        params,
        jaxreg.weights.of(params),
    )
    close(jax.grad(penalty)(params), expected)
