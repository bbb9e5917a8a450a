"""What the installed scikit-learn calls the arguments of its linear models."""

import inspect
from typing import Any

import sklearn.linear_model


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """The arguments of a class, by name."""
    parameters = inspect.signature(getattr(sklearn.linear_model, name)).parameters
    return {key: value for key, value in parameters.items() if key != "self"}


BEFORE_1_8 = "use_legacy_attributes" not in arguments("LogisticRegressionCV")
"""Attributes by class, `penalty` beside `l1_ratio`, and scores without weights."""

COUNT = "n_alphas" if "n_alphas" in arguments("LassoCV") else "alphas"
"""How many alphas a path has."""


def mixed(l1_ratio: float) -> dict[str, Any]:
    """The arguments of a `LogisticRegression` with this fraction of L1."""
    penalty = {"penalty": "elasticnet"} if BEFORE_1_8 else {}
    return {**penalty, "l1_ratio": l1_ratio}
