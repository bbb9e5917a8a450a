"""Generalised linear paths: coefficients to the last digits, and loops that end."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest
import scipy.sparse
from scipy.special import softmax
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression as OtherLogistic

import jaxreg as jr
from jaxreg.linear import LogisticRegression
from jaxreg.solve.definite import solve_positive
from jaxreg.solve.glm import _lasso_step, _newton_path, _screening
from jaxreg.solve.glm._group_step import group_step
from jaxreg.solve.glm._groups import Groups
from jaxreg.solve.glm._lasso_step import lasso_step

RNG = np.random.default_rng(3)
X = RNG.normal(size=(80, 9)) @ (np.eye(9) + 0.4)
ETA = X[:, 0] - 0.5 * X[:, 3]
YES = (ETA + RNG.normal(size=80) > 0).astype(int)
COUNTS = RNG.poisson(np.exp(0.4 * ETA))
SPECIES = np.digitize(ETA + RNG.normal(size=80), [-1.0, 1.0])
LABELS = np.arange(9) // 3

# For each model the path, its y, the outputs of y, and their means given η.
MODELS: Any = {
    "logistic": (jr.logistic_path, YES, YES[:, None], lambda eta: 1 / (1 + np.exp(-eta))),
    "multinomial": (
        jr.logistic_path,
        SPECIES,
        np.eye(3)[SPECIES],
        lambda eta: softmax(eta, axis=1),
    ),
    "poisson": (jr.poisson_path, COUNTS, COUNTS[:, None], np.exp),
}
# For each penalty at strength 1: L1 or group strengths of rows, L2, and groups.
PENALTIES: Any = {
    "lasso": (jr.L1(), 1.0, 0.0, None),
    "ridge": (jr.L2(0.5), 0.0, 1.0, None),
    "elastic net": (jr.ElasticNet(0.5, 0.25), 0.5, 0.5, None),
    "factors": (jr.L1(np.r_[0.0, 2.0, np.ones(7)]), np.r_[0.0, 2, np.ones(7)], 0.0, None),
    "groups": (jr.GroupLasso(labels=LABELS, group_axis=0), np.sqrt(3), 0.0, LABELS),
}


def violations(model, penalty, strength, w, b):
    """Largest violations of optimality, in numpy: of coefficients, of intercepts."""
    _, _, y, mean = MODELS[model]
    _, l1, l2, labels = PENALTIES[penalty]
    errors = (mean(X @ w + b) - y) / len(X)
    gradient = X.T @ errors + strength * l2 * w
    bound = strength * np.broadcast_to(np.reshape(l1, (-1, 1)), w.shape)
    if labels is not None:  # They are about features: of all classes one group.
        bound = bound * np.sqrt(y.shape[1])

    def norm(v):
        if labels is None:
            return np.abs(v)
        return np.sqrt(np.array([np.sum(v[labels == g] ** 2) for g in labels]))[:, None]

    off = np.maximum(norm(gradient) - bound, 0.0)
    on = np.abs(gradient + bound * w / np.where(w == 0, 1.0, norm(w)))
    return np.max(np.where(w == 0, off, on)), np.max(np.abs(errors.sum(0)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_vanish_whatever_the_tolerance_of_the_gap(model, penalty):
    path, y, outputs, _ = MODELS[model]
    for tol, most in ((1e-9, 1e-8), (1e-4, 1e-5)):
        found = path(X, y, [0.2, 0.03], penalty=PENALTIES[penalty][0], tol=tol)
        for index, strength in enumerate(found.strengths):
            w = found.coefficients[index].reshape(9, outputs.shape[1])
            b = found.intercepts[index].reshape(-1)
            assert max(violations(model, penalty, strength, w, b)) < most


def test_coefficients_have_more_digits_than_half_of_those_of_the_gap():
    x = np.array([np.arange(-4, 5), [0, 0, 1, 0, 1, 1, 1, 0, 0]], float).T
    y = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    model: Any = LogisticRegression(C=1 / 9).fit(x, y)
    assert model.intercept_[0] == pytest.approx(-0.1200476, abs=5e-8)
    exact: Any = OtherLogistic(C=1 / 9, tol=1e-12, max_iter=10**4).fit(x, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, atol=1e-8)
    for tol in (1e-4, 1e-2):
        ours: Any = LogisticRegression(C=1 / 9, tol=tol).fit(x, y)
        other: Any = OtherLogistic(C=1 / 9, tol=tol).fit(x, y)
        error = np.abs(ours.intercept_ - exact.intercept_).max()
        assert error <= np.abs(other.intercept_ - exact.intercept_).max()
        assert error < 1e-5


@pytest.mark.parametrize(("tol", "allowed"), [(1e-9, 3e-9), (0.1, 1e-6)])
def test_screened_coefficients_are_as_exact(tol, allowed):
    x, y = map(np.asarray, load_wine(return_X_y=True))
    x = (x - x.mean(0)) / x.std(0)
    x = np.c_[x, RNG.normal(size=(len(x), 60))]
    found = jr.logistic_path(x, y, num=20, ratio=0.02, tol=tol)
    for strength, w, b in zip(
        found.strengths, found.coefficients, found.intercepts, strict=True
    ):
        errors = (softmax(x @ w + b, axis=1) - np.eye(3)[y]) / len(x)
        gradient = x.T @ errors
        off = np.maximum(np.abs(gradient) - strength, 0.0)
        on = np.abs(gradient + strength * np.sign(w))
        assert np.max(np.where(w == 0, off, on)) < allowed
        assert np.max(np.abs(errors.sum(0))) < allowed


# Loops that end.


def test_candidates_that_miss_each_other_do_not_take_turns():
    r = np.random.RandomState(0)
    w = r.randn(100)
    random: Any = scipy.sparse.random
    x = random(60, 100, density=0.5, format="csc", random_state=r).toarray()
    y = (x @ w > 0).astype(int)
    largest = np.abs(x.T @ (2 * y - 1)).max() / 120
    found = jr.logistic_path(x, y, largest * np.geomspace(1, 1e-2, 10)[:5], intercept=False)
    assert np.all(found.converged)


@pytest.mark.parametrize("seed", [0, 21])
def test_classes_of_binary_features_are_solved(seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(50, 30)) > 1).astype(float)
    y = rng.integers(0, 3, 50)
    assert np.all(jr.logistic_path(x, y, [1e-3]).converged)


def test_candidates_that_never_settle_are_all_taken_in_the_end(monkeypatch):
    x = RNG.normal(size=(30, 70))
    y = (x[:, 0] > 0).astype(int)
    halves = [np.arange(1, 70, 2), np.arange(2, 70, 2)]
    turns = itertools.islice(itertools.cycle(halves), 140)
    monkeypatch.setattr(_screening, "_expected", lambda *_: next(turns))
    strengths = [0.1, 0.05]
    found = jr.logistic_path(x, y, strengths)
    assert np.all(found.converged)
    monkeypatch.undo()
    wanted = jr.logistic_path(x, y, strengths)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)


def test_paths_compile_nothing(compilations):
    jax.clear_caches()
    jr.logistic_path(X, SPECIES, num=5, folds=3)
    assert not compilations


def test_a_screening_that_is_never_content_ends_with_a_warning(monkeypatch):
    x = RNG.normal(size=(30, 70))
    y = (x[:, 0] > 0).astype(int)
    calls = []
    solve = _screening._solve

    def never_good(*args):
        calls.append(args)
        assert len(calls) < 10
        found = solve(*args)
        return found._replace(gap=np.full_like(found.gap, np.inf))

    def other_ones(_problem, _found, strengths):
        wrong = np.zeros((len(strengths), 71), bool)
        wrong[:, 10 if len(calls) % 2 else 20] = True
        return wrong

    monkeypatch.setattr(_screening, "_expected", lambda *_: np.array([0]))
    monkeypatch.setattr(_screening, "_solve", never_good)
    monkeypatch.setattr(_screening, "_violators", other_ones)
    with pytest.warns(RuntimeWarning, match="Not converged: gap"):
        found = jr.logistic_path(x, y, [0.1, 0.05])
    assert not np.any(found.converged)


def test_newton_steps_that_lead_nowhere_end_with_a_warning(monkeypatch):
    def astray(_h, slope, w, *_):
        return w + np.where(w > 0, -1.0, 1.0) + slope

    monkeypatch.setattr(_newton_path, "lasso_step", astray)
    with pytest.warns(RuntimeWarning, match="Not converged: gap"):
        found = jr.logistic_path(X, YES, [0.05])
    assert not np.any(found.converged)
    assert np.all(found.steps <= 100)


def test_rounding_errors_do_not_keep_a_search_going(monkeypatch):
    rounds = []

    def counted(*quadratic):
        advance = _lasso_step._advance
        monkeypatch.setattr(
            _lasso_step, "_advance", lambda *state: rounds.append(1) or advance(*state)
        )
        found = lasso_step(*quadratic)
        monkeypatch.setattr(_lasso_step, "_advance", advance)
        return found

    monkeypatch.setattr(_newton_path, "lasso_step", counted)
    # The intercepts of classes may move together at no change of the loss.
    found = jr.logistic_path(np.tile([1.0, 0.1, -5.0], (300, 1)), np.arange(300) % 3, [0.1])
    assert np.all(found.converged)
    assert len(rounds) < 20


def test_a_system_without_a_solution_is_not_a_number():
    for matrix in np.zeros((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]]):
        assert not np.any(np.isfinite(solve_positive(matrix, np.array([1.0, -1.0]))))
    assert not np.any(solve_positive(np.eye(2), np.zeros(2)))


def test_searches_end_where_no_violation_is_small_enough():
    h = X.T @ X / 80
    slope = -h @ np.r_[1.0, -1.0, np.zeros(7)]
    zeros, ones = np.zeros(9), np.full(9, 0.05)
    rows = h, slope, zeros, ones, zeros, -1.0
    with np.errstate(invalid="ignore"):
        lasso = lasso_step(*rows)
        groups = group_step(*rows, Groups.of(np.arange(9)))
    np.testing.assert_allclose(lasso, groups, atol=1e-9)
    assert np.max(np.abs(h @ lasso + slope)) == pytest.approx(0.05)


# Penalties of zero and of infinity.


@pytest.mark.parametrize("intercept", [True, False])
def test_classes_without_a_penalty_are_centred(intercept):
    x, y = X[:, [0, 3]], SPECIES
    ours: Any = LogisticRegression(C=np.inf, fit_intercept=intercept).fit(x, y)
    other: Any = OtherLogistic(
        C=np.inf, fit_intercept=intercept, tol=1e-11, max_iter=10**5
    ).fit(x, y)
    np.testing.assert_allclose(ours.coef_.sum(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(ours.coef_, other.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, other.intercept_, atol=1e-6)
    penalty = jr.L1(np.r_[0.0, 1.0])
    found = jr.logistic_path(x, y, [0.05], penalty=penalty, intercept=intercept)
    assert np.abs(found.coefficients[0, 0]).max() > 0.5
    np.testing.assert_allclose(found.coefficients[0, 0].sum(), 0.0, atol=1e-9)
    np.testing.assert_allclose(found.intercepts.sum(), 0.0, atol=1e-9)


EXCLUDED = np.r_[1.0, np.inf, 1.0, 1.0, np.inf, np.ones(4)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "penalty",
    [
        lambda factors: jr.L1(factors),
        lambda factors: jr.L2(factors),
        lambda factors: jr.ElasticNet(0.5, factors),
        lambda factors: jr.ElasticNet(factors, 0.5),
    ],
    ids=["l1", "l2", "elastic net, l2", "elastic net, l1"],
)
def test_features_of_infinite_strength_are_left_out(model, penalty):
    path, y, _, _ = MODELS[model]
    kept = np.isfinite(EXCLUDED)
    found = path(X, y, [0.1, 0.02], penalty=penalty(EXCLUDED), standardize=True)
    wanted = path(
        X[:, kept], y, [0.1, 0.02], penalty=penalty(EXCLUDED[kept]), standardize=True
    )
    assert np.all(found.converged)
    assert np.all(found.coefficients[:, ~kept] == 0)
    np.testing.assert_allclose(found.coefficients[:, kept], wanted.coefficients, atol=1e-7)
    np.testing.assert_allclose(found.intercepts, wanted.intercepts, atol=1e-7)


def test_groups_of_infinite_strength_are_left_out():
    scale = np.array([1.0, np.inf, 2.0])
    kept = LABELS != 1
    y = ETA + 1.0
    found = jr.group_lasso_path(X, y, LABELS, num=4, scale=scale)
    wanted = jr.group_lasso_path(X[:, kept], y, LABELS[kept], num=4, scale=scale[[0, 2]])
    np.testing.assert_allclose(found.strengths, wanted.strengths)
    assert np.all(found.coefficients[:, ~kept] == 0)
    np.testing.assert_allclose(found.coefficients[:, kept], wanted.coefficients, atol=1e-7)
    every = jr.group_lasso_path(X, y, LABELS, num=4, scale=np.full(3, np.inf))
    assert np.all(every.converged)
    assert not np.any(every.coefficients)


def test_one_class_of_a_feature_can_be_left_out():
    factors = np.ones((9, 3))
    factors[0, 1] = np.inf
    found = jr.logistic_path(X, SPECIES, [0.02], penalty=jr.L1(factors))
    huge = np.where(np.isinf(factors), 1e6, factors)
    wanted = jr.logistic_path(X, SPECIES, [0.02], penalty=jr.L1(huge))
    assert found.converged.all()
    assert found.coefficients[0, 0, 1] == 0
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)


@pytest.mark.parametrize("y", [YES, SPECIES], ids=["two classes", "three classes"])
def test_groups_are_standardised(y):
    crooked = X * np.logspace(-2, 2, 9) + 3
    penalty = jr.GroupLasso(group_axis=0) if y.max() > 1 else jr.GroupLasso(labels=LABELS)
    options: Any = {"penalty": penalty, "num": 4}
    found = jr.logistic_path(crooked, y, standardize=True, **options)
    wanted = jr.logistic_path((crooked - crooked.mean(0)) / crooked.std(0), y, **options)
    np.testing.assert_allclose(found.strengths, wanted.strengths)
    scaled = np.moveaxis(found.coefficients, 1, -1) * crooked.std(0)
    wanted = np.moveaxis(wanted.coefficients, 1, -1)
    np.testing.assert_allclose(scaled, wanted, atol=1e-7)


def test_groups_of_classes_are_standardised_in_each_fold():
    train, test = np.arange(20, 80), np.arange(20)
    crooked = X * np.logspace(-2, 2, 9) + 3
    options: Any = {"penalty": jr.GroupLasso(group_axis=0), "standardize": True}
    found = jr.logistic_path(crooked, SPECIES, [0.05], folds=[(train, test)], **options)
    alone = jr.logistic_path(crooked[train], SPECIES[train], [0.05], **options)
    assert found.validation is not None
    on_fold = found.validation.results["coefficients"][:, 0]
    np.testing.assert_allclose(on_fold, alone.coefficients, rtol=1e-6, atol=1e-9)
