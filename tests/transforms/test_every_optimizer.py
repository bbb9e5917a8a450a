"""The page that says which wrapper is right around which optimizer of Optax."""

import functools
import re

import jax.numpy as jnp
import optax
import pytest

import jaxreg
from tests.helpers.optimizers import keeps_decay, optimizers, outcome, solves_lasso
from tests.helpers.processes import ROOT

ROW = re.compile(r"^\| `([\w.]+)` \| (\w+) \| (\w+) \| `?(\w+)`? \|$", re.MULTILINE)
TABLE = {
    name: rest for name, *rest in ROW.findall((ROOT / "docs" / "optimizers.md").read_text())
}
# Of versions that lack some, the others are tested.
HERE = [name for name in TABLE if name in optimizers()]


def test_every_optimizer_is_in_the_table():
    assert set(optimizers()) <= set(TABLE)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", HERE)
def test_decay_is_right_where_the_table_says_so(name):
    assert outcome(keeps_decay, name) == TABLE[name][0]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", HERE)
def test_zeros_are_right_where_the_table_says_so(name):
    assert outcome(solves_lasso, name) == TABLE[name][1]


def test_the_scalings_are_those_whose_metric_is_known():
    with pytest.raises(ValueError, match="is not known") as error:
        jaxreg.prox_preconditioned(optax.scale_by_lion, 0.1, jaxreg.L1(0.1))
    for name, (*_, scaling) in TABLE.items():
        if scaling == "no":
            own = f"scale_by_{name.removeprefix('contrib.')}"
            assert f" {own}," not in str(error.value)
            continue
        scaler = functools.partial(getattr(optax, scaling), *[0.9] * (scaling == "trace"))
        tx = jaxreg.prox_preconditioned(scaler, 0.1, jaxreg.L1(0.1))
        tx.init({"kernel": jnp.ones(2)})


def test_decay_inside_of_schedule_free_reaches_the_average():
    inner = jaxreg.with_decay(optax.sgd(0.1), 0.5, learning_rate=0.1)
    tx = optax.contrib.schedule_free(inner, 0.1)
    w = jnp.ones(3)
    state = tx.init(w)
    for _ in range(100):
        updates, state = tx.update(jnp.zeros(3), state, w)
        w = optax.apply_updates(w, updates)
    average = optax.contrib.schedule_free_eval_params(state, w)
    assert jnp.all(abs(average) < 0.5)
