"""Cross-validation against scikit-learn, paths against loops."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LassoCV
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

import jaxreg as jr
from jaxreg.strength.cross_validation import fold_weights

X, Y = map(np.asarray, load_diabetes(return_X_y=True))


def lasso(strength, fold, steps=3000):
    """The score and the coefficients of the lasso, with features centred in the fold."""
    x, y = fold.data
    x = x - jr.strength.weighted_mean(x, fold.train)
    mean = jr.strength.weighted_mean(y, fold.train)
    rows = x * fold.train[:, None]
    samples = jnp.sum(fold.train)
    gram, pull = rows.T @ x / samples, rows.T @ (y - mean) / samples
    step = 1 / jnp.linalg.norm(gram, 2)

    def advance(_, carry):
        w, old, t = carry
        u = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        ahead = w + (t - 1) / u * (w - old)
        new = jr.L1(strength).prox(ahead - step * (gram @ ahead - pull), step)
        restarts = jnp.vdot(ahead - new, new - w) > 0
        return new, w, jnp.where(restarts, 1.0, u)

    w = jnp.zeros(x.shape[1], x.dtype)
    w, _, _ = jax.lax.fori_loop(0, steps, advance, (w, w, jnp.ones((), x.dtype)))
    return jr.strength.weighted_mean((x @ w + mean - y) ** 2, fold.test), w


@pytest.fixture(scope="module")
def theirs():
    return LassoCV(cv=5, tol=1e-10, max_iter=100_000).fit(X, Y)


@pytest.fixture(scope="module")
def ours(theirs):
    with jax.enable_x64(True):
        return jr.cross_validate(lasso, (X, Y), theirs.alphas_, folds=5, has_aux=True)


# Against scikit-learn.


def test_the_lasso_of_scikit_learn(theirs, ours):
    np.testing.assert_allclose(ours.scores, theirs.mse_path_, rtol=1e-6)
    np.testing.assert_allclose(ours.mean, theirs.mse_path_.mean(axis=1), rtol=1e-6)
    chosen = jr.select_best(ours)
    assert ours.strengths[chosen] == theirs.alpha_
    with jax.enable_x64(True):
        w = np.asarray(
            jax.jit(lasso)(ours.strengths[chosen], jr.strength.Fold.whole((X, Y)))[1]
        )
    np.testing.assert_allclose(w, theirs.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(w == 0, theirs.coef_ == 0)


def test_one_standard_error_is_sparser(theirs, ours):
    mse = theirs.mse_path_
    best = np.argmin(mse.mean(axis=1))
    limit = mse.mean(axis=1)[best] + mse[best].std(ddof=1) / np.sqrt(5)
    expected = max(theirs.alphas_[mse.mean(axis=1) <= limit])
    chosen = jr.one_standard_error(ours)
    assert ours.strengths[chosen] == expected > ours.strengths[jr.select_best(ours)]

    def nonzeros(strength):
        return np.sum(Lasso(strength).fit(X, Y).coef_ != 0)

    assert nonzeros(expected) < nonzeros(theirs.alpha_)
    backwards = jr.strength.CrossValidation(ours.strengths[::-1], ours.scores[::-1])
    gains = jr.strength.CrossValidation(ours.strengths, -ours.scores, higher_is_better=True)
    for rule in (jr.select_best, jr.one_standard_error):
        assert rule(backwards) == 99 - rule(ours)
        assert rule(gains) == rule(ours)


def test_standardising_in_the_fold_is_that_of_scikit_learn():
    rows = np.random.default_rng(0).permutation(len(X))[:300]
    weights = np.isin(np.arange(len(X)), rows).astype(np.float32)
    x = np.c_[100 + 50 * X, np.full(len(X), 7.1)].astype(np.float32)
    scaled, mean, scale = jr.strength.standardize(x, weights)
    scaler: Any = StandardScaler().fit(x[rows])
    np.testing.assert_allclose(scaled, scaler.transform(x), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-5)
    assert scale[-1] == 1


# Folds.


def test_a_number_of_folds_is_k_fold():
    train, test = fold_weights(5, 442)
    for number, (left, out) in enumerate(KFold(5).split(X)):
        np.testing.assert_array_equal(np.flatnonzero(train[number]), left)
        np.testing.assert_array_equal(np.flatnonzero(test[number]), out)


@pytest.mark.parametrize(
    "folds",
    [
        lambda: StratifiedKFold(3).split(X, Y > 150),
        lambda: GroupKFold(3).split(X, Y, np.arange(442) // 10),
        lambda: KFold(3, shuffle=True, random_state=0).split(X),
        lambda: [(np.arange(5), np.arange(5, 9)), (np.arange(5, 9), np.arange(2))],
    ],
    ids=["stratified", "grouped", "shuffled", "by hand"],
)
def test_splitters_of_scikit_learn(folds):
    def sums(strength, fold):
        return jnp.sum(fold.test * fold.data), jnp.sum(fold.train * fold.data)

    found = jr.cross_validate(sums, np.arange(442.0), [1.0], folds(), has_aux=True)
    index = np.arange(442.0)
    expected = np.array([(index[out].sum(), index[left].sum()) for left, out in folds()])
    np.testing.assert_allclose(found.scores[0], expected[:, 0])
    np.testing.assert_allclose(found.results[0], expected[:, 1])


def test_nothing_leaks_from_what_is_left_out():
    def coefficients(x, y):
        short = functools.partial(lasso, steps=50)
        folds = list(KFold(4).split(X))[:1]
        data = x.astype(np.float32), y.astype(np.float32)
        found = jr.cross_validate(short, data, [1.0], folds, has_aux=True)
        return found.scores, found.results

    left_out = np.arange(442) < 111  # The first of four parts.
    spoilt = np.where(left_out, 1e4, Y), np.where(left_out[:, None], 1e3, X)
    (score, w), (other_score, other_w) = coefficients(X, Y), coefficients(*spoilt[::-1])
    np.testing.assert_array_equal(w, other_w)
    assert other_score > 100 * score


def test_scores_are_means_over_keys():
    def score(strength, key, fold):
        return strength + jax.random.normal(key) + jnp.sum(fold.test * fold.data)

    keys = jax.random.split(jax.random.key(0), 3)
    found = jr.cross_validate(score, jnp.arange(4.0), [0.0, 2.0], 2, keys=keys)
    noise = np.mean([jax.random.normal(key) for key in keys])
    np.testing.assert_allclose(found.scores, np.array([[1, 5], [3, 7]]) + noise, rtol=1e-5)


def test_the_same_in_chunks_and_after_a_break(tmp_path):
    def run(**options):
        short = functools.partial(lasso, steps=20)
        data = X.astype(np.float32), Y.astype(np.float32)
        return jr.cross_validate(short, data, [1.0, 0.1], 3, has_aux=True, **options)

    whole = run()
    for options in ({"chunk": 2}, {"directory": tmp_path}, {"directory": tmp_path}):
        found = run(**options)
        np.testing.assert_allclose(found.scores, whole.scores, rtol=1e-5)
        np.testing.assert_allclose(found.results, whole.results, rtol=1e-4)


# What it says.


def test_means_errors_and_the_table():
    scores = np.array([[1.0, 2.0, 6.0], [2.0, 2.0, np.nan]])
    found = jr.strength.CrossValidation(jr.ElasticNet(np.array([1.0, 2.0]), 0.5), scores)
    np.testing.assert_allclose(found.mean, [3.0, np.nan])
    np.testing.assert_allclose(found.standard_error, [np.sqrt(7 / 3), np.nan])
    table = found.table()
    assert list(table) == [
        "l1",
        "l2",
        *["fold 0", "fold 1", "fold 2"],
        "mean",
        "standard error",
        "diverged",
    ]
    assert table["fold 2"][0] == 6
    assert table["diverged"].tolist() == [False, True]
    assert "ElasticNet(l1=1, l2=0.5)" in repr(found)
    assert repr(jr.strength.CrossValidation([1.0], np.array([[np.nan]]))).endswith(
        "all diverged"
    )


MISTAKES = [
    (ValueError, {"folds": 11}, "at least 2 and at most the number of samples, 10, got 11"),
    (ValueError, {"folds": 1}, "at least 2 and at most.*got 1"),
    (ValueError, {"folds": []}, "at least one pair of indices, got none"),
    (ValueError, {"folds": [([0, 1], [10])]}, r"indices from 0 to 9, got \[10\] in fold 0"),
    (ValueError, {"folds": [([0, -1], [1])]}, "indices from 0 to 9"),
    (ValueError, {"folds": [([0, 1], np.zeros(0, int))]}, "indices from 0 to 9"),
    (ValueError, {"folds": [([0, 1], [1])]}, "No sample may be in both.*seen them"),
    (TypeError, {"folds": KFold(5)}, r"pass what it splits into, folds=splitter.split"),
    (TypeError, {"folds": [(np.ones(10, bool), [1])]}, "arrays of indices.*bool"),
    (TypeError, {"folds": [1, 2]}, r"pairs of arrays of indices, got \[1, 2\]"),
    (TypeError, {"train": lambda s, fold: fold.data}, "must return a score, one number"),
    (TypeError, {"train": lambda s, fold: (s, s)}, "With has_aux=True, a pair"),
    (TypeError, {"has_aux": True}, r"a pair \(score, others\), got"),
    (ValueError, {"data": (np.ones(3), np.ones(4))}, "data must be arrays with a common"),
    (ValueError, {"strengths": [-1.0]}, "strengths must be non-negative"),
    (ValueError, {"chunk": 0}, "chunk must be at least 1"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), MISTAKES)
def test_mistakes_are_named(kind, changes, message):
    arguments = {"train": lambda s, fold: s, "data": np.ones(10), "strengths": [1.0]}
    with pytest.raises(kind, match=message):
        jr.cross_validate(**(arguments | changes))


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"got shape \(3, 2\) for 2 strengths"):
        jr.strength.CrossValidation([1.0, 2.0], np.ones((3, 2)))


# Paths.


def warm(strength, w):
    gram = (X.T @ X).astype(np.float32)
    for _ in range(5):
        w = jr.L1(strength).prox(w - 0.2 * (gram @ w - (X.T @ Y).astype(np.float32)), 0.2)
    return w, {"w": w, "zeros": jnp.sum(w == 0)}


def test_a_path_is_a_loop_with_warm_starts():
    for strengths in (np.geomspace(900, 1, 8), np.geomspace(1, 900, 8)):
        found = jax.jit(lambda s: jr.strength.path(warm, s, jnp.zeros(10)))(strengths)
        w = jnp.zeros(10)
        for i, strength in enumerate(strengths):
            w, _ = warm(jnp.float32(strength), w)
            np.testing.assert_allclose(found["w"][i], w, rtol=1e-4, atol=1e-3)
    assert found["zeros"][-1] > found["zeros"][0]


def test_paths_of_penalties_in_vmap():
    path = jr.L1(jnp.array([9.0, 3.0, 1.0]))

    def run(start):
        return jr.strength.path(lambda p, w: (p.prox(w), {"w": p.prox(w)}), path, start)[
            "w"
        ]

    starts = jnp.array([[20.0], [3.0]])
    np.testing.assert_allclose(
        jax.vmap(run)(starts)[..., 0], [[11.0, 8.0, 7.0], [0.0, 0.0, 0.0]]
    )


def test_a_path_goes_on_after_it_has_diverged():
    def run(strength, w):
        w = jnp.where(strength == 2, jnp.nan, w + strength)
        return w, w

    found = jr.strength.path(run, [1.0, 2.0, 3.0], jnp.float32(0))
    np.testing.assert_array_equal(found, [1, np.nan, 4])


@pytest.mark.parametrize(
    ("kind", "train", "strengths", "message"),
    [
        (ValueError, warm, [1.0, 3.0, 2.0], "falling or rising.*sort them"),
        (ValueError, warm, [-1.0], "must be non-negative"),
        (TypeError, lambda s, w: w, [1.0], r"a pair \(params, results\), got "),
        (TypeError, lambda s, w: ({"w": w}, w), [1.0], "of the structure that it got"),
        (TypeError, lambda s, w: (w[:2], w), [1.0], r"returned \(2,\) for \(10,\)"),
    ],
)
def test_mistakes_on_a_path_are_named(kind, train, strengths, message):
    with pytest.raises(kind, match=message):
        jr.strength.path(train, strengths, jnp.zeros(10))
