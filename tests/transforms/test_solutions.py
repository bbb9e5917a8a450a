"""The transforms reach the solutions that scikit-learn finds.

One small regression whose intercept is not regularized. scikit-learn solves it to 1e-14,
and objectives are compared in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import linear_model
from sklearn.datasets import load_diabetes

import jaxreg


def regression():
    """Standardised features and a response of unit variance, about 1.5."""
    diabetes: Any = load_diabetes()
    x, y = diabetes.data, diabetes.target
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std() + 1.5


X, Y = regression()
LEARNING_RATE = 1 / np.linalg.eigvalsh(X.T @ X / len(X)).max()


class Problem(NamedTuple):
    """mean((y − X w − b)²) / 2 + l1·Σ |w| + l2·Σ w², as jaxreg and scikit-learn say it."""

    penalty: jaxreg.Penalty
    l1: float
    l2: float
    model: Any

    def objective(self, w, b):
        loss = np.mean((Y - X @ w - b) ** 2) / 2
        return loss + self.l1 * np.sum(abs(w)) + self.l2 * np.sum(w**2)

    def solution(self):
        fitted = self.model.fit(X, Y)
        return fitted.coef_, fitted.intercept_


EXACTLY: dict[str, Any] = {"tol": 1e-14, "max_iter": 10**6}
LASSO = Problem(jaxreg.L1(0.1), 0.1, 0.0, linear_model.Lasso(0.1, **EXACTLY))
ELASTIC_NET = Problem(
    jaxreg.ElasticNet(l1=0.06, l2=0.02),
    0.06,
    0.02,
    linear_model.ElasticNet(0.1, l1_ratio=0.6, **EXACTLY),
)
RIDGE = Problem(jaxreg.L2(0.05), 0.0, 0.05, linear_model.Ridge(2 * len(X) * 0.05))


def loss(params):
    intercept = next(params[name] for name in params if name != "kernel")
    return jnp.mean((jnp.array(Y) - jnp.array(X) @ params["kernel"] - intercept) ** 2) / 2


def train(tx, *, loss=loss, intercept="intercept", steps=4000):
    """Weights and intercept after full-batch steps from zero, in float64."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0][0]

    trained = run({"kernel": jnp.zeros(X.shape[1]), intercept: jnp.zeros(())})
    return np.float64(trained["kernel"]), np.float64(trained[intercept])


def gap(problem, found):
    """How far an objective is above the smallest, relative to it."""
    best = problem.objective(*problem.solution())
    return problem.objective(*found) / best - 1


def assert_solves(problem, found):
    assert gap(problem, found) <= 1e-6
    np.testing.assert_array_equal(found[0] != 0, problem.solution()[0] != 0)


# Ways to minimise loss + penalty, for any penalty with a prox.
WAYS: dict[str, Callable[[jaxreg.Penalty, float], optax.GradientTransformation]] = {
    "sgd": lambda penalty, rate: optax.chain(
        optax.sgd(rate), jaxreg.proximal(rate, penalty)
    ),
    "momentum": lambda penalty, rate: optax.chain(
        optax.sgd(rate, momentum=0.9), jaxreg.proximal(rate, penalty, momentum=0.9)
    ),
    "nesterov": lambda penalty, rate: optax.chain(
        optax.sgd(rate, momentum=0.9, nesterov=True),
        jaxreg.proximal(rate, penalty, momentum=0.9),
    ),
    "prox_sgd": lambda penalty, rate: jaxreg.prox_sgd(rate, penalty),
    "prox_sgd-momentum": lambda penalty, rate: jaxreg.prox_sgd(rate, penalty, momentum=0.9),
}


@pytest.mark.parametrize(
    "problem", [LASSO, ELASTIC_NET, RIDGE], ids=lambda p: repr(p.penalty)
)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_proximal_steps_solve_the_penalised_problem(problem, way):
    assert_solves(problem, train(way(problem.penalty, LEARNING_RATE)))


@pytest.mark.parametrize("intercept", ["intercept", "bias", "b"])
def test_proximal_l1_solves_the_lasso(intercept):
    tx = optax.chain(
        optax.sgd(LEARNING_RATE), jaxreg.proximal(LEARNING_RATE, jaxreg.L1(0.1))
    )
    assert_solves(LASSO, train(tx, intercept=intercept))


def test_a_decaying_learning_rate_solves_the_lasso():
    rate = optax.linear_schedule(LEARNING_RATE, 0.1 * LEARNING_RATE, 4000)
    assert_solves(
        LASSO, train(optax.chain(optax.sgd(rate), jaxreg.proximal(rate, LASSO.penalty)))
    )


L2_WAYS = {
    "add_l2_decay": optax.chain(jaxreg.add_l2_decay(0.1), optax.sgd(LEARNING_RATE)),
    "add_l2_decay-momentum": optax.chain(
        jaxreg.add_l2_decay(0.1), optax.sgd(LEARNING_RATE / 10, momentum=0.9)
    ),
    "decoupled_weight_decay": optax.chain(
        optax.sgd(LEARNING_RATE),
        jaxreg.decoupled_weight_decay(0.1, learning_rate=LEARNING_RATE),
    ),
}


@pytest.mark.parametrize("tx", L2_WAYS.values(), ids=L2_WAYS)
def test_weight_decay_solves_ridge(tx):
    assert_solves(RIDGE, train(tx))


@pytest.mark.parametrize("problem", [ELASTIC_NET, RIDGE], ids=lambda p: repr(p.penalty))
def test_the_smooth_part_may_be_in_the_loss(problem):
    smooth = jaxreg.L2(problem.l2)
    tx = optax.chain(
        optax.sgd(LEARNING_RATE), jaxreg.proximal(LEARNING_RATE, jaxreg.L1(problem.l1))
    )
    assert_solves(problem, train(tx, loss=lambda params: loss(params) + smooth(params)))


# What goes wrong otherwise, so that the tests above say something.


WRONG = {
    "the momentum is not told": optax.chain(
        optax.sgd(LEARNING_RATE, momentum=0.9),
        jaxreg.proximal(LEARNING_RATE, jaxreg.L1(0.1)),
    ),
    "the learning rate is another": optax.chain(
        optax.sgd(LEARNING_RATE), jaxreg.proximal(LEARNING_RATE / 2, jaxreg.L1(0.1))
    ),
    "the intercept shrinks": optax.chain(
        optax.sgd(LEARNING_RATE),
        jaxreg.proximal(LEARNING_RATE, jaxreg.L1(0.1, mask=jaxreg.everything)),
    ),
}


@pytest.mark.parametrize("tx", WRONG.values(), ids=WRONG)
def test_other_answers_are_told_apart(tx):
    assert gap(LASSO, train(tx)) > 1e-3
