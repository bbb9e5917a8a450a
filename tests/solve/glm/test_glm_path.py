"""Paths of generalised linear models: minima, certificates, screening, folds."""

import functools
import tracemalloc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LassoCV, LogisticRegression, PoissonRegressor
from sklearn.metrics import (
    log_loss as sklearn_log_loss,
    mean_poisson_deviance,
    mean_squared_error,
)

import jaxreg as jr
from jaxreg.solve.glm.core import solve_glm
from tests.helpers.scikit_learn import mixed
from tests.helpers.solving import LOSSES, data

SAGA: Any = {"solver": "saga", "tol": 1e-9, "max_iter": 10**5}


def scaled(x):
    return (x - x.mean(0)) / x.std(0)


def first_rows():
    x, y = load_breast_cancer(return_X_y=True)
    return scaled(x[:300, :12]), y[:300]


X, Y = first_rows()
IRIS, SPECIES = map(np.asarray, load_iris(return_X_y=True))


def log_loss(found, index, x, y, weights=None):
    scores = x @ found.coefficients[index] + found.intercepts[index]
    if scores.ndim == 1:
        return np.average(np.logaddexp(0, scores) - y * scores, weights=weights)
    own = scores[np.arange(len(y)), y]
    return np.average(np.logaddexp.reduce(scores, axis=1) - own, weights=weights)


def slope(found, index, x, y):
    """The gradient of the mean loss, in numpy, for coefficients and the intercept."""
    scores = x @ found.coefficients[index] + found.intercepts[index]
    errors = 1 / (1 + np.exp(-scores)) - y
    return x.T @ errors / len(y), errors.mean()


def violation(found, index, x, y, l1, l2=0.0):
    """By how much the optimality conditions are missed, for all features."""
    w, strength = found.coefficients[index], found.strengths[index]
    gradient, of_intercept = slope(found, index, x, y)
    gradient = gradient + 2 * strength * l2 * w
    off = np.maximum(np.abs(gradient) - strength * l1, 0.0)
    on = np.abs(gradient + strength * l1 * np.sign(w))
    return max(np.max(np.where(w == 0, off, on)), abs(of_intercept))


@functools.cache
def whole_path():
    return jr.logistic_path(X, Y, num=30, ratio=1e-3)


def test_the_whole_path_is_optimal_and_says_so():
    found = whole_path()
    assert np.all(found.gaps <= 1e-9)
    assert found.converged.all()
    for index in range(30):
        exact = violation(found, index, X, Y, 1.0)
        assert exact < 1e-5 * found.strengths[0]
        assert found.residuals[index] == pytest.approx(exact, abs=1e-6)
    active = np.count_nonzero(found.coefficients, axis=1)
    assert active[0] == 0
    assert active[1] > 0
    assert active[-1] > 5


def test_its_minima_are_those_of_scikit_learn():
    found = whole_path()
    for index in (5, 25):
        strength = found.strengths[index]
        c = float(jr.convert.alpha_from_c(strength, n_samples=len(Y)))
        other = LogisticRegression(C=c, **mixed(1.0), **SAGA)
        other.fit(X, Y)
        scores = X @ other.coef_[0] + other.intercept_
        reached = np.mean(np.logaddexp(0, scores) - Y * scores)
        reached += strength * np.abs(other.coef_).sum()
        ours = log_loss(found, index, X, Y)
        ours += strength * np.abs(found.coefficients[index]).sum()
        assert ours <= reached * (1 + 1e-9)
        np.testing.assert_allclose(found.coefficients[index], other.coef_[0], atol=1e-4)


def test_the_gap_is_what_theory_says():
    found = whole_path()
    index = 20
    strength = found.strengths[index]
    gradient, _ = slope(found, index, X, Y)
    scores = X @ found.coefficients[index] + found.intercepts[index]
    errors = 1 / (1 + np.exp(-scores)) - Y
    chance = np.clip(Y + errors * min(1.0, strength / np.abs(gradient).max()), 1e-300, 1)
    dual = -np.mean(chance * np.log(chance) + (1 - chance) * np.log1p(-chance))
    primal = log_loss(found, index, X, Y)
    primal += strength * np.abs(found.coefficients[index]).sum()
    share = Y.mean()
    null = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert (primal - dual) / null == pytest.approx(found.gaps[index], abs=3e-10)


def test_it_starts_where_all_is_zero():
    def loss(params):
        return jr.losses.Logistic(X, Y)(params)

    with jax.enable_x64(True):
        start = {"kernel": np.zeros(12), "bias": np.zeros(())}
        critical = float(jr.strength_max(loss, jr.L1(), start))
    assert whole_path().strengths[0] == pytest.approx(critical, rel=1e-9)
    above = jr.logistic_path(X, Y, [2 * critical, 1.001 * critical, 0.999 * critical])
    assert np.count_nonzero(above.coefficients, axis=1).tolist() == [0, 0, 1]
    share = Y.mean()
    np.testing.assert_allclose(above.intercepts[:2], np.log(share / (1 - share)), rtol=1e-6)


@pytest.mark.parametrize("l2", [1e-16, 1e-30, 1e-200])
def test_a_tiny_l2_is_as_none(l2):
    expected = jr.logistic_path(X, Y, num=4)
    found = jr.logistic_path(X, Y, expected.strengths, penalty=jr.ElasticNet(1.0, l2))
    assert np.all(found.converged)
    assert np.max(found.steps) <= 20
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-6)


def test_elastic_net_and_factors_of_each_feature():
    factors = np.r_[np.full(6, 0.5), np.full(6, 2.0)]
    penalty = jr.ElasticNet(factors, 0.3)
    found = jr.logistic_path(X, Y, [0.02, 0.05], penalty=penalty)
    for index in range(2):
        assert violation(found, index, X, Y, factors, 0.3) < 1e-6
    assert 0 < np.count_nonzero(found.coefficients[0]) < 12


def test_a_feature_of_strength_zero_is_free():
    factors = np.r_[0.0, np.ones(11)]
    found = jr.logistic_path(X, Y, penalty=jr.L1(factors), num=5, ratio=0.2)
    assert np.all(found.coefficients[:, 0] != 0)
    np.testing.assert_allclose(found.coefficients[0, 1:], 0.0, atol=1e-12)
    assert max(violation(found, index, X, Y, factors) for index in range(5)) < 1e-6


def test_weights_count_samples():
    weights: Any = np.arange(300) % 3
    weighted = jr.logistic_path(X, Y, [0.05, 0.01], sample_weight=weights)
    repeated = jr.logistic_path(X.repeat(weights, 0), Y.repeat(weights), [0.05, 0.01])
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-5)


def test_standardising_is_what_it_says():
    crooked = X * np.logspace(-3, 3, 12) + 5
    found = jr.logistic_path(crooked, Y, [0.05, 0.01], standardize=True)
    plain = jr.logistic_path(X, Y, [0.05, 0.01])
    np.testing.assert_allclose(
        found.coefficients * np.logspace(-3, 3, 12), plain.coefficients, atol=1e-5
    )


def test_hard_data():
    twice = np.c_[X[:, :5], X[:, :5], np.ones(300), X[:, 0] + 1e-9 * X[:, 1]]
    found = jr.logistic_path(twice.round(12), (X[:, 0] > 0).astype(int), ratio=1e-4, num=20)
    assert found.converged.all()  # Separable, duplicated, constant, nearly dependent.
    assert np.all(found.coefficients[:, 10] == 0)
    integers = jr.logistic_path((4 * X).astype(int), Y > 0, [0.01])
    assert integers.converged.all()


def test_among_many_features_none_is_missed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 300)) + rng.normal(size=(80, 1))
    y = (x[:, :5].sum(1) + rng.normal(size=80) > 0).astype(int)
    found = jr.logistic_path(x, y, num=25, ratio=0.02)
    assert found.converged.all()
    worst = max(violation(found, index, x, y, 1.0) for index in range(25))
    assert worst < 1e-5 * found.strengths[0]
    assert np.count_nonzero(found.coefficients[-1]) > 12


def test_three_classes():
    found = jr.logistic_path(IRIS, SPECIES, [0.2, 0.02])
    for index, strength in enumerate(found.strengths):
        c = float(jr.convert.alpha_from_c(strength, n_samples=150))
        other = LogisticRegression(C=c, **mixed(1.0), **SAGA)
        other.fit(IRIS, SPECIES)
        reached = LogLossOf(other).at(IRIS, SPECIES) + strength * np.abs(other.coef_).sum()
        ours = log_loss(found, index, IRIS, SPECIES)
        ours += strength * np.abs(found.coefficients[index]).sum()
        assert reached * (1 - 1e-6) < ours <= reached * (1 + 1e-9)
    assert found.predictor(IRIS).shape == (2, 150, 3)
    assert np.mean(np.argmax(found.predictor(IRIS)[1], axis=1) == SPECIES) > 0.9


class LogLossOf:
    def __init__(self, model):
        self.model = model

    def at(self, x, y):
        return -np.mean(self.model.predict_log_proba(x)[np.arange(len(y)), y])


def test_rows_of_all_classes_as_groups():
    found = jr.logistic_path(IRIS, SPECIES, penalty=jr.GroupLasso(group_axis=0), num=8)
    used = np.any(found.coefficients != 0, axis=2)
    assert np.array_equal(used, np.all(found.coefficients != 0, axis=2))
    assert used.sum(axis=1)[0] == 0
    for index in range(8):
        scores = found.predictor(IRIS)[index]
        chances = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        gradient = IRIS.T @ (chances - np.eye(3)[SPECIES]) / 150
        strength = np.sqrt(3) * found.strengths[index]
        w = found.coefficients[index]
        length = np.linalg.norm(w, axis=1, keepdims=True)
        on = gradient + strength * w / np.where(length > 0, length, 1.0)
        off = np.linalg.norm(gradient, axis=1) - strength
        assert np.max(np.abs(on)[used[index]], initial=0.0) < 1e-5
        assert np.max(off[~used[index]], initial=0.0) < 1e-5


def test_counts_and_their_exposure():
    rng = np.random.default_rng(0)
    exposure = rng.uniform(0.5, 3.0, 300)
    y = rng.poisson(exposure * np.exp(0.3 * X[:, 0]))
    strengths = np.array([0.3, 0.1, 0.01])
    known = jr.poisson_path(X, y, strengths, offset=np.log(exposure))
    mean = exposure.mean()
    rates = jr.poisson_path(X, y / exposure, strengths / mean, sample_weight=exposure)
    np.testing.assert_allclose(known.coefficients, rates.coefficients, atol=1e-5)
    assert 0 < np.count_nonzero(known.coefficients[1]) < 12
    ridge = jr.poisson_path(X, y, [0.1], penalty=jr.L2(0.5))
    other = PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=10**4).fit(X, y)
    np.testing.assert_allclose(ridge.coefficients[0], other.coef_, atol=1e-5)
    np.testing.assert_allclose(ridge.intercepts[0], other.intercept_, atol=1e-5)


PROGRESS = load_diabetes(return_X_y=True)[1]
DIABETES = scaled(load_diabetes(return_X_y=True)[0])
LABELS = np.array([2, 2, 0, 0, 1, 1, 1, 3, 3, 4])


def test_groups_agree_with_cvxpy():
    cp = pytest.importorskip("cvxpy")
    found = jr.group_lasso_path(DIABETES, PROGRESS, LABELS, num=12)
    with jax.enable_x64(True):
        start = {"kernel": np.zeros(10), "bias": np.zeros(())}
        loss = jr.losses.Squared(DIABETES, PROGRESS)
        critical = jr.strength_max(loss, jr.GroupLasso(labels=LABELS), start)
    assert found.strengths[0] == pytest.approx(float(critical), rel=1e-9)
    assert not np.any(found.coefficients[0])

    def objective(w, b, norm, squares, strength):
        groups = [w[np.flatnonzero(label == LABELS)] for label in range(5)]
        penalty = sum(np.sqrt(group.size) * norm(group) for group in groups)
        return squares(DIABETES @ w + b - PROGRESS) / 2 / 442 + strength * penalty

    for index in (3, 8):
        w, b, strength = cp.Variable(10), cp.Variable(), found.strengths[index]
        problem = cp.Problem(
            cp.Minimize(objective(w, b, cp.norm, cp.sum_squares, strength))
        )
        reached = problem.solve(solver="CLARABEL")
        ours = objective(
            found.coefficients[index],
            found.intercepts[index],
            np.linalg.norm,
            lambda x: np.sum(x**2),
            strength,
        )
        assert ours == pytest.approx(reached, rel=1e-7)
        zero = np.bincount(LABELS, np.abs(w.value)) < 1e-4
        assert np.array_equal(
            np.bincount(LABELS, found.coefficients[index] != 0) == 0, zero
        )


def test_folds_are_trained_apart_and_scored_on_the_rest():
    found = jr.logistic_path(X, Y, folds=3, num=6, standardize=True)
    folds = found.validation
    assert folds is not None
    assert folds.scores.shape == (6, 3)
    parts = np.array_split(np.arange(300), 3)
    for number, test in enumerate(parts):
        train = np.setdiff1d(np.arange(300), test)
        alone = jr.logistic_path(X[train], Y[train], found.strengths, standardize=True)
        scores = [log_loss(alone, index, X[test], Y[test]) for index in range(6)]
        np.testing.assert_allclose(folds.scores[:, number], scores, rtol=1e-5)
        coefficients = folds.results["coefficients"][:, number]
        np.testing.assert_allclose(coefficients, alone.coefficients, atol=1e-5)
    whole = jr.logistic_path(X, Y, found.strengths, standardize=True)
    np.testing.assert_allclose(found.coefficients, whole.coefficients, atol=1e-5)
    assert jr.one_standard_error(folds) <= jr.select_best(folds)


def test_predict_gives_the_mean_response():
    found = jr.logistic_path(X, Y, [0.1, 0.01])
    chances = 1 / (1 + np.exp(-X @ found.coefficients.T - found.intercepts)).T
    np.testing.assert_allclose(found.predict(X), chances, rtol=1e-12)
    scores = jr.logistic_path(IRIS, SPECIES, [0.1]).predict(IRIS)
    assert scores.shape == (1, 150, 3)
    np.testing.assert_allclose(scores.sum(axis=2), 1, rtol=1e-12)
    # Intercepts are not penalised: the mean prediction is the mean of y.
    np.testing.assert_allclose(scores.mean(axis=1)[0], np.bincount(SPECIES) / 150)
    counts = jr.poisson_path(X, Y + 1.0, [0.01])
    rates = np.exp(X @ counts.coefficients[0] + counts.intercepts[0])
    np.testing.assert_allclose(counts.predict(X)[0], rates, rtol=1e-12)
    numbers = jr.group_lasso_path(DIABETES, PROGRESS, LABELS, [1.0])
    line = DIABETES @ numbers.coefficients[0] + numbers.intercepts[0]
    np.testing.assert_allclose(numbers.predict(DIABETES)[0], line, rtol=1e-12)


@pytest.mark.parametrize("cls", [cls for cls in LOSSES if cls is not jr.losses.Huber])
def test_every_loss_has_a_path_on_which_minimize_agrees(cls):
    x, targets = data()
    y = targets[cls.__name__]
    y = y if cls is jr.losses.Multinomial else y[:, :1]
    found = solve_glm(cls.of_targets(y), x, None, [0.1, 0.03])
    assert np.all(found.converged)
    w = found.coefficients[1].reshape(-1, y.shape[1])
    assert np.any(w)
    with jax.enable_x64(True):
        start = {"kernel": jnp.zeros(w.shape), "bias": jnp.zeros(y.shape[1])}
        other = jr.minimize(cls(x, y), jr.L1(0.03), start, tol=1e-11)
    np.testing.assert_allclose(w, other.params["kernel"], atol=1e-6)


def test_groups_of_one_have_the_errors_of_lasso_cv_of_scikit_learn():
    strengths: Any = np.array([20.0, 2.0, 0.2])
    found = jr.group_lasso_path(DIABETES, PROGRESS, np.arange(10), strengths, folds=4)
    other = LassoCV(alphas=strengths, cv=4, tol=1e-12, max_iter=10**6)
    other.fit(DIABETES, PROGRESS)
    assert found.validation is not None
    np.testing.assert_allclose(found.validation.scores, other.mse_path_, rtol=1e-7)


def test_the_order_of_strengths_does_not_matter():
    strengths = whole_path().strengths[[25, 5, 15]]
    found = jr.logistic_path(X, Y, strengths)
    assert np.array_equal(found.strengths, strengths)
    wanted = whole_path().coefficients[[25, 5, 15]]
    np.testing.assert_allclose(found.coefficients, wanted, atol=1e-4)


def test_scores_are_the_metrics_of_scikit_learn():
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.exp(0.3 * X[:, 0]))
    pairs = [(np.arange(100, 300), np.arange(100)), (np.arange(200), np.arange(200, 300))]
    weights = rng.uniform(0.5, 2.0, 300)
    options: Any = {"folds": pairs, "sample_weight": weights}
    species = np.digitize(X[:, 0], [-0.5, 0.5])

    def two(x, test, w, b):
        return 1 / (1 + np.exp(-(x[test] @ w + b)))

    def three(x, test, w, b):
        scores = np.exp(x[test] @ w + b)
        return scores / scores.sum(1, keepdims=True)

    for path, y, predicted, metric in (
        (jr.logistic_path, Y, two, sklearn_log_loss),
        (jr.logistic_path, species, three, sklearn_log_loss),
        (jr.poisson_path, counts, lambda *a: np.exp(linear(*a)), mean_poisson_deviance),
        (
            lambda x, y, s, **k: jr.group_lasso_path(x, y, np.arange(12) // 2, s, **k),
            X[:, 0] + 5.0,
            linear,
            mean_squared_error,
        ),
    ):
        folds: Any = path(X, y, [0.3, 0.05], **options).validation
        for fold, (_, test) in enumerate(pairs):
            for index in range(2):
                w = folds.results["coefficients"][index, fold]
                b = folds.results["intercepts"][index, fold]
                given = predicted(X, test, w, b)
                wanted = metric(y[test], given, sample_weight=weights[test])
                assert folds.scores[index, fold] == pytest.approx(wanted, rel=1e-9)


def linear(x, test, w, b):
    return x[test] @ w + b


def test_groups_of_one_are_scored_as_the_lasso_is():
    y = X @ np.r_[1.0, -1.0, np.zeros(10)] + np.arange(300) % 7
    ours = jr.group_lasso_path(X, y, np.arange(12), [0.3, 0.1], scale="none", folds=3)
    assert ours.validation is not None
    wanted = jr.lasso_path(X, y, [0.3, 0.1], folds=3).validation
    assert wanted is not None
    np.testing.assert_allclose(ours.validation.scores, wanted.scores, rtol=1e-6)


# What rounding, scales and dependence do.


CONSTANT = np.tile([1.0, 0.1, -5.0], (300, 1))


@pytest.mark.parametrize(
    "run",
    [
        lambda **k: jr.group_lasso_path(X, np.full(300, 1 / 3), np.arange(12) // 2, **k),
        lambda **k: jr.group_lasso_path(CONSTANT, X[:, 0], [0, 0, 1], **k),
        lambda **k: jr.poisson_path(X, np.full(300, 7), **k),
        lambda **k: jr.poisson_path(CONSTANT, Y, **k),
        lambda **k: jr.logistic_path(CONSTANT, Y, **k),
        lambda **k: jr.logistic_path(CONSTANT, np.arange(300) % 3, **k),
    ],
)
@pytest.mark.parametrize("folds", [None, 3])
def test_where_nothing_is_to_explain_all_is_zero(run, folds):
    found = run(folds=folds)
    assert np.all(found.converged)
    assert not np.any(found.coefficients)
    wanted = jr.lasso_path(CONSTANT, np.ones(300), ratio=1e-2)
    np.testing.assert_allclose(found.strengths, wanted.strengths, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32])
def test_data_of_low_precision_are_what_they_hold(dtype):
    x = X.astype(dtype)
    wanted = jr.logistic_path(x.astype(float), Y, [0.05])
    for given in (x, jnp.asarray(x)):
        found = jr.logistic_path(given, Y.astype(dtype), [0.05])
        np.testing.assert_array_equal(found.coefficients, wanted.coefficients)
        found = jr.poisson_path(given, Y, [0.05], offset=np.zeros(300, dtype))
        assert np.all(found.converged)


@pytest.mark.parametrize("shift", [0.0, 1e9])
def test_the_mean_of_the_target_is_the_intercepts_alone(shift):
    y = Y + shift
    found = jr.group_lasso_path(X, y, np.arange(12), [0.1, 0.01], scale="none")
    wanted = jr.lasso_path(X, Y, [0.1, 0.01])
    assert np.all(found.converged)
    assert np.all(np.abs(found.gaps) <= 1e-9)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)
    np.testing.assert_allclose(found.intercepts - shift, wanted.intercepts, atol=1e-6)


@pytest.mark.parametrize(("size", "shift"), [(1e10, 0.0), (1.0, 300.0), (1.0, -300.0)])
def test_counts_and_offsets_of_any_size(size, shift):
    y = np.round(10 * np.exp(X[:, 0] / 2))
    wanted = jr.poisson_path(X, y, [0.5, 0.1])
    offset = np.full(300, shift)
    found = jr.poisson_path(X, y * size, wanted.strengths * size, offset=offset)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-6)
    moved = wanted.intercepts + np.log(size) - shift
    np.testing.assert_allclose(found.intercepts, moved, atol=1e-6)


def test_a_certificate_lost_to_rounding_is_none():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = np.round(1e14 + 1e7 * rng.normal(size=60))
    with pytest.warns(RuntimeWarning, match="Not converged: gap"):
        found = jr.poisson_path(x, y, [1e5, 1e6, 3e6])
    assert np.all(found.converged == (np.abs(found.gaps) <= 1e-9))
    assert np.any(found.gaps < -1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-8, 1e-3])
def test_groups_that_share_columns_are_solved(noise):
    labels = np.repeat(np.arange(4), 3)
    for seed in (*range(12), 32):
        rng = np.random.default_rng(seed)
        base = rng.normal(size=(50, 4))
        parts = [base[:, rng.choice(4, 3, replace=False)] for _ in range(4)]
        x = np.concatenate(parts, axis=1)
        x = x + noise * rng.normal(size=x.shape)
        y = base @ rng.normal(size=4) + 0.5 * rng.normal(size=50)
        penalty = jr.GroupLasso(labels=labels)
        classes = y > np.median(y)
        for found in (
            jr.group_lasso_path(x, y, labels, num=8, ratio=1e-3),
            jr.logistic_path(x, classes, penalty=penalty, num=8, ratio=1e-3),
        ):
            assert np.all(found.converged), (seed, found.gaps)


@pytest.mark.parametrize("intercept", [True, False])
def test_scales_are_those_of_each_fold_also_of_features_that_are_constant_there(intercept):
    rare = np.zeros(300)
    rare[[3, 5]] = 1.0
    x = np.column_stack([X[:, :3], rare + 7.3])
    train, test = np.arange(20, 300), np.arange(20)
    options: Any = {"standardize": True, "intercept": intercept}
    found = jr.logistic_path(x, Y, [0.1, 0.01], folds=[(train, test)], **options)
    alone = jr.logistic_path(x[train], Y[train], [0.1, 0.01], **options)
    assert found.validation is not None
    on_fold = found.validation.results["coefficients"][:, 0]
    np.testing.assert_allclose(on_fold, alone.coefficients, atol=1e-5)
    size = x[train].std(0) if intercept else np.sqrt(np.mean(x[train] ** 2, axis=0))
    size[size < 1e-9] = 1.0
    by_hand = jr.logistic_path(x[train] / size, Y[train], [0.1, 0.01], intercept=intercept)
    np.testing.assert_allclose(alone.coefficients, by_hand.coefficients / size, atol=1e-5)


def test_a_class_without_weight_is_never_expected():
    weights = np.where(SPECIES == 2, 0.0, 1.0)
    found = jr.logistic_path(IRIS, SPECIES, [0.1], sample_weight=weights)
    scores = found.predictor(IRIS)[0]
    assert np.all(found.converged)
    assert np.all(scores[:, 2] < scores[:, :2].min(axis=1) - 20)


@pytest.mark.parametrize(
    ("path", "y"),
    [
        (jr.logistic_path, np.sort(Y)),
        (jr.logistic_path, np.repeat([0, 1, 2], 100)),
        (jr.poisson_path, np.where(np.arange(300) < 120, 5, 0)),
    ],
)
def test_every_fold_must_hold_what_an_intercept_stands_for(path, y):
    with pytest.raises(ValueError, match="train on samples of each class"):
        path(X, y, folds=[(np.arange(150, 300), np.arange(150))])


BAD = {
    "one class": (lambda: jr.logistic_path(X, 0 * Y), "at least two classes"),
    "no classes": (lambda: jr.logistic_path(X, Y - 0.5), "classes, numbered from 0"),
    "classes from 1": (lambda: jr.logistic_path(X, Y + 1), "each of which occurs"),
    "NaN": (lambda: jr.logistic_path(X * np.nan, Y), "x must be finite"),
    "length": (lambda: jr.logistic_path(X, Y[:-1]), "one number for each"),
    "strength 0": (
        lambda: jr.logistic_path(X, Y, [0.0]),
        "strengths must be greater than 0",
    ),
    "weight": (lambda: jr.logistic_path(X, Y, sample_weight=-Y), "non-negative"),
    "ridge": (lambda: jr.logistic_path(X, Y, penalty=jr.L2()), "Strengths must be given"),
    "factors": (lambda: jr.logistic_path(X, Y, penalty=jr.L1(np.ones(3))), "12 features"),
    "tol": (lambda: jr.logistic_path(X, Y, tol=0.0), "tol must be greater than 0"),
    "scaled groups in folds": (
        lambda: jr.logistic_path(
            X,
            Y,
            penalty=jr.GroupLasso(labels=np.arange(12) // 2),
            standardize=True,
            folds=3,
        ),
        "Standardise x beforehand",
    ),
    "labels": (lambda: jr.group_lasso_path(X, Y, [0, 1]), "each of the 12 features"),
    "counts": (lambda: jr.poisson_path(X, Y - 1), "counts, at least 0"),
    "no counts": (lambda: jr.poisson_path(X, 0 * Y), "a count above 0"),
    "offset": (lambda: jr.poisson_path(X, Y, offset=0.0), "offset must hold one number"),
    "lists of strengths": (lambda: jr.logistic_path(X, Y, [[1.0]]), r"got shape \(1, 1\)"),
    "no strengths": (lambda: jr.logistic_path(X, Y, []), r"got shape \(0,\)"),
    "endless strength": (lambda: jr.logistic_path(X, Y, [np.inf]), "finite"),
    "mask": (
        lambda: jr.logistic_path(X, Y, penalty=jr.L1(mask=jr.named("kernel"))),
        "must match at least one path",
    ),
    "strengths in a group": (
        lambda: jr.logistic_path(
            X, Y, penalty=jr.GroupLasso(np.arange(12.0), labels=np.arange(12) // 2)
        ),
        "the same at all indices of one label",
    ),
    "too few strengths of groups": (
        lambda: jr.logistic_path(
            X, Y, penalty=jr.GroupLasso(np.ones(6), labels=np.arange(12) // 2)
        ),
        "must broadcast",
    ),
    "no penalty": (
        lambda: jr.logistic_path(X, Y, penalty=jr.L1(0.0)),
        "Strengths must be given",
    ),
    "nothing to explain, and no L1": (
        lambda: jr.poisson_path(X, np.full(300, 7), penalty=jr.L2()),
        "Strengths must be given",
    ),
    "other features": (lambda: whole_path().predictor(X[:, :5]), "12 features"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_what_it_does_not_take_is_named():
    with pytest.raises(TypeError, match="minimize. takes any other"):
        jr.logistic_path(X, Y, penalty=jr.MCP())


def test_dense_features_of_32_bits_are_copied_once():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 600), np.float32)
    y = (x[:, 0] + rng.standard_normal(4000) > 0).astype(int)
    path = jr.logistic_path(x, y, [0.1])  # Imports allocate, too.
    wanted = jr.logistic_path(x.astype(float), y, [0.1])
    np.testing.assert_allclose(path.coefficients, wanted.coefficients, atol=1e-9)
    tracemalloc.start()
    jr.logistic_path(x, y, [0.1])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2 * 1.4 * x.nbytes
