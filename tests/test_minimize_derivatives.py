"""Derivatives of what `minimize` finds: against finite differences of solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg
from tests.solving import CONVEX, LOSSES, STRENGTH, data, solve

pytestmark = pytest.mark.xdist_group("minimize")


@jax.jit
def tangent(penalty, loss, inputs, direction):
    def params(inputs):
        return solve(penalty, loss, *inputs, tolerance=1e-12).params

    return jax.jvp(params, (inputs,), (direction,))[1]


@pytest.mark.parametrize("loss", [jaxreg.SquaredLoss, jaxreg.LogisticLoss])
@pytest.mark.parametrize("cls", CONVEX)
def test_derivatives_are_those_of_the_solution(cls, loss):
    rng = np.random.default_rng(1)
    x, targets = data()
    numbers = CONVEX.index(cls), LOSSES.index(loss)
    inputs = STRENGTH, x, targets[loss.__name__]
    direction = tuple(np.asarray(rng.normal(size=np.shape(value))) for value in inputs)
    direction = (0.1 * direction[0], *direction[1:])

    def at(distance):
        moved = [a + distance * b for a, b in zip(inputs, direction, strict=True)]
        return solve(*numbers, *moved, tolerance=1e-12).params

    with jax.enable_x64(True):
        ahead, behind = at(1e-5), at(-1e-5)
        expected = jax.tree.map(lambda a, b: (a - b) / 2e-5, ahead, behind)
        found = tangent(*numbers, tuple(map(jnp.asarray, inputs)), direction)
        for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.max(np.abs(b)))
