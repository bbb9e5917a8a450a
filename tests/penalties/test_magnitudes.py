"""Numbers of every magnitude: float32 finds what float64 finds, where nothing overflows."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.penalties import Entrywise
from jaxreg.penalties.fields import traced_fields
from tests.helpers.strategies import PENALTIES, SHAPE

DRAWS = 250
EPS = float(np.finfo(np.float32).eps)
# Constants that are no magnitudes: they have ranges of their own.
RANGES = {
    "p": (0.1, 1.0),
    "a": (2.1, 5.0),
    "count": (1.0, 4.0),
    "rank": (1.0, 2.0),
    "hierarchy": (0.1, 10.0),
}


def draws(cls):
    """Penalties, points, steps and metrics; one or two of their magnitudes are extreme."""
    rng = np.random.default_rng(zlib.crc32(cls.__name__.encode()))
    names = traced_fields(cls)
    factors = [name for name in names if name not in RANGES] + ["x", "step"]
    factors += ["metric"] if cls.takes_metric else []
    usual = rng.uniform(-1.0, 0.5, (DRAWS, len(factors)))
    highest = [34.0 if name == "metric" else 37.0 for name in factors]
    extreme = rng.uniform(-34.0, highest, (DRAWS, len(factors)))
    chosen = rng.permuted(np.arange(len(factors)) < np.ones((DRAWS, 1)), axis=1)
    chosen |= rng.permuted(np.arange(len(factors)) < np.ones((DRAWS, 1)), axis=1)
    found = dict(zip(factors, 10.0 ** np.where(chosen, extreme, usual).T, strict=True))
    fields = {
        name: found[name] if name in found else rng.uniform(*RANGES[name], DRAWS)
        for name in names
    }
    if cls is jr.Box:
        fields["low"] = -fields["high"]
    penalty = cls()._with(**{name: np.float32(value) for name, value in fields.items()})
    sizes = found["x"][:, None, None], found.get("metric", np.ones(DRAWS))[:, None, None]
    x, metric = (
        np.float32(size * part)
        for size, part in zip(
            sizes,
            (
                rng.uniform(-1.0, 1.0, (DRAWS, *SHAPE)),
                10.0 ** rng.uniform(-1.0, 0.9, (DRAWS, *SHAPE)),
            ),
            strict=True,
        )
    )
    return penalty, x, np.float32(found["step"]), metric if cls.takes_metric else None


def in_double(function, *arguments):
    with jax.enable_x64(True):
        return np.array(function(*jax.tree.map(np.float64, arguments)))


@jax.jit
@jax.vmap
def proxes(penalty, x, step, metric):
    return penalty.unchecked_prox(x, step, metric)


@jax.jit
@jax.vmap
def values_and_gradients(penalty, x):
    value, gradient = jax.value_and_grad(lambda x: penalty(x))(x)
    return jnp.append(gradient.ravel(), value)


@jax.jit
@jax.vmap
def critical_scales(penalty, gradient):
    return penalty.array_critical_scale(gradient)


def worst(*arrays):
    """The largest absolute value in each draw, of all arrays."""
    return np.max([np.max(np.abs(a.reshape(DRAWS, -1)), axis=1) for a in arrays], axis=0)


# What is less than this is subnormal sooner or later, and may be flushed to zero.
TINY = 1e-36


@pytest.mark.sampled(3)
@pytest.mark.parametrize("cls", [cls for cls in PENALTIES if cls.has_prox])
def test_the_prox_is_right_at_every_magnitude(cls):
    penalty, x, step, metric = draws(cls)
    for weight in {None, "metric"} if cls.takes_metric else {None}:
        weight = metric if weight else None
        found = np.asarray(proxes(penalty, x, step, weight), np.float64)
        exact = in_double(proxes, penalty, x, step, weight)
        assert np.all(np.isfinite(found))
        if not issubclass(cls, Entrywise):
            error = worst(found - exact)
            assert np.all(error <= 16 * EPS * worst(x, exact) + TINY)
            continue
        # A prox of entries rises with x: this one is that of a point next to x.
        near = [np.float64(x) * (1 + sign * 8 * EPS) for sign in (-1, 1)]
        ends = [in_double(proxes, penalty, point, step, weight) for point in near]
        slack = 8 * EPS * np.abs(x) + TINY
        assert np.all(found >= np.minimum(*ends) - slack)
        assert np.all(found <= np.maximum(*ends) + slack)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cls", [cls for cls in PENALTIES if cls.is_finite])
def test_value_and_gradient_are_right_at_every_magnitude(cls):
    penalty, x, _, _ = draws(cls)
    found = np.asarray(values_and_gradients(penalty, x), np.float64)
    exact = in_double(values_and_gradients, penalty, x)
    largest = float(np.finfo(np.float32).max)
    is_number = np.abs(exact[:, -1]) < largest / 8
    found, exact = found[is_number], exact[is_number]
    value, gradient = exact[:, -1:], exact[:, :-1]
    np.testing.assert_allclose(found[:, -1:], value, rtol=1e-5, atol=TINY)
    scale = np.max(np.abs(gradient), axis=1, keepdims=True)
    is_number = np.abs(gradient) < largest / 8
    error = np.abs(found[:, :-1] - gradient)
    assert np.all((error <= 1e-5 * scale + TINY) | ~is_number)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("cls", PENALTIES)
def test_critical_scales_are_right_at_every_magnitude(cls):
    penalty, x, _, _ = draws(cls)
    found = np.array(critical_scales(penalty, x), np.float64)
    exact = in_double(critical_scales, penalty, x)
    found[found > 1e37], exact[exact > 1e37] = np.inf, np.inf
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=TINY)


@pytest.mark.parametrize(
    ("penalty", "x", "step", "expected"),
    [
        (jr.MCP(3e38), np.ones(2), 1.0, np.zeros(2)),
        (jr.L2Ball(1.0), np.full(4, 1e38), 1.0, np.full(4, 0.5)),
        (jr.LogSum(1e-30), np.array([1e30, -2.0]), 1.0, np.array([1e30, -2.0])),
        (jr.GroupLasso(1.0), np.full((4, 1), 1e38), 1.0, np.full((4, 1), 1e38)),
        (jr.L0(3e38), np.array([2.4e19, 2.5e19]), 1.0, np.array([0.0, 2.5e19])),
    ],
    ids=repr,
)
def test_single_values(penalty, x, step, expected):
    np.testing.assert_allclose(penalty.prox(np.float32(x), step), expected, rtol=1e-6)


def test_what_log_sum_moves_by_does_not_cancel():
    penalty, x = jr.LogSum(3e-4, scale=8.65), np.float32(0.0094818566)
    moved = float(penalty.prox(x, 2.3e-8)) - float(x)
    assert abs(moved) < 1e-9  # Of −8e-13 nothing is left beside x.
    with jax.enable_x64(True):
        moved = float(penalty.prox(np.float64(x), 2.3e-8)) - float(x)
    slope = 2.3e-8 * 3e-4 / (8.65 + 0.0094818566)
    np.testing.assert_allclose(moved, -slope, rtol=1e-4)


def test_a_largest_weight_just_below_the_level_of_its_group_stays():
    x = jnp.array([0.48, -0.1], jnp.float32)
    moved = jr.L1Linf(1.0, group_axis=()).prox(x, 1.0, jnp.array([3e9, 1e9]))
    np.testing.assert_allclose(moved, x, rtol=1e-6)


def test_points_and_metrics_that_are_both_large_or_both_small():
    for penalty in (jr.GroupLasso(1e38, group_axis=()), jr.L1Linf(1e38, group_axis=())):
        x, metric = jnp.array([1e20, 0.0], jnp.float32), jnp.full(2, 1e20, jnp.float32)
        scale = np.sqrt(2) if isinstance(penalty, jr.GroupLasso) else 1.0
        expected = np.array([1e20 - scale * 1e18, 0.0])
        np.testing.assert_allclose(penalty.prox(x, 1.0, metric), expected, rtol=1e-6)
        x, metric = (jnp.full(2, 1e-30, jnp.float32) for _ in range(2))
        np.testing.assert_array_equal((0.0 * penalty).prox(x, 1.0, metric), x)
