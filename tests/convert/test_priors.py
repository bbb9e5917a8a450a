"""A penalised mean loss is a posterior: against scikit-learn, scipy, and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge

import jaxreg as jr

NUMBERS = [(0.01, 50, 1.0), (3.0, 7, 0.5)]
SCALES = [
    (jr.L2, jr.convert.gaussian_scale, jr.convert.gaussian_strength, stats.norm),
    (jr.L1, jr.convert.laplace_scale, jr.convert.laplace_strength, stats.laplace),
]


@pytest.mark.parametrize(("penalty", "scale_of", "strength_of", "law"), SCALES)
@pytest.mark.parametrize(("strength", "samples", "variance"), NUMBERS)
def test_the_prior_has_the_density_that_the_penalty_states(
    penalty, scale_of, strength_of, law, strength, samples, variance
):
    given = {"n_samples": samples, "noise_variance": variance}
    scale = float(scale_of(strength, **given))
    assert strength_of(scale, **given) == pytest.approx(strength, rel=1e-6)
    points = np.array([[0.0, 0.0], [0.3, -1.0], [2.0, 0.1]], np.float32)
    ours = [jr.convert.log_prior(penalty(strength), w, **given) for w in points]
    theirs = law.logpdf(points, scale=scale).sum(axis=1)
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), rtol=1e-5)


def test_a_prior_of_bayesian_ridge_gives_its_coefficients():
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    x, y = x - x.mean(axis=0), y - y.mean()
    theirs = BayesianRidge(fit_intercept=False, tol=1e-12, max_iter=2000).fit(x, y)
    variance, scale = float(1 / theirs.alpha_), float(1 / np.sqrt(theirs.lambda_))
    with jax.enable_x64(True):
        penalty = jr.L2(
            jr.convert.gaussian_strength(scale, n_samples=len(y), noise_variance=variance)
        )

        def log_posterior(w):
            likelihood = -jnp.sum((x @ w - y) ** 2) / (2 * variance)
            return likelihood + jr.convert.log_prior(
                penalty, w, n_samples=len(y), noise_variance=variance
            )

        def objective(w):
            return jnp.mean((x @ w - y) ** 2) / 2 + penalty(w)

        w = jnp.asarray(theirs.coef_)
        for function in (log_posterior, objective):
            slope = jax.grad(function)(w)
            assert np.max(np.abs(slope)) < 1e-9 * np.max(np.abs(jax.grad(function)(0 * w)))


def test_strengths_of_zero_and_arrays():
    assert (
        jr.convert.gaussian_scale(0.0, n_samples=5)
        == jr.convert.laplace_scale(0.0, n_samples=5)
        == np.inf
    )
    np.testing.assert_allclose(
        jr.convert.laplace_scale(np.array([1.0, 2.0]), n_samples=4), [0.25, 0.125]
    )
    of_one = functools.partial(jr.convert.laplace_strength, n_samples=1)
    assert jax.grad(of_one)(2.0) == pytest.approx(-0.25)


@pytest.mark.parametrize("function", [f for _, *both, _ in SCALES for f in both])
def test_mistakes_are_named(function):
    with pytest.raises(ValueError, match=r"(strength|scale) must be non-negative, got -1"):
        function(-1.0, n_samples=5)
    with pytest.raises(ValueError, match="samples must be greater than 0, got 0"):
        function(1.0, n_samples=0)
    with pytest.raises(ValueError, match="noise_variance must be greater than 0, got nan"):
        function(1.0, n_samples=5, noise_variance=float("nan"))


def test_log_prior_refuses_what_is_no_penalty():
    with pytest.raises(TypeError, match="must be a jaxreg penalty"):
        jr.convert.log_prior(0.1, jnp.ones(2), n_samples=5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="samples must be greater than 0"):
        jr.convert.log_prior(jr.L1(), jnp.ones(2), n_samples=-5)
