"""Regularization for JAX that does what the formula says."""

from jaxreg._lazy import lazy_names as _lazy_names

# `__init__.pyi` says which module each name is imported from.
__getattr__, _names = _lazy_names(__name__)
# `from jaxreg import *` must work without scikit-learn and matplotlib.
__all__ = [name for name in _names if name not in ("linear", "plot")]  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return _names
