"""What `compact` does with one thing at a time: small functions, and bad input."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import export

import jaxreg as jr
from tests.compaction.models import model, randomized


def numbers(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(0.5, 1, shape) * rng.choice([-1, 1], shape), jnp.float32)


def mlp(params, x):
    h = jax.nn.relu(x @ params["w1"] + params["b1"])
    return h @ params["w2"] + params["b2"]


def mlp_params(*, zero=(0, 1)):
    w1, b1 = numbers(5, 4), numbers(4)
    zero = list(zero)
    return {
        "w1": w1.at[:, zero].set(0),
        "b1": b1.at[jnp.array(zero, int)].set(0),
        "w2": numbers(4, 3, seed=1),
        "b2": numbers(3),
    }


X = numbers(2, 5, seed=2)


def compacted(fn, params, *inputs, **options):
    """The compaction, and the largest shapes of its parameters, by name."""
    small = jr.compact(fn, params, *inputs, **options)
    return small, jax.tree.map(jnp.shape, small.params)


def check(fn, params, small, *inputs):
    ours, full = small(small.params, *inputs), fn(params, *inputs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(full), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# The result.


def test_it_works_under_the_transformations():
    params = mlp_params()
    small = jr.compact(mlp, params, X)
    many = numbers(7, 5)
    expected = mlp(params, many)
    p = small.params
    np.testing.assert_allclose(jax.jit(small)(p, many), expected, rtol=1e-5)
    batched = jax.vmap(small, in_axes=(None, 0))(p, many[:, None])[:, 0]
    np.testing.assert_allclose(batched, expected, rtol=1e-5)
    _, scanned = jax.lax.scan(lambda c, x: (c, small(p, x[None])[0]), 0, many)
    np.testing.assert_allclose(scanned, expected, rtol=1e-5)
    exported = export.export(jax.jit(small))(p, many)
    np.testing.assert_allclose(exported.call(p, many), expected, rtol=1e-5)
    gradient = jax.grad(lambda p: small(p, X).sum())(p)
    full = jax.grad(lambda p: mlp(p, X).sum())(params)
    np.testing.assert_allclose(gradient["w1"], full["w1"][:, 2:], rtol=1e-5)
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), p)
    result = small(low, X.astype(jnp.bfloat16))
    assert result.dtype == jnp.bfloat16
    np.testing.assert_allclose(result.astype(float), mlp(params, X), rtol=0.05, atol=0.05)


def test_relu_keeps_its_derivative_at_zero():
    params = {"w": jnp.zeros((2, 2)).at[0, 0].set(1.0)}
    fn = lambda p, x: jax.nn.relu(x @ p["w"]) @ jnp.ones((2, 1))  # noqa: E731
    small = jr.compact(fn, params, jnp.ones((1, 2)))
    assert small.params["w"].shape == (2, 1)
    x = jnp.zeros((1, 2))
    slope = jax.grad(lambda p: small(p, jnp.array([[1.0, 0.0]])).sum())(
        {"w": jnp.zeros((2, 1))}
    )
    assert not slope["w"].any()
    check(fn, params, small, x)


def test_derivatives_of_users_are_kept():
    @jax.custom_vjp
    def straight_through(x):
        return jnp.round(x)

    straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
    params = mlp_params()
    fn = lambda p, x: straight_through(mlp(p, x))  # noqa: E731
    small, shapes = compacted(fn, params, X)
    assert shapes["w1"] == (5, 2)
    assert "custom_vjp_call" in small.notes[0]
    gradient = jax.grad(lambda p: small(p, X).sum())(small.params)
    np.testing.assert_allclose(gradient["b2"], 2.0)


def test_kept_makes_the_same_model_of_another_checkpoint():
    params = mlp_params(zero=[0])
    params["w1"] = params["w1"].at[:, 3].set(0)  # a constant unit
    small = jr.compact(mlp, params, X)
    saved = json.loads(json.dumps(small.kept))
    again = jr.compact(mlp, params, X, kept=saved)
    check(mlp, params, again, X)
    assert again.kept == small.kept
    abstract = jax.eval_shape(lambda: params)
    bare = jr.compact(mlp, abstract, X, kept=saved)
    assert jax.tree.map(jnp.shape, bare.params) == jax.tree.map(jnp.shape, small.params)
    np.testing.assert_allclose(bare(small.params, X), mlp(params, X), rtol=1e-5)
    with pytest.raises(ValueError, match="same on the example inputs"):
        jr.compact(mlp, mlp_params(zero=[1]), X, kept=saved)
    with pytest.raises(ValueError, match="does not fit these parameters"):
        jr.compact(lambda p, x: x @ p["w"], {"w": params["w1"]}, X, kept=saved)


def test_the_table_says_what_became_of_each_leaf():
    lines = repr(jr.compact(mlp, mlp_params(), X)).splitlines()
    assert lines[0].split() == ["path", "shape", "smaller", "before", "after"]
    assert lines[4].split() == ["w1", "(5,", "4)", "(5,", "2)", "20", "10"]
    assert lines[7].split() == ["parameters", "39", "21"]
    assert lines[8] == "multiply-adds: 64 -> 32 (2.00 times fewer)"
    assert lines[9] == "bytes of activations: 144 -> 96 (1.50 times fewer)"


def test_full_parameters_are_refused_by_the_small_function():
    params = mlp_params()
    small = jr.compact(mlp, params, X)
    with pytest.raises(
        ValueError, match=r"'b1' must have the shape \(2,\) here, got \(4,\)"
    ):
        small(params, X)


# What can go.


def test_constant_units_are_folded_into_what_reads_them():
    params = mlp_params(zero=[])
    params["w1"] = params["w1"].at[:, :2].set(0)
    params["b1"] = jnp.abs(params["b1"])
    small, shapes = compacted(mlp, params, X)
    assert shapes["w1"] == (5, 2)
    check(mlp, params, small, numbers(9, 5))


@pytest.mark.parametrize(("padding", "left"), [("VALID", 2), ("SAME", 3)])
def test_constant_channels_stay_where_borders_see_less_of_them(padding, left):
    params = {
        "k1": numbers(1, 1, 2, 3).at[..., 0].set(0),
        "b": jnp.ones(3),
        "k2": numbers(3, 3, 3, 2),
    }

    def fn(p, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        conv = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
            x, k, (1, 1), padding, dimension_numbers=numbers
        )
        return conv(jnp.tanh(conv(x, p["k1"]) + p["b"]), p["k2"])

    small, shapes = compacted(fn, params, numbers(1, 5, 5, 2))
    assert shapes["k1"][-1] == left
    check(fn, params, small, numbers(2, 7, 6, 2))


def test_a_layer_of_which_nothing_is_left():
    params = mlp_params(zero=[0, 1, 2, 3])
    small, shapes = compacted(mlp, params, X)
    assert shapes == {"w1": (5, 0), "b1": (0,), "w2": (0, 3), "b2": (3,)}
    check(mlp, params, small, numbers(9, 5))
    gradient = jax.grad(lambda p: small(p, X).sum())(small.params)
    np.testing.assert_allclose(gradient["b2"], 2.0)


@pytest.mark.parametrize(
    ("activation", "left"), [(jnp.tanh, 2), (jnp.exp, 2), (jnp.cos, 2), (jax.nn.softmax, 4)]
)
def test_activations_that_do_not_map_zero_to_zero(activation, left):
    params = mlp_params()
    fn = lambda p, x: activation(x @ p["w1"] + p["b1"]) @ p["w2"]  # noqa: E731
    small, shapes = compacted(fn, params, X)
    assert shapes["w1"] == (5, left)
    check(fn, params, small, numbers(9, 5))


def test_a_mean_keeps_its_divisor():
    params = mlp_params()
    fn = lambda p, x: (x @ p["w1"] + p["b1"]).mean(1)  # noqa: E731
    small, shapes = compacted(fn, params, X)
    assert shapes["w1"] == (5, 2)
    check(fn, params, small, numbers(9, 5))


@pytest.mark.parametrize(
    "reduce", [jnp.max, jnp.sort, jnp.argmax, jnp.prod, jnp.cumsum, jax.lax.cummax]
)
def test_zeros_that_count_stay(reduce):
    params = mlp_params()
    fn = lambda p, x: reduce(x @ p["w1"] + p["b1"], axis=1)  # noqa: E731
    small, shapes = compacted(fn, params, X)
    assert shapes["w1"] == (5, 4)
    check(fn, params, small, numbers(9, 5))


def test_positions_after_the_last_of_a_short_example_are_looked_at():
    table = numbers(6, 3).at[0, 0].set(0)  # zero at the only position of the example
    params = {"table": table, "w": numbers(3, 2), "in": numbers(2, 3).at[:, 0].set(0)}

    def fn(p, x):
        return jnp.tanh(x @ p["in"] + p["table"][: x.shape[1]]) @ p["w"]

    small = jr.compact(fn, params, numbers(1, 1, 2))
    check(fn, params, small, numbers(2, 4, 2))


def test_weights_that_only_longer_inputs_use_stay():
    params = {"h": numbers(3, 3), "x": numbers(2, 3), "out": numbers(3, 1)}

    def fn(p, x):  # with one step nothing would read the state
        def step(h, x):
            h = jnp.tanh(h @ p["h"] + x @ p["x"])
            return h, None

        h, _ = jax.lax.scan(step, jnp.zeros((x.shape[1], 3)), x)
        return h @ p["out"]

    small = jr.compact(fn, params, numbers(1, 2, 2))
    check(fn, params, small, numbers(5, 2, 2))


def test_a_kernel_larger_than_the_example_image():
    params = {"k": jnp.zeros((3, 3, 1, 2)).at[0, 0, 0, 0].set(1.0).at[1, 1, 0, 1].set(1.0)}

    def fn(p, x):
        return jax.lax.conv_general_dilated(
            x, p["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ).sum(-1)

    small = jr.compact(fn, params, numbers(1, 1, 1, 1))
    check(fn, params, small, numbers(1, 4, 4, 1))


def test_parameters_that_are_used_twice_and_those_that_are_not():
    params = {
        "w": numbers(4, 4).at[:, 0].set(0).at[0].set(0),
        "unused": numbers(3),
        "none": None,
        "steps": jnp.arange(3),
    }

    def fn(p, x):
        return jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"]) @ p["w"].T

    small, shapes = compacted(fn, params, numbers(2, 4))
    assert shapes["w"] == (4, 3)  # its rows are those of the inputs, too
    check(fn, params, small, numbers(3, 4))


def test_a_stream_loses_channels_if_all_layers_leave_them():
    def fn(p, x):
        x = x @ p["embed"]
        for up, down in zip(p["up"], p["down"], strict=True):
            x = x + jax.nn.gelu(x @ up) @ down
        return x @ p["head"]

    params = {
        "embed": numbers(3, 4).at[:, 1].set(0),
        "up": [numbers(4, 5), numbers(4, 5)],
        "down": [numbers(5, 4).at[:, 1].set(0), numbers(5, 4).at[:, 1].set(0)],
        "head": numbers(4, 2),
    }
    small, shapes = compacted(fn, params, numbers(2, 3))
    assert shapes["up"] == [(3, 5)] * 2
    check(fn, params, small, numbers(4, 3))
    params["down"][1] = numbers(5, 4)
    assert compacted(fn, params, numbers(2, 3))[1]["up"] == [(4, 5)] * 2


# Inputs.


def test_unused_inputs_are_reported_and_dropped_on_request():
    params = mlp_params()
    params["w1"] = params["w1"].at[jnp.array([1, 3])].set(0)
    small = jr.compact(mlp, params, X)
    assert small.unused_inputs == {"inputs/0": {1: [1, 3]}}
    assert small.params["w1"].shape == (5, 2)
    assert "2 indices of axis 1 of inputs/0" in repr(small)
    fewer = jr.compact(mlp, params, X, drop_inputs=True)
    assert fewer.inputs == {"inputs/0": {1: [0, 2, 4]}}
    assert fewer.params["w1"].shape == (3, 2)
    x = numbers(9, 5)
    np.testing.assert_allclose(
        fewer(fewer.params, x[:, jnp.array([0, 2, 4])]), mlp(params, x), rtol=1e-5
    )
    with pytest.raises(ValueError, match="'inputs/0' must have the shape"):
        fewer(fewer.params, x)


def test_pytrees_of_inputs_and_results():
    params = mlp_params()

    def fn(p, batch, scale):
        y = mlp(p, batch["x"]) * scale
        return {"y": y, "class": jnp.argmax(y, 1), "key": batch["key"]}

    batch = {"x": X, "key": jax.random.key(0)}
    small = jr.compact(fn, params, batch, 2.0)
    assert small.params["w1"].shape == (5, 2)
    ours, full = small(small.params, batch, 2.0), fn(params, batch, 2.0)
    assert ours["class"].dtype == full["class"].dtype
    np.testing.assert_array_equal(ours["class"], full["class"])
    assert ours["key"] == full["key"]


# Bad input, and what is not known.


def test_without_zeros_everything_stays_and_it_says_so():
    params = mlp_params(zero=[])
    small = jr.compact(mlp, params, X)
    assert jax.tree.map(jnp.shape, small.params) == jax.tree.map(jnp.shape, params)
    assert "no zeros to remove" in small.notes[0]


def test_unknown_primitives_keep_what_they_read_and_are_named():
    params = mlp_params()

    def fn(p, x):
        h = jax.nn.relu(x @ p["w1"] + p["b1"])
        h = jax.lax.cond(x.sum() > 0, lambda h: h + 1, lambda h: h, h)
        return h @ p["w2"]

    small, shapes = compacted(fn, params, X)
    assert shapes["w1"] == (5, 4)
    assert "cond" in small.notes[-1]
    assert any("cond reads it" in row.reason for row in small.rows)
    check(fn, params, small, numbers(9, 5))


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_parameters_must_be_finite(value):
    params = mlp_params()
    params["w2"] = params["w2"].at[0, 0].set(value)
    with pytest.raises(ValueError, match="must be finite, but the leaf 'w2'"):
        jr.compact(mlp, params, X)


def test_functions_must_be_pure():
    count = iter(range(9))
    fn = lambda p, x: mlp(p, x) + next(count)  # noqa: E731
    with pytest.raises(ValueError, match="not pure"):
        jr.compact(fn, mlp_params(), X)


def test_arguments_of_the_wrong_kind():
    params: Any = mlp_params()
    with pytest.raises(TypeError, match="must be a function"):
        jr.compact(params, mlp, X)
    with pytest.raises(TypeError, match="input 0 must be an array, got str"):
        jr.compact(mlp, params, "x")
    with pytest.raises(TypeError, match="cannot be called inside jit"):
        jax.jit(lambda p: jr.compact(mlp, p, X).params)(params)
    with pytest.raises(TypeError, match="without `kept`"):
        jr.compact(mlp, jax.eval_shape(lambda: params), X)
    params["w1"].delete()
    with pytest.raises(ValueError, match="has been deleted"):
        jr.compact(mlp, params, X)


def test_a_function_that_is_built_differently_for_other_shapes():
    params = mlp_params()

    def fn(p, x):
        h = jax.nn.relu(x @ p["w1"] + p["b1"])
        return h @ p["w2"] if x.shape[0] < 5 else jnp.sort(h, 1) @ p["w2"]

    small = jr.compact(fn, params, X)
    with pytest.raises(ValueError, match="built differently"):
        small(small.params, numbers(9, 5))


# Random patterns of zeros.


def tangled(p, x):
    """Units that are gated, normalized, joined, split, reshaped and read twice."""
    h = jnp.tanh(x @ p["a"] + p["a_bias"])
    gate, value = jnp.split(h @ p["b"], 2, axis=1)
    h = jnp.concatenate([jax.nn.sigmoid(gate) * value, h[:, ::-1]], axis=1)
    h = h * jax.lax.rsqrt((h**2).mean(1, keepdims=True) + 1e-3) * p["scale"]
    heads = (h @ p["c"]).reshape(-1, 2, 3)
    scores = jnp.einsum("nhd,mhd->hnm", heads, heads + p["c_bias"])
    mixed = jnp.einsum("hnm,mhd->nhd", jax.nn.softmax(scores), heads).reshape(-1, 6)
    return jax.nn.relu(mixed @ p["d"] + p["d_bias"]) @ p["e"] + h @ p["f"]


TANGLED = {
    "a": (3, 4),
    "a_bias": (4,),
    "b": (4, 6),
    "scale": (7,),
    "c": (7, 6),
    "c_bias": (2, 3),
    "d": (6, 5),
    "d_bias": (5,),
    "e": (5, 2),
    "f": (7, 2),
}


@st.composite
def patterns(draw, shapes):
    """For each leaf, which entries are not zero: by slices of an axis, or one by one."""
    masks = {}
    for name, shape in shapes.items():
        kind = draw(st.sampled_from(["all", "slices", "slices", "entries"]))
        mask = np.ones(shape, bool)
        if kind == "slices":
            axis = draw(st.integers(0, len(shape) - 1))
            gone = draw(st.sets(st.integers(0, shape[axis] - 1)))
            np.moveaxis(mask, axis, 0)[list(gone)] = False
        elif kind == "entries":
            seed = draw(st.integers(0, 99))
            mask = np.random.default_rng(seed).random(shape) < 0.4
        masks[name] = mask
    return masks


@settings(max_examples=12)
@given(masks=patterns(TANGLED))
def test_no_pattern_of_zeros_changes_the_function(masks):
    params = {
        name: numbers(*shape, seed=i) * masks[name]
        for i, (name, shape) in enumerate(TANGLED.items())
    }
    small = jr.compact(tangled, params, numbers(2, 3))
    assert small.parameters[1] <= small.parameters[0]
    x = numbers(3, 3)
    with jax.disable_jit():
        check(tangled, params, small, x)


@pytest.mark.exhaustive
@settings(max_examples=3)
@given(seed=st.integers(0, 999), name=st.sampled_from(["llama", "experts", "scanned"]))
def test_no_pattern_of_zeros_changes_a_model(seed, name):
    fn, params, inputs = model(name)
    rng = np.random.default_rng(seed)

    def thinned(x):
        x = np.array(x)
        axis = rng.integers(x.ndim)
        gone = rng.random(x.shape[axis]) < rng.choice([0.0, 0.3, 0.7])
        np.moveaxis(x, axis, 0)[gone] = 0
        return jnp.asarray(x)

    params = jax.tree.map(thinned, params)
    small = jr.compact(fn, params, *inputs(2))
    check(jax.jit(fn), params, small, *inputs(3))


def test_randomized_parameters_have_no_zeros():
    assert jnp.all(randomized({"w": jnp.zeros((3, 3))})["w"] != 0)
