"""Norms that stay, and steps that are angles."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.decay import with_fixed_norm
from tests.helpers.training import draw, first_update, trained

close = np.testing.assert_allclose


# The formula, in NumPy and float64.

STEPS = 50
SLOPES = [np.random.default_rng(i).normal(size=(6, 4)) for i in range(STEPS)]


def adam_steps(rate):
    """The updates of Adam for the gradients above."""
    m, v = np.zeros((6, 4)), np.zeros((6, 4))
    for t, g in enumerate(SLOPES, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        yield -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def frobenius(x):
    return np.sqrt(np.sum(x * x))


def spectral(x):
    return np.linalg.svd(x, compute_uv=False)[0]


def hyperball(w, angle, norm):
    radius = norm(w)
    for t, u in enumerate(adam_steps(1.0)):
        w = w + angle(t) * radius * u / norm(u)
        w = radius * w / norm(w)
    return w


def on_arcs(w, angle, _):
    radius = frobenius(w)
    for t, u in enumerate(adam_steps(1.0)):
        along = w / radius
        across = u - np.sum(u * along) * along
        turned = math.cos(angle(t)) * along
        w = radius * (turned + math.sin(angle(t)) * across / frobenius(across))
    return w


FORMULAS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "frobenius": (hyperball, frobenius, {}),
    "spectral": (hyperball, spectral, {"norm": "spectral", "iterations": 200}),
    "arc": (on_arcs, frobenius, {"path": "arc"}),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_fifty_steps_are_those_of_the_formula(kind):
    formula, norm, options = FORMULAS[kind]
    schedule = optax.linear_schedule(0.1, 0.02, STEPS)
    w = np.random.default_rng(99).normal(size=(6, 4))
    with jax.enable_x64(True):
        slopes = jnp.asarray(np.array(SLOPES))
        tx = with_fixed_norm(optax.adam(3e-4), schedule, **options)
        start = {"kernel": jnp.asarray(w)}
        moved, _ = trained(tx, start, lambda _, i: {"kernel": slopes[i]}, STEPS)
    expected = formula(w, lambda t: 0.1 + t / STEPS * (0.02 - 0.1), norm)
    close(moved["kernel"], expected, rtol=1e-6, atol=1e-6)


def test_the_optimizer_outside_of_the_mask_is_as_it_was():
    params = {"kernel": draw((3, 2)), "bias": jnp.ones(2)}
    gradients = {"kernel": draw((3, 2), 1), "bias": jnp.array([1.0, -2.0])}
    for tx in (optax.adam(0.1), optax.lion(0.1, weight_decay=0.0)):
        fixed = with_fixed_norm(tx, 0.01)
        theirs, ours = (first_update(x, params, gradients) for x in (tx, fixed))
        close(ours["bias"], theirs["bias"])


# What the learning rate means.


def angles(tx: Any, params: Any, gradient: Any, steps: int) -> np.ndarray:
    """By how much each step turns the kernel."""
    turned: list[Any] = []
    state, step = tx.init(params), jax.jit(tx.update)
    for index in range(steps):
        updates, state = step(gradient(params, index), state, params)
        after: Any = optax.apply_updates(params, updates)
        a, b = (np.asarray(x["kernel"], np.float64).ravel() for x in (params, after))
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        turned.append(np.arccos(min(1.0, cosine)))
        params = after
    return np.array(turned)


def scale_invariant(params, index):
    """The gradient of a loss of the direction of a kernel, with noise, as SGD sees it."""
    w = params["kernel"]
    noise = jax.random.normal(jax.random.key(index), w.shape)
    unit = w / jnp.linalg.norm(w)
    return {"kernel": noise - jnp.sum(noise * unit) * unit}


@pytest.mark.parametrize("rate", [1e-3, 0.03, 0.1])
def test_a_scale_invariant_layer_turns_by_the_learning_rate(rate):
    tx = with_fixed_norm(optax.sgd(1.0), rate)
    params = {"kernel": 7 * draw((16, 8))}
    close(angles(tx, params, scale_invariant, 20), rate, rtol=0.01)


OTHERS = {
    "adam": optax.adam(0.1),
    "muon": optax.contrib.muon(0.1),
    "lion": optax.lion(0.1, weight_decay=0.0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_on_arcs_every_optimizer_turns_by_the_learning_rate(name):
    tx = with_fixed_norm(OTHERS[name], 0.02, path="arc")
    start = {"kernel": draw((16, 8))}
    turned = angles(tx, start, lambda _, i: {"kernel": draw((16, 8), i)}, 9)
    close(turned, 0.02, rtol=1e-3)


def test_the_scale_of_the_updates_does_not_matter():
    params, slopes = {"kernel": draw((4, 4))}, {"kernel": draw((4, 4), 1)}
    both = [with_fixed_norm(optax.sgd(rate), 0.1) for rate in (1e-6, 10.0)]
    one, other = (first_update(tx, params, slopes) for tx in both)
    close(one["kernel"], other["kernel"], rtol=1e-5, atol=1e-6)


# Norms, after thousands of steps.


def after_thousands(norm, dtype, shape=(2, 16, 8), **options):
    """Norms before and after."""
    tx = with_fixed_norm(optax.sgd(1.0), 0.01, matrix_axes=(-2, -1), norm=norm, **options)
    start = {"kernel": draw(shape, dtype=dtype)}

    def gradient(params, index):
        return {"kernel": jax.random.normal(jax.random.key(index), shape, dtype)}

    moved, _ = trained(tx, start, gradient, 5000)
    one, other = (np.asarray(x["kernel"], np.float64) for x in (start, moved))
    assert np.sum(one * other) < 0.9 * np.sum(one * one)
    order = 2 if norm == "spectral" else None
    return tuple(np.linalg.norm(x, order, axis=(-2, -1)) for x in (one, other))


@pytest.mark.parametrize(
    ("norm", "dtype", "shape"),
    [
        ("frobenius", "float32", (2, 16, 8)),
        ("frobenius", "float32", (2, 3, 256)),  # Its rows are summed in parts.
        ("frobenius", "bfloat16", (2, 16, 8)),
        ("spectral", "bfloat16", (2, 16, 8)),
    ],
)
def test_norms_are_constant_to_one_ulp_for_thousands_of_steps(norm, dtype, shape):
    before, after = after_thousands(norm, dtype, shape)
    ulp = float(jnp.finfo(dtype).eps) * 2.0 ** np.floor(np.log2(before))
    assert np.all(abs(after - before) <= ulp), (after - before) / ulp


def test_spectral_norms_are_constant_as_far_as_power_iteration_goes():
    for iterations, digits in ((1, 2e-2), (2, 2e-3), (32, 1e-6)):
        before, after = after_thousands("spectral", "float32", iterations=iterations)
        close(after, before, rtol=digits)


def test_in_bf16_compensated_steps_turn_as_in_float32():
    tx = with_fixed_norm(optax.adam(1.0), 1e-3)
    compensated = jr.with_kahan_compensation(tx)
    slopes = draw((8, 8), 1)
    starts = {"kernel": draw((8, 8), dtype=jnp.bfloat16)}

    def gradient(params, index):
        return {"kernel": (slopes * jnp.cos(0.01 * index)).astype(params["kernel"].dtype)}

    low, _ = trained(compensated, starts, gradient, 300)
    high, _ = trained(tx, jax.tree.map(jnp.float32, starts), gradient, 300)
    close(np.asarray(low["kernel"], np.float32), high["kernel"], rtol=0.02, atol=0.01)


# What one matrix is.


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_stacked_is_unstacked(norm):
    layers, slopes = draw((3, 5, 4)), draw((3, 5, 4), 1)
    tx = with_fixed_norm(optax.sgd(1.0), 0.1, matrix_axes=(-2, -1), norm=norm)
    together, _ = trained(tx, {"kernel": layers}, lambda *_: {"kernel": slopes}, 3)

    def alone(w, g):
        return trained(tx, {"kernel": w}, lambda *_: {"kernel": g}, 3)[0]["kernel"]

    close(together["kernel"], jax.vmap(alone)(layers, slopes), rtol=1e-5, atol=1e-6)


def test_axes_are_chosen_by_patterns_and_several_make_one_side():
    params = {
        "attention": {"kernel": draw((6, 2, 3))},
        "experts": {"kernel": draw((4, 6, 5), 1)},
        "conv": {"kernel": draw((2, 2, 3, 4), 2)},
        "embed": {"embedding": draw((7, 3), 3)},
    }
    axes = {
        "attention": (0, (1, 2)),
        "experts": (1, 2),
        "conv": ((0, 1, 2), 3),
        "embed": (1, ()),
    }
    whole = {
        "attention": (0, 1, 2),
        "experts": (1, 2),
        "conv": (0, 1, 2, 3),
        "embed": (1,),
    }

    def norms(tree):
        return {
            name: np.sqrt(np.sum(np.square(next(iter(leaf.values()))), axis=whole[name]))
            for name, leaf in tree.items()
        }

    tx = with_fixed_norm(optax.sgd(1.0), 0.3, matrix_axes=axes)
    slopes = jax.tree.map(lambda w: jnp.cos(9 * w), params)
    moved, _ = trained(tx, params, lambda *_: slopes, 2)
    jax.tree.map(functools.partial(close, rtol=1e-6), norms(moved), norms(params))
    heads = (
        np.sqrt(np.sum(np.square(x["attention"]["kernel"]), (0, 2)))
        for x in (moved, params)
    )
    assert not np.allclose(*heads)


def test_several_axes_make_one_side_of_a_spectral_norm():
    heads, slopes = draw((6, 2, 3)), draw((6, 2, 3), 1)
    spectral = functools.partial(with_fixed_norm, optax.sgd(1.0), 0.3, norm="spectral")
    tx, flat = spectral(matrix_axes=(0, (1, 2))), spectral()
    one, _ = trained(tx, {"kernel": heads}, lambda *_: {"kernel": slopes}, 2)
    start, slope = ({"kernel": x.reshape(6, 6)} for x in (heads, slopes))
    other, _ = trained(flat, start, lambda *_: slope, 2)
    close(one["kernel"].reshape(6, 6), other["kernel"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {},
            ValueError,
            r"must say which axes of the leaf 'kernel'.*\(-2, -1\) for a stack",
        ),
        ({"matrix_axes": {"kernel": (0, 3)}}, ValueError, "different axes of.*'kernel'"),
        ({"matrix_axes": (0, (0, 1))}, ValueError, "different axes"),
        ({"matrix_axes": {"kernle": (1, 2)}}, ValueError, "nothing is found at 'kernle'"),
        ({"matrix_axes": (1, 2), "specs": 3}, TypeError, "specs must be the in_specs"),
    ],
)
def test_what_one_matrix_is_must_be_known(options, kind, message):
    with pytest.raises(kind, match=message):
        with_fixed_norm(optax.sgd(1.0), 0.1, **options).init({"kernel": draw((2, 3, 4))})


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"matrix_axes": "in out"}, TypeError, "axes of the rows.*'in out'"),
        ({"matrix_axes": (0, 1, 2)}, TypeError, "axes of the rows"),
        ({"norm": "nuclear"}, ValueError, "norm must be one of 'frobenius', 'spectral'"),
        ({"path": "line"}, ValueError, "path must be one of"),
        ({"norm": "spectral", "path": "arc"}, ValueError, "path must be 'chord'"),
        ({"radius": -1.0}, ValueError, "radius must be non-negative"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1"),
    ],
)
def test_options_are_checked(options, kind, message):
    with pytest.raises(kind, match=message):
        with_fixed_norm(optax.sgd(1.0), 0.1, **options)


# Radii.


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_a_radius_is_the_same_number_for_every_shape(norm):
    params = {"tall": draw((8, 2)), "wide": draw((3, 6)), "zero": jnp.zeros((4, 4))}
    tx = with_fixed_norm(optax.sgd(1.0), 0.1, radius=0.5, norm=norm, iterations=60)
    slopes = {"tall": draw((8, 2), 1), "wide": draw((3, 6), 1), "zero": draw((4, 4), 1)}
    moved, _ = trained(tx, params, lambda *_: slopes, 2)
    for w in moved.values():
        rows, columns = w.shape
        if norm == "spectral":
            measured = math.sqrt(rows / columns) * np.linalg.norm(w, 2)
        else:
            measured = np.sqrt(np.mean(np.square(w)))
        close(measured, 0.5, rtol=1e-5)


def test_a_zero_matrix_needs_a_radius():
    with pytest.raises(ValueError, match="'out/kernel' is. Give the norm.*radius="):
        with_fixed_norm(optax.sgd(1.0), 0.1).init({"out": {"kernel": jnp.zeros((3, 3))}})


def test_zero_updates_leave_a_matrix_where_it_is():
    for path in ("chord", "arc"):
        tx = with_fixed_norm(optax.sgd(1.0), 0.1, path=path)
        params = {"kernel": draw((3, 3))}
        moved, _ = trained(tx, params, lambda *_: {"kernel": jnp.zeros((3, 3))}, 4)
        close(moved["kernel"], params["kernel"], rtol=1e-6)
        along, _ = trained(tx, params, lambda p, _: p, 4)
        close(along["kernel"], params["kernel"], rtol=1e-6)


def test_a_decay_inside_is_warned_of():
    with pytest.warns(UserWarning, match="decays 'kernel' by itself.*Turn it off"):
        with_fixed_norm(optax.adamw(0.1), 0.1).init({"kernel": jnp.ones((2, 2))})
