"""Every example in the documentation runs, and every public name has one."""

import doctest
import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg
from tests.helpers.processes import ROOT
from tests.helpers.public import PUBLIC, TOP

README = ROOT / "README.md"
MODULES = ["jaxreg", *(m.name for m in pkgutil.walk_packages(jaxreg.__path__, "jaxreg."))]
NAMES = {
    **{name.split(".")[-1]: value for name, value in PUBLIC.items()},
    **TOP,
    "functools": functools,
    "jax": jax,
    "jaxreg": jaxreg,
    "jnp": jnp,
    "np": np,
    "optax": optax,
}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    found = importlib.import_module(module)
    globs = {**NAMES, **vars(found)}
    assert not doctest.testmod(found, globs=globs, optionflags=FLAGS).failed


@pytest.mark.parametrize("name", [name for name in PUBLIC if callable(PUBLIC[name])])
def test_public_names_have_a_runnable_example(name):
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or ""), name


@pytest.mark.parametrize(
    "name", [name for name, value in PUBLIC.items() if inspect.isfunction(value)]
)
def test_docstrings_name_every_argument(name):
    arguments = inspect.signature(PUBLIC[name]).parameters
    doc = inspect.getdoc(PUBLIC[name]) or ""
    section = doc.split("Args:")[1].split("Returns:")[0] if arguments else ""
    documented = [line.split(":")[0].strip(" *") for line in section.splitlines()]
    for argument in arguments:
        assert argument in documented, f"{name}: {argument}"
