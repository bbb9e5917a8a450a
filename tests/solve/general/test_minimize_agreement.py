"""`minimize` finds the minimum that cvxpy finds: every convex penalty with every loss."""

import jax
import numpy as np
import pytest

from tests.helpers import atoms
from tests.helpers.solving import (
    CONVEX,
    FEATURES,
    LOSSES,
    OUTPUTS,
    SAMPLES,
    STRENGTH,
    data,
    instance,
    solve,
)

pytestmark = pytest.mark.xdist_group("minimize")


@pytest.fixture(scope="module")
def solutions():
    """By penalty and loss."""
    pytest.importorskip("cvxpy")
    x, targets = data()
    with jax.enable_x64(True):
        return {
            (cls, loss): jax.device_get(solve(i, j, STRENGTH, x, targets[loss.__name__]))
            for i, cls in enumerate(CONVEX)
            for j, loss in enumerate(LOSSES)
        }


def in_cvxpy(cp, cls, loss):
    """Kernel, intercept, objective and constraints."""
    x, targets = data()
    kernel, bias = cp.Variable((FEATURES, OUTPUTS)), cp.Variable((1, OUTPUTS))
    eta = x @ kernel + np.ones((SAMPLES, 1)) @ bias
    value, conditions = atoms.of_matrix(cp, instance(cls), kernel)
    mean = atoms.LOSSES[loss.__name__](cp, eta, targets[loss.__name__]) / SAMPLES
    return kernel, bias, mean + value, conditions


@pytest.mark.sampled(6)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cls", CONVEX)
def test_the_minimum_is_that_of_cvxpy(cls, loss, solutions):
    cp = pytest.importorskip("cvxpy")
    found = solutions[cls, loss]
    assert found.converged
    kernel, bias, objective, conditions = in_cvxpy(cp, cls, loss)
    best = atoms.solved(cp, cp.Problem(cp.Minimize(objective), conditions), 1e-10)
    kernel.value, bias.value = found.params["kernel"], found.params["bias"][None]
    np.testing.assert_allclose(found.objective, objective.value, rtol=1e-9)
    np.testing.assert_allclose(found.objective, best, rtol=1e-6)
    assert all(np.all(condition.violation() <= 1e-9) for condition in conditions)
