"""Bad data and parameters of the estimators are refused, in their own words."""

from typing import Any

import numpy as np
import pytest

from jaxreg import networks
from jaxreg.networks import tracing

random = np.random.default_rng(0)
X = random.normal(size=(40, 5))
Y = X[:, 0] ** 2
LABELS = np.where(Y > 1, "yes", "no")
NAN = X.copy()
NAN[0, 0] = np.nan


def fit(kind="Regressor", x=X, y=None, sample_weight=None, **parameters: Any):
    target = LABELS if "Classifier" in kind else Y
    model = getattr(networks, f"SparseMLP{kind}")(**parameters)
    return model.fit(x, target if y is None else y, sample_weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": NAN}, "Input X contains NaN"),
        ({"y": LABELS}, "could not convert string to float"),
        ({"y": np.ones(40)}, "two different values or more, but all are 1"),
        ({"kind": "Classifier", "y": ["a"] * 40}, "only one class: .*'a'"),
        ({"kind": "Classifier", "y": Y}, "Unknown label type"),
        ({"kind": "RegressorCV", "cv": 41}, "greater than the number of samples"),
        ({"kind": "ClassifierCV", "cv": 30}, "greater than the number of members"),
        ({"x": X[:3], "y": Y[:3]}, "minimum of 4 is required"),
        ({"sample_weight": -np.ones(40)}, "Negative values in data"),
        ({"groups": [0, 1]}, r"a label for each of the 5 features, got shape \(2,\)"),
        ({"hierarchy": 0.0}, "hierarchy must be greater than 0, got 0"),
        ({"method": "lasso"}, "method must be .*, got 'lasso'"),
        ({"activation": "sin"}, "activation must be one of 'tanh', .*, got 'sin'"),
        ({"hidden": 20}, r"such as \(20,\), got 20"),
        ({"hidden": ()}, "hidden must hold the units of each hidden layer"),
        ({"hidden": (0,)}, "hidden must be at least 1, got 0"),
        ({"ridge": -1.0}, "ridge must be non-negative, got -1"),
        ({"strength": 0.0}, "strength must be greater than 0, got 0"),
        ({"strength": 1.0, "n_features_to_select": 2}, "both choose the network"),
        ({"n_features_to_select": 0}, "n_features_to_select must be at least 1, got 0"),
        ({"n_strengths": 0}, "n_strengths must be at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be greater than 0, got 0"),
        ({"verbose": -1}, "verbose must be True, False or a non-negative integer, got -1"),
        ({"batch_size": "all"}, "batch_size must be a number or 'auto', got 'all'"),
        ({"validation_fraction": 1.0}, "validation_fraction must be less than 1"),
        ({"validation_fraction": 0.01}, "gives 0 for the score"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


QUICK: dict[str, Any] = {
    "hidden": (6,),
    "max_iter": 300,
    "path_iter": 15,
    "n_strengths": 20,
    "learning_rate": 0.02,
    "random_state": 0,
}


def test_constant_and_duplicated_columns_do_no_harm():
    x = np.c_[np.ones(40), X, X[:, 0]]
    model = fit(x=x, **QUICK)
    assert 0 not in model.selected_features_
    assert {1, 6} & set(model.selected_features_)
    assert np.all(np.isfinite(model.predict(x)))


def test_strengths_and_numbers_of_features_can_be_given():
    model = fit(strength=0.7, **QUICK)
    assert model.strength_ == 0.7
    np.testing.assert_array_equal(
        model.get_support(), model.path_.used[model.path_.strengths == 0.7][0]
    )
    few = fit(n_features_to_select=1, **QUICK)
    assert few.selected_features_.tolist() == [0]


def test_the_ridge_with_the_best_score_is_kept():
    model = fit(ridge=[3e-3, 30.0], **QUICK)
    assert model.ridge_ == 3e-3


def test_the_best_of_several_starts_is_kept(monkeypatch):
    losses = []
    chosen_loss = tracing._chosen_loss

    def noted(path):
        losses.append(chosen_loss(path))
        return losses[-1]

    monkeypatch.setattr(tracing, "_chosen_loss", noted)
    model = fit(n_starts=3, **QUICK)
    assert len(set(losses)) == 3
    assert chosen_loss(model.path_) == min(losses)


def test_samples_of_weight_zero_are_never_seen():
    weights = np.ones(40)
    weights[::4] = 0
    x, y = X.copy(), Y.copy()
    x[::4], y[::4] = 1e4, -1e6
    ours, theirs = (
        fit(x=x, y=y, sample_weight=weights, **QUICK) for x, y in ((X, Y), (x, y))
    )
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3, atol=1e-3)


def test_columns_of_a_group_are_chosen_together():
    model = fit(groups=["a", "a", "b", "b", "c"], **QUICK)
    used = model.path_.used
    np.testing.assert_array_equal(used[:, 0], used[:, 1])
    np.testing.assert_array_equal(used[:, 2], used[:, 3])
    assert {0, 1} <= set(model.selected_features_)


def test_the_same_seed_gives_the_same_network():
    one, two = (fit("Classifier", **QUICK) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_allclose(one.predict_proba(X).sum(axis=1), 1)


def test_features_of_a_group_leave_lassonet_with_their_skip_connection():
    parameters: dict[str, Any] = {"method": "lassonet", "hierarchy": 3.0, **QUICK}
    model = fit("Classifier", groups=["a", "a", "b", "b", "c"], **parameters)
    networks = model.path_.networks
    first, skip = networks["Dense_0"]["kernel"], networks["Skip"]["kernel"]
    assert first.shape == (20, 5, 6)
    assert skip.shape == (20, 5, 2)
    pairs = skip[:, :4].reshape(20, 2, 4), first[:, :4].reshape(20, 2, 12)
    bound = 3.0 * np.linalg.norm(pairs[0], axis=2, keepdims=True)
    assert np.all(np.abs(pairs[1]) <= bound * (1 + 1e-4) + 1e-6)
    assert model.path_.counts[0] == 5
    assert model.path_.counts[-1] == 0
    unused = ~model.get_support()
    changed = np.where(unused, 1e3, X)
    np.testing.assert_array_equal(model.predict_proba(changed), model.predict_proba(X))
