"""Conversions: inverses by Hypothesis, meanings against the libraries themselves."""

from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from sklearn import linear_model

import jaxreg
from tests.helpers.scikit_learn import mixed

positive = st.floats(1e-6, 1e6)
shares = st.floats(0.0, 1.0)
close = pytest.approx


# Inverses.


@given(alpha=positive, l1_ratio=shares)
def test_to_sklearn_undoes_from_sklearn(alpha, l1_ratio):
    back = jaxreg.convert.to_sklearn(jaxreg.convert.from_sklearn(alpha, l1_ratio))
    assert back == (close(alpha), close(l1_ratio, abs=1e-12))


@given(alpha=positive)
def test_l1_and_l2_are_the_ends_of_elastic_net(alpha):
    assert jaxreg.convert.to_sklearn(jaxreg.L1(alpha)) == (alpha, 1.0)
    assert jaxreg.convert.to_sklearn(jaxreg.L2.from_weight_decay(alpha)) == (
        close(alpha),
        0.0,
    )
    assert jaxreg.convert.to_sklearn(jaxreg.L2(0.0)) == (0.0, 0.0)


@given(c=positive, n=st.integers(1, 10**9))
def test_alpha_from_c_is_its_own_inverse(c, n):
    assert jaxreg.convert.alpha_from_c(
        jaxreg.convert.alpha_from_c(c, n_samples=n), n_samples=n
    ) == close(c)


@given(decay=positive, peak=positive)
def test_coupled_and_independent_decay_are_inverse(decay, peak):
    coupled = jaxreg.convert.coupled_weight_decay(decay, peak=peak)
    assert jaxreg.convert.independent_weight_decay(coupled, peak=peak) == close(decay)


@given(rate=positive, decay=positive, steps=st.integers(1, 10**6))
def test_weight_decay_of_timescale_undoes_decay_timescale(rate, decay, steps):
    timescale = jaxreg.convert.decay_timescale(rate, decay, steps)
    assert jaxreg.convert.weight_decay_of_timescale(timescale, rate, steps) == close(decay)


@given(rate=positive, decay=positive, widths=st.tuples(*[st.integers(1, 10**5)] * 2))
def test_another_width_keeps_the_timescale_and_goes_back(rate, decay, widths):
    width, base = widths
    scaled = jaxreg.convert.mup_scaling(
        learning_rate=rate, weight_decay=decay, width=width, base_width=base
    )
    assert jaxreg.convert.decay_timescale(*scaled) == close(
        jaxreg.convert.decay_timescale(rate, decay)
    )
    assert scaled[0] * width == close(rate * base)
    assert jaxreg.convert.mup_scaling(
        learning_rate=scaled[0], weight_decay=scaled[1], width=base, base_width=width
    ) == (close(rate), close(decay))


# Meanings.


def test_a_coupled_decay_makes_the_steps_of_the_independent_one():
    peak, decay = 3e-2, 1e-3
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, 3, 10)
    w: Any = jnp.array([2.0, -1.0])

    def path(tx) -> Any:
        def step(carry, _):
            w, state = carry
            updates, state = tx.update(jnp.zeros(2), state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        return jax.lax.scan(step, (w, tx.init(w)), length=10)[1]

    ours = jaxreg.decoupled_weight_decay(
        decay, learning_rate=schedule, coupling="independent", peak=peak
    )
    coupled = jaxreg.convert.coupled_weight_decay(decay, peak=peak)
    theirs = optax.adamw(schedule, weight_decay=coupled)
    np.testing.assert_allclose(path(ours), path(theirs), rtol=1e-6)


def test_normalized_decay_shrinks_alike_whatever_the_batch_and_the_length():
    decay = jaxreg.convert.normalized_weight_decay(
        0.025, batch_size=128, n_samples=50_000, epochs=100
    )
    assert decay == close(0.025 * (128 / (50_000 * 100)) ** 0.5)
    assert jaxreg.convert.normalized_weight_decay(
        0.025, batch_size=512, n_samples=50_000, epochs=400
    ) == close(decay)
    assert jaxreg.convert.normalized_weight_decay(
        0.025, batch_size=128, n_samples=50_000, epochs=400
    ) == close(decay / 2)


def test_the_timescale_is_the_memory_of_an_average():
    rate, decay = 1e-2, 0.5
    tx = jaxreg.decoupled_weight_decay(decay, learning_rate=rate)
    w: Any = jnp.ones(1)
    state = tx.init(w)
    steps = round(jaxreg.convert.decay_timescale(rate, decay))
    for _ in range(steps):
        w = optax.apply_updates(w, tx.update(jnp.zeros(1), state, w)[0])
    assert float(w[0]) == close(np.exp(-1), rel=0.01)


RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 4)) @ np.diag([1.0, 2.0, 0.5, 1.0])
Y = X @ np.array([1.0, -0.5, 0.0, 2.0]) + 0.5 * RNG.normal(size=N)
LABELS = (Y > 0).astype(float)


def half_squared_error(w):
    return jnp.mean((X @ w - Y) ** 2) / 2


def log_loss(w):
    return jnp.mean(optax.sigmoid_binary_cross_entropy(X @ w, LABELS))


def fit(estimator, y=Y):
    return estimator.set_params(fit_intercept=False).fit(X, y).coef_.ravel()


SKLEARN = {
    "Ridge": lambda: (
        half_squared_error,
        jaxreg.convert.from_sklearn(7.0 / N),
        fit(linear_model.Ridge(7.0, tol=1e-12)),
    ),
    "Lasso": lambda: (
        half_squared_error,
        jaxreg.convert.from_sklearn(0.1, l1_ratio=1.0),
        fit(linear_model.Lasso(0.1, tol=1e-12)),
    ),
    "ElasticNet": lambda: (
        half_squared_error,
        jaxreg.convert.from_sklearn(0.3, l1_ratio=0.4),
        fit(linear_model.ElasticNet(0.3, l1_ratio=0.4, tol=1e-12)),
    ),
    "LogisticRegression": lambda: (
        log_loss,
        jaxreg.convert.from_sklearn(jaxreg.convert.alpha_from_c(0.2, n_samples=N)),
        fit(linear_model.LogisticRegression(C=0.2, tol=1e-10), LABELS),
    ),
    "LogisticRegression, elastic net": lambda: (
        log_loss,
        jaxreg.convert.from_sklearn(
            jaxreg.convert.alpha_from_c(0.2, n_samples=N), l1_ratio=0.5
        ),
        fit(
            linear_model.LogisticRegression(
                C=0.2, **mixed(0.5), solver="saga", tol=1e-10, max_iter=10**5
            ),
            LABELS,
        ),
    ),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_the_minimiser_is_that_of_sklearn(name):
    with jax.enable_x64(True):
        loss, penalty, theirs = SKLEARN[name]()
        w = jnp.asarray(theirs)
        # Their solution is a fixed point of the proximal gradient step.
        moved = penalty.prox(w - 0.1 * jax.grad(loss)(w), 0.1)
        np.testing.assert_allclose(moved, w, atol=1e-6)
        assert np.max(abs(jax.grad(loss)(w))) > 1e-2


# Bad input.

REFUSED = {
    "negative alpha": (
        lambda: jaxreg.convert.from_sklearn(-1.0),
        "alpha must be non-negative",
    ),
    "ratio": (lambda: jaxreg.convert.from_sklearn(1.0, 1.5), "l1_ratio must be at most 1"),
    "C of zero": (
        lambda: jaxreg.convert.alpha_from_c(0.0, n_samples=10),
        "c must be greater than 0",
    ),
    "peak": (
        lambda: jaxreg.convert.coupled_weight_decay(0.1, peak=0.0),
        "peak must be greater than 0",
    ),
    "no decay": (
        lambda: jaxreg.convert.decay_timescale(0.1, 0.0),
        "weight_decay must be greater",
    ),
    "other penalty": (
        lambda: jaxreg.convert.to_sklearn(jaxreg.MCP()),
        "must be an L1, L2 or",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused(name):
    convert, words = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=words):
        convert()
