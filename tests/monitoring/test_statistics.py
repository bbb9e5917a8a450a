"""Statistics are those that NumPy finds in the same arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import linear_model

import jaxreg
from jaxreg import L1, L2, ElasticNet, GroupLasso, everything, named, weight_stats, weights

RANDOM = np.random.default_rng(0)


def drawn(shape, dtype=np.float32):
    return jnp.asarray(RANDOM.normal(size=shape), dtype)


def pruned(kernel):
    """A kernel with a unit of zeros, a feature of zeros, and some zeros more."""
    mask = (jnp.abs(kernel) > 0.5).at[..., 2].set(False).at[..., 1, :].set(False)
    return kernel * mask


PARAMS = {
    "conv": {"kernel": pruned(drawn((2, 3, 4, 5))), "bias": jnp.zeros(5)},
    "dense": {"kernel": pruned(drawn((6, 4), jnp.bfloat16))},
    "readout": {"w": drawn(7).at[3].set(0)},
}
UPDATES = jax.tree.map(lambda x: drawn(x.shape), PARAMS)
GRADIENTS = jax.tree.map(lambda x: drawn(x.shape, x.dtype), PARAMS)
measure = jax.jit(weight_stats, static_argnames=("mask", "in_loss"))
WEIGHTS = {("conv", "kernel"), ("dense", "kernel"), ("readout", "w")}


def exact(tree) -> dict[Any, np.ndarray]:
    """The leaves in float64, by path."""
    return {
        tuple(key.key for key in path): np.asarray(x, np.float64)
        for path, x in jax.tree.leaves_with_path(tree)
    }


def by_numpy(names, params=PARAMS, updates=UPDATES, gradients=GRADIENTS):
    """What the statistics of some leaves together are."""
    w, u, g = (
        [exact(tree)[name] for name in names] for tree in (params, updates, gradients)
    )
    flat, steps, pulls = (np.concatenate([x.ravel() for x in part]) for part in (w, u, g))
    matrices = [x for x in w if x.ndim >= 2]
    units = [np.moveaxis(x, -1, 0).reshape(x.shape[-1], -1) for x in matrices]
    inputs = [np.moveaxis(x, -2, 0).reshape(x.shape[-2], -1) for x in matrices]
    found = {
        "mean_abs": np.mean(np.abs(flat)),
        "max_abs": np.max(np.abs(flat)),
        "norm": np.linalg.norm(flat),
        "zero_fraction": np.mean(flat == 0),
        "update_ratio": np.linalg.norm(steps) / np.linalg.norm(flat),
        "gradient_norm": np.linalg.norm(pulls),
    }
    if matrices:
        found["zero_units"] = np.mean(np.concatenate([~x.any(axis=1) for x in units]))
        found["zero_features"] = np.mean(np.concatenate([~x.any(axis=1) for x in inputs]))
    return found


@pytest.fixture(scope="module")
def stats():
    return measure(PARAMS, updates=UPDATES, gradients=GRADIENTS)


@pytest.mark.parametrize("name", [*sorted(WEIGHTS), "total"], ids="-".join)
def test_statistics_are_those_of_numpy(stats, name):
    expected = by_numpy(WEIGHTS if name == "total" else [name])
    prefix = name if name == "total" else "/".join(name)
    found = {
        key.removeprefix(f"{prefix}/"): value
        for key, value in stats.items()
        if key.startswith(f"{prefix}/")
    }
    assert found.keys() == expected.keys()
    for statistic, value in expected.items():
        assert found[statistic].dtype == jnp.float32
        np.testing.assert_allclose(found[statistic], value, rtol=1e-5, err_msg=statistic)
    assert 0 < expected["zero_fraction"] < 1


def test_zeros_are_there_to_be_found(stats):
    assert stats["conv/kernel/zero_units"] == np.float32(1 / 5)
    assert stats["conv/kernel/zero_features"] == np.float32(1 / 4)
    assert stats["dense/kernel/zero_units"] >= 1 / 4
    assert "readout/w/zero_units" not in stats


def test_the_mask_decides_what_is_seen():
    seen = measure(PARAMS, named("conv"))
    assert {key.rpartition("/")[0] for key in seen} == {"conv/kernel", "conv/bias", "total"}
    np.testing.assert_allclose(
        seen["total/zero_fraction"],
        by_numpy([("conv", "kernel"), ("conv", "bias")])["zero_fraction"],
        rtol=1e-6,
    )
    assert float(seen["total/zero_fraction"]) == jaxreg.sparsity(PARAMS, named("conv"))


def test_sums_are_exact_in_low_precision():
    ones = jnp.ones(2049, jnp.bfloat16)
    stats = measure({"w": ones, "v": jnp.ones(3, jnp.float16) * 300})
    assert stats["w/mean_abs"] == 1
    assert stats["w/norm"] ** 2 == pytest.approx(2049)
    assert stats["v/norm"] == pytest.approx(300 * np.sqrt(3))


def test_nothing_moves_in_weights_that_are_zero():
    params = {"still": jnp.zeros(3), "moved": jnp.zeros(3)}
    stats = measure(params, updates={"still": jnp.zeros(3), "moved": jnp.ones(3)})
    assert stats["still/update_ratio"] == 0
    assert stats["moved/update_ratio"] == np.inf


def test_missing_leaves_are_zeros():
    frozen = {**GRADIENTS, "conv": {"kernel": None, "bias": None}, "readout": None}
    stats = measure(PARAMS, gradients=frozen, penalty=L1(0.0))
    assert stats["conv/kernel/gradient_norm"] == stats["readout/w/kkt_residual"] == 0
    np.testing.assert_allclose(
        stats["total/gradient_norm"], stats["dense/kernel/gradient_norm"]
    )


# What the loss and the penalty amount to.

W = exact(PARAMS)
COST = {
    "L1": 0.3 * sum(np.abs(W[name]).sum() for name in WEIGHTS),
    "L2": 0.2 * (W["dense", "kernel"] ** 2).sum(),
}
PENALTY = L1(0.3) + L2(0.2, mask=named("dense"))


def test_costs_are_those_of_each_term():
    stats = measure(PARAMS, penalty=PENALTY, loss=2.0)
    whole = sum(COST.values())
    expected = {
        "loss": 2.0,
        "penalty": whole,
        "penalty_fraction": whole / (2 + whole),
        **{f"penalty/{name}": value for name, value in COST.items()},
        **{f"penalty_fraction/{name}": value / (2 + whole) for name, value in COST.items()},
    }
    sizes = measure(PARAMS).keys()
    found = {key: value for key, value in stats.items() if key not in sizes}
    assert found.keys() == {f"total/{name}" for name in expected}
    for name, value in expected.items():
        np.testing.assert_allclose(found[f"total/{name}"], value, rtol=1e-5)


def test_terms_of_one_kind_have_numbers():
    penalty = L1(0.1, mask=named("conv")) + L1(0.2, mask=named("dense")).toward(PARAMS)
    stats = measure(PARAMS, penalty=penalty + L2(0.1))
    terms = {key for key in stats if key.startswith("total/penalty/")}
    assert terms == {f"total/penalty/{name}" for name in ("L1_0", "L1_1", "L2")}


def test_what_is_in_the_loss_is_taken_out():
    penalty = ElasticNet(0.3, 0.2)
    own = jax.grad(penalty)(PARAMS)
    apart = measure(PARAMS, gradients=GRADIENTS, penalty=penalty, loss=2.0)
    inside = measure(
        PARAMS,
        gradients=jax.tree.map(jnp.add, GRADIENTS, own),
        penalty=penalty,
        loss=2.0 + penalty(PARAMS),
        in_loss=True,
    )
    assert inside.keys() == apart.keys()
    for name, value in apart.items():
        # Gradients in bf16 are rounded when they are added.
        np.testing.assert_allclose(inside[name], value, rtol=0.02, err_msg=name)


# The distance to a solution.


def soft(x, threshold):
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def soft_columns(x, threshold):
    norms = np.linalg.norm(x, axis=0)
    return x * np.maximum(1 - threshold / norms, 0)


PROXES = {
    "L1": (L1(0.3), lambda x: soft(x, 0.3)),
    "ElasticNet": (ElasticNet(0.3, 0.2), lambda x: soft(x, 0.3) / 1.4),
    "GroupLasso": (GroupLasso(0.3, scale="none"), lambda x: soft_columns(x, 0.3)),
}


@pytest.mark.parametrize(("penalty", "prox"), PROXES.values(), ids=PROXES)
def test_the_residual_is_that_of_a_proximal_step(penalty, prox):
    w, g = drawn((6, 4)), drawn((6, 4))
    bias = jnp.array([0.5, -2.0])
    stats = measure(
        {"kernel": w, "bias": bias},
        everything,
        gradients={"kernel": g, "bias": bias},
        penalty=penalty,
    )
    x, step = np.asarray(w, np.float64), np.asarray(g, np.float64)
    expected = np.max(np.abs(x - prox(x - step)))
    np.testing.assert_allclose(stats["kernel/kkt_residual"], expected, rtol=1e-5)
    assert stats["bias/kkt_residual"] == 2
    np.testing.assert_allclose(stats["total/kkt_residual"], max(2, expected), rtol=1e-5)


X = RANDOM.normal(size=(40, 6))
Y = X @ np.array([2.0, -1.0, 0.5, 0, 0, 0]) + 0.1 * RANDOM.normal(size=40)


def lasso_stats(w, penalty):
    with jax.enable_x64():
        gradient = jnp.asarray(X.T @ (X @ w - Y) / len(Y))
        found = measure(jnp.asarray(w), gradients=gradient, penalty=penalty)
        return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("l1_ratio", [1.0, 0.7])
def test_the_residual_is_zero_at_the_solution_of_scikit_learn(l1_ratio):
    model = linear_model.ElasticNet(0.3, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-12)
    w = model.fit(X, Y).coef_
    assert 0 < np.mean(w == 0) < 1
    penalty = jaxreg.convert.from_sklearn(0.3, l1_ratio)
    at_solution = lasso_stats(w, penalty)
    assert at_solution["total/kkt_residual"] < 1e-6
    assert lasso_stats(w, penalty * 0.9)["total/kkt_residual"] > 0.01
    assert lasso_stats(1.01 * w, penalty)["total/kkt_residual"] > 0.01
    if l1_ratio == 1:
        assert at_solution["total/strength_ratio"] == pytest.approx(1.0, abs=1e-5)


def test_the_strength_ratio_is_that_of_the_gradient_at_zero():
    largest = np.max(np.abs(X.T @ Y)) / len(Y)
    at_zero = lasso_stats(np.zeros(6), L1(0.1 * largest))
    assert at_zero["total/strength_ratio"] == pytest.approx(0.1)
    both = lasso_stats(np.zeros(6), ElasticNet(0.2 * largest, 5.0).toward(jnp.zeros(6)))
    assert both["total/strength_ratio"] == pytest.approx(0.2)
    assert lasso_stats(np.zeros(6), L1(0.0))["total/strength_ratio"] == 0
    assert lasso_stats(np.zeros(6), L2(0.1))["total/strength_ratio"] == 0


def test_a_sum_with_a_prox_has_the_statistics_of_the_penalty_that_it_is():
    kernel = {"kernel": PARAMS["dense"]["kernel"]}
    found, expected = (
        measure(kernel, gradients=kernel, penalty=penalty)
        for penalty in (L1(0.1) + L2(0.2), ElasticNet(0.1, 0.2))
    )
    for key in ("total/penalty", "total/kkt_residual", "total/strength_ratio"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-6)


@pytest.mark.parametrize(
    "penalty", [L1(0.1) + jaxreg.TotalVariation(0.1), jaxreg.Orthogonality(0.1)], ids=repr
)
def test_without_a_prox_there_is_no_residual(penalty):
    kernel = {"kernel": PARAMS["dense"]["kernel"]}
    stats = measure(kernel, gradients=kernel, penalty=penalty)
    assert "total/penalty" in stats
    assert not [key for key in stats if "kkt" in key or "ratio" in key]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"gradients": {"conv": GRADIENTS["conv"]}},
            ValueError,
            "The gradients must cover",
        ),
        ({"updates": jax.tree.map(jnp.ravel, UPDATES)}, ValueError, "must have the shapes"),
        ({"penalty": 0.1}, TypeError, "must be a jaxreg penalty"),
        ({"in_loss": True, "loss": 1.0}, ValueError, "in_loss needs the penalty"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        weight_stats(PARAMS, **options)


def test_a_leaf_must_not_be_called_total():
    with pytest.raises(ValueError, match="must not be called 'total'"):
        weight_stats({"total": jnp.ones(3)}, weights)


def test_without_leaves_all_is_zero():
    stats = weight_stats({}, gradients={}, updates={}, loss=1.0)
    assert {name for name, value in stats.items() if value != 0} == {"total/loss"}
