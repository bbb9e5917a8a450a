"""At the critical strength the penalised parameters are zero, just below it not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import ElasticNetCV, LassoCV
from sklearn.preprocessing import StandardScaler

import jaxreg as jr
from jaxreg.penalties.fields import strength_fields
from jaxreg.strength.critical import _held
from tests.helpers.strategies import PENALTIES, SHAPE


def scaled(load):
    x, y = load(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def squared(params, x, y):
    return jnp.mean((x @ params["kernel"] + params["bias"] - y) ** 2) / 2


def logistic(params, x, y):
    scores = x @ params["kernel"] + params["bias"]
    return jnp.mean(optax.sigmoid_binary_cross_entropy(scores, y))


def multinomial(params, x, y):
    scores = x @ params["kernel"] + params["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def zeros_for(x, outputs=()):
    dtype = jnp.result_type(float)
    return {
        "kernel": np.zeros((x.shape[1], *outputs), dtype),
        "bias": np.zeros(outputs, dtype),
    }


DIABETES, CANCER, WINE = map(scaled, (load_diabetes, load_breast_cancer, load_wine))
LABELS = np.arange(10) // 2
PROBLEMS = {
    "lasso": (squared, DIABETES, (), jr.L1(), 45.16003),
    "elastic net": (squared, DIABETES, (), jr.ElasticNet(0.5, 0.2), 2 * 45.16003),
    "logistic": (logistic, CANCER, (), jr.L1(), 0.3836832),
    "multinomial": (multinomial, WINE, (3,), jr.L1(), 0.3893007),
    "groups": (squared, DIABETES, (), jr.GroupLasso(labels=LABELS), None),
    "group rows": (multinomial, WINE, (3,), jr.GroupLasso(group_axis=0), 0.285816),
    "sparse groups": (
        multinomial,
        WINE,
        (3,),
        jr.SparseGroupLasso(0.5, 0.5, group_axis=0),
        0.3108789,
    ),
    "MCP": (squared, DIABETES, (), jr.MCP(), 45.16003),
}


@functools.partial(jax.jit, static_argnums=0)
def solve(value, penalty, params, data):
    """The minimiser, by proximal gradient descent with a step that is short enough."""
    x = data[0]
    step = len(x) / (jnp.linalg.norm(x, 2) ** 2 + len(x))

    def advance(_, params):
        gradients = jax.grad(value)(params, *data)
        moved = jax.tree.map(lambda w, g: w - step * g, params, gradients)
        return penalty.prox(moved, step)

    return jax.lax.fori_loop(0, 2000, advance, params)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PROBLEMS)
def test_everything_is_zero_at_it_and_not_below(name):
    value, data, outputs, penalty, expected = PROBLEMS[name]
    with jax.enable_x64(True):
        start = zeros_for(data[0], outputs)
        critical = jr.strength_max(lambda params: value(params, *data), penalty, start)
        if expected is not None:
            assert float(critical) == pytest.approx(expected, rel=2e-7)
        one = len(jax.tree.leaves(penalty)) == 1
        for factor, is_zero in {1.001: True, 0.99: False}.items():
            strength = factor * critical
            at = penalty.replace(strength=strength) if one else penalty * strength
            solution = solve(value, at, start, data)
            assert jnp.all(solution["kernel"] == 0) == is_zero
            assert not np.any(np.asarray(solution["bias"]) == 0)


def test_the_grids_of_scikit_learn():
    x, y = map(np.asarray, load_diabetes(return_X_y=True, scaled=False))
    x = x.astype(np.float32)

    def grid(penalty):
        def loss(params):
            return squared(params, x, y)

        return jr.strength_grid(jr.strength_max(loss, penalty, zeros_for(x)))

    lasso = LassoCV(cv=2).fit(x.astype(float), y).alphas_
    np.testing.assert_allclose(grid(jr.L1()), lasso, rtol=1e-5)
    half = ElasticNetCV(l1_ratio=0.5, cv=2).fit(x.astype(float), y).alphas_
    np.testing.assert_allclose(grid(jr.ElasticNet(0.5, 0.25)), half, rtol=1e-5)


def test_all_that_is_not_penalised_is_optimised_first():
    x, y = DIABETES
    half, bias = np.zeros(5, np.float32), np.float32(0)
    params = {"kernel": half, "free": half, "bias": bias}

    def loss(params):
        joined = jnp.concatenate([params["kernel"], params["free"]])
        return squared({"kernel": joined, "bias": params["bias"]}, x, y)

    fitted = np.linalg.lstsq(np.c_[x[:, 5:], np.ones(len(x))], y, rcond=None)[0]
    residuals = y - np.c_[x[:, 5:], np.ones(len(x))] @ fitted
    expected = np.max(np.abs(x[:, :5].T @ residuals)) / len(x)
    by_mask = jr.L1(mask=jr.named("kernel"))
    by_strength = jr.L1({"kernel": 1.0, "free": 0.0, "bias": 0.0})
    within = jr.L1(jnp.array([1.0, 0.0]).repeat(5), mask=jr.named("all"))
    assert jr.strength_max(loss, by_mask, params) == pytest.approx(expected, rel=1e-5)
    assert jr.strength_max(loss, by_strength, params) == pytest.approx(expected, rel=1e-5)

    def joined_loss(params):
        return squared({"kernel": params["all"], "bias": params["bias"]}, x, y)

    joined = {"all": np.zeros(10, np.float32), "bias": bias}
    assert jr.strength_max(joined_loss, within, joined) == pytest.approx(expected, rel=1e-5)


def test_in_jit_and_vmap_the_starting_point_does_not_matter():
    x, y = CANCER
    start = zeros_for(x) | {"bias": np.array([0.0, 5.0, -4.0], np.float32)}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=({"kernel": None, "bias": 0},))
    def critical(params):
        return jr.strength_max(lambda params: logistic(params, x, y), jr.L1(), params)

    np.testing.assert_allclose(critical(start), [0.3836832] * 3, rtol=1e-5)


def test_toward_a_reference_it_is_where_nothing_moves_from_it():
    x, y = DIABETES
    reference = {
        "kernel": np.linspace(-20, 20, 10, dtype=np.float32),
        "bias": np.float32(0),
    }

    def loss(params):
        return squared(params, x, y)

    moved = y - y.mean() - x @ reference["kernel"]
    expected = np.max(np.abs(x.T @ moved)) / len(x)
    penalty = jr.L1().toward(reference)
    assert jr.strength_max(loss, penalty, zeros_for(x)) == pytest.approx(expected, rel=1e-5)


def test_other_leaves_of_the_parameters_stay_as_they_are():
    x, y = DIABETES
    params = zeros_for(x) | {
        "steps": jnp.arange(3),
        "absent": None,
        "half": jnp.bfloat16(0),
    }

    def loss(params):
        assert params["steps"].dtype == jnp.int32
        assert params["absent"] is None
        return squared(params, x, y) + params["half"] ** 2

    critical = jr.strength_max(loss, jr.L1(mask=jr.named("kernel")), params)
    assert critical == pytest.approx(45.16003, rel=1e-5)


WITH_STRENGTHS = [cls for cls in PENALTIES if strength_fields(cls) and cls.has_prox]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cls", WITH_STRENGTHS, ids=lambda cls: cls.__name__)
def test_every_penalty_is_seen_to_act_on_all_that_it_penalises(cls):
    w = jnp.ones(SHAPE)
    held = _held(cls(mask=jr.everything), lambda values: values[0], {0: w})
    assert np.all(held[0])


def test_no_strength_of_ridge_is_enough():
    x, y = DIABETES
    critical = jr.strength_max(lambda p: squared(p, x, y), jr.L2(), zeros_for(x))
    assert critical == np.inf
    with pytest.raises(ValueError, match="maximum must be finite, got inf.*by hand"):
        jr.strength_grid(critical)


def test_mistakes_are_named():
    x, y = DIABETES

    def loss(params):
        return squared(params, x, y)

    with pytest.raises(TypeError, match="penalty must be a jaxreg penalty"):
        jr.strength_max(loss, 0.1, zeros_for(x))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="must be finite where the penalised.*got nan"):
        jr.strength_max(lambda p: loss(p) / 0 * 0, jr.L1(), zeros_for(x))
    with pytest.raises(ValueError, match="must match at least one path"):
        jr.strength_max(loss, jr.L1(mask=jr.named("nothing")), zeros_for(x))


def test_grids():
    grid = np.asarray(jr.strength_grid(5.0, num=4, ratio=1e-3))
    np.testing.assert_allclose(grid, [5.0, 0.5, 0.05, 0.005], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jr.strength_grid)(5.0)[::33], grid, rtol=1e-5)
    assert jr.strength_grid(2.0, num=1).tolist() == [2.0]
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="maximum must be greater than 0"):
            jr.strength_grid(bad)
    with pytest.raises(ValueError, match="ratio must be at most 1, got 2"):
        jr.strength_grid(1.0, ratio=2.0)
    with pytest.raises(ValueError, match="num must be at least 1, got 0"):
        jr.strength_grid(1.0, num=0)
