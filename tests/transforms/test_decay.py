"""Weight decay against its formulas, and against L2 in the loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxreg
from tests.helpers.decays import (
    DECAY,
    DECAY_SCHEDULE,
    RATE,
    RATE_SCHEDULE,
    STEPS,
    close,
    loss,
    network,
    same,
    train,
)


@pytest.fixture(scope="module")
def params():
    return network()


def nothing(params):
    return 0.0 * sum(jnp.sum(w) for w in jax.tree.leaves(params))


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
    tx = optax.chain(optimizer, jaxreg.decoupled_weight_decay(DECAY, learning_rate=RATE))
    bare, _ = optimizer.update(gradients, optimizer.init(params), params)
    decayed, _ = tx.update(gradients, tx.init(params), params)
    decay = jax.tree.map(lambda new, old: new - old, decayed, bare)
    expected = jax.tree.map(
        lambda w, is_weight: -RATE * DECAY * w * is_weight,
        params,
        jaxreg.weights.of(params),
    )
    close(decay, expected)


# By how much each mode multiplies the weights in a step, at some rate and decay.
MODES: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "plain": ({}, lambda rate, decay: 1 - rate * decay),
    "implicit": ({"implicit": True}, lambda rate, decay: 1 / (1 + rate * decay)),
    "cautious": ({"cautious": True}, lambda rate, decay: 1 - rate * decay),
    "independent": (
        {"coupling": "independent", "peak": RATE},
        lambda rate, decay: 1 - rate / RATE * decay,
    ),
    "corrected": (
        {"coupling": "corrected", "peak": RATE},
        lambda rate, decay: 1 - rate**2 / RATE * decay,
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_without_gradients_weights_decay_geometrically(params, optimizer):
    trained = train(
        jaxreg.with_decay(optimizer, DECAY, learning_rate=RATE), params, nothing
    )
    assert_decayed(trained, params, (1 - RATE * DECAY) ** STEPS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rate", [RATE, RATE_SCHEDULE], ids=["constant", "scheduled"])
@pytest.mark.parametrize("decay", [DECAY, DECAY_SCHEDULE], ids=["constant", "scheduled"])
def test_without_gradients_every_mode_has_its_own_law(params, rate, decay, mode):
    options, law = MODES[mode]
    tx = jaxreg.with_decay(optax.sgd(rate), decay, learning_rate=rate, **options)
    rates, decays = (
        np.array([x(i) if callable(x) else x for i in range(STEPS)]) for x in (rate, decay)
    )
    assert_decayed(train(tx, params, nothing), params, np.prod(law(rates, decays)))


def assert_decayed(trained, params, factor):
    for name, layer in params.items():
        np.testing.assert_allclose(
            trained[name]["kernel"], factor * layer["kernel"], rtol=1e-5
        )
        same(trained[name]["bias"], layer["bias"])


def test_independent_decay_does_not_feel_the_peak(params):
    def trained(peak):
        rate = optax.warmup_cosine_decay_schedule(0.0, peak, 5, STEPS)
        tx = jaxreg.decoupled_weight_decay(
            0.1, learning_rate=rate, coupling="independent", peak=peak
        )
        return train(tx, params, nothing)

    close(trained(1e-3), trained(1e-1))
    assert_decayed(
        train(
            jaxreg.decoupled_weight_decay(0.1, learning_rate=3e-3, coupling="independent"),
            params,
            nothing,
        ),
        params,
        0.9**STEPS,
    )


def test_implicit_decay_is_the_proximal_step_of_l2(params):
    ours = jaxreg.with_decay(optax.adam(RATE), DECAY, learning_rate=RATE, implicit=True)
    penalty = jaxreg.L2.from_weight_decay(DECAY)
    theirs = optax.chain(optax.adam(RATE), jaxreg.proximal(RATE, penalty))
    close(train(ours, params), train(theirs, params))


@pytest.mark.parametrize("implicit", [False, True])
def test_cautious_decay_spares_what_the_optimizer_moves_away_from_zero(implicit):
    w = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 0.0])
    u = jnp.array([0.1, -0.1, 0.0, 0.1, -0.1, 0.0, 0.1])
    tx = jaxreg.decoupled_weight_decay(
        0.5, learning_rate=0.2, cautious=True, implicit=implicit
    )
    moved = optax.apply_updates(w, tx.update(u, tx.init(w), w)[0])
    plain = (w + u) / 1.1 if implicit else w + u - 0.1 * w
    decays = jnp.array([False, True, True, True, False, True, True])
    close(moved, jnp.where(decays, plain, w + u))


# Toward something else than zero.


@pytest.mark.parametrize("coupled", [False, True])
def test_decay_toward_pretrained_weights(params, coupled):
    pretrained = jax.tree.map(lambda w: jnp.round(w), params)
    if coupled:
        decay = jaxreg.add_l2_decay(DECAY, toward=pretrained)
        tx = optax.chain(decay, optax.sgd(RATE))
    else:
        tx = jaxreg.with_decay(
            optax.sgd(RATE), DECAY, learning_rate=RATE, toward=pretrained
        )
    apart = jax.tree.map(jnp.subtract, train(tx, params, nothing), pretrained)
    start = jax.tree.map(jnp.subtract, params, pretrained)
    for name, layer in start.items():
        factor = (1 - RATE * DECAY) ** STEPS
        close(apart[name]["kernel"], factor * layer["kernel"])
        same(apart[name]["bias"], layer["bias"])


def test_decay_toward_the_start(params):
    tx = jaxreg.decoupled_weight_decay(DECAY, learning_rate=RATE_SCHEDULE, toward="start")
    same(train(tx, params, nothing), params)
    free, held = (
        optax.sgd(RATE),
        jaxreg.with_decay(optax.sgd(RATE), 5.0, learning_rate=RATE, toward="start"),
    )

    def distance(tx):
        apart = jax.tree.map(jnp.subtract, train(tx, params), params)
        return optax.tree.norm(apart["first"]["kernel"])

    assert distance(held) < 0.7 * distance(free)


def test_cautious_decay_toward_the_start_looks_from_there():
    w, u = jnp.array([1.0, 1.0]), jnp.array([0.1, -0.1])
    tx = jaxreg.decoupled_weight_decay(
        0.5, learning_rate=0.2, cautious=True, toward=jnp.array([2.0, 2.0])
    )
    close(tx.update(u, tx.init(w), w)[0], jnp.array([0.2, -0.1]))


@pytest.mark.parametrize("given", [False, True], ids=["start", "given"])
def test_the_reference_survives_donation_and_keeps_its_sharding(params, given):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    placed = jax.device_put(jax.tree.map(jnp.copy, params), spec)
    tx = jaxreg.decoupled_weight_decay(
        DECAY, learning_rate=RATE, toward=placed if given else "start", cautious=True
    )
    state: Any = tx.init(placed)
    assert state.reference["first"]["bias"].nbytes == placed["first"]["bias"].size
    assert state.reference["first"]["kernel"].sharding == spec
    step = jax.jit(
        lambda params, state: (optax.apply_updates(params, params), state), donate_argnums=0
    )
    moved, state = step(placed, state)
    same(state.reference["second"]["kernel"], params["second"]["kernel"])
    updates, state = jax.jit(tx.update, donate_argnums=1)(
        jax.tree.map(jnp.zeros_like, moved), state, moved
    )
    close(updates["first"]["kernel"], -RATE * DECAY * params["first"]["kernel"])


def test_decay_toward_the_start_in_nnx_and_with_injected_rates():
    make = optax.inject_hyperparams(jaxreg.decoupled_weight_decay)
    decay = make(
        DECAY,
        learning_rate=RATE_SCHEDULE,
        coupling="independent",
        peak=RATE,
        toward="start",
    )
    model: Any = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, decay, wrt=nnx.Param)
    before = np.asarray(model.kernel)

    @nnx.jit
    def step(model, optimizer, sign):
        gradients = nnx.grad(lambda m: sign * (m.kernel[...].sum() + m.bias[...].sum()))
        optimizer.update(model, gradients(model))

    step(model, optimizer, 1.0)  # The gradient is the update: w ← w + 1.
    close(model.kernel[...], before + 1)
    step(model, optimizer, 0.0)
    close(model.kernel[...], before + 1 - DECAY * RATE_SCHEDULE(1) / RATE)
    close(model.bias[...], jnp.ones(2))


def test_optax_finds_the_reference_like_the_parameters(params):
    tx = jaxreg.decoupled_weight_decay(DECAY, learning_rate=RATE_SCHEDULE, toward=params)
    state: Any = tx.init(params)
    doubled: Any = optax.tree.map_params(tx, lambda x: 2 * x, state)
    close(doubled.reference["first"]["kernel"], 2 * params["first"]["kernel"])
    same(doubled.inner, state.inner)


# Per layer.


@pytest.mark.parametrize("axis", [None, "coordinate"])
def test_weight_decay_per_layer(params, axis):
    second = jnp.array([0.0, 0.4]) if axis else 0.4
    tx = jaxreg.decoupled_weight_decay({"first": 0.1, "second": second}, learning_rate=RATE)
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
