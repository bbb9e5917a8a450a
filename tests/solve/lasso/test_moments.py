"""Least squares from moments: the path of the data in memory, from sums of parts."""

import json
import socket
import tracemalloc
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import jaxreg as jr
from jaxreg.solve import Moments
from tests.helpers.processes import outputs, start


def random(samples, features, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features))
    x[:, 1:] += 0.5 * x[:, :-1]
    y = x[:, :4] @ [3.0, -2.0, 1.0, 4.0] + rng.standard_normal(samples)
    return x + 2.0, y, rng.random(samples)


FEW, NARROW = random(50, 20), random(60, 70)
CONSTANT = random(50, 20)
CONSTANT[0][:, 3] = 0.1  # Whose sums are rounded.
TWICE = np.c_[FEW[0], FEW[0][:, 1]], *FEW[1:]
KINDS = {"few": FEW, "narrow": NARROW, "constant": CONSTANT}
OPTIONS = [{}, {"standardize": True}, {"intercept": False}, {"positive": True}]


def in_parts(data, parts):
    """The moments of each part of the rows."""
    return [Moments.of(*(z[i::parts] for z in data)) for i in range(parts)]


def total(parts) -> Any:
    return sum(parts)


def assert_same(found, expected, tol=1e-10):
    np.testing.assert_allclose(found.strengths, expected.strengths, rtol=tol)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=tol)
    np.testing.assert_allclose(found.intercepts, expected.intercepts, atol=tol)
    assert found.null_loss == pytest.approx(expected.null_loss, rel=tol)
    assert np.max(np.abs(found.gaps)) <= 1e-12


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_path_is_that_of_the_data_in_memory(kind, options):
    x, y, weights = KINDS[kind]
    grid: Any = {"num": 10, "ratio": 0.01, **options}
    expected = jr.lasso_path(x, y, sample_weight=weights, **grid)
    assert_same(jr.lasso_path(sum(in_parts(KINDS[kind], 7)), **grid), expected)


@pytest.mark.parametrize(
    "penalty",
    [jr.L2(0.3), jr.ElasticNet(1.0, np.arange(20.0)), jr.L1(np.r_[0.0, np.ones(19)])],
    ids=["ridge", "elastic net", "unpenalised"],
)
def test_other_penalties(penalty):
    x, y, weights = FEW
    options: Any = {"strengths": [1.0, 0.01], "penalty": penalty}
    expected = jr.elastic_net_path(x, y, sample_weight=weights, **options)
    assert_same(jr.elastic_net_path(Moments.of(*FEW), **options), expected)


def test_least_squares_and_features_that_depend_on_each_other():
    x, y, weights = FEW
    expected = jr.lasso_path(x, y, [0.0], sample_weight=weights)
    assert_same(jr.lasso_path(Moments.of(*FEW), strengths=[0.0]), expected)
    expected = jr.lasso_path(*TWICE[:2], [0.1], sample_weight=weights)
    found = jr.lasso_path(Moments.of(*TWICE), strengths=[0.1])
    np.testing.assert_allclose(found.predict(TWICE[0]), expected.predict(TWICE[0]))
    assert np.max(found.gaps) <= 1e-12


@given(st.permutations(range(6)), st.integers(1, 5))
def test_the_order_of_parts_does_not_matter(order, cut):
    parts = in_parts(FEW, 6)
    shuffled = [parts[i] for i in order]
    joined = total(shuffled[:cut]) + total(shuffled[cut:])
    whole = Moments.of(*FEW)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(joined, name), value, atol=1e-12, rtol=1e-12)


def test_what_is_constant_but_for_rounding_is_constant():
    x, _ = total(in_parts(CONSTANT, 7)).samples()
    assert np.ptp(x[:, 3]) == 0


def test_means_that_are_large_cost_no_digits():
    x, y, _ = FEW
    offset = 2.0**30
    near, far = (
        total(Moments.of(x[i::5].round(6) + shift, y[i::5]) for i in range(5))
        for shift in (0.0, offset)
    )
    np.testing.assert_allclose(far.scatter, near.scatter, atol=1e-4)


def test_float32_is_summed_in_float64():
    x, y = (part.astype(np.float32) for part in FEW[:2])
    expected = Moments.of(x.astype(float), y.astype(float))
    for found in (Moments.of(x, y), Moments.of(jnp.asarray(x), jnp.asarray(y))):
        np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-14)
        assert found.scatter.dtype == np.float64


def test_samples_have_the_same_moments():
    whole = Moments.of(*FEW)
    found = Moments.of(*whole.samples())
    np.testing.assert_allclose(found.mean, whole.mean)
    np.testing.assert_allclose(
        found.scatter / found.weight, whole.scatter / whole.weight, atol=1e-12
    )


def test_cross_validation_leaves_out_each_part():
    x, y, weights = FEW
    indices = np.arange(len(y))
    folds = [(indices[indices % 3 != i], indices[i::3]) for i in range(3)]
    grid: Any = {"num": 5, "ratio": 0.01}
    expected = jr.lasso_path(x, y, sample_weight=weights, folds=folds, **grid).validation
    parts = in_parts(FEW, 3)
    found = jr.lasso_path(total(parts), folds=parts, **grid).validation
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-10)


def test_rows_of_a_file_are_read_a_few_at_a_time(tmp_path):
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=(200_000, 50))
    file[:] = np.sin(np.arange(50))
    y = np.arange(200_000, dtype=np.float32)
    tracemalloc.start()
    found = Moments.of(file, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.weight == 200_000
    assert peak < file.nbytes  # Which is half of what it takes in float64.


def test_batches_without_weight_change_nothing():
    x, y, _ = FEW
    nothing = Moments.of(x + 5, y, np.zeros(len(y)))
    whole = Moments.of(x, y)
    for found in (nothing + whole, whole + nothing):
        assert np.array_equal(found.scatter, whole.scatter)
    with pytest.raises(ValueError, match="must have a positive weight, got 0"):
        jr.lasso_path(nothing)


BAD = [
    (lambda x, y: Moments.of(np.where(x > 3, np.nan, x), y), ValueError, "must be finite"),
    (lambda x, y: Moments.of(1e200 * x, y), ValueError, "must be finite"),
    (lambda x, y: Moments.of(x, y[1:]), ValueError, "each of the 50 samples"),
    (
        lambda x, y: Moments.of(x, y[:, None]),
        ValueError,
        r"y must be an array \(samples,\)",
    ),
    (lambda x, y: Moments.of(x, y, -y), ValueError, "sample_weight must be non-negative"),
    (lambda x, y: Moments.of(x.astype(str), y), TypeError, "x must hold real numbers"),
    (lambda x, y: Moments.of(x, y) + Moments.of(x[:, 1:], y), ValueError, "got 20 and 19"),
    (lambda x, y: total([Moments.of(x, y), 1]), TypeError, "unsupported operand"),
    (
        lambda x, y: jr.lasso_path(Moments.of(x, y), y),
        TypeError,
        "y and sample_weight must",
    ),
    (lambda x, y: jr.lasso_path(x), TypeError, "y must be given"),
    (
        lambda x, y: jr.lasso_path(Moments.of(x, y), folds=3),
        TypeError,
        "folds must be a list",
    ),
    (
        lambda x, y: jr.lasso_path(Moments.of(x, y), folds=in_parts((x[1:], y[1:]), 2)),
        ValueError,
        r"pass sum\(folds\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(*FEW[:2])


@pytest.mark.processes
@pytest.mark.xdist_group("sharding")
def test_rows_on_eight_devices():
    (printed,) = outputs(start("tests.helpers.moments", devices=8))
    report = json.loads(printed)
    assert "must be sharded over samples alone" in report.pop("split features")
    assert len(report) == 4
    assert max(report.values()) <= 1e-12


@pytest.mark.processes
@pytest.mark.xdist_group("sharding")
def test_rows_of_two_processes():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    both = [start("tests.helpers.moments", port, str(rank), devices=4) for rank in (0, 1)]
    for printed in outputs(*both):
        assert json.loads(printed.splitlines()[-1])["all"] <= 1e-12
