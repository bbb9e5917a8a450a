"""Every penalty lowers for every backend, from a machine that has none of them.

Transforms do in `test_contract.py`.
"""

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxreg as jr
from tests.helpers.strategies import PENALTIES
from tests.penalties.test_laws import sample

PLATFORMS = ("cpu", "cuda", "tpu")


def everything_of(penalty):
    """The value, the gradient, and each prox that there is, as one function."""

    def compute(params, metric):
        found = [*jax.value_and_grad(penalty)(params), penalty.strength_max(params)]
        if penalty.has_prox:
            found.append(penalty.prox(params, 0.5))
        if penalty.has_prox and penalty.takes_metric:
            found.append(penalty.prox(params, 0.5, metric))
        return found

    return compute


@pytest.mark.sampled(6)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("cls", PENALTIES)
def test_export_to_all_platforms(cls, dtype):
    params = {"kernel": jnp.ones((8, 4), dtype), "bias": jnp.ones(4, dtype)}
    metric = jax.tree.map(jnp.float32, params)
    lower = jax.export.export(jax.jit(everything_of(sample(cls))), platforms=PLATFORMS)
    exported = lower(params, metric)
    assert exported.platforms == PLATFORMS
    assert {aval.dtype for aval in exported.out_avals[1:3]} == {jnp.dtype(dtype)}


def test_what_is_exported_computes_the_same():
    params = {"kernel": jnp.sin(jnp.arange(32.0)).reshape(8, 4), "bias": jnp.ones(4)}
    compute = everything_of(jr.SparseGroupLasso(0.2, 0.3))
    exported = jax.export.export(jax.jit(compute), platforms=PLATFORMS)(params, params)
    found, expected = exported.call(params, params), jax.jit(compute)(params, params)
    chex.assert_trees_all_equal(found, expected)
