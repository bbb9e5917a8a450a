"""A run that is saved and taken up again is the run that was not: bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import jaxreg as jr
from tests.helpers.decays import same
from tests.helpers.transforms import CONSTANT, SCHEDULED

pytestmark = pytest.mark.xdist_group("checkpoints")
RECIPES = {str(recipe): recipe for recipe in CONSTANT + SCHEDULED}


def params_of(dtype):
    kernel = jnp.sin(jnp.arange(12.0)).reshape(4, 3).at[1].set(0.001)
    return {"kernel": kernel.astype(dtype), "bias": jnp.ones(3, dtype)}


def optimizers():
    """Every transform, as an optimizer that makes exact zeros where it can."""
    groups = {"groups": jr.prox_adam(0.05, jr.GroupLasso(0.3, group_axis=0), window=5)}
    found = {name: recipe.finish(recipe()) for name, recipe in RECIPES.items()}
    around = {
        "compensated": jr.with_kahan_compensation(found["prox_adam"]),
        "monitored vectors": jr.monitor(found["prox_adam"], every=2),
    }
    return found | groups | around


OPTIMIZERS = optimizers()
SPARSE = ("prox_sgd", "prox_adam", "dual_averaging_adam", "compensated", "groups")


@jax.jit
def trained(runs):
    """Three steps on: for all runs there is one program, and one file."""

    def on(tx, run):
        params, state = run
        for _ in range(3):
            gradients = jax.tree.map(lambda w: (w - 0.5) / 2, params)
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    return {name: on(OPTIMIZERS[name], run) for name, run in runs.items()}


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """At the time of saving, as restored, and at the end, without and with the break."""
    path = tmp_path_factory.mktemp("orbax") / "runs"
    tests = [item for item in request.session.items if "name" in item.fixturenames]
    chosen = {item.callspec.params["name"] for item in tests if item.path == request.path}
    start = {}
    for name in sorted(chosen.union(SPARSE)):
        tx = OPTIMIZERS[name]
        params = params_of(jnp.bfloat16 if name == "compensated" else jnp.float32)
        if name == "monitored vectors":
            params = jax.tree.map(jnp.ravel, params)
        start[name] = params, tx.init(params)
    middle = trained(start)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, middle)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(path, jax.eval_shape(lambda: middle))
    return middle, restored, trained(middle), trained(restored)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_resumes_bit_for_bit(name, runs):
    middle, restored, straight, resumed = (run[name] for run in runs)
    same(restored, middle)
    same(resumed, straight)
    assert jax.tree.structure(restored) == jax.tree.structure(middle)
    moved = np.any(np.asarray(straight[0]["kernel"] != middle[0]["kernel"]))
    assert moved, "nothing was trained"


def test_exact_zeros_are_among_what_is_kept(runs):
    _, restored, _, resumed = runs
    for name in SPARSE:
        zeros = np.asarray(restored[name][0]["kernel"] == 0)
        assert 0 < np.mean(zeros) < 1, name
        assert 0 < np.mean(np.asarray(resumed[name][0]["kernel"] == 0)) < 1, name
