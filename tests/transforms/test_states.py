"""States that the tools of Optax, JAX and Orbax can read, for every transform."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg
from tests.helpers.transforms import ARGUMENTS, CONSTANT, REMEMBERING, SCHEDULED, WRAPPERS

same = chex.assert_trees_all_equal
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)
ALL = CONSTANT + SCHEDULED + REMEMBERING
every_recipe = pytest.mark.parametrize("recipe", ALL, ids=str)

PARAMS = {
    "dense": {"kernel": jnp.array([[0.9, -0.7], [0.6, -0.4]]), "bias": jnp.ones(2)},
    "narrow": {"kernel": jnp.array([0.5, -0.25], jnp.bfloat16)},
    "head": {"kernel": jnp.array([[0.5], [0.8]]), "bias": jnp.zeros(1)},
}
GRADIENTS = jax.tree.map(lambda w: w / 8, PARAMS)


def state_after(tx, steps, params=PARAMS) -> Any:
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(jax.tree.map(lambda w: w / 8, params), state, params)
        params = optax.apply_updates(params, updates)
    return state


def counts_of(state):
    return [x for _, x in optax.tree_utils.tree_get_all_with_path(state, "count")]


@pytest.mark.sampled(6)
@every_recipe
def test_there_is_one_count_if_anything_is_counted(recipe):
    state = state_after(recipe(), 3)
    counters = [x for x in jax.tree.leaves(state) if x.dtype == np.int32 and x.ndim == 0]
    assert counts_of(state) == [3] * bool(counters)
    assert optax.tree_utils.tree_get(state, "count") == (3 if counters else None)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(
    "recipe", [recipe for recipe in WRAPPERS if "optimizer" in recipe.arguments], ids=str
)
def test_the_count_is_that_of_the_optimizer_inside(recipe, scheduled):
    rates = dict.fromkeys(recipe.rates, lambda count: 0.01 / (1 + count))
    tx = recipe(optimizer=optax.adam(0.05), **(rates if scheduled else {}))
    assert counts_of(state_after(tx, 3)) == [3]


@pytest.mark.sampled(3)
@every_recipe
def test_optax_maps_a_state_beside_the_parameters(recipe):
    tx = recipe()
    state: Any = tx.init(PARAMS)

    def fits(x, param):
        return x.shape == param.shape

    mapped = optax.tree_utils.tree_map_params(
        tx, fits, state, PARAMS, transform_non_params=lambda x: None
    )
    assert all(jax.tree.leaves(mapped))
    arrays = [x for x in jax.tree.leaves(state) if x.ndim > 0]
    if recipe.memory:
        assert len(jax.tree.leaves(mapped)) >= len(jax.tree.leaves(PARAMS))
        assert len(arrays) >= len(jax.tree.leaves(mapped))


@pytest.mark.sampled(3)
@every_recipe
def test_a_state_takes_the_shardings_of_the_parameters(recipe):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    everywhere = jax.NamedSharding(mesh, jax.P())
    tx = recipe()
    state = tx.init(PARAMS)
    shardings = optax.tree_utils.tree_map_params(
        tx,
        lambda _, sharding: sharding,
        state,
        jax.tree.map(lambda _: rows, PARAMS),
        transform_non_params=lambda _: everywhere,
    )
    same(jax.device_put(state, shardings), state)


@pytest.mark.sampled(4)
@every_recipe
def test_no_array_is_of_size_0_without_a_matrix(recipe):
    vectors = {"first": {"kernel": jnp.ones(3)}, "second": {"bias": jnp.ones(2)}}
    for state in (recipe().init(vectors), state_after(recipe(), 1, vectors)):
        assert all(leaf.size for leaf in jax.tree.leaves(state))


# Frozen leaves: the whole model is given, but some gradients are None.


def frozen(tree, path=("head",)):
    """The tree with `None` at the leaves of some layers."""
    return {
        layer: {name: None if layer in path else x for name, x in leaves.items()}
        for layer, leaves in tree.items()
    }


def moved(params, updates):
    return jax.tree.map(
        lambda w, u: w if u is None else optax.apply_updates(w, u),
        params,
        updates,
        is_leaf=lambda x: x is None,
    )


def train(tx, params, gradients, steps=4):
    @jax.jit
    def run(carry):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(gradients, state, params)
            return (moved(params, updates), state), None

        return jax.lax.scan(step, carry, length=steps)[0]

    return run((params, tx.init(params)))[0]


def assert_frozen_leaves_are_as_filtered(tx):
    trained = train(tx, PARAMS, frozen(GRADIENTS))
    filtered = train(tx, frozen(PARAMS), frozen(GRADIENTS))
    same(trained["head"], PARAMS["head"])
    close(frozen(trained), filtered)
    assert jnp.any(trained["dense"]["kernel"] != PARAMS["dense"]["kernel"])


@pytest.mark.sampled(6)
@every_recipe
def test_frozen_leaves_are_as_if_filtered(recipe):
    assert_frozen_leaves_are_as_filtered(recipe.finish(recipe()))


TOGETHER = {
    "groups": jaxreg.GroupLasso(0.3, group_axis=(), together=""),
    "budget": jaxreg.L1Ball(1.0, together=""),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("penalty", TOGETHER.values(), ids=TOGETHER)
@pytest.mark.parametrize(
    "recipe", [recipe for recipe in CONSTANT if "penalty" in recipe.arguments], ids=str
)
def test_frozen_leaves_are_in_no_group_with_others(recipe, penalty):
    assert_frozen_leaves_are_as_filtered(recipe.finish(recipe(penalty=penalty)))


def test_frozen_leaves_are_not_among_those_whose_zeros_are_counted():
    params = {**PARAMS, "head": {"kernel": jnp.zeros((50, 1)), "bias": jnp.zeros(1)}}
    tx = jaxreg.target_sparsity(0.05, ARGUMENTS["penalty"], 0.5)
    state: Any = tx.init(params)
    _, state = tx.update(frozen(GRADIENTS), state, params)
    np.testing.assert_allclose(state.log_factor, 0.1 * 0.5)
