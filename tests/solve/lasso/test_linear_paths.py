"""Paths of the lasso and the elastic net: exact, on every kind of data."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, enet_path, lars_path

import jaxreg as jr
from jaxreg.solve import standardize
from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso import _screened
from jaxreg.solve.lasso._sources import Samples, gaps_of, moments
from jaxreg.solve.standardize import prepare

X, Y = map(np.asarray, load_diabetes(return_X_y=True))
EXACT = 1e-12


def random(samples, features, seed=0):
    """Correlated features with means, and a sparse model with noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features))
    x[:, 1:] += 0.5 * x[:, :-1]
    w = np.zeros(features)
    w[: min(5, features)] = [3.0, -2.0, 1.0, 4.0, -1.0][: min(5, features)]
    return x + 2.0, x @ w + rng.standard_normal(samples)


WIDE = random(40, 1500)
"""More features than their Gram matrix is made for: by candidates."""
TALL = random(300, 280)
"""By candidates too, but from the Gram matrix."""
NARROW = random(60, 70)
"""From the Gram matrix of all features."""
FEW = random(50, 20)
"""Without compiling."""
EACH = pytest.mark.parametrize(
    "data", [FEW, NARROW, TALL, WIDE], ids=["few", "narrow", "tall", "wide"]
)


def objective(found, x, y, penalty, weights=None):
    errors = np.average((found.predict(x) - y) ** 2, axis=1, weights=weights) / 2
    sizes = np.abs(found.coefficients) @ np.broadcast_to(penalty.l1, x.shape[1])
    squares = found.coefficients**2 @ np.broadcast_to(penalty.l2, x.shape[1])
    return errors + found.strengths * (sizes + squares)


def errors(found):
    assert found.validation is not None
    return found.validation.mean


def columns_left_out(data):
    """A mask of columns, the data without them, and infinite factors for them."""
    x, y = data
    out = np.arange(x.shape[1]) % 3 == 1
    return out, x[:, ~out], np.where(out, np.inf, 1.0), y


# Against other libraries.


@pytest.mark.sampled(2)
@EACH
@pytest.mark.parametrize("positive", [False, True], ids=["signed", "positive"])
@pytest.mark.parametrize("ratio", [1.0, 0.5], ids=["lasso", "elastic net"])
def test_agrees_with_coordinate_descent(data, ratio, positive):
    x, y = data
    penalty = jr.convert.from_sklearn(1.0, ratio)
    found = jr.elastic_net_path(
        x, y, penalty=penalty, positive=positive, num=20, ratio=1e-2
    )
    assert np.max(found.gaps) <= EXACT
    options: Any = {"alphas": found.strengths, "tol": 1e-10, "max_iter": 100_000}
    _, expected, _ = enet_path(
        x - x.mean(0), y - y.mean(), l1_ratio=ratio, positive=positive, **options
    )
    np.testing.assert_allclose(found.coefficients, expected.T, atol=2e-4)
    assert not positive or np.min(found.coefficients) >= 0


def test_knots_are_those_of_lars():
    found = jr.solve.lasso_knots(X, Y)
    alphas, _, coefficients = lars_path(X - X.mean(0), Y - Y.mean(), method="lasso")
    np.testing.assert_allclose(found.strengths, alphas, atol=1e-9)
    np.testing.assert_allclose(found.coefficients, coefficients.T, atol=1e-6)
    first = found.strengths[:4] * len(Y)
    np.testing.assert_allclose(first, [949.435260, 889.313785, 452.895701, 316.073379])
    assert np.max(found.gaps) <= EXACT


@EACH
def test_the_path_is_linear_between_its_knots(data):
    x, y = data
    knots = jr.solve.lasso_knots(x, y, num=25)
    between = (knots.strengths[1:] + knots.strengths[:-1]) / 2
    halves = (knots.coefficients[1:] + knots.coefficients[:-1]) / 2
    found = jr.lasso_path(x, y, between)
    np.testing.assert_allclose(found.coefficients, halves, atol=1e-10)


def test_strength_zero_is_least_squares():
    found = jr.lasso_path(X, Y, [1.0, 0.0])
    expected = LinearRegression().fit(X, Y)
    np.testing.assert_allclose(found.coefficients[1], expected.coef_, rtol=1e-9)
    np.testing.assert_allclose(found.intercepts[1], expected.intercept_)
    assert found.gaps[1] <= EXACT


# What the arguments mean.


@EACH
@pytest.mark.parametrize("standardize", [False, True])
def test_weights_are_repeated_samples(data, standardize):
    x, y = data
    counts = np.arange(len(y)) % 3
    again = np.repeat(np.arange(len(y)), counts)
    strengths = [0.5, 0.1]
    weighted = jr.lasso_path(x, y, strengths, sample_weight=counts, standardize=standardize)
    repeated = jr.lasso_path(x[again], y[again], strengths, standardize=standardize)
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-9)
    np.testing.assert_allclose(weighted.intercepts, repeated.intercepts, atol=1e-8)


@EACH
def test_standardized_coefficients_are_those_of_standardized_features(data):
    x, y = data
    x = x * np.geomspace(0.1, 10.0, x.shape[1])
    found = jr.lasso_path(x, y, [0.3], standardize=True)
    scaled = jr.lasso_path((x - x.mean(0)) / x.std(0), y, [0.3])
    np.testing.assert_allclose(
        found.coefficients * x.std(0), scaled.coefficients, atol=1e-9
    )


@EACH
def test_factors_scale_features(data):
    x, y = data
    factors = 1.0 + np.arange(x.shape[1]) % 3
    found = jr.lasso_path(x, y, [0.2], penalty=jr.L1(factors))
    scaled = jr.lasso_path(x / factors, y, [0.2])
    np.testing.assert_allclose(found.coefficients * factors, scaled.coefficients, atol=1e-9)


@EACH
def test_features_with_factor_zero_are_like_the_intercept(data):
    x, y = data
    factors = np.r_[0.0, 1.0, 0.0, np.ones(x.shape[1] - 3)]
    found = jr.lasso_path(x, y, num=5, ratio=0.01, penalty=jr.L1().weighted(factors))
    residuals = y - found.predict(x)
    unpenalised = np.stack([np.ones(len(y)), x[:, 0], x[:, 2]])
    np.testing.assert_allclose(residuals @ unpenalised.T, 0.0, atol=1e-9)
    assert np.max(found.gaps) <= EXACT
    assert np.all(np.delete(found.coefficients[0], [0, 2]) == 0)
    columns, penalty = np.c_[np.ones(len(y)), x], jr.L1(np.r_[0.0, np.ones(x.shape[1])])
    by_hand = jr.lasso_path(columns, y, [0.3], penalty=penalty, intercept=False)
    expected = jr.lasso_path(x, y, [0.3])
    np.testing.assert_allclose(by_hand.coefficients[:, 0], expected.intercepts)
    np.testing.assert_allclose(
        by_hand.coefficients[:, 1:], expected.coefficients, atol=1e-9
    )


@EACH
@pytest.mark.parametrize(
    "options", [{}, {"intercept": False}, {"standardize": True}], ids=str
)
def test_features_with_infinite_factors_are_left_out(data, options):
    out, without, factors, y = columns_left_out(data)
    expected = jr.lasso_path(without, y, num=5, ratio=0.05, **options)
    penalty = jr.L1(factors)
    found = jr.lasso_path(data[0], y, num=5, ratio=0.05, penalty=penalty, **options)
    np.testing.assert_allclose(found.strengths, expected.strengths)
    np.testing.assert_allclose(
        found.coefficients[:, ~out], expected.coefficients, atol=1e-9
    )
    assert not np.any(found.coefficients[:, out])
    both = jr.ElasticNet(np.ones(len(out)), np.where(out, np.inf, 0.5))
    found = jr.elastic_net_path(data[0], y, [0.3], penalty=both, **options)
    both = jr.ElasticNet(1.0, 0.5)
    expected = jr.elastic_net_path(without, y, [0.3], penalty=both, **options)
    np.testing.assert_allclose(
        found.coefficients[:, ~out], expected.coefficients, atol=1e-9
    )


def test_features_are_left_out_of_knots_least_squares_ridge_and_folds():
    out, without, factors, y = columns_left_out((X, Y))
    knots, expected = (
        jr.solve.lasso_knots(X, y, penalty=jr.L1(factors)),
        jr.solve.lasso_knots(without, y),
    )
    np.testing.assert_allclose(knots.strengths, expected.strengths)
    np.testing.assert_allclose(knots.coefficients[:, ~out], expected.coefficients)
    found = jr.lasso_path(X, y, 0.0, penalty=jr.L1(list(factors)))
    np.testing.assert_allclose(
        found.coefficients[:, ~out], expected.coefficients[-1:], rtol=1e-8
    )
    ridge = jr.elastic_net_path(X, y, [0.1], penalty=jr.L2(factors))
    expected = jr.elastic_net_path(without, y, [0.1], penalty=jr.L2(1.0))
    np.testing.assert_allclose(ridge.coefficients[:, ~out], expected.coefficients)
    found = jr.lasso_path(X, y, penalty=jr.L1(factors), num=4, folds=5)
    expected = jr.lasso_path(without, y, num=4, folds=5)
    np.testing.assert_allclose(errors(found), errors(expected))
    assert not np.any(jr.lasso_path(X, y, num=3, penalty=jr.L1(np.inf)).coefficients)
    with pytest.raises(ValueError, match="strengths must be given"):
        jr.elastic_net_path(X, y, penalty=jr.L2(factors))


def test_factors_and_strengths_may_be_lists():
    each = jr.L1(np.arange(1.0, 11.0))
    expected = jr.lasso_path(X, Y, [1.0], penalty=each)
    each = jr.L1(list(range(1, 11)))
    found = jr.lasso_path(X, Y, [1.0], penalty=each)
    np.testing.assert_array_equal(found.coefficients, expected.coefficients)
    found = jr.elastic_net_path(X, Y, [1.0], penalty=each)
    np.testing.assert_array_equal(found.coefficients, expected.coefficients)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float16"])
def test_data_may_have_low_precision(dtype):
    x, y = (jnp.asarray(10 * data, dtype) for data in (X, Y / 100))
    exact = np.asarray(x, float), np.asarray(y, float)
    found = jr.lasso_path(x, y, jnp.asarray([0.125], dtype), sample_weight=jnp.ones_like(y))
    expected = jr.lasso_path(*exact, [0.125])
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-9)
    np.testing.assert_allclose(found.predict(x), expected.predict(exact[0]), atol=1e-9)


@EACH
def test_factors_of_the_elastic_net_reach_the_minimum(data):
    x, y = data
    rng = np.random.default_rng(1)
    l1, l2 = rng.random(x.shape[1]), rng.random(x.shape[1])
    l1[3] = 0.0
    penalty = jr.ElasticNet(l1, l2)
    found = jr.elastic_net_path(x, y, [3.0, 0.3], penalty=penalty)
    assert np.max(found.gaps) <= EXACT
    best = objective(found, x, y, penalty)
    for scale in (1e-1, 1e-3):
        moved = found.coefficients + scale * rng.standard_normal(x.shape[1])
        other = dataclasses.replace(found, coefficients=moved)
        assert np.all(objective(other, x, y, penalty) > best)


@pytest.mark.parametrize("l1", [0.0, 1.0])
def test_no_coefficient_is_negative_whatever_its_penalty(l1):
    z = np.cos(np.arange(50.0) ** 2)
    x = np.stack([z, z + 0.5 * np.sin(np.arange(50.0) ** 2)], axis=1)
    penalty = jr.ElasticNet(np.array([l1, 0.0]), np.array([0.1, 0.1]))
    y = x @ np.array([1.0, -0.3])
    found = jr.elastic_net_path(x, y, [3.0, 0.3, 0.01], penalty=penalty, positive=True)
    assert np.min(found.coefficients) == 0
    assert np.max(np.abs(found.gaps)) <= EXACT


def test_features_with_l2_alone_are_all_active_from_the_start():
    x, y = random(400, 200)
    only = np.arange(200) < 100
    penalty = jr.ElasticNet(np.where(only, 0.0, 1.0), np.where(only, 1.0, 0.0))
    found = jr.elastic_net_path(x, y, [100.0, 1.0, 0.1, 0.01], penalty=penalty)
    assert np.max(found.gaps) <= EXACT
    assert np.all(found.coefficients[:, :100] != 0)


@pytest.mark.parametrize("l2", [1e-7, 1e-8, 1e-9])
def test_duplicates_may_have_little_l2(l2):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 64))
    x[:, :21] = x[:, 21:42]
    y = x[:, :6].sum(1) + rng.standard_normal(30)
    penalty = jr.ElasticNet(1.0, l2 * rng.random(64))
    found = jr.elastic_net_path(x, y, penalty=penalty, num=30, intercept=False)
    assert np.max(found.gaps) <= 1e-8


def test_scales_that_factors_follow_change_nothing():
    x, y = random(200, 900)
    scale = np.where(np.arange(900) == 0, 1e8, 1e-8)
    options: Any = {"intercept": False}
    expected = jr.lasso_path(x, y, [0.5, 0.1, 0.01], **options)
    penalty = jr.L1(scale)
    found = jr.lasso_path(x * scale, y, [0.5, 0.1, 0.01], penalty=penalty, **options)
    assert np.max(found.gaps) <= EXACT
    np.testing.assert_allclose(found.coefficients * scale, expected.coefficients, atol=1e-7)


@EACH
def test_a_constant_target_is_explained_by_the_intercept(data):
    x, _ = data
    found = jr.lasso_path(x, np.full(len(x), 0.1), num=5)
    assert not np.any(found.coefficients)
    assert not np.any(found.gaps)
    np.testing.assert_allclose(found.intercepts, 0.1)


def test_ridge_has_its_closed_form():
    for x, y in (FEW, WIDE):
        found = jr.elastic_net_path(x, y, [2.0], penalty=jr.L2(1.0), intercept=False)
        gram = x @ x.T / len(y) + 4.0 * np.eye(len(y))
        expected = x.T @ np.linalg.solve(gram, y) / len(y)
        np.testing.assert_allclose(found.coefficients[0], expected, atol=1e-10)


@EACH
def test_strengths_may_come_in_any_order(data):
    x, y = data
    strengths = np.array([0.1, 2.0, 0.5, 0.5])
    found = jr.lasso_path(x, y, strengths)
    assert found.strengths.tolist() == strengths.tolist()
    alone = [jr.lasso_path(x, y, s).coefficients[0] for s in strengths[:2]]
    np.testing.assert_allclose(found.coefficients[:2], alone, atol=1e-9)
    np.testing.assert_array_equal(found.coefficients[2], found.coefficients[3])


def test_all_is_zero_from_the_largest_strength_on():
    largest = jr.lasso_path(X, Y, num=1).strengths[0]
    found = jr.lasso_path(X, Y, largest * np.array([1.5, 1.0, 0.99]))
    assert np.count_nonzero(found.coefficients, axis=1).tolist() == [0, 0, 1]


# Data on which linear algebra is hard.


def hard():
    rng = np.random.default_rng(0)
    x, y = FEW
    wide, target = WIDE
    hadamard = np.array([[1]])
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    groups = np.eye(5)[rng.integers(0, 5, 50)], np.eye(4)[rng.integers(0, 4, 50)]
    bits = rng.integers(0, 2, (20, 60))
    return {
        "duplicates": (np.c_[x, x, -x[:, :3]], y),
        "one-hot": (np.hstack(groups), np.round(y)),
        "ties": (hadamard[:, :10], hadamard @ np.ones(16)),
        "bits": (bits, rng.integers(0, 2, 20)),
        "constant columns": (np.c_[x, np.ones(50), np.zeros(50)], y),
        "large means": (x + 1e6, y),
        "scales": (x * np.geomspace(1e-6, 1e6, 20), y),
        "polynomials": (np.vander(np.linspace(0, 1, 50), 7), y),
        "one sample": (x[:1], y[:1]),
        "constant target": (x, np.ones(50)),
        "float32": (x.astype(np.float32), y.astype(np.float32)),
        "interpolation": (wide, target),
        "wide duplicates": (np.hstack([wide[:, :750], wide[:, :750]]), target),
        "wide bits": (wide > 2, np.round(target)),
    }


@pytest.fixture(params=_screened.SOLVERS)
def _each_solver(monkeypatch, request):
    """Each of the solvers from the start, in the place of one after the other."""
    at = _screened.SOLVERS.index(request.param)
    monkeypatch.setattr(_screened, "SOLVERS", _screened.SOLVERS[at:])


@pytest.mark.usefixtures("_each_solver")
@pytest.mark.parametrize("kind", hard())
def test_paths_are_exact_on_hard_data(kind):
    x, y = hard()[kind]
    found = jr.lasso_path(x, y, ratio=1e-6, num=40)
    assert np.max(found.gaps) <= 1e-9
    assert np.all(np.isfinite(found.coefficients))
    # The certificate again, by hand.
    x, y = np.asarray(x, float), np.asarray(y, float)
    residuals = y - found.predict(x)
    np.testing.assert_allclose(residuals.mean(axis=1), 0.0, atol=1e-7)
    correlations = np.abs(residuals @ (x - x.mean(0))) / len(y)
    largest = np.max(np.abs((y - y.mean()) @ (x - x.mean(0)))) / len(y)
    assert np.all(correlations <= found.strengths[:, None] + 1e-7 * max(largest, 1e-7))


def test_inaccurate_guesses_are_not_taken(monkeypatch):
    solve = np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda *system: 1.001 * solve(*system))
    assert np.max(jr.lasso_path(*FEW).gaps) <= EXACT


def test_solutions_that_are_not_exact_say_so():
    powers = np.vander(np.linspace(0, 1, 50), 20)
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap of"):
        found = jr.lasso_path(powers, FEW[1], ratio=1e-9, num=10)
    assert 1e-6 < np.max(found.gaps) < 1
    np.testing.assert_array_equal(found.converged, found.gaps <= 1e-6)
    assert np.max(found.gaps[:2]) <= EXACT


def test_no_solution_is_worse_than_the_one_before_it():
    n = np.arange(1.0, 13)
    x, y = 1 / (n[:, None] + n - 1), np.cos(n**2)
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap of"):
        found = jr.lasso_path(x, y, ratio=1e-8, num=50, intercept=False)
    before = np.concatenate([np.zeros((1, 12)), found.coefficients[:-1]])
    factors = Factors(np.ones(12), None, False)
    gaps = gaps_of(Samples(x.T, y), before, found.strengths, factors)
    assert np.all(found.gaps <= np.maximum(gaps, 1e-6) * (1 + 1e-3))


def test_gaps_are_what_residuals_prove():
    x, y = FEW
    xt, w, strength = x.T, 0.01 * np.cos(np.arange(2.0 * len(x.T))).reshape(2, -1), 0.2
    residuals = y - w @ xt
    shrink = np.minimum(1, strength * len(y) / np.max(np.abs(residuals @ x), axis=1))
    primal = np.mean(residuals**2, axis=1) / 2 + strength * np.sum(np.abs(w), axis=1)
    dual = np.mean(y**2) / 2 - np.mean((y - shrink[:, None] * residuals) ** 2, axis=1) / 2
    factors = Factors(np.ones(len(xt)), None, False)
    for source in moments(Samples(xt, y)), Samples(xt, y):
        found = gaps_of(source, w, np.full(2, strength), factors)
        np.testing.assert_allclose(found, (primal - dual) / (np.mean(y**2) / 2))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("intercept", [False, True])
def test_data_may_lie_anywhere_in_memory(order, intercept):
    data, y = random(60, 1200)
    x = np.array(data, order=order)
    options: Any = {"intercept": intercept, "num": 5, "ratio": 0.1}
    found, expected = (jr.lasso_path(z, y, **options) for z in (x, data))
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-10)
    np.testing.assert_array_equal(x, data)


def test_features_far_from_zero_are_centred_to_the_last_digit():
    x = np.sin(np.arange(150.0)).reshape(50, 3) + 2.0**23
    options: Any = {"intercept": True, "standardize": False, "unpenalised": np.arange(0)}
    made = prepare(x, x[:, 0], None, **options)
    np.testing.assert_allclose(np.sum(made.xt, axis=1), 0, atol=1e-12)


def test_many_features_compile_nothing(compilations):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 200_000)), rng.standard_normal(30)
    found = jr.lasso_path(x, y, num=30, ratio=0.05)
    assert np.max(found.gaps) <= EXACT
    assert not compilations


def test_an_accelerator_makes_the_products_by_few_programs(monkeypatch, compilations):
    """Here the CPU is the accelerator."""
    x, y = WIDE
    expected = jr.lasso_path(x, y, num=30, ratio=0.05)
    monkeypatch.setattr(standardize, "on_host", lambda size: False)
    found = jr.lasso_path(x, y, num=30, ratio=0.05)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-10)
    jr.lasso_path(x, 1.1 * y, num=20, ratio=0.1)
    assert 1 <= len(compilations) <= 10  # Not for each number of candidates.


def test_numbers_are_doubles_and_settings_stay_as_they_were():
    found = jr.lasso_path(X, Y, [0.1])
    assert found.coefficients.dtype == np.float64
    assert not jax.config.read("jax_enable_x64")


# Cross-validation.


@EACH
def test_cross_validation_is_a_loop_over_folds(data):
    x, y = data
    weights = 0.5 + np.arange(len(y)) % 2
    options: Any = {"folds": 4, "num": 6, "ratio": 0.05, "sample_weight": weights}
    path = jr.lasso_path(np.asfortranarray(x), y, **options)
    alone = jr.lasso_path(x, y, num=6, ratio=0.05, sample_weight=weights)
    np.testing.assert_allclose(path.coefficients, alone.coefficients, atol=1e-9)
    found = path.validation
    assert alone.validation is None
    assert found is not None
    for k, test in enumerate(np.array_split(np.arange(len(y)), 4)):
        train = np.setdiff1d(np.arange(len(y)), test)
        path = jr.lasso_path(
            x[train], y[train], found.strengths, sample_weight=weights[train]
        )
        errors = (path.predict(x[test]) - y[test]) ** 2
        expected = np.average(errors, axis=1, weights=weights[test])
        np.testing.assert_allclose(found.scores[:, k], expected)
    assert np.max(found.results["gaps"]) <= EXACT
    assert jr.select_best(found) >= jr.one_standard_error(found) > 0


# Bad input.


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.where(X > 0.1, np.nan, X)}, ValueError, "x must be finite"),
        ({"y": np.where(Y > 300, np.inf, Y)}, ValueError, "y must be finite"),
        ({"x": X[0]}, ValueError, r"x must be an array \(samples, features\)"),
        ({"x": X[:, :0]}, ValueError, "one of each at least"),
        ({"y": Y[:5]}, ValueError, "y must hold one number for each of the 442"),
        ({"x": X.astype(str)}, TypeError, "x must hold real numbers"),
        ({"sample_weight": -np.ones(442)}, ValueError, "sample_weight must be non-neg"),
        ({"sample_weight": np.zeros(442)}, ValueError, "with a positive sum"),
        ({"strengths": [-1.0]}, ValueError, "strengths must be non-negative, got -1"),
        ({"strengths": [np.nan]}, ValueError, "strengths must be non-negative, got nan"),
        ({"strengths": np.ones((2, 2))}, ValueError, r"got shape \(2, 2\)"),
        ({"penalty": jr.L1(np.ones(3))}, ValueError, "one for each of the 10 features"),
        ({"penalty": jr.L2(1.0)}, TypeError, "penalty must be an L1.*`elastic_net_path`"),
        ({"penalty": 1.0}, TypeError, "penalty must be an L1, got 1.0"),
        ({"folds": 1}, ValueError, "folds must be at least 2"),
        (
            {"folds": 2, "sample_weight": np.eye(442)[0]},
            ValueError,
            "both parts",
        ),
        ({"num": 0}, ValueError, "num must be at least 1"),
        ({"penalty": jr.L1(np.eye(10)[0]), "positive": True}, ValueError, "small one"),
        ({"num": 2.5}, TypeError, "num must be a whole number, got 2.5"),
        ({"ratio": 2.0}, ValueError, "ratio must be at most 1, got 2"),
        ({"penalty": jr.L1({"kernel": 1.0})}, TypeError, "coefficients are one array"),
        ({"x": X[:1, :2], "y": [3.0], "penalty": jr.L1([0.0, 1.0])}, ValueError, "unique"),
        ({"x": np.c_[X, X], "strengths": 0.0}, ValueError, "10 are independent"),
        (
            {"x": np.ones((442, 1)), "penalty": jr.L1(0.0), "strengths": 1.0},
            ValueError,
            "unique",
        ),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments: Any = {"x": X, "y": Y, **change}
    with pytest.raises(error, match=message):
        jr.lasso_path(**arguments)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (lambda v: jr.lasso_path(v * X, Y, [1.0]), "x"),
        (lambda v: jr.lasso_path(X, v * Y, [1.0]), "y"),
        (lambda v: jr.lasso_path(X, Y, [v]), "strengths"),
        (lambda v: jr.lasso_path(X, Y, penalty=jr.L1(v)), "L1"),
        (lambda v: jr.lasso_path(X, Y, sample_weight=v * Y), "sample_weight"),
        (lambda v: jr.lasso_path(X, Y, ratio=v), "num and ratio"),
        (lambda v: jr.lasso_path(X, Y, [1.0]).predict(v * X), "x"),
        (lambda v: jr.solve.lasso_knots(v * X, Y), "x"),
        (lambda v: jr.lasso_path(X, v * Y, folds=5), "y"),
    ],
)
@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_what_is_traced_is_refused(function, argument, transform):
    with pytest.raises(TypeError, match=f"^{argument} must be known.*use `minimize`"):
        transform(function)(1.0)


def test_known_data_are_solved_where_something_else_is_traced():
    expected = jr.lasso_path(X, Y, [1.0]).coefficients
    found = jax.jit(lambda v: v * jr.lasso_path(X, Y, [1.0]).coefficients)(1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_number_of_knots_is_positive():
    with pytest.raises(ValueError, match="num must be at least 1"):
        jr.solve.lasso_knots(X, Y, num=0)


def test_predictions_need_as_many_features():
    found = jr.lasso_path(X, Y, [1.0])
    for x in (X[:, :5], np.c_[X, X], X[0]):
        with pytest.raises(ValueError, match=r"an array \(samples, 10 features\)"):
            found.predict(x)


def test_a_mask_that_chooses_the_coefficients_changes_nothing():
    expected = jr.lasso_path(X, Y, [1.0])
    found = jr.lasso_path(X, Y, [1.0], penalty=jr.L1(mask=jr.everything))
    np.testing.assert_array_equal(found.coefficients, expected.coefficients)


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"pass x.toarray\(\)"):
        jr.solve.lasso_knots(sparse.csr_array(X), Y)


def test_a_mask_that_leaves_coefficients_out_is_refused():
    with pytest.raises(ValueError, match="chooses none of"):
        jr.elastic_net_path(X, Y, penalty=jr.L1(1.0, mask=lambda params: False))


def test_other_penalties_are_refused():
    with pytest.raises(TypeError, match="penalty must be an L1, L2 or ElasticNet"):
        jr.elastic_net_path(X, Y, penalty=jr.L0(1.0))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="strengths must be given"):
        jr.elastic_net_path(X, Y, penalty=jr.L2(1.0))
