"""Wrappers around wrappers, in every order: the right solution, or a refusal.

The loss is ½‖w − t‖² under plain gradient descent. Decay, L1 and remainders make of it a
problem whose solution is known: soft(t, strength) / (1 + weight_decay).
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from tests.helpers.transforms import ARGUMENTS, OPTIONS, WRAPPERS

RATE, DECAY, STRENGTH = 0.05, ARGUMENTS["weight_decay"], ARGUMENTS["strength"]
TARGET = np.array([1.5, -0.875, 0.25, -0.125, 2.0, 0.0625, -1.0, 0.75])
RADIUS = OPTIONS["with_fixed_norm"]["radius"]
PENALTY = jr.L1(1e-6)
SHARE = 0.5

pytestmark = [
    pytest.mark.filterwarnings("ignore:with_decay goes around"),
    pytest.mark.filterwarnings("ignore:with_fixed_norm goes around"),
]


def plain(learning_rate=RATE, penalty=None, strength_schedule=1.0):
    """Gradient descent; with a penalty, proximal."""
    if penalty is None:
        return optax.sgd(learning_rate)
    return jr.prox_sgd(learning_rate, penalty, strength_schedule=strength_schedule)


def around(recipe, make):
    """A wrapper around what `make` makes; some are given the function itself."""
    options: dict[str, Any] = {"window": 1} if "window" in recipe.takes else {}
    if "weight_decay" in recipe.takes:
        options |= {"coupling": "learning_rate", "peak": None, "implicit": False}
    if "optimizer" in recipe.arguments:
        return lambda *args, **kwargs: recipe(optimizer=make(*args, **kwargs), **options)
    own = {"penalty": PENALTY, "target": SHARE, "optimizer": make, **options}
    return lambda *args, **kwargs: recipe(**own)


def pair(outer, inner):
    return around(outer, around(inner, plain))()


def settled(tx, dtype):
    start = jnp.asarray(np.where(TARGET == 0, 0, 0.5), dtype)
    target = jnp.asarray(TARGET, jnp.float32)

    def step(carry, _):
        w, state = carry
        gradient = (w.astype(jnp.float32) - target).astype(dtype)
        updates, state = tx.update(gradient, state, w)
        return (optax.apply_updates(w, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=4000)[0])
    return run((start, tx.init(start)))[0]


def expected(names):
    """The solution, or `None` where the strength is chosen by the number of zeros."""
    if "target_sparsity" in names:
        return None
    strength = STRENGTH * names.count("orthant_wise")
    shrunk = np.sign(TARGET) * np.maximum(abs(TARGET) - strength, 0)
    return shrunk / (1 + DECAY * names.count("with_decay"))


def assert_solved(reached, names, dtype):
    reached, solution = np.asarray(reached, np.float32), expected(names)
    if solution is None:
        assert np.mean(reached == 0) == SHARE
        return
    if "with_fixed_norm" in names:  # Steps of one length do not end at a point.
        norm = np.sqrt(np.mean(np.square(reached)))
        np.testing.assert_allclose(norm, RADIUS, rtol=float(jnp.finfo(dtype).eps))
        assert np.dot(reached, TARGET) > 0.99 * norm * np.sqrt(8) * np.linalg.norm(TARGET)
        return
    digits = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(reached, solution, rtol=max(digits, 1e-5), atol=1e-6)
    np.testing.assert_array_equal(reached == 0, solution == 0)


PAIRS = list(itertools.product(WRAPPERS, repeat=2))


@pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=lambda recipe: str(recipe))
def test_every_order_is_right_or_refused(outer, inner):
    names = [str(outer), str(inner)]
    tx = pair(outer, inner)
    if not allowed(outer, inner):
        assert names[0] != "with_kahan_compensation", "it goes around all others"
        with pytest.raises(ValueError, match=r"must not .*: .*\. (Use|Give|Leave) "):
            tx.init(jnp.ones(8))
        return
    assert_solved(settled(tx, jnp.float32), names, jnp.float32)
    if "with_kahan_compensation" in names:
        assert_solved(settled(tx, jnp.bfloat16), names, jnp.bfloat16)


def allowed(outer, inner):
    try:
        pair(outer, inner).init(jnp.ones(8))
    except ValueError:
        return False
    return True


# One has its optimizer's options, and a fixed norm goes with no other penalty.
ALONE = {"target_sparsity", "with_fixed_norm"}


def test_of_two_different_wrappers_one_order_is_right():
    for one, other in itertools.combinations(WRAPPERS, 2):
        names = {str(one), str(other)}
        some = allowed(one, other) or allowed(other, one)
        assert some or names & ALONE, names


# Optax's own transforms around and inside.

PROXIMAL = {
    "prox_sgd": jr.prox_sgd(RATE, jr.L1(0.3)),
    "prox_adam": jr.prox_adam(RATE, jr.L1(0.3)),
    "dual_averaging_adam": jr.dual_averaging_adam(RATE, jr.L1(0.3)),
    "prox_preconditioned": jr.prox_preconditioned(optax.scale_by_rms, RATE, jr.L1(0.3)),
    "proximal": optax.chain(optax.sgd(RATE), jr.proximal(RATE, jr.L1(0.3))),
    "scheduled": optax.chain(optax.sgd(RATE), jr.proximal(lambda count: RATE, jr.L1(0.3))),
    "decoupled_l1": optax.chain(optax.adam(RATE), jr.decoupled_l1(0.3, learning_rate=RATE)),
    "inside": optax.apply_if_finite(
        optax.MultiSteps(jr.prox_sgd(RATE, jr.L1(0.3)), 2).gradient_transformation(), 1
    ),
}
AROUND = {
    "with_decay": lambda tx: jr.with_decay(tx, DECAY, learning_rate=RATE),
    "orthant_wise": lambda tx: jr.orthant_wise(tx, STRENGTH),
}


@pytest.mark.parametrize("name", PROXIMAL)
@pytest.mark.parametrize("wrapper", AROUND)
def test_exact_zeros_are_not_moved_nor_made_twice(wrapper, name):
    with pytest.raises(ValueError, match=f"{wrapper} must not go around"):
        AROUND[wrapper](PROXIMAL[name]).init(jnp.ones(3))


DECAYING = {
    "adamw": optax.adamw(0.1),
    "lion": optax.lion(0.1),
    "coupled": optax.chain(jr.add_l2_decay(0.1), optax.adam(0.1)),
    "optax": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1)),
    "masked": optax.adamw(0.1, mask=jr.weights.of),
    "after": optax.chain(
        optax.adam(0.1), jr.decoupled_weight_decay(0.1, learning_rate=0.1)
    ),
    "twice": jr.with_decay(optax.sgd(0.1), 0.1, learning_rate=0.1),
}
MODEL = {"dense": {"kernel": jnp.ones((3, 2), jnp.bfloat16), "bias": jnp.ones(2)}}


@pytest.mark.filterwarnings("default:with_decay goes around")
@pytest.mark.parametrize("name", DECAYING)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_second_decay_is_warned_of(name, wrap):
    tx = jr.with_decay(DECAYING[name], 0.1, learning_rate=0.1)
    with pytest.warns(UserWarning, match="decays 'dense/kernel' by itself.*Turn one of"):
        wrap(tx.init)(MODEL)


WITHOUT_DECAY = {
    "adam": optax.adam(0.1),
    "lamb": optax.lamb(0.1),
    "muon": optax.contrib.muon(0.1),
    "adafactor": optax.adafactor(0.1),
    "lion": optax.lion(0.1, weight_decay=0.0),
    "noise": optax.chain(optax.add_noise(1.0, 0.5, key=0), optax.sgd(0.1)),
    "elsewhere": optax.adamw(0.1, mask=jr.named("bias").of),
    "other leaves": jr.with_decay(
        optax.sgd(0.1), 0.1, learning_rate=0.1, mask=jr.named("bias")
    ),
    "needs a loss": optax.polyak_sgd(),
}


@pytest.mark.filterwarnings("error:with_decay goes around")
@pytest.mark.parametrize("name", WITHOUT_DECAY)
def test_without_another_decay_there_is_no_warning(name):
    jr.with_decay(WITHOUT_DECAY[name], 0.1, learning_rate=0.1).init(MODEL)


ADAPTIVE = {
    "adam": optax.adam(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "lion": optax.lion(0.1),
    "adafactor": optax.adafactor(0.1),
    "masked": optax.masked(optax.adam(0.1), jr.weights.of),
}
SEEING = {"monitor": jr.monitor, "compensated": jr.with_kahan_compensation}


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("wrapper", SEEING)
def test_a_threshold_after_an_adaptive_optimizer_is_warned_of(wrapper, name):
    chain = optax.chain(ADAPTIVE[name], optax.chain(jr.proximal(0.1, jr.L1(0.1))))
    with pytest.warns(UserWarning, match="proximal comes after an adaptive .* prox_adam"):
        SEEING[wrapper](optax.chain(optax.clip(1.0), chain)).init(MODEL)


RIGHT = {
    "sgd": optax.chain(optax.sgd(lambda count: 0.1), jr.proximal(0.1, jr.L1(0.1))),
    "momentum": optax.chain(optax.sgd(0.1, momentum=0.9), jr.proximal(0.1, jr.L1(0.1))),
    "decoupled_l1": optax.chain(optax.adam(0.1), jr.decoupled_l1(0.1, learning_rate=0.1)),
    "parts": optax.chain(
        optax.clip(1.0),
        optax.partition(
            {
                "a": optax.adam(0.1),
                "b": optax.chain(
                    optax.sgd(0.1), jr.proximal(0.1, jr.L1(1.0, mask=jr.everything))
                ),
            },
            {"dense": {"kernel": "a", "bias": "b"}},
        ),
    ),
    "prox_adam": optax.chain(
        jr.prox_adam(0.1, jr.L1(0.1)), jr.proximal(0.1, jr.Box(-1, 1))
    ),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("wrapper", SEEING)
def test_a_threshold_after_plain_steps_is_right(wrapper, name):
    SEEING[wrapper](RIGHT[name]).init(MODEL)


# A penalty in the place of an optimizer.


@pytest.mark.parametrize("recipe", WRAPPERS, ids=str)
def test_a_penalty_is_no_optimizer(recipe):
    given = jr.L1(0.1)
    optimizer = given if "optimizer" in recipe.arguments else lambda *_, **__: given
    with pytest.raises(TypeError, match=r"got L1.*a penalty.*prox_adam\(learning_rate"):
        recipe(optimizer=optimizer).init(MODEL)


def test_a_decay_in_bf16_counts_around_and_is_refused_inside():
    decay = functools.partial(jr.with_decay, weight_decay=DECAY, learning_rate=0.01)
    start = jnp.ones(4, jnp.bfloat16)
    tx = jr.with_kahan_compensation(decay(optax.sgd(0.01)))
    w: Any = start
    state = tx.init(start)
    for _ in range(100):
        updates, state = tx.update(jnp.zeros_like(w), state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(w.astype(jnp.float32), (1 - 0.01 * DECAY) ** 100, rtol=4e-3)
    with pytest.raises(
        ValueError, match=r"Use with_kahan_compensation\(with_decay\(optimizer"
    ):
        decay(jr.with_kahan_compensation(optax.sgd(0.01))).init(start)
