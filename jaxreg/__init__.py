"""Regularization for JAX that does what the formula says."""

from jaxreg._lazy import lazy_names as _lazy_names

__getattr__, __all__ = _lazy_names(__name__)  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return __all__
