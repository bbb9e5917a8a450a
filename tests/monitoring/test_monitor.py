"""What `monitor` keeps is what the weights did, and keeping it costs nothing."""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn, nnx
from flax.training.train_state import TrainState

from jaxreg import L1, L2, monitor, named, weight_stats
from jaxreg._scheduling import SMALL
from jaxreg.monitoring import latest_stats

X = jnp.sin(jnp.arange(24.0)).reshape(8, 3)
Y = jnp.cos(jnp.arange(8.0))
PARAMS = {
    "first": {"kernel": jnp.cos(jnp.arange(12.0)).reshape(3, 4), "bias": jnp.ones(4)},
    "last": {"kernel": jnp.sin(jnp.arange(4.0))},
}
PENALTY = L1(0.02) + L2(0.1, mask=named("bias"))
OPTIMIZER = optax.adam(0.01)


def loss(params):
    hidden = jnp.tanh(X @ params["first"]["kernel"] + params["first"]["bias"])
    return jnp.mean((hidden @ params["last"]["kernel"] - Y) ** 2)


def step_of(optimizer, params_of=lambda params: params):
    """A step that also returns the statistics in the state after it."""

    def step(carry, _):
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params, value=value)
        moved = optax.apply_updates(params, updates)
        return (moved, state), latest_stats(state, params_of(params))

    return step


def train(optimizer, steps=8, params=PARAMS):
    run = jax.jit(lambda carry: jax.lax.scan(step_of(optimizer), carry, length=steps))
    return run((params, optimizer.init(params)))


def by_hand(steps, every, penalty=PENALTY):
    """What the statistics must be after each step, from `weight_stats`."""

    @jax.jit
    def at(params, state):
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = OPTIMIZER.update(gradients, state, params)
        given: Any = {"updates": updates, "gradients": gradients, "loss": value}
        stats = weight_stats(params, penalty=penalty, **given)
        return optax.apply_updates(params, updates), state, stats

    params, state, rows, latest = PARAMS, OPTIMIZER.init(PARAMS), [], {}
    for step in range(steps):
        params, state, stats = at(params, state)
        if step % every == 0:
            latest = {**stats, "step": step}
        rows.append(latest)
    return params, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    return train(monitor(OPTIMIZER, PENALTY, every=3, loss=True))


def test_in_a_scan_it_keeps_the_statistics_of_every_few_steps(trained):
    (params, _), history = trained
    expected, rows = by_hand(8, every=3)
    assert history.keys() == rows.keys()
    assert history["step"].tolist() == [0, 0, 0, 3, 3, 3, 6, 6]
    assert len(set(history["total/loss"].tolist())) == 3
    close(history, rows)
    close(params, expected)


def test_before_the_first_step_there_is_nothing(trained):
    optimizer = monitor(OPTIMIZER, PENALTY, every=3, loss=True)
    stats = latest_stats(optimizer.init(PARAMS), PARAMS)
    assert stats.keys() == trained[1].keys()
    assert stats.pop("step") == -1
    assert not any(map(np.any, stats.values()))


def test_any_leaf_can_be_read(trained):
    state = trained[0][1]
    stats = latest_stats(state, jax.eval_shape(lambda: PARAMS), named("bias"))
    leaves = {name.rpartition("/")[0] for name in stats if not name.startswith("total")}
    assert leaves == {"first/bias", ""}
    assert stats["first/bias/mean_abs"] > 0.5
    assert "first/bias/zero_units" not in stats


def test_the_total_follows_the_mask():
    optimizer = monitor(OPTIMIZER, mask=named("last"))
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    stats = latest_stats(state, PARAMS)
    assert stats["total/norm"] == stats["last/kernel/norm"] != stats["first/kernel/norm"]
    plain = {"mean_abs", "max_abs", "norm", "zero_fraction", "zero_units", "zero_features"}
    with_steps = plain | {"update_ratio", "gradient_norm"}
    assert {name for name in stats if "total" in name} == {f"total/{x}" for x in with_steps}


def test_what_is_in_the_loss_is_taken_out():
    params = {"kernel": jnp.array([1.0, -2.0])}
    gradients, penalty = {"kernel": jnp.array([-0.4, 0.4])}, L2(0.1)
    optimizer = monitor(optax.sgd(0.1), penalty, loss=True, in_loss=True)
    summed = jax.tree.map(jnp.add, gradients, jax.grad(penalty)(params))
    _, state = optimizer.update(summed, optimizer.init(params), params, value=2.0)
    stats = latest_stats(state, params)
    assert stats["total/loss"] == 1.5
    np.testing.assert_allclose(stats["total/gradient_norm"], 0.4 * 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(stats["total/penalty_fraction"], 0.25)


# Inside others.


def test_in_multi_steps_it_sees_whole_batches():
    optimizer = optax.MultiSteps(monitor(OPTIMIZER, PENALTY, every=1), 2)
    _, history = train(optimizer, steps=6)
    assert history["step"].tolist() == [-1, 0, 0, 1, 1, 2]
    halved = train(monitor(OPTIMIZER, PENALTY, every=1), steps=3)[1]
    close({name: x[1::2] for name, x in history.items()}, halved)


def test_in_a_partition_it_sees_its_own_leaves():
    labels = {"first": "watched", "last": "plain"}
    parts: dict[Any, Any] = {
        "watched": monitor(OPTIMIZER, every=1),
        "plain": optax.sgd(0.1),
    }
    optimizer = optax.chain(optax.clip(1.0), optax.partition(parts, labels))
    step = step_of(optimizer, lambda params: {"first": params["first"]})
    _, stats = jax.jit(step)((PARAMS, optimizer.init(PARAMS)), None)
    alone = weight_stats({"first": PARAMS["first"]})
    close({name: stats[name] for name in alone}, alone)
    with pytest.raises(ValueError, match="of 2 arrays, but 3 are given.*'last/kernel'"):
        latest_stats(optimizer.init(PARAMS), PARAMS)


class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x)


def test_in_a_linen_train_state():
    params: Any = Model().init(jax.random.key(0), X)["params"]
    state = TrainState.create(apply_fn=Model().apply, params=params, tx=monitor(OPTIMIZER))

    @jax.jit
    def step(state):
        return state.apply_gradients(grads=state.params)

    after = step(state)
    stats = latest_stats(after, after.params)
    assert stats["step"] == 0
    norms = [stats[f"Dense_0/kernel/{name}"] for name in ("gradient_norm", "norm")]
    np.testing.assert_allclose(
        norms, np.linalg.norm(params["Dense_0"]["kernel"]), rtol=1e-6
    )


def test_in_an_nnx_optimizer():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    norm = np.linalg.norm(model.kernel[...])
    optimizer = nnx.Optimizer(model, monitor(OPTIMIZER, L1(0.1)), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda model: jnp.mean(model(X)))(model))
        return latest_stats(optimizer, model)

    inside = step(model, optimizer)
    outside = latest_stats(optimizer, nnx.state(model, nnx.Param))
    assert outside.keys() == inside.keys() >= {"kernel/norm", "total/kkt_residual", "step"}
    close(inside, outside)
    np.testing.assert_allclose(outside["kernel/norm"], norm, rtol=1e-6)


def test_over_seeds():
    scales = jnp.array([1.0, 2.0])
    optimizer = monitor(OPTIMIZER, L1(0.02), every=2)

    def run(scale):
        params = jax.tree.map(lambda x: scale * x, PARAMS)
        return train(optimizer, 2, params)[0]

    params, state = jax.vmap(run)(scales)
    many = latest_stats(state, jax.tree.map(lambda x: x[0], params))
    assert many["total/norm"].shape == (2,)
    np.testing.assert_allclose(many["total/norm"][1], 2 * many["total/norm"][0], rtol=1e-5)


def test_on_a_mesh():
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
        with jax.set_mesh(mesh):
            rows = jax.NamedSharding(mesh, jax.P("data"))
            params = jax.device_put(PARAMS, rows)
            optimizer = monitor(OPTIMIZER, PENALTY)
            state = jax.jit(optimizer.init)(params)
            _, state = jax.jit(optimizer.update)(params, state, params)
            stats = latest_stats(state, params)
        close(stats["total/norm"], weight_stats(PARAMS)["total/norm"])


# What it costs.


def program(optimizer, leaves=6) -> Any:
    params = {str(i): {"kernel": jnp.ones((256, SMALL // 256))} for i in range(leaves)}

    def step(params, state, gradients):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(step, donate_argnums=(0, 1))
    return step.lower(params, optimizer.init(params), params).compile()


def test_a_step_that_is_not_due_moves_nothing_more():
    def arrays_made(optimizer):
        text = program(optimizer).as_text()
        main = text[text.index("ENTRY") :]
        return len(re.findall(r"= f32\[256,256\]\S* (?!parameter|get-tuple)", main))

    assert 0 < arrays_made(monitor(OPTIMIZER, L1(0.02))) <= arrays_made(OPTIMIZER)


def test_a_step_that_is_due_takes_memory_for_one_leaf_after_the_other():
    def scratch(leaves):
        memory = program(monitor(OPTIMIZER), leaves).memory_analysis()
        return memory.temp_size_in_bytes

    one_leaf = 4 * SMALL
    assert scratch(12) - scratch(6) < one_leaf


def test_the_state_is_small():
    leaves = jax.tree.leaves(monitor(optax.sgd(0.1), PENALTY, loss=True).init(PARAMS))
    costs = 1 + 2 * 3 + 1  # The loss; the penalty, its terms and their shares; the ratio.
    assert len(leaves) == 4 + costs
    assert sum(x.size for x in leaves) < 100


def test_it_can_be_exported():
    optimizer = monitor(OPTIMIZER, PENALTY, loss=True)
    carry = PARAMS, optimizer.init(PARAMS)
    platforms = ("cpu", "cuda", "tpu")
    step = jax.jit(lambda carry: step_of(optimizer)(carry, None))
    assert jax.export.export(step, platforms=platforms)(carry).platforms == platforms


# Mistakes.

WANTED = monitor(OPTIMIZER, loss=True)
STATE = WANTED.init(PARAMS)
PARTED: Any = optax.partition(
    {"a": monitor(OPTIMIZER), "b": monitor(OPTIMIZER)}, {"first": "a", "last": "b"}
)
MISTAKES: list[tuple[Any, Any, str]] = [
    (lambda: monitor(named), TypeError, "optimizer must be a finished"),  # pyright: ignore[reportArgumentType]
    (lambda: monitor(OPTIMIZER, 0.1), TypeError, "must be a jaxreg penalty"),  # pyright: ignore[reportArgumentType]
    (lambda: monitor(OPTIMIZER, every=0), ValueError, "every must be at least 1 step"),
    (lambda: monitor(OPTIMIZER, in_loss=True), ValueError, "in_loss needs the penalty"),
    (lambda: monitor(OPTIMIZER, mask="w"), TypeError, r"jaxreg.named\('w'\)"),  # pyright: ignore[reportArgumentType]
    (lambda: monitor(OPTIMIZER, mask=named("v")).init(PARAMS), ValueError, "none of 'fir"),
    (lambda: WANTED.update(PARAMS, STATE, PARAMS), ValueError, "update.*value=loss"),
    (lambda: latest_stats(OPTIMIZER.init(PARAMS), PARAMS), ValueError, "there are 0"),
    (lambda: latest_stats((STATE, STATE), PARAMS), ValueError, "there are 2"),
    (
        lambda: latest_stats(PARTED.init(PARAMS), PARAMS),
        ValueError,
        r"there are 2.*pass that of one group, state.inner_states\[label\]",
    ),
    (
        lambda: latest_stats(PARTED.init(PARAMS).inner_states["a"], PARAMS),
        ValueError,
        "of . arrays, but 3 are.*the parameters of its group, with None",
    ),
    (lambda: latest_stats(STATE, PARAMS["first"]), ValueError, "of 3 arrays, but 2 are"),
    (lambda: latest_stats(STATE, PARAMS, named("v")), ValueError, "matches none of"),
]


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES)
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_monitor_of_one_group_of_a_partition():
    _, state = PARTED.update(PARAMS, PARTED.init(PARAMS), PARAMS)
    own = {"first": PARAMS["first"], "last": None}
    stats = latest_stats(state.inner_states["a"], own)
    assert stats["first/kernel/norm"] == weight_stats(PARAMS)["first/kernel/norm"]
