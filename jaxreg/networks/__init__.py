"""Which inputs a network uses.

| to choose the inputs of | |
|---|---|
| a table of numbers or classes | `SparseMLPRegressorCV`, `SparseMLPClassifierCV` |
| the same by one split, faster | `SparseMLPRegressor`, `SparseMLPClassifier` |
| any network of your own | `select_inputs` |

The estimators need scikit-learn (`pip install "jaxreg[sklearn]"`), `select_inputs` needs
nothing.
"""

from jaxreg._lazy import lazy_names as _lazy_names

# `__init__.pyi` says which module each name is imported from.
__getattr__, _names = _lazy_names(__name__)
__all__ = _names  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return _names
