"""What every public transform promises, whatever it does.

Each test is a row of a table whose columns are the transforms that
`tests.helpers.transforms` finds, with numbers and with schedules as their rates. A row
knows nothing of them: only parameters, gradients, and how much and where they regularize.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

import jaxreg
from jaxreg import decay, transforms
from tests.helpers.transforms import (
    CONSTANT,
    PAIRED,
    PAIRED_SCHEDULED,
    SCHEDULED,
    TRANSFORMS,
    Recipe,
    is_transform,
)

close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)
same = chex.assert_trees_all_equal

every_transform = pytest.mark.parametrize(
    "recipe", CONSTANT + PAIRED + SCHEDULED + PAIRED_SCHEDULED, ids=str
)
every_constant = pytest.mark.parametrize("recipe", CONSTANT + PAIRED, ids=str)
every_penalized = pytest.mark.parametrize(
    "recipe", [recipe for recipe in CONSTANT if "penalty" in recipe.arguments], ids=str
)


@pytest.fixture(autouse=True)
def pairs(request):
    """The parameters have a second matrix in the tests of what acts on pairs of them."""
    spec = getattr(request.node, "callspec", None)
    recipe = spec.params.get("recipe") if spec else None
    HAS_PAIR[:] = [recipe is not None and recipe.is_paired]


HAS_PAIR = [False]


def params_of(dtype=jnp.float32):
    kernel = jnp.array([[0.9, -0.7, 0.6], [-0.4, 0.5, 0.8]], dtype)
    bias = jnp.array([0.3, -0.2, 0.1], dtype)
    return {"dense": {"kernel": kernel, "bias": bias, **beside(kernel)}}


def gradients_of(dtype=jnp.float32):
    kernel = jnp.array([[0.1, 0.2, -0.3], [0.2, -0.1, 0.05]], dtype)
    bias = jnp.array([-0.2, 0.3, 0.1], dtype)
    return {"dense": {"kernel": kernel, "bias": bias, **beside(kernel)}}


def beside(kernel):
    """What the kernel can be multiplied by, if anything shall be."""
    return {"right_kernel": kernel.T} if HAS_PAIR[0] else {}


def zeros_like(params):
    return jax.tree.map(jnp.zeros_like, params)


def step_of(tx):
    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return step


def eager(step):
    return step


def compiled_once(step):
    chex.clear_trace_counter()
    return jax.jit(chex.assert_max_traces(step, n=1))


def train(
    tx, params, gradients, steps=2, wrap: Callable[..., Any] = eager
) -> tuple[Any, Any]:
    """Parameters and state after some steps with the same gradients."""
    step, state = wrap(step_of(tx)), tx.init(params)
    for _ in range(steps):
        params, state = step(params, state, gradients)
    return params, state


def first_update(tx, params=None, gradients=None) -> Any:
    params = params_of() if params is None else params
    gradients = gradients_of() if gradients is None else gradients
    return tx.update(gradients, tx.init(params), params)[0]


# What joins the table, and how.


def test_every_public_transform_is_found():
    public = [*vars(transforms).values(), *vars(decay).values()]
    assert {x for x in public if is_transform(x)} == set(TRANSFORMS)
    tested = {recipe.factory for recipe in CONSTANT + PAIRED}
    assert tested == set(TRANSFORMS)


def test_an_unknown_argument_says_what_to_add():
    def novel(sharpness: float) -> optax.GradientTransformationExtraArgs:
        raise NotImplementedError(sharpness)

    assert is_transform(novel)
    with pytest.raises(LookupError, match="'sharpness'.*add a value for it to ARGUMENTS"):
        Recipe(novel)()


@every_constant
def test_the_state_of_an_optimizer_is_no_parameter(recipe):
    state = optax.adam(0.1).init(params_of())
    with pytest.raises(TypeError, match="state of an optimizer.* ScaleByAdamState"):
        recipe().init((params_of(), state))


# How it is compiled.


@pytest.mark.sampled(2)
@every_transform
def test_jit_agrees_with_eager_and_compiles_once(recipe):
    arguments = recipe(), params_of(), gradients_of(), 3
    close(train(*arguments, wrap=compiled_once), train(*arguments, wrap=eager))


@pytest.mark.sampled(5)
@every_transform
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_scan(recipe, dtype):
    tx, params, gradients = recipe(), params_of(dtype), gradients_of(dtype)
    state = tx.init(params)

    def body(carry, _):
        params, state = carry
        return step_of(tx)(params, state, gradients), None

    scanned, _ = jax.jit(lambda carry: jax.lax.scan(body, carry, length=5))((params, state))
    chex.assert_trees_all_equal_shapes_and_dtypes(scanned, (params, state))
    close(
        scanned, train(tx, params, gradients, 5), rtol=1e-5 if dtype == "float32" else 0.02
    )


@pytest.mark.sampled(10)
@every_constant
def test_vmap_over_every_number_is_a_loop(recipe):
    def trained(made):
        return train(made, params_of(), gradients_of())[0]

    values = [0.0, 0.05, 0.5]
    for name in recipe.numbers:
        many = jax.vmap(lambda x, name=name: trained(recipe(**{name: x})))(
            jnp.array(values)
        )
        each = [trained(recipe(**{name: x})) for x in values]
        close(many, jax.tree.map(lambda *xs: jnp.stack(xs), *each), rtol=1e-4)


@pytest.mark.sampled(2)
@every_constant
def test_vmap_over_strengths_is_a_loop(recipe):
    def trained(strength):
        return train(recipe.of(strength), params_of(), gradients_of())[0]

    strengths = [0.0, 0.05, 0.5]
    each = [trained(strength) for strength in strengths]
    assert not np.allclose(each[0]["dense"]["kernel"], each[2]["dense"]["kernel"])
    many = jax.vmap(trained)(jnp.array(strengths))
    close(many, jax.tree.map(lambda *xs: jnp.stack(xs), *each))


@pytest.mark.sampled(3)
@every_transform
def test_buffers_may_be_donated(recipe):
    expected = train(recipe(), params_of(), gradients_of())
    donating = functools.partial(jax.jit, donate_argnums=(0, 1))
    close(train(recipe(), params_of(), gradients_of(), wrap=donating), expected)


@pytest.mark.sampled(3)
@every_penalized
def test_the_initial_parameters_may_be_donated_and_be_the_reference(recipe):
    params = params_of()
    penalty = jaxreg.L1(0.3).toward(params)
    expected = train(recipe(penalty=penalty), params, gradients_of())
    donating = functools.partial(jax.jit, donate_argnums=(0, 1))
    trained = train(recipe(penalty=penalty), params, gradients_of(), wrap=donating)
    close(trained, expected)
    assert jnp.isfinite(penalty(trained[0]))


@pytest.mark.sampled(4)
@every_transform
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_export_to_all_platforms(recipe, dtype):
    platforms = ("cpu", "cuda", "tpu")
    tx, params = recipe(), params_of(dtype)
    lower = jax.export.export(jax.jit(step_of(tx)), platforms=platforms)
    assert lower(params, tx.init(params), gradients_of(dtype)).platforms == platforms


# What it promises by itself.


@every_transform
@pytest.mark.parametrize("masked", [False, True], ids=["bare", "masked"])
def test_parameters_are_required_in_optax_words(recipe, masked):
    theirs = optax.add_decayed_weights(0.1)
    with pytest.raises(ValueError, match="requires the current value") as wording:
        theirs.update(gradients_of(), theirs.init(params_of()), None)
    tx = optax.masked(recipe(), jaxreg.weights.of) if masked else recipe()
    with pytest.raises(ValueError, match="requires the current value") as error:
        tx.update(gradients_of(), tx.init(params_of()))
    assert str(error.value).startswith(str(wording.value).removesuffix("."))


@every_transform
def test_extra_arguments_are_welcome(recipe):
    tx, params = recipe(), params_of()
    extra = {"value": jnp.float32(1.0), "anything": "else"}
    updates, _ = tx.update(gradients_of(), tx.init(params), params, **extra)
    same(updates, first_update(recipe()))


@every_constant
@pytest.mark.parametrize("bad", [-0.1, float("nan"), jnp.array(-0.1), "fast"])
def test_bad_numbers_are_refused_by_name(recipe, bad):
    for name in recipe.numbers:
        with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
            recipe(**{name: bad})


@every_transform
def test_state_is_named_tuples_of_arrays(recipe):
    state = recipe().init(params_of())
    assert is_state(state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def is_state(node):
    """Whether a state is made of named tuples, and plain tuples of them (chains)."""
    return isinstance(node, tuple) and (
        hasattr(node, "_fields") or all(is_state(part) for part in node)
    )


@every_transform
def test_what_stands_beside_an_optimizer_only_counts_for_schedules(recipe):
    at_zero = jax.tree.leaves(first_update(recipe.of(0.0)))
    if not all(map(np.allclose, at_zero, jax.tree.leaves(gradients_of()))):
        pytest.skip("is an optimizer itself")
    if {"warmup_steps", "iterations"} & set(recipe.takes):
        pytest.skip("remembers what it learned of the weights")
    leaves = jax.tree.leaves(recipe().init(params_of()))
    assert [leaf.dtype for leaf in leaves] == [jnp.int32] * recipe.scheduled


@every_transform
def test_map_params_finds_what_is_like_the_parameters(recipe):
    tx = recipe()
    state = tx.init(params_of())
    mapped = optax.tree.map_params(
        tx, lambda x: x + 1, state, transform_non_params=lambda x: x - 1
    )

    def expected(path, x):
        return x + 1 if jax.tree_util.DictKey("dense") in path else x - 1

    same(mapped, jax.tree.map_with_path(expected, state))


@pytest.mark.sampled(2)
@every_constant
def test_scheduled_rates_are_those_of_the_updates_made_before(recipe):
    def kernel(name, rate, steps):
        trained, _ = train(recipe(**{name: rate}), params_of(), gradients_of(), steps)
        return trained["dense"]["kernel"]

    def peak(rate, at, count):
        return jnp.where(count == at, 3 * rate, rate)

    for name in recipe.rates:
        rate = recipe.value(name)
        for at in (1,) if recipe.shrinks == "nothing" else (0, 1):
            peaked = functools.partial(peak, rate, at)
            close(kernel(name, peaked, at), kernel(name, rate, at))
            assert not np.allclose(kernel(name, peaked, at + 1), kernel(name, rate, at + 1))


# Where it acts.

MASKS = {
    "default": jaxreg.weights,
    "combined": ~jaxreg.weights,
    "tree": {"dense": {"kernel": False, "bias": True}},
    "function": lambda params: jax.tree.map(lambda w: w.ndim == 1, params),
}


@pytest.mark.covering("recipe", "mask")
@every_transform
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_strengths_are_felt_inside_the_mask_only(recipe, mask):
    if recipe.is_paired and mask is not jaxreg.weights:
        pytest.skip("acts on pairs of matrices alone")
    inside, outside = ("kernel", "bias") if mask is jaxreg.weights else ("bias", "kernel")
    first_step = 2 if recipe.shrinks == "nothing" else 1
    free, strong = (
        first_update(recipe.of(x, mask))["dense"]
        if first_step == 1
        else train(recipe.of(x, mask), params_of(), gradients_of(), first_step)[0]["dense"]
        for x in (0.0, 0.3)
    )
    same(strong[outside], free[outside])
    assert jnp.all(strong[inside] != free[inside])


@every_transform
def test_without_gradients_weights_shrink_and_biases_stay(recipe):
    params = params_of()
    trained, _ = train(recipe.finish(recipe()), params, zeros_like(params), 3)
    assert_only_weights_shrink(recipe, params, trained)


def assert_only_weights_shrink(recipe, before, after):
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    flat = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in flat:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith(("kernel", "weight", "linear/w")):
            assert has_shrunk(recipe.shrinks, old, new), name
        else:
            same(new, old)


def has_shrunk(shrinks, old, new):
    if shrinks == "entries":
        return jnp.all(abs(new) < abs(old))
    if shrinks == "norms":
        return jnp.sum(jnp.square(new)) < jnp.sum(jnp.square(old))
    return jnp.array_equal(new, old)


@every_transform
@pytest.mark.parametrize("steps", [None, np.zeros(3, np.int32)], ids=["none", "zero"])
def test_what_is_no_parameter_is_left_alone(recipe, steps):
    require_no_memory(recipe)
    missing = dict.fromkeys(["key", "frozen", "absent"])
    others = {"steps": jnp.arange(3), "key": jax.random.key(0), "frozen": jnp.ones(2)}
    updates = first_update(
        recipe(),
        params_of() | missing | others,
        gradients_of() | missing | {"steps": steps},
    )
    assert {name: updates[name] for name in missing} == missing
    assert steps is updates["steps"] is None or not np.any(updates["steps"])
    same(updates["dense"], first_update(recipe())["dense"])


def require_no_memory(recipe):
    """Moments are kept of every leaf, so Optax's optimizers need a filtered model."""
    if any(leaf.ndim for leaf in jax.tree.leaves(recipe().init(params_of()))):
        pytest.skip("keeps moments of every leaf, as optax.adam does")


# In which precision.

DTYPES = ["float32", "bfloat16", "float16", "float64"]
MIXED = [("float32", "bfloat16"), ("bfloat16", "float32"), ("float32", "float16")]
TINY = ["float8_e4m3fn", "float8_e5m2"]
PAIRS = [*((dtype, dtype) for dtype in DTYPES), *MIXED]


@pytest.mark.covering("recipe", "param update")
@every_transform
@pytest.mark.parametrize(("param", "update"), PAIRS)
def test_updates_have_the_promoted_dtype(recipe, param, update):
    with jax.enable_x64("float64" in (param, update)):
        params, gradients = params_of(param), gradients_of(update)
        made = first_update(recipe(), params, gradients)["dense"]
        assert made["kernel"].dtype == jnp.promote_types(param, update)
        if param == update:
            assert made["bias"].dtype == param
        close(
            jax.tree.map(jnp.float32, made),
            first_update(recipe())["dense"],
            rtol=0.05,
            atol=2e-3,
        )


@pytest.mark.sampled(4)
@every_transform
@pytest.mark.parametrize("dtype", TINY)
def test_float8_is_rounded_float32(recipe, dtype):
    params, gradients = params_of(dtype), gradients_of(dtype)
    made = first_update(recipe(), params, gradients)
    wide = jax.tree.map(jnp.float32, (params, gradients))
    assert all(u.dtype == dtype for u in jax.tree.leaves(made))
    digits = float(jnp.finfo(dtype).eps)

    def is_rounded(w, u, exact):
        """Either the update itself, or (where it is compensated) where it leads to."""
        u, lands = u.astype("float32"), (w + exact).astype(dtype).astype("float32")
        return np.allclose(u, exact, digits, 2**-9) or np.array_equal(w + u, lands)

    exact = first_update(recipe(), *wide)
    assert all(jax.tree.leaves(jax.tree.map(is_rounded, wide[0], made, exact)))
    moved, _ = train(recipe.finish(recipe()), params, gradients)
    assert all(jnp.all(jnp.isfinite(w.astype("float32"))) for w in jax.tree.leaves(moved))


@pytest.mark.sampled(8)
@every_constant
def test_exact_zeros_are_exact_in_every_precision(recipe):
    def zeros(param, update, wrap):
        params, gradients = params_of(param), gradients_of(update)
        tx = recipe.finish(recipe.of(1e4))
        return bool(
            jnp.all(train(tx, params, gradients, 1, wrap)[0]["dense"]["kernel"] == 0)
        )

    if not zeros("float32", "float32", eager):
        assert "penalty" not in recipe.arguments, "a proximal step of L1 must give zeros"
        pytest.skip("does not give exact zeros")
    for param, update in [*PAIRS, *((dtype, dtype) for dtype in TINY)]:
        with jax.enable_x64("float64" in (param, update)):
            assert zeros(param, update, eager), (param, update, "eager")
            assert zeros(param, update, jax.jit), (param, update, "jit")


# Inside Optax.


@pytest.mark.sampled(3)
@every_transform
def test_in_a_chain(recipe):
    clip = optax.clip_by_global_norm(0.1)
    clipped = first_update(clip)
    expected, _ = train(recipe(), params_of(), clipped)
    close(train(optax.chain(clip, recipe()), params_of(), gradients_of())[0], expected)


@pytest.mark.sampled(4)
@every_transform
@pytest.mark.parametrize("is_tree", [False, True])
def test_in_masked(recipe, is_tree):
    mask = jaxreg.weights.of(params_of()) if is_tree else jaxreg.weights.of
    updates = first_update(optax.masked(recipe(), mask))["dense"]
    same(updates["kernel"], first_update(recipe())["dense"]["kernel"])
    same(updates["bias"], gradients_of()["dense"]["bias"])


@pytest.mark.sampled(3)
@every_transform
def test_in_a_partition(recipe):
    labels = jax.tree.map(
        lambda x: "regularized" if x else "plain", jaxreg.weights.of(params_of())
    )
    tx = optax.partition({"regularized": recipe(), "plain": optax.sgd(1.0)}, labels)
    trained = train(tx, params_of(), gradients_of())[0]["dense"]
    close(
        trained["kernel"],
        train(recipe(), params_of(), gradients_of())[0]["dense"]["kernel"],
    )
    plain, _ = train(optax.sgd(1.0), params_of(), gradients_of())
    close(trained["bias"], plain["dense"]["bias"])


def injected(recipe):
    arguments = recipe.arguments
    parts = [name for name in arguments if name not in recipe.numbers]
    return optax.inject_hyperparams(recipe.factory, static_args=parts)(**arguments)


@pytest.mark.sampled(3)
@every_transform
def test_with_injected_hyperparameters(recipe):
    trained, _ = train(injected(recipe), params_of(), gradients_of())
    close(trained, train(recipe(), params_of(), gradients_of())[0], rtol=1e-4)


@pytest.mark.sampled(3)
@every_constant
def test_injected_hyperparameters_change_without_recompilation(recipe):
    tx, params = injected(recipe), params_of()
    step = compiled_once(step_of(tx))
    state: Any = tx.init(params)
    step(params, state, gradients_of())
    doubled = {
        name: 2 * recipe.value(name) for name in recipe.numbers if name in recipe.arguments
    }
    state.hyperparams.update({name: jnp.float32(x) for name, x in doubled.items()})
    changed, _ = step(params, state, gradients_of())
    close(changed, train(recipe(**doubled), params, gradients_of(), 1)[0], rtol=1e-4)


@pytest.mark.sampled(4)
@every_transform
def test_in_multi_steps(recipe):
    params, gradients = params_of(), gradients_of()
    twice = optax.MultiSteps(recipe(), 2)
    step = compiled_once(step_of(twice))
    trained, state = step(params, twice.init(params), gradients)
    same((trained, state.inner_opt_state), (params, recipe().init(params)))
    for _ in range(3):
        trained, state = step(trained, state, gradients)
    close((trained, state.inner_opt_state), train(recipe(), params, gradients))


@pytest.mark.sampled(9)
@every_transform
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_apply_if_finite(recipe, dtype):
    params, gradients = params_of(dtype), gradients_of(dtype)
    guarded = optax.apply_if_finite(recipe(), 3)
    step, state = compiled_once(step_of(guarded)), guarded.init(params)
    broken = jax.tree.map(lambda g: g / 0, gradients)
    kept, state = step(params, state, broken)
    same((kept, state.inner_state), (params, recipe().init(params)))
    trained, state = step(kept, state, gradients)
    expected = train(recipe(), params, gradients, 1)
    close((trained, state.inner_state), expected, rtol=1e-5 if dtype == "float32" else 0.02)


# Inside the frameworks: from each, parameters before and after two steps of a loss that
# does not depend on them.

X = np.ones((4, 3), np.float32)


def in_linen(tx):
    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2, bias_init=linen.initializers.ones)(linen.LayerNorm()(x))

    model = Model()
    state = TrainState.create(
        apply_fn=model.apply, params=model.init(jax.random.key(0), X)["params"], tx=tx
    )

    @jax.jit
    def step(state):
        gradients = jax.grad(lambda p: 0 * jnp.sum(state.apply_fn({"params": p}, X)))
        return state.apply_gradients(grads=gradients(state.params))

    return state.params, step(step(state)).params


def in_nnx(tx, dtype=jnp.float32):
    model = nnx.Sequential(
        nnx.Linear(
            3,
            2,
            bias_init=nnx.initializers.ones,
            param_dtype=dtype,
            rngs=nnx.Rngs(0),
        ),
        nnx.BatchNorm(2, param_dtype=dtype, rngs=nnx.Rngs(0)),
    )
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda m: 0 * jnp.sum(m(X)))(model))

    step(model, optimizer)
    step(model, optimizer)
    return before, nnx.to_pure_dict(nnx.state(model, nnx.Param))


class Model(eqx.Module):
    linear: eqx.nn.Linear
    activation: Any
    steps: int

    def __call__(self, x):
        return self.activation(self.linear(x)) * self.steps


def in_equinox(tx, select=eqx.is_inexact_array):
    model = Model(eqx.nn.Linear(3, 2, key=jax.random.key(0)), jax.nn.tanh, 3)
    state = tx.init(eqx.filter(model, select))

    @eqx.filter_jit
    def step(model, state):
        loss = eqx.filter_value_and_grad(lambda model: 0 * jnp.sum(model(X[0])))
        _, gradients = loss(model)
        updates, state = tx.update(gradients, state, eqx.filter(model, select))
        return eqx.apply_updates(model, updates), state

    trained, _ = step(*step(model, state))
    return eqx.filter(model, eqx.is_array), eqx.filter(trained, eqx.is_array)


def in_nnx_with_frozen_layers(tx):
    model = nnx.Sequential(
        nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Linear(2, 1, rngs=nnx.Rngs(1))
    )
    trainable = nnx.All(nnx.Param, nnx.PathContains(0))
    optimizer = nnx.Optimizer(model, tx, wrt=trainable)
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))

    @nnx.jit
    def step(model, optimizer):
        loss = nnx.grad(lambda m: 0 * jnp.sum(m(X)), argnums=nnx.DiffState(0, trainable))
        optimizer.update(model, loss(model))

    step(model, optimizer)
    step(model, optimizer)
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    same(after["layers"][1], before["layers"][1])
    return before["layers"][0], after["layers"][0]


def in_equinox_with_frozen_layers(tx):
    """Gradients of a part of the model, and the whole model given to `update`."""
    keys = jax.random.split(jax.random.key(0))
    model = [eqx.nn.Linear(3, 2, key=keys[0]), eqx.nn.Linear(2, 1, key=keys[1])]
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    state = tx.init(arrays)

    @eqx.filter_jit
    def step(arrays, state):
        part, rest = eqx.partition(arrays, [True, False])

        def loss(part):
            first, second = eqx.combine(part, rest, static)
            return 0 * jnp.sum(second(first(X[0])))

        updates, state = tx.update(eqx.filter_grad(loss)(part), state, arrays)
        return eqx.apply_updates(arrays, updates), state

    trained, _ = step(*step(arrays, state))
    same(trained[1], arrays[1])
    return arrays[0], trained[0]


def in_haiku(tx):
    def model(x):
        return hk.Linear(2, b_init=hk.initializers.Constant(1.0))(x)

    init, apply = hk.without_apply_rng(hk.transform(model))
    params = init(jax.random.key(0), X)
    gradients = jax.grad(lambda params: 0 * jnp.sum(apply(params, X)))(params)
    return params, train(tx, params, gradients)[0]


FRAMEWORKS = {
    "linen": in_linen,
    "nnx": in_nnx,
    "nnx-frozen": in_nnx_with_frozen_layers,
    "nnx-bfloat16": functools.partial(in_nnx, dtype=jnp.bfloat16),
    "equinox": in_equinox,
    "equinox-frozen": in_equinox_with_frozen_layers,
    "equinox-whole": functools.partial(in_equinox, select=lambda leaf: True),
    "haiku": in_haiku,
}


@pytest.mark.covering("recipe", "framework")
@every_constant
@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_in_a_framework(recipe, framework):
    if recipe.is_paired:
        pytest.skip("acts on pairs of matrices, which these models have not")
    if framework is FRAMEWORKS["equinox-whole"]:
        require_no_memory(recipe)
    assert_only_weights_shrink(recipe, *framework(recipe.finish(recipe())))
