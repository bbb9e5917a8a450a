"""`minimize`: against scikit-learn, with batches and starts, and given bad input."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import linear_model
from sklearn.datasets import load_breast_cancer, load_diabetes

import jaxreg
from jaxreg import (
    L1,
    L2,
    MCP,
    ElasticNet,
    GroupLasso,
    NonNegativeL1,
    Orthogonality,
    minimize,
    named,
)
from jaxreg.losses import Logistic, Multinomial, Poisson, Squared
from tests.helpers.solving import QUICKLY


def standardized(dataset) -> Any:
    return (dataset.data - dataset.data.mean(0)) / dataset.data.std(0), dataset.target


X, Y = standardized(load_diabetes())
CELLS, CANCER = standardized(load_breast_cancer())
LEVEL = np.digitize(Y, [110, 180])
EXACTLY: dict[str, Any] = {"tol": 1e-12, "max_iter": 10**5}


def zeros(features=X.shape[1], *outputs) -> Any:
    return {"kernel": np.zeros((features, *outputs)), "bias": np.zeros(outputs)}


@functools.partial(jax.jit, compiler_options=QUICKLY)
def compiled(loss, penalty, params, options):
    return minimize(loss, penalty, params, **options)


def solve(loss, penalty, params, **options) -> Any:
    """What `minimize` finds in float64, as numpy arrays; `loss` makes the loss."""
    with jax.enable_x64(True):
        return jax.device_get(compiled(loss(), penalty, params, options))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol * (1 + np.max(np.abs(b), initial=0)))


def squares():
    return Squared(X, Y)


def place(tree, number):
    return jax.tree.map(lambda x: x[number], tree)


# Against scikit-learn, whose intercept is free, too.


MODELS = {
    "lasso": (Squared, L1(2.0), linear_model.Lasso(2.0, **EXACTLY), X, Y),
    "elastic net": (
        Squared,
        ElasticNet(l1=1.2, l2=0.4),
        linear_model.ElasticNet(2.0, l1_ratio=0.6, **EXACTLY),
        X,
        Y,
    ),
    "multinomial": (
        Multinomial,
        L2(0.005),
        linear_model.LogisticRegression(C=1 / (len(X) * 0.01), **EXACTLY),
        X,
        LEVEL,
    ),
    "poisson": (Poisson, L2(0.5), linear_model.PoissonRegressor(**EXACTLY), X, Y),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_that_of_sklearn(name):
    loss, penalty, model, x, y = MODELS[name]
    model.fit(x, y)
    outputs = (3,) if loss is Multinomial else ()
    found = solve(lambda: loss(x, y), penalty, zeros(x.shape[1], *outputs))
    kernel = np.reshape(np.transpose(model.coef_), found.params["kernel"].shape)
    theirs = {"kernel": kernel, "bias": np.reshape(model.intercept_, outputs)}
    with jax.enable_x64(True):
        objective = float(loss(x, y)(theirs) + penalty(theirs))
    assert found.converged
    np.testing.assert_allclose(found.objective, objective, rtol=1e-9)
    close(found.params, theirs, 1e-4, 1e-5)
    np.testing.assert_array_equal(found.params["kernel"] != 0, kernel != 0)
    assert 0 <= found.gap <= 1e-6 * abs(found.objective)


def test_sparse_models_are_those_of_celer():
    celer = pytest.importorskip("celer")
    found = solve(lambda: Logistic(CELLS, CANCER), L1(0.02), np.zeros(CELLS.shape[1]))
    inverse = 1 / (len(CELLS) * 0.02)
    model = celer.LogisticRegression(C=inverse, tol=1e-12, fit_intercept=False)
    w = model.fit(CELLS, CANCER).coef_[0]
    mean = np.mean(np.logaddexp(0, CELLS @ w) - CANCER * (CELLS @ w))
    np.testing.assert_allclose(found.objective, mean + 0.02 * np.abs(w).sum(), rtol=1e-8)
    np.testing.assert_array_equal(found.params != 0, w != 0)
    pairs = GroupLasso(15.0, group_axis=0, labels=np.arange(10) // 2, scale="none")
    found = solve(squares, pairs, zeros())
    model = celer.GroupLasso(groups=2, alpha=15.0, tol=1e-14).fit(X, Y)
    close(found.params["kernel"], model.coef_)
    assert 0 < np.count_nonzero(model.coef_) < 10


def test_derivatives_of_the_lasso_are_those_of_sklearns_solutions():
    def coefficients(strength):
        return linear_model.Lasso(strength, tol=1e-15, max_iter=10**6).fit(X, Y).coef_

    def ours(strength):
        return minimize(Squared(X, Y), L1(strength), zeros()).params["kernel"]

    with jax.enable_x64(True):
        slope = np.asarray(jax.jit(jax.jacrev(ours))(2.0))
    assert 0 < np.sum(slope == 0) < slope.size
    expected = (coefficients(2 + 1e-4) - coefficients(2 - 1e-4)) / 2e-4
    close(slope, expected, 1e-5)


# Certificates.


def test_the_residual_and_the_gap_are_zero_at_the_minimum_only():
    rough = solve(squares, L1(2.0), zeros(), tol=1e-2)
    found = solve(squares, L1(2.0), zeros(), tol=1e-12)
    by_gap = solve(squares, L1(2.0), zeros(), tol=1e-12, gap_tol=1e-3)
    assert found.kkt <= 1e-12 < rough.kkt <= 1e-2
    assert found.steps > by_gap.steps
    for other in (rough, by_gap):
        assert 0 < other.objective - found.objective <= other.gap
    assert by_gap.gap <= 1e-3 * by_gap.objective
    assert by_gap.converged


def test_rounding_does_not_slow_it_down():
    """The last digits take as few steps as the first, for each of 200 problems."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 12))
    y = rng.normal(size=(200, 12)) @ x.T + rng.normal(size=(200, 40))

    @jax.jit
    @jax.vmap
    def steps(y):
        return minimize(Squared(x, y), L1(0.1), jnp.zeros(12), tol=1e-14).steps

    with jax.enable_x64(True):
        assert np.max(steps(y)) <= 120


def test_the_residual_is_relative():
    """Neither the unit of the loss, nor of the weights, nor that of a feature matters."""
    small, large = np.geomspace(1e-4, 1e4, 10), 1e6

    def lasso(x, y, strengths):
        penalty = L1({"kernel": strengths, "bias": 0.0})
        return solve(lambda: Squared(x, y), penalty, zeros())

    found = lasso(X, Y, np.full(10, 2.0))
    for other, unit in (
        (lasso(X * small, Y, 2 * small), 1.0),
        (lasso(X, large * Y, np.full(10, 2 * large)), large),
    ):
        assert abs(int(other.steps) - int(found.steps)) <= 10
        np.testing.assert_allclose(other.objective, unit**2 * found.objective, rtol=1e-9)


def test_a_metric_helps_where_scales_differ():
    scales = np.geomspace(1e-2, 1e2, 10)

    def loss(w):
        return jnp.mean(jnp.square((X * scales) @ w - (Y - Y.mean()))) / 2

    def function():
        return jax.tree_util.Partial(loss)

    found = solve(function, L2(0.0), np.zeros(10), metric=scales**2)
    assert found.converged
    close(found.params * scales, np.linalg.lstsq(X, Y - Y.mean())[0], 1e-5)
    assert solve(function, L2(0.0), np.zeros(10), max_steps=3000).status == 1


# What is optimised, and from where.


def test_every_parameter_is_optimised_and_nothing_else_changes():
    """Two penalties on a nested tree, an intercept, and a counter."""
    params = {
        "first": {"kernel": jnp.zeros(4)},
        "second": {"kernel": jnp.zeros(6, jnp.float16), "bias": jnp.zeros(())},
        "count": jnp.array(7),
    }

    def loss(params, x):
        first, second = params["first"]["kernel"], params["second"]["kernel"]
        eta = x[:, :4] @ first + x[:, 4:] @ second + params["second"]["bias"]
        return jnp.mean(jnp.square(eta - Y)) / 2

    penalty = L1(2.0, mask=named("first")) + L2(0.5, mask=named("second/kernel"))
    found = minimize(loss, penalty, params, X)
    assert found.params["count"] == 7
    assert found.params["second"]["kernel"].dtype == jnp.float32
    w = np.concatenate([found.params[name]["kernel"] for name in ("first", "second")])
    np.testing.assert_allclose(found.params["second"]["bias"], Y.mean(), rtol=1e-5)
    slopes = X.T @ (Y - Y.mean() - X @ w) / len(X)
    near = 1e-3 * np.max(np.abs(X.T @ Y / len(X)))
    assert np.all(np.abs(slopes[:4] - 2 * np.sign(w[:4]))[w[:4] != 0] < near)
    assert np.all(np.abs(slopes[:4]) <= 2 + near)
    assert np.any(w[:4] == 0)
    np.testing.assert_allclose(slopes[4:], w[4:], atol=near)


@pytest.fixture(scope="module")
def counted():
    """The lasso by a loss that counts how often it is traced."""
    traces = []

    def loss(params, x, y):
        traces.append(1)
        return jnp.mean(jnp.square(x @ params["kernel"] + params["bias"] - y)) / 2

    return loss, traces


def test_float32_converges_and_a_new_strength_or_start_compiles_nothing(counted):
    loss, traces = counted
    found = minimize(loss, L1(2.0), zeros(), X, Y)
    before = len(traces)
    model = linear_model.Lasso(2.0, **EXACTLY).fit(X, Y)
    assert found.params["kernel"].dtype == jnp.float32
    close(found.params["kernel"], model.coef_, 1e-3, 1e-4)
    again = minimize(loss, L1(2.0), found.params, X, Y)
    assert again.steps <= 10 < found.steps
    close(again.params, found.params, 1e-3, 1e-4)
    minimize(loss, L1(5.0), zeros(), 2 * X, -Y, max_steps=500)
    assert len(traces) == before


def test_batches_are_solved_together():
    """Over strengths, and over weights of the samples and starts."""
    strengths = np.array([0.5, 2.0, 50.0])
    rng = np.random.default_rng(0)
    folds = rng.integers(0, 2, (3, len(X))) * 1.0
    starts = {"kernel": rng.normal(size=(3, 10)), "bias": np.ones(3)}

    def lasso(strength, fold, start):
        return minimize(Squared(X, Y, fold), L1(strength), start)

    with jax.enable_x64(True):
        together = jax.device_get(jax.jit(jax.vmap(lasso))(strengths, folds, starts))
    for i, strength in enumerate(strengths):
        here = place(together, i)
        assert here.converged
        kept = np.asarray(folds[i], bool)
        model = linear_model.Lasso(strength, **EXACTLY).fit(X[kept], Y[kept])
        close(here.params["kernel"], model.coef_, 1e-4, 1e-4)


# Derivatives, in reverse.


def several(inputs, x, parts):
    """A scalar of a solution under four penalties at once."""
    penalty = (
        L1(inputs["l1"], mask=named("a"))
        + ElasticNet(*inputs["net"], mask=named("b"))
        + GroupLasso(inputs["group"], group_axis=(), mask=named("c"))
        + NonNegativeL1(inputs["positive"], mask=named("d"))
    )

    def loss(params):  # What a loss captures counts too.
        eta = x @ jnp.concatenate([params[name] for name in "abcd"])
        return jnp.mean(jnp.square(eta - inputs["y"])) / 2

    found = minimize(loss, penalty, parts, tol=1e-12)
    return sum(jnp.sum(jnp.sin(w)) for w in jax.tree.leaves(found.params))


def test_hypergradients_in_reverse_are_finite_differences():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(40, 12)))
        y = x @ rng.uniform(0.5, 2.0, 12) + rng.normal(size=40)
        inputs = {"l1": 0.1, "net": (0.1, 0.1), "group": 0.1, "positive": 0.1, "y": y}
        inputs = jax.tree.map(jnp.asarray, inputs)
        parts = {name: jnp.zeros(3) for name in "abcd"}
        both = jax.jit(jax.value_and_grad(several, argnums=(0, 2)))
        gradient, of_start = both(inputs, x, parts)[1]
        assert not any(np.any(leaf) for leaf in of_start.values())
        for i, leaf in enumerate(jax.tree.leaves(gradient)):
            moved = []
            for distance in (1e-5, -1e-5):
                leaves, structure = jax.tree.flatten(inputs)
                leaves[i] = leaves[i].at[(0,) * leaf.ndim].add(distance)
                moved.append(both(jax.tree.unflatten(structure, leaves), x, parts)[0])
            expected = (moved[0] - moved[1]) / 2e-5
            assert expected != 0
            np.testing.assert_allclose(jnp.ravel(leaf)[0], expected, rtol=1e-5)


def test_derivatives_of_ridge_at_any_order():
    """w = (XᵀX/n + 2·strength)⁻¹·Xᵀy/n, which JAX differentiates by itself."""

    def ours(strength):
        return minimize(Squared(X, Y), L2(strength), jnp.zeros(10), tol=1e-13).params

    def theirs(strength):
        gram = X.T @ X / len(X) + 2 * strength * jnp.eye(10)
        return jnp.linalg.solve(gram, X.T @ Y / len(X))

    with jax.enable_x64(True):
        ours, theirs = (
            jax.device_get(
                jax.jit(lambda s, f=f: jax.jvp(jax.jacrev(f), (s,), (1.0,)))(0.5)
            )
            for f in (ours, theirs)
        )
    close(ours, theirs, 1e-6)


# What is not convex, and what goes wrong.


def test_solutions_are_local_where_the_penalty_is_not_convex():
    """MCP has a minimum at 0 and one further out: where it starts, it ends."""
    loss = Squared(np.sqrt(0.4) * np.eye(2), np.sqrt(0.4) * np.array([2.6, 2.6]))
    penalty = MCP(1.0, gamma=1.5)
    found = minimize(loss, penalty, jnp.array([0.0, 2.4]))
    assert found.converged
    np.testing.assert_allclose(found.params, [0.0, 2.6], atol=1e-3)
    assert np.isinf(found.gap)


def fails(message, *arguments, error: type[Exception] = ValueError, **options):
    with pytest.raises(error, match=re.escape(message)):
        minimize(*arguments, **options)


def test_a_loss_that_is_not_finite_is_refused():
    def loss(w, scale):
        return -scale * jnp.sum(jnp.square(w))

    w = np.ones(2, np.float32)
    fails("finite and smooth, but after 0 steps", loss, L1(0.1), w, np.nan)
    fails("finite and smooth", loss, L1(0.1), w, 1.0)
    assert jax.jit(lambda w: minimize(loss, L1(0.1), w, np.nan).status)(w) == 2


def test_too_few_steps_are_said(counted):
    with pytest.warns(RuntimeWarning, match="Not converged: after 3 steps .* max_steps"):
        found = minimize(counted[0], L1(2.0), zeros(), X, Y, max_steps=jnp.int32(3))
    assert not found.converged
    assert found.kkt > 1e-6
    assert found.steps == 3


def test_bad_arguments_are_refused():
    loss, w = Squared(X, Y), jnp.zeros(10)
    fails("penalty must be a jaxreg penalty", loss, 0.1, w, error=TypeError)
    fails("loss must be a function", Y, L1(), w, error=TypeError)
    fails("params must have floating-point", loss, L1(), np.arange(10))
    fails("params must be real", loss, L1(), w + 1j, error=TypeError)
    fails("max_steps must be at least 1, got 0", loss, L1(), w, max_steps=0)
    fails("max_steps must be a whole", loss, L1(), w, max_steps="a", error=TypeError)
    fails("tol must be greater than 0", loss, L1(), w, tol=0.0)
    fails("gap_tol must be greater", loss, L1(), w, gap_tol=-1.0)
    fails("The metric must be greater than 0", loss, L1(), w, metric=jnp.zeros(10))
    fails("must broadcast against the array given", loss, L1(), w, metric=jnp.ones(3))
    fails("loss must return a scalar, got shape (10,)", lambda w: w, L1(), w)
    fails("Use SparseGroupLasso(l1, group)", loss, L1() + GroupLasso(), w)
    fails(
        "Orthogonality has no prox", loss, Orthogonality(mask=jaxreg.everything), w[:, None]
    )


def test_it_can_be_exported_for_every_platform():
    def solve(strength, start):
        return minimize(Squared(X, Y), L1(strength), start)._replace(params=None)

    exported = jax.export.export(jax.jit(solve), platforms=("cpu", "cuda", "tpu"))
    assert exported(1.0, zeros()).platforms == ("cpu", "cuda", "tpu")
