"""Every penalty and every loss in one program, which is compiled once.

`Chosen` is the penalty of a given number, and `chosen_loss` the loss; both numbers are
traced. All losses are for a kernel of the same shape.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg
from jaxreg.penalties.fields import part, strength_fields
from tests.helpers.strategies import PENALTIES, public

SAMPLES, FEATURES, OUTPUTS = 30, 6, 3
STRENGTH = 0.05
# These programs run for milliseconds and compile for seconds.
QUICKLY = {"xla_backend_optimization_level": 0}
# SLOPE's weights by name depend on the size of a leaf; by number an oracle sees them.
OPTIONS: dict[str, dict[str, Any]] = {
    "SLOPE": {"weights": tuple(np.linspace(2.0, 0.5, FEATURES * OUTPUTS))}
}


def instance(cls: Any, strength: Any = STRENGTH) -> Any:
    strengths = dict.fromkeys(strength_fields(cls), strength)
    return cls(**strengths, **OPTIONS.get(cls.__name__, {}))


CONVEX = [cls for cls in PENALTIES if cls.is_convex and cls.has_prox]
LOSSES: list[Any] = public(jaxreg.losses.LinearLoss)


class Chosen(jaxreg.Penalty):
    """The convex penalty of a number, with all its strengths equal."""

    number: Any = part()
    strength: Any = 1.0

    def __call__(self, params):
        values = [lambda p, cls=cls: instance(cls, self.strength)(p) for cls in CONVEX]
        return jax.lax.switch(self.number, values, params)

    def unchecked_prox(self, params, step, metric):
        def prox(cls):
            return lambda p: instance(cls, self.strength).unchecked_prox(p, step, metric)

        return jax.lax.switch(self.number, [prox(cls) for cls in CONVEX], params)

    def array_value(self, x):
        raise NotImplementedError

    def array_prox(self, x, step, metric):
        raise NotImplementedError

    def array_critical_scale(self, gradient):
        raise NotImplementedError


def loss_among(losses):
    """The loss of a number, among some."""

    def loss(params, number, x, y):
        branches = [lambda p, cls=cls: cls(x, y)(p) for cls in losses]
        return jax.lax.switch(number, branches, params)

    return loss


chosen_loss = loss_among(LOSSES)


def data() -> tuple[Any, dict[str, Any]]:
    """Features, and targets of shape (n, k) for each loss."""
    rng = np.random.default_rng(0)
    shape = SAMPLES, OUTPUTS
    x = rng.normal(size=(SAMPLES, FEATURES))
    eta = x @ rng.normal(size=(FEATURES, OUTPUTS)) + 0.3
    heavy = eta + 2 * rng.standard_t(2, shape)
    with jax.enable_x64(True):  # The mean response is a target that every loss takes.
        means = {
            cls.__name__: np.asarray(cls.mean_response(jnp.asarray(eta / 2)))
            for cls in LOSSES
        }
    return x, {
        **means,
        "Huber": heavy,
        "Logistic": 1.0 * (eta + 2 * rng.logistic(size=shape) > 0),
        "Multinomial": np.eye(OUTPUTS)[np.argmax(eta + 2 * rng.gumbel(size=shape), 1)],
        "Poisson": 1.0 * rng.poisson(np.exp(eta / 2)),
        "Squared": eta + rng.normal(size=shape),
    }


def start() -> Any:
    return {"kernel": jnp.zeros((FEATURES, OUTPUTS)), "bias": jnp.zeros(OUTPUTS)}


@functools.partial(jax.jit, compiler_options=QUICKLY)
def solve(penalty, loss, strength, x, y, tol=1e-8):
    """What `minimize` finds, for a penalty and a loss by their numbers."""
    chosen = Chosen(penalty, strength)
    return jaxreg.minimize(chosen_loss, chosen, start(), loss, x, y, tol=tol)
