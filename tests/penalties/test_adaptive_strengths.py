"""Factors on strengths, and strengths from a first fit."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import jaxreg
from jaxreg import (
    L1,
    L2,
    MCP,
    ElasticNet,
    GroupLasso,
    NonNegativeL1,
    SparseGroupLasso,
    adaptive,
    everything,
)

X = np.array([[1.5, -0.25], [0.0, -3.0], [0.5, 2.0]], np.float32)
TREE: Any = {"a": X, "b": {"c": 2 * X, "bias": X}}


def test_factors_by_coordinate():
    factors = np.array([[0.0, 1.0], [2.0, 1.0], [0.5, 3.0]], np.float32)
    chex.assert_trees_all_close(L1(0.3).weighted(factors), L1(np.float32(0.3) * factors))
    apart = ElasticNet(0.2, 0.1).weighted(factors)
    chex.assert_trees_all_close(apart, ElasticNet(0.2 * factors, 0.1 * factors))


@pytest.mark.parametrize(
    ("strength", "factors"),
    [
        (0.3, {"a": 2.0, "b": 0.5}),
        ({"a": 2.0, "b": 0.5}, 0.3),
        ({"a": 2.0, "b": 0.5}, {"a": 0.3, "b": {"c": 0.3, "bias": 7.0}}),
        ({"a": 2.0, "b": {"c": 0.5}}, {"a": 0.3, "b": 0.3}),
        ({"a": 6.0, "b": 1.5}, {"a": np.full((3, 1), 0.1), "b": np.full(2, 0.1)}),
    ],
)
def test_factors_and_strengths_meet_by_name(strength, factors):
    expected = L1({"a": 0.6, "b": 0.15}).prox(TREE)
    chex.assert_trees_all_close(L1(strength).weighted(factors).prox(TREE), expected)


def test_factors_of_sums_and_of_penalties_toward_a_reference():
    factors = {"a": 2.0, "b": 0.5}
    both = L1(0.3) + L2(0.1, mask=everything)
    parts = L1(0.3).weighted(factors)(TREE) + L2(0.1, mask=everything).weighted(factors)(
        TREE
    )
    chex.assert_trees_all_close(both.weighted(factors)(TREE), parts)
    pulled = L1(0.3).toward(jax.tree.map(jnp.ones_like, TREE))
    expected = L1({"a": 0.6, "b": 0.15}).toward(jax.tree.map(jnp.ones_like, TREE))
    chex.assert_trees_all_close(pulled.weighted(factors).prox(TREE), expected.prox(TREE))


def test_infinite_factors_remove_and_zeros_free():
    strengths = L1(0.3).weighted(np.array([np.inf, 0.0], np.float32))
    chex.assert_trees_all_equal(strengths.prox(X), X * np.array([0.0, 1.0], np.float32))
    free: Any = L1(0.0).weighted(np.array([np.inf, 1.0])).strength
    assert free[0] == 0


def test_factors_are_traced():
    @chex.assert_max_traces(n=1)
    def outcome(factors):
        return L1(0.3).weighted({"a": factors, "b": 1.0}).prox(TREE)["a"]

    jitted = jax.jit(outcome)
    for factor in (0.5, 2.0):
        chex.assert_trees_all_close(jitted(factor), L1(0.3 * factor).prox(X))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (-1.0, "The factors must be non-negative, got -1"),
        ({"a": np.nan}, "The factors must be non-negative, got nan"),
        ({"a": 1.0, "b": 1.0, "typo": 1.0}, "only one of them has an entry at 'typo'"),
        ({"a": 1.0}, "only one of them has an entry at 'b'"),
    ],
)
def test_bad_factors_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        L1({"a": 1.0, "b": 1.0}).weighted(factors)


# Adaptive strengths.


def test_strengths_are_divided_by_powers_of_the_first_fit():
    found = adaptive(L1(0.3), X, gamma=2.0, eps=0.5)
    chex.assert_trees_all_close(found.strength, 0.3 / (np.abs(X) + 0.5) ** 2, rtol=1e-6)
    sparse = adaptive(NonNegativeL1(0.3), {"w": X})
    assert np.isinf(jax.tree.leaves(sparse)[0][1, 0])
    net = adaptive(ElasticNet(0.3, 0.1), X, eps=1e-3)
    chex.assert_trees_all_close(net.l1, 0.3 / (np.abs(X) + 1e-3), rtol=1e-6)
    assert net.l2 == 0.1


def test_a_strength_may_be_for_a_pattern():
    by_name = adaptive(L1({"a": 0.3, "b": {"c": 0.1}}), TREE, eps=1.0)
    assert adaptive(L1({"a": 0.3, "c$": 0.1}), TREE, eps=1.0) == by_name


def test_only_chosen_leaves_need_a_strength():
    found = adaptive(L1({"a": 0.3, "b": {"c": 0.1}}), TREE, eps=1.0)
    expected = {"a": 0.3 / (np.abs(X) + 1), "b": {"c": 0.1 / (2 * np.abs(X) + 1)}}
    chex.assert_trees_all_close(found.strength, expected, rtol=1e-6)
    assert found.prox(TREE)["b"]["bias"] is X


@pytest.mark.sampled(2)
@pytest.mark.parametrize("axis", [0, -1, (0, 1), ()])
def test_strengths_of_groups_are_divided_by_their_lengths(axis):
    others = tuple({0, 1} - {i % 2 for i in np.atleast_1d(axis).astype(int)})
    lengths = np.sqrt(np.sum(X**2, axis=others, keepdims=True))
    found = adaptive(GroupLasso(0.3, group_axis=axis), X, eps=0.1)
    chex.assert_trees_all_close(found.strength, 0.3 / (lengths + 0.1), rtol=1e-6)
    by_hand = GroupLasso(0.3 / (lengths + 0.1), group_axis=axis)
    chex.assert_trees_all_close(found.prox(X, 0.5), by_hand.prox(X, 0.5), rtol=1e-6)
    both = adaptive(SparseGroupLasso(0.2, 0.3, group_axis=axis), X, eps=0.1)
    chex.assert_trees_all_close(both.group, 0.3 / (lengths + 0.1), rtol=1e-6)
    chex.assert_trees_all_close(both.l1, 0.2 / (np.abs(X) + 0.1), rtol=1e-6)


def test_groups_over_leaves_share_their_adaptive_strength():
    layer = {"kernel": X, "bias": X[0]}
    penalty = GroupLasso(0.3, together="", mask=everything)
    found = adaptive(penalty, layer)
    lengths = np.sqrt(np.sum(np.vstack([X, X[:1]]) ** 2, axis=0))
    chex.assert_trees_all_close(
        found.prox(layer, 0.5), (penalty.weighted(1 / lengths)).prox(layer, 0.5), rtol=1e-6
    )


def test_labelled_groups_share_their_adaptive_strength():
    penalty, w = GroupLasso(0.3, labels=[0, 1, 1, 0]), jnp.array([3.0, 1.0, 0.0, 4.0])
    expected = jnp.array([0.06, 0.3, 0.3, 0.06])
    chex.assert_trees_all_close(adaptive(penalty, w).strength, expected)
    removed = adaptive(penalty, w.at[1].set(0.0))
    assert np.array_equal(removed.prox(w) == 0, [False, True, True, False])
    assert removed(removed.prox(w)) < np.inf


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "penalty",
    [L1(0.1), ElasticNet(0.1, 0.1), GroupLasso(0.1), SparseGroupLasso()],
    ids=repr,
)
def test_zeros_of_the_first_fit_stay_out_and_cost_nothing(penalty):
    first = jnp.array([[1.0, 0.0], [2.0, 0.0]])
    second = adaptive(penalty, first)
    moved = second.prox(jnp.ones((2, 2)), 0.1)
    assert not np.any(moved[:, 1])
    assert np.all(moved[:, 0] > 0)
    assert np.isfinite(second(moved))
    assert np.all(np.isfinite(jax.grad(second)(moved)))


def test_adaptive_strengths_of_sums_and_under_jit():
    terms = L1(0.3, mask=jaxreg.named("a")), GroupLasso(0.2, mask=jaxreg.named("c"))
    both: Any = sum(terms)
    one_by_one: Any = sum(adaptive(term, TREE, eps=0.1) for term in terms)
    found = jax.jit(lambda params: adaptive(both, params, eps=0.1).prox(TREE))(TREE)
    chex.assert_trees_all_close(found, one_by_one.prox(TREE), rtol=1e-6)


def test_the_adaptive_lasso_does_not_shrink_what_it_keeps():
    """On diabetes: a lasso reweighted by least squares is nearer to least squares."""
    loaded: Any = load_diabetes(return_X_y=True)
    data, target = loaded
    target = target - target.mean()
    full = np.linalg.lstsq(data, target, rcond=None)[0]
    with jax.enable_x64(True):

        def solution(penalty):
            step = len(target) / np.linalg.norm(data, 2) ** 2

            def update(w, _):
                gradient = data.T @ (data @ w - target) / len(target)
                return penalty.prox(w - step * gradient, step), None

            return jax.jit(lambda w: jax.lax.scan(update, w, length=20_000)[0])(0 * full)

        lasso = np.asarray(solution(L1(0.3)))
        again = np.asarray(solution(adaptive(L1(60.0), full)))
    kept = np.flatnonzero(again)
    assert 3 <= len(kept) < len(full)
    refit = np.zeros_like(full)
    refit[kept] = np.linalg.lstsq(data[:, kept], target, rcond=None)[0]
    largest = np.argmax(np.abs(refit))
    assert abs(again - refit)[largest] < 0.5 * abs(lasso - refit)[largest]


@pytest.mark.parametrize("penalty", [L2(), MCP(), L1().toward(X)], ids=repr)
def test_penalties_without_adaptive_strengths_are_refused(penalty):
    with pytest.raises(TypeError, match="no strengths that adapt to a first fit"):
        adaptive(penalty, X)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="penalty must be a jaxreg penalty"):
        adaptive(0.1, X)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="gamma must be greater than 0, got 0"):
        adaptive(L1(), X, gamma=0.0)
    with pytest.raises(ValueError, match="eps must be non-negative, got -1"):
        adaptive(L1(), X, eps=-1.0)
