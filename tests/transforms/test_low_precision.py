"""Steps, decay and zeros in bf16 and f16: what is lost, and what compensation saves."""

import functools
from typing import Any

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given

import jaxreg
from jaxreg._dtypes import rounded

NARROW = [jnp.bfloat16, jnp.float16]
in_narrow_dtypes = pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.__name__)

same = chex.assert_trees_all_equal


def wide(x):
    return np.asarray(x, np.float32)


def trained(tx, params, gradients, steps=1):
    """Parameters and state after some steps; `gradients(w, i)` gives those of step i."""

    def step(carry, i):
        params, state = carry
        updates, state = tx.update(gradients(params, i), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(steps))[0])
    return run((params, tx.init(params)))


def nothing(params, i):
    del i
    return jax.tree.map(jnp.zeros_like, params)


# Decay that is below the resolution.

RATE, DECAY, STEPS = 1e-3, 1e-2, 5000
STEPPERS = {
    "decay": jaxreg.with_decay(optax.sgd(RATE), DECAY, learning_rate=RATE),
    "adamw": optax.adamw(RATE, eps=1e-4, weight_decay=DECAY),  # 1e-8 is 0 in f16
    "lion": optax.lion(RATE, weight_decay=DECAY),
}


@pytest.mark.sampled(3)
@in_narrow_dtypes
@pytest.mark.parametrize("name", STEPPERS)
def test_decay_counts_if_compensated_and_does_nothing_otherwise(dtype, name):
    start = {"kernel": jax.random.normal(jax.random.key(0), (512,), dtype)}
    assert jaxreg.monitoring.decay_resolution(
        start, learning_rate=RATE, weight_decay=DECAY
    ).lost == ["kernel"]
    lost, _ = trained(STEPPERS[name], start, nothing, STEPS)
    same(lost, start)
    kept, _ = trained(jaxreg.with_kahan_compensation(STEPPERS[name]), start, nothing, STEPS)
    factors = wide(kept["kernel"]) / wide(start["kernel"])
    np.testing.assert_allclose(np.mean(factors), 0.951, rtol=0.001)
    np.testing.assert_allclose(factors, 0.951, rtol=0.005)
    assert kept["kernel"].dtype == dtype


@in_narrow_dtypes
@pytest.mark.parametrize("factor", [0.3, 0.49, 0.51, 0.9, 1.1])
def test_the_diagnostic_is_right_about_one_step(dtype, factor):
    share = factor * float(jnp.finfo(dtype).eps) / 2
    w = jnp.linspace(1.001, 2.0, 4001).astype(dtype)
    moved = wide((wide(w) * np.float32(1 - share)).astype(w.dtype)) != wide(w)
    (leaf,) = jaxreg.monitoring.decay_resolution(
        {"kernel": w}, learning_rate=share, weight_decay=1.0
    ).leaves
    said = {"none": not moved.any(), "all": moved.all()}
    assert said.get(leaf.effect, moved.any() and not moved.all()), leaf


def test_the_diagnostic_knows_masks_layers_and_shapes():
    params = {
        "head": {"kernel": jnp.ones((8, 2)), "bias": jnp.ones(2, jnp.bfloat16)},
        "body": {"kernel": jax.ShapeDtypeStruct((8, 8), jnp.bfloat16)},
        "scan": {"kernel": jnp.ones((2, 3, 3), jnp.bfloat16)},
    }
    found = jaxreg.monitoring.decay_resolution(
        params, learning_rate=0.01, weight_decay={"head": 0.1, "body": 0.1, "scan": 1.0}
    )
    effects = {leaf.path: leaf.effect for leaf in found.leaves}
    assert effects == {"head/kernel": "all", "body/kernel": "none", "scan/kernel": "all"}
    assert "body/kernel  bfloat16" in str(found)
    assert jaxreg.monitoring.decay_resolution(
        params, learning_rate=0.01, weight_decay=0.1, mask=jaxreg.named("bias")
    ).lost == ["head/bias"]
    without_head = {"head": 0.0, "body": 0.1, "scan": 0.1}
    assert (
        len(
            jaxreg.monitoring.decay_resolution(
                params, learning_rate=0.01, weight_decay=without_head
            ).leaves
        )
        == 2
    )


# Steps of any kind.


@in_narrow_dtypes
@given(x=st.floats(-6e4, 6e4, width=32, allow_subnormal=False))
def test_rounding_is_that_of_a_cast(dtype, x):
    x = np.float32(x)
    cast = np.asarray(jnp.asarray(x).astype(dtype), np.float32)
    reached = rounded(jnp.asarray(x), np.dtype(dtype))
    np.testing.assert_allclose(reached, cast, rtol=0, atol=2.0**-101)


def noise(shape, scale):
    """Gradients that do not depend on the weights, nor on their dtype."""

    def gradients(params, i):
        drawn = scale * jax.random.normal(jax.random.fold_in(jax.random.key(1), i), shape)
        return jax.tree.map(lambda w: drawn.astype(jnp.bfloat16).astype(w.dtype), params)

    return gradients


@pytest.mark.sampled(3)
@in_narrow_dtypes
@pytest.mark.parametrize(("scale", "tolerance"), [(1e-3, 2e-6), (0.1, 1e-4), (10.0, 1e-4)])
def test_weights_are_those_of_training_in_float32(dtype, scale, tolerance):
    tx = jaxreg.with_decay(optax.sgd(0.1, momentum=0.9), DECAY, learning_rate=0.1)
    start = jax.random.normal(jax.random.key(0), (64,)).astype(dtype)
    exact, _ = trained(tx, start.astype(jnp.float32), noise((64,), scale), 300)
    ours, state = trained(
        jaxreg.with_kahan_compensation(tx), start, noise((64,), scale), 300
    )
    unit = np.exp2(np.floor(np.log2(abs(wide(ours))))) * float(jnp.finfo(dtype).eps)
    weights = wide(ours) + wide(state.remainders) * unit / 2**16
    error = tolerance * np.max(abs(exact))
    np.testing.assert_array_less(abs(weights - exact), error)
    np.testing.assert_array_less(abs(wide(ours) - exact), unit / 2 + error)


@in_narrow_dtypes
def test_a_weight_lands_on_its_nearest_number(dtype):
    w = jnp.array([1.0, 1.0, -0.37, 0.25, 3.0], dtype)
    u = jnp.array([1e-3, -0.3, 0.1, -0.6, -3.0], dtype)
    tx = jaxreg.with_kahan_compensation(optax.sgd(1.0))
    moved, state = trained(tx, w, lambda w, i: -u)
    np.testing.assert_array_equal(wide(moved), wide((wide(w) + wide(u)).astype(w.dtype)))
    assert moved[-1] == 0
    assert state.remainders[-1] == 0


def test_wide_leaves_pass_through():
    params = {"wide": jnp.linspace(-1, 1, 7), "narrow": jnp.ones(3, jnp.bfloat16)}
    tx = optax.adamw(0.01)
    expected, _ = trained(tx, params["wide"], lambda w, i: jnp.cos(w), 5)
    ours, state = trained(
        jaxreg.with_kahan_compensation(tx), params, lambda w, i: jax.tree.map(jnp.cos, w), 5
    )
    np.testing.assert_allclose(ours["wide"], expected, rtol=1e-6)
    assert state.remainders["wide"].nbytes == params["wide"].size


def test_changes_from_outside_are_kept():
    tx = jaxreg.with_kahan_compensation(STEPPERS["decay"])
    _, state = trained(tx, jnp.ones(4, jnp.bfloat16), nothing, 100)
    loaded = jnp.full(4, 5.0, jnp.bfloat16)
    updates, _ = tx.update(jnp.zeros_like(loaded), state, loaded)
    same(optax.apply_updates(loaded, updates), loaded)


def test_around_the_last_link_it_saves_that_link():
    def chained(wrap):
        decay = jaxreg.decoupled_weight_decay(DECAY, learning_rate=RATE)
        return optax.chain(optax.adam(RATE), wrap(decay))

    start = jnp.ones(8, jnp.bfloat16)
    kept, _ = trained(chained(jaxreg.with_kahan_compensation), start, nothing, STEPS)
    np.testing.assert_allclose(wide(kept), 0.951, rtol=0.005)
    same(trained(chained(lambda tx: tx), start, nothing, STEPS)[0], start)


# Numbers that are rounded themselves.


@pytest.mark.sampled(4)
@in_narrow_dtypes
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("make", [jaxreg.prox_adam, jaxreg.dual_averaging_adam])
def test_injected_numbers_of_adam_keep_their_digits(make, wrap, dtype):
    inject = functools.partial(optax.inject_hyperparams, make, "penalty")
    params = {"kernel": jnp.ones(4, dtype)}
    cure = r"b2 must be at least float32, got .*hyperparam_dtype=jnp\.float32"
    with pytest.raises(ValueError, match=cure):
        wrap(inject()(0.1, jaxreg.L1(0.1)).init)(params)
    tx = inject(hyperparam_dtype=jnp.float32)(0.1, jaxreg.L1(0.1))
    plain, _ = trained(make(0.1, jaxreg.L1(0.1)), params, lambda w, i: w, 3)
    injected, _ = trained(tx, params, lambda w, i: w, 3)
    np.testing.assert_allclose(wide(injected["kernel"]), wide(plain["kernel"]), rtol=0.01)
    assert np.all(wide(plain["kernel"]) < 0.8)


@in_narrow_dtypes
def test_a_momentum_that_is_rounded_to_one_is_refused(dtype):
    tx = optax.inject_hyperparams(jaxreg.prox_sgd, "penalty")
    tx = tx(0.1, jaxreg.L1(0.1), momentum=0.9999)
    with pytest.raises(ValueError, match=r"momentum must .*, got 1\. Under optax.inject_h"):
        tx.init(jnp.ones(4, dtype))


@pytest.mark.parametrize("name", ["b1", "b2"])
def test_means_must_decay(name):
    numbers: Any = {name: 1.0}
    with pytest.raises(ValueError, match=f"{name} must be less than 1, got 1"):
        jaxreg.prox_adam(0.1, jaxreg.L1(0.1), **numbers)


# Zeros.

SOLVERS = {
    "prox_sgd": lambda penalty: jaxreg.prox_sgd(2e-3, penalty),
    "prox_adam": lambda penalty: jaxreg.prox_adam(1e-3, penalty),
    "orthant_wise": lambda penalty: jaxreg.orthant_wise(
        optax.sgd(2e-3), penalty.strength, window=1
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", SOLVERS)
def test_l1_has_the_support_of_float32(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20)) @ np.diag(np.linspace(1.0, 2.0, 20))
    y = x[:, :6] @ np.array([1.0, -2.0, 0.5, 0.8, -0.6, 1.5]) + 0.1 * rng.normal(size=200)
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)

    def gradients(w, i):
        del i
        return (x.T @ (x @ w.astype(jnp.float32) - y) / len(y)).astype(w.dtype)

    def support(tx, dtype):
        start = jnp.asarray(rng.normal(size=20), dtype)
        return wide(trained(tx, start, gradients, 6000)[0]) != 0

    tx = SOLVERS[name](jaxreg.L1(0.2))
    expected = support(tx, jnp.float32)
    assert list(expected) == [True] * 6 + [False] * 14
    for dtype in NARROW:
        np.testing.assert_array_equal(
            support(jaxreg.with_kahan_compensation(tx), dtype), expected
        )


def test_l1_stalls_in_bf16_unless_compensated():
    penalty, start = jaxreg.L1(1e-2), jnp.full(4, 1.0, jnp.bfloat16)
    tx = jaxreg.prox_sgd(0.1, penalty)
    same(trained(tx, start, nothing, 2000)[0], start)
    same(trained(jaxreg.with_kahan_compensation(tx), start, nothing, 2000)[0], 0 * start)
