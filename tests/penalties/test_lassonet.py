"""LassoNet beside a dense search, HIER-PROX by sorting, and the authors' package."""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.penalties import LassoNet

BAD: Any = "skip"
HAS_LASSONET = importlib.util.find_spec("lassonet") is not None

random = np.random.default_rng(0)
INPUTS, OUTPUTS, HIDDEN = 40, 2, 5
# Rows of many magnitudes: some leave, some are bounded, some are far from the bound.
V = random.normal(size=(INPUTS, OUTPUTS)) * 10 ** random.uniform(-2, 1, (INPUTS, 1))
U = random.normal(size=(INPUTS, HIDDEN)) * 10 ** random.uniform(-2, 1, (INPUTS, 1))
V[3] = 0
V[5, 1] = 0
U[7, 2:] = 0
METRIC = {
    "skip": np.exp(random.normal(size=V.shape)),
    "first": np.exp(random.normal(size=U.shape)),
}
# The smallest weight of the metric meets a zero; without the kernel it would stay one.
METRIC["skip"][5, 1] = 1e-2

prox = jax.jit(lambda penalty, x, step=1.0, metric=None: penalty.prox(x, step, metric))


def lasso_net(*strengths: Any, **options: Any):
    return LassoNet(*strengths, skip=jr.named("skip"), mask=jr.named("first"), **options)


def both(v=V, u=U):
    return {"skip": v, "first": u}


def objective(theta, v, u, a, b, strengths, bound):
    """What θ costs with the best W: a formula for each entry, as W has no other bound."""
    norm = np.sqrt(np.sum(theta**2, axis=-1, keepdims=True))
    soft = np.sign(u) * np.maximum(np.abs(u) - strengths[1] / b, 0)
    w = np.clip(soft, -bound * norm, bound * norm)
    squares = np.sum(a * (theta - v) ** 2, axis=-1) + np.sum(b * (w - u) ** 2, axis=-1)
    penalty = strengths[0] * norm[..., 0] + strengths[1] * np.sum(np.abs(w), axis=-1)
    return penalty + squares / 2


def searched(row, a, b, strengths, bound):
    """The least cost of a row over fine grids of directions and, for each, of norms."""
    v, u = V[row], U[row]
    top = 2 * (np.linalg.norm(v) + np.max(np.abs(u)) / bound)
    least = objective(np.zeros(2), v, u, a, b, strengths, bound)
    angle, span, costs = np.pi, np.pi, np.zeros((91, 41))
    for _ in range(4):
        angles = np.linspace(angle - span, angle + span, 91)
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[:, None]
        norms, width = np.full(91, top / 2), top / 2
        for _ in range(8):
            grid = np.maximum(norms[:, None] + np.linspace(-width, width, 41), 0)
            costs = objective(grid[..., None] * directions, v, u, a, b, strengths, bound)
            norms, width = grid[np.arange(91), np.argmin(costs, axis=1)], width / 10
        angle, span = angles[np.argmin(np.min(costs, axis=1))], span / 20
        least = min(least, np.min(costs))
    return least


CASES = [
    ((0.0, 0.0), 1.0, None),
    ((0.7, 0.0), 10.0, None),
    ((0.7, 0.3), 0.3, None),
    ((0.7, 0.3), 2.0, METRIC),
    ((0.0, 0.0), 0.5, METRIC),
    ((8.0, 0.1), 30.0, METRIC),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("strengths", "bound", "metric"), CASES)
def test_the_prox_costs_no_more_than_a_dense_search_finds(strengths, bound, metric):
    with jax.enable_x64(True):
        found = prox(lasso_net(*strengths, bound), both(), 1.0, metric)
    theta, w = np.asarray(found["skip"]), np.asarray(found["first"])
    norm = np.linalg.norm(theta, axis=1, keepdims=True)
    assert np.all(np.abs(w) <= bound * norm * (1 + 1e-12))
    a, b = (
        (METRIC["skip"], METRIC["first"]) if metric else (np.ones_like(V), np.ones_like(U))
    )
    cost = strengths[0] * norm[:, 0] + strengths[1] * np.sum(np.abs(w), axis=1)
    cost += (np.sum(a * (theta - V) ** 2, axis=1) + np.sum(b * (w - U) ** 2, axis=1)) / 2
    least = [searched(j, a[j], b[j], strengths, bound) for j in range(INPUTS)]
    assert np.all(cost <= np.array(least) * (1 + 1e-9) + 1e-12)
    # The search comes as near as its grid is fine: it would not miss a better region.
    np.testing.assert_allclose(cost, least, rtol=1e-6, atol=1e-8)
    assert strengths[0] == 0 or 0 < np.sum(norm == 0) < INPUTS


def sorted_prox(v, u, strengths, bound):
    """Algorithm 2 of the paper and its appendix, for one input."""
    strength, l1 = strengths
    absolute = np.sort(np.abs(u))[::-1]
    length, norm, level = np.linalg.norm(v), 0.0, 0.0
    for s in range(len(u) + 1):
        total = np.sum(absolute[:s] - l1)
        norm = max(length + bound * total - strength, 0) / (1 + s * bound**2)
        level = bound * norm
        above = np.inf if s == 0 else max(absolute[s - 1] - l1, 0)
        below = max(absolute[s] - l1, 0) if s < len(u) else 0.0
        if below <= level <= above:
            break
    soft = np.sign(u) * np.minimum(np.maximum(np.abs(u) - l1, 0), level)
    return (v * norm / length if length else 0 * v), soft


@pytest.mark.parametrize(("strengths", "bound"), [((0.7, 0.3), 0.3), ((2.0, 0.0), 10.0)])
def test_newtons_method_finds_what_sorting_does(strengths, bound):
    with jax.enable_x64(True):
        found = prox(lasso_net(*strengths, bound), both())
        ones = jax.tree.map(np.ones_like, both())
        in_metric = prox(lasso_net(*strengths, bound), both(), 1.0, ones)
    expected = [sorted_prox(v, u, strengths, bound) for v, u in zip(V, U, strict=True)]
    rows = np.arange(INPUTS) != 3  # Of a row of zeros the direction is not determined.
    for moved in (found, in_metric):
        for i, name in enumerate(("skip", "first")):
            column = np.array([pair[i] for pair in expected])
            np.testing.assert_allclose(moved[name][rows], column[rows], atol=1e-12)


@pytest.mark.skipif(not HAS_LASSONET, reason="lassonet is not installed")
@pytest.mark.parametrize(("strengths", "bound"), [((0.7, 0.0), 0.3), ((2.0, 0.0), 10.0)])
def test_the_prox_is_that_of_the_package_lassonet(strengths, bound):
    import torch
    from lassonet.prox import prox as theirs  # pyright: ignore

    with jax.enable_x64(True):
        found = prox(lasso_net(*strengths, bound), both())
    options = {"lambda_": strengths[0], "lambda_bar": strengths[1], "M": bound}
    expected = theirs(torch.tensor(V.T), torch.tensor(U.T), **options)
    rows = np.arange(INPUTS) != 3
    for name, own in zip(("skip", "first"), expected, strict=True):
        np.testing.assert_allclose(found[name][rows], own.numpy().T[rows], atol=1e-12)


def test_zeros_and_their_neighbours():
    """Zeros stay exact zeros, and get a direction only where the kernel needs one."""
    found = prox(lasso_net(0.5, 0.0, 1.0), both(u=100 * U), 1.0, METRIC)
    assert found["skip"][5, 1] != 0
    assert lasso_net(0.5, 0.0, 1.0)(found) < np.inf
    with_small_kernel = prox(lasso_net(0.5, 0.0, 1.0), both(u=U / 1e4), 1.0, METRIC)
    kept = np.any(np.asarray(with_small_kernel["skip"]) != 0, axis=1)
    assert kept[np.linalg.norm(V * METRIC["skip"], axis=1) > 0.51].all()
    assert with_small_kernel["skip"][5, 1] == 0
    assert not np.signbit(with_small_kernel["skip"][5, 1])
    tiny = np.where(np.arange(OUTPUTS) == 0, 1e-12, np.ones_like(V))
    kept = prox(lasso_net(0.5, 0.0, 1.0), both(tiny, 0 * U))["skip"]
    np.testing.assert_allclose(kept[:, 0], 0.5e-12, rtol=1e-5)
    nothing = prox(lasso_net(0.5, 0.0, 1.0), both(0 * V, 0 * U))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(nothing))
    strong = prox(lasso_net(0.01, 0.0, 1.0), both(0 * V, 10 * U))
    assert lasso_net(0.01, 0.0, 1.0)(strong) < np.inf
    assert np.all(np.any(np.asarray(strong["first"]) != 0, axis=1))


def test_derivatives_are_those_of_differences():
    """In the point, the metric, the step and the strengths, away from breakpoints."""
    with jax.enable_x64(True):
        x, metric = jax.tree.map(jnp.asarray, (both(), METRIC))
        x["skip"] = x["skip"].at[3].set(1.0).at[5, 1].set(0.3)  # Of zeros there are none.
        weights = jax.tree.map(lambda x: np.cos(np.arange(x.size)).reshape(x.shape), x)

        @jax.jit
        def total(strengths, bound, x, step, metric):
            moved = lasso_net(*strengths, bound).prox(x, step, metric)
            return sum(jnp.vdot(weights[name], moved[name]) for name in x)

        given: Any = (jnp.array([0.7, 0.3]), jnp.array(2.0), x, jnp.array(1.0), metric)
        way = jax.tree.map(lambda x: np.sin(np.arange(x.size)).reshape(x.shape), given)
        slope = jax.jit(jax.grad(total, range(5)))(*given)
        slopes = [
            np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slope, way)), strict=True)
        ]

        def at(h):
            return float(total(*jax.tree.map(lambda x, w: x + h * w, given, way)))

        difference = (at(1e-6) - at(-1e-6)) / 2e-6
    assert float(np.sum(slopes)) == pytest.approx(difference, rel=1e-6)


def test_one_array_is_the_same_as_two():
    options: Any = {"strength": 0.7, "l1": 0.2, "hierarchy": 2.0}
    joint, metric = np.hstack([V, U]), np.hstack([METRIC["skip"], METRIC["first"]])
    for weight, weights in ((None, None), (metric, METRIC)):
        one = LassoNet(**options, skip=OUTPUTS).prox(joint, 0.5, weight)
        two = lasso_net(**options).prox(both(), 0.5, weights)
        np.testing.assert_array_equal(one, np.hstack([two["skip"], two["first"]]))
        assert LassoNet(**options, skip=2)(one) == lasso_net(**options)(two) < np.inf


def test_inputs_of_a_label_leave_together_and_layers_may_lie_across():
    labels = np.arange(INPUTS) // 2
    grouped = prox(lasso_net(2.0, 0.1, 3.0, labels=labels), both())
    pairs = prox(
        lasso_net(2.0, 0.1, 3.0),
        both(V.reshape(INPUTS // 2, -1), U.reshape(INPUTS // 2, -1)),
    )
    across = prox(
        lasso_net(2.0, 0.1, 3.0, labels=labels, group_axis={"skip": 1, "": 0}),
        both(V.T),
    )
    for name, layer in both().items():
        expected = pairs[name].reshape(layer.shape)
        np.testing.assert_allclose(grouped[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(across["skip"].T, grouped["skip"], rtol=1e-5, atol=1e-6)


def test_the_largest_strength_is_where_the_first_input_enters():
    """Zero is a solution of the prox at −g if and only if the strength is critical."""
    unit = lasso_net(1.0, 0.2, 3.0)
    critical = float(unit.strength_max(both()))
    assert not any(
        np.any(x) for x in jax.tree.leaves((unit * (1.001 * critical)).prox(both()))
    )
    assert any(np.any(x) for x in jax.tree.leaves((unit * (0.999 * critical)).prox(both())))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_what_is_stored_in_low_precision_is_inside(dtype):
    moved = lasso_net(0.3, 0.0, 7.0).prox(
        jax.tree.map(lambda x: jnp.asarray(x, dtype), both())
    )
    assert jax.tree.leaves(moved)[0].dtype == dtype
    assert lasso_net(0.3, 0.0, 7.0)(moved) < np.inf


def test_sums_with_squares_and_other_layers():
    params = {**both(), "second": np.ones((HIDDEN, 1))}
    penalty = lasso_net(0.7) + jr.L2(0.5, mask=jr.named("second", "first"))
    moved = jax.jit(lambda x: penalty.prox(x))(params)
    # Squares on a layer are a metric and another point.
    metric = {"skip": np.ones_like(V), "first": np.full_like(U, 2.0)}
    expected = prox(lasso_net(0.7), both(u=U / 2), 1.0, metric)
    for name in expected:
        np.testing.assert_allclose(moved[name], expected[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved["second"], 0.5)


def test_prox_adam_and_prox_sgd_find_the_same_inputs_and_minimum():
    """Of six inputs the target has two. The metrics of the proxes are not alike."""
    x = np.random.default_rng(1).normal(size=(100, 6)).astype(np.float32)
    y = x[:, 0] + np.tanh(2 * x[:, 1])
    keys = jax.random.split(jax.random.key(0), 2)
    start: Any = {
        "skip": 0.3 * jax.random.normal(keys[0], (6, 2)),
        "first": 0.5 * jax.random.normal(keys[1], (6, HIDDEN)),
        "second": jnp.ones((HIDDEN, 2)) / HIDDEN,
    }
    # An update is rounded as the weight was that it is added to.
    penalty = lasso_net(2.0, 0.0, 5.0, tolerance=1e-3)
    penalty += jr.L2(0.1, mask=jr.named("second"))

    def loss(params):
        outputs = jnp.tanh(x @ params["first"]) @ params["second"] + x @ params["skip"]
        return jnp.mean((outputs - np.c_[y, -y]) ** 2)

    def trained(optimizer):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), loss(params) + penalty(params)

        (params, _), values = jax.lax.scan(step, (start, optimizer.init(start)), None, 600)
        assert np.all(np.isfinite(values))
        return values[-1], params["skip"], params["first"]

    found = [trained(jr.prox_adam(0.01, penalty)), trained(jr.prox_sgd(0.05, penalty))]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for _, *layers in found:
        for layer in layers:
            assert np.any(layer != 0, axis=1).tolist() == [True] * 2 + [False] * 4


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: LassoNet(hierarchy=0.0), ValueError, "hierarchy must be greater than 0"),
        (lambda: LassoNet(skip=0), ValueError, "LassoNet.skip must be at least 1, got 0"),
        (lambda: LassoNet(skip=BAD), TypeError, r"use jaxreg.named\('skip'\)"),
        (lambda: LassoNet(skip=5)(V), ValueError, "more than 5 weights of each input"),
        (lambda: LassoNet()(V[0]), ValueError, "at least 2 axes"),
        (
            lambda: lasso_net()({"first": U, "skips": V[1:]}),
            ValueError,
            "must have the same number of groups",
        ),
        (lambda: lasso_net()({"first": U}), ValueError, "'skip'.* must match at least one"),
        (
            lambda: LassoNet(skip=jr.named("skip"), mask=jr.named("skip"))(both()),
            ValueError,
            "a skip connection and a first layer, but has only",
        ),
        (
            lambda: lasso_net(l1=np.ones((1, 2)))(both(V, V)),
            ValueError,
            "one number for each",
        ),
        (lambda: lasso_net().prox(both(), -1.0), ValueError, "step must be non-negative"),
    ],
)
def test_mistakes_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
