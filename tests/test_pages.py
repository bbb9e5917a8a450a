"""Every example of the site's pages: it runs, and gives what the page says.

The blocks of a page run in order, in one namespace. A block that a `text` block follows
prints what that shows; one that defines `theirs` and `ours` makes them equal.
"""

import contextlib
import functools
import importlib.util
import inspect
import io
import os
import pathlib
import re
import warnings

import jax
import matplotlib
import numpy as np
import pytest

import jaxreg

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGES = {path.stem: path.read_text() for path in sorted(DOCS.glob("*.md"))}
NUMBER = r"(?<![\w.])-?\d+(?:[.,]\d+)*(?:e[+-]\d+)?"


def blocks(text):
    """The code of a page, each block with the output that is shown after it."""
    shown = r"^```python\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?"
    return re.findall(shown, text, re.DOTALL | re.MULTILINE)


EXAMPLES = [
    pytest.param(page, place, id=f"{page}-{place}", marks=pytest.mark.xdist_group(page))
    for page, text in PAGES.items()
    for place, _ in enumerate(blocks(text))
]


@functools.cache
def outcomes(page):
    """For each block what it printed and its results, or the error that it raised."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    matplotlib.use("Agg")
    names, found = {}, []
    with warnings.catch_warnings():
        if page == "migration":  # the other libraries have warnings of their own
            warnings.simplefilter("ignore")
        for code, _ in blocks(PAGES[page]):
            printed = io.StringIO()
            try:
                with contextlib.redirect_stdout(printed):
                    exec(code, names)
                results = names.pop("theirs", None), names.pop("ours", None)
                found.append((printed.getvalue(), *results))
            except Exception as error:
                found.append(error)
    # Pages may set what is set for the whole process.
    jax.config.update("jax_enable_x64", False)
    jax.set_mesh(None)  # pyright: ignore[reportArgumentType]
    return found


@pytest.mark.parametrize(("page", "place"), EXAMPLES)
def test_example_gives_what_the_page_says(page, place):
    outcome = outcomes(page)[place]
    if isinstance(outcome, ModuleNotFoundError):
        pytest.skip(f"{outcome.name} is not installed")
    if isinstance(outcome, Exception):
        raise outcome
    printed, theirs, ours = outcome
    _, shown = blocks(PAGES[page])[place]
    assert re.sub(NUMBER, "#", printed).split() == re.sub(NUMBER, "#", shown).split()
    for number in zip(re.findall(NUMBER, printed), re.findall(NUMBER, shown), strict=True):
        value, wanted = (float(text.replace(",", "")) for text in number)
        last_place = 10.0 ** -len(number[1].partition(".")[2]) if "." in number[1] else 0
        assert value == pytest.approx(wanted, rel=0.02, abs=1.01 * last_place), number
    assert (theirs is None) == (ours is None)
    if theirs is not None:
        assert np.any(np.asarray(ours) != 0)
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_every_public_name_has_an_entry_on_the_site():
    spec = importlib.util.spec_from_file_location("build_site", DOCS / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    pages = site.pages()
    names = set(dir(jaxreg))
    for part in (jaxreg.linear, jaxreg.plot):
        names |= {
            f"{part.__name__.removeprefix('jaxreg.')}.{name}"
            for name, value in vars(part).items()
            if callable(value)
        }
    for name in names:
        if not inspect.ismodule(site.find(name)):
            assert f"### {name} {{ #{name} }}" in pages[site.PAGE_OF[name]], name


def test_every_library_of_the_migration_page_has_an_example():
    sections = re.split(r"^## ", PAGES["migration"], flags=re.MULTILINE)
    assert sum("theirs = " in section for section in sections[1:]) >= 5
