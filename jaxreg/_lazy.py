"""Names that are imported when they are first used.

Importing all of jaxreg takes a fifth of the time that JAX itself takes. A training script
uses a few of its modules, so the package imports none of them: it lists its public names in
the stub `__init__.pyi`, which type checkers and editors read too, and looks each one up
there when it is first used (PEP 562).
"""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable


def exports_of(package: str) -> dict[str, str]:
    """The public names of a package and where each is defined, read from its stub.

    Args:
        package: The name of a package whose `__init__.pyi` holds nothing but
            `from module import name as name`.

    Returns:
        For each name the module that it is imported from.
    """
    stub = pkgutil.get_data(package, "__init__.pyi")
    assert stub is not None
    return {
        alias.name: node.module
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def lazy_names(package: str) -> tuple[Callable[[str], object], list[str]]:
    """A package's `__getattr__`, and the names for its `__dir__`.

    All its public modules are found too, also those that are not among its names.

    Args:
        package: Its name; see `exports_of`.

    Returns:
        The function that imports a name when it is first used, and all names.
    """
    exports = exports_of(package)
    path = sys.modules[package].__path__
    modules = {x.name for x in pkgutil.iter_modules(path) if not x.name.startswith("_")}

    def find(name: str) -> object:
        if name not in exports and name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if exports.get(name, package) == package:  # One of its own modules.
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(exports[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find, list(exports)
