"""Least squares in any units: results follow the units, and certificates stay honest."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve.gaps import is_certified
from jaxreg.solve.lasso._least_squares import LeastSquares
from jaxreg.solve.lasso._rescale import SAFE, units_of

X, Y = map(np.asarray, load_diabetes(return_X_y=True))
PATH = jr.lasso_path(X, Y, num=6, ratio=1e-2)
# Of features and target. Where products of both are no floats, no strength is.
SCALES = [
    (1, 1e-170),
    (1e-170, 1),
    (1e-300, 1e-5),
    (1e300, 1e-3),
    (1e150, 1e150),
    (1, 1e300),
]
each_scale = pytest.mark.parametrize("scales", SCALES, ids=str)


def close(found, expected):
    slack = 1e-9 * np.max(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=slack)


@each_scale
@pytest.mark.parametrize("options", [{}, {"penalty": jr.L1([0.0, *[1.0] * 9])}], ids=str)
def test_paths_follow_the_units(scales, options):
    of_x, of_y = scales
    expected = jr.lasso_path(X, Y, PATH.strengths, **options)
    found = jr.lasso_path(X * of_x, Y * of_y, PATH.strengths * of_x * of_y, **options)
    close(found.coefficients / of_y * of_x, expected.coefficients)
    close(found.intercepts / of_y, expected.intercepts)
    assert np.max(np.abs(found.gaps)) <= 1e-12


@pytest.mark.sampled(2)
@pytest.mark.parametrize("features", [10, 70, 300])
@pytest.mark.parametrize("l2", [1.0, [0.0, *[1e-12] * 9]], ids=["all", "nine"])
def test_squares_beside_tiny_targets_are_certified(l2, features):
    """Rounding errors, beside which the curvature of the l2 is nothing, prove nothing."""
    x = np.tile(X, (1, features // 10)) + np.eye(len(X), features)
    penalty = jr.ElasticNet(1.0, np.tile(l2, features // np.size(l2)))
    found = jr.elastic_net_path(x, Y * 1e-40, num=6, ratio=1e-2, penalty=penalty)
    assert np.max(np.abs(found.gaps)) <= 1e-9
    assert np.count_nonzero(found.coefficients[-1]) > 3


@each_scale
def test_grids_and_knots_follow_the_units(scales):
    of_x, of_y = scales
    grid = jr.lasso_path(X * of_x, Y * of_y, num=6, ratio=1e-2)
    close(grid.strengths / of_x / of_y, PATH.strengths)
    close(grid.coefficients / of_y * of_x, PATH.coefficients)
    knots, expected = jr.solve.lasso_knots(X * of_x, Y * of_y), jr.solve.lasso_knots(X, Y)
    close(knots.strengths / of_x / of_y, expected.strengths)
    close(knots.coefficients / of_y * of_x, expected.coefficients)


def test_small_targets_do_not_pass_for_zero():
    """The smallest case, by hand: half the squares of y underflow."""
    x, y = np.array([[1.0], [-1.0]]), np.array([3e-170, -1e-170])
    found = jr.lasso_path(x, y, [1e-171])
    np.testing.assert_allclose(found.coefficients, [[1.9e-170]])
    np.testing.assert_allclose(found.intercepts, [1e-170])


@pytest.mark.parametrize(
    ("of_x", "of_y"), [(1e-140, 1e-40), (1e-170, 1e100), (1e-300, 1.0), (1e140, 1.0)]
)
def test_ridge_regression_has_its_exact_solution(of_x, of_y):
    x, y, strength = X[:, 2:3] * of_x, Y * of_y, max(of_x, of_x**2)
    found = jr.elastic_net_path(x, y, [strength], penalty=jr.L2(1.0), intercept=False)
    square, inner = (
        sum(Fraction(a) * Fraction(b) for a, b in zip(x[:, 0], other, strict=True))
        for other in (x[:, 0], y)
    )
    exact = inner / (square + 2 * len(y) * Fraction(strength))
    np.testing.assert_allclose(found.coefficients[0, 0], float(exact), rtol=1e-12)


def test_columns_of_different_scales_follow_their_factors():
    scale = 10.0 ** np.linspace(-290, 290, 10)
    expected = jr.lasso_path(X, Y, PATH.strengths)
    found = jr.lasso_path(X * scale, Y, PATH.strengths, penalty=jr.L1(scale))
    close(found.coefficients * scale, expected.coefficients)
    standard = jr.lasso_path(X * scale, Y, PATH.strengths, standardize=True)
    close(
        standard.coefficients * scale,
        jr.lasso_path(X, Y, PATH.strengths, standardize=True).coefficients,
    )


def test_weights_may_have_any_scale():
    weights = 1.0 + np.arange(len(Y)) % 3
    options: Any = {"strengths": PATH.strengths}
    expected = jr.lasso_path(X, Y, sample_weight=weights, **options).coefficients
    for scale in (1e-300, 1e307):
        found = jr.lasso_path(X, Y, sample_weight=weights * scale, **options)
        close(found.coefficients, expected)


def test_units_change_nothing_within_bounds():
    ones: Any = {"l1": np.ones(10), "standardized": False}
    units = units_of(X * 2.0**150, Y * 2.0**-150, **ones)
    assert units == (None, 0, 0, False)
    beyond = units_of(X * 2.0**400, Y, **ones)
    assert beyond.columns is not None
    x, y, _, _ = beyond.scaled(X * 2.0**400, Y, np.ones(10), np.zeros(10))
    assert np.max(np.abs(x)) <= 2.0**SAFE
    assert y.tolist() == Y.tolist()
    np.testing.assert_array_equal(np.ldexp(x, beyond.columns), X * 2.0**400)


@pytest.mark.parametrize(
    ("x", "y", "strengths", "message"),
    [
        (X * 1e-200, Y * 1e-200, None, "Strengths for x and y of such scales"),
        (X * 1e200, Y * 1e200, None, "Strengths for x and y of such scales"),
        (X * 1e-200, Y * 1e200, [1e-2], "Coefficients for x and y of such scales"),
        (np.where(X > 0.1, np.inf, X), Y, None, "x must be finite"),
    ],
)
def test_what_floats_cannot_hold_is_refused(x, y, strengths, message):
    with pytest.raises(ValueError, match=message):
        jr.lasso_path(x, y, strengths)


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_squared_errors_that_floats_cannot_hold_are_refused(scale):
    with pytest.raises(ValueError, match=r"y must be finite.*too large or too small"):
        jr.lasso_path(X, Y * scale, num=3, folds=5)
    found = jr.lasso_path(X * scale, Y, num=3, folds=5).validation
    expected = jr.lasso_path(X, Y, num=3, folds=5).validation
    assert found is not None
    assert expected is not None
    close(found.mean, expected.mean)


# Certificates.


def test_gaps_far_below_zero_certify_nothing():
    gaps = np.array([1e-7, -1e-7, 1e-3, -1e-3, -3e16, np.nan, np.inf])
    assert is_certified(gaps, 1e-6).tolist() == [True, True, *[False] * 5]


def far_from_zero(seed, samples=50, features=30):
    rng = np.random.default_rng(seed)
    offset = 10 ** rng.uniform(5, 9)
    x = rng.normal(size=(samples, features)) + offset
    y = x[:, 0] / offset + 0.3 * rng.normal(size=samples) - 1
    return x, y, abs(x.T @ y).max() / samples * np.array([1e-6, 1e-3, 0.1])


def by_coordinate_descent(x, y, strength):
    """One pass: with columns so alike, the best single feature is close to the minimum."""
    w = x.T @ y / len(y)
    best = np.argmax(np.abs(w))
    square = np.mean(x[:, best] ** 2)
    return best, np.sign(w[best]) * max(abs(w[best]) - strength, 0) / square


@pytest.mark.sampled(3)
@pytest.mark.filterwarnings("ignore:Some models are solved")
@pytest.mark.parametrize("seed", [17, 18, 19, 20])
@pytest.mark.parametrize("l2", [0.0, 1e-9, 1e-6, 1.0])
def test_features_far_from_zero_are_solved_or_warned_of(seed, l2):
    x, y, strengths = far_from_zero(seed)
    penalty = jr.ElasticNet(1.0, l2)
    found = jr.elastic_net_path(x, y, strengths, penalty=penalty, intercept=False)
    for w, strength, gap in zip(found.coefficients, strengths, found.gaps, strict=True):
        errors = np.mean((y - x @ w) ** 2) / 2
        objective = errors + strength * (np.abs(w).sum() + l2 * np.sum(w**2))
        index, value = by_coordinate_descent(x, y, strength)
        single = np.mean((y - value * x[:, index]) ** 2) / 2
        single += strength * (abs(value) + l2 * value**2)
        assert objective <= np.mean(y**2) / 2 * (1 + 1e-9)
        assert objective - single <= (abs(gap) + 1e-9) * np.mean(y**2)


def test_features_far_from_zero_with_little_l2_are_solved():
    x, y, strengths = far_from_zero(17)
    found = jr.elastic_net_path(
        x, y, strengths, penalty=jr.ElasticNet(1.0, 1e-6), intercept=False
    )
    assert np.max(np.abs(found.gaps)) <= 1e-9


def test_gaps_of_coefficients_that_cancel_come_from_the_samples():
    """From moments they are wrong by 1e-16 times the squares of the features."""
    x = np.random.default_rng(0).normal(size=(50, 5)) + 1e9
    model = LeastSquares(None, False, False, False)
    problem = model.with_data(x, x[:, 0] - x[:, 1], None)
    w, gaps = np.array([[1.0, -1.0, 0.0, 0.0, 0.0]]), np.array([np.nan])
    problem._mend_inexact(np.array([1e-12]), w, gaps)
    assert w[0].tolist() == [1, -1, 0, 0, 0]
    assert 0 < gaps[0] < 1e-9


@pytest.mark.parametrize("scale", [1e-170, 1e150, 1e170])
def test_gaps_of_estimators_follow_the_units(scale):
    """At 1e170 the squares are no floats: the gap may be one, or is infinite."""

    def gap(y):
        model: Any = linear.Ridge().fit(X, y)
        return model.dual_gap_

    far = gap(scale * Y)
    assert np.isinf(far) or abs(far / scale / scale - gap(Y)) < 1e-6
