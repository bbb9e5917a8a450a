"""Coupled groups, and penalties on them: the formula, the prox in a metric, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jaxreg as jr
from tests.compaction.models import model
from tests.compaction.test_compact import X, mlp, mlp_params, numbers

GROUPS = jr.coupled_groups(mlp, mlp_params(), X)
EVERY = (jr.GroupLasso, jr.SparseGroupLasso, jr.GroupMCP, jr.L1Linf)


def test_each_weight_is_in_one_group_at_most():
    found = {member.path: (member.axis, member.labels) for member in GROUPS.members}
    assert found == {
        "b1": (0, (0, 1, 2, 3)),
        "w1": (1, (0, 1, 2, 3)),
        "w2": (0, (0, 1, 2, 3)),
    }
    assert GROUPS.left_out == ("b2",)
    assert GROUPS.count == 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # heads, units of the gate, and channels of the stream, in each layer or in all
        ("llama", 2 * 2 + 2 * 10 + 8),
        ("scanned", 2 + 10 + 8),
        ("nnx_transformer", 2 * 2 + 2 * 10 + 8),
        # experts; the results of the last kernel stay, its rows are those of the inputs
        ("experts", 4),
        ("linen_recurrent", 6 + 5),
        ("linen_resnet", 6 + 5 + 8 + 4),
        # 4 groups of the group norm; units of other layers
        ("linen_mobile", 8 + 4 + 6 + 7),
        ("equinox_cnn", 5 + 4),
    ],
)
def test_the_number_of_groups(name, expected):
    fn, params, inputs = model(name)
    shapes = jax.eval_shape(lambda: params)
    assert jr.coupled_groups(fn, shapes, *inputs(2)).count == expected


def test_the_value_is_the_sum_of_the_norms_of_units():
    params = mlp_params(zero=[])
    norms = [
        np.sqrt(
            np.sum(params["w1"][:, i] ** 2)
            + params["b1"][i] ** 2
            + np.sum(params["w2"][i] ** 2)
        )
        for i in range(4)
    ]
    value = jax.jit(jr.GroupLasso(0.5, groups=GROUPS))(params)
    np.testing.assert_allclose(value, 0.5 * np.sqrt(5 + 1 + 3) * sum(norms), rtol=1e-6)


PROX = jax.jit(jr.GroupLasso(1.0, groups=GROUPS, scale="none").prox)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), step=st.floats(0.05, 2.0))
def test_the_prox_is_exact_in_a_metric(seed, step):
    params = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(seed).normal(size=x.shape), x.dtype),
        mlp_params(),
    )
    metric = jax.tree.map(lambda x: 0.2 + 3 * jnp.abs(x[::-1]), params)
    moved = PROX(params, step, metric)
    np.testing.assert_array_equal(moved["b2"], params["b2"])
    for i in range(4):
        z, x, d = (
            np.concatenate([t["w1"][:, i], t["b1"][i : i + 1], t["w2"][i]])
            for t in (moved, params, metric)
        )
        if np.any(z != 0):  # step · z/‖z‖ + d (z − x) = 0
            optimality = step * z / np.linalg.norm(z) + d * (z - x)
            np.testing.assert_allclose(optimality, 0, atol=2e-4)
        else:
            assert np.linalg.norm(d * x) <= step * (1 + 1e-4)


@pytest.mark.parametrize("cls", EVERY)
def test_groups_over_leaves_are_those_of_one_array(cls):
    """The same numbers in one array, whose rows are the groups, give the same."""
    params = mlp_params(zero=[])
    row = lambda t: jnp.concatenate([t["w1"].T, t["b1"][:, None], t["w2"]], 1)  # noqa: E731

    @jax.jit
    def both(params):
        found = []
        one = {"kernel": row(params)}
        for penalty, tree, rows in (
            (cls(groups=GROUPS), params, row),
            (cls(group_axis=0), one, lambda t: t["kernel"]),
        ):
            value, gradient = jax.value_and_grad(penalty)(tree)
            moved = penalty.prox(tree, 0.1)
            largest = penalty.strength_max(tree)
            found.append((value, rows(gradient), rows(moved), largest))
        return found

    for x, y in zip(*both(params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_different_labels_in_different_leaves():
    """Of a concatenation, each leaf has a part of the groups."""
    params = {"a": numbers(2, 2), "b": numbers(2, 3, seed=1), "out": numbers(5, 1)}
    fn = lambda p, x: jnp.tanh(jnp.concatenate([x @ p["a"], x @ p["b"]], 1)) @ p["out"]  # noqa: E731
    groups = jr.coupled_groups(fn, params, numbers(1, 2))
    penalty = jr.GroupLasso(1.0, groups=groups, scale="none")
    value, moved = jax.jit(lambda p: (penalty(p), penalty.prox(p, 0.3)))(params)
    columns = np.concatenate([params["a"], params["b"]], 1)
    whole = np.concatenate([columns, params["out"].T])
    np.testing.assert_allclose(value, np.linalg.norm(whole, axis=0).sum(), rtol=1e-6)
    np.testing.assert_allclose(
        moved["b"], params["b"] * (1 - 0.3 / np.linalg.norm(whole, axis=0)[2:]), rtol=1e-5
    )


def test_training_with_the_penalty_removes_units():
    rng = np.random.default_rng(0)
    params = {
        k: jnp.asarray(rng.normal(size=v.shape), jnp.float32)
        for k, v in mlp_params().items()
    }
    x = jnp.asarray(rng.normal(size=(64, 5)), jnp.float32)
    y = jax.nn.relu(x[:, :1])  # one unit would do
    penalty = jr.GroupLasso(0.05, groups=GROUPS)
    optimizer = jr.prox_adam(0.02, penalty)

    @jax.jit
    def step(carry, _):
        params, state = carry
        grads = jax.grad(lambda p: jnp.mean((mlp(p, x)[:, :1] - y) ** 2))(params)
        updates, state = optimizer.update(grads, state, params)
        return (jax.tree.map(jnp.add, params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=1000)
    small = jr.compact(mlp, params, X)
    assert small.params["w1"].shape[1] < 4
    np.testing.assert_allclose(small(small.params, x), mlp(params, x), rtol=1e-4, atol=1e-5)


def test_a_penalty_with_groups_is_a_value():
    penalty = jr.GroupLasso(0.1, groups=GROUPS)
    assert penalty == jr.GroupLasso(0.1, groups=jr.coupled_groups(mlp, mlp_params(), X))
    assert hash(penalty) == hash(penalty * 2)
    assert "groups=CoupledGroups(4 groups in 3 leaves)" in repr(penalty)
    values = jax.jit(jax.vmap(lambda p: p(mlp_params())))(
        jr.GroupLasso(jnp.array([0.1, 0.2]), groups=GROUPS)
    )
    np.testing.assert_allclose(values[1], 2 * values[0], rtol=1e-6)


def test_a_mask_chooses_among_the_leaves_with_groups():
    params = mlp_params()
    penalty = jr.GroupLasso(1.0, groups=GROUPS, mask=jr.named("w1"))
    moved = jax.jit(penalty.prox)(params, 100.0)
    assert not moved["w1"].any()
    np.testing.assert_array_equal(moved["w2"], params["w2"])
    assert [r.path for r in jr.describe(penalty, params).rows if r.regularized] == ["w1"]


def test_the_table_counts_the_groups_that_are_zero():
    params = mlp_params(zero=[0, 2])
    params["w2"] = params["w2"].at[0].set(0)  # unit 0 is zero in all leaves, 2 in two
    described = jr.describe(jr.L2(0.1) + jr.GroupLasso(1.0, groups=GROUPS), params)
    assert (described.zero_groups, described.groups) == (1, 4)
    found = {row.path: (row.zero_groups, row.groups) for row in described.rows}
    assert found == {"b1": (1, 4), "b2": (None, None), "w1": (1, 4), "w2": (1, 4)}
    head, _, b1, b2, _, _, _, foot, *_ = repr(described).splitlines()
    assert head.endswith("zero groups")
    assert b1.endswith("  1 of 4")
    assert b2.endswith("  no")
    assert foot.endswith("  1 of 4")
    assert "1 of 4" in described._repr_html_()


def test_the_table_of_shapes_knows_of_no_zeros():
    penalty = jr.GroupLasso(1.0, groups=GROUPS)
    described = jr.describe(penalty, jax.eval_shape(mlp_params))
    assert (described.zero_groups, described.groups) == (None, 4)
    assert [row.groups for row in described.rows] == [4, None, 4, 4]
    assert "zero groups" not in repr(described)
    assert jr.describe(jr.L1(0.1), mlp_params()).groups is None


def test_where_nothing_could_go():
    with pytest.raises(ValueError, match="No slice of the parameters could go"):
        jr.coupled_groups(lambda p, x: x @ p["w"], {"w": numbers(5, 2)}, X)


def test_norms_by_differences_keep_their_channels():
    """Of a mean of (x − mean)², a channel that is zero is a part."""

    def fn(p, x):
        h = x @ p["in"]
        h = h - h.mean(-1, keepdims=True)
        h = h * jax.lax.rsqrt((h * h).mean(-1, keepdims=True) + 1e-5) * p["scale"]
        return jax.nn.relu(h @ p["up"]) @ p["out"]

    params = {
        "in": numbers(5, 4),
        "scale": numbers(4),
        "up": numbers(4, 3),
        "out": numbers(3, 2),
    }
    groups = jr.coupled_groups(fn, params, X)
    assert {member.path for member in groups.members} == {"up", "out"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groups": [0, 1]}, TypeError, "must be what jaxreg.coupled_groups"),
        ({"groups": GROUPS, "together": ""}, ValueError, "either groups or together"),
        ({"groups": GROUPS, "labels": [0]}, ValueError, "either groups or labels"),
    ],
)
def test_groups_of_the_wrong_kind(arguments, error, message):
    with pytest.raises(error, match=message):
        jr.GroupLasso(1.0, **arguments)


def test_parameters_that_the_groups_are_not_of():
    penalty = jr.GroupLasso(1.0, groups=GROUPS)
    with pytest.raises(ValueError, match="they have no leaf 'b1'"):
        penalty({"w1": numbers(5, 4)})
    small = jr.compact(mlp, mlp_params(), X)
    with pytest.raises(ValueError, match="Call coupled_groups again"):
        penalty(small.params)
    with pytest.raises(ValueError, match="one number for groups"):
        jr.GroupLasso(jnp.ones((1, 4)), groups=GROUPS, mask=jr.named("w1"))(mlp_params())
