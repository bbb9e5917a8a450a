"""Sparse features: the path of the same numbers in a dense array, up to rounding."""

import tracemalloc
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from jax.experimental import sparse as jax_sparse

import jaxreg as jr
from jaxreg import linear
from jaxreg.solve import sparse
from jaxreg.solve.lasso import _least_squares, _sparse_path

EXACT = 1e-12


def random(samples, features, density, seed=0):
    """Sparse features, an empty one, a constant, and one far from zero."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features))
    x *= rng.random(x.shape) < density
    y = x[:, 5:10] @ [3.0, -2.0, 1.0, 4.0, -1.0] + rng.standard_normal(samples)
    x[:, 1], x[:, 2], x[:, 3] = 0.0, 3.0, rng.random(samples) + 1000
    return x, y, rng.random(samples)


FEW, NARROW = random(50, 20, 0.3), random(60, 70, 0.3)
WIDE = random(60, 1100, 0.1)
"""More features than have a Gram matrix."""
TWICE = np.c_[WIDE[0], WIDE[0]], *WIDE[1:]
FACTORS = np.r_[np.ones(3), 0.0, 1.0, 1.0, np.inf]


def factors(features):
    return jr.L1(np.r_[FACTORS, np.ones(features - len(FACTORS))])


def assert_same(found, expected, x):
    np.testing.assert_allclose(found.strengths, expected.strengths, rtol=1e-10)
    scales = np.sqrt(np.mean((x - x.mean(0)) ** 2, axis=0)) + 1e-300
    np.testing.assert_allclose(
        found.coefficients * scales, expected.coefficients * scales, atol=1e-9
    )
    np.testing.assert_allclose(found.predict(x), expected.predict(x), atol=1e-8)
    assert found.null_loss == pytest.approx(expected.null_loss)
    assert np.max(np.abs(found.gaps)) <= EXACT


OPTIONS: list[dict[str, Any]] = [
    {},
    {"standardize": True},
    {"intercept": False, "strengths": [0.1, 0.01]},
    {"positive": True},
    {"penalty": jr.ElasticNet(1.0, 0.3)},
    {"penalty": "factors"},
    {"penalty": jr.L2(1.0), "strengths": [1.0, 0.1]},
]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        *((FEW, options) for options in OPTIONS),
        (NARROW, {}),
        (WIDE, {}),
        (WIDE, OPTIONS[-2]),
    ],
    ids=lambda part: str(part if isinstance(part, dict) else part[0].shape),
)
def test_the_path_is_that_of_the_dense_array(data, options):
    x, y, weights = data
    given: Any = {"num": 8, "ratio": 0.03, "penalty": None, **options}
    if options.get("penalty") == "factors":
        given["penalty"] = factors(x.shape[1])
    expected = jr.elastic_net_path(x, y, sample_weight=weights, **given)
    found = jr.elastic_net_path(sp.csr_array(x), y, sample_weight=weights, **given)
    assert_same(found, expected, x)


def test_features_in_large_numbers_are_solved_for_by_products(monkeypatch):
    x, y, _ = WIDE
    expected = jr.lasso_path(x, y, num=8, ratio=0.03)
    monkeypatch.setattr(_sparse_path, "DIRECT", 0)
    assert_same(jr.lasso_path(sp.csc_matrix(x), y, num=8, ratio=0.03), expected, x)


def test_the_gram_matrix_of_active_features_starts_anew_when_it_is_full(monkeypatch):
    x, y, _ = WIDE
    expected = jr.lasso_path(x, y, num=8, ratio=0.03)
    most = int(np.max(np.count_nonzero(expected.coefficients, axis=1)))
    monkeypatch.setattr(_sparse_path, "DIRECT", most * 5 // 8)
    assert_same(jr.lasso_path(sp.csc_matrix(x), y, num=8, ratio=0.03), expected, x)


@pytest.mark.parametrize("options", [{}, {"positive": True}], ids=str)
def test_what_guesses_do_not_settle_the_homotopy_does(options, monkeypatch):
    """About as many active features as samples, each of them twice."""
    x, y, _ = TWICE
    rests = []
    screened = _sparse_path.screened_path

    def spy(source, factors, strengths, start):
        rests.append(len(strengths))
        return screened(source, factors, strengths, start)

    monkeypatch.setattr(_sparse_path, "screened_path", spy)
    found = jr.lasso_path(sp.csr_array(x), y, num=15, ratio=1e-4, **options)
    expected = jr.lasso_path(x, y, num=15, ratio=1e-4, **options)
    assert rests
    assert rests[0] < 15
    assert np.max(np.abs(found.gaps)) <= EXACT
    np.testing.assert_allclose(found.predict(x), expected.predict(x), atol=1e-8)


KINDS = {
    "csr array": sp.csr_array,
    "csc matrix": sp.csc_matrix,
    "coo array": sp.coo_array,
    "lil matrix": sp.lil_matrix,
    "bcoo": lambda x: jax_sparse.BCOO.fromdense(x, nse=x.size),  # With padding.
    "bcsr": jax_sparse.BCSR.fromdense,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_sparse_array(kind):
    x, y, _ = FEW
    with jax.enable_x64(True):
        given = KINDS[kind](x)
    expected = jr.lasso_path(x, y, num=5)
    found = jr.lasso_path(given, y, num=5)
    assert_same(found, expected, x)
    np.testing.assert_allclose(found.predict(given), expected.predict(x))


def test_entries_that_occur_twice_add_up_and_the_matrix_is_not_changed():
    x, y, _ = FEW
    row, column = np.nonzero(x)
    half = x[row, column] / 2
    twice = (np.r_[half, half], (np.r_[row, row[::-1]], np.r_[column, column[::-1]]))
    twice[0][len(half) :] = half[::-1]
    coo = sp.coo_array(twice, shape=x.shape)
    order = np.lexsort((-coo.coords[1], coo.coords[0]))  # Rows, and columns that fall.
    starts = np.searchsorted(coo.coords[0][order], np.arange(len(x) + 1))
    arrays = coo.data[order], coo.coords[1][order].astype(np.int64), starts.astype(np.int64)
    csr = sp.csr_array(arrays, shape=x.shape)
    csc: Any = sp.csc_array(sp.csc_matrix(x).multiply(2.0))
    csc.data = csc.data * 0.5
    expected = jr.lasso_path(x, y, num=5)
    for given in (coo, csr, csc):
        before = given.data.copy(), given.nnz
        assert_same(jr.lasso_path(given, y, num=5), expected, x)
        assert np.array_equal(given.data, before[0])
        assert given.nnz == before[1]


def test_folds():
    x, y, weights = NARROW
    options: Any = {"num": 6, "ratio": 0.03, "folds": 3, "sample_weight": weights}
    expected: Any = jr.lasso_path(x, y, **options).validation
    found: Any = jr.lasso_path(sp.csr_array(x), y, **options).validation
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_any_scale(scale):
    x, y, _ = FEW
    found = jr.lasso_path(sp.csr_array(x * scale), y, num=5, standardize=True)
    expected = jr.lasso_path(x, y, num=5, standardize=True)
    np.testing.assert_allclose(found.predict(x * scale), expected.predict(x), atol=1e-8)


def test_least_squares_where_they_fit_into_memory(monkeypatch):
    x, y, _ = FEW
    x = np.delete(x, [1, 2], axis=1)
    expected = jr.lasso_path(x, y, [0.0])
    assert_same(jr.lasso_path(sp.csr_array(x), y, [0.0]), expected, x)
    monkeypatch.setattr(_least_squares, "MOST_DENSE", 100)
    with pytest.raises(ValueError, match="give a small positive strength"):
        jr.lasso_path(sp.csr_array(x), y, [0.0])


def with_nan(x):
    x = sp.csr_array(x)
    x.data[3] = np.nan
    return x


def out_of_range(x):
    x = sp.csc_array(x)
    x.indices = x.indices + 7
    return x


BAD = [
    (lambda x, y: (with_nan(x), y), ValueError, "x must be finite"),
    (lambda x, y: (out_of_range(x), y), ValueError, "row indices from 0 to 49"),
    (lambda x, y: (sp.csr_array(x * 1j), y), TypeError, "x must hold real numbers"),
    (
        lambda x, y: (sp.csr_array(x), sp.csr_array(y[:, None])),
        TypeError,
        "y must be a dense",
    ),
    (lambda x, y: (sp.csr_array(x)[:40], y), ValueError, "each of the 40 samples"),
    (lambda x, y: (sp.csr_array((50, 0)), y), ValueError, "one of each at least"),
    (lambda x, y: (sp.coo_array(y), y), ValueError, r"got shape \(50,\)"),
    (
        lambda x, y: (jax_sparse.BCOO.fromdense(jnp.asarray(x), n_dense=1), y),
        TypeError,
        "without batch and dense dimensions",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        jr.lasso_path(*change(*FEW[:2]))


def test_a_traced_array_is_refused():
    x = jax_sparse.BCOO.fromdense(jnp.asarray(FEW[0]))
    with pytest.raises(TypeError, match="JAX traces it"):
        jax.jit(lambda x: jr.lasso_path(x, FEW[1]))(x)


CASES = [
    ("Lasso", {"alpha": 0.05}),
    ("ElasticNet", {"alpha": 0.05, "fit_intercept": False, "positive": True}),
    ("LassoCV", {"cv": 3, "alphas": [0.3, 0.1, 0.05]}),
    ("ElasticNetCV", {"cv": 3, "alphas": [0.3, 0.1, 0.05], "l1_ratio": [0.4, 0.9]}),
]


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_estimators_take_sparse_data(name, parameters):
    x, y, _ = NARROW
    x = sp.csr_matrix(np.delete(x, 3, axis=1))
    found = getattr(linear, name)(**parameters).fit(x, y)
    theirs = getattr(sklearn.linear_model, name)(tol=1e-10, max_iter=10**5, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(x, y)
    np.testing.assert_allclose(found.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(found.predict(x), theirs.predict(x), atol=1e-5)
    if "CV" in name:
        np.testing.assert_allclose(found.mse_path_, theirs.mse_path_, rtol=1e-6)
        assert found.alpha_ == theirs.alpha_


@pytest.mark.parametrize("options", [{}, {"standardize": True}], ids=str)
def test_numbers_of_32_bits_are_computed_with_in_double_precision(
    options: Any, monkeypatch
):
    monkeypatch.setattr(sparse, "ENTRIES", 50)  # Several blocks of columns.
    x, y, weights = FEW
    given = sp.csc_array(x.astype(np.float32))
    options = {"num": 8, "ratio": 0.03, **options}
    more: Any
    for more in ({}, {"sample_weight": weights}):
        expected = jr.lasso_path(given.toarray().astype(float), y, **more, **options)
        assert_same(jr.lasso_path(given, y, **more, **options), expected, given.toarray())


def allocated(run):
    """The most memory that a function allocates, in bytes."""
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entries_are_not_copied(dtype):
    rng = np.random.default_rng(0)
    given: Any = sp.random_array((10_000, 2_000), density=0.05, rng=rng, format="csc")
    given = given.astype(dtype)
    size = given.data.nbytes + given.indices.nbytes
    before = given.data.copy()
    y = given[:, :5].sum(1) + rng.standard_normal(10_000) / 100
    found: list[Any] = []
    jr.lasso_path(given, y, [0.01])  # Imports allocate, too.
    most = allocated(lambda: found.append(jr.lasso_path(given, y, num=5, ratio=0.5)))
    assert np.max(np.abs(found[0].gaps)) <= EXACT
    assert np.count_nonzero(found[0].coefficients[-1])
    assert most < size
    np.testing.assert_array_equal(given.data, before)
