"""Laws that every penalty obeys, whichever it is."""

import functools
from collections import Counter, OrderedDict
from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings, strategies as st

import jaxreg
from jaxreg import L1, L2, Penalty
from jaxreg.penalties import Entrywise, static
from jaxreg.penalties.fields import strength_fields, traced_fields
from tests.helpers.strategies import PENALTIES, SHAPE, arrays, cases, penalties

LAWS = []


def law(*conditions, uses_prox=True):
    """Run a check for every public penalty whose class meets the conditions."""
    if uses_prox:
        conditions = (*conditions, has_prox)

    def register(check):
        LAWS.append((check, conditions))
        classes = list(map(on_one_worker, concerned(conditions, PENALTIES)))
        return pytest.mark.parametrize("cls", classes)(check)

    return register


def on_one_worker(cls):
    """The laws of a class share programs."""
    return pytest.param(cls, marks=pytest.mark.xdist_group(cls.__name__))


def concerned(conditions, classes):
    return [cls for cls in classes if all(condition(cls) for condition in conditions)]


def convex(cls):
    return cls.is_convex


def finite(cls):
    return cls.is_finite


def constraint(cls):
    return not cls.is_finite and not strength_fields(cls)


def entrywise(cls):
    return issubclass(cls, Entrywise)


def norm(cls):
    return cls.is_norm


def any_metric(cls):
    return cls.takes_metric


def no_metric(cls):
    return not cls.takes_metric


def any_shape(cls):
    return cls.min_ndim == 0


def has_prox(cls):
    return cls.has_prox


def has_strengths(cls):
    return bool(strength_fields(cls))


X = np.array([[1.5, -0.25], [0.0, -3.0], [0.5, 2.0], [-1.0, 0.75]], np.float32)
Z = np.array([[-0.5, 1.0], [2.5, 0.125], [-1.0, 0.0], [0.25, -2.0]], np.float32)

prox = jax.jit(lambda penalty, x, step=1.0, metric=None: penalty.prox(x, step, metric))
value = jax.jit(lambda penalty, x: penalty(x))
gradient = jax.jit(jax.grad(lambda x, penalty: penalty(x)))
strength_gradient = jax.jit(jax.grad(lambda penalty, x: penalty(x)))


def sample(cls, first=0.3):
    """An instance with the strengths 0.3, 0.4, ..."""
    names = strength_fields(cls)
    return cls(**{name: first + 0.1 * i for i, name in enumerate(names)})


def bent(penalty):
    """The same with other constants."""
    constants = set(traced_fields(penalty)) - set(strength_fields(penalty))
    return penalty.replace(**{name: 1.3 * getattr(penalty, name) for name in constants})


def with_strengths(penalty, strength):
    return penalty.replace(**dict.fromkeys(strength_fields(penalty), strength))


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *trees)


def assert_close(actual, expected, tolerance=1e-5):
    chex.assert_trees_all_close(actual, expected, rtol=tolerance, atol=tolerance)


def assert_positive_zeros(x):
    assert not np.any(np.signbit(x[x == 0])), "−0.0 where an entry was removed"


# The prox and the value belong together.


@jax.jit
def prox_objectives(points, penalty, x, step, metric):
    def objective(z):
        return step * penalty(z) + 0.5 * jnp.sum(metric * jnp.square(z - x))

    return jax.vmap(objective)(points)


def rivals(x, z, best):
    """Other points: global ones, neighbours, and a fine grid in each coordinate."""
    near = [best + scale * direction for scale in (1e-2, 1e-4) for direction in (z, -z, x)]
    between = [share * x for share in np.linspace(0.0, 1.0, 11)]
    grid = np.append(np.linspace(-1.25, 1.25, 201), [0.0, 1.0])
    lines = np.broadcast_to(best, (x.size, grid.size, *x.shape)).copy()
    for line, place in zip(lines, np.ndindex(x.shape), strict=True):
        line[(slice(None), *place)] = grid * np.abs(x[place])
    return np.concatenate([[z], near, between, lines.reshape(-1, *x.shape)])


def value_inside(penalty, x):
    """The value at a point that is in the set, but for rounding to float32."""
    found = float(value(penalty, x))
    assert found < np.inf
    assert not constraint(type(penalty)) or found == 0
    return found


@law()
@given(data=st.data())
def test_prox_beats_every_rival(cls, data):
    penalty, x, z, step, metric = data.draw(cases(cls))
    best = np.asarray(prox(penalty, x, step, metric), np.float64)
    points = np.concatenate([[best], rivals(np.float64(x), np.float64(z), best)])
    with jax.enable_x64(True):  # The float32 result is judged in float64.
        weight = np.ones(x.shape) if metric is None else np.float64(metric)
        reached = np.array(prox_objectives(points, penalty, np.float64(x), step, weight))
    if not finite(cls):  # In float64 the rounded prox may lie outside.
        reached[0] = step * value_inside(penalty, np.float32(best))
        reached[0] += 0.5 * np.sum(weight * np.square(best - x))
    assert reached[0] <= np.min(reached) + 1e-6 * (1 + abs(reached[0]))
    assert_positive_zeros(best[np.abs(x) > 1e-6])


@jax.jit
def reached_and_least(penalty, x, step):
    """What the prox of an entrywise penalty costs, and the least on a fine grid."""

    def cost(z):
        return step * penalty.entry_value(z) + jnp.square(z - x) / 2

    def cheaper(least, share):
        return jnp.minimum(least, cost(share * x)), None

    shares = jnp.append(jnp.linspace(-0.2, 1.2, 1401), jnp.array([0.0, 1.0]))
    least, _ = jax.lax.scan(cheaper, jnp.full(x.shape, jnp.inf), shares)
    return cost(penalty.entry_prox(x, step)), least


@law(entrywise)
def test_prox_beats_a_dense_grid_in_every_regime(cls):
    x, step = np.meshgrid(np.linspace(-4.0, 4.0, 80), np.geomspace(1e-3, 50.0, 40))
    with jax.enable_x64(True):
        for penalty in (sample(cls), bent(sample(cls, 1.0))):
            reached, least = reached_and_least(penalty, x, step)
            assert np.all(reached <= least + 1e-12)


@law(entrywise, finite)
def test_slope_at_zero_is_that_of_the_value(cls):
    with jax.enable_x64(True):
        penalty = bent(sample(cls))
        found = float(value(penalty, np.float64(1e-200))) / 1e-200
        slope = float(penalty.slope_at_zero())
    assert found > 1e20 if np.isinf(slope) else abs(found - slope) < 1e-9


@pytest.mark.sampled(4)
@law(convex)
@given(data=st.data())
def test_prox_is_firmly_nonexpansive(cls, data):
    penalty, x, other, step, metric = data.draw(cases(cls))
    weight = 1.0 if metric is None else np.float64(metric)
    for z in (other, np.float32(0.8) * x):
        moved = np.float64(prox(penalty, x, step, metric) - prox(penalty, z, step, metric))
        apart = np.float64(x - z)
        slack = 1e-5 * np.sum(weight * (1 + x**2 + z**2))
        assert np.sum(weight * moved**2) <= np.sum(weight * moved * apart) + slack


@pytest.mark.sampled(6)
@law()
@given(data=st.data())
def test_a_uniform_metric_is_a_shorter_step(cls, data):
    penalty, x, _, step, _ = data.draw(cases(cls))
    shorter = prox(penalty, x, step / 2)
    assert_close(prox(penalty, x, step, 2.0), shorter)
    if any_metric(cls):
        assert_close(prox(penalty, x, step, np.full_like(x, 2.0)), shorter)


@law(no_metric)
def test_an_array_of_metrics_is_refused_or_right(cls):
    try:
        reached = prox(sample(cls), X, 0.5, np.full_like(X, 2.0))
    except ValueError:
        return
    assert_close(reached, prox(sample(cls), X, 0.25))


@pytest.mark.sampled(6)
@law(finite)
@given(data=st.data())
def test_no_step_is_the_identity(cls, data):
    penalty, x, _, _, metric = data.draw(cases(cls))
    assert_close(prox(penalty, x, 0.0, metric), x)


@pytest.mark.sampled(6)
@law(finite, has_strengths)
@given(data=st.data())
def test_no_strength_does_nothing(cls, data):
    penalty, x, _, step, metric = data.draw(cases(cls))
    penalty = with_strengths(penalty, 0.0)
    assert value(penalty, x) == 0
    assert_close(prox(penalty, x, step, metric), x)


@pytest.mark.parametrize("step", [0.5, 50.0])
def test_derivatives_of_entrywise_proxes_are_finite(step):
    def total(penalties, x, step):
        return sum(jnp.sum(penalty.prox(x, step)) for penalty in penalties.values())

    penalties = {cls.__name__: sample(cls) for cls in PENALTIES if entrywise(cls)}
    found = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(penalties, X, step)
    for path, slope in jax.tree.leaves_with_path(found):
        assert np.all(np.isfinite(slope)), jax.tree_util.keystr(path)


@pytest.mark.sampled(3)
@law(has_strengths)
def test_infinite_strength_removes_everything_if_a_finite_one_does(cls):
    penalty = sample(cls)
    infinite = with_strengths(penalty, np.inf)
    removed = prox(infinite, X)
    if np.isfinite(penalty.strength_max(X)):
        assert not np.any(removed)
        assert_positive_zeros(removed)
        assert value(infinite, removed) == 0
        assert value(infinite, X) == np.inf


@jax.jit
@functools.partial(jax.grad, has_aux=True)
def gradient_of_the_envelope(x, penalty, step):
    """And the way to the prox, by the length of the step."""
    z = penalty.prox(x, step)
    return penalty(z) + jnp.sum(jnp.square(z - x)) / (2 * step), (x - z) / step


@pytest.mark.sampled(3)
@law(convex)
def test_the_gradient_of_the_envelope_is_the_way_to_the_prox(cls):
    penalty = sample(cls)
    with jax.enable_x64(True):
        x = X + np.float64(Z) * np.pi / 100  # away from kinks
        for step in (0.1, 1.0, 10.0):
            slope, way = gradient_of_the_envelope(x, penalty, step)
            assert_close(slope, way, 1e-8)


@pytest.mark.sampled(2)
@law(convex, has_strengths)
@given(data=st.data())
def test_strength_max_is_the_least_that_makes_zero_the_solution(cls, data):
    penalty, slope, _, step, _ = data.draw(cases(cls))
    slope = np.where(np.abs(slope) < 1e-3, 0, slope)
    assume(any(getattr(penalty, name) > 0 for name in strength_fields(cls)))
    critical = float(penalty.strength_max(slope))

    def is_zero_at(strength):
        if len(strength_fields(cls)) == 1:
            scaled = with_strengths(penalty, strength)
        else:
            scaled = penalty * strength
        return not np.any(prox(scaled, -slope * step, step))

    if np.isfinite(critical):
        assert is_zero_at(1.001 * critical)
        assert critical == 0 or not is_zero_at(0.99 * critical)
    else:
        assert not is_zero_at(1e3)


# Constraints: the prox is the projection on the set where the value is zero.


@law(constraint)
@given(data=st.data())
def test_the_prox_of_a_constraint_is_inside_and_stays(cls, data):
    penalty, x, _, step, metric = data.draw(cases(cls))
    reached = prox(penalty, x, step, metric)
    assert value(penalty, reached) == 0
    assert not np.any(gradient(reached, penalty))
    for again in (prox(penalty, reached, step, metric), prox(penalty, reached, 7.0)):
        chex.assert_trees_all_equal(again, reached)


@pytest.mark.sampled(3)
@law(constraint)
@given(data=st.data())
def test_the_step_of_a_projection_does_not_matter(cls, data):
    penalty, x, _, step, metric = data.draw(cases(cls))
    chex.assert_trees_all_equal(
        prox(penalty, x, step, metric), prox(penalty, x, 1.0, metric)
    )


@pytest.mark.sampled(2)
@law(constraint)
@given(data=st.data())
def test_points_inside_are_returned_as_they_are(cls, data):
    penalty, x, _, step, metric = data.draw(cases(cls))
    small = np.where(np.abs(x) < 1e-6, 0, x / 64)
    for point in (x, small, np.abs(small)):
        if value(penalty, point) == 0:
            chex.assert_trees_all_equal(prox(penalty, point, step, metric), point)


@pytest.mark.sampled(3)
@law(constraint)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_projections_are_inside_in_every_precision(cls, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        penalty = sample(cls)
        for scale in (0.03, 1.0, 300.0):
            stored = np.random.default_rng(0).normal(size=(64, 3), scale=scale)
            reached = prox(penalty, jnp.asarray(stored, dtype))
            assert value(penalty, reached) == 0
            chex.assert_trees_all_equal(prox(penalty, reached), reached)


# Value and gradient.


@pytest.mark.sampled(2)
@law(uses_prox=False)
@given(data=st.data())
def test_value_is_nonnegative_and_zero_at_zero(cls, data):
    penalty, x, *_ = data.draw(cases(cls))
    assert value(penalty, x) >= 0
    is_zero = finite(cls) and cls.is_zero_at_zero
    assert not is_zero or value(penalty, 0 * x) == 0


@law(norm, uses_prox=False)
def test_a_norm_is_positive_and_grows_in_proportion(cls):
    penalty = sample(cls)
    for x in (np.abs(X), np.ones_like(X)):
        assert 0 < value(penalty, x) < np.inf
        for factor in (0.25, 3.0):
            assert_close(value(penalty, factor * x), factor * value(penalty, x))


@law(finite, uses_prox=False)
@given(data=st.data())
def test_gradient_lies_between_the_slopes_on_either_side(cls, data):
    penalty, x, z, *_ = data.draw(cases(cls))
    with jax.enable_x64(True):
        x, z = np.where(np.abs(x) < 0.1, 0, x).astype(np.float64), np.float64(z) / 8
        nearby = [x - 1e-6 * z, x, x + 1e-6 * z]
        before, here, after = (float(value(penalty, point)) for point in nearby)
        slope = np.sum(np.asarray(gradient(x, penalty)) * z)
    left, right = sorted([(here - before) / 1e-6, (after - here) / 1e-6])
    slack = 1e-4 * (1 + abs(slope))
    assert left - slack <= slope <= right + slack


@law(finite, uses_prox=False)
@given(data=st.data())
def test_gradient_is_finite_and_zero_at_zero(cls, data):
    penalty, x, *_ = data.draw(cases(cls))
    at_x, at_zero = gradient(x, penalty), gradient(0 * x, penalty)
    assert np.all(np.isfinite(at_x))
    assert not np.any(at_zero)
    if entrywise(cls):
        assert not np.any(np.asarray(at_x)[x == 0])


@pytest.mark.sampled(2)
@law(finite, has_strengths, uses_prox=False)
@given(data=st.data())
def test_gradient_in_the_strengths_is_that_of_the_value(cls, data):
    penalty = data.draw(penalties(cls, st.floats(0.5, 4.0, width=32)))
    x = data.draw(arrays(SHAPE))
    with jax.enable_x64(True):
        x = np.float64(x)
        slopes = strength_gradient(penalty, x)
        for name in strength_fields(cls):
            low, high = (
                value(penalty.replace(**{name: getattr(penalty, name) + h}), x)
                for h in (-1e-6, 1e-6)
            )
            assert_close(getattr(slopes, name), (high - low) / 2e-6, 1e-3)


# Precision.


@pytest.mark.sampled(6)
@law()
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_are_kept(cls, dtype):
    penalty, x = jax.tree.map(jnp.float32, sample(cls)), jnp.asarray(X, dtype)
    step, metric = jnp.float32(0.5), jnp.float32(2.0)
    assert jax.eval_shape(penalty, x).dtype == jnp.float32
    assert jax.eval_shape(cls.prox, penalty, x, step, metric).dtype == dtype
    assert jax.eval_shape(jax.grad(penalty), x).dtype == dtype


@pytest.mark.sampled(6)
@law()
def test_float64_is_kept(cls):
    with jax.enable_x64(True):
        x = jnp.asarray(X, jnp.float64)
        for penalty in (sample(cls), jax.tree.map(jnp.float32, sample(cls))):
            assert jax.eval_shape(penalty, x).dtype == jnp.float64
            moved = jax.eval_shape(penalty.prox, x, jnp.float32(0.5))
            assert moved.dtype == jax.eval_shape(jax.grad(penalty), x).dtype == jnp.float64
            assert jax.eval_shape(penalty.prox, X).dtype == jnp.float32
            assert jax.eval_shape(penalty, X).dtype == jnp.float32


@jax.jit
def as_stored_and_raised(penalty, stored):
    raised = stored.astype(jnp.float32)
    lowered = penalty.prox(raised).astype(stored.dtype)
    return (penalty(stored), penalty.prox(stored)), (penalty(raised), lowered)


@pytest.mark.sampled(6)
@law()
def test_low_precision_is_only_in_the_storage(cls):
    entries = np.random.default_rng(0).normal(size=(668, 3), scale=300)  # 300² > 65504
    # Some classes in one, some in the other: each is a program of its own.
    dtype = jnp.bfloat16 if len(cls.__name__) % 2 else jnp.float16
    stored = jnp.asarray(entries, dtype)
    chex.assert_trees_all_equal(*as_stored_and_raised(sample(cls), stored))


@pytest.mark.sampled(6)
@law(uses_prox=False)
def test_many_small_leaves_add_up_in_float32(cls):
    penalty, leaf = sample(cls), jnp.full((4, 2), 1 + 2**-7, jnp.bfloat16)
    # Sums of 23 numbers of eight digits need more digits than bfloat16 has.
    total = penalty({f"layer_{i}": leaf for i in range(23)})
    assert_close(total, 23 * penalty(leaf))


# JAX.


def outcome(penalty, x):
    """Value, slopes and proxes, at a kernel beside a bias that is left alone."""
    params = {"kernel": x, "bias": x}
    found: list[Any] = [penalty(params), jax.grad(penalty)(params)]
    found.append(penalty.prox(params, 0.5))
    if penalty.takes_metric:
        found.append(penalty.prox(params, 0.5, jax.tree.map(jnp.ones_like, params)))
    return found


TRACES = Counter[type[Penalty]]()


@jax.jit
def compiled(penalty, x):
    """The outcome, and what else there is to compile, once for each class."""
    TRACES[type(penalty)] += 1
    slopes = jax.grad(lambda penalty: penalty(x), allow_int=True)(penalty)
    return outcome(penalty, x), (slopes, penalty.strength_max(x))


@pytest.mark.sampled(6)
@law()
def test_a_compiled_call_is_an_eager_one_and_moves_nothing(cls):
    given = jax.tree.map(jnp.asarray, (sample(cls), X))
    with jax.transfer_guard("disallow"):
        found, _ = compiled(*given)
    assert_close(found, outcome(*given))


@pytest.mark.sampled(6)
@law()
def test_vmap_is_a_loop_and_strengths_are_not_baked_in(cls):
    points = [X, Z, 0 * X]
    path = [sample(cls, strength) for strength in (0.0, 0.5, 2.0)]
    traces = TRACES[cls]
    both = [jax.tree.map(jnp.asarray, at) for at in zip(path, points, strict=True)]
    expected = [compiled(*at)[0] for at in both]
    assert TRACES[cls] <= traces + 1
    at_once = jax.jit(jax.vmap(outcome))(stacked(path), stacked(points))
    assert_close(at_once, stacked(expected))


@pytest.mark.sampled(6)
@law(has_strengths)
def test_penalties_can_be_made_of_tracers(cls):
    def made(strength, factor):
        penalty = factor * with_strengths(sample(cls), strength)
        return penalty(X), penalty.prox(X)

    penalty = 2.0 * with_strengths(sample(cls), 0.3)
    assert_close(jax.jit(made)(0.3, 2.0), (value(penalty, X), prox(penalty, X)))


@law(uses_prox=False)
def test_pytree_round_trip(cls):
    penalty = sample(cls)
    leaves, structure = jax.tree.flatten(penalty)
    assert jax.tree.unflatten(structure, leaves) == penalty
    assert jax.tree.map(lambda x: x, penalty) == penalty
    with_mask = penalty.replace(mask={"a": True, "b": False})
    assert jax.tree.structure(with_mask) == jax.tree.structure(
        penalty.replace(mask={"a": True, "b": False})
    )


# Trees, masks and strengths.


@pytest.mark.sampled(6)
@law()
def test_a_mask_separates_leaves(cls):
    penalty = sample(cls)
    params, by_name = {"kernel": X, "bias": Z}, {"kernel": True, "bias": False}
    for masked in (penalty, penalty.replace(mask=by_name)):
        moved = masked.prox(params, 0.5)
        assert masked(params) == penalty(X)
        assert moved["bias"] is Z
        chex.assert_trees_all_equal(moved["kernel"], penalty.prox(X, 0.5))
        assert not np.any(jax.grad(masked)(params)["bias"])


@pytest.mark.sampled(6)
@law(any_metric)
def test_a_metric_is_needed_only_where_the_penalty_is(cls):
    penalty, metric = sample(cls), 1 + X**2
    moved = penalty.prox({"kernel": X, "bias": Z}, 0.5, {"kernel": metric})
    chex.assert_trees_all_equal(moved, {"kernel": penalty.prox(X, 0.5, metric), "bias": Z})


@pytest.mark.sampled(6)
@law(has_strengths)
def test_strengths_per_layer(cls):
    names, (weak, strong) = strength_fields(cls), (sample(cls, 0.1), sample(cls, 2.0))
    layers = {
        name: {"a": getattr(weak, name), "b": {"c": jnp.float32(getattr(strong, name))}}
        for name in names
    }
    penalty, params = cls(**layers), {"a": X, "b": {"c": {"d": Z}}}
    assert_close(penalty(params), weak(X) + strong(Z))
    moved = {"a": weak.prox(X, 0.5), "b": {"c": {"d": strong.prox(Z, 0.5)}}}
    assert_close(penalty.prox(params, 0.5), moved)


@pytest.mark.sampled(6)
@law(entrywise, has_strengths)
def test_strengths_per_coordinate(cls):
    columns = [sample(cls, 0.1), sample(cls, 2.0)]
    both = stacked(columns)
    assert_close(both(X), sum(p(X[:, i]) for i, p in enumerate(columns)))
    moved = [p.prox(X[:, i], 0.5) for i, p in enumerate(columns)]
    assert_close(both.prox(X, 0.5), jnp.stack(moved, axis=1))


@pytest.mark.sampled(6)
@law(has_strengths, uses_prox=False)
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.array([1.0, -1.0]), {"a": -1.0}])
def test_bad_strengths_are_refused(cls, bad):
    for name in strength_fields(cls):
        with pytest.raises(ValueError, match=rf"{cls.__name__}.{name} must be non-neg"):
            cls(**{name: bad})
        with pytest.raises(ValueError, match=rf"{cls.__name__}.{name} must be non-neg"):
            sample(cls).replace(**{name: bad})


# Edges.


@jax.jit
def at_a_scalar(penalty, x):
    alone = penalty(x), penalty.prox(x), jax.grad(lambda x: penalty(x))(x)
    return alone, (penalty(x[None]), penalty.prox(x[None])[0])


@pytest.mark.sampled(6)
@law(any_shape)
def test_scalar_leaves(cls):
    alone, in_a_vector = at_a_scalar(sample(cls), jnp.array(-2.0))
    chex.assert_shape(alone, ())
    assert_close(alone[:2], in_a_vector)


@jax.jit
def at_an_empty_leaf(penalty, empty):
    both = penalty.strength_max({"none": empty, "some": X})
    moved, slope = penalty.prox(empty), jax.grad(lambda x: penalty(x))(empty)
    return penalty(empty), both, penalty.strength_max(X), moved, slope


@pytest.mark.sampled(6)
@law()
def test_empty_leaves(cls):
    empty = jnp.zeros((0, 2) if cls.min_ndim else 0)
    found, both, alone, moved, slope = at_an_empty_leaf(sample(cls), empty)
    assert found == 0
    assert both == alone
    chex.assert_equal_shape([moved, slope, empty])


@law()
def test_nan_in_nan_out(cls):
    penalty, point = sample(cls), X.copy()
    point[0, 0] = np.nan
    assert not np.isfinite(value(penalty, point))
    moved = np.isnan(prox(penalty, point))
    assert moved[0, 0]
    assert not entrywise(cls) or np.sum(moved) == 1


# Algebra.


@law(uses_prox=False)
def test_equality_hash_and_repr(cls):
    penalty = sample(cls)
    assert penalty == sample(cls)
    assert hash(penalty) == hash(sample(cls))
    assert penalty != penalty.replace(mask=jaxreg.everything)
    assert eval(repr(penalty), {cls.__name__: cls}) == penalty
    assert "mask=~weights" in repr(penalty.replace(mask=~jaxreg.weights))
    for name in strength_fields(cls):
        changed = penalty.replace(**{name: 7.0})
        assert changed != penalty
        assert getattr(changed, name) == 7.0


@pytest.mark.sampled(6)
@law(uses_prox=False)
def test_a_factor_scales_the_strengths(cls):
    penalty = sample(cls)
    doubled = penalty * 2.0
    assert doubled == 2.0 * penalty
    for name in strength_fields(cls):
        assert getattr(doubled, name) == 2 * getattr(penalty, name)
    if convex(cls):
        assert_close(doubled(Z), 2 * penalty(Z))


@pytest.mark.sampled(6)
@law()
def test_sums(cls):
    here, there = sample(cls, 0.1), sample(cls, 2.0).replace(mask=~jaxreg.weights)
    params = {"kernel": X, "bias": Z}
    both: Any = sum([here, there])
    assert_close(both(params), here(params) + there(params))
    assert_close(both.prox(params), there.prox(here.prox(params)))
    assert_close((here + here + here)(X), 3 * here(X))
    assert_close((2.0 * both)(params), (2.0 * here + 2.0 * there)(params))
    term = here.bind(X).blocks[0].term
    if term.as_square() is None and term.as_interval() is None:
        with pytest.raises(ValueError, match="must not meet on the same leaf"):
            (here + here).prox(X)


@pytest.mark.sampled(6)
@law()
@given(data=st.data())
def test_squares_meet_any_penalty_on_a_leaf(cls, data):
    penalty, x, z, step, metric = data.draw(cases(cls))
    strength = data.draw(st.floats(0.0, 2.0, width=32))
    squares = L2(strength).toward(jnp.asarray(z))
    is_first = len(cls.__name__) % 2 == 0  # Either order is a program of its own.
    both = penalty + squares if is_first else squares + penalty
    best = np.asarray(prox(both, x, step, metric), np.float64)
    points = np.concatenate([[best], rivals(np.float64(x), np.float64(z), best)])
    with jax.enable_x64(True):  # The float32 result is judged in float64.
        weight = np.ones(x.shape) if metric is None else np.float64(metric)
        reached = np.array(prox_objectives(points, penalty, np.float64(x), step, weight))
    if not finite(cls):  # In float64 the rounded prox may lie outside.
        reached[0] = step * value_inside(penalty, np.float32(best))
        reached[0] += 0.5 * np.sum(weight * np.square(best - x))
    reached += step * strength * np.sum(np.square(points - z), axis=(1, 2))
    assert reached[0] <= np.min(reached) + 1e-6 * (1 + abs(reached[0]))


@pytest.mark.sampled(6)
@law(entrywise, convex)
@given(data=st.data())
def test_intervals_meet_convex_penalties_of_entries_on_a_leaf(cls, data):
    penalty, x, z, step, metric = data.draw(cases(cls))
    for interval in (jaxreg.NonNegative(), jaxreg.Box(-0.5, 1.5), jaxreg.LinfBall(0.25)):
        low, high = interval.as_interval()
        best = np.asarray(prox(penalty + interval, x, step, metric), np.float64)
        assert interval(jnp.asarray(best, jnp.float32)) == 0
        others = np.clip(rivals(np.float64(x), np.float64(z), best), low, high)
        with jax.enable_x64(True):
            weight = np.ones(x.shape) if metric is None else np.float64(metric)
            points = np.concatenate([[best], others])
            reached = np.array(
                prox_objectives(points, penalty, np.float64(x), step, weight)
            )
        assert reached[0] <= np.min(reached) + 1e-6 * (1 + abs(reached[0]))


@pytest.mark.sampled(6)
@law(convex, finite, has_strengths)
@given(data=st.data())
def test_strength_max_of_a_sum_with_squares_is_that_of_the_other_term(cls, data):
    penalty = data.draw(penalties(cls, st.floats(0.5, 4.0, width=32)))
    slope = data.draw(arrays(SHAPE))
    one = (penalty * 1.0 + L2(0.0)).strength_max(slope)
    both = (penalty + L2(0.7)).strength_max(slope)
    alone = max(
        float(block.critical_scale([slope])) for block in penalty.bind(slope).blocks
    )
    assert both == one == pytest.approx(alone, nan_ok=True)


def test_strength_max_of_sums_is_that_of_the_classes_that_are_these_sums():
    slope = np.array([0.3, -0.7, 0.1], np.float32)
    sums = {
        jaxreg.ElasticNet(0.5, 0.1): L1(0.5) + L2(0.1),
        jaxreg.NonNegativeL1(0.5) * 1.0: L1(0.5) + jaxreg.NonNegative(),
    }
    for single, both in sums.items():
        own = float(single.strength_max(slope)) / (single.only_strength() or 1.0)
        assert both.strength_max(slope) == pytest.approx(own)
    only_second = L1(np.array([0.0, 0.5, 0.5])) + L2(0.1)
    assert only_second.strength_max(slope) == np.inf
    assert (jaxreg.Box(0.0, 1.0) + L2(0.1)).strength_max(np.abs(slope)) == 0
    assert (jaxreg.Box(0.1, 1.0) + L1(0.1)).strength_max(slope) == np.inf


def test_intervals_on_a_leaf_must_meet():
    with pytest.raises(ValueError, match="points in common, got from -0.5 and 1.0 to 0.5"):
        (jaxreg.LinfBall(0.5) + jaxreg.Box(1.0, 2.0)).prox(X)
    both = jaxreg.LinfBall(0.5) + jaxreg.NonNegative()
    assert_close(both.prox(np.array([-1.0, 0.2, 3.0])), jnp.array([0.0, 0.2, 0.5]))
    with pytest.raises(ValueError, match="strength_max must be of terms that pull to zero"):
        (L1(0.1).toward(X) + L2(0.1)).strength_max(X)


@pytest.mark.sampled(6)
@law()
def test_toward_moves_the_origin(cls):
    penalty, params = sample(cls), {"kernel": X, "bias": Z}
    pulled = penalty.toward({"kernel": Z, "bias": X})
    assert_close(pulled(params), penalty(X - Z))
    moved = {"kernel": Z + penalty.prox(X - Z, 0.5), "bias": Z}
    assert_close(pulled.prox(params, 0.5), moved)
    assert_close((2.0 * pulled)(params), (2.0 * penalty)(X - Z))


def test_strength_max_of_strengths_per_layer_is_a_factor():
    penalty = L1({"weak": 0.5, "strong": 8.0})
    assert penalty.strength_max({"weak": X, "strong": X}) == 6.0


def test_strength_max_of_nan_is_nan():
    assert np.isnan(L1().strength_max(np.array([np.nan, 1.0])))


def test_no_step_is_the_identity_even_for_infinite_strengths():
    chex.assert_trees_all_equal(L1(np.inf).prox(X, 0.0), X)


def test_penalties_with_arrays_of_strengths_are_equal():
    assert L1(np.ones(3)) == L1(np.ones(3))


@pytest.mark.parametrize("penalty", [L1().toward(X), L1() + L2()], ids=repr)
def test_combined_penalties_have_no_mask_of_their_own(penalty):
    with pytest.raises((TypeError, ValueError), match="mask"):
        penalty.replace(mask=jaxreg.everything)


def test_leaves_must_have_different_paths():
    params = OrderedDict([(1, X), ("1", Z)])
    with pytest.raises(ValueError, match="must have different paths, but among '1', '1'"):
        L1(OrderedDict([(1, 0.5), ("1", 0.1)])).prox(params)


def test_infinite_strengths_by_coordinate():
    strengths = np.array([np.inf, 0.0, 1.0])
    x = jnp.array([2.0, 2.0, 2.0])
    chex.assert_trees_all_equal(L1(strengths).prox(x), jnp.array([0.0, 2.0, 1.0]))
    chex.assert_trees_all_close(L2(strengths).prox(x), jnp.array([0.0, 2.0, 2 / 3]))


# New penalties, of other kinds than the public ones: the laws hold for them as they are.


class Length(Penalty):
    """strength · ‖w‖₂ of a whole leaf; its prox is known for uniform metrics only."""

    takes_metric: ClassVar[bool] = False
    strength: float = 1.0

    def length(self, x):
        squared = jnp.sum(jnp.square(x))
        return jnp.where(squared == 0, 0.0, jnp.sqrt(jnp.where(squared == 0, 1.0, squared)))

    def array_value(self, x):
        length = self.length(x)
        return jnp.where(length == 0, length, self.strength * length)

    def array_prox(self, x, step, metric):
        if metric is not None:
            raise ValueError("The prox of Length needs a uniform metric.")
        length = self.length(x)
        ratio = step * self.strength / jnp.where(length == 0, 1.0, length)
        return x - x * jnp.minimum(ratio, 1.0)

    def array_critical_scale(self, gradient):
        return self.length(gradient) / self.strength


class Concave(Entrywise):
    """The minimax concave penalty."""

    is_convex: ClassVar[bool] = False
    strength: float = 1.0
    width: float = static(default=2.0)

    def entry_value(self, x):
        size, knee = jaxreg.operators.abs_zero_subgradient(x), self.width * self.strength
        rising = self.strength * size - jnp.square(x) / (2 * self.width)
        rising = jnp.where(size == 0, size, rising)
        return jnp.where(size > knee, knee * self.strength / 2, rising)

    def entry_prox(self, x, step):
        slack = jnp.where(step < self.width, 1 - step / self.width, 1.0)
        firm = jaxreg.operators.soft_threshold(x, step * self.strength) / slack
        firm = jnp.where(jnp.abs(x) <= self.width * self.strength, firm, x)
        jump = self.strength * jnp.sqrt(self.width * step)
        hard = jnp.where(jnp.abs(x) <= jump, 0.0, x)
        return jnp.where(step < self.width, firm, hard)

    def slope_at_zero(self):
        return self.strength


class Signs(Entrywise):
    """A constraint, 0 or infinity, without a strength: every weight is −1 or 1."""

    is_convex: ClassVar[bool] = False
    is_finite: ClassVar[bool] = False

    def entry_value(self, x):
        return jnp.where(jnp.abs(x) == 1, 0 * x, jnp.inf)

    def entry_prox(self, x, step):
        return jnp.where(jnp.isnan(x), x, jnp.where(x < 0, -1.0, 1.0)).astype(x.dtype)

    def slope_at_zero(self):
        return 0.0


def arguments_of(check):
    """Every combination of the arguments that a law is parametrized with, but `cls`."""
    marks = dict(mark.args for mark in check.pytestmark if mark.name == "parametrize")
    given = [name for name in marks if name != "cls"]
    return [{given[0]: value} for value in marks[given[0]]] if given else [{}]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("check", [check for check, _ in LAWS], ids=lambda f: f.__name__)
def test_the_laws_hold_for_new_penalties(check):
    (conditions,) = (conditions for law, conditions in LAWS if law is check)
    for cls in concerned(conditions, [Length, Concave, Signs]):
        for arguments in arguments_of(check):
            check(cls, **arguments)


# The laws can fail: each of these penalties has one fault, found by the law beside it.


class ThresholdHalved(L1):
    def entry_prox(self, x, step):
        return super().entry_prox(x, step / 2)


class StepIgnored(L1):
    def entry_prox(self, x, step):
        return super().entry_prox(x, 1.0)


class MetricIgnored(L1):
    def array_prox(self, x, step, metric):
        return super().array_prox(x, step, None)


class FirstRegimeOnly(Concave):
    def entry_prox(self, x, step):
        return jnp.where(step < self.width, super().entry_prox(x, step), 0.0)


class LocalMinimum(Entrywise):
    """L0 with the threshold of L1: a local minimum, as in other libraries."""

    is_convex: ClassVar[bool] = False
    strength: float = 1.0

    def entry_value(self, x):
        return self.strength * (x != 0)

    def entry_prox(self, x, step):
        return jnp.where(jnp.abs(x) <= step * self.strength, 0.0, x)

    def slope_at_zero(self):
        return jnp.inf


class CalledConvex(Concave):
    is_convex: ClassVar[bool] = True


class NegativeZeros(L1):
    def entry_prox(self, x, step):
        return jnp.sign(x) * jnp.maximum(jnp.abs(x) - step * self.strength, 0.0)


class GradientOneAtZero(L1):
    def entry_value(self, x):
        return self.strength * jnp.abs(x)


class GradientNanAtZero(Length):
    def length(self, x):
        return jnp.sqrt(jnp.sum(jnp.square(x)))


class GradientHalved(L2):
    def entry_value(self, x):
        return super().entry_value((x + jax.lax.stop_gradient(x)) / 2)


class StrengthFrozen(L1):
    def entry_value(self, x):
        return jax.lax.stop_gradient(self.strength) * jaxreg.operators.abs_zero_subgradient(
            x
        )


class CriticalDoubled(L1):
    def slope_at_zero(self):
        return self.strength / 2


class PositiveAtZero(L1):
    def entry_value(self, x):
        return super().entry_value(x) + self.strength


class NanSwallowed(L1):
    def entry_prox(self, x, step):
        return jnp.nan_to_num(super().entry_prox(x, step))


class StrengthBakedIn(L1):
    def entry_prox(self, x, step):
        return super().entry_prox(x, step * (1.0 if self.strength > 0 else 0.0))


class AlwaysSingle(L1):
    def array_value(self, x):
        return jnp.sum(self.entry_value(x), dtype=jnp.float32)


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (ThresholdHalved, test_prox_beats_every_rival),
        (StepIgnored, test_prox_beats_every_rival),
        (MetricIgnored, test_prox_beats_every_rival),
        (FirstRegimeOnly, test_prox_beats_every_rival),
        (LocalMinimum, test_prox_beats_every_rival),
        (CalledConvex, test_prox_is_firmly_nonexpansive),
        (NegativeZeros, test_prox_beats_every_rival),
        (GradientOneAtZero, test_gradient_is_finite_and_zero_at_zero),
        (GradientNanAtZero, test_gradient_is_finite_and_zero_at_zero),
        (GradientHalved, test_gradient_lies_between_the_slopes_on_either_side),
        (StrengthFrozen, test_gradient_in_the_strengths_is_that_of_the_value),
        (CriticalDoubled, test_strength_max_is_the_least_that_makes_zero_the_solution),
        (PositiveAtZero, test_value_is_nonnegative_and_zero_at_zero),
        (NanSwallowed, test_nan_in_nan_out),
        (StrengthBakedIn, test_vmap_is_a_loop_and_strengths_are_not_baked_in),
        (AlwaysSingle, test_float64_is_kept),
    ],
)
def test_a_faulty_penalty_breaks_its_law(faulty, check):
    with pytest.raises((AssertionError, jax.errors.ConcretizationTypeError)):
        thorough(check)(faulty)


def thorough(check):
    """The same law with so many examples that no fault escapes it by chance."""
    if not hasattr(check, "hypothesis"):
        return check
    check = given(data=st.data())(check.hypothesis.inner_test)
    return settings(max_examples=1000, phases=[Phase.generate])(check)
