"""Several targets with a penalty on rows of coefficients: scikit-learn's models."""

from typing import Any

import numpy as np
import pytest
import sklearn.linear_model

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve import multi_task_path


def random(samples, features, targets):
    """Features and targets that are far from zero, with a sparse model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, features)) + 2
    w = np.zeros((features, targets))
    w[:4] = rng.standard_normal((4, targets))
    noise = rng.standard_normal((samples, targets))
    return x, x @ w + noise + 10 * np.arange(targets)


X, Y = random(60, 12, 3)
L0: Any = jr.L0()
ALPHAS = [1.0, 0.3, 0.03]


def theirs(name, **parameters):
    return getattr(sklearn.linear_model, name)(tol=1e-12, max_iter=10**5, **parameters)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_the_path_is_that_of_sklearn(ratio, intercept):
    penalty = jr.convert.from_sklearn(1.0, ratio)
    found = multi_task_path(X, Y, ALPHAS, penalty=penalty, intercept=intercept)
    assert np.max(np.abs(found.gaps)) <= 1e-9
    for alpha, coefficients, intercepts in zip(
        found.strengths, found.coefficients, found.intercepts, strict=True
    ):
        parameters = {"alpha": alpha, "l1_ratio": ratio, "fit_intercept": intercept}
        expected = theirs("MultiTaskElasticNet", **parameters).fit(X, Y)
        np.testing.assert_allclose(coefficients, expected.coef_.T, atol=1e-8)
        np.testing.assert_allclose(intercepts, expected.intercept_, atol=1e-7)


def test_weights_are_repeated_samples_and_scales_are_undone():
    counts = np.arange(len(X)) % 3
    again = np.repeat(np.arange(len(X)), counts)
    scales = np.geomspace(0.1, 10.0, X.shape[1])
    options: Any = {"standardize": True}
    found = multi_task_path(X * scales, Y, ALPHAS, sample_weight=counts, **options)
    expected = multi_task_path(X[again], Y[again], ALPHAS, **options)
    by_hand = (X - X[again].mean(0)) / X[again].std(0)
    scaled = multi_task_path(by_hand[again], Y[again], ALPHAS)
    for other in (found.coefficients * scales[:, None], expected.coefficients):
        undone = scaled.coefficients / X[again].std(0)[:, None]
        np.testing.assert_allclose(other, undone, atol=1e-8)


def test_one_target_is_the_lasso():
    found = multi_task_path(X, Y[:, :1], ALPHAS)
    expected = jr.lasso_path(X, Y[:, 0], ALPHAS)
    assert found.coefficients.shape == (3, 12, 1)
    assert found.intercepts.shape == (3, 1)
    np.testing.assert_allclose(found.coefficients[..., 0], expected.coefficients, atol=1e-8)


def test_unpenalised_features_and_those_left_out():
    factors = np.r_[0.0, np.inf, np.ones(10)]
    found = multi_task_path(X, Y, [1.0], penalty=jr.L1(factors))
    residuals = Y - found.predict(X)[0]
    np.testing.assert_allclose(residuals.T @ np.c_[np.ones(60), X[:, 0]], 0.0, atol=1e-7)
    assert not np.any(found.coefficients[0, 1])
    assert np.max(np.abs(found.gaps)) <= 1e-9


CASES = [
    ("MultiTaskLassoCV", {"alphas": ALPHAS, "cv": 3}),
    ("MultiTaskElasticNetCV", {"alphas": ALPHAS, "cv": 3, "l1_ratio": [0.4, 0.9]}),
    ("MultiTaskLassoCV", {"eps": 0.03, "cv": 3}),
]


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_cross_validation_is_that_of_sklearn(name, parameters):
    found = getattr(linear, name)(**parameters).fit(X, Y)
    expected = theirs(name, **parameters).fit(X, Y)
    np.testing.assert_allclose(found.alphas_, expected.alphas_, rtol=1e-6)
    np.testing.assert_allclose(found.mse_path_, expected.mse_path_, rtol=1e-6)
    np.testing.assert_allclose(found.alpha_, expected.alpha_, rtol=1e-6)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=1e-6)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-6)


BAD = [
    (lambda: multi_task_path(X, Y[:, 0]), ValueError, "`lasso_path` is for one target"),
    (lambda: multi_task_path(X, Y[1:]), ValueError, "each of the 60 samples"),
    (
        lambda: multi_task_path(X, np.where(Y > 3, np.nan, Y)),
        ValueError,
        "y must be finite",
    ),
    (lambda: multi_task_path(X, Y, penalty=jr.L2()), ValueError, "Strengths must be given"),
    (
        lambda: multi_task_path(X, Y, penalty=L0),
        TypeError,
        "penalty must be an L1, L2 or ElasticNet",
    ),
    (
        lambda: linear.MultiTaskLasso(alpha=-1).fit(X, Y),
        ValueError,
        "alpha must be greater",
    ),
    (lambda: linear.MultiTaskLasso().fit(X, Y[:, 0]), ValueError, "use Lasso"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
