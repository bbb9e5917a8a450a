"""Models between the strengths of a grid, and the rule that chooses one."""

import pickle
from typing import Any

import numpy as np
import pytest

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve import multi_task_path
from jaxreg.strength import one_standard_error, select_best

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
Y = X[:, :3] @ [2.0, -1.0, 0.5] + RNG.normal(size=60)
GRID = np.array([0.4, 0.1, 0.02])
PATHS = {
    "lasso": (jr.lasso_path, (X, Y), {}),
    "sparse": (jr.lasso_path, (X * (X > 0), Y), {"standardize": True}),
    "elastic net": (jr.elastic_net_path, (X, Y), {"penalty": jr.ElasticNet(0.7, 0.1)}),
    "logistic": (jr.logistic_path, (X, Y > 0), {"sample_weight": RNG.random(60)}),
    "poisson": (jr.poisson_path, (X, np.round(Y**2)), {"offset": X[:, 3] / 4}),
    "groups": (jr.group_lasso_path, (X, Y, [0, 0, 1, 1, 2, 2, 3, 3]), {}),
    "tasks": (multi_task_path, (X, np.column_stack([Y, -Y])), {}),
}


@pytest.mark.parametrize("name", PATHS)
def test_between_the_grid_it_is_the_model_of_that_strength(name):
    path, data, options = PATHS[name]
    found = path(*data, strengths=GRID, **options)
    expected = path(*data, strengths=[0.05], **options)
    model = found.coef_at(0.05)
    scale = np.max(np.abs(expected.coefficients))
    np.testing.assert_allclose(
        model.coefficients, expected.coefficients[0], atol=1e-9 * scale
    )
    np.testing.assert_allclose(model.intercept, expected.intercepts[0], rtol=1e-8)
    assert abs(model.gap) < 1e-9
    line = (found.coefficients[1] * 3 + found.coefficients[2] * 5) / 8
    assert np.max(np.abs(line - expected.coefficients[0])) > 1e-4 * scale


def test_at_a_strength_of_the_grid_it_is_that_model():
    found = jr.lasso_path(X, Y, GRID)
    coefficients, intercept, gap = found.coef_at(0.1)
    assert (intercept, gap) == (found.intercepts[1], found.gaps[1])
    assert np.array_equal(coefficients, found.coefficients[1])


@pytest.mark.parametrize("strength", [0.5, 0.01])
def test_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match="between those of the path, 0.02 and 0.4"):
        jr.lasso_path(X, Y, GRID).coef_at(strength)


def test_without_data_only_the_grid_is_known():
    found = pickle.loads(pickle.dumps(jr.lasso_path(X, Y, GRID)))
    estimator: Any = linear.LassoCV(alphas=GRID, cv=3).fit(X, Y)
    for path in (found, estimator.path_):
        assert np.count_nonzero(path.coef_at(0.4).coefficients) == 3
        with pytest.raises(ValueError, match="without its data"):
            path.coef_at(0.05)


def test_folds_are_not_solved_again():
    found: Any = jr.lasso_path(X, Y, GRID, folds=3)
    assert found.again([0.05]).validation is None


def test_paths_choose_by_the_rules():
    found: Any = jr.lasso_path(X, Y, num=20, folds=5)
    assert found.select() == select_best(found.validation)
    assert found.select("1se") == one_standard_error(found.validation) < found.select()
    with pytest.raises(ValueError, match="rule must be one of 'best', '1se', got 'min'"):
        found.select("min")
    with pytest.raises(ValueError, match="give the path `folds`"):
        jr.lasso_path(X, Y, GRID).select()


CHOOSING = {
    "LassoCV": {"alphas": np.geomspace(2.0, 0.001, 20)},
    "ElasticNetCV": {"alphas": np.geomspace(2.0, 0.001, 20), "l1_ratio": [0.2, 0.9]},
    "MultiTaskLassoCV": {"alphas": np.geomspace(2.0, 0.001, 8)},
    "GroupLassoCV": {"alphas": 8, "groups": [0, 0, 1, 1, 2, 2, 3, 3]},
    "RidgeCV": {"alphas": np.geomspace(300.0, 0.1, 20)},
    "LogisticRegressionCV": {"Cs": 8, "l1_ratios": [1.0]},
}


@pytest.mark.parametrize("name", CHOOSING)
def test_estimators_choose_by_the_rules(name):
    target = Y > 0 if "Logistic" in name else Y
    target = np.column_stack([Y, -Y]) if "MultiTask" in name else target
    kind = getattr(linear, name)
    best = kind(cv=4, **CHOOSING[name]).fit(X, target)
    sparse = kind(cv=4, rule="1se", **CHOOSING[name]).fit(X, target)
    index = one_standard_error(best.cross_validation_)
    assert index != select_best(best.cross_validation_)
    path = best.path_.coefficients[index]
    np.testing.assert_allclose(sparse.coef_.ravel(), path.T.ravel(), rtol=1e-12)
    assert not np.allclose(sparse.coef_, best.coef_)
    with pytest.raises(ValueError, match="rule must be one of 'best', '1se', got 'min'"):
        kind(cv=4, rule="min", **CHOOSING[name]).fit(X, target)
