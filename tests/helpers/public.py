"""Every public name of jaxreg, found by looking: at the top, and in its packages."""

import inspect
from typing import Any

import jaxreg


def _public(package: Any) -> dict[str, Any]:
    return {
        name: value
        for name in dir(package)
        if not name.startswith("_")
        and not inspect.ismodule(value := getattr(package, name))
        and getattr(value, "__module__", "").startswith("jaxreg")
    }


TOP = _public(jaxreg)
PACKAGES = {
    name: package
    for name in dir(jaxreg)
    if inspect.ismodule(package := getattr(jaxreg, name))
}
PUBLIC: dict[str, Any] = {
    **TOP,
    **{
        f"{room}.{name}": value
        for room, package in PACKAGES.items()
        for name, value in _public(package).items()
        if TOP.get(name) is not value
    },
}
"""By name, with the package before what is not at the top: `operators.soft_threshold`."""
