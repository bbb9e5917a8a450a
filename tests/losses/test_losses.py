"""Losses of linear models: values, slopes, conjugates, gaps; and what is refused."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import sparse

import jaxreg
from jaxreg import L1, L2, ElasticNet, minimize
from jaxreg.losses import Huber, Logistic, Multinomial, Poisson, Squared
from jaxreg.solve.general._gap import duality_gap
from tests.helpers.solving import (
    CONVEX,
    LOSSES,
    QUICKLY,
    STRENGTH,
    data,
    instance,
    solve,
    start,
)

pytestmark = pytest.mark.xdist_group("minimize")
X, TARGETS = data()
WEIGHTS = np.random.default_rng(2).integers(0, 3, len(X)) * 1.0
every_loss = pytest.mark.parametrize("cls", LOSSES)


def somewhere() -> Any:
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: rng.normal(size=x.shape), start())


def loss_of(cls, **options):
    return cls(X, TARGETS[cls.__name__], **options)


# The formulas.


ELSEWHERE = {
    Huber: lambda eta, y: optax.losses.huber_loss(eta, y).sum(1),
    Logistic: lambda eta, y: optax.losses.sigmoid_binary_cross_entropy(eta, y).sum(1),
    Multinomial: optax.losses.softmax_cross_entropy,
    Poisson: lambda eta, y: (jnp.exp(eta) - y * eta).sum(1),
    Squared: lambda eta, y: optax.losses.squared_error(eta, y).sum(1) / 2,
}


@every_loss
def test_the_value_is_the_weighted_mean_of_those_of_optax(cls):
    params = somewhere()
    eta = X @ params["kernel"] + params["bias"]
    losses = ELSEWHERE[cls](jnp.asarray(eta), jnp.asarray(TARGETS[cls.__name__]))
    np.testing.assert_allclose(loss_of(cls)(params), np.mean(losses), rtol=1e-5)
    weighted = loss_of(cls, sample_weight=WEIGHTS)
    expected = np.average(losses, weights=WEIGHTS)
    np.testing.assert_allclose(weighted(params), expected, rtol=1e-5)


@every_loss
def test_slopes_and_their_pullback_are_the_gradient(cls):
    loss, params = loss_of(cls, sample_weight=WEIGHTS), somewhere()
    pulled = loss.pullback(loss.sample_slopes(loss.predictor(params)))
    for name, gradient in jax.grad(loss)(params).items():
        np.testing.assert_allclose(pulled[name], gradient, rtol=1e-4, atol=1e-5)


@every_loss
def test_conjugates_meet_fenchel_and_young(cls):
    """ℓ(η) + ℓ*(u) ≥ u·η for all u, with equality at the slopes."""
    with jax.enable_x64(True):
        loss, params = loss_of(cls), somewhere()
        eta = loss.predictor(params)
        values, slopes = loss.sample_losses(eta), loss.sample_slopes(eta)
        spare = values + loss.sample_conjugates(slopes) - jnp.sum(slopes * eta, axis=1)
        np.testing.assert_allclose(spare, 0, atol=1e-10)
        other = loss.sample_slopes(-eta[::-1])
        spare = values + loss.sample_conjugates(other) - jnp.sum(other * eta, axis=1)
        assert np.all(spare >= -1e-10)
        assert np.any(np.isfinite(spare) & (spare > 1e-3))


def given(cls, number):
    """η and the loss of targets (n, k) alone, as the paths have it."""
    y = np.asarray(TARGETS[cls.__name__], np.float64)
    eta = np.random.default_rng(number).normal(size=y.shape)
    return jnp.asarray(eta), cls.of_targets(jnp.asarray(y))


@every_loss
def test_slopes_and_curvatures_are_derivatives(cls):
    with jax.enable_x64(True):
        eta, loss = given(cls, 0)
        slopes = jax.grad(lambda eta: jnp.sum(loss.sample_losses(eta)))(eta)
        np.testing.assert_allclose(loss.sample_slopes(eta), slopes, atol=1e-12)
        diagonal, minus = loss.sample_curvatures(eta)

        @jax.jit
        @jax.vmap
        @jax.hessian
        def hessians(eta, y):
            return cls.of_targets(y[None]).sample_losses(eta[None])[0]

        found = jnp.eye(eta.shape[1]) * diagonal[:, None]
        if minus is not None:
            found -= minus[:, None] * minus[:, :, None]
        np.testing.assert_allclose(found, hessians(eta, loss.y), atol=1e-12)


@every_loss
def test_the_conjugate_at_zero_is_minus_the_smallest_loss(cls):
    with jax.enable_x64(True):
        eta, loss = given(cls, 0)
        # A mean response as the target: the loss is smallest where it is predicted.
        loss = loss.with_targets(loss.mean_response(eta))
        least = -loss.sample_conjugates(jnp.zeros_like(eta))
        np.testing.assert_allclose(loss.sample_losses(eta), least, atol=1e-12)
        assert np.all(loss.sample_losses(eta[::-1]) > least)


@pytest.mark.parametrize("cls", [cls for cls in LOSSES if cls is not Huber])
def test_the_null_model_is_optimal_and_shifting_changes_no_excess_loss(cls):
    with jax.enable_x64(True):
        eta, loss = given(cls, 1)
        loss = loss.with_targets(np.asarray(loss.y))
        # Multinomial and logistic paths have no offset.
        offset = np.zeros_like(loss.y) if cls in (Logistic, Multinomial) else 0.1 * eta
        weights = WEIGHTS / WEIGHTS.sum()
        b = loss.null_intercept(np.asarray(offset), weights)
        assert b.shape == loss.y.shape[1:]
        np.testing.assert_allclose(weights @ loss.sample_slopes(offset + b), 0, atol=1e-12)
        assert np.all(loss.has_intercept(weights))
        shifted, moved = loss.shifted(np.asarray(offset + b), weights)

        def excess(loss, predictor):
            zero = jnp.zeros_like(predictor)
            return loss.sample_losses(predictor) + loss.sample_conjugates(zero)

        np.testing.assert_allclose(
            excess(shifted, moved + eta), excess(loss, offset + b + eta), atol=1e-12
        )


def test_the_intercept_of_a_loss_without_a_formula_is_refused():
    with pytest.raises(NotImplementedError, match="Huber has no formula"):
        Huber.of_targets(np.ones((3, 1))).null_intercept(np.zeros((3, 1)), np.ones(3) / 3)


def test_intercepts_that_do_not_exist_are_seen():
    ones, zeros, weights = np.ones((3, 1)), np.zeros((3, 1)), np.ones(3) / 3
    assert not np.all(Logistic.of_targets(ones).has_intercept(weights))
    assert not np.all(Logistic.of_targets(zeros).has_intercept(weights))
    assert not np.all(Poisson.of_targets(zeros).has_intercept(weights))
    assert not np.all(Multinomial.of_targets(np.eye(3)[:2]).has_intercept(weights[:2]))


@pytest.mark.parametrize("cls", [Logistic, Poisson])
def test_conjugates_end_with_their_domain_but_for_rounding(cls):
    with jax.enable_x64(True):
        loss = cls.of_targets(jnp.zeros((3, 1)))
        slopes = jnp.array([[0.0], [-1e-14], [-1e-12]])
        found = np.asarray(loss.sample_conjugates(slopes))
    np.testing.assert_allclose(found[:2], 0, atol=1e-13)
    assert found[2] == np.inf


def test_classes_by_number_are_those_by_probability():
    loss, params = loss_of(Multinomial), somewhere()
    by_number = Multinomial(X, np.argmax(loss.y, axis=1))
    np.testing.assert_allclose(by_number(params), loss(params))


def test_features_may_be_sparse():
    loss = loss_of(Squared)
    found = minimize(Squared(sparse.BCOO.fromdense(loss.x), loss.y), L1(STRENGTH), start())
    numbers = CONVEX.index(L1), LOSSES.index(Squared)
    with jax.enable_x64(True):
        expected = solve(*numbers, STRENGTH, X, TARGETS["Squared"])
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-6)


# Duality gaps.


BOUNDED = [kind for kind in CONVEX if kind.is_norm or kind in (L2, ElasticNet)]
PAIRS = [*((kind, Squared) for kind in BOUNDED), *((L1, cls) for cls in LOSSES)]


@functools.partial(jax.jit, compiler_options=QUICKLY)
def gap_and_objective(number, y, params):
    def branch(kind, cls):
        def both(params):
            loss, penalty = cls(X, y), instance(kind)
            return duality_gap(loss, penalty, params), loss(params) + penalty(params)

        return both

    return jax.lax.switch(number, [branch(*pair) for pair in PAIRS], params)


def pair_name(number):
    return "-".join(cls.__name__ for cls in PAIRS[number])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", range(len(PAIRS)), ids=pair_name)
def test_gaps_are_upper_bounds_and_close_at_the_minimum(number):
    kind, cls = PAIRS[number]
    y = TARGETS[cls.__name__]
    with jax.enable_x64(True):
        numbers = CONVEX.index(kind), LOSSES.index(cls)
        found = solve(*numbers, STRENGTH, X, y, tol=1e-12)
        best = jax.device_get(found.params)
        gap, lowest = jax.device_get(gap_and_objective(number, y, best))
        shifts = np.array([[1.0, 0.0, -0.5], [-1.0, 0.0, 0.5]])
        points = [start(), *({**best, "bias": best["bias"] + shift} for shift in shifts)]
        others = [jax.device_get(gap_and_objective(number, y, point)) for point in points]
    assert 0 <= gap <= 1e-8
    np.testing.assert_allclose(lowest, found.objective, rtol=1e-12)
    for gap, objective in others:
        assert 0 < objective - lowest <= gap


def test_a_gap_is_infinite_where_none_is_known():
    loss, w = loss_of(Squared), start()
    assert np.isfinite(duality_gap(loss, L1(0.1), w))
    for penalty in (jaxreg.MCP(0.1), L1(0.1, mask=jaxreg.everything), jaxreg.NonNegative()):
        assert np.isinf(duality_gap(loss, penalty, w))
    assert np.isinf(duality_gap(lambda w: 0.0, L1(0.1), w))


# What is refused.


def refused(cls, message, x, y, error: type[Exception] = ValueError, **options):
    with pytest.raises(error, match=re.escape(message)):
        cls(x, y, **options)


def test_bad_data_are_refused():
    x, y = np.ones((3, 2)), np.ones(3)
    refused(Squared, "Squared.x must have two axes, (n, p), got shape (3,)", y, y)
    refused(Squared, "Squared.y must have length 3, as x, got shape (2,)", x, y[:2])
    refused(Squared, "Squared.x must be finite", np.inf * x, y)
    refused(Squared, "Squared.y must be an array of real", x, list(y), TypeError)
    refused(Squared, "must be non-negative, got -1", x, y, sample_weight=-y)
    refused(Squared, "The sum of Squared.sample_weight", x, y, sample_weight=0 * y)
    refused(Huber, "Huber.delta must be greater than 0", x, y, delta=0.0)
    refused(Logistic, "Logistic.y must be 0 or 1, or a probability", x, 2 * y)
    refused(Multinomial, "must be classes, numbered from 0, got 0.5", x, y / 2)
    refused(Poisson, "Poisson.y must be counts, at least 0, got -1", x, -y)
    with pytest.raises(ValueError, match="a column for each class"):
        Multinomial(x, y)(jnp.zeros(2))


def test_integers_and_bools_are_numbers():
    x, y = np.array([[1, 2], [3, 4]]), np.array([True, False])
    by_ints = Logistic(x, y)(jnp.ones(2))
    assert by_ints == Logistic(1.0 * x, 1.0 * y)(jnp.ones(2))
