"""Which inputs a network uses.

| task | name |
|---|---|
| choose the inputs of a tabular problem, as scikit-learn does | `SparseMLPRegressorCV`, `SparseMLPClassifierCV` |
| the same in a fifth of the time, on one split of the data | `SparseMLPRegressor`, `SparseMLPClassifier` |
| choose the inputs of any network of your own | `select_inputs` |

The estimators need scikit-learn (`pip install "jaxreg[sklearn]"`), `select_inputs` does not.
"""

from jaxreg._lazy import lazy_names as _lazy_names

# `__init__.pyi` says which module each name is imported from.
__getattr__, _names = _lazy_names(__name__)
__all__ = _names  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return _names
