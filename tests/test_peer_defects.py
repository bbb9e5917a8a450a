"""Defects of other libraries, each a test that jaxreg passes.

The names say whose defect it is; the numbers are those at which theirs is wrong.
"""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg
from jaxreg import (
    L0,
    L1,
    L2,
    MCP,
    SCAD,
    CappedL1,
    ElasticNet,
    GroupLasso,
    Huber,
    LHalf,
    LogSum,
    Lp,
)

pytestmark = pytest.mark.exhaustive  # Laws and peers notice the faults of ours.

ZEROS = jnp.zeros((3, 2))


def is_best(penalty, x, step):
    """Whether the prox of one number beats a fine grid, zero and the number itself."""
    with jax.enable_x64(True):
        reached = float(penalty.prox(np.float64(x), step))
        points = np.append(np.linspace(-1.5 * abs(x), 1.5 * abs(x), 3001), [0.0, x])
        costs = step * np.asarray(jax.vmap(penalty)(points)) + (points - x) ** 2 / 2
        cost = step * float(penalty(np.float64(reached))) + (reached - x) ** 2 / 2
    return cost <= np.min(costs) + 1e-12


SOME = [-5.0, -3.0, -0.9, -0.3, 0.3, 0.7, 1.3, 1.41, 1.42, 1.6, 1.8, 3.0, 5.0]


def test_pyproximal_l0_has_the_threshold_of_l1():
    assert L0(1.0).prox(jnp.float32(1.3)) == 0
    assert all(is_best(L0(1.0), x, 1.0) for x in SOME)
    assert L0(0.5)(jnp.array([3.0, 0.0])) == 0.5  # the value counts the strength


def test_pyproximal_huber_is_wrong_between_its_pieces():
    assert float(Huber(1.0, delta=0.5).prox(jnp.float32(0.7))) == pytest.approx(0.7 / 3)
    assert all(is_best(Huber(1.0, delta=0.5), x, step) for x in SOME for step in (0.3, 3.0))


def test_pyproximal_log1_has_half_the_discriminant():
    penalty = LogSum(0.7, scale=0.5)
    assert all(is_best(penalty, x, step) for x in SOME for step in (0.1, 1.0, 7.0))
    assert float(penalty(jnp.float32(1.0))) == pytest.approx(0.7 * np.log(3.0))


def test_pyproximal_scad_has_no_second_regime():
    penalty = SCAD(1.0, a=2.1)
    assert penalty.prox(jnp.float32(-3.0), 2.0) == -3.0
    assert all(is_best(penalty, x, step) for x in SOME for step in (1.1, 2.0, 3.1, 20.0))


def test_pyproximal_quadratic_envelope_is_mcp_and_has_no_second_regime():
    penalty = MCP(np.sqrt(2.0), gamma=1.0)  # the envelope of #{w ≠ 0}
    assert all(is_best(penalty, x, step) for x in SOME for step in (0.5, 1.0, 2.0))


def test_scico_l0_thresholds_at_the_strength():
    assert L0(0.1).prox(jnp.float32(0.3)) == 0
    assert L0(0.1).prox(jnp.float32(0.5)) == 0.5


def test_scico_gradients_of_norms_at_zero_are_nan():
    penalty = GroupLasso(1.0)
    assert not np.any(jax.grad(penalty)(ZEROS))
    jacobian = jax.jacobian(lambda x: penalty.prox(x, 0.5))(ZEROS)
    assert np.all(np.isfinite(jacobian))


def test_scico_takes_no_dicts():
    tree = {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}
    assert L1(0.5).prox(tree)["kernel"] == 1.5


def test_skglm_mcp_is_zero_for_long_steps():
    assert MCP(1.0, gamma=1.5).prox(jnp.float32(1.8), 2.0) == np.float32(1.8)
    assert all(is_best(MCP(1.0, gamma=1.5), x, step) for x in SOME for step in (1.5, 2.0))


def test_skglm_scad_divides_by_zero_at_a_step_of_a_minus_one():
    assert np.all(np.isfinite(SCAD(1.0, a=3.0).prox(jnp.array(SOME), 2.0)))
    assert all(is_best(SCAD(1.0, a=3.0), x, 2.0) for x in SOME)


@pytest.mark.parametrize(
    "penalty",
    [GroupLasso(0.0), Lp(0.0, p=2 / 3), LHalf(0.0), L1(0.0), CappedL1(0.0), LogSum(0.0)],
    ids=repr,
)
def test_skglm_divides_zero_by_zero_without_strength(penalty):
    assert not np.any(penalty.prox(ZEROS))
    assert not np.any(jax.grad(penalty)(ZEROS))


def test_skglm_accepts_impossible_numbers():
    with pytest.raises(ValueError, match="L1.strength must be non-negative"):
        L1(-1.0)
    with pytest.raises(ValueError, match="MCP.gamma must be greater than 0"):
        MCP(1.0, gamma=0.0)
    with pytest.raises(ValueError, match="SCAD.a must be greater than 2"):
        SCAD(1.0, a=2.0)


def test_skglm_cannot_be_imported_by_star():
    names = {}
    exec("from jaxreg.penalties import *", names)
    assert names["L1"] is L1


def test_proxop_capped_l1_is_wrong_below_zero():
    assert CappedL1(1.0, cap=1.0).prox(jnp.float32(-5.0), 0.5) == -5.0
    assert all(is_best(CappedL1(1.0, cap=1.0), x, s) for x in SOME for s in (0.5, 1.0, 9.0))


def test_ott_stvs_is_right_for_one_step_only():
    for step in (0.05, 0.5, 1.0, 2.0, 30.0):
        for penalty in (MCP(0.8), SCAD(0.8), LogSum(0.8), LHalf(0.8), Lp(0.8, p=0.3)):
            assert all(is_best(penalty, x, step) for x in SOME), (penalty, step)


def test_jaxopt_group_prox_has_nan_gradients_and_one_group_for_a_tree():
    tree = {"a": ZEROS, "c": ZEROS + 2.0}
    slopes = jax.grad(lambda t: jnp.sum(GroupLasso(0.1).prox(t)["a"]))(tree)
    assert np.all(np.isfinite(slopes["a"]))
    alone = GroupLasso(0.1).prox(tree["c"])
    np.testing.assert_array_equal(GroupLasso(0.1).prox(tree)["c"], alone)


def test_jaxopt_elastic_net_needs_python_floats():
    x, expected = {"w": jnp.array([3.0])}, ElasticNet(1.0, 0.5).prox(jnp.array([3.0]))
    assert ElasticNet(1, 0.5).prox(x)["w"] == expected
    traced = jax.jit(lambda l1, l2: ElasticNet(l1, l2).prox(x)["w"])(1, 0.5)
    assert traced == expected


def test_jaxopt_ridge_says_one_thing_and_does_another():
    assert L2(1.0).prox(jnp.float32(3.0)) == 1.0  # argmin z² + ½(z − 3)²
    assert L2(1.0)(jnp.float32(3.0)) == 9.0


def test_jaxopt_accepts_negative_strengths_and_nan():
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="must be non-negative"):
            L1(bad)
        with pytest.raises(ValueError, match="step must be non-negative"):
            L1().prox(ZEROS, bad)


def test_optax_accepts_negative_decay_and_masks_that_choose_nothing():
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="weight_decay must be non-negative"):
            jaxreg.add_l2_decay(bad)
    decay = jaxreg.add_l2_decay(0.1, mask=jaxreg.named("kernl"))
    with pytest.raises(ValueError, match="matches none of"):
        decay.init({"kernel": ZEROS})


@pytest.mark.parametrize("metric", [None, 2.0, 1.0 + np.arange(6.0).reshape(3, 2)])
def test_nemos_and_pyglmnet_group_prox_is_nan_at_a_zero_group(metric):
    for strength in (0.0, 1.0):
        penalty = GroupLasso(strength)
        assert not np.any(penalty.prox(ZEROS, 1.0, metric))
        jacobian = jax.jacobian(lambda x, p=penalty: p.prox(x, 1.0, metric))(ZEROS)
        assert np.all(np.isfinite(jacobian))


def test_proxssi_loses_the_safeguard_of_its_newton_steps():
    """Metrics of any ratio, and weights of any size, have their one root found."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = rng.normal(size=(40, 8)) * 10.0 ** rng.uniform(-4, 4, (1, 8))
        metric = 10.0 ** rng.uniform(-3, 3, x.shape)
        z = np.asarray(GroupLasso(1.0, scale="none").prox(x, 1.0, metric))
    lengths = np.linalg.norm(z, axis=0)
    kept = lengths > 0
    pull = (metric * (x - z))[:, kept]
    np.testing.assert_allclose(pull, (z / np.where(kept, lengths, 1.0))[:, kept], atol=1e-7)
    removed = np.linalg.norm((metric * x)[:, ~kept], axis=0)
    assert np.all(removed <= 1.0)


def train(optimizer, loss, params, steps):
    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = params, optimizer.init(params)
    return jax.jit(lambda start: jax.lax.scan(step, start, length=steps)[0][0])(start)


def test_torchao_prox_lasso_makes_no_zeros_under_adam():
    goal = jnp.array([3.0, 0.4, -0.2, 0.05])

    def loss(w):
        return jnp.sum(jnp.square(w - goal)) / 2

    solution = train(jaxreg.prox_adam(0.05, L1(0.5)), loss, jnp.ones(4), 2000)
    np.testing.assert_allclose(solution, [2.5, 0.0, 0.0, 0.0], atol=1e-4)
    assert np.array_equal(solution == 0, [False, True, True, True])


def test_torchao_prox_is_nan_at_zero_without_threshold():
    for penalty in (L1(0.0), GroupLasso(0.0)):
        optimizer = jaxreg.prox_sgd(0.0, penalty)
        state = optimizer.init(ZEROS)
        updates, _ = optimizer.update(ZEROS, state, ZEROS)
        assert not np.any(jnp.asarray(updates))


def test_torchao_negative_strengths_grow_the_weights():
    with pytest.raises(ValueError, match="must be non-negative"):
        jaxreg.proximal(0.1, jaxreg.L1(-0.1))


def test_keras_l1_never_makes_a_zero():
    """L1 in the loss does not either; the prox of the same penalty does."""
    goal, penalty = jnp.array([1.0, 0.001]), L1(0.1)

    def fit(w):
        return jnp.sum(jnp.square(w - goal)) / 2

    def loss(w):
        return fit(w) + penalty(w)

    start = jnp.array([0.5, 0.333])
    assert np.all(train(optax.sgd(0.07), loss, start, 500) != 0)
    assert train(jaxreg.prox_sgd(0.07, penalty), fit, start, 500)[1] == 0
