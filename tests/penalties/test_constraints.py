"""Constraints: against other solvers, brute force, and defects of other libraries."""

import itertools
from typing import Any, cast

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import jaxreg
from jaxreg import (
    Box,
    Cardinality,
    L1Ball,
    L2Ball,
    LinfBall,
    MaxNorm,
    NOfM,
    NonNegative,
    Rank,
    Simplex,
    proximal,
)
from jaxreg.operators import (
    project_cardinality,
    project_l1_ball,
    project_l2_ball,
    project_n_of_m,
    project_simplex,
)
from tests.helpers import atoms
from tests.helpers.strategies import arrays, metrics

BALLS = [L1Ball, L2Ball, Simplex]
PROJECTIONS = [project_l1_ball, project_l2_ball, project_simplex, project_cardinality]

every_ball = pytest.mark.parametrize("cls", BALLS)
every_projection = pytest.mark.parametrize("project", PROJECTIONS)

prox = jax.jit(lambda penalty, x, step=1.0, metric=None: penalty.prox(x, step, metric))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def equal(actual, expected):
    chex.assert_trees_all_equal(actual, expected)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(size=shape, scale=scale).astype(np.float32)


# Against Clarabel, in the Euclidean and in random diagonal metrics, in float64.


CONVEX: dict[str, Any] = {
    "L1Ball": L1Ball,
    "L2Ball": L2Ball,
    "LinfBall": LinfBall,
    "Simplex": Simplex,
    "Box": lambda radius: Box(-radius, radius / 2),
    "NonNegative": lambda radius: NonNegative(),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", CONVEX)
def test_projections_are_what_clarabel_finds(kind):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    changed = []
    for scale, ratio in itertools.product((0.1, 1.0, 20.0), (1.0, 10.0, 1000.0)):
        x = rng.normal(size=5, scale=3)
        metric = np.exp(rng.uniform(-np.log(ratio) / 2, np.log(ratio) / 2, 5))
        z = cp.Variable(5)
        penalty = CONVEX[kind](scale * rng.uniform(0.5, 2.0))
        distance = 0.5 * cp.sum(cp.multiply(metric, cp.square(z - x)))
        problem = cp.Problem(cp.Minimize(distance), atoms.conditions(cp, penalty, z))
        atoms.solved(cp, problem)
        with jax.enable_x64(True):
            diagonal = None if ratio == 1 else metric
            moved = np.asarray(penalty.prox(x, 0.37, diagonal))
            assert penalty(moved) == 0
        assert 0.5 * np.sum(metric * (moved - x) ** 2) <= problem.value * (1 + 1e-9) + 1e-9
        np.testing.assert_allclose(moved, z.value, atol=2e-4)
        changed.append(np.any(moved != x))
    assert any(changed)


def least_squares(penalty, optimizer, a, b, steps):
    @jax.jit
    def run(w):
        def step(carry, _):
            w, state = carry
            gradient = jax.grad(lambda w: jnp.mean(jnp.square(a @ w - b)) / 2)(w)
            updates, state = optimizer.update(gradient, state, w)
            return (optax.apply_updates(w, updates), state), None

        return jax.lax.scan(step, (w, optimizer.init(w)), None, length=steps)[0][0]

    return run(jnp.zeros(a.shape[1]))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", ["L1Ball", "L2Ball", "Simplex", "NonNegative"])
@pytest.mark.parametrize("optimizer", [jaxreg.prox_sgd, jaxreg.prox_adam])
def test_optimizers_reach_the_constrained_minimum(kind, optimizer):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(1)
    a = np.float32(rng.normal(size=(40, 6)) * np.geomspace(0.3, 3, 6))
    b = np.float32(a @ rng.normal(size=6) + rng.normal(size=40))
    z = cp.Variable(6)
    penalty = CONVEX[kind](0.7)
    conditions = atoms.conditions(cp, penalty, z)
    atoms.solved(cp, cp.Problem(cp.Minimize(cp.sum_squares(a @ z - b)), conditions))
    w = least_squares(penalty, optimizer(0.02, penalty), a, b, 4000)
    np.testing.assert_allclose(w, z.value, atol=2e-3)
    assert penalty(w) == 0
    if kind != "L2Ball":
        equal(np.asarray(w) == 0, np.abs(z.value) < 1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", [optax.adamw, optax.lion, optax.sgd])
def test_max_norm_holds_after_any_optimizer(optimizer, rate):
    params: Any = {"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]]), "bias": 9 * jnp.ones(2)}
    tx = optax.chain(optimizer(rate), proximal(rate, MaxNorm(1.0)))
    state = tx.init(params)
    for _ in range(3):
        gradients = jax.tree.map(jnp.negative, params)
        updates, state = tx.update(gradients, state, params)
        params = cast(Any, optax.apply_updates(params, updates))
        lengths = np.linalg.norm(params["kernel"], axis=0)
        assert np.all(lengths <= 1 + 1e-6)
        assert np.all(params["bias"] >= 9)


# Against Optax, where it is right, and against enumeration.


@jax.jit
def pairs_with_optax(x, radius):
    theirs = optax.projections
    return [
        (L1Ball(radius).prox(x), theirs.projection_l1_ball(x, radius)),
        (L2Ball(radius).prox(x), theirs.projection_l2_ball(x, radius)),
        (Simplex(radius).prox(x), theirs.projection_simplex(x, radius)),
        (LinfBall(radius).prox(x), theirs.projection_linf_ball(x, radius)),
        (Box(-radius, 1.0).prox(x), theirs.projection_box(x, -radius, 1.0)),
        (NonNegative().prox(x), theirs.projection_non_negative(x)),
    ]


@given(x=arrays((4,)), radius=st.floats(2**-6, 20.0, width=32))
def test_optax_agrees(x, radius):
    for ours, theirs in pairs_with_optax(x, radius):
        close(ours, theirs, 1e-5, 1e-5)


def best_support(x, metric, count):
    """The least distance to a vector with at most `count` non-zeros."""
    lost: Any = np.float64(metric) * np.float64(x) ** 2
    supports = itertools.combinations(range(x.size), min(count, x.size))
    return min(np.sum(lost) - sum(lost[i] for i in support) for support in supports)


@given(x=arrays((5,)), metric=metrics((5,)), count=st.integers(0, 6))
def test_no_support_is_better_than_that_of_the_largest(x, metric, count):
    x[1] = -x[0]  # A tie, in the Euclidean metric.
    for d in (None, metric):
        reached = np.asarray(prox(Cardinality(count), x, 1.0, d))
        assert np.sum(reached != 0) <= count
        assert np.all((reached == x) | (reached == 0))
        weight = np.ones(5) if d is None else d
        lost = np.sum(np.float64(weight) * np.float64(x - reached) ** 2)
        least = best_support(x, weight, count)
        assert lost <= least + 1e-6 * (1 + least)


@given(x=arrays((6, 2)), metric=metrics((6, 2)), n=st.integers(0, 3))
def test_no_support_is_better_than_that_of_each_block(x, metric, n):
    x[1] = x[0]
    for d in (None, metric):
        reached = np.asarray(NOfM(n, 3).prox(x, 1.0, d))
        weight = np.ones((6, 2)) if d is None else d
        for rows, column in itertools.product((slice(0, 3), slice(3, 6)), (0, 1)):
            block, kept = x[rows, column], reached[rows, column]
            assert np.sum(kept != 0) <= n
            assert np.all((kept == block) | (kept == 0))
            lost = np.sum(np.float64(weight[rows, column]) * (block - kept) ** 2)
            least = best_support(block, weight[rows, column], n)
            assert lost <= least + 1e-6 * (1 + least)


def test_torch_prunes_the_same_two_of_four():
    pruning = pytest.importorskip("torch.ao.pruning")
    torch = pytest.importorskip("torch")
    weight = normal(8, 16)  # (units, inputs)
    layer = torch.nn.Sequential(torch.nn.Linear(16, 8, bias=False))
    layer[0].weight.data = torch.tensor(weight)
    sparsifier = pruning.WeightNormSparsifier(1.0, (1, 4), 2)
    sparsifier.prepare(layer, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    theirs = layer[0].weight.detach().numpy()
    equal(NOfM().prox({"kernel": weight.T})["kernel"], theirs.T)
    equal(NOfM(axis=-1).prox(weight), theirs)
    equal(project_n_of_m(weight), theirs)


def test_blocks_of_a_convolution_lie_along_its_input_channels():
    kernel = normal(3, 3, 8, 2)
    reached = np.asarray(NOfM().prox(kernel))
    counts = np.sum(reached.reshape(3, 3, 2, 4, 2) != 0, axis=3)
    assert np.all(counts == 2)
    assert NOfM()(kernel) == np.inf


@pytest.mark.sampled(2)
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 7])
def test_no_matrix_of_a_rank_is_nearer(rank):
    x = normal(2, 5, 4)
    reached = np.asarray(Rank(rank).prox(x))
    for matrix, near in zip(x.astype(float), reached, strict=True):
        left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
        close(near, (left[:, :rank] * sizes[:rank]) @ right[:rank], 1e-5, 1e-5)
        for seed in range(50):
            a, b = normal(5, rank, seed=seed), normal(rank, 4, seed=seed + 99)
            for rival in (a @ b, near + 1e-2 * near @ normal(4, 4, seed=seed)):
                assert np.sum((matrix - near) ** 2) <= np.sum((matrix - rival) ** 2) + 1e-5


# Derivatives of the projections.


def assert_derivatives_are_right(function, arguments):
    every = range(len(arguments))
    jacobians = jax.jit(jax.jacrev(function, every))(*arguments)
    close(jax.jit(jax.jacfwd(function, every))(*arguments), jacobians, 1e-9, 1e-9)
    for i in every:
        direction = np.random.default_rng(100 + i).normal(size=np.shape(arguments[i]))
        ahead, behind = (
            function(*arguments[:i], arguments[i] + h * direction, *arguments[i + 1 :])
            for h in (1e-6, -1e-6)
        )
        slope = np.tensordot(jacobians[i], direction, np.ndim(direction))
        close(slope, (ahead - behind) / 2e-6, 1e-5, 1e-6)


@pytest.mark.sampled(3)
@every_ball
def test_derivatives_are_right(cls):
    with jax.enable_x64(True):
        x, metric = normal(3, 4, scale=2).astype(float), np.exp(normal(3, 4).astype(float))
        x[:, 0] /= 100  # A group inside the balls.

        def in_metric(x, radius, metric):
            return cls(radius, group_axis=-1).prox(x, 1.0, metric)

        assert_derivatives_are_right(in_metric, (x, 1.3, metric))
        if cls is L2Ball:  # Only there is it another formula.
            assert_derivatives_are_right(
                lambda x, r: cls(r, group_axis=-1).prox(x), (x, 1.3)
            )


def test_derivatives_of_truncated_matrices_are_right():
    with jax.enable_x64(True):
        for shape in ((2, 4, 3), (3, 4)):
            x = np.float64(normal(*shape))
            assert_derivatives_are_right(lambda x: Rank(2).prox(x), (x,))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cls", [*BALLS, LinfBall])
def test_derivatives_are_finite_at_kinks(cls):
    slopes_of = jax.jit(jax.jacrev(lambda x, penalty, d: penalty.prox(x, 1.0, d), (0, 1)))
    metric = jnp.array([1.0, 2.0, 3.0])
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 3, 3], [0.5, 0.5, 0], [-1, 0, 1]]
    for point, radius, d in itertools.product(points, (0.0, 1.0), (None, metric)):
        slopes = slopes_of(jnp.array(point, float), cls(radius), d)
        assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


def test_derivatives_of_rank_are_finite_where_singular_values_are_equal():
    slopes_of = jax.jit(jax.jacrev(lambda x, rank: Rank(rank).prox(x)))
    for x in (np.zeros((3, 3)), np.eye(3), np.diag([2.0, 1.0, 1.0])):
        for rank in range(4):
            assert np.all(np.isfinite(slopes_of(jnp.float32(x), rank)))


# Groups.


def test_balls_of_several_shapes():
    x = normal(4, 3, scale=3)
    for cls in (L1Ball, L2Ball, Simplex):
        rows = [prox(cls(r), row) for r, row in zip((0.5, 1.0, 2.0, 0.0), x, strict=True)]
        limits = np.array([[0.5], [1.0], [2.0], [0.0]])
        close(prox(cls(limits, group_axis=0), x), np.stack(rows))
        labelled = prox(cls(1.5, group_axis=0, labels=(1, 0, 1, 0)), x)
        parts = {"a": x[:1], "d": {"c": x[2:3]}}
        whole = prox(cls(1.5, together=""), parts)
        close(np.concatenate([whole["a"], whole["d"]["c"]]), labelled[::2])
        close(prox(cls(1.5), x[::2]), labelled[::2])
        assert cls(1.5, together="")(whole) == 0
        assert cls(1.5, together="")(parts) == np.inf
    close(
        MaxNorm(1.5).prox(x),
        L2Ball(0.75, group_axis=-1, scale=(2, 2, 2)).prox(x),
        2e-7,
        0.0,
    )


def test_in_a_metric_over_several_leaves():
    x, metric = normal(4, 3, scale=3), np.exp(normal(4, 3, seed=1))
    for cls in [L1Ball, L2Ball, Cardinality]:
        whole = cls(3.0, together="").prox(
            {"a": x[:1], "c": x[1:]}, 1.0, {"a": metric[:1], "c": metric[1:]}
        )
        expected = cls(3.0).prox(x, 1.0, metric)
        close(np.concatenate([whole["a"], whole["c"]]), expected)


def test_limits_per_layer_and_a_path_of_them():
    layers = {"a": normal(4, 2), "c": normal(4, 2, seed=1)}
    for cls in [L1Ball, LinfBall, Cardinality, Rank]:
        moved = cls({"a": 1, "c": 2}).prox(layers)
        equal(moved, {"a": cls(1).prox(layers["a"]), "c": cls(2).prox(layers["c"])})
        limits = jnp.array([0.0, 1.0, 3.0])
        path = jax.vmap(prox, (0, None))(cls(limits), layers["a"])
        close(path, np.stack([prox(cls(limit), layers["a"]) for limit in limits]))


def test_the_largest_of_groups_of_all_kinds():
    x = jnp.array([[1.0, -5.0], [4.0, 2.0], [-3.0, 6.0]])
    equal(Cardinality(1, group_axis=-1).prox(x), jnp.array([[0, 0], [4.0, 0], [0, 6.0]]))
    labelled = Cardinality(1, group_axis=0, labels=(0, 0, 1)).prox(x)
    equal(labelled, jnp.array([[0, -5.0], [0, 0], [0, 6.0]]))
    counts = Cardinality(np.array([2, 0]), group_axis=-1).prox(x)
    equal(counts, jnp.array([[0, 0], [4.0, 0], [-3.0, 0]]))
    joined = Cardinality(3, together="").prox({"a": x, "c": -x[:1]})
    equal(joined, {"a": x * (abs(x) > 4), "c": jnp.array([[0, 5.0]])})


def test_equal_entries_are_kept_in_order():
    ones = jnp.ones((2, 3))
    for count in range(7):
        kept = Cardinality(count, together="").prox({"a": ones[:1], "c": ones[1:]})
        expected = np.arange(6).reshape(2, 3) < count
        equal(np.concatenate([kept["a"], kept["c"]]), np.float32(expected))
    tied = jnp.array([[2.0], [1.0], [1.0], [1.0]])
    equal(NOfM().prox(tied), jnp.array([[2.0], [1.0], [0.0], [0.0]]))


# Defects of other libraries.


def test_radius_zero_is_the_origin_not_nan_as_in_jaxopt_and_optax():
    x = jnp.array([1.0, -2.0, 3.0])
    assert np.all(np.isnan(optax.projections.projection_l1_ball(x, 0.0)))
    for cls in [*BALLS, LinfBall, MaxNorm, Cardinality]:
        for point in (x, 0 * x):
            reached = np.asarray(prox(cls(0.0), point, 1.0, x**2))
            assert not np.any(reached)
            assert not np.any(np.signbit(reached))
            assert cls(0.0)(reached) == 0


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_bad_limits_are_refused_unlike_in_jaxopt_and_optax(bad):
    x = jnp.array([1.0, -2.0])
    for cls in [*BALLS, LinfBall, MaxNorm, Cardinality, Rank]:
        with pytest.raises(ValueError, match=rf"{cls.__name__}.\w+ must be non-negative"):
            cls(bad)
    for project in PROJECTIONS:
        with pytest.raises(ValueError, match=r"(radius|total|count) must be non-neg"):
            project(x, bad)


def test_points_inside_are_not_moved_to_the_sphere_as_in_scico():
    equal(L2Ball(10.0).prox(jnp.array([3.0, 4.0])), jnp.array([3.0, 4.0]))
    equal(L2Ball(5.0).prox(jnp.array([3.0, 4.0])), jnp.array([3.0, 4.0]))
    equal(L1Ball(7.0).prox(jnp.array([3.0, -4.0])), jnp.array([3.0, -4.0]))
    equal(Simplex().prox(jnp.array([0.25, 0.75])), jnp.array([0.25, 0.75]))


def test_a_negative_weight_is_not_in_the_simplex_though_the_sum_is_right():
    x = jnp.array([2.0, -1.0])
    assert Simplex()(x) == np.inf
    equal(Simplex().prox(x), jnp.array([1.0, 0.0]))


def test_points_inside_keep_their_bits_unlike_in_optax():
    x = normal(300, 7)
    for cls, sizes, theirs in (
        (L2Ball, np.linalg.norm(x, axis=1), optax.projections.projection_l2_ball),
        (L1Ball, np.sum(np.abs(x), axis=1), optax.projections.projection_l1_ball),
    ):
        limits = (sizes * 1.0001).astype(np.float32)[:, None]
        equal(cls(limits, group_axis=0).prox(x), x)
        reached = cls(limits / 2, group_axis=0).prox(x)
        equal(cls(limits / 2, group_axis=0).prox(reached), reached)
        once = jax.vmap(theirs)(x, limits[:, 0] / 2)
        assert np.any(jax.vmap(theirs)(once, limits[:, 0] / 2) != once)


def test_the_l2_ball_is_right_at_zero_where_the_sphere_of_optax_is_nan():
    zero = jnp.zeros(3)
    assert np.all(np.isnan(optax.projections.projection_l2_sphere(zero, 1.0)))
    equal(L2Ball(1.0).prox(zero), zero)
    equal(jax.jacrev(L2Ball(1.0).prox)(zero), jnp.eye(3))


def test_bfloat16_leaves_which_optax_refuses():
    x = jnp.array([3.0, 1.0], jnp.bfloat16)
    with pytest.raises(TypeError):
        optax.projections.projection_l1_ball(x, 1.0)
    equal(L1Ball(1.0).prox(x), jnp.array([1.0, 0.0], jnp.bfloat16))
    for project in PROJECTIONS:
        assert project(x, 1.0).dtype == jnp.bfloat16


# Numbers at the ends of their range.


def test_large_and_small_numbers():
    for unit in (1e-30, 1.0, 1e30):
        x = np.float32(unit) * jnp.array([3.0, 4.0])
        close(L2Ball(unit).prox(x) / x, jnp.array([0.2, 0.2]))
        close(L2Ball(unit).prox(x, 1.0, jnp.full(2, 7.0)) / x, jnp.array([0.2, 0.2]))
        close(L1Ball(unit).prox(x) / np.float32(unit), jnp.array([0.0, 1.0]))
    far = jnp.array([1e9, 0.0, -1e9])
    equal(Simplex().prox(far), jnp.array([1.0, 0.0, 0.0]))
    equal(L1Ball().prox(far[:2]), jnp.array([1.0, 0.0]))
    masked = jnp.array([0.2, 0.9, -1e8, -jnp.inf])
    close(Simplex().prox(masked), jnp.array([0.15, 0.85, 0.0, 0.0]))


@every_ball
def test_sums_of_many_entries_are_right(cls):
    for x, radius in ((normal(30_000), 500.0), (1 + 1e-4 * normal(30_000), 3.0)):
        for metric in (None, np.exp(3 * normal(30_000, seed=1))):
            penalty = cls(radius)
            reached = prox(penalty, x, 1.0, metric)
            assert penalty(reached) == 0
            total = np.float64(np.abs(reached))
            if cls is L2Ball:
                limit = min(radius, np.linalg.norm(np.float64(x)))
                close(np.sqrt(np.sum(total**2)), limit, 1e-5)
            else:
                close(np.sum(total), radius, 2e-5)


def test_leaves_of_several_dtypes_together():
    params = {"a": jnp.float32(normal(50)), "c": jnp.asarray(normal(50), jnp.bfloat16)}
    for cls in (L1Ball, L2Ball):
        penalty = cls(3.0, together="")
        reached = penalty.prox(params)
        assert penalty(reached) == 0
        equal(penalty.prox(reached), reached)


def test_tolerance_says_what_is_inside():
    x = jnp.array([0.6, 0.8]) * 1.01
    assert L2Ball()(x) == np.inf
    assert L2Ball(tolerance=0.02)(x) == 0
    equal(L2Ball(tolerance=0.02).prox(x), x)
    assert LinfBall(tolerance=0.02)(jnp.array([-1.01])) == 0
    assert Rank(1, tolerance=0.1)(jnp.diag(jnp.array([1.0, 0.05]))) == 0
    with pytest.raises(ValueError, match="L2Ball.tolerance must be non-negative"):
        L2Ball(tolerance=-1.0)


@pytest.mark.parametrize("penalty", [Cardinality(9), Rank(9), NOfM(4, 4), L1Ball(np.inf)])
def test_nan_is_inside_no_set(penalty):
    sick = jnp.full((4, 2), jnp.nan)
    assert penalty(sick) == np.inf
    assert np.all(np.isnan(penalty.prox(sick)))


# Limits of other kinds.


def test_bounds_of_every_sign():
    x = jnp.array([-2.0, 0.5, 2.0])
    equal(Box(-np.inf, -1.0).prox(x), jnp.array([-2.0, -1.0, -1.0]))
    equal(Box(jnp.array([-1.0, 1.0, 0.0]), np.inf).prox(x), jnp.array([-1.0, 1.0, 2.0]))
    assert Box(-np.inf, np.inf, tolerance=0.0)(x) == 0
    layers = Box({"a": -1.0, "c": 0.0}, {"a": 0.0, "c": 1.0}).prox({"a": x, "c": x})
    equal(layers["a"], jnp.array([-1.0, 0.0, 0.0]))
    equal(layers["c"], jnp.array([0.0, 0.5, 1.0]))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: Box(1.0, 0.0), "Box.low must not exceed Box.high, got 1.0 and 0.0"),
        (lambda x: Box({"a": 2.0}).prox({"a": x}), "Box.low must not exceed Box.high"),
        (lambda x: Box(np.nan), "Box.low must be a number, got nan"),
        (lambda x: NOfM(5, 4), "NOfM.n must be from 0 to m, .* got n = 5 and m = 4"),
        (lambda x: NOfM(0, 0), "m positive, got n = 0 and m = 0"),
        (lambda x: NOfM()(x), "the array given: the length of axis -2 must be div"),
        (lambda x: NOfM(1, 2, axis=5)(x), "axis must be one of an array of shape"),
        (lambda x: NOfM()(x[0]), "for leaves with at least 2 axes"),
        (lambda x: project_n_of_m(x), "axis -1 must be divisible by m = 4, got shape"),
        (lambda x: project_n_of_m(x, 3, 2), "n must be from 0 to m"),
        (lambda x: Rank().prox(x, 1.0, x), "uniform metric only.*prox_sgd"),
        (lambda x: Rank()(x[0]), "for leaves with at least 2 axes"),
        (lambda x: L1Ball(jnp.ones((3, 2)), group_axis=-1)(x), "one number for each group"),
    ],
)
def test_mistakes_are_explained(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(jnp.ones((3, 2)))


@pytest.mark.parametrize("bad", [2.0, True, "2"])
def test_counts_of_blocks_are_ints(bad):
    with pytest.raises(TypeError, match="NOfM.n must be an int"):
        NOfM(bad, 4)


def test_the_critical_strength_is_zero_where_nothing_else_is_allowed():
    pulls = jnp.array([[1.0, 2.0], [0.5, 0.0]])
    assert NonNegative().strength_max(pulls) == 0
    assert NonNegative().strength_max(-pulls) == np.inf
    for cls in [L1Ball, Simplex, LinfBall, Cardinality, Rank]:
        assert cls(0.0).strength_max(pulls) == 0
        assert cls(1.0).strength_max(pulls) == np.inf
    assert L2Ball().strength_max(0 * pulls) == 0


@pytest.mark.sampled(2)
@every_projection
def test_operators_are_the_proxes(project):
    x, metric = normal(4, 3, scale=2), np.exp(normal(4, 3, seed=1))
    classes = [L1Ball, L2Ball, Simplex, Cardinality]
    cls = dict(zip(PROJECTIONS, classes, strict=True))[project]
    limits = np.arange(4.0, dtype=np.float32)[:, None]
    expected = cls(limits, group_axis=0).prox(x, 1.0, metric)
    close(project(x, limits, 0, metric), expected)
    close(jax.vmap(project, (0, 0, None, 0))(x, limits[:, 0], (), metric), expected)
