"""Which leaves are regularized: in every framework, and however the mask is given."""

import dataclasses
import re
from typing import Any, NamedTuple

import chex
import equinox as eqx
import flax.core
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxreg
from jaxreg import (
    L1,
    L2,
    add_l2_decay,
    describe,
    everything,
    matrices,
    named,
    proximal,
    weights,
)
from jaxreg.masks import as_mask

# Earlier versions of Flax call it `pure`.
as_pure: Any = nnx.as_pure if hasattr(nnx, "as_pure") else getattr(nnx, "pure")  # noqa: B009

KEY = jax.random.key(0)
ONES = jnp.ones((2, 3))


def chosen(params, mask: Any = weights):
    """The paths of the leaves that a mask chooses, checked to be those of `mask.of`."""
    rows = describe(mask, params).rows
    flags = as_mask(mask).of(params)
    assert jax.tree.structure(flags) == jax.tree.structure(params)
    assert sum(flag for flag in jax.tree.leaves(flags)) == sum(
        bool(r.regularized) for r in rows
    )
    return {row.path for row in rows if row.regularized}


# The default mask, framework by framework.


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4)(nn.Embed(5, 4)(x))
        x = nn.LayerNorm()(nn.BatchNorm(use_running_average=True)(x))
        x = nn.RMSNorm(name="final_norm")(x)
        boxed = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
        return nn.Dense(3, kernel_init=boxed, name="head")(x)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, carry, _):
        return nn.LayerNorm()(nn.Dense(4)(carry)), None


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
        copies: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        layers = nn.scan(Layer, length=3, **copies)
        return layers(name="layers")(x, None)[0]


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(3, 4, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs)])
        self.batch = nnx.BatchNorm(4, rngs=rngs)
        self.layer = nnx.LayerNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


class Equinox(eqx.Module):
    mlp: eqx.nn.MLP
    sequence: eqx.nn.Sequential
    cell: eqx.nn.GRUCell
    activation: Any
    depth: int

    def __init__(self):
        parts = [eqx.nn.Linear(2, 3, key=KEY), eqx.nn.LayerNorm(3), eqx.nn.Lambda(jnp.tanh)]
        self.mlp = eqx.nn.MLP(2, 2, 3, depth=1, key=KEY)
        self.sequence = eqx.nn.Sequential(parts)
        self.cell = eqx.nn.GRUCell(2, 3, key=KEY)
        self.activation, self.depth = jax.nn.relu, 3


def haiku(x):
    return hk.LayerNorm(-1, True, True)(hk.nets.MLP([4, 3])(hk.Embed(5, 4)(x)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Affine:
    matrix: Any
    bias: Any


class Pair(NamedTuple):
    w: Any
    b: Any


TOKENS = jnp.zeros(2, int)
LINEN = Linen().init(KEY, TOKENS)
LINEN_WEIGHTS = {"Embed_0/embedding", "Dense_0/kernel", "head/kernel"}
NNX = Nnx(nnx.Rngs(0))
NNX_STATE = nnx.state(NNX, nnx.Param)
NNX_WEIGHTS = {"embed/embedding", "blocks/0/kernel"}
EQUINOX = Equinox()
EQUINOX_WEIGHTS = {
    "mlp/layers/0/weight",
    "mlp/layers/1/weight",
    "sequence/layers/0/weight",
    "cell/weight_ih",
    "cell/weight_hh",
}
HAIKU = hk.transform(haiku).init(KEY, TOKENS)
AFFINE = Affine(ONES, ONES)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param(ONES, {"<the array itself>"}, id="array"),
        pytest.param({"kernel": ONES, "bias": ONES}, {"kernel"}, id="dict"),
        pytest.param([(ONES, ONES), {"b": ONES}], {"0/0", "0/1"}, id="list of tuples"),
        pytest.param({"layer": Pair(ONES, ONES)}, {"layer/w"}, id="NamedTuple"),
        pytest.param([AFFINE], {"0/matrix"}, id="dataclass"),
        pytest.param(LINEN["params"], LINEN_WEIGHTS, id="linen"),
        pytest.param(LINEN, {f"params/{x}" for x in LINEN_WEIGHTS}, id="linen variables"),
        pytest.param(flax.core.freeze(LINEN["params"]), LINEN_WEIGHTS, id="FrozenDict"),
        pytest.param(nn.unbox(LINEN["params"]), LINEN_WEIGHTS, id="linen unboxed"),
        pytest.param(
            Stack().init(KEY, jnp.ones((2, 4)))["params"],
            {"layers/Dense_0/kernel"},
            id="linen scan",
        ),
        pytest.param(NNX, NNX_WEIGHTS, id="nnx module"),
        pytest.param(NNX_STATE, NNX_WEIGHTS, id="nnx State"),
        pytest.param(as_pure(NNX_STATE), NNX_WEIGHTS, id="nnx as_pure"),
        pytest.param(nnx.to_pure_dict(NNX_STATE), NNX_WEIGHTS, id="nnx dict"),
        pytest.param(EQUINOX, EQUINOX_WEIGHTS, id="equinox"),
        pytest.param(
            eqx.filter(EQUINOX, eqx.is_inexact_array),
            EQUINOX_WEIGHTS,
            id="equinox filtered",
        ),
        pytest.param(
            HAIKU,
            {"embed/embeddings", "mlp/~/linear_0/w", "mlp/~/linear_1/w"},
            id="haiku",
        ),
    ],
)
def test_weights_in_every_framework(params, expected):
    assert chosen(params) == expected


@pytest.mark.parametrize("make", [nnx.state, lambda m, f: as_pure(nnx.state(m, f))])
def test_nnx_selects_the_same_in_init_and_update(make):
    params = make(NNX, nnx.Param)
    optimizer = add_l2_decay(1.0)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    expected = jax.tree.map(
        lambda x, pick: 2 * x if pick else x, params, weights.of(params)
    )
    chex.assert_trees_all_close(updates, expected)


def test_nnx_optimizer_updates_only_weights():
    model = Nnx(nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, as_pure(nnx.state(model, nnx.Param)))
    shrink = optax.chain(optax.sgd(1.0), proximal(1.0, L1(100.0)))
    optimizer = nnx.Optimizer(model, shrink, wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda model: 0.0 * L2()(model))(model))
    after = as_pure(nnx.state(model, nnx.Param))
    expected = jax.tree.map(
        lambda x, pick: 0 * x if pick else x, before, weights.of(before)
    )
    chex.assert_trees_all_equal(after, expected)


# The default mask, name by name.


@pytest.mark.parametrize(
    "path",
    [
        *("kernel", "w", "w1", "embedding", "lora_a", "lora_b", "B", "alpha", "beta"),
        *("gamma", "head/weight", "0", "biased_w", "scaler", "normal_dense/weight"),
        *("linear/beta", "attention/q_proj/kernel", "offsets_table"),
        "norm_mlp/kernel",
    ],
)
def test_names_of_weights(path):
    assert chosen(nested(path)) == {path}


@pytest.mark.parametrize(
    "path",
    [
        *("bias", "b", "b1", "b_out", "bias_n", "in_proj_bias", "intercept", "offset"),
        *("scale", "scale_0", "logit_scale", "head/bias", "LayerNorm_0/scale"),
        *("LayerNorm_0/weight", "norm/beta", "bn1/gamma", "ln_f/weight", "rms/weight"),
        *("final_norm/weight", "layers/norm/0/weight", "BatchNorm_2/beta"),
        *("normalization/gamma",),
    ],
)
def test_names_that_are_no_weights(path):
    assert chosen({"kernel": ONES, **nested(path)}) == {"kernel"}


def nested(path):
    tree: Any = ONES
    for name in reversed(path.split("/")):
        tree = {name: tree}
    return tree


# Where names say nothing, what stands beside a leaf may tell.

UNITS, COLUMN = jnp.ones(3), jnp.ones((3, 1))
IMAGES, IMAGE_BIAS = jnp.ones((2, 2, 4, 3)), jnp.ones((1, 1, 1, 3))
STACKED = jnp.ones((5, 3))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        # Pairs.
        ([(ONES, UNITS), (COLUMN, jnp.ones(1))], {"0/0", "1/0"}),
        ([[ONES, UNITS], [COLUMN, jnp.ones(1)]], {"0/0", "1/0"}),
        ([(ONES, UNITS), (), (COLUMN, jnp.ones(1))], {"0/0", "2/0"}),
        ({"mlp": [(ONES, UNITS)], "head": (COLUMN, jnp.ones(1))}, {"mlp/0/0", "head/0"}),
        ({"scale": [(ONES, UNITS)], "b1": (ONES, UNITS)}, {"scale/0/0", "b1/0"}),
        ([ONES, UNITS, COLUMN, jnp.ones(1)], {"0", "2"}),
        ((IMAGES, IMAGE_BIAS), {"0"}),
        ((UNITS, jnp.ones(())), {"0"}),
        ([(ONES, None), (None, UNITS)], {"0/0"}),
        # No pairs.
        ([ONES, COLUMN, UNITS], {"0", "1", "2"}),
        ([ONES, UNITS, COLUMN], {"0", "1", "2"}),
        ((ONES, jnp.ones(2)), {"0", "1"}),
        ((ONES, ONES), {"0", "1"}),
        ((UNITS, UNITS), {"0", "1"}),
        ({"weights": [ONES, UNITS]}, {"weights/0", "weights/1"}),
        # The name of a list.
        ({"weights": [ONES, COLUMN], "biases": [UNITS, UNITS]}, {"weights/0", "weights/1"}),
        ({"kernels": [ONES], "biases": [STACKED]}, {"kernels/0"}),
        ({"w": ONES, "layer_norm": [UNITS, UNITS]}, {"w"}),
        ({"norm_mlp": [ONES, COLUMN]}, {"norm_mlp/0", "norm_mlp/1"}),
        ({"offset": [ONES, COLUMN]}, {"offset/0", "offset/1"}),
        # Scales and offsets beside a kernel.
        ({"W1": ONES, "b1": UNITS, "gamma": UNITS, "beta": UNITS}, {"W1"}),
        ({"W1": ONES, "gamma1": UNITS, "beta1": UNITS, "W2": COLUMN}, {"W1", "W2"}),
        ({"k": jnp.ones((5, 2, 3)), "gamma": STACKED, "beta": STACKED}, {"k"}),
        ({"ln_gamma": UNITS, "ln_beta": UNITS, "W": None, "V": ONES}, {"V"}),
        # Coefficients that are called so.
        ({"gamma": UNITS, "beta": UNITS}, {"gamma", "beta"}),
        ({"W": ONES, "beta": UNITS}, {"W", "beta"}),
        ({"W": ONES, "gamma": UNITS, "beta": jnp.ones(2)}, {"W", "gamma", "beta"}),
        ({"W": ONES, "gamma": jnp.ones(2), "beta": jnp.ones(2)}, {"W", "gamma", "beta"}),
        (
            {"gamma": ONES, "beta": ONES, "head": {"W": ONES}},
            {"gamma", "beta", "head/W"},
        ),
    ],
)
def test_neighbours_tell_where_names_do_not(params, expected):
    assert chosen(params) == expected


# A layer that a model has in two places is one layer.


class Shared(nnx.Module):
    def __init__(self):
        self.first = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
        self.last = nnx.Linear(3, 2, rngs=nnx.Rngs(1))
        self.second = self.first
        self.tied = self.last.kernel


def test_a_shared_layer_counts_once():
    model, penalty = Shared(), L1(0.1)
    state = nnx.state(model, nnx.Param)
    assert chosen(state) == {"first/kernel", "last/kernel"}
    assert penalty(model) == nnx.jit(penalty)(model) == penalty(state)
    assert jaxreg.sparsity(model) == jaxreg.sparsity(state)
    assert describe(penalty, model) == describe(penalty, state)
    stats, expected = jaxreg.weight_stats(model), jaxreg.weight_stats(state)
    chex.assert_trees_all_equal(stats, expected)
    flags = weights.of(model)
    assert jax.tree.leaves(flags) == [False, True] * 3 + [True]
    with pytest.raises(ValueError, match="chooses none of 'first/bias'"):
        named("second").of(model)


PROXIMAL = proximal(0.1, L1())


@pytest.mark.parametrize(
    "make",
    [
        L1(0.1).prox,
        lambda model: jaxreg.minimize(lambda model: 0.0, L1(0.1), model),
        lambda model: add_l2_decay(0.1).update(model, optax.EmptyState(), model),
        lambda model: PROXIMAL.update(model, PROXIMAL.init(model), model),
        lambda model: jaxreg.with_kahan_compensation(optax.sgd(0.1)).init(model),
    ],
    ids=["prox", "minimize", "decay", "proximal", "compensated"],
)
def test_no_copies_are_made_of_a_shared_layer(make):
    with pytest.raises(ValueError, match="'second/bias' is 'first/bias'.*nnx.Optimizer"):
        make(Shared())


def test_the_largest_strength_of_a_model_with_a_shared_layer():
    model = Shared()

    def loss(model):
        kernel = model.first.kernel[...] + 2 * model.second.kernel[...]
        return jnp.sum((kernel - jnp.eye(3)) ** 2) / 2

    assert jaxreg.strength_max(loss, L1(mask=matrices), model) == pytest.approx(3.0)


def test_equal_arrays_of_a_pytree_are_two_parameters():
    assert L1(1.0)({"w": ONES, "v": ONES}) == 12


# A dict with a value for each layer: by names, by patterns, and for all others.

LAYERS = {
    "encoder": {"w": ONES, "embedding": ONES},
    "decoder": {"w": ONES, "w_out": ONES},
    "head": {"w": ONES},
}
PATHS = ["decoder/w", "decoder/w_out", "encoder/embedding", "encoder/w", "head/w"]
BY_LAYER = [
    ({"encoder": 1.0, "decoder": 2.0, "head": 3.0}, [2, 2, 1, 1, 3]),
    ({"": 3.0}, [3, 3, 3, 3, 3]),
    ({"encoder": 1.0, "": 3.0}, [3, 3, 1, 1, 3]),
    ({"w$": 1.0, "": 3.0}, [1, 3, 3, 1, 1]),
    ({"coder": 1.0, "head": 3.0}, [1, 1, 1, 1, 3]),
    ({"head": 1.0, "/w": 2.0, "": 3.0}, [2, 2, 3, 2, 1]),
    ({"encoder": {"w": 1.0, "embedding": 2.0}, "_out": 4.0, "": 3.0}, [3, 4, 2, 1, 3]),
    ({"decoder/w$": 1.0, "encoder/": 2.0, "out|head": 0.0}, [1, 0, 2, 2, 0]),
]
every_dict = pytest.mark.parametrize(("values", "expected"), BY_LAYER)


@every_dict
def test_strengths_by_layer(values, expected):
    terms = L1(values).bind(LAYERS).terms
    assert [vars(term)["strength"] for term in terms] == expected
    as_factors = L1(2.0).weighted(values).bind(LAYERS).terms
    assert [vars(term)["strength"] for term in as_factors] == [2 * x for x in expected]
    described = describe(L1(values), LAYERS)
    assert [row.path for row in described.rows] == PATHS
    traced = jax.jit(lambda penalty: penalty(LAYERS))(L1(values))
    chex.assert_trees_all_close(traced, 6.0 * sum(expected))


def test_a_name_by_layer_is_no_pattern():
    params = {"w": ONES, "w_out": ONES, "out": {"w": ONES}}
    terms = L1({"w": 1.0, "": 3.0}).bind(params).terms
    assert [vars(term)["strength"] for term in terms] == [3, 1, 3]


@every_dict
def test_decays_by_layer(values, expected):
    zeros = jax.tree.map(jnp.zeros_like, LAYERS)
    updates, _ = add_l2_decay(values).update(zeros, optax.EmptyState(), LAYERS)
    assert [float(x[0, 0]) for x in jax.tree.leaves(updates)] == expected
    rows = describe(weights, LAYERS, weight_decay=values).rows
    assert [row.regularized for row in rows] == [f"weight decay {x}" for x in expected]
    resolved = jaxreg.monitoring.decay_resolution(
        LAYERS, learning_rate=1.0, weight_decay=values
    ).leaves
    assert [x.decay for x in resolved] == [x for x in expected if x > 0]


@every_dict
def test_axes_and_masks_by_layer(values, expected):
    axes = jax.tree.map(lambda x: int(x) % 2, values)
    if all(np.ndim(x) == 0 and not isinstance(x, dict) for x in values.values()):
        terms = jaxreg.GroupLasso(group_axis=axes).bind(LAYERS).terms
        assert [term.group_axis for term in terms] == [x % 2 for x in expected]
    mask = jax.tree.map(bool, axes)
    if any(x % 2 for x in expected):
        found = {path for path, x in zip(PATHS, expected, strict=True) if x % 2}
        assert chosen(LAYERS, mask) == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": 1.0}, "no entry at or above 'decoder/w'.*An entry '' is for all"),
        ({"enc": 1.0, "dec": 2.0}, "no entry at or above 'head/w'"),
        ({"encodr": 1.0, "": 2.0}, "nothing is found at 'encodr'"),
        ({"w": 1.0, "out": 2.0, "": 3.0}, "'out' and 'w' are found in 'decoder/w_out'"),
        ({"*w": 1.0, "": 3.0}, r"nothing is found at '\*w'"),
        ((1.0, 2.0), "no entry at or above 'decoder/w'"),
        ({"encoder": {"": 1.0}, "": 2.0}, "nothing is found at 'encoder/'"),
    ],
)
def test_what_is_wrong_with_a_value_for_each_layer(values, message):
    for use in (
        lambda: L1(values)(LAYERS),
        lambda: add_l2_decay(values).init(LAYERS),
        lambda: describe(weights, LAYERS, weight_decay=values),
    ):
        with pytest.raises(ValueError, match=message):
            use()


# Modules that can be called are pytrees too.


class Callable(eqx.Module):
    weight: Any
    bias: Any

    def __call__(self, x):
        return self.weight @ x + self.bias


CALLABLE = {
    "own module": Callable(ONES, ONES[:, 0]),
    "equinox Linear": eqx.nn.Linear(2, 3, key=KEY),
    "equinox MLP": eqx.nn.MLP(2, 2, 3, depth=1, key=KEY),
    "nnx Linear": nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
    "nnx Param": nnx.Param(ONES),
}
every_callable = pytest.mark.parametrize("model", CALLABLE.values(), ids=CALLABLE)


def map_arrays(function, model):
    """A pytree of numbers or bools like a model; an activation function gets one too."""
    return jax.tree.map(lambda x: function(x) if eqx.is_array(x) else 1, model)


@every_callable
def test_a_mask_may_be_a_callable_module(model):
    def matrices_of(model):
        return jax.tree.map(lambda x: eqx.is_array(x) and x.ndim > 1, model)

    expected = chosen(model, matrices)
    assert callable(matrices_of(model))
    assert chosen(model, matrices_of) == expected
    assert chosen(model, matrices_of(model)) == expected


@every_callable
def test_numbers_may_be_in_a_callable_module(model):
    numbers = map_arrays(lambda x: 0.5, model)
    assert callable(model)
    assert L1(numbers)(model) == L1(0.5)(model)
    assert L1().weighted(numbers)(model) == L1(0.5)(model)
    metric = map_arrays(lambda x: jnp.full_like(x, 2.0), model)
    half, moved = L1(0.5).prox(model), L1().prox(model, 1.0, metric)
    chex.assert_trees_all_close(*(eqx.filter(x, eqx.is_array) for x in (moved, half)))
    assert L1().toward(model)(model) == 0
    arrays = eqx.filter(model, eqx.is_array)
    optimizers = [add_l2_decay(rate, toward=model) for rate in (numbers, 0.5)]
    states = [optimizer.init(arrays) for optimizer in optimizers]
    found = [
        optimizer.update(arrays, state, jax.tree.map(lambda x: 3 * x, arrays))[0]
        for optimizer, state in zip(optimizers, states, strict=True)
    ]
    chex.assert_trees_all_equal(*found)


@pytest.mark.parametrize(
    "function",
    [
        jax.tree_util.Partial(lambda params, on: {"w": on, "v": True}, on=False),
        eqx.filter_jit(lambda params: {"w": False, "v": True}),
    ],
    ids=["Partial", "filter_jit"],
)
def test_a_mask_function_may_be_a_pytree(function):
    assert chosen({"w": ONES, "v": ONES}, function) == {"v"}


# Other masks, and their algebra.

PARAMS = {
    "embed": {"embedding": ONES},
    "head": {"kernel": ONES, "bias": jnp.ones(3), "scale": jnp.ones((1, 3))},
}
EMBEDDING, KERNEL = "embed/embedding", "head/kernel"
BIAS, SCALE = "head/bias", "head/scale"
BY_TREE = {
    "embed": {"embedding": False},
    "head": {"kernel": True, "bias": True, "scale": False},
}


def by_function(params):
    return {"embed": False, "head": jax.tree.map(lambda x: x.ndim == 1, params["head"])}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (weights, {EMBEDDING, KERNEL}),
        (everything, {EMBEDDING, KERNEL, BIAS, SCALE}),
        (matrices, {EMBEDDING, KERNEL, SCALE}),
        (named("kernel"), {KERNEL}),
        (named("^head/", "ding$"), {EMBEDDING, KERNEL, BIAS, SCALE}),
        (named("d.*[ks]"), {KERNEL, BIAS, SCALE}),
        (~weights, {BIAS, SCALE}),
        (weights & ~named("embed"), {KERNEL}),
        (weights | named("bias"), {EMBEDDING, KERNEL, BIAS}),
        (~(weights | matrices), {BIAS}),
        (everything & ~weights & matrices, {SCALE}),
        (True, {EMBEDDING, KERNEL, BIAS, SCALE}),
        (np.True_, {EMBEDDING, KERNEL, BIAS, SCALE}),
        (jnp.array(True), {EMBEDDING, KERNEL, BIAS, SCALE}),
        (BY_TREE, {KERNEL, BIAS}),
        ({"embed": True, "head": False}, {EMBEDDING}),
        (by_function, {BIAS}),
        (lambda params: named("scale"), {SCALE}),
        (weights & BY_TREE, {KERNEL}),
        (BY_TREE & weights, {KERNEL}),
        (BY_TREE | weights, {EMBEDDING, KERNEL, BIAS}),
        (weights | by_function, {EMBEDDING, KERNEL, BIAS}),
        (by_function | weights, {EMBEDDING, KERNEL, BIAS}),
        (weights & True, {EMBEDDING, KERNEL}),
        ({"bias|scale": True, "": False}, {BIAS, SCALE}),
        ({"embed": True, "bias": True, "": False}, {EMBEDDING, BIAS}),
        ({"head": False, "": True}, {EMBEDDING}),
    ],
)
def test_masks_choose(mask, expected):
    assert chosen(PARAMS, mask) == expected


@pytest.mark.parametrize(
    ("params", "mask", "expected"),
    [
        (flax.core.freeze(PARAMS), BY_TREE, {KERNEL, BIAS}),
        (flax.core.freeze(PARAMS), {"embed": True, "head": False}, {EMBEDDING}),
        (PARAMS, flax.core.freeze(BY_TREE), {KERNEL, BIAS}),
        (
            NNX_STATE,
            {"embed": True, "blocks": False, "batch": False, "layer": False},
            {"embed/embedding"},
        ),
        ([ONES, (ONES, ONES)], (False, [True, False]), {"1/0"}),
        (AFFINE, {"matrix": False, "bias": True}, {"bias"}),
        (Pair(ONES, ONES), {"w": True, "b": False}, {"w"}),
    ],
)
def test_a_mask_matches_by_name_not_by_container(params, mask, expected):
    assert chosen(params, mask) == expected


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: weights, "weights"),
        (lambda: named("a", "b$"), "named('a', 'b$')"),
        (lambda: ~(weights | matrices), "~(weights | matrices)"),
        (lambda: weights & ~named("embed"), "(weights & ~named('embed'))"),
        (lambda: as_mask({"a": {"b": True}, "c": False}), "{'a/b': True, 'c': False}"),
        (lambda: as_mask(True), "True"),
        (lambda: as_mask(by_function), "by_function"),
    ],
)
def test_masks_are_values(make, shown):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert repr(make()) == shown
    assert make() != everything
    assert not callable(make())


def test_equal_masks_do_not_recompile():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def outcome(penalty, params):
        return penalty(params)

    for strength in (0.1, 0.2):
        for mask in (dict(BY_TREE), flax.core.freeze(BY_TREE)):
            outcome(L1(strength, mask=mask), PARAMS)


# Optax.


@pytest.mark.parametrize("mask", [weights & ~named("embed"), BY_TREE, as_mask(by_function)])
def test_inject_hyperparams_keeps_the_mask(mask):
    optimizer = optax.inject_hyperparams(add_l2_decay)(weight_decay=1.0, mask=mask)
    state = optimizer.init(PARAMS)
    updates, _ = jax.jit(optimizer.update)(PARAMS, state, PARAMS)
    doubled = jax.tree.map(lambda x, pick: (1 + pick) * x, PARAMS, as_mask(mask).of(PARAMS))
    chex.assert_trees_all_close(updates, doubled)


@pytest.mark.parametrize("mask", [weights, named("bias"), weights & ~named("embed")])
def test_optax_takes_the_mask_as_a_function(mask):
    optimizer = optax.masked(optax.scale(0.0), mask.of)
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    expected = jax.tree.map(lambda x, pick: 0 * x if pick else x, PARAMS, mask.of(PARAMS))
    chex.assert_trees_all_equal(updates, expected)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (optax.masked(add_l2_decay(1.0), BY_TREE), {KERNEL}),
        (optax.masked(add_l2_decay(1.0, everything), weights.of), {EMBEDDING, KERNEL}),
        (optax.masked(add_l2_decay(1.0, named("head")), matrices.of), {KERNEL, SCALE}),
        (
            optax.partition(
                {"on": add_l2_decay(1.0), "off": optax.identity()},
                {"embed": "off", "head": "on"},
            ),
            {KERNEL},
        ),
    ],
    ids=["tree", "everything", "named", "partition"],
)
def test_missing_leaves_are_skipped(optimizer, expected):
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    doubled = jax.tree.map(lambda u, x: bool(jnp.all(u == 2 * x)), updates, PARAMS)
    assert chosen(PARAMS, doubled) == expected


@pytest.mark.parametrize("hole", [None, optax.MaskedNode()])
def test_a_hole_is_no_leaf(hole):
    params = {"kernel": ONES, "gone": hole}
    assert chosen(params) == {"kernel"}
    assert weights.of(params) == {"kernel": True, "gone": hole}
    assert L1(0.5).prox(params)["gone"] == hole


# Leaves that are no parameters.


def test_only_floating_point_arrays_are_chosen():
    params = {
        "kernel": ONES,
        "int": jnp.arange(3),
        "bool": jnp.array([True]),
        "key": KEY,
        "float0": np.zeros(2, jax.dtypes.float0),
        "number": 1.0,
        "function": jnp.tanh,
        "none": None,
    }
    assert chosen(params, everything) == {"kernel"}
    moved = L1(0.5, mask=everything).prox(params)
    assert all(moved[name] is params[name] for name in params if name != "kernel")


def test_complex_leaves_are_refused_only_where_chosen():
    params = {"kernel": ONES, "phase": ONES.astype(complex)}
    assert chosen(params, named("kernel")) == {"kernel"}
    with pytest.raises(TypeError, match=re.escape("must be real, but 'phase'")):
        weights.of(params)


@pytest.mark.parametrize("params", [{}, {"a": None}])
def test_nothing_to_choose_from(params):
    assert everything.of(params) == params
    assert L1()(params) == 0
