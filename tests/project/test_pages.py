"""Every example of the pages: it runs, and gives what the page says.

The blocks of a page run in order, in one namespace. A block that a `text` block follows
prints what that shows; one that defines `theirs` and `ours` makes them equal. Where a
library is not installed, the blocks that need it are skipped, and the blocks that use a
name which only they define.
"""

import contextlib
import functools
import importlib.util
import inspect
import io
import os
import re
import symtable
import sys
import warnings

import jax
import matplotlib
import numpy as np
import pytest

import jaxreg
from tests.helpers.processes import ROOT
from tests.helpers.public import PUBLIC

DOCS = ROOT / "docs"
PAGES = {
    path.stem: path.read_text()
    for path in (*sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md")
}
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
    """The outcomes of the blocks of one page."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        if page == "migration":  # the other libraries have warnings of their own
            warnings.simplefilter("ignore")
        found = run_blocks(code for code, _ in blocks(PAGES[page]))
    # Pages may set what is set for the whole process.
    jax.config.update("jax_enable_x64", False)
    jax.set_mesh(jax.sharding.Mesh(np.empty((), dtype=object), ()))
    return found


def run_blocks(codes):
    """For each block what it printed and its results, or why it has neither.

    The reason is the error that the block raised, or the name of the library that it needs.
    """
    names, missing, found = {}, {}, []
    for code in codes:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            results = names.pop("theirs", None), names.pop("ours", None)
            found.append((printed.getvalue(), *results))
        except Exception as error:
            library = missing_library(error, missing)
            if library is not None:
                for name in defined(code):
                    names.pop(name, None)  # not the value of a block before
                    missing[name] = library
            found.append(library or error)
    return found


def missing_library(error, missing):
    """The library whose absence is the reason of an error, if one is.

    `missing` holds the names that skipped blocks did not define, with their libraries.
    """
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        library = error.name.partition(".")[0]
        return None if library == "jaxreg" else library
    return missing.get(error.name) if isinstance(error, NameError) else None


def defined(code):
    """The names that a block defines or imports."""
    symbols = symtable.symtable(code, "page", "exec").get_symbols()
    return [s.get_name() for s in symbols if s.is_assigned() or s.is_imported()]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("page", "place"), EXAMPLES)
def test_example_gives_what_the_page_says(page, place):
    outcome = outcomes(page)[place]
    if isinstance(outcome, str):
        pytest.skip(f"{outcome} is not installed")
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


def test_blocks_without_their_library_are_skipped_and_no_others():
    found = run_blocks(
        [
            "x = y = 1",
            "import no_such_library\nx = 2",
            "def f(): return x\nz = f()",  # x would be 2
            "print(z)",
            "print(y)",
            "x = 3",
            "print(x)",
            "print(no_such_name)",
            "import jaxreg.no_such_module",
        ]
    )
    assert found[1:4] == ["no_such_library"] * 3
    assert [found[place][0] for place in (0, 4, 5, 6)] == ["", "1\n", "", "3\n"]
    assert isinstance(found[7], NameError)
    assert isinstance(found[8], ModuleNotFoundError)


NEEDED = {"jax", "jaxreg", "numpy", "optax"}


def libraries(page):
    """The libraries beyond jaxreg's own dependencies that the blocks of a page import."""
    code = "".join(code for code, _ in blocks(PAGES[page]))
    found = re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE)
    return set(found) - NEEDED - sys.stdlib_module_names


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", [page for page in PAGES if libraries(page)])
def test_a_page_runs_without_other_libraries(page, monkeypatch):
    absent = libraries(page)
    for module in absent | set(sys.modules):
        if module.partition(".")[0] in absent:
            monkeypatch.setitem(sys.modules, module, None)
    errors = [found for found in outcomes.__wrapped__(page) if isinstance(found, Exception)]
    assert not errors


@pytest.fixture(scope="module")
def site():
    """The module that builds the site."""
    spec = importlib.util.spec_from_file_location("build_site", DOCS / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    return site


def test_every_public_name_has_an_entry_on_the_site(site):
    pages = site.pages()
    for name in PUBLIC:
        assert f"### {name} {{ #{name} }}" in pages[site.PAGE_OF[name]], name


def test_the_api_begins_with_what_users_look_for(site):
    first = [next(iter(files.values()))[0] for files in site.TOPICS.values()]
    assert list(site.TOPICS)[:3] == ["penalties", "masks", "transforms"]
    assert first[:3] == ["L1", "weights", "prox_sgd"]
    assert [name[-1] for name in site.TOPICS["penalties"].values()][
        -1
    ] == "penalties.static"


def test_long_signatures_are_wrapped_and_otherwise_as_python_writes_them(site):
    def long(first, /, *, second=None, third="x" * 80, **others): ...
    def star(first, *rest, second="x" * 80): ...

    short = "L1(strength=1.0, *, mask=weights, specs=None)"
    assert site.signature("L1", jaxreg.L1) == short
    named = {name: site.find(name) for name in site.PAGE_OF}
    for name, value in {"long": long, "star": star, **named}.items():
        if inspect.isroutine(value) or inspect.isclass(value):
            parameters = inspect.signature(value).parameters.values()
            bare = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
            lines = site.signature(name, value).splitlines()
            assert all(
                len(line) <= site.WIDTH or name in ("long", "star") for line in lines
            )
            joined = " ".join(line.strip() for line in lines)
            assert joined.replace("( ", "(").replace(", )", ")") == f"{name}{bare}"


def test_a_page_of_estimators_links_to_estimators(site):
    text = site.linked("As for `ElasticNet`.", "api/linear.md")
    assert text == "As for [`ElasticNet`](linear.md#linear.ElasticNet)."
    text = site.linked("As for `ElasticNet`.", "api/penalties.md")
    assert text == "As for [`ElasticNet`](penalties.md#ElasticNet)."


def test_every_library_of_the_migration_page_has_an_example():
    sections = re.split(r"^## ", PAGES["migration"], flags=re.MULTILINE)
    assert sum("theirs = " in section for section in sections[1:]) >= 5
