"""Equations of active sets that differ little from one that is factored."""

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.solve.lasso import _screened
from jaxreg.solve.lasso._guesses import _Base, _Changed


@pytest.mark.parametrize(
    ("gone", "new"), [([], []), ([], [3, 95]), ([10, 40], []), ([10, 40], [3, 95, 99])]
)
def test_features_that_left_and_entered_are_solved_for(gone, new):
    rng = np.random.default_rng(0)
    x, ridge = rng.standard_normal((150, 100)), rng.random(100)
    gram, target = x.T @ x / 150, rng.standard_normal(100)
    before = np.arange(5, 90)
    active = np.union1d(np.setdiff1d(before, gone), new).astype(int)
    base = _Base(gram, ridge, before)
    found = _Changed(base, gram, ridge, active).solved(target)
    expected = np.zeros(100)
    matrix = (gram + np.diag(ridge))[np.ix_(active, active)]
    expected[active] = np.linalg.solve(matrix, target[active])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert not np.any(found[np.setdiff1d(np.arange(100), active)])


@pytest.mark.parametrize("penalty", [jr.L1(1.0), jr.ElasticNet(0.9, 0.1)], ids=str)
def test_guesses_reach_the_end_with_many_active_features(penalty, monkeypatch):
    monkeypatch.setattr(_screened, "SOLVERS", _screened.SOLVERS[:1])
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 400)), rng.standard_normal(300)
    found = jr.elastic_net_path(x, y, penalty=penalty, num=30, ratio=0.03)
    assert np.count_nonzero(found.coefficients[-1]) > 200
    assert np.max(np.abs(found.gaps)) <= 1e-12
