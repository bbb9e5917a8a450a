"""float32 data: float32 coefficients and predictions, of models solved in float64."""

import inspect
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model

from jaxreg import linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
Y = X[:, :2].sum(axis=1) + RNG.normal(size=40)
NAMES = [name for name, value in vars(linear).items() if inspect.isclass(value)]
SPARSE = [name for name in NAMES if "Ridge" not in name]


def model_of(name) -> Any:
    options: dict[str, Any] = {"groups": [0, 0, 1, 1, 1]} if "GroupLasso" in name else {}
    if name.endswith("CV"):
        options["cv"] = 2
        few = "Cs" if "Logistic" in name else "alphas"
        options[few] = [0.01, 0.1]
    return getattr(linear, name)(**options)


def target_of(name):
    if "Logistic" in name:
        return Y > 0
    return np.column_stack([Y, -Y]) if "MultiTask" in name else Y


def scores(model, x):
    return getattr(model, "decision_function", model.predict)(x)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name):
    y = target_of(name)
    small, large = model_of(name).fit(X.astype(np.float32), y), model_of(name).fit(X, y)
    for attribute in ("coef_", "intercept_"):
        assert getattr(small, attribute).dtype == np.float32, attribute
    assert large.coef_.dtype == np.float64
    assert scores(small, X.astype(np.float32)).dtype == np.float32
    assert scores(small, X).dtype == scores(large, X).dtype == np.float64
    # The features are rounded, the solver is not.
    np.testing.assert_allclose(small.coef_, large.coef_, atol=1e-5)
    again = small.fit(X, y)
    np.testing.assert_array_equal(again.coef_, large.coef_)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_float32(name):
    x, y = scipy.sparse.csr_array(X * (X > 0), dtype=np.float32), target_of(name)
    sparse, dense = model_of(name).fit(x, y), model_of(name).fit(x.toarray(), y)
    assert sparse.coef_.dtype == scores(sparse, x).dtype == np.float32
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", ["Lasso", "ElasticNet", "MultiTaskLasso", "Ridge"])
def test_dtypes_are_those_of_scikit_learn(name, fit_intercept):
    for dtype in (np.float32, np.float64, np.int64):
        x, y = (10 * X).astype(dtype), np.column_stack([Y, -Y])
        ours = getattr(linear, name)(fit_intercept=fit_intercept).fit(x, y)
        kind = getattr(sklearn.linear_model, name)
        theirs = kind(fit_intercept=fit_intercept).fit(x, y.astype(x.dtype))
        assert ours.coef_.dtype == theirs.coef_.dtype
        assert ours.predict(x).dtype == theirs.predict(x).dtype
        assert ours.predict(x).shape == theirs.predict(x).shape
