"""Which tests run by default, and which only with `--exhaustive`.

Most products of parameters find no more faults than a part of them in which each value
occurs. A test marked `covering("a", "b c")` runs by default for such a part: each value of
`a`, and each pair of `b` and `c`, occurs in it, `times` times if there are as many. One
marked `sampled(n)` runs for one case of n: it checks what the cases share, such as a base
class, and other tests are sampled at other cases. One marked `exhaustive` does not run by
default at all.
"""

import functools
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

MARKERS = [
    "exhaustive: runs only with --exhaustive",
    "covering(*names, times=1): without --exhaustive, a part with every value of them",
    "sampled(n): without --exhaustive, one case of n",
]


def by_default(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that run without `--exhaustive`, in their order."""
    items = [item for item in items if item.get_closest_marker("exhaustive") is None]
    marked = {item.nodeid for item in items if _mark(item) is not None}
    kept = {item.nodeid for item in [*_covering(items), *_sampled(items)]}
    return [item for item in items if item.nodeid in kept or item.nodeid not in marked]


def _mark(item: pytest.Item) -> Any:
    return item.get_closest_marker("covering") or item.get_closest_marker("sampled")


def _sampled(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of the cases of each test that is sampled, one of n, the first among them."""
    seen: Counter[str] = Counter()
    for item in sorted(items, key=_shuffled):
        mark = item.get_closest_marker("sampled")
        if mark is None:
            continue
        function = _function(item)
        if seen[function] % mark.args[0] == 0:
            yield item
        seen[function] += 1


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _covering(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of the marked tests, each that has a value which others before it lack."""
    seen: Counter[tuple[str, ...]] = Counter()
    for item in sorted(items, key=_shuffled):
        mark = item.get_closest_marker("covering")
        if mark is None:
            continue
        function = _function(item)
        values = [(function, names, _value(item, names)) for names in mark.args]
        if any(seen[value] < mark.kwargs.get("times", 1) for value in values):
            seen.update(values)
            yield item


def _shuffled(item: pytest.Item) -> int:
    """The same order in every process, but not that of the product."""
    return zlib.crc32(item.nodeid.encode())


def _value(item: Any, names: str) -> str:
    parameters = item.callspec.params
    return " ".join(_name(parameters[name]) for name in names.split())


def _name(value: Any) -> str:
    """What tells a value from others; scikit-learn's checks are of some estimator."""
    if isinstance(value, functools.partial):
        return f"{_name(value.func)} {value.keywords}"
    if hasattr(value, "get_params"):  # An estimator: its parameters do not matter.
        return type(value).__name__
    return getattr(value, "__name__", None) or repr(value)
