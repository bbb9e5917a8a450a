"""Layers that are held back where a step goes further from w₀ against the gradient."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.decay import selective_projection_decay
from tests.helpers.training import draw, trained

close = np.testing.assert_allclose
STEPS = 50


def with_momentum(strength, w0, target, rate=0.05, momentum=0.9):
    """Two layers under momentum SGD, in NumPy; and how often each was held back."""
    layers = {name: np.array(w) for name, w in w0.items()}
    velocity = {name: np.zeros_like(w) for name, w in w0.items()}
    held = dict.fromkeys(w0, 0)
    for t in range(STEPS):
        for name, w in layers.items():
            g = (w - target[name]) * (1 + 0.5 * np.cos(t))
            velocity[name] = momentum * velocity[name] + g
            after = w - rate * velocity[name]
            far, before = (np.linalg.norm(x - w0[name]) for x in (after, w))
            if np.sum(g * (w - w0[name])) > 0 and far > before:
                after = after - strength(t) * (far - before) / far * (after - w0[name])
                held[name] += 1
            layers[name] = after
    return layers, held


def test_fifty_steps_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    w0 = {"first": rng.normal(size=(4, 3)), "second": rng.normal(size=(3, 2))}
    target = {name: w + rng.normal(size=w.shape) for name, w in w0.items()}
    expected, held = with_momentum(lambda t: 1.0 - 0.5 * t / STEPS, w0, target)
    assert 0 < min(held.values()) <= max(held.values()) < STEPS / 2
    with jax.enable_x64(True):
        start, goal = (jax.tree.map(jnp.asarray, x) for x in (w0, target))
        tx = selective_projection_decay(
            optax.sgd(0.05, momentum=0.9), optax.linear_schedule(1.0, 0.5, STEPS)
        )

        def gradient(params, t):
            return jax.tree.map(lambda w, g: (w - g) * (1 + 0.5 * jnp.cos(t)), params, goal)

        moved, _ = trained(tx, start, gradient, STEPS)
    for name, w in expected.items():
        close(moved[name], w, rtol=1e-6, atol=1e-6)


def test_without_momentum_it_is_never_needed():
    start, target = {"kernel": draw((3, 3))}, draw((3, 3), 1)
    tx = selective_projection_decay(optax.sgd(0.1), 1.0)
    moved, _ = trained(tx, start, lambda p, _: {"kernel": p["kernel"] - target}, 20)
    plain, _ = trained(
        optax.sgd(0.1), start, lambda p, _: {"kernel": p["kernel"] - target}, 20
    )
    close(moved["kernel"], plain["kernel"], rtol=1e-6)


def test_a_strength_of_one_does_not_go_further():
    """The projection: as far from w₀ as before, along the new direction."""
    w0, w, g = draw((4, 4)), draw((4, 4), 1), draw((4, 4), 2)
    g = g * jnp.sign(jnp.sum(g * (w - w0)))
    tx = selective_projection_decay(optax.scale(0.5), 1.0, toward={"kernel": w0})
    state = tx.init({"kernel": w})
    updates: Any = tx.update({"kernel": g}, state, {"kernel": w})[0]
    far = jnp.linalg.norm(w + updates["kernel"] - w0)
    assert jnp.linalg.norm(w + 0.5 * g - w0) > 1.1 * jnp.linalg.norm(w - w0)
    close(far, jnp.linalg.norm(w - w0), rtol=1e-6)


def test_stacked_is_unstacked():
    layers, target = draw((3, 5, 4)), draw((3, 5, 4), 1)
    tx = selective_projection_decay(
        optax.sgd(0.1, momentum=0.95), 1.0, stacked=jr.named("kernel")
    )
    alone_tx = selective_projection_decay(optax.sgd(0.1, momentum=0.95), 1.0)

    scales = jnp.arange(1.0, 4)[:, None, None]  # So that the layers go different ways.

    def run(tx, w, goal, scale):
        moved, _ = trained(
            tx,
            {"kernel": w},
            lambda p, _: {"kernel": scale * (p["kernel"] - goal)},
            30,
        )
        return moved["kernel"]

    together = run(tx, layers, target, scales)
    alone = jax.vmap(functools.partial(run, alone_tx))(layers, target, scales)
    close(together, alone, rtol=1e-4, atol=1e-5)
    as_one = run(alone_tx, layers, target, scales)
    assert not np.allclose(as_one, together, rtol=1e-2)


def test_toward_must_be_known():
    with pytest.raises(ValueError, match="toward must be a pytree of arrays, or 'start'"):
        selective_projection_decay(optax.sgd(0.1), 1.0, toward="end")
    with pytest.raises(ValueError, match="strength must be non-negative"):
        selective_projection_decay(optax.sgd(0.1), -1.0)
