"""Penalties on neighbours and on sorted sizes: certificates, solvers, special cases."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st
from sklearn.isotonic import IsotonicRegression

import jaxreg
from jaxreg import L1, SLOPE, FusedLasso, Smoothness, TotalVariation
from tests.helpers import atoms
from tests.helpers.strategies import arrays, log_uniform, metrics, steps

ALONG = [TotalVariation, FusedLasso, Smoothness]

prox = jax.jit(lambda penalty, x, step=1.0, metric=None: penalty.prox(x, step, metric))
string = jax.jit(jaxreg.operators.total_variation_prox)
isotonic: Any = jax.jit(jaxreg.operators.isotonic_regression, static_argnames="increasing")


def close(actual, expected, rtol=1e-5, atol=1e-6):
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(size=shape, scale=scale).astype(np.float32)


def metric_of(rng, shape, ratio):
    span = np.log(ratio) / 2
    return np.exp(rng.uniform(-span, span, shape))


# The formulas.


def test_values_by_hand():
    x = jnp.array([[1.0, 4.0], [-2.0, 3.0]])
    close(TotalVariation(2.0)(x), 2 * (3 + 5))
    close(TotalVariation(2.0, axis=0)(x), 2 * (3 + 1))
    close(FusedLasso(0.5, 2.0)(x), 0.5 * 10 + 2 * 8)
    close(Smoothness(2.0)(x), 2 * (9 + 25))
    close(Smoothness(2.0, axis=0)(x), 2 * (9 + 1))
    close(SLOPE(2.0, weights=[4, 3, 2, 0])(x), 2 * (16 + 9 + 4))


def test_rules_for_weights():
    x = draw(6, scale=3)
    sizes = -np.sort(-np.abs(x))
    expected = scipy.stats.norm.ppf(1 - np.arange(1, 7) * 0.2 / 12)
    close(SLOPE(0.5, q=0.2)(x), 0.5 * np.sum(expected * sizes))
    pairs = sum(max(abs(x[i]), abs(x[j])) for i in range(6) for j in range(i))
    close(SLOPE(0.5, weights="oscar")(x), 0.5 * (np.sum(sizes) + pairs) / 6)
    assert SLOPE(weights=np.array([2, 1])) == SLOPE(weights=(2.0, 1.0))


# Against cvxpy, in the Euclidean and in random diagonal metrics, float64.


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "penalty",
    [
        TotalVariation(0.4),
        FusedLasso(0.3, 0.5),
        FusedLasso(np.array([0.1, 0.0, 0.7, 0.2, 0.1, 2.0]), 0.5),
        Smoothness(0.4),
        SLOPE(0.4, weights=(3.0, 2.0, 2.0, 1.0, 0.5, 0.0)),
    ],
    ids=lambda penalty: type(penalty).__name__,
)
def test_prox_is_what_clarabel_finds(penalty):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    for step in np.geomspace(1e-3, 50, 7):
        for ratio in (1.0, 1000.0) if penalty.takes_metric else (1.0,):
            x, metric = rng.normal(size=6, scale=3), metric_of(rng, 6, ratio)
            z = cp.Variable(6)
            distance = 0.5 * cp.sum(cp.multiply(metric, cp.square(z - x)))
            value = step * atoms.value(cp, penalty, z)
            problem = cp.Problem(cp.Minimize(value + distance))
            atoms.solved(cp, problem)
            with jax.enable_x64(True):
                moved = np.asarray(prox(penalty, x, step, None if ratio == 1 else metric))
                reached = step * float(penalty(moved))
            reached += 0.5 * np.sum(metric * (moved - x) ** 2)
            assert reached <= problem.value + 1e-9 * (1 + problem.value)
            np.testing.assert_allclose(moved, z.value, atol=2e-4)


# A certificate of the taut string, for every length and radius.


def assert_shortest(x, radius, metric, reached):
    """The running sums of d·(x − z) stay in the tube, and touch it wherever z steps."""
    x, metric, reached = (np.asarray(a, np.float64) for a in (x, metric, reached))
    passed = np.cumsum(metric * (x - reached), axis=-1)
    rounding = 1e-6 * (np.sum(metric * np.abs(x), axis=-1, keepdims=True) + 1e-30)
    assert np.all(np.abs(passed[:, -1:]) <= rounding)
    inner, change = passed[:, :-1], np.diff(reached, axis=-1)
    assert np.all(np.abs(inner) <= radius + rounding)
    gap = np.abs(inner + np.sign(change) * radius)
    assert np.all(gap[change != 0] <= (0 * inner + rounding)[change != 0])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("length", [1, 2, 40, 3000])
@pytest.mark.parametrize("ratio", [1.0, 1e4])
def test_total_variation_is_exact_where_that_of_scico_is_approximate(length, ratio):
    rng = np.random.default_rng(length)
    radius: Any = np.geomspace(1e-5, 1e5, 12, dtype=np.float32)[:, None]
    metric = np.float32(metric_of(rng, (12, length), ratio))
    noise = rng.normal(size=(12, length))
    for x in (noise, np.cumsum(noise, axis=1), np.round(2 * noise), np.exp(4 * noise)):
        x = x.astype(np.float32)
        for d in (metric, np.round(metric + 1)):
            assert_shortest(x, radius, d, string(x, radius, metric=d))


def test_the_string_is_right_to_rounding_in_float32():
    x = np.cumsum(draw(20, 200), axis=1)
    metric = np.float32(metric_of(np.random.default_rng(0), x.shape, 100.0))
    radius: Any = np.geomspace(1e-2, 1e2, 20, dtype=np.float32)[:, None]
    with jax.enable_x64(True):
        expected = np.asarray(string(np.float64(x), np.float64(radius), metric=metric))
    error = np.abs(string(x, radius, metric=metric) - expected)
    assert np.max(error / np.max(np.abs(x), axis=1, keepdims=True)) < 3e-7


def test_metrics_beyond_the_precision_give_the_least_objective_all_the_same():
    rng = np.random.default_rng(0)
    x, metric = draw(200, 40), np.float32(metric_of(rng, (200, 40), 1e8))
    radius: Any = (10 ** rng.uniform(-6, 6, (200, 1))).astype(np.float32)

    def objective(z):
        z = np.float64(z)
        far = np.float64(x) - z
        steps = np.sum(np.abs(np.diff(z, axis=1)), axis=1)
        return radius[:, 0] * steps + 0.5 * np.sum(metric * far**2, axis=1)

    with jax.enable_x64(True):
        least = objective(string(np.float64(x), np.float64(radius), metric=metric))
    reached = string(x, radius, metric=metric)
    assert np.all(objective(reached) <= least * (1 + 1e-3))
    assert np.all(np.max(reached, axis=1) <= np.max(x, axis=1))


@given(x=arrays((5,)), step=steps, strength=st.floats(2**-6, 3.0))
def test_an_entry_of_metric_k_is_k_entries(x, step, strength):
    counts = np.array([1, 3, 1, 2, 4])
    for cls in (TotalVariation, FusedLasso):
        penalty = TotalVariation(strength) if cls is TotalVariation else cls(0.5, strength)
        in_metric = prox(penalty, x, step, np.float32(counts))
        # Of L1, too, k entries pay k times.
        if cls is FusedLasso:
            penalty = FusedLasso(np.repeat(0.5 / counts, counts), strength)
        repeated = prox(penalty, np.repeat(x, counts), step)
        close(np.repeat(in_metric, counts), repeated, 1e-5, 1e-5)


def test_infinite_strength_makes_a_chain_its_mean():
    x, metric = draw(3, 5), np.exp(draw(3, 5, seed=1))
    for cls in (TotalVariation, Smoothness):
        for d in (None, metric):
            mean = np.average(x, axis=1, weights=d)[:, None] + 0 * x
            close(cls(np.inf).prox(x, 1.0, d), mean)
            close(cls(1e12).prox(x, 1.0, d), mean)
    assert not np.any(FusedLasso(np.inf, 1.0).prox(x, 1.0, metric))
    # Entries of infinite strength are removed, and hold their neighbours.
    held = FusedLasso(np.array([np.inf, 0.0, 0.0, 0.0, 0.0]), 0.25).prox(x)
    assert not np.any(held[:, 0])
    weak = FusedLasso(np.array([1e6, 0.0, 0.0, 0.0, 0.0]), 0.25).prox(x)
    close(held, weak)


def test_a_nan_strength_gives_nan():
    for penalty in (TotalVariation(), Smoothness(), SLOPE()):
        sick = jax.jit(lambda p, s: p._with(strength=s).prox(jnp.ones((2, 3))))
        assert np.all(np.isnan(sick(penalty, jnp.nan)))


# Smoothness, where a general solver loses digits.


def test_smoothing_is_right_to_rounding():
    x, metric = draw(30), np.float32(metric_of(np.random.default_rng(1), 30, 1e3))
    laplacian = np.diff(np.eye(30), axis=0).T @ np.diff(np.eye(30), axis=0)
    for strength in (1e-3, 1.0, 1e3, 1e6):
        system = np.diag(np.float64(metric)) + 2 * strength * laplacian
        expected = np.linalg.solve(system, np.float64(metric) * x)
        close(Smoothness(strength).prox(x, 1.0, metric), expected, 2e-6, 1e-6)


# Isotonic regression and SLOPE.


@given(x=arrays((7,)), metric=metrics((7,)), increasing=st.booleans())
def test_isotonic_regression_is_that_of_scikit_learn(x, metric, increasing):
    for weight in (None, metric):
        fit: Any = IsotonicRegression(increasing=increasing).fit
        theirs = fit(np.arange(7.0), np.float64(x), weight).predict(np.arange(7.0))
        ours = isotonic(x, metric=weight, increasing=increasing)
        close(ours, np.float32(theirs), 1e-5, 1e-5)


@given(x=arrays((6,)), step=steps, strength=st.floats(2**-6, 3.0), equal=st.booleans())
def test_modopt_agrees_on_slope(x, step, strength, equal):
    modopt = pytest.importorskip("modopt.opt.proximity")
    x = np.round(x) if equal else x  # with ties
    weights = np.array([3.0, 2.5, 1.0, 1.0, 0.25, 0.0])
    owl = modopt.OrderedWeightedL1Norm(strength * weights)
    theirs = owl.op(np.float64(x), extra_factor=step)
    close(prox(SLOPE(strength, weights=weights), x, step), np.float32(theirs), 1e-5, 1e-5)


@given(x=arrays((6,)), step=steps, strength=st.floats(0.0, 3.0))
def test_slope_of_equal_weights_is_l1(x, step, strength):
    equal = SLOPE(strength, weights=np.ones(6))
    close(equal(x), L1(strength)(x))
    close(prox(equal, x, step), prox(L1(strength), x, step), 1e-5, 1e-5)
    close(equal.strength_max(x), np.max(np.abs(x)), 2e-7, 0.0)


def test_slope_makes_similar_sizes_equal():
    moved = SLOPE(1.0, weights=(2, 1, 0)).prox(jnp.array([-3.0, 2.5, 3.0]))
    close(moved, jnp.array([-1.8333333, 1.8333333, 1.8333333]))
    assert len(set(np.abs(moved).tolist())) == 1


# Special cases.


@given(data=st.data(), step=steps, strength=st.floats(0.0, 3.0))
def test_fused_lasso_at_its_ends(data, step, strength):
    x, metric = data.draw(arrays((3, 2))), data.draw(metrics((3, 2)))
    for d in (None, metric):
        only_tv = prox(FusedLasso(0.0, strength, axis=0), x, step, d)
        close(only_tv, prox(TotalVariation(strength, axis=0), x, step, d), 1e-5, 1e-5)
        only_l1 = prox(FusedLasso(strength, 0.0, axis=0), x, step, d)
        close(only_l1, prox(L1(strength), x, step, d), 1e-5, 1e-5)
    # As two problems, or as one and a soft threshold.
    array = FusedLasso(np.full((3, 2), np.float32(strength)), 0.5, axis=0)
    close(
        prox(array, x, step), prox(FusedLasso(strength, 0.5, axis=0), x, step), 1e-5, 1e-5
    )


@pytest.mark.parametrize("cls", ALONG)
def test_axes_and_chains(cls):
    x, metric, last = draw(2, 5, 3, seed=2), np.exp(draw(2, 5, 3, seed=3)), cls()
    turned, turned_metric = np.moveaxis(x, 1, -1), np.moveaxis(metric, 1, -1)
    for axis in (1, -2):
        penalty = cls(axis=axis)
        close(penalty(x), last(turned), 1e-5)
        moved = np.moveaxis(prox(penalty, x, 0.5, metric), 1, -1)
        close(moved, prox(last, turned, 0.5, turned_metric))
    close(cls(axis=1).strength_max(x), last.strength_max(turned))
    chains = turned.reshape(-1, 5)
    close(last(turned), sum(last(chain) for chain in chains), 1e-5)
    each = jnp.stack([prox(last, chain, 0.5) for chain in chains])
    close(prox(last, turned, 0.5), each.reshape(2, 3, 5))
    if cls is not FusedLasso:
        single = draw(4, 1)
        assert last(single) == 0
        close(last.prox(single, 3.0, np.exp(single)), single, 0, 0)


def test_a_strength_for_each_chain():
    x, strengths = draw(3, 5), np.array([[0.1], [1.0], [0.0]], np.float32)
    for cls in (TotalVariation, Smoothness):
        moved = [cls(float(s[0])).prox(row) for s, row in zip(strengths, x, strict=True)]
        close(cls(strengths).prox(x), jnp.stack(moved))
        values = [cls(float(s[0]))(row) for s, row in zip(strengths, x, strict=True)]
        close(cls(strengths)(x), sum(values))
        close(cls(strengths[:, 0], axis=0).prox(x.T), jnp.stack(moved).T)
        message = "does not fit the array given.*one number for each"
        with pytest.raises(ValueError, match=message):
            cls(np.ones(5))(x)


# Zero as the solution.


def zero_by_bisection(penalty: Any, slope: Any) -> float:
    """The critical scale of a penalty, from its prox alone."""
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        is_zero = not np.any(np.abs(prox(penalty * middle, -slope)) > 1e-12)
        low, high = (low, middle) if is_zero else (middle, high)
    return high


def test_critical_scales_are_where_the_prox_becomes_zero():
    with jax.enable_x64(True):
        slope = np.random.default_rng(0).normal(size=9)
        balanced = slope - np.mean(slope)
        cases: list[Any] = [
            (FusedLasso(0.5, 2.0), slope),
            (FusedLasso(2.0, 0.1), slope),
            (FusedLasso(np.linspace(0, 1, 9), 0.5), slope),
            (FusedLasso(0.0, 0.5), balanced),
            (TotalVariation(0.5), balanced),
            (SLOPE(0.5, weights=np.linspace(2, 0, 9)), slope),
        ]
        for penalty, g in cases:
            critical = float(penalty.array_critical_scale(jnp.asarray(g)))
            close(critical, zero_by_bisection(penalty, g), 1e-9, 1e-9)


def test_total_variation_cannot_remove_a_mean():
    assert TotalVariation().strength_max(np.array([1.0, 1.0, -1.0])) == np.inf
    assert TotalVariation().strength_max(np.array([1.0, 1.0, -2.0])) == 2.0
    balanced = np.array([0.1, 0.2, -0.3], np.float32)  # which do not add up to zero exactly
    close(TotalVariation().strength_max(balanced), 0.3)
    assert Smoothness().strength_max(np.array([1.0, -1.0])) == np.inf
    assert Smoothness().strength_max(np.zeros(2)) == 0


# Derivatives of the prox.


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "of",
    [
        TotalVariation,
        lambda s: FusedLasso(0.3, s),
        Smoothness,
        lambda s: SLOPE(s, weights=(3, 2, 2, 1, 1, 1, 0.5, 0)),
    ],
    ids=["TotalVariation", "FusedLasso", "Smoothness", "SLOPE"],
)
def test_derivatives_of_the_prox_are_finite_and_right(of):
    with jax.enable_x64(True):
        rng = np.random.default_rng(4)
        x, metric = rng.normal(size=8, scale=2), metric_of(rng, 8, 10.0)
        arguments: Any = (x, 0.3, 0.4, metric) if of(1.0).takes_metric else (x, 0.3, 0.4)

        def outcome(*arguments: Any) -> Any:
            x, step, strength, *metric = arguments
            return of(strength).prox(x, step, *metric)

        every, compiled = range(len(arguments)), jax.jit(outcome)
        derivatives = [jax.jit(d(outcome, every)) for d in (jax.jacfwd, jax.jacrev)]
        for derivative in derivatives:
            jacobians = derivative(*arguments)
            for i in every:
                direction = rng.normal(size=np.shape(arguments[i]))
                ahead, behind = (
                    compiled(
                        *arguments[:i], arguments[i] + h * direction, *arguments[i + 1 :]
                    )
                    for h in (1e-6, -1e-6)
                )
                slope = np.tensordot(jacobians[i], direction, np.ndim(direction))
                close(slope, np.asarray(ahead - behind) / 2e-6, 1e-5, 1e-6)
        # Finite where it has kinks: at ties, at zero, and without a strength.
        for point in (np.zeros(8), np.ones(8), np.round(x)):
            for strength in (0.0, 0.4):
                rest = (strength, *arguments[3:])
                slopes = derivatives[1](point, 0.5, *rest)
                assert all(np.all(np.isfinite(slope)) for slope in slopes)


def test_the_derivative_of_a_piece_is_an_average():
    x = jnp.array([0.0, 0.1, 0.2, 9.0])
    slope = jax.jit(jax.jacobian(jaxreg.operators.total_variation_prox))(x, 1.0)
    close(slope[:3, :3], jnp.full((3, 3), 1 / 3))
    close(slope[3], jnp.array([0.0, 0.0, 0.0, 1.0]))


# How it is compiled.


def test_export_to_all_platforms():
    platforms = ("cpu", "cuda", "tpu")
    for penalty in (TotalVariation(), Smoothness(), SLOPE()):
        lower = jax.export.export(prox, platforms=platforms)
        assert lower(penalty, jnp.ones((2, 5))).platforms == platforms


def test_scans_in_parallel_give_the_same(monkeypatch):
    """What accelerators run, here on the CPU."""

    def outcome(x):
        return jnp.sum(jnp.square(jaxreg.operators.total_variation_prox(x, 0.3)))

    x = draw(4, 9)
    expected = jax.jit(jax.value_and_grad(outcome))(x)
    monkeypatch.setattr(
        "jax.lax.platform_dependent", lambda *args, cpu, default: default(*args)
    )
    close(jax.jit(jax.value_and_grad(lambda x: outcome(x)))(x), expected)


# Bad input.


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match=r"'a'.*axis must be one of the leaf, got 2"):
        TotalVariation(axis=2)({"a": jnp.ones((2, 3))})
    with pytest.raises(ValueError, match=r"TotalVariation is for leaves with at least 1"):
        TotalVariation()(jnp.ones(()))
    with pytest.raises(TypeError, match=r"Smoothness.axis must be an int"):
        Smoothness(axis=1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"SLOPE.weights must be 'bh', 'oscar'"):
        SLOPE(weights="owl")
    with pytest.raises(ValueError, match=r"SLOPE.weights must be non-negative"):
        SLOPE(weights=[1.0, -1.0])
    with pytest.raises(ValueError, match=r"SLOPE.weights must be a vector that does not"):
        SLOPE(weights=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"SLOPE.q must be at most 1, got 2"):
        SLOPE(q=2.0)
    with pytest.raises(ValueError, match=r"SLOPE.q must be greater than 0"):
        SLOPE(q=0.0)
    with pytest.raises(TypeError, match=r"SLOPE.weights must be known before tracing"):
        jax.jit(lambda w: SLOPE(weights=w)(jnp.ones(2)))(jnp.ones(2))
    with pytest.raises(ValueError, match=r"one number for each of the 3 entries, got 2"):
        SLOPE(weights=[1.0, 1.0])(jnp.ones(3))
    with pytest.raises(ValueError, match=r"SLOPE has no closed prox in a diagonal metric"):
        SLOPE().prox(jnp.ones(3), 1.0, jnp.ones(3))


@given(x=arrays((4,)), step=log_uniform(1e-3, 50.0))
def test_moreau_with_the_conjugate_of_the_total_variation(x, step):
    """What the prox removes is what the string is held by: Dᵀz, with |z| ≤ step."""
    held = np.cumsum(np.float64(x) - np.float64(prox(TotalVariation(), x, step)))
    slack = 1e-5 * (1 + np.max(np.abs(x)))
    assert abs(held[-1]) <= slack
    assert np.all(np.abs(held) <= step + slack)
