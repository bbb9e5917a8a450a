"""The default run takes every value of every product, and leaves out no other test."""

import functools
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import tiers


def item(name, *marks, **params):
    found = {mark.name: mark for mark in marks}
    made: Any = SimpleNamespace(
        nodeid=f"{name}[{params}]",
        callspec=SimpleNamespace(params=params),
        get_closest_marker=found.get,
    )
    return made


def product(times):
    mark = pytest.mark.covering("a", "b c", times=times).mark
    values = itertools.product(range(6), "xy", (1.0, int, functools.partial(int, base=2)))
    return [item("test", mark, a=a, b=b, c=c) for a, b, c in values]


@pytest.mark.parametrize("times", [1, 2])
def test_every_value_of_a_product_occurs_so_often(times):
    every = product(times)
    kept: list[Any] = tiers.by_default(every)
    assert len(kept) < len(every) / 1.5
    for a in range(6):
        assert sum(k.callspec.params["a"] == a for k in kept) >= times
    pairs = {(k.callspec.params["b"], repr(k.callspec.params["c"])) for k in kept}
    assert len(pairs) == 6
    assert kept == [x for x in every if x in kept]


def test_other_tests_run_unless_they_are_exhaustive():
    plain, other = item("plain"), item("other", pytest.mark.exhaustive.mark)
    assert tiers.by_default([plain, other]) == [plain]


@pytest.mark.parametrize("cases", [1, 9, 10])
def test_one_case_of_n_is_a_sample(cases):
    mark = pytest.mark.sampled(3).mark
    first, second = ([item(n, mark, a=a) for a in range(cases)] for n in ("f", "g"))
    kept: list[Any] = tiers.by_default([*first, *second])
    for each in (first, second):
        assert sum(case in kept for case in each) == -(-cases // 3)
