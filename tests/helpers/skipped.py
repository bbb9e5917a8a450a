"""How many tests did not run because a library is not installed, by library."""

import collections
import re

MISSING = re.compile(
    r"could not import '([\w.]+)'|No module named '([\w.]+)'|(\w+) is not installed"
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
