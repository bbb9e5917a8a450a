"""Decay and bounds of singular values, beside NumPy's singular value decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg.decay import spectral_clip, spectral_decay
from tests.helpers.training import draw, first_update, trained

close = np.testing.assert_allclose
STEPS, SHAPE = 50, (6, 4)
SLOPES = [np.random.default_rng(i).normal(size=SHAPE) for i in range(STEPS)]


def factors(w):
    return np.linalg.svd(w, full_matrices=False)


def decayed(w, g, t):
    u, sigma, vt = factors(w)
    rate = 0.05 * (1 - t / (2 * STEPS)) * 0.5
    return w - 0.05 * g - rate * sigma[0] * np.outer(u[:, 0], vt[0])


def hammered(w, g, _):
    u, sigma, vt = factors(w - 0.05 * g)
    lost = max(sigma[0] - 9.0 * np.sqrt(4 / 6), 0.0)
    return w - 0.05 * g - lost * np.outer(u[:, 0], vt[0])


def capped(w, g, _):
    u, sigma, vt = factors(w - 0.05 * g)
    return (u * np.minimum(sigma, 0.5 * np.sqrt(4 / 6))) @ vt


RATE = optax.linear_schedule(0.05, 0.025, STEPS)
FORMULAS = {
    "decay": (decayed, spectral_decay(0.5, learning_rate=RATE, iterations=300)),
    "top": (hammered, spectral_clip(9.0, iterations=300)),
    "all": (capped, spectral_clip(0.5, method="all")),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_fifty_steps_are_those_of_the_decomposition(kind):
    formula, tx = FORMULAS[kind]
    w = np.random.default_rng(99).normal(size=SHAPE)
    w += 2 * np.outer(np.ones(6), [1, -1, 2, 1])  # So that the first values are apart.
    expected = w
    for t, g in enumerate(SLOPES):
        expected = formula(expected, g, t)
    with jax.enable_x64(True):
        slopes = jnp.asarray(np.array(SLOPES))
        start = {"kernel": jnp.asarray(w)}
        optimizer = optax.chain(optax.sgd(0.05), tx)
        moved, _ = trained(optimizer, start, lambda _, i: {"kernel": slopes[i]}, STEPS)
    close(moved["kernel"], expected, rtol=1e-6, atol=1e-6)
    assert factors(expected)[1][0] < 0.9 * factors(w - 0.05 * sum(SLOPES))[1][0]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 32, 16)])
def test_clipping_all_is_exact_in_one_step(shape):
    w, bounds = draw(shape), (0.0, 0.3, 1.0, 1e6)
    u, sigma, vt = np.linalg.svd(np.asarray(w, np.float64), full_matrices=False)

    @jax.jit
    def clipped(bound):
        tx = spectral_clip(bound, matrix_axes=(-2, -1), method="all")
        return w + first_update(tx, {"kernel": w}, {"kernel": jnp.zeros(shape)})["kernel"]

    for bound in bounds:
        limit = bound * np.sqrt(shape[-1] / shape[-2])
        expected = (u * np.minimum(sigma, limit)[..., None, :]) @ vt
        close(clipped(bound), expected, atol=3e-6)


def test_clipping_all_of_low_rank_and_of_nothing():
    low = jnp.outer(draw((6,)), draw((4,), 1))
    for w in (low, jnp.zeros((6, 4)), jnp.eye(6, 4)):
        tx = spectral_clip(0.5, method="all")
        moved, _ = trained(tx, {"kernel": w}, lambda *_: {"kernel": jnp.zeros((6, 4))}, 1)
        u, sigma, vt = factors(np.asarray(w, np.float64))
        limit = 0.5 * np.sqrt(4 / 6)
        close(moved["kernel"], (u * np.minimum(sigma, limit)) @ vt, atol=2e-6)


def test_few_rounds_are_enough_for_slow_weights():
    """The vectors that are kept are those of weights that change little in a step."""
    slope = jnp.outer(draw((32,), 1), draw((16,), 2)) + 0.1 * draw((32, 16), 3)
    tx = optax.chain(optax.sgd(0.01), spectral_clip(1.5, iterations=1))
    start = {"kernel": draw((32, 16)) / 20}
    moved, _ = trained(tx, start, lambda p, _: {"kernel": p["kernel"] - slope}, 200)
    plain, _ = trained(
        optax.sgd(0.01), start, lambda p, _: {"kernel": p["kernel"] - slope}, 200
    )
    assert np.sqrt(2) * factors(plain["kernel"])[1][0] > 10
    close(np.sqrt(2) * factors(moved["kernel"])[1][0], 1.5, rtol=1e-3)


def test_others_than_the_first_direction_stay():
    w = jnp.diag(jnp.array([4.0, 2.0, 1.0]))
    tx = spectral_decay(0.1, learning_rate=1.0)
    moved, _ = trained(tx, {"kernel": w}, lambda *_: {"kernel": 0 * w}, 1)
    close(moved["kernel"], np.diag([3.6, 2.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize("make", [spectral_decay, spectral_clip])
def test_stacked_is_unstacked_with_strengths_of_their_own(make):
    layers = draw((3, 5, 4))
    decays = jnp.array([0.0, 0.2, 0.4])

    def tx(decay):
        if make is spectral_clip:
            return spectral_clip(0.5, matrix_axes=(-2, -1))
        return spectral_decay(decay, learning_rate=0.5, matrix_axes=(-2, -1))

    zeros = jnp.zeros_like(layers)
    together, _ = trained(
        tx(decays[:, None, None]), {"kernel": layers}, lambda *_: {"kernel": zeros}, 3
    )

    def alone(w, decay):
        run, _ = trained(tx(decay), {"kernel": w}, lambda *_: {"kernel": zeros[0]}, 3)
        return run["kernel"]

    close(together["kernel"], jax.vmap(alone)(layers, decays), rtol=1e-5, atol=1e-6)


def test_newton_schulz_needs_the_last_two_axes():
    conv = {"conv": {"kernel": draw((2, 2, 3, 4))}}
    tx = spectral_clip(1.0, matrix_axes=((0, 1, 2), 3), method="all")
    with pytest.raises(ValueError, match="last two axes.*'conv/kernel'.*method='top'"):
        tx.update(conv, tx.init(conv), conv)
    with pytest.raises(ValueError, match="method must be one of 'top', 'all'"):
        spectral_clip(1.0, method="some")  # pyright: ignore[reportArgumentType]
