"""Derivatives of what `minimize` finds: against finite differences of solutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg
from tests.helpers.solving import CONVEX, QUICKLY, STRENGTH, Chosen, data, loss_among, start

pytestmark = pytest.mark.xdist_group("derivatives")  # They share one program.

LOSSES = [jaxreg.losses.Squared, jaxreg.losses.Logistic]
one_of_them = loss_among(LOSSES)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def solution_and_tangent(penalty, loss, inputs, direction):
    def params(inputs):
        strength, x, y = inputs
        chosen = Chosen(penalty, strength)
        return jaxreg.minimize(one_of_them, chosen, start(), loss, x, y, tol=1e-12).params

    return jax.jvp(params, (inputs,), (direction,))


@pytest.mark.exhaustive
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cls", CONVEX)
def test_derivatives_are_those_of_the_solution(cls, loss):
    """In the strength, the features and the targets at once."""
    rng = np.random.default_rng(1)
    x, targets = data()
    inputs = [np.float64(STRENGTH), x, targets[loss.__name__]]
    direction = [0.1 * np.ones(()), *(rng.normal(size=part.shape) for part in inputs[1:])]

    def at(distance):
        moved = [a + distance * b for a, b in zip(inputs, direction, strict=True)]
        numbers = CONVEX.index(cls), LOSSES.index(loss)
        with jax.enable_x64(True):
            return jax.device_get(solution_and_tangent(*numbers, moved, direction))

    (_, found), (ahead, _), (behind, _) = at(0.0), at(1e-5), at(-1e-5)
    for name in ("kernel", "bias"):
        expected = (ahead[name] - behind[name]) / 2e-5
        assert np.any(expected)
        slack = 1e-6 * np.max(np.abs(expected))
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=slack)


def test_losses_may_have_rules_for_reverse_mode_alone():
    """JAX cannot push tangents through a `custom_vjp`."""

    @jax.custom_vjp
    def squashed(z):
        return jnp.tanh(z)

    def backward(z, g):
        return (g * (1 - squashed(z) ** 2),)

    squashed.defvjp(lambda z: (squashed(z), z), backward)
    x, y = data()[0], jnp.tanh(data()[1]["Squared"][:, 0])

    def derivatives(function):
        def loss(w, y):
            return jnp.mean((function(x @ w) - y) ** 2) / 2

        def size(strength, y):
            found = jaxreg.minimize(loss, jaxreg.L1(strength), jnp.zeros(x.shape[1]), y)
            return jnp.sum(found.params**2)

        first = jax.grad(size, (0, 1))
        return first(0.02, y), jax.grad(lambda s: first(s, y)[0])(0.02)

    with jax.enable_x64(True):
        found, expected = derivatives(squashed), derivatives(jnp.tanh)
        for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
            assert np.any(b)
