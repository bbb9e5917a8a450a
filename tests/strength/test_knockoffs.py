"""Knockoffs: copies of the right distribution, and few false discoveries."""

import jax
import numpy as np
import pytest

from jaxreg.strength import (
    entry_strengths,
    gaussian_knockoffs,
    knockoff_filter,
    knockoff_importances,
)

SIGMA = 0.6 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))


def gaussian(samples, sigma=SIGMA, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(samples, len(sigma))) @ np.linalg.cholesky(sigma).T


def test_copies_have_the_joint_covariance_of_knockoffs():
    units = np.diag([1.0, 2.0, 0.5, 10.0, 1.0, 3.0])
    x = 7 + gaussian(100_000) @ units
    copies = gaussian_knockoffs(jax.random.key(0), x, covariance=units @ SIGMA @ units)
    z = np.c_[x, copies] @ np.kron(np.eye(2), np.linalg.inv(units))
    joint = np.cov(z.T)
    np.testing.assert_allclose(joint[:6, :6], SIGMA, atol=0.03)
    np.testing.assert_allclose(joint[6:, 6:], SIGMA, atol=0.03)
    off = joint[:6, 6:]
    rest = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(off[rest], SIGMA[rest], atol=0.03)  # Swaps change nothing.
    np.testing.assert_allclose(copies.mean(axis=0), x.mean(axis=0), atol=0.15)
    # Copies differ from their features as much as they can: 2Σ − S is nearly singular.
    assert np.all(np.diag(off) < 0.8)


def test_copies_make_the_determinant_as_large_as_can_be():
    x = gaussian(200_000)
    copies = gaussian_knockoffs(jax.random.key(0), x, covariance=SIGMA)
    s = 1 - np.diag(np.cov(np.c_[x, copies].T)[:6, 6:])

    def objective(s):
        return np.sum(np.log(s)) + np.linalg.slogdet(2 * SIGMA - np.diag(s))[1]

    best = objective(s)
    for j in range(6):
        for change in (-0.05, 0.05):
            assert objective(s + change * np.eye(6)[j]) < best


@pytest.mark.parametrize("q", [0.1, 0.25, 0.5])
def test_the_threshold_is_the_smallest_that_the_definition_allows(q):
    random = np.random.default_rng(0)
    for _ in range(50):
        features, copies = random.integers(0, 9, size=(2, 30)) + [[2], [0]]
        found = knockoff_filter(np.r_[features, copies], q)
        w = features - copies
        allowed = [
            t
            for t in np.unique(np.abs(w))
            if t > 0 and (1 + np.sum(w <= -t)) / max(1, np.sum(w >= t)) <= q
        ]
        assert found.threshold == min(allowed, default=np.inf)
        np.testing.assert_array_equal(found.chosen, w >= found.threshold)


def test_few_of_the_chosen_are_false():
    """Correlations with the target as importances: quick, and anything but perfect."""
    features, rates, found = 40, {0.1: [], 0.2: []}, {0.1: [], 0.2: []}
    sigma = 0.3 ** np.abs(np.subtract.outer(np.arange(features), np.arange(features)))
    for seed in range(60):
        random = np.random.default_rng(seed)
        x = gaussian(250, sigma, seed)
        true = random.permutation(features) < 15
        y = x @ (0.6 * true) + random.normal(size=250)
        copies = gaussian_knockoffs(jax.random.key(seed), x)

        def importance(both, y=y):
            return np.abs(np.linalg.lstsq(both, y, rcond=None)[0])

        values = knockoff_importances(jax.random.key(seed), x, copies, importance)
        for q in rates:
            chosen = knockoff_filter(values, q).chosen
            rates[q].append(np.sum(chosen & ~true) / max(1, np.sum(chosen)))
            found[q].append(np.mean(chosen[true]))
    for q, each in rates.items():
        assert np.mean(each) <= q + 2 * np.std(each) / len(each) ** 0.5
        assert np.mean(found[q]) > 0.4


def test_a_procedure_that_prefers_the_first_columns_gains_nothing():
    x = gaussian(50)
    wins = [
        knockoff_importances(key, x, x[::-1], lambda both: np.arange(12) < 6)[:6]
        for key in jax.random.split(jax.random.key(0), 200)
    ]
    assert np.mean(wins) == pytest.approx(0.5, abs=0.06)


def test_importances_go_back_to_their_columns():
    x = gaussian(50)
    copies = gaussian_knockoffs(jax.random.key(0), x, covariance=SIGMA)
    found = knockoff_importances(jax.random.key(1), x, copies, lambda both: both[0])
    np.testing.assert_allclose(found, np.r_[x[0], copies[0]])


def test_strengths_of_entry():
    path = np.array([[[0.0, 0], [0, 1]], [[0, 0], [0, 0]], [[0, 2], [1, 1]]])
    found = entry_strengths(np.array([3.0, 2.0, 1.0]), path)
    assert found.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: knockoff_filter(np.ones(4), q=0.0), "q must be greater than 0"),
        (lambda: knockoff_filter(np.ones(4), q=1.0), "q must be less than 1, got 1"),
        (lambda: knockoff_filter(np.ones(3)), r"one for each copy, got shape \(3,\)"),
        (lambda: knockoff_filter(np.array([1.0, np.nan])), "must be numbers, got NaN"),
        (
            lambda: gaussian_knockoffs(jax.random.key(0), np.c_[np.ones(5), np.arange(5)]),
            r"not be constant, but these are: \[0\]",
        ),
        (
            lambda: gaussian_knockoffs(
                jax.random.key(0), gaussian(9), covariance=np.ones((6, 6))
            ),
            "positive definite.*copies or sums of others",
        ),
        (
            lambda: gaussian_knockoffs(jax.random.key(0), np.array([[np.nan], [1.0]])),
            "x must be finite",
        ),
        (
            lambda: gaussian_knockoffs(
                jax.random.key(0), gaussian(9), covariance=np.eye(2)
            ),
            "must fit 6 features",
        ),
        (
            lambda: knockoff_importances(
                jax.random.key(0), gaussian(5), gaussian(4), lambda both: both[0]
            ),
            "copies must have the shape of x",
        ),
        (
            lambda: knockoff_importances(
                jax.random.key(0), gaussian(5), gaussian(5), lambda both: 1.0
            ),
            "a number for each of the 12 columns",
        ),
    ],
)
def test_bad_input_is_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


def test_duplicated_features_get_shrunken_correlations():
    x = gaussian(60)
    twice = np.c_[x, x[:, 0]]
    copies = gaussian_knockoffs(jax.random.key(0), twice)
    assert np.all(np.isfinite(copies))
