"""Tests that do not run where a library is not installed."""

import ast
import collections
import functools
import inspect
import re

ASKS = re.compile("importorskip|is not installed")
MISSING = re.compile(
    r"could not import '([\w.]+)'|No module named '([\w.]+)'|(\w+) is not installed"
)


def may_be_skipped(item):
    """Whether a test, or what its file defines for all of its tests, needs a library."""
    source = inspect.getsource(item.function)
    return bool(ASKS.search(source)) or _asks_for_all(item.module)


@functools.cache
def _asks_for_all(module):
    source = inspect.getsource(module)
    return any(
        ASKS.search(ast.get_source_segment(source, node) or "")
        for node in ast.parse(source).body
        if not getattr(node, "name", "").startswith("test_")
    )


def missing_library(reason):
    """The library that a test was skipped for want of, or `None`."""
    found = MISSING.search(reason)
    return next(filter(None, found.groups())).partition(".")[0] if found else None


def summary(reports):
    """A line on the tests that were skipped, each library with its number of tests."""
    libraries = (missing_library(report.longrepr[2]) for report in reports)
    counts = collections.Counter(filter(None, libraries))
    if not counts:
        return ""
    listed = ", ".join(f"{library} ({count})" for library, count in sorted(counts.items()))
    return (
        f"{counts.total()} tests were skipped because a library to compare with is not "
        f'installed: {listed}. `pip install -e ".[test-oracles]"` installs them.'
    )
