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
from jaxreg.solve.glm import families as _families
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
    pulled = loss.pullback(loss.slopes(loss.predictor(params)))
    for name, gradient in jax.grad(loss)(params).items():
        np.testing.assert_allclose(pulled[name], gradient, rtol=1e-4, atol=1e-5)


@every_loss
def test_conjugates_meet_fenchel_and_young(cls):
    """ℓ(η) + ℓ*(u) ≥ u·η for all u, with equality at the slopes."""
    with jax.enable_x64(True):
        loss, params = loss_of(cls), somewhere()
        eta = loss.predictor(params)
        values, slopes = loss.sample_losses(eta), loss.slopes(eta)
        spare = values + loss.sample_conjugates(slopes) - jnp.sum(slopes * eta, axis=1)
        np.testing.assert_allclose(spare, 0, atol=1e-10)
        other = loss.slopes(-eta[::-1])
        spare = values + loss.sample_conjugates(other) - jnp.sum(other * eta, axis=1)
        assert np.all(spare >= -1e-10)
        assert np.any(np.isfinite(spare) & (spare > 1e-3))


@every_loss
def test_the_curvature_is_the_largest(cls):
    loss = loss_of(cls)
    curve = jax.jit(jax.hessian(lambda eta: loss.sample_losses(eta[None])[0]))
    largest = max(
        float(np.linalg.eigvalsh(curve(scale * eta)).max())
        for eta in np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
        for scale in (0.0, 0.3, 3.0)
    )
    assert largest <= loss.curvature * (1 + 1e-5)
    assert largest >= 0.6 * min(loss.curvature, 1.0)


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


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=pair_name)
def test_gaps_are_upper_bounds_and_close_at_the_minimum(number):
    kind, cls = PAIRS[number]
    y = TARGETS[cls.__name__]
    with jax.enable_x64(True):
        numbers = CONVEX.index(kind), LOSSES.index(cls)
        found = solve(*numbers, STRENGTH, X, y, tolerance=1e-12)
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
    refused(Poisson, "Poisson.y must be at least 0, got -1", x, -y)
    with pytest.raises(ValueError, match="a column for each class"):
        Multinomial(x, y)(jnp.zeros(2))


def test_integers_and_bools_are_numbers():
    x, y = np.array([[1, 2], [3, 4]]), np.array([True, False])
    by_ints = Logistic(x, y)(jnp.ones(2))
    assert by_ints == Logistic(1.0 * x, 1.0 * y)(jnp.ones(2))


@pytest.mark.parametrize(
    ("loss", "family"),
    [
        (Squared, _families.Gaussian),
        (Logistic, _families.Bernoulli),
        (Poisson, _families.Poisson),
        (Multinomial, _families.Multinomial),
    ],
)
def test_paths_and_minimize_mean_the_same_losses(loss, family):
    y, classes = np.array([0.0, 1.0, 1.0]), 2 if loss is Multinomial else 1
    eta = jnp.sin(jnp.arange(3.0 * classes)).reshape(3, classes)
    told = np.eye(2)[y.astype(int)] if classes == 2 else y[:, None]
    model = loss(np.ones((3, 1)), y)
    slopes = model.slopes(eta if classes == 2 else eta[:, 0])
    found = family().mean(eta.T).T - told
    np.testing.assert_allclose(found.reshape(slopes.shape), slopes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda e: family().cumulant(e[:, None])[0]))(eta),
        family().mean(eta.T).T,
        rtol=1e-5,
    )
