"""Group penalties: against other solvers, and where they reduce to something known."""

import functools
import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import jaxreg
from jaxreg import (
    L1,
    ExclusiveLasso,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    L1Linf,
    SparseGroupLasso,
)
from jaxreg.operators.roots import concave_root
from tests.helpers import atoms
from tests.helpers.strategies import arrays, log_uniform, steps

GROUPED = [GroupLasso, SparseGroupLasso, L1Linf, ExclusiveLasso, GroupMCP, GroupSCAD]
CONVEX = [GroupLasso, SparseGroupLasso, L1Linf, ExclusiveLasso]

every_grouped = pytest.mark.parametrize("cls", GROUPED)
every_convex = pytest.mark.parametrize("cls", CONVEX)

prox = jax.jit(lambda penalty, x, step=1.0, metric=None: penalty.prox(x, step, metric))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(size=shape, scale=scale).astype(np.float32)


def of(cls: Any, strength: Any = 0.3, **options: Any) -> Any:
    """An instance with the strengths 0.3, 0.4, ..."""
    if cls is SparseGroupLasso:
        return cls(strength, strength + 0.1, **options)
    return cls(strength, **options)


# The formulas.


def test_values_by_hand():
    x = jnp.array([[3.0, 0.0], [-4.0, 1.0]])
    close(GroupLasso(2.0, scale="none")(x), 2 * (5 + 1))
    close(GroupLasso(2.0)(x), 2 * np.sqrt(2) * (5 + 1))
    close(GroupLasso(2.0, group_axis=0, scale="none")(x), 2 * (3 + np.sqrt(17)))
    close(GroupLasso(2.0, group_axis=(), scale="none")(x), 2 * np.sqrt(26))
    close(GroupLasso(2.0, group_axis=(0, 1), scale="none")(x), 2 * 8)
    close(GroupLasso(2.0, scale=(0.5, 3.0))(x), 2 * (0.5 * 5 + 3))
    close(SparseGroupLasso(0.5, 2.0, scale="none")(x), 0.5 * 8 + 2 * 6)
    close(L1Linf(2.0)(x), 2 * (4 + 1))
    close(L1Linf(2.0, group_axis=0)(x), 2 * (3 + 4))
    close(ExclusiveLasso(2.0)(x), 2 * (49 + 1))
    close(GroupMCP(1.0, 2.0, scale="none")(x), 1 + (1 - 1 / 4))
    close(GroupSCAD(1.0, 3.0, scale="none")(x), 2 + 1)
    close(GroupSCAD(1.0, 3.0, scale="none")(2 * x), 2 + (12 - 4 - 1) / 4)


# Against cvxpy, in the Euclidean and in random diagonal metrics, float64.


@every_convex
def test_prox_is_what_clarabel_finds(cls):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    kept = []
    for step, ratio in itertools.product(np.geomspace(1e-3, 50, 7), (1.0, 10.0, 1000.0)):
        x = rng.normal(size=5, scale=3)
        metric = np.exp(rng.uniform(-np.log(ratio) / 2, np.log(ratio) / 2, 5))
        penalty = of(cls, rng.uniform(0.1, 1.0), group_axis=())
        z = cp.Variable(5)
        distance = 0.5 * cp.sum(cp.multiply(metric, cp.square(z - x)))
        value = step * atoms.value(cp, penalty, z)
        problem = cp.Problem(cp.Minimize(value + distance))
        atoms.solved(cp, problem)
        with jax.enable_x64(True):
            diagonal = None if ratio == 1 else metric
            moved = np.asarray(penalty.prox(x, step, diagonal))
            reached = step * float(penalty(moved))
        reached += 0.5 * np.sum(metric * (moved - x) ** 2)
        assert reached <= problem.value + 1e-9 * (1 + problem.value)
        np.testing.assert_allclose(moved, z.value, atol=2e-4)
        kept.append(np.any(moved))
    assert any(kept)
    assert cls is ExclusiveLasso or not all(kept)


# In float32, against equations that the solution satisfies, in float64.


def shortened_by_bisection(x, metric, threshold):
    """The prox of the norm of each column, in float64."""
    pull = metric * x
    low, high = np.full(x.shape[1], 1e-40), np.linalg.norm(x, axis=0)
    for _ in range(200):
        middle = np.sqrt(low * high)
        is_below = np.linalg.norm(pull / (metric * middle + threshold), axis=0) > 1
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    is_zero = np.linalg.norm(pull, axis=0) <= threshold
    return np.where(is_zero, 0.0, x * (metric * high / (metric * high + threshold)))


@pytest.mark.parametrize("size", [2, 5, 30])
def test_group_norms_are_shortened_right_in_metrics_of_any_ratio(size):
    rng = np.random.default_rng(0)
    count = 2000

    def of_few_sizes(low, high):
        levels = 10 ** rng.uniform(low, high, (4, count))
        return np.take_along_axis(levels, rng.integers(0, 4, (size, count)), axis=0)

    metric = np.float32(of_few_sizes(-8, 8))
    x = np.float32(of_few_sizes(-10, 4) * rng.normal(size=(size, count)))
    lengths = np.linalg.norm(np.float64(metric) * x, axis=0)
    threshold = np.float32(lengths * 10 ** rng.uniform(-8, 0.1, count))
    reached = prox(GroupLasso(threshold, scale="none"), x, 1.0, metric)
    assert np.all(np.isfinite(reached))
    expected = shortened_by_bisection(np.float64(x), np.float64(metric), threshold)
    # Relative to the weight, beside the rounding of a norm close to its threshold.
    assert np.all(np.abs(reached - expected) <= 2e-5 * np.abs(x))


@jax.jit
@functools.partial(jax.vmap, in_axes=(1, 1, 0), out_axes=1)
def shortened_alone(x, metric, threshold):
    """As one group of its own, which takes no steps for the sake of others."""
    return GroupLasso(threshold, group_axis=(), scale="none").prox(x, 1.0, metric)


@pytest.mark.parametrize("decades", [0.3, 1.5, 6])
def test_a_group_that_is_alone_takes_as_many_steps_as_it_needs(decades):
    rng = np.random.default_rng(1)
    metric = np.float32(10 ** rng.uniform(-decades, decades, (6, 3000)))
    x = np.float32(rng.normal(size=metric.shape))
    lengths = np.linalg.norm(np.float64(metric) * x, axis=0)
    threshold = np.float32(lengths * 10 ** rng.uniform(-5, 0.1, 3000))
    expected = shortened_by_bisection(np.float64(x), np.float64(metric), threshold)
    reached = shortened_alone(x, metric, threshold)
    # The rounding of a norm close to its threshold is not the steps' fault.
    far = np.abs(lengths / threshold - 1) > 0.01
    error = np.abs(reached - expected) / (np.abs(expected) + 1e-12 * np.abs(x))
    assert np.max(error[:, far]) <= 2e-5


@given(data=st.data(), threshold=log_uniform(1e-3, 50.0))
def test_a_uniform_metric_gives_the_closed_form(data, threshold):
    x = data.draw(arrays((4, 3)))
    for metric in (1e-8, 1.0, 1e8):
        penalty = GroupLasso(1.0, scale="none")
        step = np.float32(threshold * metric)
        in_metric = prox(penalty, x, step, np.full((4, 3), np.float32(metric)))
        close(in_metric, prox(penalty, x, np.float32(threshold)), 1e-4, 1e-5)


def test_a_group_is_removed_exactly_at_its_threshold():
    x, penalty = jnp.array([3.0, -4.0]), GroupLasso(1.0, group_axis=(), scale="none")
    for metric, length in ((None, 5.0), (jnp.array([4.0, 6.0]) / 3, np.sqrt(80.0))):
        assert not np.any(penalty.prox(x, length * (1 + 1e-6), metric))
        assert np.all(penalty.prox(x, length * (1 - 1e-6), metric))
    for metric, length in ((None, 5.0), (jnp.array([2.0, 2.0]), 10.0)):
        removed = np.asarray(penalty.prox(x, length, metric))
        assert not np.any(removed)
        assert not np.any(np.signbit(removed))


@pytest.mark.sampled(2)
@every_convex
def test_extreme_metrics_give_finite_numbers_and_gradients(cls):
    x = normal(6, 3)
    for low, high in ((1e-8, 1e8), (1e-8, 1e-8), (1e8, 1e8), (1e-4, 1e3)):
        metric = np.where(np.arange(6)[:, None] % 2, low, high) * np.ones((6, 3))
        for step in (0.0, 1e-12, 1e-3, 1.0, 1e9):
            reached = prox(of(cls), x, step, np.float32(metric))
            assert np.all(np.isfinite(reached))
            assert np.all(np.abs(reached) <= np.abs(x) * (1 + 1e-6))
            if step == 0:
                close(reached, x, 1e-6, 0)


def clipped_by_sorting(x, metric, threshold):
    """The prox of L1Linf on one group, from the sorted magnitudes."""
    sizes = np.abs(x)
    if np.sum(metric * sizes) <= threshold:
        return 0 * x
    order = np.argsort(-sizes)
    total, scale = np.cumsum((metric * sizes)[order]), np.cumsum(metric[order])
    levels, following = (total - threshold) / scale, np.append(sizes[order][1:], 0.0)
    level = levels[np.argmax(following <= levels)]
    return np.clip(x, -level, level)


def competed_by_sorting(x, metric, pull):
    """The prox of ExclusiveLasso on one group, from the sorted d·|x|; pull = 2·t."""
    sizes = np.abs(x)
    order = np.argsort(-metric * sizes)
    total, slope = np.cumsum(sizes[order]), np.cumsum(1 / metric[order])
    thresholds = pull * total / (1 + pull * slope)
    following = np.append((metric * sizes)[order][1:], 0.0)
    threshold = thresholds[np.argmax(following <= thresholds)]
    return np.sign(x) * np.maximum(sizes - threshold / metric, 0.0)


@pytest.mark.covering("ratio", "size")
@pytest.mark.parametrize("ratio", [1e3, 1e8])
@pytest.mark.parametrize("size", [3, 50])
def test_thresholds_are_those_found_by_sorting(ratio, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, 200), scale=2).astype(np.float32)
    span = np.log(ratio) / 2
    metric: Any = np.float32(np.exp(rng.uniform(-span, span, x.shape)))
    share: Any = np.float32(10 ** rng.uniform(-6, -0.1, 200))
    pulls = np.sum(np.float64(metric) * np.abs(x), axis=0)
    # The sums lose digits where the largest of the metric decides nothing.
    limits: Any = np.float32(share * pulls)
    rtol = 1e-5 if ratio < 1e4 else 1e-2
    clipped = prox(L1Linf(limits), x, 1.0, metric)
    pull: Any = np.float32(share / np.sum(1 / np.float64(metric), axis=0))
    competed = prox(ExclusiveLasso(pull), x, 1.0, metric)
    for i in range(200):
        column, d = np.float64(x[:, i]), np.float64(metric[:, i])
        close(clipped[:, i], clipped_by_sorting(column, d, float(limits[i])), rtol, rtol)
        close(competed[:, i], competed_by_sorting(column, d, 2 * float(pull[i])), 1e-5)


# Derivatives of the prox.


@pytest.mark.sampled(3)
@every_grouped
@pytest.mark.parametrize("with_metric", [False, True])
def test_derivatives_of_the_prox_are_finite_and_right(cls, with_metric):
    if with_metric and cls not in CONVEX:
        metric = np.exp(normal(1, 4, seed=3))
    else:
        metric = np.exp(normal(3, 4, seed=3)) if with_metric else None
    with jax.enable_x64(True):
        x = normal(3, 4, scale=2).astype(float)
        x[:, 0] = 0
        x[:, 1] *= 0.01

        def outcome(x, step, strength, metric):
            return of(cls, strength).prox(x, step, metric)

        arguments = (x, 0.3, 0.4) if metric is None else (x, 0.3, 0.4, np.float64(metric))

        def of_these(*arguments):
            return outcome(*arguments, *[None] * (4 - len(arguments)))

        every, compiled = range(len(arguments)), jax.jit(of_these)
        for derivative in (jax.jacfwd, jax.jacrev):
            jacobians = jax.jit(derivative(of_these, every))(*arguments)
            assert all(np.all(np.isfinite(jacobian)) for jacobian in jacobians)
            for i in every:
                direction = np.random.default_rng(i).normal(size=np.shape(arguments[i]))
                if i == 0:
                    direction[:, 0] = 0
                ahead, behind = (
                    compiled(
                        *arguments[:i], arguments[i] + h * direction, *arguments[i + 1 :]
                    )
                    for h in (1e-6, -1e-6)
                )
                slope = np.tensordot(jacobians[i], direction, np.ndim(direction))
                close(slope, np.asarray(ahead - behind) / 2e-6, 1e-4, 1e-5)


@pytest.mark.sampled(3)
@every_grouped
def test_gradients_are_finite_at_zero_groups(cls):
    x = normal(3, 4)
    x[:, 1] = 0
    slope = jax.grad(of(cls))(x)
    assert np.all(np.isfinite(slope))
    assert not np.any(slope[:, 1])


# Special cases.


def scalar_objective(name, strength, gamma, step, x, grid):
    n = np.abs(grid)
    if name is GroupMCP:
        r = np.where(
            n <= gamma * strength,
            strength * n - n**2 / (2 * gamma),
            gamma * strength**2 / 2,
        )
    else:
        bent = (2 * gamma * strength * n - n**2 - strength**2) / (2 * (gamma - 1))
        r = np.where(n <= strength, strength * n, bent)
        r = np.where(n <= gamma * strength, r, strength**2 * (gamma + 1) / 2)
    return step * r + 0.5 * (grid - x) ** 2


@pytest.mark.parametrize("cls", [GroupMCP, GroupSCAD])
@given(
    x=st.floats(-6.0, 6.0, width=32, allow_subnormal=False),
    step=steps,
    strength=st.floats(2**-6, 3.0, width=32),
    gamma=st.floats(2.125, 6.0, width=32),
)
def test_concave_penalties_reach_the_global_minimum(cls, x, step, strength, gamma):
    reached = float(prox(cls(strength, gamma), np.array([x], np.float32), step)[0])
    grid = np.append(np.linspace(-abs(x), abs(x), 4001), [0.0, reached])
    objective = scalar_objective(cls, strength, gamma, step, x, grid)
    assert objective[-1] <= np.min(objective) + 1e-5 * (1 + np.min(objective))


@pytest.mark.parametrize("cls", [GroupMCP, GroupSCAD])
@given(data=st.data(), step=steps, strength=st.floats(2**-6, 3.0))
def test_concave_penalties_act_on_the_length(cls, data, step, strength):
    x = data.draw(arrays((3, 2)))
    lengths = np.sqrt(np.sum(np.float64(x) ** 2, axis=0)).astype(np.float32)
    moved = prox(cls(strength, scale="none"), x, step)
    expected = prox(cls(strength), lengths, step)
    ratio = np.where(lengths == 0, 0, expected / np.where(lengths == 0, 1, lengths))
    # A jump of the prox may fall between the two roundings of the length.
    nearby = prox(cls(strength), lengths * np.float32(1 + 1e-6), step)
    same = np.isclose(nearby, expected, 1e-4, 1e-5)
    close(moved[:, same], (x * ratio)[:, same], 1e-4, 1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cls", [GroupMCP, GroupSCAD])
def test_concave_penalties_take_a_metric_per_group(cls):
    x, metric = normal(5, 3), np.array([[0.5, 1.0, 3.0]], np.float32)
    moved = of(cls).prox(x, 0.4, metric)
    for i, d in enumerate(metric[0]):
        column = of(cls).prox(x[:, i : i + 1], 0.4 / d)
        close(moved[:, i : i + 1], column)
    with pytest.raises(ValueError, match=r"metric that is the same within.*GroupLasso"):
        of(cls).prox(x, 0.4, np.ones((5, 3)))
    close(of(cls).prox(x[0], 0.4, np.full(3, 2.0)), of(cls).prox(x[0], 0.2))


def test_exclusive_lasso_takes_steps_of_any_length():
    x = jnp.array([[4.0, 0.0], [-1.0, 3.0]])
    for step in 10.0 ** np.arange(0, 31, 2):
        moved = ExclusiveLasso(0.5).prox(x, step)
        assert np.all(np.abs(moved) <= 4 / step + 1e-6), step


# Axes, shapes and strengths.


@pytest.mark.sampled(3)
@every_grouped
def test_convolution_kernels(cls):
    x = normal(3, 3, 2, 4)
    columns = [x[..., i].reshape(-1, 1) for i in range(4)]
    close(of(cls)(x), sum(of(cls)(column) for column in columns))
    moved = of(cls).prox(x, 0.5)
    for i, column in enumerate(columns):
        close(moved[..., i].reshape(-1, 1), of(cls).prox(column, 0.5))
    close(of(cls).strength_max(x), max(of(cls).strength_max(c) for c in columns))
    by_input = np.moveaxis(x, 2, 3)
    close(of(cls, group_axis=2)(x), of(cls)(by_input))
    close(np.moveaxis(of(cls, group_axis=2).prox(x), 2, 3), of(cls).prox(by_input))
    filters = x.reshape(9, 8)
    close(of(cls, group_axis=(2, -1))(x), of(cls)(filters))
    close(of(cls, group_axis=(2, -1)).prox(x).reshape(9, 8), of(cls).prox(filters))


@pytest.mark.sampled(2)
@every_convex
def test_convolution_kernels_in_a_metric(cls):
    x, metric = normal(3, 3, 2, 4), np.exp(normal(3, 3, 2, 4, seed=1))
    moved = of(cls).prox(x, 0.5, metric)
    for i in range(4):
        column, d = x[..., i].reshape(-1), metric[..., i].reshape(-1)
        close(moved[..., i].reshape(-1), of(cls, group_axis=()).prox(column, 0.5, d), 1e-4)


@pytest.mark.sampled(3)
@every_grouped
def test_strengths_per_group(cls):
    x, strengths = normal(5, 3, scale=2), np.array([0.0, 0.2, 2.0], np.float32)
    columns = [x[:, i : i + 1] for i in range(3)]
    for shape in ((3,), (1, 3)):
        penalty = of(cls, strengths.reshape(shape))
        close(
            penalty(x), sum(of(cls, s)(c) for s, c in zip(strengths, columns, strict=True))
        )
        moved = [of(cls, s).prox(c, 0.5) for s, c in zip(strengths, columns, strict=True)]
        close(penalty.prox(x, 0.5), jnp.concatenate(moved, axis=1))
        close(penalty.prox(x, 0.5), jax.jit(lambda p: p.prox(x, 0.5))(penalty))
    if cls is not SparseGroupLasso:
        by_name = cls({"v": 0.3, "w": strengths})
        moved = {"v": cls(0.3).prox(x), "w": cls(strengths).prox(x)}
        close(by_name.prox({"v": x, "w": x}), moved)


def test_strengths_that_differ_within_a_group_are_refused():
    x = normal(5, 3)
    with pytest.raises(ValueError, match=r"'kernel'.*strength must be one number for each"):
        GroupLasso(np.ones((5, 1)))({"kernel": x})
    expected = GroupLasso(0.3, group_axis=0)(x)
    close(GroupLasso(np.full((5, 1), 0.3), group_axis=0)(x), expected)
    inner = SparseGroupLasso(np.full((5, 1), 0.3), 0.4)
    close(inner.prox(x), SparseGroupLasso(0.3, 0.4).prox(x))
    with pytest.raises(ValueError, match="group must be one number"):
        SparseGroupLasso(0.3, np.ones((5, 1)))(x)


@pytest.mark.sampled(3)
@every_grouped
def test_scales(cls):
    x = normal(4, 3)
    doubled = of(cls, scale=2.0)
    close(doubled(x), of(cls, np.array([[0.3]]) * 2, scale="none")(x), 1e-5) if (
        cls is not SparseGroupLasso
    ) else None
    none, root = of(cls, scale="none"), of(cls, scale="sqrt_size")
    close(of(cls, scale=1.0).prox(x), none.prox(x))
    close(of(cls, scale=np.sqrt(np.full(3, 4.0))).prox(x), root.prox(x))
    some = of(cls, scale=(0.0, 1.0, 2.0))
    for i in range(3):
        close(some.prox(x)[:, i : i + 1], of(cls, scale=float(i)).prox(x[:, i : i + 1]))
    assert hash(some) == hash(of(cls, scale=np.arange(3.0)))


def test_leaves_with_few_axes():
    close(GroupLasso(0.3)(jnp.float32(-2)), 0.6)
    close(GroupLasso(0.3).prox(jnp.float32(-2)), -1.7)
    with pytest.raises(ValueError, match=r"GroupLasso does not fit the leaf 'a/w'"):
        GroupLasso(0.3, group_axis=1)({"a": {"w": jnp.ones(3)}})
    with pytest.raises(ValueError, match=r"leaf 'w'.*group_axis must name each axis once"):
        GroupLasso(0.3, group_axis=(0, -1))({"w": jnp.ones(3)})
    params = {"w": jnp.ones(3), "kernel": jnp.ones((3, 2))}
    by_name = GroupLasso(0.3, group_axis={"kernel": 1, "": ()})
    close(by_name(params), 0.3 * (3 + 2 * 3))
    assert by_name == GroupLasso(0.3, group_axis=(("kernel", 1), ("", ())))
    with pytest.raises(
        ValueError, match="GroupLasso.group_axis must cover every leaf.*'w'"
    ):
        GroupLasso(0.3, group_axis={"kernel": 1})(params)
    with pytest.raises(ValueError, match="'k' and 'kern' are found in 'kernel'"):
        GroupLasso(0.3, group_axis={"kern": 1, "k": 0, "": ()})(params)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"group_axis": 0.5}, TypeError, "group_axis must be an int"),
        ({"group_axis": "out"}, TypeError, "group_axis must be an int"),
        ({"group_axis": True}, TypeError, "group_axis must be an int"),
        ({"scale": "size"}, ValueError, "scale must be 'sqrt_size', 'none'"),
        ({"scale": -1.0}, ValueError, "scale must be non-negative, got -1"),
        ({"scale": [1.0, np.nan]}, ValueError, "scale must be non-negative, got nan"),
        ({"labels": [0.5, 1.0]}, TypeError, "labels must be a sequence of integers"),
        ({"labels": [[0, 1]]}, TypeError, "labels must be a sequence of integers"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    for cls in GROUPED:
        with pytest.raises(error, match=f"{cls.__name__}.{message}"):
            of(cls, **options)


def test_options_must_be_known_before_tracing():
    with pytest.raises(TypeError, match="labels must be known before tracing"):
        jax.jit(lambda labels: GroupLasso(1.0, labels=labels)(jnp.ones(2)))(jnp.arange(2))
    with pytest.raises(TypeError, match="scale must be known before tracing"):
        jax.jit(lambda scale: GroupLasso(1.0, scale=scale)(jnp.ones(2)))(1.0)


def test_scales_and_labels_must_fit():
    x = {"w": jnp.ones((4, 3))}
    with pytest.raises(ValueError, match=r"'w'.*scale must broadcast to the groups"):
        GroupLasso(1.0, scale=(1.0, 2.0))(x)
    with pytest.raises(ValueError, match=r"'w'.*labels must have one entry for each index"):
        GroupLasso(1.0, labels=(0, 0, 1, 1))(x)
    with pytest.raises(ValueError, match="same at all indices of one label"):
        GroupLasso(np.array([1.0, 2.0, 3.0]), labels=(0, 1, 1))(x)


# Labels.


@pytest.mark.sampled(3)
@every_grouped
def test_labels_against_an_axis(cls):
    x, metric = normal(4, 3, scale=2), np.exp(normal(4, 3, seed=1))
    flat, labels = x.reshape(-1), np.tile([5, -2, 9], 4)
    order = np.array([1, 0, 2])  # Groups go by the sorted labels.
    scale = (1.0, 2.0, 0.5)
    plain, labelled = of(cls), of(cls, labels=labels)
    close(labelled(flat), plain(x))
    close(labelled.prox(flat, 0.5).reshape(4, 3), plain.prox(x, 0.5))
    close(labelled.strength_max(flat), plain.strength_max(x), 1e-4)
    if cls in CONVEX:
        moved = labelled.prox(flat, 0.5, metric.reshape(-1)).reshape(4, 3)
        close(moved, plain.prox(x, 0.5, metric))
    strengths = np.array([0.1, 0.5, 1.0], np.float32)
    by_label = of(cls, np.tile(strengths, 4), labels=labels)
    close(by_label.prox(flat).reshape(4, 3), of(cls, strengths).prox(x))
    by_label = jax.jit(lambda p: p.prox(flat))(by_label)
    close(by_label.reshape(4, 3), of(cls, strengths).prox(x))
    scaled = of(cls, labels=labels, scale=tuple(np.array(scale)[order]))
    close(scaled.prox(flat).reshape(4, 3), of(cls, scale=scale).prox(x))


@pytest.mark.sampled(3)
@every_grouped
def test_labels_of_rows(cls):
    kernel, labels = normal(5, 3), (0, 1, 0, 1, 1)
    parts = [kernel[[0, 2]].reshape(-1), kernel[[1, 3, 4]].reshape(-1)]
    penalty, whole = of(cls, group_axis=0, labels=labels), of(cls, group_axis=())
    close(penalty(kernel), sum(map(whole, parts)))
    moved = penalty.prox(kernel, 0.5)
    close(moved[jnp.array([0, 2])].reshape(-1), whole.prox(parts[0], 0.5))
    close(moved[jnp.array([1, 3, 4])].reshape(-1), whole.prox(parts[1], 0.5))


# Groups over several leaves.

LAYERS = {
    "one": {"kernel": normal(3, 3, 2, 4), "bias": normal(4, seed=1)},
    "two": {"kernel": normal(5, 2, seed=2), "bias": normal(2, seed=3)},
}


def stacked(layer):
    kernel = np.asarray(layer["kernel"])
    return np.concatenate([kernel.reshape(-1, kernel.shape[-1]), layer["bias"][None]])


@pytest.mark.sampled(3)
@every_grouped
def test_groups_over_the_leaves_of_a_layer(cls):
    penalty = of(cls, together=r".*/", mask=jaxreg.everything)
    plain = of(cls)
    close(penalty(LAYERS), sum(plain(stacked(layer)) for layer in LAYERS.values()))
    moved = penalty.prox(LAYERS, 0.5)
    chex.assert_trees_all_equal_shapes_and_dtypes(moved, LAYERS)
    for name, layer in LAYERS.items():
        close(stacked(moved[name]), plain.prox(stacked(layer), 0.5))
    close(
        penalty.strength_max(LAYERS),
        max(plain.strength_max(stacked(layer)) for layer in LAYERS.values()),
        1e-4,
    )
    slopes = jax.grad(penalty)(LAYERS)
    for name, layer in LAYERS.items():
        close(stacked(slopes[name]), jax.grad(plain)(stacked(layer)))
    close(jax.jit(penalty.prox)(LAYERS, 0.5), moved)


@pytest.mark.sampled(2)
@every_convex
def test_groups_over_leaves_in_a_metric(cls):
    penalty = of(cls, together=r".*/", mask=jaxreg.everything)
    metric = jax.tree.map(lambda x: np.exp(2 * x), LAYERS)
    moved = penalty.prox(LAYERS, 0.5, metric)
    for name, layer in LAYERS.items():
        expected = of(cls).prox(stacked(layer), 0.5, stacked(metric[name]))
        close(stacked(moved[name]), expected, 1e-4)
    doubled = jax.tree.map(lambda x: np.full_like(x, 2.0), LAYERS)
    close(penalty.prox(LAYERS, 0.5, doubled), penalty.prox(LAYERS, 0.25), 1e-4)
    close(penalty.prox(LAYERS, 0.5, 2.0), penalty.prox(LAYERS, 0.25), 1e-4)
    by_layer = {"one": 2.0, "two": np.float32(2.0)}
    close(penalty.prox(LAYERS, 0.5, by_layer), penalty.prox(LAYERS, 0.25), 1e-4)


@pytest.mark.sampled(3)
@every_grouped
def test_a_whole_tree_as_one_group(cls):
    penalty = of(cls, group_axis=(), together="", mask=jaxreg.everything)
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(LAYERS)])
    close(penalty(LAYERS), of(cls, group_axis=())(flat))
    moved = np.concatenate([np.ravel(x) for x in jax.tree.leaves(penalty.prox(LAYERS))])
    close(moved, of(cls, group_axis=()).prox(flat))


def test_incoming_and_outgoing_weights_of_a_unit():
    params = {"into": normal(3, 4), "out_of": normal(4, 2, seed=1)}
    penalty = GroupLasso(0.3, group_axis={"into": -1, "out_of": 0}, together="")
    units = np.concatenate([params["into"], params["out_of"].T])
    close(penalty(params), GroupLasso(0.3)(units))
    moved = penalty.prox(params)
    merged = jnp.concatenate([moved["into"], moved["out_of"].T])
    close(merged, GroupLasso(0.3).prox(units))


def test_joined_leaves_share_their_strengths():
    params = {"into": normal(3, 4), "out_of": normal(4, 2, seed=1)}
    where: Any = {"group_axis": {"into": -1, "out_of": 0}, "together": ""}
    alike = GroupLasso({"into": 0.3, "": 0.3}, **where)
    close(alike(params), GroupLasso(0.3, **where)(params))
    with pytest.raises(ValueError, match="the same for leaves that share their groups"):
        GroupLasso({"into": 0.3, "out_of": 0.2}, **where)(params)


def test_joined_leaves_among_other_penalties():
    hidden = GroupLasso(0.3, together=r".*/", mask=jaxreg.named("one"))
    both = hidden + L1(0.2, mask=jaxreg.named("two/kernel"))
    moved = both.prox(LAYERS)
    close(moved["one"], hidden.prox(LAYERS)["one"])
    close(moved["two"]["kernel"], L1(0.2).prox(LAYERS["two"]["kernel"]))
    close(both(LAYERS), hidden(LAYERS) + L1(0.2)(LAYERS["two"]["kernel"]))
    pulled = both.toward(LAYERS)
    twice = jax.tree.map(lambda x: 2 * x, LAYERS)
    close(pulled(twice), both(LAYERS))
    origin = jax.tree.map(jnp.zeros_like, LAYERS)
    expected = jax.tree.map(jnp.add, LAYERS, both.prox(LAYERS))
    chosen = {**LAYERS["two"], "kernel": expected["two"]["kernel"]}
    close(pulled.prox(twice)["one"], expected["one"])
    close(pulled.prox(twice)["two"]["kernel"], chosen["kernel"])
    assert both.toward(origin)(LAYERS) == both(LAYERS)
    overlapping = hidden + L1(0.2, mask=jaxreg.named("one/bias"))
    close(overlapping(LAYERS), hidden(LAYERS) + L1(0.2)(LAYERS["one"]["bias"]))
    with pytest.raises(ValueError, match=r"SparseGroupLasso\(l1, group\)"):
        overlapping.prox(LAYERS)


def test_joined_strengths():
    by_layer = {"one": 0.3, "two": 0.1}
    penalty = GroupLasso(by_layer, together=r".*/", mask=jaxreg.everything)
    expected = sum(GroupLasso(by_layer[k])(stacked(v)) for k, v in LAYERS.items())
    close(penalty(LAYERS), expected)
    close(jax.jit(lambda p: p(LAYERS))(penalty), expected)
    per_unit = {"one": normal(4) ** 2, "two": 0.1}
    penalty = GroupLasso(per_unit, together=r".*/", mask=jaxreg.everything)
    expected = sum(GroupLasso(per_unit[k])(stacked(v)) for k, v in LAYERS.items())
    close(jax.jit(lambda p: p(LAYERS))(penalty), expected)
    l1 = {"kernel": 0.3, "bias": 0.0}
    penalty = SparseGroupLasso(
        {"one": l1, "two": l1}, 0.4, together=r".*/", mask=jaxreg.everything
    )
    entries = [np.array([[0.3]] * n + [[0.0]]) for n in (18, 5)]
    for (name, layer), strengths in zip(LAYERS.items(), entries, strict=True):
        expected = SparseGroupLasso(np.float32(strengths), 0.4).prox(stacked(layer))
        close(stacked(penalty.prox(LAYERS)[name]), expected)
    differing = {"one": {"kernel": 0.3, "bias": 0.2}, "two": 0.1}
    with pytest.raises(ValueError, match="strength must be the same for leaves that share"):
        GroupLasso(differing, together=r".*/", mask=jaxreg.everything)(LAYERS)
    with pytest.raises(ValueError, match="joined arrays must have the same number of"):
        GroupLasso(0.3, together="", mask=jaxreg.everything)(LAYERS)


def test_attention_heads_without_a_reshape():
    params = {
        "query": {"kernel": normal(8, 2, 4), "bias": normal(2, 4, seed=1)},
        "out": {"kernel": normal(2, 4, 8, seed=2)},
    }
    penalty = GroupLasso(
        0.3,
        group_axis={"query/kernel": 1, "query/bias": 0, "out": 0},
        together="",
        mask=jaxreg.everything,
    )
    heads = [
        np.concatenate([params["query"]["kernel"][:, i].ravel(), b.ravel(), o.ravel()])
        for i, (b, o) in enumerate(
            zip(params["query"]["bias"], params["out"]["kernel"], strict=True)
        )
    ]
    close(penalty(params), sum(GroupLasso(0.3, group_axis=())(head) for head in heads))


# Precision and edges.


@pytest.mark.sampled(3)
@every_grouped
def test_joined_leaves_keep_their_dtypes(cls):
    params = {"kernel": jnp.asarray(normal(3, 2), jnp.bfloat16), "bias": jnp.ones(2)}
    penalty = of(cls, together="", mask=jaxreg.everything)
    chex.assert_trees_all_equal_shapes_and_dtypes(penalty.prox(params), params)
    assert penalty(params).dtype == jnp.float32


@pytest.mark.sampled(2)
@every_grouped
def test_edges(cls):
    x = normal(3, 4)
    x[:, 0] = 0
    x[:, 1] = -1e-3
    penalty = of(cls)
    sick = x.copy()
    sick[0, 3] = np.nan
    for metric in (None, np.full((3, 4), 2.0)) if cls in CONVEX else (None,):
        moved = np.asarray(penalty.prox(x, 0.5, metric))
        assert not np.any(np.signbit(moved[moved == 0]))
        assert np.all(np.isfinite(moved))
        close(penalty.prox(x, 0.0, metric), x, 0, 0)
        close(penalty.prox(0 * x, 0.0, metric), 0 * x, 0, 0)
        tiny = np.full((3, 4), -1e-30, np.float32)
        close(penalty.prox(tiny, 0.0, metric), tiny, 1e-6, 0)
        moved = np.asarray(penalty.prox(sick, 0.5, metric))
        assert np.isnan(moved[0, 3])
        assert np.all(np.isfinite(moved[:, :3]))
    assert np.isnan(penalty(sick))
    assert np.isnan(penalty.strength_max(sick))
    assert np.all(penalty.prox(-np.ones((3, 4)), 1e-9) < 0)


@pytest.mark.sampled(2)
@every_grouped
def test_a_group_without_strength_is_left_alone(cls):
    x = normal(3, 2)
    x[:, 0] = 0
    penalty = of(cls, np.array([0.0, 0.3]))
    if cls is SparseGroupLasso:
        penalty = penalty.replace(group=np.array([0.0, 0.3]))
    metric = np.exp(x) if cls in CONVEX else None
    close(penalty.prox(x, 0.5, metric)[:, 0], x[:, 0], 0, 0)
    close(penalty.prox(x[:, ::-1], 0.5, metric)[:, 0], x[:, 1], 1e-6)
    assert np.all(np.isfinite(jax.grad(penalty)(x)))


def test_options_are_hashable_and_shown():
    penalty = GroupLasso(0.5, group_axis=(0, 1), scale=[1, 2], labels=np.array([0, 1]))
    expected = (
        "GroupLasso(strength=0.5, group_axis=(0, 1), scale=(1.0, 2.0), labels=(0, 1))"
    )
    assert repr(penalty) == expected
    assert repr(GroupLasso(0.5)) == "GroupLasso(strength=0.5, group_axis=-1)"
    assert hash(penalty) == hash(eval(repr(penalty)))
    table = str(jaxreg.describe(GroupLasso(0.5), {"kernel": jnp.ones((2, 3))}))
    assert "GroupLasso(strength=0.5, group_axis=-1)" in table


# Zero is the solution from strength_max on, not before.


@every_convex
def test_strength_max_is_critical(cls):
    slope = normal(6, 3)
    penalty = of(cls, group_axis=-1)
    critical = float(penalty.strength_max(slope))
    if cls is ExclusiveLasso:
        assert critical == np.inf
        return
    scale = critical if cls is SparseGroupLasso else critical / 0.3
    assert not np.any((penalty * (scale * 1.00001)).prox(-slope))
    assert np.any((penalty * (scale * 0.99999)).prox(-slope))


def test_strength_max_of_the_sparse_group_lasso_at_its_ends():
    slope = normal(6, 3)
    close(SparseGroupLasso(0.0, 1.0).strength_max(slope), GroupLasso().strength_max(slope))
    close(SparseGroupLasso(1.0, 0.0).strength_max(slope), L1().strength_max(slope))
    assert SparseGroupLasso(0.0, 0.0).strength_max(slope) == np.inf
    assert SparseGroupLasso(0.0, 0.0).strength_max(0 * slope) == 0


# In an optimizer.


def test_groups_vanish_under_adam_at_the_minimum():
    rng = np.random.default_rng(0)
    inputs, truth = rng.normal(size=(200, 6)), np.zeros((6, 2))
    truth[:2] = rng.normal(size=(2, 2)) + 2
    targets = inputs @ truth + 0.1 * rng.normal(size=(200, 2))
    inputs *= [1, 3, 0.3, 2, 1, 1]
    penalty = GroupLasso(0.3, group_axis=0)

    def loss(w):
        return jnp.mean(jnp.sum(jnp.square(inputs @ w - targets), axis=1)) / 2

    def solve(optimizer):
        def step(carry, _):
            w, state = carry
            updates, state = optimizer.update(jax.grad(loss)(w), state, w)
            return (optax.apply_updates(w, updates), state), None

        start = jnp.ones((6, 2))
        return jax.lax.scan(step, (start, optimizer.init(start)), length=3000)[0][0]

    schedule = optax.cosine_decay_schedule(0.1, 3000)
    reached = solve(jaxreg.prox_adam(schedule, penalty))
    expected = solve(jaxreg.prox_sgd(0.1, penalty))
    close(reached, expected, 1e-3, 1e-4)
    assert np.sum(np.any(np.asarray(reached), axis=1)) == 2


def test_no_group_is_left_when_another_has_its_root():
    def newton(x):
        """For the roots of x − 1, which is straight, and of log(x), which is not."""
        return jnp.stack([jnp.ones(()), x[1] * (1 - jnp.log(x[1]))])

    found = concave_root(newton, jnp.array([0.5, 1e-6]), jnp.array([2.0, 1e3]))
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-6)
