"""What `minimize` promises: converged solutions are close to the minimum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.solve.general._gap import duality_gap, null_loss
from jaxreg.solve.general.solution import Status
from tests.helpers.solving import LOSSES, QUICKLY

SAMPLES, FEATURES = 40, 6


@functools.partial(jax.jit, compiler_options=QUICKLY)
def solve(loss, penalty, params):
    return jr.minimize(loss, penalty, params, max_steps=2000)


def problem(seed):
    """Correlated features in any units; a target that may be far from zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, FEATURES))
    x[:, 1:] += rng.choice([0.0, 3.0]) * x[:, :-1]
    y = x[:, :3] @ rng.normal(size=3) + rng.normal(size=SAMPLES)
    x = x * 10 ** rng.uniform(-2, 2) + rng.choice([0.0, 0.0, 10.0, 1e3])
    y = y * 10 ** rng.uniform(-2, 2) + rng.choice([0.0, 1.0, 1e3, 1e6, 1e8])
    return x, y, 10 ** rng.uniform(-3, 0)


def excess(found, x, y, strength):
    """How far an objective is above the minimum, by the variance of the target."""
    x, y = np.asarray(x, np.longdouble), np.asarray(y, np.longdouble)
    centred, target = x - x.mean(0), y - y.mean()

    def objective(w, b):
        return np.mean((target - centred @ w - b) ** 2) / 2 + strength * np.abs(w).sum()

    best = jr.lasso_path(centred, target, [strength], intercept=False)
    w = np.asarray(found.params["kernel"], np.longdouble)
    b = np.longdouble(found.params["bias"]) - y.mean() + x.mean(0) @ w
    return (objective(w, b) - objective(best.coefficients[0], 0)) / np.mean(target**2)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_converged_is_close_to_the_minimum(dtype):
    statuses = []
    with jax.enable_x64(dtype is np.float64):
        start = {"kernel": np.zeros(FEATURES, dtype), "bias": np.zeros((), dtype)}
        for seed in range(60):
            x, y, share = problem(seed)
            x, y = x.astype(dtype), y.astype(dtype)
            if np.all(y == y[0]):
                continue
            strength = dtype(
                share * abs((x - x.mean(0)).T @ (y - y.mean())).max() / SAMPLES
            )
            found = jax.device_get(solve(jr.losses.Squared(x, y), jr.L1(strength), start))
            statuses.append(int(found.status))
            if found.status == Status.CONVERGED:
                assert excess(found, x, y, float(strength)) <= 1e-4
    assert statuses.count(Status.CONVERGED) >= 15
    assert statuses.count(Status.INEXACT) >= 3


def test_a_large_gap_is_warned_of():
    x, y, _ = problem(1)
    far = jr.losses.Squared(x + 1e3, y + 1e5)
    with pytest.warns(RuntimeWarning, match="duality gap is .* rounding keeps it"):
        found = jr.minimize(
            far, jr.L1(0.1), {"kernel": jnp.zeros(6), "bias": jnp.zeros(())}
        )
    assert found.status == Status.INEXACT
    assert not found.converged


def test_gaps_of_targets_far_from_zero_have_their_digits():
    x, y, _ = problem(0)
    y = np.round(y * 64) / 64
    w, penalty = {"kernel": jnp.full(6, 0.01), "bias": jnp.zeros(())}, jr.L1(0.1)
    for loss in (jr.losses.Squared, jr.losses.Huber):
        expected = duality_gap(loss(x, y), penalty, w)
        moved = {**w, "bias": jnp.asarray(2.0**13)}
        found = duality_gap(loss(x, y + 2.0**13), penalty, moved)
        np.testing.assert_allclose(found, expected, rtol=1e-3)
        scale = null_loss(loss(x, y + 2.0**13), moved), null_loss(loss(x, y), w)
        np.testing.assert_allclose(*scale, rtol=1e-3)


@pytest.mark.parametrize("cls", LOSSES)
def test_sample_gaps_are_losses_and_conjugates(cls):
    eta = jnp.linspace(-2.0, 3.0, 12).reshape(6, 2)
    loss = cls(np.ones((6, 1)), cls.mean_response(eta[::-1] / 2))
    slopes = 0.9 * loss.sample_slopes(eta)
    found = loss.sample_gaps(eta, slopes)
    terms = loss.sample_losses(eta) + loss.sample_conjugates(slopes)
    np.testing.assert_allclose(found, terms - jnp.sum(eta * slopes, axis=1), atol=1e-5)
    assert np.all(found >= 0)


def test_squares_that_underflow_certify_nothing():
    x, y, _ = problem(0)
    loss = jr.losses.Squared(x, 1e-25 * y)
    assert duality_gap(loss, jr.L1(1e-30), jnp.zeros(6)) == np.inf
    assert duality_gap(jr.losses.Squared(x, 0 * y), jr.L1(1.0), jnp.zeros(6)) == 0
    assert duality_gap(jr.losses.Squared(x, y), jr.L1(0.0), jnp.zeros(6)) == np.inf
