"""Blocks of strengths: guesses, and what checks them."""

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso import _screened
from jaxreg.solve.lasso._blocks import Start
from jaxreg.solve.lasso._guesses import _Base, _Changed
from jaxreg.solve.lasso._sources import Samples


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


def test_guesses_leave_copies_of_features_out(monkeypatch):
    monkeypatch.setattr(_screened, "SOLVERS", _screened.SOLVERS[:1])
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 20)), rng.standard_normal(60)
    twice = np.hstack([x, x])
    found, expected = jr.lasso_path(twice, y), jr.lasso_path(x, y)
    assert np.max(np.abs(found.gaps)) <= 1e-12
    np.testing.assert_allclose(found.predict(twice), expected.predict(x), atol=1e-10)


class OnlyTheFirst:
    """A solver that looks at one feature, whose coefficient is zero."""

    ids = np.array([0])

    def has_room(self, candidates):
        return np.ones(len(candidates), bool)

    def solved(self, wanted, block):
        return np.zeros((len(block), 1))

    def keep(self, last, before, now):
        raise AssertionError("a solution without the second feature was taken")


def test_a_feature_of_a_tiny_factor_is_not_missed():
    """What is allowed for rounding is a fraction of each feature's own threshold."""
    source = Samples(np.eye(2) * 2**0.5, np.full(2, 2**0.5))
    np.testing.assert_allclose(source.correlations, 1.0)
    factors, strengths = Factors(np.array([1.0, 1e-10]), None, False), np.array([0.9999e10])
    nothing = np.zeros(0, int), np.zeros(0)
    path = _screened.Path(source, factors, strengths, Start(1e10, *nothing, np.ones(2)))
    path._keep_right(OnlyTheFirst(), strengths, np.zeros((1, 1)))
    assert path.missed.tolist() == [1]
