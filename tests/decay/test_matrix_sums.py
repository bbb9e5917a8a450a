"""Sums over matrices: right in one pass or several, and one pass where it counts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg.decay import with_fixed_norm
from jaxreg.decay._matrices import Matrix
from tests.helpers.training import draw

# In each of them rows are long enough to be summed in parts, but for the last.
CASES = {
    "stacked": ((2, 3, 256), Matrix((1,), (2,))),
    "flat": ((3, 256), Matrix((0,), (1,))),
    "columns first": ((256, 3, 320), Matrix((2,), (0,))),
    "rows alone": ((3, 256), Matrix((1,), ())),
    "vector": ((256,), Matrix((0,), ())),
    "short": ((2, 3, 100), Matrix((1,), (2,))),
    "last axis numbers": ((3, 5, 256), Matrix((0,), (1,))),
}


@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_numpy(case):
    shape, matrix = CASES[case]
    terms = draw(shape), draw(shape, 1), jnp.square(draw(shape, 2))
    found = jax.jit(matrix.sums)(*terms)
    for x, inside in zip(terms, found, strict=True):
        wide = np.asarray(x, np.float64)
        expected, size = (
            np.sum(y, axis=matrix.axes, keepdims=True) for y in (wide, abs(wide))
        )
        assert np.all(abs(inside - expected) < 1e-6 * size)


def test_sums_have_derivatives_and_batches():
    shape, matrix = CASES["flat"]
    x = draw((2, *shape))

    def total(x):
        first, second = matrix.sums(jnp.square(x), jnp.sin(x))
        return jnp.sum(first * second)

    def apart(x):
        return jnp.sum(jnp.square(x)) * jnp.sum(jnp.sin(x))

    found, expected = (jax.vmap(jax.grad(f))(x) for f in (total, apart))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_a_step_makes_one_pass_for_its_sums():
    """Without it there is scratch memory for two leaves, and a third of the speed."""
    tx = with_fixed_norm(optax.adam(1e-3), 0.1, matrix_axes=(-2, -1))
    params = {"kernel": draw((2, 64, 512))}

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params)
    scratch = lowered.compile().memory_analysis()
    assert scratch is not None
    assert scratch.temp_size_in_bytes < 1.6 * params["kernel"].nbytes
