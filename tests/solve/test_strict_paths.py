"""Paths, cross-validation and losses under all of JAX's strict modes at once."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg import losses
from tests.helpers.leaks import checking_leaks
from tests.helpers.strategies import public

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
CLASSES = np.where(X[:, 0] + RNG.normal(size=40) > 0.3, 1, 0)
SPECIES = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=40), [-0.5, 0.5])
COUNTS = RNG.poisson(np.exp(X[:, 0] / 2))
NUMBERS = X @ np.r_[1.0, -1.0, np.zeros(4)] + RNG.normal(size=40)
LABELS = np.array([0, 0, 1, 1, 2, 2])
GRID = [0.2, 0.05]
# More coefficients than are all candidates at once: the screening runs too.
WIDE = RNG.normal(size=(40, 90))


@contextlib.contextmanager
def strict():
    with (
        jax.debug_nans(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        checking_leaks(),
    ):
        yield


def run_logistic():
    yield jr.logistic_path(X, CLASSES, GRID)
    yield jr.logistic_path(WIDE, CLASSES, num=3, folds=2, standardize=True)
    yield jr.logistic_path(X, CLASSES == 1, GRID, penalty=jr.GroupLasso(labels=LABELS))
    excluded = np.r_[np.inf, 0.0, np.ones(4)]
    yield jr.logistic_path(X, SPECIES, GRID, penalty=jr.ElasticNet(excluded, 0.1))
    yield jr.logistic_path(X, SPECIES, GRID, penalty=jr.GroupLasso(group_axis=0))


def run_poisson():
    yield jr.poisson_path(X, COUNTS, GRID, offset=np.zeros(40), folds=2)


def run_group_lasso():
    yield jr.group_lasso_path(X, NUMBERS, LABELS, num=3, sample_weight=np.ones(40))


def run_lasso():
    yield jr.lasso_path(X, NUMBERS, GRID, folds=2)
    yield jr.lasso_path(WIDE[:, :70], NUMBERS, num=3)
    yield jr.lasso_path(WIDE, NUMBERS, num=3, standardize=True)


def run_elastic_net():
    yield jr.elastic_net_path(X, NUMBERS, GRID, penalty=jr.ElasticNet(0.5, 0.5), folds=2)
    yield jr.elastic_net_path(X, NUMBERS, GRID, penalty=jr.L2(0.5))


def run_knots():
    yield jr.solve.lasso_knots(X, NUMBERS)


def run_multi_task():
    targets = np.column_stack([NUMBERS, X[:, 1]])
    yield jr.solve.multi_task_path(X, targets, GRID, penalty=jr.ElasticNet(0.5, 0.5))


RUNS = {
    "multi_task_path": run_multi_task,
    "logistic_path": run_logistic,
    "poisson_path": run_poisson,
    "group_lasso_path": run_group_lasso,
    "lasso_path": run_lasso,
    "elastic_net_path": run_elastic_net,
    "lasso_knots": run_knots,
}


def test_every_path_is_in_the_table():
    ends = ("_path", "_knots")
    assert set(RUNS) == {name for name in dir(jr.solve) if name.endswith(ends)}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RUNS)
def test_paths_run_under_strict_modes(name):
    with strict():
        found = list(RUNS[name]())
    for strictly, freely in zip(found, RUNS[name](), strict=True):
        for ours, wanted in zip(numbers_of(strictly), numbers_of(freely), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-9)


def numbers_of(found: Any) -> list[np.ndarray]:
    names = ("coefficients", "intercepts", "strengths", "scores")
    return [np.asarray(getattr(found, name)) for name in names if hasattr(found, name)]


LOSSES = {
    "Squared": NUMBERS,
    "Huber": NUMBERS,
    "Logistic": CLASSES,
    "Multinomial": SPECIES,
    "Poisson": COUNTS,
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", [cls.__name__ for cls in public(losses.LinearLoss)])
@pytest.mark.parametrize(
    ("outputs", "penalty", "x64"),
    [
        (1, jr.ElasticNet(0.05, 0.05), True),
        (3, jr.GroupLasso(0.05, group_axis=0), False),
    ],
)
def test_losses_are_minimised_under_strict_modes(name, outputs, penalty, x64):
    y = LOSSES.get(name, COUNTS + 1)  # Positive numbers suit every other loss.
    if name == "Multinomial":
        outputs = 3
    elif outputs == 3:
        y = np.stack([y] * 3, axis=1)
    shape = () if outputs == 1 else (outputs,)
    with strict(), jax.enable_x64(x64):
        loss = getattr(jr.losses, name)(X, y, np.ones(40))
        start = {"kernel": jnp.zeros((6, *shape)), "bias": jnp.zeros(shape)}
        found = jr.minimize(loss, penalty, start, tol=1e-4)
    assert bool(found.converged)
    assert float(found.gap) < 1e-2
