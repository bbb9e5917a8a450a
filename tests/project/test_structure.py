"""The structure of the package: few public names, no cycles, no borrowed private files."""

import ast
import graphlib
import inspect
from collections.abc import Iterator

import jaxreg
from tests.helpers.processes import ROOT
from tests.helpers.public import PACKAGES, PUBLIC, TOP

SOURCES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "jaxreg").rglob("*.py")
}
TREES = {module: ast.parse(file.read_text()) for module, file in SOURCES.items()}


def imported(module: str) -> Iterator[str]:
    """The modules of jaxreg that a module imports, anywhere in it."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (source := node.module or "") in TREES:
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in TREES else source


def test_the_top_level_holds_everyday_names_only():
    assert len(TOP) + len(PACKAGES) <= 85
    assert set(dir(jaxreg)) == {*TOP, *PACKAGES}


def test_public_names_are_of_jaxreg():
    for name, value in PUBLIC.items():
        assert type(value).__module__.startswith("jaxreg") or inspect.getmodule(
            value
        ).__name__.startswith("jaxreg"), name  # pyright: ignore[reportOptionalMemberAccess]


def test_private_files_are_not_imported_from_other_packages():
    for module in TREES:
        for target in imported(module):
            *packages, last = target.split(".")
            package = ".".join(packages)
            inside = module == package or module.startswith(f"{package}.")
            assert not last.startswith("_") or inside, f"{module} imports {target}"


def test_imports_have_no_cycles():
    # A package imports its own files, and is imported before each of them.
    graph = {
        module: [
            target for target in imported(module) if not target_is_parent(module, target)
        ]
        for module in TREES
        if SOURCES[module].name != "__init__.py"
    }
    graphlib.TopologicalSorter(graph).prepare()


def target_is_parent(module: str, target: str) -> bool:
    return module.startswith(f"{target}.")


def length(function: ast.FunctionDef) -> int:
    """The lines of a body, from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # pyright: ignore[reportOptionalOperand]


def test_functions_are_short():
    lengths = {
        f"{module}.{node.name}": length(node)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    long = {name: lines for name, lines in lengths.items() if lines > 50}
    assert len(long) <= 3, long
