"""Paths of many targets on one design: each is the path of that target alone."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve import TargetPaths
from jaxreg.solve.glm import _batch_path, targets
from jaxreg.solve.lasso import _targets

RNG = np.random.default_rng(0)
N, P, T = 240, 8, 5
X = RNG.normal(size=(N, P)) + 0.3
ETA = X @ (RNG.normal(size=(P, T)) * (RNG.random((P, T)) < 0.5)) / 2
Y = {
    "lasso": ETA + RNG.normal(size=(N, T)),
    "poisson": RNG.poisson(np.exp(ETA)).astype(float),
    "logistic": (RNG.random((N, T)) < 1 / (1 + np.exp(-ETA))).astype(float),
}
WEIGHTS = RNG.random(N) * (RNG.random(N) < 0.9)
PATHS: Any = {
    "lasso": jr.lasso_path,
    "poisson": jr.poisson_path,
    "logistic": jr.logistic_path,
}
SHUFFLED = [(i[:160], i[160:]) for i in (RNG.permutation(N) for _ in range(3))]
OPTIONS: dict[str, dict[str, Any]] = {
    "grid": {"num": 5, "ratio": 0.05},
    "folds": {"num": 5, "ratio": 0.05, "folds": 3},
    "given": {"strengths": [0.02, 0.2, 0.05], "folds": SHUFFLED},
    "weights": {"num": 4, "sample_weight": WEIGHTS, "folds": 2, "standardize": True},
    "no intercept": {"num": 4, "ratio": 0.1, "intercept": False, "folds": 2},
    "factors": {"num": 4, "penalty": jr.L1(np.array([1, 2, np.inf, 1, 1, 3, 1, 1.0]))},
    "unpenalised": {"num": 4, "penalty": jr.L1(np.array([0, 2, 1, 1, 1, 3, 1, 1.0]))},
}


def assert_each_is_alone(path, x, y, found, options, alone=None, atol=1e-8):
    assert isinstance(found, TargetPaths)
    assert len(found) == y.shape[1]
    for number, one in enumerate(found):
        single = path(x, y[:, number], **{**options, **(alone or {})})
        scale = np.max(np.abs(single.coefficients)) + 1e-3
        np.testing.assert_allclose(one.strengths, single.strengths, rtol=1e-12)
        for name in ("coefficients", "intercepts"):
            expected = getattr(single, name)
            np.testing.assert_allclose(getattr(one, name), expected, atol=atol * scale)
        np.testing.assert_array_equal(one.coefficients != 0, single.coefficients != 0)
        np.testing.assert_allclose(one.null_loss, single.null_loss, rtol=1e-9)
        assert np.all(np.abs(one.gaps) <= 1e-9)
        assert (one.validation is None) == (single.validation is None)
        if one.validation is not None:
            mine, other = one.validation.scores, single.validation.scores
            np.testing.assert_allclose(mine, other, rtol=1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("name", PATHS)
def test_each_target_is_as_alone(name, options):
    found = PATHS[name](X, Y[name], **options)
    assert_each_is_alone(PATHS[name], X, Y[name], found, options)


def test_elastic_net_with_l2_and_offsets():
    offset = RNG.normal(size=(N, T)) / 4
    penalty = jr.ElasticNet(0.5, 0.25)
    options: Any = {"penalty": penalty, "num": 4, "ratio": 0.1, "folds": 2}
    found: Any = jr.poisson_path(X, Y["poisson"], offset=offset, **options)
    for number in range(T):
        single = jr.poisson_path(
            X, Y["poisson"][:, number], offset=offset[:, number], **options
        )
        np.testing.assert_allclose(
            found.coefficients[number], single.coefficients, atol=1e-8
        )
    known = found[1].coef_at(0.9 * found.strengths[1, 0]).gap
    assert abs(known) <= 1e-9
    common: Any = jr.poisson_path(X, Y["poisson"][:, :2], offset=offset[:, 0], **options)
    np.testing.assert_allclose(common[0].coefficients, found[0].coefficients, atol=1e-8)


def test_it_is_the_minimum_of_scikit_learn():
    found: Any = jr.poisson_path(X, Y["poisson"], [0.05], penalty=jr.L2(1.0))
    for number in range(T):
        model = sklearn.linear_model.PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=1000)
        model.fit(X, Y["poisson"][:, number])
        np.testing.assert_allclose(found[number].coefficients[0], model.coef_, atol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "logistic"])
def test_they_are_solved_together(name, monkeypatch):
    def refuse(*_args):
        raise AssertionError("One by one.")

    monkeypatch.setattr(targets, "solve_arranged", refuse)
    found = PATHS[name](X, Y[name], num=5, ratio=0.05, folds=3)
    assert np.all(found.converged)


def test_products_of_many_problems_are_those_of_each(monkeypatch):
    seen: list[Any] = []
    real = targets.null_models
    monkeypatch.setattr(
        targets, "null_models", lambda *args: seen.append(args[0]) or real(*args)
    )
    offset, y = RNG.normal(size=N) / 2, Y["poisson"][:, :2]
    jr.poisson_path(X, y, offset=offset, num=2, folds=3, sample_weight=WEIGHTS)
    problems: Any = min(seen, key=lambda one: one.shared is not seen[0].shared)
    shared, which = problems.shared, np.arange(problems.number)
    w = RNG.normal(size=(len(which), P + 1)) / 5
    found = problems.evaluate(w, which)
    shift = found.gradient[:, -1] / found.curvature
    gradient, total = problems.dual(w, which, shift, np.full(len(which), 0.7))
    np.testing.assert_allclose(gradient[:, -1], 0.0, atol=1e-14)
    for number in which:
        target, fold = divmod(number, problems.folds)
        weights = shared.weights * shared.factors[fold] * in_fold(shared, fold)
        known = problems.offset[target]
        rate, counts = np.exp(w[number] @ shared.rows + known), problems.y[target]
        slopes = rate - counts
        np.testing.assert_allclose(weights.sum(), 1.0)
        expected = shared.rows @ (weights * slopes)
        np.testing.assert_allclose(found.gradient[number], expected, atol=1e-12)
        d = 0.7 * (slopes - shift[number] * rate)
        inside = np.maximum(d + counts, 1e-300)
        conjugate = np.where(d + counts >= 0, inside * np.log(inside) - inside, np.inf)
        expected = weights @ np.where(weights > 0, conjugate - d * known, 0.0)
        np.testing.assert_allclose(total[number], expected)
        hessian = (shared.rows * weights * rate) @ shared.rows.T
        near = problems.hessians(w[number], target)[fold]
        np.testing.assert_allclose(near, hessian, atol=1e-5)


def test_gaps_are_bounds_far_from_the_minimum(monkeypatch):
    seen: list[Any] = []
    real = targets.null_models
    monkeypatch.setattr(
        targets, "null_models", lambda *args: seen.append(args) or real(*args)
    )
    jr.poisson_path(X, Y["poisson"], num=1, folds=2)
    for problems, least, intercept in seen:
        null = real(problems, least, intercept)
        search = _batch_path._Search(problems, null, 1e-9)
        strength = np.repeat(0.5 * _batch_path.strengths_max(problems, null), 3)
        which = np.arange(problems.number)
        search.l1, search.l2 = (strength[:, None] * part for part in search.factors)
        before = search.values.loss + search.penalty(search.w, which)
        gaps, _ = search.certificates(which)
        search.solve(strength)
        after = search.values.loss + search.penalty(search.w, which)
        assert not search.failed.any()
        assert np.all(before - after > 1e-3)
        assert np.all(gaps * null.loss >= before - after - 1e-12)


def in_fold(shared, fold):
    member = np.zeros(len(shared.weights))
    for block in shared.blocks:
        member[block.samples] = block.train[fold]
    return member


def test_least_squares_share_moments(monkeypatch):
    calls = []
    real = _targets.moments_of_targets
    monkeypatch.setattr(
        _targets, "moments_of_targets", lambda *args: calls.append(1) or real(*args)
    )
    jr.lasso_path(X, Y["lasso"], num=3, folds=3)
    assert calls == [1]


def never_certified(_self, which):
    return np.full((2, len(which)), np.inf)


@pytest.mark.parametrize(
    ("name", "value"), [("_STEPS", 0), ("_Search.certificates", never_certified)]
)
def test_what_is_not_solved_together_is_solved_alone(monkeypatch, name, value):
    monkeypatch.setattr(f"jaxreg.solve.glm._batch_path.{name}", value)
    options: Any = {"num": 3, "ratio": 0.1, "folds": 2}
    found = jr.poisson_path(X, Y["poisson"][:, :2], **options)
    assert_each_is_alone(jr.poisson_path, X, Y["poisson"][:, :2], found, options)


@pytest.mark.parametrize("name", PATHS)
def test_sparse_and_wide_features(name):
    sparse = scipy.sparse.csr_array(X * (X > 0.5))
    options: Any = {"num": 3, "ratio": 0.2, "folds": 2}
    found = PATHS[name](sparse, Y[name][:, :2], **options)
    assert_each_is_alone(PATHS[name], sparse, Y[name][:, :2], found, options)
    wide, few = RNG.normal(size=(30, 40)), Y[name][:30, :2]
    found = PATHS[name](wide, few, num=3, ratio=0.5)
    assert_each_is_alone(PATHS[name], wide, few, found, {"num": 3, "ratio": 0.5})


def test_collinear_and_constant_features():
    x = np.column_stack([X, X[:, 0], np.ones(N), X[:, 1] + 1e-9 * X[:, 2]])
    options: Any = {"num": 4, "ratio": 0.05}
    for name, path in PATHS.items():
        found = path(x, Y[name][:, :2], **options)
        assert np.all(found.converged)
        for number in range(2):
            single = path(x, Y[name][:, number], **options)
            np.testing.assert_allclose(
                found[number].predictor(x), single.predictor(x), atol=1e-6
            )


def test_separable_classes():
    y = np.column_stack([X[:, 0] > 0.3, X[:, 1] > 0])
    found: Any = jr.logistic_path(X, y, num=6, ratio=1e-3)
    assert np.all(found.converged)
    single: Any = jr.logistic_path(X, y[:, 1], num=6, ratio=1e-3)
    scale = np.max(np.abs(single.coefficients))
    np.testing.assert_allclose(
        found[1].coefficients, single.coefficients, atol=1e-8 * scale
    )


def test_the_result_is_a_sequence_that_stacks():
    found: Any = jr.poisson_path(X, Y["poisson"], num=4, folds=3)
    assert found.coefficients.shape == (T, 4, P)
    assert found.strengths.shape == found.gaps.shape == found.intercepts.shape == (T, 4)
    assert found.null_loss.shape == (T,)
    assert found.predict(X).shape == found.predictor(X).shape == (T, 4, N)
    np.testing.assert_array_equal(found.predict(X)[2], found[2].predict(X))
    assert [one.strengths[0] for one in found] == found.strengths[:, 0].tolist()
    assert isinstance(found[1:3], TargetPaths)
    assert found[1:3][0] is found[1]
    chosen = found.select("1se")
    assert chosen.tolist() == [one.select("1se") for one in found]
    assert len(found.validation) == T
    assert "5 targets, 4 strengths and 8 features" in repr(found)


BAD = {
    "nan": ("poisson", np.nan, "Target 1, y.*finite"),
    "negative": ("poisson", -1.0, "Target 1, y.*counts, at least 0"),
    "zeros": ("poisson", 0.0, "Target 1, y.*above 0"),
    "one class": ("logistic", 1.0, "Target 1, y.*must hold"),
    "infinite": ("lasso", np.inf, "Target 1, y.*finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_target(name):
    path, value, message = BAD[name]
    y = Y[path].copy()
    y[:, 1] = value
    with pytest.raises(ValueError, match=message):
        PATHS[path](X, y, num=3)


@pytest.mark.parametrize("name", PATHS)
def test_bad_shapes_are_refused(name):
    for shape in ((N, 0), (N, 2, 2)):
        with pytest.raises(ValueError, match="one of each"):
            PATHS[name](X, np.ones(shape))
    with pytest.raises(ValueError, match="each of the 240 samples"):
        PATHS[name](X, Y[name][:-1])


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="of 240 samples and 5 targets"):
        jr.poisson_path(X, Y["poisson"], offset=np.zeros((N, 2)))
    with pytest.raises(ValueError, match="classes 0 and 1 where it has several"):
        jr.logistic_path(X, np.arange(2 * N).reshape(N, 2) // 2 % 3)
    y = Y["poisson"].copy()
    y[: N // 2, 2] = 0
    with pytest.raises(ValueError, match="Target 2, y.*but fold 1 does not"):
        jr.poisson_path(X, y, folds=2)
    with pytest.raises(ValueError, match="lasso_path.*a penalty of its own"):
        jr.solve.multi_task_path(X, Y["lasso"][:, 0])


def test_what_does_not_converge_is_named(monkeypatch):
    monkeypatch.setattr(_batch_path, "_STEPS", 0)
    monkeypatch.setattr("jaxreg.solve.glm._newton_path._STEPS", 0)
    with pytest.warns(RuntimeWarning, match=r"for the targets \[0, 1\]: gap"):
        jr.poisson_path(X, Y["poisson"][:, :2], num=2)


def test_a_constant_target_has_no_features():
    y = np.column_stack([Y["lasso"][:, 0], np.full(N, 3.0)])
    found: Any = jr.lasso_path(X, y, num=3)
    assert not np.any(found[1].coefficients)
    np.testing.assert_allclose(found[1].intercepts, 3.0)
    counts: Any = jr.poisson_path(X, y[:, 1:], num=3)
    assert not np.any(counts.coefficients)
    np.testing.assert_allclose(counts.intercepts, np.log(3.0))


@pytest.mark.parametrize("name", ["Lasso", "ElasticNet"])
def test_estimators_of_many_targets(name):
    found: Any = getattr(linear, name)(alpha=0.1).fit(X, Y["lasso"])
    expected = getattr(sklearn.linear_model, name)(alpha=0.1, tol=1e-12)
    expected.fit(X, Y["lasso"])
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-7)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=1e-7)
