"""Logistic and grouped estimators: scikit-learn's rules, and its numbers."""

from typing import Any, cast

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import (
    Lasso,
    LogisticRegression as OtherLogistic,
    LogisticRegressionCV as OtherCV,
)

import jaxreg as jr
from jaxreg.linear import (
    GroupLasso,
    GroupLassoCV,
    LogisticRegression,
    LogisticRegressionCV,
)
from tests.helpers.scikit_learn import BEFORE_1_8, mixed


def some_rows():
    x, y = map(np.asarray, load_breast_cancer(return_X_y=True))
    return ((x - x.mean(0)) / x.std(0))[:300, :12], np.array(["no", "yes"])[y[:300]]


X, Y = some_rows()


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_coefficients_are_those_of_scikit_learn(l1_ratio):
    ours: Any = LogisticRegression(C=0.3, l1_ratio=l1_ratio, solver="saga").fit(X, Y)
    options: Any = {**mixed(l1_ratio), "solver": "saga", "tol": 1e-9, "max_iter": 10**5}
    other = OtherLogistic(C=0.3, **options)
    other.fit(X, Y)
    np.testing.assert_allclose(ours.coef_, other.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, other.intercept_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-5)
    assert np.array_equal(ours.predict(X), other.predict(X))
    assert ours.dual_gap_ <= 1e-9 * len(X) * np.log(2)  # By the loss without features.


def test_without_a_penalty_and_with_weights_of_classes():
    x, y = load_iris(return_X_y=True)
    ours = LogisticRegression(C=np.inf, class_weight="balanced").fit(x[50:, :2], y[50:])
    other = OtherLogistic(C=np.inf, class_weight="balanced", tol=1e-9, max_iter=10**4)
    other.fit(x[50:, :2], y[50:])
    np.testing.assert_allclose(ours.coef_, other.coef_, rtol=1e-4)


def test_groups_of_features_vanish_for_all_classes():
    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(C=0.02, groups=["sepal"] * 2 + ["petal"] * 2).fit(x, y)
    assert np.all(model.coef_[:, :2] == 0)
    assert np.all(model.coef_[:, 2:] != 0)


@pytest.mark.skipif(BEFORE_1_8, reason="scikit-learn before 1.8 has scores by class")
def test_cross_validation_is_that_of_scikit_learn():
    options: Any = {"Cs": [0.05, 0.3, 2.0], "l1_ratios": [1.0], "cv": 3}
    ours: Any = LogisticRegressionCV(**options, scoring="neg_log_loss").fit(X, Y)
    exact: Any = {"solver": "saga", "tol": 1e-9, "max_iter": 10**5}
    other: Any = OtherCV(
        **options, **exact, scoring="neg_log_loss", use_legacy_attributes=cast("Any", False)
    ).fit(X, Y)
    np.testing.assert_allclose(ours.scores_, other.scores_, rtol=1e-4)
    np.testing.assert_allclose(ours.coefs_paths_, other.coefs_paths_, atol=1e-4)
    assert pytest.approx(other.C_) == ours.C_
    np.testing.assert_allclose(ours.coef_, other.coef_, atol=1e-4)
    assert ours.cross_validation_.scores.shape == (3, 3)
    assert jr.select_best(ours.cross_validation_) == np.argmin(np.abs(ours.Cs_ - ours.C_))


def test_groups_of_one_are_the_lasso():
    y = X @ np.r_[1.0, -2.0, np.zeros(10)] + 1.0
    ours = GroupLasso(alpha=0.1).fit(X, y)
    other = Lasso(alpha=0.1, tol=1e-12, max_iter=10**5).fit(X, y)
    np.testing.assert_allclose(ours.coef_, other.coef_, atol=1e-6)
    assert ours.intercept_ == pytest.approx(other.intercept_)
    chosen: Any = GroupLassoCV(groups=np.arange(12) // 2, alphas=10, cv=3).fit(X, y)
    assert chosen.mse_path_.shape == (10, 3)
    assert chosen.alpha_ == chosen.alphas_[np.argmin(chosen.mse_path_.mean(axis=1))]
    assert np.flatnonzero(chosen.coef_).tolist()[:2] == [0, 1]


def test_models_without_a_score_are_not_chosen():
    def score(model, x, y):
        return np.nan if np.any(np.abs(model.coef_) > 1.0) else model.score(x, y)

    ours: Any = LogisticRegressionCV(Cs=[1e-3, 1e-2, 1e3], cv=3, scoring=score)
    ours.fit(X, Y)
    assert np.isnan(ours.scores_.mean(axis=0)[0, 2])
    assert ours.Cs_[jr.select_best(ours.cross_validation_)] == ours.C_
    with pytest.raises(ValueError, match="NaN or infinite for every model: folds may be"):
        LogisticRegressionCV(cv=3, scoring=lambda *_: np.nan).fit(X, Y)


WORD: Any = "a"


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (LogisticRegression(C=-1.0), ValueError, "C must be greater than 0, got -1"),
        (LogisticRegression(C=WORD), TypeError, "C must be a real number"),
        (LogisticRegression(l1_ratio=2.0), ValueError, "l1_ratio must be at most 1"),
        (LogisticRegression(groups=[0, 1]), ValueError, "a label for each of the 12"),
        (LogisticRegression(class_weight={0: -1.0, 1: 1.0}), ValueError, "class_weight"),
        (LogisticRegressionCV(Cs=0), ValueError, "Cs must be at least 1"),
        (LogisticRegressionCV(Cs=[-1.0]), ValueError, "Cs must be greater than 0, got -1"),
        (LogisticRegressionCV(l1_ratios=[]), ValueError, "l1_ratios must be"),
        (GroupLasso(alpha=0.0), ValueError, "alpha must be greater than 0"),
        (GroupLasso(alpha=WORD), TypeError, "alpha must be a real number"),
        (GroupLasso(groups=[0]), ValueError, "a label for each of the 12 features"),
        (GroupLassoCV(alphas=[0.0]), ValueError, "alphas must be greater than 0"),
        (GroupLassoCV(alphas=2.5), TypeError, "alphas must be a whole number"),
    ],
    ids=str,
)
def test_mistakes_are_named(model, error, message):
    with pytest.raises(error, match=message):
        model.fit(X, (Y == "yes").astype(int))
