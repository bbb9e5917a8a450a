"""L1 and elastic net reach their minimisers, with exact zeros, under every optimizer.

scikit-learn solves the same problems to 1e-14; objectives are compared in float64. The
recipes that everybody writes instead are here too, and must miss.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import linear_model
from sklearn.datasets import load_breast_cancer

import jaxreg
from tests.transforms.test_solutions import EXACTLY, X, Y

N = len(X)
L1_MAX = abs(X.T @ (Y - Y.mean())).max() / N
STRENGTHS = L1_MAX * np.array([0.5, 0.1, 0.03, 0.01])
L2_STRENGTH = 0.02
STEPS = 10_000

Way = Callable[[Any, Any], optax.GradientTransformation]


def cosine(rate: float) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, STEPS)


def penalty_of(l1: Any, l2: Any) -> jaxreg.Penalty:
    return jaxreg.ElasticNet(l1, l2)


def preconditioned(scaler: Any, rate: float) -> Way:
    return lambda l1, l2: jaxreg.prox_preconditioned(scaler, rate, penalty_of(l1, l2))


def orthant(optimizer: optax.GradientTransformation) -> Way:
    return lambda l1, l2: optax.chain(
        jaxreg.add_l2_decay(2 * l2), jaxreg.orthant_wise(optimizer, l1)
    )


PROXIMAL: dict[str, Way] = {
    "prox_sgd": lambda l1, l2: jaxreg.prox_sgd(0.2, penalty_of(l1, l2)),
    "prox_sgd-momentum": lambda l1, l2: jaxreg.prox_sgd(0.05, penalty_of(l1, l2), 0.9),
    "prox_sgd-nesterov": lambda l1, l2: jaxreg.prox_sgd(
        0.05, penalty_of(l1, l2), 0.9, True
    ),
    "prox_sgd-window": lambda l1, l2: jaxreg.prox_sgd(
        0.05, penalty_of(l1, l2), 0.9, window=1000
    ),
    "prox_adam": lambda l1, l2: jaxreg.prox_adam(1e-2, penalty_of(l1, l2)),
    "prox_adam-nesterov": lambda l1, l2: jaxreg.prox_adam(
        1e-2, penalty_of(l1, l2), nesterov=True
    ),
    "dual_averaging_adam": lambda l1, l2: jaxreg.dual_averaging_adam(
        1e-2, penalty_of(l1, l2)
    ),
    "dual_averaging_adam-cosine": lambda l1, l2: jaxreg.dual_averaging_adam(
        cosine(1e-2), penalty_of(l1, l2)
    ),
    "adagrad": preconditioned(optax.scale_by_rss, 0.1),
    "adamax": preconditioned(optax.scale_by_adamax, 1e-2),
    "amsgrad": preconditioned(optax.scale_by_amsgrad, 1e-1),
    "rmsprop": preconditioned(functools.partial(optax.scale_by_rms, decay=0.99), 1e-3),
    "yogi": preconditioned(optax.scale_by_yogi, 1e-2),
}
ORTHANT: dict[str, Way] = {
    "orthant-adafactor": orthant(optax.adafactor(cosine(0.01))),
    "orthant-adagrad": orthant(optax.adagrad(0.1)),
    "orthant-adam": orthant(optax.adam(cosine(0.01))),
    "orthant-adan": orthant(optax.adan(cosine(0.01))),
    "orthant-lamb": orthant(optax.lamb(cosine(0.01))),
    "orthant-lars": orthant(optax.lars(cosine(1.0))),
    "orthant-lion": orthant(optax.lion(cosine(0.003), weight_decay=0.0)),
    "orthant-momentum": orthant(optax.sgd(0.02, momentum=0.9)),
    "orthant-muon": orthant(optax.contrib.muon(cosine(0.01))),
    "orthant-novograd": orthant(optax.novograd(cosine(0.01))),
    "orthant-rmsprop": orthant(optax.rmsprop(cosine(0.01))),
    "orthant-sgd": orthant(optax.sgd(0.2)),
}


def naive(optimizer: optax.GradientTransformation, rate: float) -> Way:
    return lambda l1, l2: optax.chain(
        jaxreg.add_l2_decay(2 * l2), optimizer, jaxreg.proximal(rate, jaxreg.L1(l1))
    )


NAIVE: dict[str, Way] = {
    "adam": naive(optax.adam(1e-2), 1e-2),
    "rmsprop": naive(optax.rmsprop(1e-2), 1e-2),
    "lion": naive(optax.lion(3e-3, weight_decay=0.0), 3e-3),
    "momentum": naive(optax.sgd(0.05, momentum=0.9), 0.05),
}


def least_squares(x: Any, y: Any, params: Any) -> jax.Array:
    return jnp.mean((y - x @ params["kernel"] - params["intercept"]) ** 2) / 2


def minimise(tx: Any, loss: Any, params: Any, steps: int = STEPS) -> Any:
    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0][0]


def start(features: int) -> Any:
    return {"kernel": jnp.zeros(features), "intercept": jnp.zeros(())}


def path(way: Way, l2: float = 0.0, x: Any = X, strengths: Any = STRENGTHS) -> Any:
    """Weights and intercepts for all strengths, trained in one program in float32."""
    loss = functools.partial(least_squares, jnp.array(x), jnp.array(Y))

    def run(l1: Any) -> Any:
        return minimise(way(l1, l2), loss, start(x.shape[1]))

    trained = jax.jit(jax.vmap(run))(jnp.array(strengths))
    return np.float64(trained["kernel"]), np.float64(trained["intercept"])


def objective(l1: float, l2: float, w: Any, b: Any, x: Any = X) -> float:
    loss = np.mean((Y - x @ w - b) ** 2) / 2
    return loss + l1 * np.sum(abs(w)) + l2 * np.sum(w**2)


@functools.cache
def solutions(l2: float) -> list[tuple[Any, Any]]:
    found = []
    for l1 in STRENGTHS:
        alpha = l1 + 2 * l2
        model = linear_model.ElasticNet(alpha, l1_ratio=l1 / alpha, **EXACTLY).fit(X, Y)
        found.append((model.coef_, model.intercept_))
    return found


def gaps(found: Any, l2: float) -> list[float]:
    return [
        objective(l1, l2, w, b) / objective(l1, l2, *best) - 1
        for l1, w, b, best in zip(STRENGTHS, *found, solutions(l2), strict=True)
    ]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("way", (PROXIMAL | ORTHANT).values(), ids=PROXIMAL | ORTHANT)
def test_the_lasso_is_solved_at_every_strength(way):
    found = path(way)
    assert max(gaps(found, 0.0)) <= 1e-6
    for w, (exact, _) in zip(found[0], solutions(0.0), strict=True):
        np.testing.assert_array_equal(w != 0, exact != 0)
        np.testing.assert_allclose(w, exact, atol=1e-4)


WITH_L2 = ["prox_sgd-momentum", "prox_adam", "dual_averaging_adam", "orthant-lion"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WITH_L2)
def test_the_elastic_net_is_solved_at_every_strength(name):
    found = path((PROXIMAL | ORTHANT)[name], L2_STRENGTH)
    assert max(gaps(found, L2_STRENGTH)) <= 1e-6
    for w, (exact, _) in zip(found[0], solutions(L2_STRENGTH), strict=True):
        np.testing.assert_array_equal(w != 0, exact != 0)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("way", NAIVE.values(), ids=NAIVE)
def test_what_everybody_writes_misses(way):
    assert min(gaps(path(way), 0.0)) > 1e-3


def test_l1_in_the_loss_gives_no_zero():
    loss = functools.partial(least_squares, jnp.array(X), jnp.array(Y))
    penalty = jaxreg.L1(float(STRENGTHS[0]))
    tx = optax.adam(cosine(1e-2))
    trained = minimise(tx, lambda params: loss(params) + penalty(params), start(10))
    assert np.all(trained["kernel"] != 0)


def test_a_badly_scaled_lasso_is_solved():
    x = X * np.geomspace(0.1, 10, X.shape[1])
    l1 = 0.1 * abs(x.T @ (Y - Y.mean())).max() / N
    exact = linear_model.Lasso(l1, **EXACTLY).fit(x, Y)
    best = objective(l1, 0.0, exact.coef_, exact.intercept_, x)

    def excess(way: Way) -> float:
        (w,), (b,) = path(way, 0.0, x, [l1])
        return objective(l1, 0.0, w, b, x) / best - 1

    adam = functools.partial(jaxreg.prox_adam, cosine(1e-2))
    assert excess(lambda l1, _: adam(jaxreg.L1(l1))) <= 1e-6
    assert excess(naive(optax.adam(cosine(1e-2)), 1e-2)) > 1e-3


def test_a_sparse_logistic_regression_with_an_intercept_is_solved():
    data: Any = load_breast_cancer()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    sign = 2.0 * data.target - 1
    l1 = 0.02

    def loss(params: Any) -> jax.Array:
        margin = jnp.array(sign) * (jnp.array(x) @ params["kernel"] + params["intercept"])
        return jnp.mean(jax.nn.softplus(-margin))

    tx = jaxreg.prox_adam(cosine(0.02), jaxreg.L1(l1))
    trained = jax.jit(lambda params: minimise(tx, loss, params))(start(x.shape[1]))
    w, b = np.asarray(trained["kernel"], float), float(trained["intercept"])
    residual: Any = -sign / (1 + np.exp(sign * (x @ w + b))) / len(x)
    gradient = x.T @ residual
    at_zero = np.maximum(abs(gradient) - l1, 0)
    kkt: Any = np.where(w == 0, at_zero, abs(gradient + l1 * np.sign(w)))
    assert max(kkt.max(), abs(residual.sum())) <= 1e-4
    assert 0 < np.sum(w == 0) < len(w)


# Minibatches.


def noisy_problem() -> tuple[Any, Any, float, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 50)) * np.exp(rng.uniform(-1, 1, 50))
    w = np.zeros(50)
    w[rng.permutation(50)[:8]] = rng.choice([-1, 1], 8) * (1 + rng.random(8))
    y = x @ w + rng.normal(size=200)
    l1 = 0.1 * abs(x.T @ y).max() / len(x)
    model = linear_model.Lasso(l1, fit_intercept=False, **EXACTLY)
    return jnp.array(x), jnp.array(y), l1, model.fit(x, y).coef_ != 0


def exact_supports(tx: Any, seeds: int = 10, steps: int = 20_000) -> int:
    """In how many of some runs with minibatches of 16 the support is the lasso's."""
    x, y, _, support = noisy_problem()

    def run(key: jax.Array) -> jax.Array:
        def step(carry: Any, key: jax.Array) -> Any:
            w, state = carry
            rows = jax.random.randint(key, (16,), 0, len(x))
            gradient = x[rows].T @ (x[rows] @ w - y[rows]) / 16
            updates, state = tx.update(gradient, state, w)
            return (optax.apply_updates(w, updates), state), None

        first, rest = jax.random.split(key)
        w = jax.random.normal(first, (x.shape[1],))
        return jax.lax.scan(step, (w, tx.init(w)), jax.random.split(rest, steps))[0][0]

    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds))
    return int(np.sum(np.all((np.array(found) != 0) == support, axis=1)))


@pytest.mark.exhaustive
def test_dual_averaging_finds_the_exact_support_under_noise(record_property):
    l1 = noisy_problem()[2]
    rate = optax.cosine_decay_schedule(1e-2, 20_000)
    averaged = exact_supports(jaxreg.dual_averaging_adam(rate, jaxreg.L1(l1), window=5000))
    plain = exact_supports(jaxreg.prox_adam(rate, jaxreg.L1(l1)))
    record_property("exact supports in 10 runs", {"averaged": averaged, "plain": plain})
    assert averaged >= 9
    assert plain < averaged


def test_a_window_of_one_step_is_the_plain_proximal_step():
    penalty = jaxreg.L1(0.1)
    loss = functools.partial(least_squares, jnp.array(X), jnp.array(Y))
    plain = minimise(jaxreg.prox_adam(1e-2, penalty), loss, start(10), 200)
    tx = jaxreg.dual_averaging_adam(1e-2, penalty, window=jnp.array(1))
    chex.assert_trees_all_close(minimise(tx, loss, start(10), 200), plain, atol=1e-5)


def test_the_window_forgets_a_strength_that_is_switched_off():
    """A stale subgradient would go on pushing."""
    target = jnp.array([1.0, -0.5, 0.2])
    tx = jaxreg.dual_averaging_adam(
        cosine(1e-2), jaxreg.L1(0.3), strength_schedule=lambda count: 1.0 * (count < 2000)
    )
    found = minimise(tx, lambda w: jnp.sum((w - target) ** 2) / 2, jnp.zeros(3))
    chex.assert_trees_all_close(found, target, atol=1e-4)


WINDOWED = {
    "dual_averaging_adam": functools.partial(jaxreg.dual_averaging_adam, 1e-2),
    "prox_sgd": functools.partial(jaxreg.prox_sgd, 1e-2, window=1000),
}
JUMPS = {
    "warm-up": {"warmup_steps": 500},
    "louder": {"strength_schedule": lambda count: jnp.where(count < 500, 0.1, 1.0)},
    "switched on": {"strength_schedule": lambda count: 1.0 * (count >= 500)},
    "switched off": {"strength_schedule": lambda count: 1.0 * (count < 500)},
}


@pytest.mark.covering("make", "options")
@pytest.mark.parametrize("make", WINDOWED.values(), ids=WINDOWED)
@pytest.mark.parametrize("options", JUMPS.values(), ids=JUMPS)
def test_a_change_of_strength_moves_no_weight_by_more_than_a_few_steps(make, options):
    tx = make(jaxreg.ElasticNet(0.2, 0.1), **options)
    target = jnp.array([1.0, -0.5, 0.1])

    def step(carry: Any, noise: Any) -> Any:
        w, state = carry
        updates, state = tx.update(w - target + noise, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    noise = jnp.tile(jnp.array([0.3, -0.3]), 500)
    path = jax.lax.scan(step, (target, tx.init(target)), noise)[1]
    assert np.max(abs(np.diff(path[400:600], axis=0))) <= 3e-2


@pytest.mark.parametrize(("start", "strength"), [(1.0, 1e-4), (10.0, 1e-3), (100.0, 1e-2)])
def test_steps_too_short_to_be_seen_beside_a_weight_are_still_right(start, strength):
    """Large weights, weak penalty, noisy gradients: w + step rounds to w."""
    tx = jaxreg.dual_averaging_adam(1e-3, jaxreg.L1(strength), window=100)
    w = jnp.array([start])

    def step(carry: Any, sign: Any) -> Any:
        w, state = carry
        updates, state = tx.update(0.1 * (w - start) + sign, state, w)
        return (optax.apply_updates(w, updates), state), None

    signs = jnp.tile(jnp.array([1.0, -1.0]), 20_000)
    found = jax.lax.scan(step, (w, tx.init(w)), signs)[0][0]
    exact = start - strength / 0.1
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    assert abs(found - exact) <= 0.1 * abs(exact - (start - 100 * strength / 0.1))


# Options.

ADAPTIVE = {
    "prox_sgd": functools.partial(jaxreg.prox_sgd, momentum=0.9),
    "prox_adam": jaxreg.prox_adam,
    "dual_averaging_adam": jaxreg.dual_averaging_adam,
}
PARAMS = {"kernel": jnp.array([0.9, -0.4, 0.01, 0.0]), "bias": jnp.array([0.3, -0.2])}
GRADIENTS = {"kernel": jnp.array([0.1, -0.2, 0.3, 0.0]), "bias": jnp.array([0.1, 0.2])}

adaptive = pytest.mark.parametrize("make", ADAPTIVE.values(), ids=ADAPTIVE)


def after(tx: Any, steps: int = 3) -> Any:
    return minimise(tx, lambda params: optax.tree.vdot(params, GRADIENTS), PARAMS, steps)


@adaptive
def test_a_learning_rate_of_zero_changes_nothing(make):
    chex.assert_trees_all_equal(after(make(0.0, jaxreg.L1(0.5))), PARAMS)
    chex.assert_trees_all_equal(
        after(make(lambda count: 0.0 * count, jaxreg.L1(0.5))), PARAMS
    )


@adaptive
def test_without_strength_the_optimizer_is_the_plain_one(make):
    plain = optax.sgd(0.1, momentum=0.9) if "momentum" in str(make) else optax.adam(0.1)
    chex.assert_trees_all_close(after(make(0.1, jaxreg.L1(0.0))), after(plain), atol=1e-6)


@adaptive
def test_no_proximal_step_during_the_warm_up(make):
    tx, plain = make(0.1, jaxreg.L1(0.5), warmup_steps=3), make(0.1, jaxreg.L1(0.0))
    chex.assert_trees_all_close(after(tx, 3), after(plain, 3), atol=1e-6)
    assert np.sum(after(tx, 4)["kernel"] == 0) > 0


@adaptive
def test_a_schedule_multiplies_the_strength(make):
    halved = make(0.1, jaxreg.L1(1.0), strength_schedule=lambda count: 0.5)
    chex.assert_trees_all_close(after(halved), after(make(0.1, jaxreg.L1(0.5))))


@adaptive
def test_weights_decay_beside_the_step(make):
    tx = make(0.1, jaxreg.L1(0.0), weight_decay=0.2)
    plain = make(0.1, jaxreg.L1(0.0))
    chain = optax.chain(plain, jaxreg.decoupled_weight_decay(0.2, learning_rate=0.1))
    chex.assert_trees_all_close(after(tx, 1), after(chain, 1), atol=1e-6)
    masked = make(
        0.1, jaxreg.L1(0.0), weight_decay=0.2, weight_decay_mask=jaxreg.named("b")
    )
    assert np.any(after(masked, 1)["bias"] != after(plain, 1)["bias"])
    chex.assert_trees_all_close(after(masked, 1)["kernel"], after(plain, 1)["kernel"])


def test_weights_without_gradient_are_cut_but_for_a_warm_up():
    dead = {"kernel": jnp.array([0.5, 0.5])}

    def trained(tx: Any) -> Any:
        return minimise(tx, lambda params: params["kernel"][0] * 0.1, dead, 5)["kernel"]

    assert trained(jaxreg.prox_adam(1e-3, jaxreg.L1(1e-3)))[1] == 0
    assert trained(jaxreg.prox_adam(1e-3, jaxreg.L1(1e-3), warmup_steps=5))[1] == 0.5


def test_a_given_metric_is_used():
    halves = optax.scale(0.5)
    tx = jaxreg.prox_preconditioned(halves, 0.1, jaxreg.L1(1.0), metric=lambda _: 2.0)
    same = jaxreg.prox_sgd(0.05, jaxreg.L1(1.0))
    chex.assert_trees_all_close(after(tx), after(same))


def test_a_given_transformation_may_keep_python_numbers():
    counting = optax.GradientTransformation(
        lambda params: 0, lambda updates, state, params=None: (updates, state + 1)
    )
    tx = jaxreg.prox_preconditioned(counting, 0.1, jaxreg.L1(1.0), metric=lambda _: 1.0)
    params = {"kernel": jnp.ones(2)}
    state: Any = tx.update(params, tx.init(params), params)[1]
    assert state.inner == 1


def test_numbers_of_adam_may_be_integer_arrays():
    tx = jaxreg.prox_adam(0.1, jaxreg.L1(1.0), eps_root=jnp.asarray(0))
    chex.assert_trees_all_close(after(tx), after(jaxreg.prox_adam(0.1, jaxreg.L1(1.0))))


def test_zeros_survive_accumulation_and_rejected_steps():
    tx = jaxreg.prox_adam(0.1, jaxreg.L1(0.5))
    inside = optax.MultiSteps(optax.apply_if_finite(tx, 5), 2)
    chex.assert_trees_all_close(after(inside, 6), after(tx, 3), atol=1e-6)
    assert after(inside, 6)["kernel"][3] == 0


def test_clipping_belongs_inside_the_orthant():
    clip = optax.clip_by_global_norm(0.05)
    optimizer = optax.adam(cosine(0.01))
    inside = path(orthant(optax.chain(clip, optimizer)))
    outside = path(lambda l1, l2: optax.chain(clip, orthant(optimizer)(l1, l2)))
    assert max(gaps(inside, 0.0)) <= 1e-6
    assert max(gaps(outside, 0.0)) > 1e-3


def test_matrices_under_muon_reach_the_solution():
    rng = np.random.default_rng(0)
    targets = X @ np.where(rng.random((10, 6)) < 0.4, rng.normal(size=(10, 6)), 0.0)
    targets += rng.normal(size=targets.shape)
    l1 = 0.05 * abs(X.T @ targets).max() / N
    exact = [
        linear_model.Lasso(l1, fit_intercept=False, **EXACTLY).fit(X, target).coef_
        for target in targets.T
    ]

    def loss(w: Any) -> jax.Array:
        return jnp.sum((jnp.array(targets) - jnp.array(X) @ w) ** 2) / (2 * N)

    tx = jaxreg.orthant_wise(optax.contrib.muon(cosine(0.02)), l1, window=500)
    found = jax.jit(lambda w: minimise(tx, loss, w))(jnp.zeros((10, 6)))
    np.testing.assert_allclose(found.T, exact, atol=1e-4)
    np.testing.assert_array_equal(found.T != 0, np.array(exact) != 0)
