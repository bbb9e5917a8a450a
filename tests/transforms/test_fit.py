"""Gradients that do not fit the parameters are refused by every transform."""

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.helpers.transforms import CONSTANT

every_constant = pytest.mark.parametrize("recipe", CONSTANT, ids=str)

KERNEL, BIAS = jnp.ones((2, 3)), jnp.ones(3)
PARAMS = {"dense": {"kernel": KERNEL, "bias": BIAS}}
SHAPES = {
    "transposed": {"dense": {"kernel": KERNEL.T, "bias": BIAS}},
    "broadcastable": {"dense": {"kernel": BIAS, "bias": BIAS}},
    "scalar": {"dense": {"kernel": jnp.float32(1.0), "bias": BIAS}},
}
STRUCTURES = {
    "missing": ({"dense": {"bias": BIAS}}, r"missing.*'dense/kernel' of shape \(2, 3\)"),
    "too many": (
        {"dense": {**PARAMS["dense"], "scale": BIAS}},
        r"where no parameter is, at 'dense/scale' of shape \(3,\)",
    ),
    "other names": ({"dense": {"w": KERNEL, "b": BIAS}}, "missing.*'dense/bias'"),
    "one level less": (PARAMS["dense"], "missing.*'dense/bias'.*updates are 'bias', 'ker"),
    "one level more": (
        {"dense": {"kernel": {"w": KERNEL}, "bias": BIAS}},
        "missing.*'dense/kernel'.*'dense/kernel/w'",
    ),
    "tuple": ({"dense": (BIAS, KERNEL)}, "missing.*'dense/bias'.*'dense/0'"),
    "array": (KERNEL, "missing.*'dense/bias'.*updates are the array given"),
    "None for a layer": ({"dense": None}, "missing.*'dense/bias'"),
}


@every_constant
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("gradients", SHAPES.values(), ids=SHAPES)
def test_gradients_of_another_shape(recipe, gradients, wrap):
    tx = recipe()
    state, shape = tx.init(PARAMS), gradients["dense"]["kernel"].shape
    with pytest.raises(ValueError, match="An update must have the shape") as error:
        wrap(tx.update)(gradients, state, PARAMS)
    assert f"at 'dense/kernel' they are {shape} and (2, 3). Pass the" in str(error.value)


@every_constant
@pytest.mark.parametrize(("gradients", "message"), STRUCTURES.values(), ids=STRUCTURES)
def test_gradients_of_another_structure(recipe, gradients, message):
    tx = recipe()
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=f"must have the structure.*{message}.*Pass the"):
        tx.update(gradients, state, PARAMS)


@every_constant
def test_gradients_in_another_container(recipe):
    tx, params = recipe(), (KERNEL, BIAS)
    with pytest.raises(ValueError, match="must have the structure.*containers differ"):
        tx.update([KERNEL, BIAS], tx.init(params), params)


@every_constant
def test_a_bare_array_is_called_so(recipe):
    tx = recipe(mask=True) if "mask" in recipe.takes else recipe()
    with pytest.raises(ValueError, match=r"at the array given they are"):
        tx.update(BIAS, tx.init(KERNEL), KERNEL)
    with pytest.raises(ValueError, match="must have the structure.*the array given"):
        tx.update([KERNEL], tx.init(KERNEL), KERNEL)


@pytest.mark.sampled(3)
@every_constant
@pytest.mark.parametrize("hole", [None, optax.MaskedNode()], ids=["None", "MaskedNode"])
def test_missing_and_other_dtypes_are_fine(recipe, hole):
    tx = recipe()
    params = {**PARAMS, "frozen": hole}
    gradients = {
        "dense": {"kernel": KERNEL.astype(jnp.bfloat16), "bias": BIAS},
        "frozen": hole,
    }
    updates, _ = tx.update(gradients, tx.init(params), params)
    assert updates["dense"]["kernel"].shape == KERNEL.shape


@every_constant
def test_nothing_is_computed_to_find_out(recipe, monkeypatch):
    tx = recipe()
    arguments = PARAMS, tx.init(PARAMS), PARAMS
    checked = str(jax.make_jaxpr(tx.update)(*arguments))
    monkeypatch.setattr("jaxreg.transforms._lift.check_fit", lambda updates, params: None)
    assert str(jax.make_jaxpr(tx.update)(*arguments)) == checked
