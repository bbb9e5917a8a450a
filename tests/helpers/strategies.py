"""Hypothesis strategies: penalties, parameters, steps and metrics.

Penalties are found by looking through the public API, so a new one is tested by every law
of `test_laws.py` without being listed anywhere. What a law may expect of a class, the
class itself says (`is_convex`, `takes_metric`, ...).
"""

import functools
import inspect
import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxreg
from jaxreg.penalties.fields import strength_fields
from tests.helpers.public import PUBLIC


def public(base):
    """The public classes of a kind that can be instantiated, by name."""
    found = {
        value
        for value in PUBLIC.values()
        if isinstance(value, type)
        and issubclass(value, base)
        and not inspect.isabstract(value)
    }
    return sorted(found, key=lambda cls: cls.__name__)


PENALTIES = public(jaxreg.Penalty)

# Values vary, the shape does not: each new one costs a compilation.
SHAPE = (4, 2)

strengths = st.floats(0.0, 4.0, width=32).map(lambda x: x if x > 2**-6 else 0.0)


def log_uniform(low, high):
    return st.floats(math.log(low), math.log(high)).map(math.exp)


steps = log_uniform(1e-3, 50.0)


def penalties(cls, values=strengths):
    """Instances of `cls` with every strength drawn at random."""
    return st.builds(cls, **dict.fromkeys(strength_fields(cls), values))


# XLA on CPU flushes subnormal numbers to zero.
entries = st.floats(-8.0, 8.0, width=32, allow_subnormal=False)


def arrays(shape, elements=entries):
    return hnp.arrays(np.float32, shape, elements=elements, fill=st.nothing())


def metrics(shape):
    """Diagonal metrics: positive, with ratios up to a thousand."""
    positive = log_uniform(1000**-0.5, 1000**0.5).map(lambda d: float(np.float32(d)))
    return arrays(shape, positive)


class Case(NamedTuple):
    """All that a prox depends on, and a second point beside `x`."""

    penalty: Any
    x: Any
    z: Any
    step: float
    metric: Any


@functools.cache  # Making a strategy takes as long as drawing from it.
def cases(cls):
    metric = st.none()
    if cls.takes_metric:
        metric |= metrics(SHAPE)
    return st.builds(Case, penalties(cls), arrays(SHAPE), arrays(SHAPE), steps, metric)
