"""What must be equal: penalties at the ends of their range, and conjugate pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

from jaxreg import (
    L0,
    L1,
    L2,
    MCP,
    SCAD,
    CappedL1,
    ElasticNet,
    ExclusiveLasso,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    Huber,
    L1Linf,
    LHalf,
    LogSum,
    Lp,
    NonNegativeL1,
    SparseGroupLasso,
)
from jaxreg.operators import (
    firm_threshold,
    group_soft_threshold,
    hard_threshold,
    soft_threshold,
)
from jaxreg.penalties import L0L2, Berhu
from tests.helpers.strategies import arrays, metrics, steps

SHAPE = (3, 2)
UNITS = (0, 1)  # every entry is a group
FAR = 1e6

EQUAL = {
    "elastic net without squares": (ElasticNet(0.7, 0.0), L1(0.7)),
    "elastic net without L1": (ElasticNet(0.0, 0.7), L2(0.7)),
    "L0 without squares": (L0L2(0.7, 0.0), L0(0.7)),
    "L0L2 without L0": (L0L2(0.0, 0.7), L2(0.7)),
    "far capped L1": (CappedL1(0.7, cap=FAR), L1(0.7)),
    "far MCP": (MCP(0.7, gamma=FAR), L1(0.7)),
    "far SCAD": (SCAD(0.7, a=FAR), L1(0.7)),
    "flat log-sum": (LogSum(0.7 * FAR, scale=FAR), L1(0.7)),
    "far berhu": (Berhu(0.7, delta=FAR), L1(0.7)),
    "near Huber": (Huber(0.7, delta=1 / FAR), L1(0.7)),
    "far Huber": (Huber(0.7 * FAR, delta=FAR), L2(0.35)),
    "first power": (Lp(0.7, p=1.0), L1(0.7)),
    "square roots": (Lp(0.7, p=0.5), LHalf(0.7)),
    "group lasso of ones": (GroupLasso(0.7, group_axis=UNITS), L1(0.7)),
    "sparse group lasso of ones": (SparseGroupLasso(0.3, 0.4, group_axis=UNITS), L1(0.7)),
    "largest of ones": (L1Linf(0.7, group_axis=UNITS), L1(0.7)),
    "exclusive lasso of ones": (ExclusiveLasso(0.7, group_axis=UNITS), L2(0.7)),
    "sparse group lasso without L1": (SparseGroupLasso(0.0, 0.7), GroupLasso(0.7)),
    "sparse group lasso without groups": (SparseGroupLasso(0.7, 0.0), L1(0.7)),
    "far group MCP": (GroupMCP(0.7, FAR), GroupLasso(0.7)),
    "group MCP of ones": (GroupMCP(0.7, 3.0, group_axis=UNITS), MCP(0.7, gamma=3.0)),
    "group SCAD of ones": (GroupSCAD(0.7, 3.7, group_axis=UNITS), SCAD(0.7, a=3.7)),
}

prox = jax.jit(lambda penalty, x, step, metric: penalty.prox(x, step, metric))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", EQUAL)
@given(data=st.data())
def test_at_the_ends_of_their_range(name, data):
    ours, expected = EQUAL[name]
    x, step = data.draw(arrays(SHAPE)), data.draw(steps)
    metric = data.draw(metrics(SHAPE)) if ours.takes_metric else None
    with jax.enable_x64(True):
        x = np.float64(x)
        found, wanted = prox(ours, x, step, metric), prox(expected, x, step, metric)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ours(x), expected(x), rtol=1e-4, atol=1e-4)


@given(x=arrays(SHAPE), step=steps)
def test_positive_lasso_is_the_lasso_of_the_positive_part(x, step):
    found = NonNegativeL1(0.7).prox(x, step)
    np.testing.assert_array_equal(found, L1(0.7).prox(jnp.maximum(x, 0.0), step))


# Moreau: x = prox_{tR}(x) + t·prox_{R*/t}(x/t), where the conjugate R* is coded apart. For
# a norm it is the constraint to the ball of the dual norm; Optax has the projections.


def columns(project):
    return jax.vmap(project, in_axes=1, out_axes=1)


CONJUGATES = {
    "L1": (L1(0.7), lambda y, t: jnp.clip(y, -0.7, 0.7)),
    "L2": (L2(0.7), lambda y, t: y / (1 + 1 / (2 * 0.7 * t))),
    "elastic net": (
        ElasticNet(0.7, 0.4),  # R*(y) = Σ max(|y| − l1, 0)²/(4·l2)
        lambda y, t: jnp.where(
            jnp.abs(y) <= 0.7, y, (y + jnp.sign(y) * 0.7 / (0.8 * t)) / (1 + 1 / (0.8 * t))
        ),
    ),
    "Huber": (
        Huber(0.7, delta=0.5),  # R*(y) = Σ y²·delta/(2·0.7) where |y| ≤ 0.7
        lambda y, t: jnp.clip(y / (1 + 0.5 / (0.7 * t)), -0.7, 0.7),
    ),
    "positive lasso": (NonNegativeL1(0.7), lambda y, t: jnp.minimum(y, 0.7)),
    "group lasso": (
        GroupLasso(0.7, scale="none"),
        lambda y, t: columns(lambda c: optax.projections.projection_l2_ball(c, 0.7))(y),
    ),
    "largest": (
        L1Linf(0.7),
        lambda y, t: columns(lambda c: optax.projections.projection_l1_ball(c, 0.7))(y),
    ),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CONJUGATES)
@given(data=st.data())
def test_moreau(name, data):
    penalty, conjugate_prox = CONJUGATES[name]
    x, step = data.draw(arrays(SHAPE)), data.draw(steps)
    with jax.enable_x64(True):
        x = np.float64(x)
        rest = step * conjugate_prox(x / step, step)
        found = prox(penalty, x, step, None)
        np.testing.assert_allclose(found, x - rest, rtol=1e-9, atol=1e-9)


def test_what_lies_on_the_threshold_is_removed():
    x = jnp.array([1.0, -1.0, 1.0 + 1e-6])
    for threshold in (soft_threshold, hard_threshold):
        np.testing.assert_array_equal(threshold(x, 1.0) == 0, [True, True, False])
    np.testing.assert_array_equal(firm_threshold(x, 1.0, 2.0) == 0, [True, True, False])
    groups = jnp.array([[3.0, 3.0], [4.0, 4.1]])
    moved = group_soft_threshold(groups, 5.0)
    np.testing.assert_array_equal(moved == 0, [[True, False], [True, False]])
