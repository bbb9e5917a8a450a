"""Bad parameters of estimators: what scikit-learn refuses is a `ValueError` here too."""

import inspect
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.utils._param_validation import validate_parameter_constraints

from jaxreg import linear

jl: Any = linear
X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, 0] + 0.1 * X[:, 1]
LABELS = np.where(Y > 0, "yes", "no")

NAMES = [name for name, value in vars(linear).items() if inspect.isclass(value)]

BAD: dict[str, Any] = {
    "text": "0.1",
    "None": None,
    "negative": -1,
    "fraction": 1.5,
    "NaN": float("nan"),
    "True": True,
    "object": object(),
    "empty list": [],
    "dictionary": {"a": 1},
    "set": {0.1},
    "array of text": np.array(["a", "b"]),
}

# Arguments that choose how a solver reaches the solution have no effect, as the module
# says; other values are of earlier versions, or mean something here.
NO_EFFECT = {
    "copy_X",
    "dual",
    "gcv_mode",
    "max_iter",
    "n_jobs",
    "precompute",
    "random_state",
    "selection",
    "warm_start",
}
MULTI_TASK = [name for name in NAMES if name.startswith("MultiTask")]
NO_EFFECT_IN = {
    "tol": {"Lasso", "ElasticNet", "LassoCV", "ElasticNetCV", "Ridge", *MULTI_TASK},
    "solver": {"Ridge"},
    # Beside given alphas, and beside a solver that penalises no intercept.
    "eps": {"LassoCV", "ElasticNetCV", *MULTI_TASK},
    "intercept_scaling": {"LogisticRegression", "LogisticRegressionCV"},
}
EARLIER = {
    ("alphas", "None"),
    ("solver", "None"),
    ("store_cv_results", "None"),
    ("penalty", "None"),
}
QUICK: dict[str, dict[str, Any]] = {
    "LogisticRegressionCV": {"Cs": [0.1, 1.0], "cv": 2},
    "LassoCV": {"alphas": [0.1, 1.0], "cv": 2},
    "ElasticNetCV": {"alphas": [0.1, 1.0], "cv": 2},
    "GroupLassoCV": {"alphas": [0.1, 1.0], "cv": 2},
    "MultiTaskLassoCV": {"alphas": [0.1, 1.0], "cv": 2},
    "MultiTaskElasticNetCV": {"alphas": [0.1, 1.0], "cv": 2},
}


def fit(name, **parameters):
    target = LABELS if "Logistic" in name else Y
    target = np.column_stack([Y, -Y]) if name in MULTI_TASK else target
    return getattr(jl, name)(**{**QUICK.get(name, {}), **parameters}).fit(X, target)


def is_refused_by_scikit_learn(name, argument, value):
    theirs: Any = getattr(sklearn.linear_model, name)
    try:
        constraints = theirs._parameter_constraints
        parameters = theirs(**{argument: value}).get_params(deep=False)
        validate_parameter_constraints(constraints, parameters, name)
    except ValueError:
        return True
    return False


def walk():
    for name in NAMES:
        theirs = getattr(sklearn.linear_model, name, None)
        if theirs is None:
            continue
        arguments = inspect.signature(theirs).parameters
        for argument in arguments:
            if argument in NO_EFFECT or name in NO_EFFECT_IN.get(argument, ()):
                continue
            for what, value in BAD.items():
                if (argument, what) not in EARLIER and is_refused_by_scikit_learn(
                    name, argument, value
                ):
                    case = f"{name}-{argument}-{what}"
                    yield pytest.param(name, argument, value, id=case)


@pytest.mark.parametrize(("name", "argument", "value"), list(walk()))
def test_what_scikit_learn_refuses_is_a_value_error(name, argument, value):
    # scikit-learn's splitters check `cv`; a fraction of L1 is one of `l1_ratios`.
    words = "cv|n_splits" if argument == "cv" else argument.removesuffix("s")
    with pytest.raises(ValueError, match=words):
        fit(name, **{argument: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_a_wrong_type_is_both_kinds_of_error(name, kind):
    argument = {"LogisticRegressionCV": "Cs", "LogisticRegression": "C"}.get(
        name, "alphas" if name.endswith("CV") else "alpha"
    )
    with pytest.raises(kind, match=f"{argument} must be .*'0.1'"):
        fit(name, **{argument: "0.1"})


@pytest.mark.parametrize("name", ["GroupLasso", "GroupLassoCV"])
@pytest.mark.parametrize(("argument", "value"), [("tol", "a"), ("fit_intercept", "no")])
def test_estimators_of_our_own(name, argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .*{value!r}"):
        fit(name, **{argument: value})


@pytest.mark.parametrize("name", ["LogisticRegression", "LogisticRegressionCV"])
@pytest.mark.parametrize("value", ["balance", "balanced ", 1.0, [1.0, 2.0], True])
def test_weights_of_classes_say_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=r"'balanced', a dictionary .*, or None, got") as e:
        fit(name, class_weight=value)
    assert str(e.value).endswith(f"got {value!r}.")
    assert "class_weight" in str(e.value)


def test_switches_of_numpy_are_switches():
    fit("Lasso", fit_intercept=np.bool_(False), positive=np.True_)
