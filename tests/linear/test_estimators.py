"""The estimators of jaxreg.linear are scikit-learn's, but exact."""

import inspect
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes
from sklearn.utils.estimator_checks import parametrize_with_checks

import jaxreg as jr
from jaxreg import linear
from tests.helpers.scikit_learn import BEFORE_1_8, COUNT

X, Y = map(np.asarray, load_diabetes(return_X_y=True))
WEIGHTS = np.random.default_rng(0).random(len(Y))
ESTIMATORS = [
    value
    for value in vars(linear).values()
    if inspect.isclass(value) and issubclass(value, BaseEstimator)
]


# scikit-learn checks its own cross-validation with as few folds: some data have 3 samples
# of a class. Ten strengths are checked as a hundred are.
FEW: dict[str, dict[str, Any]] = {
    "LogisticRegressionCV": {"cv": 3},
    "GroupLassoCV": {"alphas": 10},
    "MultiTaskLassoCV": {"alphas": 10},
    "MultiTaskElasticNetCV": {"alphas": 10},
}


@pytest.mark.covering("estimator", "check")
@parametrize_with_checks([each(**FEW.get(each.__name__, {})) for each in ESTIMATORS])
def test_estimators_pass_the_checks_of_sklearn(estimator, check):
    check(estimator)


CASES = [
    ("Lasso", {"alpha": 0.1}),
    ("Lasso", {"alpha": 0.1, "fit_intercept": False, "positive": True}),
    ("ElasticNet", {"alpha": 0.01, "l1_ratio": 0.3}),
    ("Ridge", {"alpha": 2.0}),
    ("Ridge", {"alpha": 2.0, "fit_intercept": False}),
    ("LassoCV", {}),
    ("ElasticNetCV", {"l1_ratio": [0.3, 0.9], "alphas": [0.3, 0.01, 0.001], "cv": 3}),
    ("ElasticNetCV", {"l1_ratio": [0.3, 0.9], COUNT: 5}),
    ("RidgeCV", {"alphas": [0.01, 0.1, 1.0]}),
    ("RidgeCV", {"alphas": [0.01, 0.1, 1.0], "cv": 4, "fit_intercept": False}),
]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_estimators_agree_with_sklearn(name, parameters, weights):
    if weights is not None and name == "RidgeCV" and "cv" in parameters and BEFORE_1_8:
        pytest.skip("scikit-learn before 1.8 leaves scores unweighted")
    found = getattr(linear, name)(**parameters).fit(X, Y, weights)
    expected = getattr(sklearn.linear_model, name)(**parameters)
    if hasattr(expected, "tol") and not name.startswith("Ridge"):
        expected.set_params(tol=1e-10, max_iter=100_000)
    expected.fit(X, Y, weights)
    for attribute in ("alpha", "l1_ratio", "alphas", "mse_path", "best_score"):
        if hasattr(expected, f"{attribute}_"):
            values = (getattr(model, f"{attribute}_") for model in (found, expected))
            np.testing.assert_allclose(*values, rtol=1e-6)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=1e-6)
    np.testing.assert_allclose(found.predict(X[:3]), expected.predict(X[:3]), rtol=1e-6)
    assert 0 <= found.dual_gap_ + 1e-9 <= 1e-8


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (linear.Lasso(alpha=-1.0), "alpha must be non-negative, got -1"),
        (linear.ElasticNet(l1_ratio=1.5), "l1_ratio must be at most 1, got 1.5"),
        (linear.RidgeCV(alphas=[0.0]), "alphas must be greater than 0, got 0"),
        (linear.LassoCV(eps=-1.0), "eps must be greater than 0, got -1"),
    ],
)
def test_bad_parameters_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize("name", ["Lasso", "ElasticNet", "Ridge", "GroupLasso"])
def test_a_bad_alpha_is_refused_by_its_own_name(name):
    with pytest.raises(ValueError, match=r"alpha must be .*, got -1"):
        getattr(linear, name)(alpha=-1).fit(X[:20], Y[:20])


def test_an_absolute_gap_is_in_units_of_the_null_model():
    weights = np.arange(442.0)
    centred = Y - np.average(Y, weights=weights)
    found = jr.lasso_path(X, Y, [1.0], sample_weight=weights)
    null_loss = np.average(centred**2, weights=weights) / 2
    assert found.null_loss == pytest.approx(null_loss)
    assert found.absolute_gaps == pytest.approx(np.abs(found.gaps) * null_loss)
    model: Any = linear.Lasso(1.0).fit(X, Y, weights)
    assert model.dual_gap_ == found.absolute_gaps[0]
