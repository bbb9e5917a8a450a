"""What a step costs at trace time, and that the benchmarks run."""

import importlib
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxreg
from jaxreg import L1, ElasticNet, dual_averaging_adam, named, prox_adam, proximal
from jaxreg.masks import as_mask
from tests.helpers.processes import ROOT
from tests.helpers.strategies import PENALTIES

BENCHMARKS = ROOT / "benchmarks"


def equations(optimizer, leaves, dtype=jnp.float32):
    """How many equations a step on kernels and as many biases is traced into."""
    params = {
        f"layer_{i}": {"kernel": jnp.ones((3, 2), dtype), "bias": jnp.ones(2, dtype)}
        for i in range(leaves)
    }

    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    return count(jax.make_jaxpr(step)(params, optimizer.init(params)).jaxpr)


def count(jaxpr):
    inner = [
        getattr(value, "jaxpr", value)
        for equation in jaxpr.eqns
        for value in equation.params.values()
        if hasattr(value, "eqns") or hasattr(value, "jaxpr")
    ]
    return len(jaxpr.eqns) + sum(map(count, inner))


def per_layer(optimizer):
    return equations(optimizer, 3) - equations(optimizer, 2)


ADAM = optax.adam(1e-3)


@pytest.mark.parametrize(
    ("penalty", "most"), [(L1(1e-4), 13), (ElasticNet(1e-4, 1e-4), 15)], ids=repr
)
def test_few_equations_are_traced_for_each_kernel_and_none_for_its_bias(penalty, most):
    # Adam's own metric again, the step and its way back, and the formula of the prox.
    assert 0 < per_layer(prox_adam(1e-3, penalty)) - per_layer(ADAM) <= most


@pytest.mark.parametrize(
    "make", [lambda mask: prox_adam(1e-3, L1(1.0, mask=mask)),
             lambda mask: dual_averaging_adam(1e-3, L1(1.0, mask=mask)),
             lambda mask: optax.chain(ADAM, proximal(1e-3, L1(1.0, mask=mask))),
             lambda mask: jaxreg.with_decay(ADAM, 0.1, learning_rate=1e-3, mask=mask)],
    ids=["prox_adam", "dual_averaging_adam", "proximal", "with_decay"],
)  # fmt: skip
def test_leaves_that_are_not_chosen_cost_nothing(make):
    assert per_layer(make(named("layer_0/kernel"))) == per_layer(ADAM)


@pytest.mark.parametrize(
    "make",
    [lambda penalty: prox_adam(0.1, penalty), lambda penalty: proximal(0.1, penalty)],
)
def test_a_mask_is_asked_once_in_a_step(make):
    asked = []

    def mask(params):
        asked.append(params)
        return True

    params = {"kernel": jnp.ones(3)}
    optimizer = make(L1(1.0, mask=as_mask(mask)))
    state = optimizer.init(params)
    assert len(asked) == 1
    optimizer.update(params, state, params)
    assert len(asked) == 2


@pytest.mark.parametrize("cls", [cls for cls in PENALTIES if not cls.takes_metric])
def test_a_prox_that_adam_does_not_know_is_refused_before_the_first_step(cls):
    params = {"kernel": jnp.ones((3, 2))}
    with pytest.raises(ValueError, match=rf"{cls.__name__}.*(metric|prox)"):
        prox_adam(0.1, cls()).init(params)
    if cls.has_prox:  # The metric of SGD is uniform.
        jaxreg.prox_sgd(0.1, cls(), momentum=0.9).init(params)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        (
            "step_time",
            "--trees tiny --rounds 2 --no-torch --copied 9 --rows adamw",
            "1.000",
        ),
        (
            "step_time",
            "--trees tiny --rounds 2 --no-torch --copied 9 --tables by-hand",
            "by hand: dual averaging",
        ),
        ("compile_time", "--leaves 2 --rounds 1 --rows optax.adamw", "1.000"),
        ("loss_penalty", "--hidden 4 --steps 1 --rounds 2 --rows L1", "1.000"),
        ("prox_cost", "--sizes 4 --rounds 2 --penalties L1 GroupLasso", "1.000"),
        ("import_time", "--rounds 1", "1.000"),
        ("first_result", "--rounds 1 --rows LassoCV", "| `LassoCV`, diabetes |"),
        (
            "structured_paths",
            "--rounds 1 --cs 0.003 --features 50",
            "digits, C=0.003: jaxreg",
        ),
        (
            "compaction",
            "--width 8 --kept 1 0.5 --size 4 --batches 2 --rounds 2 --gpt 8 1 7",
            "   3.13",
        ),
    ],
)
def test_benchmarks_run(script, arguments, expected, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [script, *arguments.split()])
    module = importlib.import_module(script)
    assert (module.__doc__ or "").startswith("Claim: ")
    module.main()
    assert expected in capsys.readouterr().out
