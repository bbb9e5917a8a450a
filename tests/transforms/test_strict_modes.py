"""Under JAX's strict modes: nothing is NaN on the way, broadcast, promoted or leaked.

A table of modes by what is public: penalties, transforms, sweeps and plots, found by
themselves. JAX raises where a mode is broken, which is all that these tests assert. A
transfer guard forbids what moves data unasked; Python's numbers move when they are
computed with outside of `jit`, so it is inside.
"""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.penalties.fields import strength_fields
from tests.helpers.leaks import checking_leaks
from tests.helpers.strategies import PENALTIES
from tests.helpers.transforms import CONSTANT, REMEMBERING, SCHEDULED
from tests.plot.test_plot import PICTURES


@contextlib.contextmanager
def tracing():
    """The modes about shapes, dtypes and tracers; each raises an error of its own."""
    with (
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        checking_leaks(),
    ):
        yield


STRICT = {"nans": lambda: jax.debug_nans(True), "tracing": tracing}
every_mode = pytest.mark.parametrize("mode", STRICT)
# Only promotion asks for more than one dtype.
every_mode_and_dtype = pytest.mark.parametrize(
    ("mode", "dtype"),
    [("nans", "float32"), ("tracing", "float32"), ("tracing", "bfloat16")],
)


def run(mode, function, *args):
    """The function under a mode: traced, or step by step if it is about numbers."""
    with STRICT[mode]():
        return function(*args) if mode == "nans" else jax.eval_shape(function, *args)


def test_a_leak_is_found():
    leaked = []
    with pytest.raises(Exception, match="Leaked"), tracing():
        jax.eval_shape(leaked.append, 1.0)


# Penalties.

EDGES = np.array([[1.5, -0.25], [0.0, -3.0], [0.0, 0.0], [-1.0, 0.75]], np.float32)
PARAMS = {
    "first": {"kernel": jnp.asarray(EDGES), "bias": jnp.ones(2)},
    "zero": {"kernel": jnp.zeros((4, 2))},
}


def sample(cls):
    return cls(**{name: 0.3 + 0.1 * i for i, name in enumerate(strength_fields(cls))})


def everything_of(penalty, params):
    """Value, gradient, proxes and largest strength."""
    found: list[Any] = [penalty(params), jax.grad(penalty)(params)]
    if strength_fields(penalty):
        found.append(jax.grad(lambda penalty: penalty(params), allow_int=True)(penalty))
    if penalty.has_prox:
        found.append(penalty.prox(params, 0.5))
        found.append(penalty.prox(params, jnp.asarray(0.5)))
        found.append(penalty.strength_max(params))
    if penalty.has_prox and penalty.takes_metric:
        metric = jax.tree.map(lambda x: jnp.ones(x.shape), params)
        found.append(penalty.prox(params, 0.5, metric))
    return found


@pytest.mark.sampled(8)
@every_mode_and_dtype
@pytest.mark.parametrize("cls", PENALTIES)
def test_penalties(cls, dtype, mode):
    params = jax.tree.map(lambda x: x.astype(dtype), PARAMS)
    run(mode, everything_of, sample(cls), params)


# Transforms.

every_recipe = pytest.mark.parametrize(
    "recipe", CONSTANT + SCHEDULED + REMEMBERING, ids=str
)


def steps_of(tx):
    def steps(params, gradients):
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    return steps


def of_dtype(dtype):
    params = jax.tree.map(lambda x: x.astype(dtype), PARAMS)
    return params, jax.tree.map(lambda x: x / 8, params)


@pytest.mark.sampled(6)
@every_mode_and_dtype
@every_recipe
def test_transforms(recipe, dtype, mode):
    run(mode, steps_of(recipe.finish(recipe())), *of_dtype(dtype))


@pytest.mark.sampled(4)
@every_recipe
def test_transforms_transfer_nothing(recipe):
    step = jax.jit(steps_of(recipe()))
    params, gradients = of_dtype("float32")
    with jax.transfer_guard("disallow"):
        step(params, gradients)


# How strong.


def trained(strength, params):
    penalty = jr.L1(strength)
    for _ in range(3):
        step = jax.tree.map(lambda w: w - 0.1 * w, params)
        params = penalty.prox(step, 0.1)
    return params, jr.sparsity(params)


def swept():
    return jr.sweep(lambda strength: trained(strength, PARAMS), jnp.array([0.0, 0.5]))


def walked():
    return jr.strength.path(trained, jnp.array([0.5, 0.0]), PARAMS)


def validated():
    def score(strength, fold):
        x = fold.data
        mean = jr.strength.weighted_mean(x, fold.train) / (1 + strength)
        return jr.strength.weighted_mean(jnp.square(x - mean), fold.test)

    return jr.cross_validate(score, jnp.arange(8.0), jnp.array([0.0, 0.5]), folds=2)


HOW_STRONG = {
    "sweep": swept,
    "sweep-chunks": lambda: jr.sweep(jnp.square, jnp.arange(3.0), chunk=2),
    "path": walked,
    "cross_validate": validated,
    "strength_grid": lambda: jr.strength_grid(jnp.asarray(2.0), 5),
    "strength_max": lambda: jr.strength_max(
        lambda params: jnp.sum(jnp.square(params["kernel"] - 1)),
        jr.L1(),
        {"kernel": jnp.ones(3)},
    ),
}


@every_mode
@pytest.mark.parametrize("name", HOW_STRONG)
def test_how_strong(name, mode):
    with STRICT[mode]():
        HOW_STRONG[name]()


@pytest.mark.sampled(3)
@every_mode
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, mode):
    from jaxreg import plot

    with STRICT[mode](), contextlib.closing(plot.plt):
        PICTURES[name]()
