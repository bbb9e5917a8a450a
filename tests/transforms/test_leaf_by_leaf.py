"""Steps that are taken for some leaves after others: less memory, and the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.penalties import bound
from jaxreg.transforms import _averaging, _leaf_by_leaf, constrained

RATE, ROWS = 1e-2, 2**12
NAMES = [f"layer_{i}" for i in range(12)]
PARAMS = {name: jnp.ones((ROWS, 128)) for name in NAMES}
OPTIMIZERS = {
    "adam": lambda: jr.prox_adam(RATE, jr.GroupLasso(1e-2)),
    "decay": lambda: jr.prox_adam(RATE, jr.GroupLasso(1e-2), weight_decay=0.1),
    "sgd": lambda: jr.prox_sgd(RATE, jr.GroupLasso(1e-2), momentum=0.9),
    "given metric": lambda: jr.prox_preconditioned(
        optax.scale_by_rms(), RATE, jr.GroupLasso(1e-2), metric=roots
    ),
    "dual averaging": lambda: jr.dual_averaging_adam(RATE, jr.L1(1e-2)),
    "constrained": lambda: optax.chain(
        optax.adam(RATE), jr.constrained_parameter_regularization(1)
    ),
}


def roots(state):
    return jax.tree.map(lambda v: jnp.sqrt(v) + 1e-8, state.nu)


def step(optimizer):
    def update(params, state, gradients):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(update, donate_argnums=(0, 1))


def values(names, seed):
    draws = np.random.default_rng(seed)
    size = ROWS * 128
    rows = draws.normal(size=size).astype(np.float32).reshape(ROWS, 128)
    return {name: jnp.asarray(np.roll(rows, i, 1)) for i, name in enumerate(names)}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_large_leaves_that_wait_for_others_get_the_steps_they_get_alone(kind):
    names = NAMES[:4]
    optimizer, start, gradients = OPTIMIZERS[kind](), values(names, 0), values(names, 1)
    run = step(optimizer)
    alone = {}
    for name in names:
        params, own = {name: start[name] + 0.0}, {name: gradients[name]}
        state = optimizer.init(params)
        for _ in range(2):
            params, state = run(params, state, own)
        alone |= params
    state = optimizer.init(start)
    for _ in range(2):
        start, state = run(start, state, gradients)
    for name in names:
        np.testing.assert_allclose(start[name], alone[name], rtol=1e-6, atol=1e-7)


def compiled(kind):
    optimizer = OPTIMIZERS[kind]()
    return step(optimizer).lower(PARAMS, optimizer.init(PARAMS), PARAMS).compile()


def scratch(kind):
    """Bytes that a step needs beside its arguments and results."""
    analysis: Any = compiled(kind).memory_analysis()
    return analysis.temp_size_in_bytes


@pytest.mark.parametrize(("kind", "times"), [("adam", 4), ("constrained", 3)])
def test_what_a_step_needs_for_a_moment_is_not_kept_for_all_leaves(
    kind, times, monkeypatch
):
    in_turn = scratch(kind)
    for room in (bound, _leaf_by_leaf, constrained):
        monkeypatch.setattr(room, "after", lambda done, values: values)
    assert in_turn < scratch(kind) / times


def test_dual_averaging_copies_no_donated_array(monkeypatch):
    copy = f"f32[{ROWS},128]{{1,0}} copy("
    assert copy not in str(compiled("dual averaging").as_text())
    monkeypatch.setattr(_averaging, "computed_once", lambda value: value)
    assert copy in str(compiled("dual averaging").as_text())


def test_a_nan_stays_in_its_leaf():
    optimizer = OPTIMIZERS["adam"]()
    gradients = PARAMS | {NAMES[0]: jnp.full((ROWS, 128), jnp.nan)}
    params = jax.tree.map(jnp.copy, PARAMS)
    moved, _ = step(optimizer)(params, optimizer.init(params), gradients)
    assert [bool(jnp.isfinite(moved[name]).all()) for name in NAMES] == [False] + [
        True
    ] * 11


@pytest.mark.parametrize("kind", ["adam", "dual averaging", "constrained"])
def test_nothing_waits_on_an_accelerator(kind):
    optimizer = OPTIMIZERS[kind]()
    traced = step(optimizer).trace(PARAMS, optimizer.init(PARAMS), PARAMS)
    text = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    waits = {name: own.count("dense<-1.000000e+00>") for name, own in text.items()}
    assert waits["cpu"] > 0
    assert waits["cuda"] == waits["tpu"] == 0
