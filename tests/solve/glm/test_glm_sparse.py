"""Sparse features of generalised linear paths: those of the same numbers in an array."""

import tracemalloc
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental import sparse as jax_sparse
from sklearn.base import clone
from sklearn.utils import get_tags

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve import sparse
from jaxreg.solve.glm import _candidate_model, _candidates

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 90)) * (RNG.random((60, 90)) < 0.2)
ETA = X[:, 5:8] @ [1.0, -1.0, 2.0]
# An empty feature, a constant, and one that is far from zero.
X[:, 1], X[:, 2], X[:, 3] = 0.0, 3.0, RNG.random(60) + 1000
WEIGHTS = np.where(np.arange(60) % 7 == 0, 0.0, 1.0 + np.arange(60) % 3)
FACTORS = jr.L1(np.r_[1.0, 1.0, 1.0, 1.0, 0.0, np.inf, np.ones(84)])
Y: dict[str, Any] = {
    "logistic_path": (ETA + RNG.normal(size=60) > 0).astype(int),
    "multinomial": np.digitize(ETA + RNG.normal(size=60), [-1.0, 1.0]),
    "poisson_path": RNG.poisson(np.exp(ETA / 4)),
    "group_lasso_path": ETA + RNG.normal(size=60),
    "multi_task_path": ETA[:, None] * [1.0, 2.0] + RNG.normal(size=(60, 2)),
}
KINDS = {
    "csr": sp.csr_array,
    "csc matrix": sp.csc_matrix,
    "BCOO": lambda x: jax_sparse.BCOO.fromdense(jnp.asarray(x, jnp.float32)),
}


def path(name, x, **options):
    rest = [np.arange(90) // 3] if name == "group_lasso_path" else []
    run = getattr(jr.solve, name if name != "multinomial" else "logistic_path")
    return run(x, Y[name], *rest, num=6, ratio=0.1, **options)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"folds": 3, "sample_weight": WEIGHTS},
    {"intercept": False},
    {"standardize": True, "folds": 3},
    {"penalty": FACTORS},
]


@pytest.mark.covering("name", "options")
@pytest.mark.parametrize("name", Y)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sparse_features_have_the_path_of_dense_ones(name, options):
    if name == "group_lasso_path" and options in OPTIONS[3:]:
        options = {"scale": np.arange(1.0, 31.0)}
    wanted, found = path(name, X, **options), path(name, sp.csr_array(X), **options)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.strengths, wanted.strengths, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)
    np.testing.assert_allclose(found.predict(sp.csr_array(X)), wanted.predict(X), atol=1e-6)
    if "folds" in options:
        scores = found.validation.scores, wanted.validation.scores
        np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_arrays_of_every_kind(kind):
    rounded = X.astype(np.float32).astype(float)
    wanted = path("logistic_path", rounded)
    found = path("logistic_path", KINDS[kind](rounded))
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)


def test_wide_sparse_features_are_not_made_dense(monkeypatch):
    x = sp.random_array((200, 50_000), density=1e-3, rng=np.random.default_rng(0))
    y = (x.sum(1) > np.median(x.sum(1))).astype(int)
    made: list[int] = []
    dense = sp.csc_array.toarray

    def counted(self, *args):
        made.append(self.shape[0] * self.shape[1])
        return dense(self, *args)

    monkeypatch.setattr(sp.csc_array, "toarray", counted)
    found = jr.logistic_path(x, y, num=10, ratio=0.3, folds=3)
    assert np.all(found.converged)
    assert 0 < max(made) < 200 * 50_000 / 50


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "name", sorted(name for name in vars(linear) if isinstance(vars(linear)[name], type))
)
def test_estimators_take_sparse_features(name):
    model: Any = getattr(linear, name)()
    few: dict[str, Any] = {
        "alphas": 5,
        "Cs": 3,
        "cv": 3,
        "l1_ratio": 0.9,
        "l1_ratios": (0.9,),
    }
    few["alphas"] = few["alphas"] if name != "RidgeCV" else (0.1, 1.0)
    model.set_params(**{key: few[key] for key in few.keys() & model.get_params().keys()})
    if not get_tags(model).input_tags.sparse:
        with pytest.raises(TypeError, match="dense data is required"):
            model.fit(sp.csr_array(X), Y["group_lasso_path"])
        return
    key = "multi_task_path" if "MultiTask" in name else "logistic_path"
    dense: Any = clone(model)
    dense.fit(X[:, 4:], Y[key])
    model.fit(sp.csr_array(X[:, 4:]), Y[key])
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-6)
    prediction = model.predict(sp.csr_array(X[:, 4:]))
    np.testing.assert_allclose(prediction, dense.predict(X[:, 4:]), atol=1e-6)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["logistic_path", "multinomial", "poisson_path"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"intercept": False},
        {"standardize": True, "folds": 3},
        {"penalty": FACTORS},
        {"penalty": jr.ElasticNet(0.5, 0.25)},
    ],
    ids=str,
)
def test_hessians_of_many_candidates_are_not_stored(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    wanted = path(name, X, **options)
    monkeypatch.setattr(_candidate_model, "STORED", 0)
    rounds: list[int] = []
    solved = _candidates.HessianProducts.solved

    def counted(self, *args):
        rounds.append(1)
        return solved(self, *args)

    monkeypatch.setattr(_candidates.HessianProducts, "solved", counted)
    found = path(name, sp.csr_array(X), **options)
    assert rounds
    assert np.all(found.converged)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)
    np.testing.assert_allclose(found.predict(X), wanted.predict(X), atol=1e-6)


@pytest.mark.parametrize("stored", [0, 1000])
def test_numbers_of_32_bits_are_computed_with_in_double_precision(
    stored: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sparse, "ENTRIES", 100)  # Several blocks of columns.
    monkeypatch.setattr(_candidate_model, "STORED", stored)
    given = sp.csc_array(X.astype(np.float32))
    wanted = path("logistic_path", given.toarray().astype(float))
    found = path("logistic_path", given)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-7)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entries_are_not_copied(dtype: Any):
    rng = np.random.default_rng(0)
    given: Any = sp.random_array((10_000, 2_000), density=0.05, rng=rng, format="csc")
    given = given.astype(dtype)
    y = (given[:, :5].sum(1) + rng.standard_normal(10_000) / 10 > 0.1).astype(int)
    jr.logistic_path(given, y, [0.1])  # Imports allocate, too.
    tracemalloc.start()
    found = jr.logistic_path(given, y, num=3, ratio=0.5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.count_nonzero(found.coefficients[-1])
    assert most < given.data.nbytes + given.indices.nbytes
