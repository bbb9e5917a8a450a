"""Arguments of a transform in the wrong order, or of the wrong kind, are named."""

# pyright: reportArgumentType=false

import inspect
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxreg
from jaxreg import L1, named, weights
from jaxreg.masks import as_mask
from tests.helpers.transforms import TRANSFORMS

PARAMS = {"kernel": jnp.array([1.0, -2.0])}

# One value of each kind, and which kind each argument is of: a number if not said here.
VALUES = {
    "optimizer": optax.sgd(0.1),
    "penalty": L1(0.1),
    "mask": named("kernel"),
    "scaler": optax.scale_by_adam,
    "number": 0.1,
}
KINDS = {name: name for name in ("optimizer", "penalty", "mask", "scaler")}
# An optimizer is a scaling whose metric is missing, a function is a schedule.
ALLOWED = {("scaler", "optimizer"), ("number", "scaler"), ("mask", "scaler")}


def kind_of(name):
    return KINDS.get(name, "number")


def required(factory):
    """The arguments that it requires, its penalty and its mask, with values."""
    parameters = inspect.signature(factory).parameters.values()
    return {
        parameter.name: VALUES[kind_of(parameter.name)]
        for parameter in parameters
        if parameter.default is parameter.empty or parameter.name in ("penalty", "mask")
    }


SWAPS = [
    pytest.param(factory, first, second, id=f"{factory.__name__}-{first}-{second}")
    for factory in TRANSFORMS
    for first, second in itertools.combinations(required(factory), 2)
    if kind_of(first) != kind_of(second)
]
KINDS_GIVEN = [
    pytest.param(factory, name, kind, id=f"{factory.__name__}-{name}-{kind}")
    for factory in TRANSFORMS
    for name in required(factory)
    for kind in VALUES
    if kind != kind_of(name) and (kind_of(name), kind) not in ALLOWED
]


def check(factory, arguments, culprits):
    with pytest.raises(TypeError) as error:
        factory(**arguments)
    message = str(error.value)
    assert any(message.startswith(f"{name} must be a") for name in culprits), message
    call = message.split(f"The call is {factory.__name__}(")[1]
    parameters = inspect.signature(factory).parameters.values()
    assert all(p.name in call for p in parameters if p.default is p.empty), call


def test_every_transform_is_in_the_table():
    assert {parameter.values[0] for parameter in KINDS_GIVEN} == set(TRANSFORMS)


@pytest.mark.parametrize(("factory", "first", "second"), SWAPS)
def test_two_arguments_swapped(factory, first, second):
    right = required(factory)
    swapped = {**right, first: right[second], second: right[first]}
    check(factory, swapped, (first, second))


@pytest.mark.parametrize(("factory", "name", "kind"), KINDS_GIVEN)
def test_an_argument_of_another_kind(factory, name, kind):
    check(factory, {**required(factory), name: VALUES[kind]}, [name])


# What Optax's `inject_hyperparams` makes of arguments is said where it may be the caller.


INJECTED = "inject_hyperparams"
BAD: Any = 0.1  # No penalty.


@pytest.mark.parametrize(
    "factory", [f for f in TRANSFORMS if "penalty" in required(f)], ids=lambda f: f.__name__
)
def test_a_transform_tells_how_to_inject(factory):
    with pytest.raises(TypeError, match=INJECTED):
        factory(**{**required(factory), "penalty": 0.1})


@pytest.mark.parametrize(
    "use",
    [
        lambda: jaxreg.strength_max(lambda p: 0.0, BAD, PARAMS),
        lambda: jaxreg.strength_max(lambda p: 0.0, L1(), {"n": jnp.arange(3)}),
        lambda: jaxreg.minimize(lambda p: 0.0, BAD, PARAMS),
        lambda: jaxreg.minimize(lambda p: 0.0, L1(), {"bias": jnp.ones(2)}),
        lambda: jaxreg.minimize(lambda p: 0.0, L1(), {"n": jnp.arange(3)}),
        lambda: L1()({"bias": jnp.ones(2)}),
        lambda: L1()({"n": jnp.arange(3)}),
        lambda: L1()(1.0),
        lambda: L1()(None),
        lambda: L1().prox("w"),
        lambda: weights.of({"bias": jnp.ones(2)}),
        lambda: jaxreg.adaptive(BAD, PARAMS),
    ],
)
def test_other_functions_do_not(use):
    with pytest.raises((TypeError, ValueError), match="must|Mask|mask") as error:
        use()
    assert INJECTED not in str(error.value)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_mask_function_that_was_called_as_a_schedule(wrap):
    def no_vectors(params):
        return jax.tree.map(lambda x: jnp.ndim(x) > 1, params)

    injected = optax.inject_hyperparams(jaxreg.decoupled_l1)
    tx = injected(0.1, learning_rate=0.1, mask=no_vectors)
    with pytest.raises((TypeError, ValueError), match=f"{INJECTED}.*as_mask"):
        wrap(tx.init)(PARAMS)
    fixed = injected(0.1, learning_rate=0.1, mask=as_mask(lambda p: {"kernel": True}))
    fixed.init(PARAMS)
