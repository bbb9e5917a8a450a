"""The inputs that any network needs: `select_inputs`."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.networks import Schedule, select_inputs
from jaxreg.strength import complementary_pairs, stability_selection

QUICK = Schedule(learning_rate=0.02, dense_steps=300, path_steps=15)
random = np.random.default_rng(0)
X = random.normal(size=(120, 6)).astype(np.float32)
Y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * random.normal(size=120)
DATA = X, Y.astype(np.float32)


def network(params, x):
    hidden = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    return hidden @ params["second"]["kernel"] + params["second"]["bias"]


def start(inputs=6, units=8):
    one, two = jax.random.split(jax.random.key(0))
    return {
        "first": {
            "kernel": jax.random.normal(one, (inputs, units)) / inputs**0.5,
            "bias": jnp.zeros(units),
        },
        "second": {
            "kernel": jax.random.normal(two, (units, 1)) / units**0.5,
            "bias": jnp.zeros(1),
        },
    }


FIRST = jr.named("first/kernel")


def select(data=DATA, params=None, **changes: Any):
    params = start() if params is None else params
    arguments: dict[str, Any] = {"kernel": FIRST, "folds": 3, "num": 30, **changes}
    arguments.setdefault("schedule", QUICK)
    return select_inputs(network, params, data, **arguments)


@pytest.fixture(scope="module")
def found():
    return select()


def test_the_inputs_of_a_product_and_a_sine_are_found(found):
    assert found.chosen.tolist() == [0, 1, 2]
    errors = network(found.params, X)[:, 0] - Y
    assert np.mean(errors**2) < 0.2 * np.var(Y)


def test_the_path_goes_from_all_inputs_to_none(found):
    assert np.all(np.diff(found.strengths) > 0)
    assert found.counts[-1] == 0
    kernels = found.networks["first"]["kernel"]
    np.testing.assert_array_equal(found.used, np.any(kernels != 0, axis=2))
    # At the last strength that uses it, and not later.
    for j, importance in enumerate(found.importances):
        used = found.strengths[found.used[:, j]]
        assert importance == (used[-1] if used.size else 0)


def test_scores_are_those_of_a_network_that_has_not_seen_the_fold(found):
    # With all inputs gone, the prediction is the mean of the training samples.
    expected = []
    for part in np.array_split(np.arange(120), 3):
        train = np.setdiff1d(np.arange(120), part)
        expected.append(np.mean((Y[part] - np.mean(Y[train])) ** 2))
    np.testing.assert_allclose(found.validation.scores[-1], expected, rtol=0.02)


def test_other_choices_from_the_same_path(found):
    two = found.with_at_most(2)
    assert len(two.chosen) <= 2
    assert two.index == np.flatnonzero(found.counts <= 2)[0]
    rule = jr.select_best(found.validation)
    assert found.at(rule).index == rule
    with pytest.raises(ValueError, match="inputs must be at least 1, got 0"):
        found.with_at_most(0)


def test_samples_of_weight_zero_have_no_effect():
    weights = np.ones(120)
    weights[::3] = 0
    pairs = [(np.arange(60), np.arange(60, 120)), (np.arange(60, 120), np.arange(60))]
    spoiled = X.copy(), DATA[1].copy()
    spoiled[0][::3], spoiled[1][::3] = 1e3, -1e3
    ours, theirs = (
        select(data, folds=pairs, sample_weight=weights) for data in (DATA, spoiled)
    )
    np.testing.assert_allclose(ours.validation.scores, theirs.validation.scores, rtol=1e-3)
    np.testing.assert_array_equal(ours.used, theirs.used)


def test_inputs_of_a_group_leave_together():
    found = select(groups=[0, 0, 1, 1, 2, 2])
    pairs = found.used.reshape(-1, 3, 2)
    np.testing.assert_array_equal(pairs[..., 0], pairs[..., 1])
    assert found.chosen.tolist() == [0, 1, 2, 3]


def with_skip(params, x):
    return network(params, x) + x @ params["skip"]["kernel"]


def test_lassonet_bounds_a_network_by_its_skip_connection():
    params = {**start(), "skip": {"kernel": jnp.zeros((6, 1))}}
    found = select_inputs(
        with_skip,
        params,
        DATA,
        kernel=FIRST,
        skip=jr.named("skip/kernel"),
        hierarchy=5.0,
        method="adaptive lassonet",
        folds=3,
        num=30,
        schedule=QUICK,
    )
    assert found.chosen.tolist() == [0, 1, 2]
    assert found.counts[-1] == 0
    first, skip = found.networks["first"]["kernel"], found.networks["skip"]["kernel"]
    bound = 5.0 * np.linalg.norm(skip, axis=2, keepdims=True)
    assert np.all(np.abs(first) <= bound * (1 + 1e-4) + 1e-6)
    np.testing.assert_array_equal(found.used, np.any(skip != 0, axis=2))
    errors = with_skip(found.params, X)[:, 0] - Y
    assert np.mean(errors**2) < 0.2 * np.var(Y)


def test_several_kernels_read_the_inputs():
    params = {**start(), "skip": {"kernel": 0.1 * jnp.ones((6, 1))}}
    kernels = jr.named("first/kernel", "skip/kernel")
    found = select_inputs(
        with_skip, params, DATA, kernel=kernels, folds=3, num=20, schedule=QUICK
    )
    assert found.chosen.tolist() == [0, 1, 2]
    skipped = found.params["skip"]["kernel"]
    assert np.all(np.asarray(skipped[3:]) == 0)
    assert np.all(np.asarray(found.params["first"]["kernel"][3:]) == 0)


def test_minibatches_find_the_same_inputs():
    schedule = QUICK._replace(batch_size=60)
    assert select(schedule=schedule).chosen.tolist() == [0, 1, 2]


def test_halves_of_the_samples_select_again_and_again():
    halves = complementary_pairs(jax.random.key(1), 120, pairs=2)
    runs = [select(sample_weight=half) for half in halves]
    found = stability_selection(np.stack([run.used[run.index] for run in runs]))
    assert found.chosen[[0, 1, 2]].any()
    assert not found.chosen[3:].any()


def test_the_rule_of_pairs_gives_up_less_than_that_of_single_errors():
    strengths = np.array([0.1, 1.0, 10.0])
    scores = np.array([[1.0, 2.0, 3.0], [1.05, 2.0, 2.99], [1.2, 2.2, 3.2]])
    found = jr.strength.CrossValidation(strengths, scores)
    assert jr.one_standard_error(found) == 2
    assert jr.one_standard_error(found, paired=True) == 1
    worse = jr.strength.CrossValidation(strengths, -scores, higher_is_better=True)
    assert jr.one_standard_error(worse, paired=True) == 1


NAN = X.copy()
NAN[3, 2] = np.nan


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"kernel": jr.named("third")}, ValueError, "'third'.* must match at least one"),
        ({"kernel": "first"}, TypeError, r"use jaxreg.named\('first'\)"),
        ({"data": (NAN, Y)}, ValueError, "x must be finite, but has NaN"),
        ({"data": (X, Y[:7])}, ValueError, "one entry or more for each sample"),
        ({"method": "lasso"}, ValueError, "method must be .*, got 'lasso'"),
        ({"method": "lassonet"}, ValueError, "skip must name the kernel of the skip"),
        ({"skip": jr.named("second")}, ValueError, "for these alone, got method='adapt"),
        (
            {"method": "lassonet", "skip": jr.named("second/kernel")},
            ValueError,
            "must have the same number of groups, got",
        ),
        ({"folds": 121}, ValueError, "at most the number of samples, 120, got 121"),
        ({"strengths": [1.0, 0.1]}, ValueError, "strengths must rise"),
        ({"strengths": [0.0, 0.1]}, ValueError, "strengths must be greater than 0"),
        ({"ridge": -1.0}, ValueError, "ridge must be non-negative, got -1"),
        ({"groups": [0, 1]}, ValueError, "labels must have one entry for each index"),
        ({"num": 0}, ValueError, "num must be at least 1"),
        ({"loss": lambda o, y: 1.0}, ValueError, "a number for each of the 120 samples"),
        ({"data": (X, np.c_[Y, Y])}, ValueError, "as many numbers for each sample"),
        ({"schedule": Schedule(learning_rate=0.0)}, ValueError, "learning_rate must be"),
        ({"sample_weight": -np.ones(120)}, ValueError, "sample_weight must be non-neg"),
        ({"input_axis": 5}, ValueError, "group_axis must be axes of the array, got 5"),
    ],
)
def test_bad_input_is_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        select(**changes)


def test_a_path_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="all have diverged"):
        select(schedule=QUICK._replace(learning_rate=1e30))


def test_select_inputs_needs_no_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from jaxreg.networks import select_inputs\n"
        "from jaxreg.networks import SparseMLPRegressor"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "line 3" in done.stderr
    assert 'networks need scikit-learn 1.6 or newer: `pip install "jaxreg[' in done.stderr
