"""Every example of the migration page: what the other library gives, jaxreg gives."""

import os
import pathlib
import re
import warnings

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("migration")
PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "migration.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


EXAMPLES = [
    pytest.param(place, id=f"{section.splitlines()[0]} {number}")
    for place, (section, number) in enumerate(
        (section, number)
        for section in SECTIONS[1:]
        for number, _ in enumerate(blocks(section))
    )
]


@pytest.fixture(scope="module")
def outcomes():
    """For each example the two results, or the library that is not installed."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    preamble, *examples = blocks(PAGE)
    names, found = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(preamble, names)
        for example in examples:
            try:
                exec(example, names)
                found.append((names.pop("theirs"), names.pop("ours")))
            except ModuleNotFoundError as error:
                found.append(error.name)
    return found


@pytest.mark.parametrize("place", EXAMPLES)
def test_theirs_is_ours(place, outcomes):
    if isinstance(outcomes[place], str):
        pytest.skip(f"{outcomes[place]} is not installed")
    theirs, ours = map(np.asarray, outcomes[place])
    assert np.any(ours != 0)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
