"""`jax.checkpoint` inside a function is kept in the smaller one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

import jaxreg as jr
from tests.compaction.models import model
from tests.compaction.test_compact import X, mlp, mlp_params, numbers


def checkpoints(jaxpr):
    """Policy, `prevent_cse` and number of results of each `jax.checkpoint` in a jaxpr."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("remat", "remat2", "checkpoint"):
            options = eqn.params["policy"], eqn.params["prevent_cse"]
            found.append((*options, len(eqn.outvars)))
        for inner in jax.tree.leaves(list(eqn.params.values())):
            if isinstance(inner, core.ClosedJaxpr | core.Jaxpr):
                found += checkpoints(getattr(inner, "jaxpr", inner))
    return found


def of(fn, *arguments):
    return checkpoints(jax.make_jaxpr(fn)(*arguments).jaxpr)


def wide(params, x):
    """A unit that is zero, one that is constant, and one that is read outside only."""
    hidden = jax.checkpoint(
        lambda p, x: jnp.exp(x @ p["w1"] + p["b1"]),
        policy=jax.checkpoint_policies.dots_saveable,
        prevent_cse=False,
    )
    h = hidden(params, x)
    pair = jax.checkpoint(lambda h, p: (jax.checkpoint(jnp.sin)(h @ p["w2"]), h[:, 3]))
    y, last = pair(h, params)
    return y + params["b2"] * last[:, None]


def test_the_smaller_function_has_the_same_checkpoints():
    params = mlp_params()
    small = jr.compact(wide, params, X)
    assert small.params["w1"].shape == (5, 2)
    found = of(small, small.params, X)
    assert found == of(wide, params, X)
    assert [count for _, _, count in found] == [1, 2, 1]
    many = numbers(7, 5)
    np.testing.assert_allclose(
        small(small.params, many), wide(params, many), rtol=1e-5, atol=1e-6
    )


def test_the_derivative_computes_again_what_the_full_one_does():
    params = mlp_params()
    small = jr.compact(wide, params, X)

    def exponentials(fn, params):
        gradient = jax.grad(lambda p: fn(p, X).sum())
        return str(jax.make_jaxpr(gradient)(params)).count(" exp ")

    assert exponentials(small, small.params) == exponentials(wide, params) == 2
    ours = jax.grad(lambda p: small(p, X).sum())(small.params)
    full = jax.grad(lambda p: wide(p, X).sum())(params)
    np.testing.assert_allclose(ours["w1"], full["w1"][:, 2:], rtol=1e-4)
    np.testing.assert_allclose(ours["b2"], full["b2"], rtol=1e-4)


@pytest.mark.parametrize("zero", [[], [0, 1, 2, 3]])
def test_with_nothing_and_all_gone(zero):
    params = mlp_params(zero=zero)
    fn = jax.checkpoint(mlp)
    small = jr.compact(fn, params, X)
    assert len(of(small, small.params, X)) == 1
    np.testing.assert_allclose(small(small.params, X), mlp(params, X), rtol=1e-5)


def test_layers_of_a_scan_stay_checkpointed():
    fn, params, inputs = model("scanned")
    layers = {**params["layers"], "gate": params["layers"]["gate"].at[:, :, 0].set(0)}
    params = {**params, "layers": layers}
    small = jr.compact(fn, params, *inputs(2))
    assert small.params["layers"]["gate"].shape == (3, 8, 9)
    assert len(of(small, small.params, *inputs(2))) == len(of(fn, params, *inputs(2))) == 1
