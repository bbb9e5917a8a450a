"""Every optimizer of Optax, found by its arguments, and what wrappers make of it."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

import jaxreg

STEPS, RATE, STRENGTH = 600, 0.05, 0.25
TARGET = jnp.array([1.5, -0.875, 0.0625, -0.2])
SOLUTION = np.array([1.25, -0.625, 0.0, 0.0])

# Optimizers without a learning rate, and the parts that look like optimizers.
WITHOUT_RATE = {"adadelta", "cocob", "lbfgs", "polyak_sgd"}
PARTS = {"scale_by_learning_rate", "scale_by_rprop", "scale_by_madgrad", "schedule_free"}
# What needs more than gradients: a gradient for each sample, a search of its own.
OTHER_INPUTS = {"dpsgd", "lbfgs", "polyak_sgd"}


def optimizers() -> dict[str, Callable[..., Any]]:
    """The functions that make optimizers, by name, `contrib.` before those of contrib."""
    found: dict[str, Callable[..., Any]] = {}
    for module, prefix in ((optax, ""), (contrib, "contrib.")):
        for name, function in vars(module).items():
            if not inspect.isfunction(function) or name.startswith("_") or name in PARTS:
                continue
            takes = inspect.signature(function).parameters
            if "learning_rate" in takes or name in WITHOUT_RATE:
                found[prefix + name] = function
    return found


def made(function: Callable[..., Any], rate: Any) -> Any:
    """The optimizer, without a decay of its own."""
    takes = inspect.signature(function).parameters
    decays = ("weight_decay", "weight_decay_rate", "adam_weight_decay")
    options: dict[str, Any] = {name: 0.0 for name in decays if name in takes}
    if "learning_rate" in takes:
        options["learning_rate"] = rate
    if "eta" in takes:
        options["eta"] = 0.0  # The noise of `noisy_sgd`.
    if "key" in takes:
        options["key"] = 0
    return function(**options)


def loss(w: Any) -> Any:
    return jnp.sum(jnp.square(w - TARGET)) / 2


def extra(w: Any) -> dict[str, Any]:
    """Everything that some optimizer asks for beside gradients."""
    return {"value": loss(w), "obj_fn": loss}


def keeps_decay(function: Callable[..., Any]) -> bool:
    """Whether decay of a twentieth, three times, is all that happens without gradients."""
    tx = jaxreg.with_decay(made(function, RATE), 0.1, learning_rate=0.5)
    start = jnp.array([1.0, -2.0, 0.5, 3.0])

    def after(gradient: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            w, state = carry
            updates, state = tx.update(gradient, state, w, **extra(w))
            return (w + updates, state), None

        return jax.lax.scan(step, (start, tx.init(start)), length=3)[0][0]

    # Some divide by the norm of all gradients so far: they are given tiny ones.
    found = jax.jit(jax.vmap(after))(jnp.stack([0 * TARGET, 1e-20 * TARGET]))
    ends = found[0] if np.all(np.isfinite(found[0])) else found[1]
    return np.allclose(ends / start, 0.95**3, rtol=2e-3)


def solves_lasso(function: Callable[..., Any]) -> bool:
    """Whether `orthant_wise` ends at the solution, with its zeros, at some schedule."""
    schedule = optax.cosine_decay_schedule(RATE, STEPS)
    return any(_ends_at_solution(function, rate) for rate in (schedule, RATE))


def _ends_at_solution(function: Callable[..., Any], rate: Any) -> bool:
    start = jnp.full(4, 0.5)
    try:
        tx = jaxreg.orthant_wise(made(function, rate), STRENGTH, window=1)
        state = tx.init(start)
    except (TypeError, ValueError) as error:
        if "must not" in str(error):
            raise
        return False  # It takes no schedule.

    def step(carry: Any, _: Any) -> Any:
        w, state = carry
        updates, state = tx.update(w - TARGET, state, w, **extra(w))
        return (w + updates, state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[0][0])
    w = run((start, state))
    return np.allclose(w, SOLUTION, atol=0.02) and np.array_equal(w == 0, SOLUTION == 0)


def outcome(test: Callable[..., bool], name: str) -> str:
    """`yes` or `no`; `refused` where the wrapper says that it is wrong."""
    if name.removeprefix("contrib.") in OTHER_INPUTS:
        return "no"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "yes" if test(optimizers()[name]) else "no"
        except ValueError as error:
            if "must not go around" in str(error):
                return "refused"
            raise
