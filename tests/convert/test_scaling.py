"""Rules of scaling keep what they say they keep."""

import pytest
from hypothesis import given, settings, strategies as st

from jaxreg.convert import batch_scaling, horizon_scaling, width_scaling

close = pytest.approx
positive = st.floats(1e-6, 1e3)
sizes = st.tuples(st.integers(1, 10**5), st.integers(1, 10**5))
# What a coupled decay takes from a weight in a step, by the ratio of sizes.
WIDTHS = {"timescale": 0.0, "gain": -0.5, "constant": -1.0}
BATCHES = {"timescale": 0.0, "square_root": 0.5, "linear": 1.0}


@pytest.mark.parametrize("rule", WIDTHS)
@given(rate=positive, decay=positive, widths=sizes)
@settings(max_examples=20)
def test_decay_a_step_follows_the_width(rule, rate, decay, widths):
    given = {"learning_rate": rate, "weight_decay": decay, "rule": rule}
    width, base = widths
    coupled = width_scaling(**given, width=width, base_width=base)
    alone = width_scaling(**given, width=width, base_width=base, coupling="independent")
    ratio = (width / base) ** WIDTHS[rule]
    assert coupled.learning_rate * width == close(rate * base)
    assert coupled.learning_rate * coupled.weight_decay == close(rate * decay * ratio)
    assert alone.weight_decay == close(decay * ratio)


@pytest.mark.parametrize("rule", BATCHES)
@given(rate=positive, decay=positive, batches=sizes)
@settings(max_examples=20)
def test_every_batch_remembers_as_many_samples(rule, rate, decay, batches):
    given = {"learning_rate": rate, "weight_decay": decay, "rule": rule}
    size, base = batches
    coupled = batch_scaling(**given, batch_size=size, base_batch_size=base)
    alone = batch_scaling(
        **given, batch_size=size, base_batch_size=base, coupling="independent"
    )
    assert coupled.learning_rate == close(rate * (size / base) ** BATCHES[rule])
    remembered = size / (coupled.learning_rate * coupled.weight_decay)
    assert remembered == close(base / (rate * decay))
    assert size / alone.weight_decay == close(base / decay)


@given(decay=positive, steps=sizes)
@settings(max_examples=20)
def test_the_horizon_keeps_steps_or_fractions(decay, steps):
    many, base = steps
    kept = [
        horizon_scaling(decay, steps=many, base_steps=base, rule=rule)
        for rule in ("steps", "power", "fraction")
    ]
    assert kept[0] == decay
    assert kept[2] * many == close(decay * base)
    covered = 1 / (kept[1] * many) / (1 / (decay * base))
    assert covered == close((many / base) ** -0.527)


def test_mistakes_are_named():
    tuned = {"learning_rate": 0.1, "weight_decay": 0.1}
    with pytest.raises(ValueError, match="rule must be one of 'timescale', 'gain'"):
        width_scaling(**tuned, width=2, base_width=1, rule="mup")  # pyright: ignore
    with pytest.raises(ValueError, match="coupling must be one of"):
        batch_scaling(**tuned, batch_size=2, base_batch_size=1, coupling="x")  # pyright: ignore
    with pytest.raises(ValueError, match="base_steps must be greater than 0"):
        horizon_scaling(0.1, steps=1, base_steps=0)
