"""Feature selection with a network: which of 20 inputs does y depend on?

Friedman's function uses five of them, one through a square that no linear model sees. A
group lasso on the first layer (`group_axis=0` of its kernel numbers the inputs) penalises
each input as a whole. One fit keeps too many; a second one, whose strengths come from the
first (`adaptive`), keeps the right ones. A little L2 on the second layer stops it from
undoing the shrinking of the first.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import make_friedman1

import jaxreg as jr

UNITS, INPUTS = 10, 20
FIRST, SECOND = jr.named("first/kernel"), jr.named("second/kernel")


def predict(params: Any, x: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    return hidden @ params["second"]["kernel"] + params["second"]["bias"]


def train(params: Any, penalty: jr.Penalty, x: jax.Array, y: jax.Array, steps: int) -> Any:
    """Full-batch proximal Adam."""
    rate = optax.cosine_decay_schedule(1e-2, steps, 0.01)
    optimizer = jr.prox_adam(rate, penalty)

    def loss_of(params: Any) -> jax.Array:
        return jnp.mean((predict(params, x) - y) ** 2) / 2

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss_of)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]


def main(argv: Sequence[str] | None = None) -> dict[str, list[int]]:
    """Fit twice, print the table; return the features that each fit uses."""
    parser = argparse.ArgumentParser(description="Which inputs does y depend on?")
    parser.add_argument("--steps", type=int, default=4000)
    steps = parser.parse_args(argv).steps

    x, y = make_friedman1(1200, INPUTS, noise=1.0, random_state=0)
    x = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32)
    y = jnp.asarray((y - y.mean()) / y.std(), jnp.float32)
    x, test_x, y, test_y = x[:600], x[600:], y[:600], y[600:]

    first, second = jax.random.split(jax.random.key(0))
    params = {
        "first": {"kernel": jax.random.normal(first, (INPUTS, UNITS)) / INPUTS**0.5},
        "second": {"kernel": jax.random.normal(second, (UNITS,)) / UNITS**0.5},
    }
    params["first"]["bias"], params["second"]["bias"] = jnp.zeros(UNITS), jnp.zeros(())

    groups, ridge = jr.GroupLasso(1e-3, group_axis=0, mask=FIRST), jr.L2(1e-3, mask=SECOND)
    print(f"{'':22}{'test R²':>8}{'inputs':>8}   which (the truth: 0 1 2 3 4)")
    used = dict[str, list[int]]()
    for name in ("group lasso", "adaptive group lasso"):
        params = train(params, groups + ridge, x, y, steps)
        score = 1 - jnp.mean((predict(params, test_x) - test_y) ** 2) / jnp.var(test_y)
        on = np.flatnonzero(np.any(np.asarray(params["first"]["kernel"]) != 0, axis=1))
        used[name] = [int(i) for i in on]
        print(f"{name:22}{score:8.3f}{len(on):8}   {' '.join(map(str, on))}")
        groups = jr.adaptive(jr.GroupLasso(1e-3, group_axis=0, mask=FIRST), params)
    return used


if __name__ == "__main__":
    main()
