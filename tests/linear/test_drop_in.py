"""Code that uses scikit-learn's linear models runs with jaxreg's, and gets its results."""

import contextlib
import inspect
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn
import sklearn.linear_model
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut
from sklearn.utils._param_validation import StrOptions

import jaxreg as jr
from jaxreg import linear
from tests.helpers.scikit_learn import BEFORE_1_8, COUNT, arguments

jl: Any = linear  # What estimators set by name, type checkers do not see.


def rows_of(load, count):
    x, y = map(np.asarray, load(return_X_y=True))
    return ((x - x.mean(0)) / x.std(0))[:count, :5], y[:count]


X, Y = rows_of(load_diabetes, 80)
Z, BINARY = rows_of(load_breast_cancer, 100)
LABELS = np.array(["no", "yes"])[BINARY]
IRIS, SPECIES = rows_of(load_iris, 150)
WEIGHTS = np.random.default_rng(0).random(100)

NAMES = [
    name
    for name, value in vars(linear).items()
    if inspect.isclass(value) and hasattr(sklearn.linear_model, name)
]


def data_of(name):
    if "MultiTask" in name:
        return X, np.column_stack([Y, Y[::-1]])
    return (Z, LABELS) if "Logistic" in name else (X, Y)


def theirs(name, *data, **parameters):
    """scikit-learn's model, exact if its solver can be, without processes and warnings."""
    parameters.pop("n_jobs", None)
    model = getattr(sklearn.linear_model, name)(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name != "RidgeCV":
            tol = 1e-7 if name == "LogisticRegressionCV" else 1e-10
            model.set_params(tol=tol, max_iter=10**5)
        return model.fit(*data)


# Of versions before the installed one, with their defaults.
EARLIER = {
    "LassoCV": {"n_alphas": "deprecated", "alphas": "warn"},
    "ElasticNetCV": {"n_alphas": 100, "alphas": None},
    "MultiTaskLassoCV": {"n_alphas": "deprecated", "alphas": "warn"},
    "MultiTaskElasticNetCV": {"n_alphas": 100, "alphas": None},
    "RidgeCV": {"store_cv_values": "deprecated", "store_cv_results": None},
    "LogisticRegression": {"penalty": "l2", "multi_class": "deprecated", "l1_ratio": None},
    "LogisticRegressionCV": {"penalty": "l2", "multi_class": "auto", "l1_ratios": None},
}


# Separable data would take scikit-learn's solver long at large C.
SMALL: dict[str, Any] = {"Cs": [0.01, 0.1, 1.0], "cv": 3}
FEWER = {
    "LogisticRegressionCV": {**SMALL, "tol": 1e-9},
    "LogisticRegression": {"tol": 1e-9},
    "MultiTaskLassoCV": {"cv": 3},
    "MultiTaskElasticNetCV": {"cv": 3},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_accepted(name):
    ours = inspect.signature(getattr(jl, name)).parameters
    given = arguments(name)
    for argument, parameter in given.items():
        assert ours[argument].kind == parameter.kind, argument
    defaults = {argument: parameter.default for argument, parameter in given.items()}
    for parameters in ({}, defaults, EARLIER.get(name, {})):
        model = getattr(jl, name)(**parameters)
        model.set_params(**FEWER.get(name, {})).fit(*data_of(name))
        expected = theirs(name, *data_of(name), **FEWER.get(name, {})).coef_
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(model.coef_, expected, atol=1e-3 * scale)


def values(name, argument):
    """Other values of an argument that scikit-learn takes: words, booleans, seeds."""
    constraints = getattr(sklearn.linear_model, name)._parameter_constraints
    words = {"boolean": (True, False), "random_state": (0,), "verbose": (1,), None: (None,)}
    for constraint in constraints.get(argument, ()):
        if isinstance(constraint, StrOptions):
            yield from sorted(constraint.options)
        elif isinstance(constraint, str) or constraint is None:
            yield from words.get(constraint, ())
    yield from {"n_jobs": (2,), "max_iter": (10**5,)}.get(argument, ())


WALK = [
    (name, argument, value)
    for name in NAMES
    for argument in arguments(name)
    for value in ("neg_log_loss",) * (argument == "scoring" and "Logistic" in name)
    or (
        ("r2", "neg_mean_absolute_error")
        if argument == "scoring"
        else values(name, argument)
    )
    # Before 1.10, `None` is another default there; it is in `EARLIER`.
    if not (argument in ("tol", "l1_ratio", "l1_ratios") or value == "deprecated")
    # Of two classes it penalises both: that is refused, and tested with what is refused.
    and (argument, value) != ("multi_class", "multinomial")
]


@pytest.mark.covering("name", "argument value")
@pytest.mark.parametrize(("name", "argument", "value"), WALK)
def test_other_values_of_arguments_give_the_same_model(name, argument, value, capfd):
    parameters: dict[str, Any] = {argument: value}
    if argument == "penalty" and value in ("l1", "elasticnet"):
        parameters["solver"] = "saga"
    if "penalty" in parameters and value == "elasticnet":
        parameters |= {"l1_ratio": 0.5} if name == "LogisticRegression" else {}
        parameters |= {"l1_ratios": [0.5]} if name == "LogisticRegressionCV" else {}
    if argument == "dual" and value:
        parameters["solver"] = "liblinear"
    if name == "LogisticRegressionCV":
        parameters |= {"Cs": [0.1, 1.0], "cv": 3}
    if name in ("MultiTaskLassoCV", "MultiTaskElasticNetCV"):
        parameters = {"alphas": [100.0, 10.0, 1.0], "cv": 3} | parameters
    data = data_of(name)
    try:
        expected = theirs(name, *data, **parameters)
    except ValueError:
        pytest.skip("scikit-learn refuses it")
    found = getattr(jl, name)(**parameters).fit(*data)
    scale = np.max(np.abs(expected.coef_))
    rough = {"liblinear": 2e-3}.get(parameters.get("solver", ""), 5e-4)
    # scikit-learn's positive ridge regression is an approximation: NNLS is below.
    if (name, argument, value) != ("Ridge", "positive", True):
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=rough * scale)
    assert np.shape(found.coef_) == np.shape(expected.coef_)
    assert np.shape(found.intercept_) == np.shape(expected.intercept_)
    assert not capfd.readouterr().out.startswith("jaxreg")


NEW_FORM = {"use_legacy_attributes": False}
needs_new_form = pytest.mark.skipif(
    BEFORE_1_8,
    reason="scikit-learn before 1.8 has attributes by class",
)
CASES: list[Any] = [
    ("LogisticRegression", {"penalty": "l1", "solver": "liblinear"}),
    pytest.param(
        "LogisticRegressionCV",
        {"penalty": "l1", "solver": "saga", "cv": 5, "n_jobs": 2},
        marks=needs_new_form,
    ),
    ("LogisticRegression", {"solver": "liblinear", "intercept_scaling": 3.0}),
    ("Lasso", {"selection": "random", "warm_start": True}),
    ("LassoCV", {COUNT: 50, "n_jobs": 2}),
    ("LassoCV", {"alphas": [0.1], "cv": 3}),
    ("ElasticNetCV", {"l1_ratio": [0.7], "cv": 3, COUNT: 10}),
    ("RidgeCV", {"scoring": "neg_mean_absolute_error", "store_cv_results": True}),
    ("RidgeCV", {"scoring": "neg_mean_absolute_error", "cv": 3}),
    ("RidgeCV", {"store_cv_results": True}),
]
SAME = ["alpha", "l1_ratio", "mse_path", "alphas", "best_score", "cv_results"]
CHOSEN = ["C", "Cs", "scores"]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_results_are_those_of_scikit_learn(name, parameters, weights):
    x, y = data_of(name)
    if weights is not None and name == "RidgeCV" and "cv" in parameters and BEFORE_1_8:
        pytest.skip("earlier versions of scikit-learn leave scores unweighted")
    parameters = dict(parameters)
    if name == "LogisticRegressionCV":  # At larger ones saga does not arrive.
        parameters |= {"Cs": np.logspace(-2, 0, 4), "l1_ratios": [1.0]}
    ours = getattr(jl, name)(**parameters)
    if name == "LogisticRegressionCV":
        parameters |= NEW_FORM
    weights = None if weights is None else weights[: len(x)]
    found, expected = ours.fit(x, y, weights), theirs(name, x, y, weights, **parameters)
    for attribute in SAME + CHOSEN:
        if hasattr(expected, f"{attribute}_"):
            pair = (getattr(model, f"{attribute}_") for model in (found, expected))
            np.testing.assert_allclose(*pair, rtol=1e-6)
    scale = np.max(np.abs(expected.coef_))
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-3 * scale)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=1e-3)
    if "Logistic" in name:
        assert np.array_equal(found.predict(x), expected.predict(x))
    assert np.shape(found.n_iter_) == np.shape(getattr(expected, "n_iter_", found.n_iter_))


def test_the_earlier_name_of_a_number_of_alphas():
    assert len(jl.LassoCV(n_alphas=7, alphas=None).fit(X, Y).alphas_) == 7
    assert len(jl.LassoCV(n_alphas=7).fit(X, Y).alphas_) == 7
    assert len(jl.LassoCV(n_alphas=7, alphas=[0.1, 1.0]).fit(X, Y).alphas_) == 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Lasso", {"alpha": 0.1}),
        ("ElasticNet", {"alpha": 0.1}),
        ("Ridge", {"alpha": np.array([1.0, 2.0])}),
    ],
)
def test_several_targets(name, parameters):
    y = np.stack([Y, Y[::-1] ** 2], axis=1)
    found = getattr(jl, name)(**parameters).fit(X, y)
    expected = theirs(name, X, y, **parameters)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-5)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-6)
    assert np.shape(found.dual_gap_) == (2,)
    with pytest.raises(ValueError, match="one model for each"):
        jl.LassoCV().fit(X, y)


@pytest.mark.parametrize("scoring", [None, "r2"])
@pytest.mark.parametrize("apart", [False, True])
def test_ridge_chooses_for_several_targets(apart, scoring):
    y = np.stack([Y, X[:, 0]], axis=1)
    options: Any = {"alpha_per_target": apart, "scoring": scoring, "store_cv_results": True}
    found, expected = jl.RidgeCV(**options).fit(X, y), theirs("RidgeCV", X, y, **options)
    for attribute in ("alpha_", "best_score_", "cv_results_", "coef_", "intercept_"):
        ours, other = (np.asarray(getattr(model, attribute)) for model in (found, expected))
        np.testing.assert_allclose(ours, other, atol=1e-8)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("samples", "features"), [(12, 4), (8, 8), (6, 9)])
def test_samples_left_out_by_the_formula(samples, features, intercept):
    """With few samples little is left of their residuals, and digits must not cancel."""
    rng = np.random.default_rng(samples)
    x, y = rng.normal(size=(samples, features)), rng.normal(size=samples)
    weights = rng.integers(0, 3, samples).astype(float)
    alphas, options = [1e-8, 0.1, 3.0], {"fit_intercept": intercept}
    found = jl.RidgeCV(alphas, **options, store_cv_results=True).fit(x, y, weights)
    for k, alpha in enumerate(alphas):
        for i in range(samples):
            kept = np.arange(samples) != i
            model = jl.Ridge(alpha, **options).fit(x[kept], y[kept], weights[kept])
            error = weights[i] * (model.predict(x[i : i + 1])[0] - y[i]) ** 2
            assert found.cv_results_[i, k] == pytest.approx(error, rel=1e-7)


def test_positive_ridge_regression_is_exact():
    nnls = pytest.importorskip("scipy.optimize").nnls
    found = jl.Ridge(alpha=0.1, positive=True).fit(X, Y)
    rows = np.r_[X - X.mean(0), np.sqrt(0.1) * np.eye(5)]
    expected, _ = nnls(rows, np.r_[Y - Y.mean(), np.zeros(5)])
    np.testing.assert_allclose(found.coef_, expected, atol=1e-9)
    assert np.any(found.coef_ == 0)


def test_the_gap_is_in_units_of_the_objective():
    far = jl.LogisticRegression(C=1.0, tol=0.5).fit(Z, LABELS)
    best = jl.LogisticRegression(C=1.0).fit(Z, LABELS)

    def objective(model):
        scores = model.decision_function(Z) * np.where(LABELS == "yes", 1, -1)
        return np.sum(np.logaddexp(0, -scores)) + np.sum(model.coef_**2) / 2

    distance = objective(far) - objective(best)
    assert distance <= far.dual_gap_ <= 20 * distance + 1e-9
    ridge = jr.convert.from_sklearn(1.0, l1_ratio=0.0)
    path = jr.logistic_path(Z, BINARY, [1 / len(Z)], penalty=ridge, tol=0.5)
    null = -np.sum(np.log(np.bincount(BINARY) / len(Z))[BINARY])
    assert far.dual_gap_ == pytest.approx(path.gaps[0] * null)
    y = X @ [1000.0, 0, 500, 0, 0]
    far, best = (jl.GroupLasso(alpha=1.0, tol=tol).fit(X, y) for tol in (0.5, 1e-12))

    def loss(model):
        squares = np.mean((model.predict(X) - y) ** 2)
        return squares / 2 + np.sum(np.abs(model.coef_))

    assert loss(far) - loss(best) <= far.dual_gap_ + 1e-12
    assert abs(jl.Lasso().fit(X, Y).dual_gap_) < 1e-12 * np.var(Y)  # Up to rounding.


@pytest.mark.parametrize("penalty", ["l1", "l2", "elasticnet"])
def test_an_explicit_penalty_chooses_the_ratio(penalty):
    ratio = {"l1": 1.0, "l2": 0.0, "elasticnet": 0.4}[penalty]
    given: Any = {"penalty": penalty, "Cs": [0.1, 1.0], "cv": 3, "l1_ratios": [0.4]}
    told = (
        contextlib.nullcontext()
        if penalty == "elasticnet"
        else pytest.warns(UserWarning, match=r"l1_ratio=0.4 has no effect")
    )
    with told:
        old = jl.LogisticRegression(penalty=penalty, l1_ratio=0.4, C=0.2).fit(Z, LABELS)
    with told:
        chosen = jl.LogisticRegressionCV(**given).fit(Z, LABELS)
    new = jl.LogisticRegression(l1_ratio=ratio, C=0.2).fit(Z, LABELS)
    assert np.array_equal(old.coef_, new.coef_)
    assert chosen.l1_ratio_ == ratio


def test_no_penalty_is_an_infinite_c():
    old: Any = jl.LogisticRegression(penalty=None).fit(IRIS[50:, :2], SPECIES[50:])
    new: Any = jl.LogisticRegression(C=np.inf).fit(IRIS[50:, :2], SPECIES[50:])
    assert np.array_equal(old.coef_, new.coef_)
    with pytest.warns(UserWarning, match="leaves nothing for C=2"):
        jl.LogisticRegression(penalty=None, C=2.0).fit(IRIS[50:, :2], SPECIES[50:])


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", None])
def test_the_score_is_what_scoring_means(scoring):
    options: Any = {"Cs": [0.1, 1.0], "cv": 3, "l1_ratios": [0.0], "scoring": scoring}
    found, expected = (
        jl.LogisticRegressionCV(**options).fit(Z, LABELS),
        theirs("LogisticRegressionCV", Z, LABELS, **options),
    )
    assert found.score(Z, LABELS) == pytest.approx(expected.score(Z, LABELS), rel=1e-5)


def test_equal_scores_choose_the_first_c():
    options: Any = {"Cs": [1e-4, 1.0, 0.1], "cv": 3, "l1_ratios": [1.0, 0.0]}
    found = jl.LogisticRegressionCV(**options, scoring=lambda *_: 1.0).fit(Z, LABELS)
    assert (found.C_, found.l1_ratio_) == (1e-4, 1.0)


@pytest.mark.parametrize("ratios", [None, np.array([0.0, 0.5])], ids=["one", "two"])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("target", [LABELS, SPECIES], ids=["two", "three"])
def test_legacy_attributes(target, refit, ratios):
    options: Any = {
        "Cs": [0.05, 0.5],
        "l1_ratios": ratios,
        "refit": refit,
        "cv": 3,
        "solver": "lbfgs" if ratios is None else "saga",
        "fit_intercept": ratios is None,
        "use_legacy_attributes": True,
        "scoring": "neg_log_loss",  # Without ties, which versions break in different ways.
    }
    x = Z if len(target) == 100 else IRIS
    found: Any = jl.LogisticRegressionCV(**options).fit(x, target)
    if BEFORE_1_8:
        del options["use_legacy_attributes"]
        if ratios is not None:
            options["penalty"] = "elasticnet"
    expected = theirs("LogisticRegressionCV", x, target, **options)
    for attribute in ("scores_", "coefs_paths_"):
        ours, other = getattr(found, attribute), getattr(expected, attribute)
        assert list(ours) == list(other)
        for name in ours:
            np.testing.assert_allclose(ours[name], other[name], atol=2e-3)
    for attribute in ("C_", "n_iter_", "l1_ratio_"):
        ours, other = getattr(found, attribute), getattr(expected, attribute)
        assert np.shape(ours) == np.shape(other)
    np.testing.assert_allclose(found.C_, expected.C_)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=2e-3)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=2e-3)


def test_folds_may_lack_a_class():
    """In the limit its probability is 0, and the others have a model of their own."""
    options: Any = {"Cs": [0.1, 1.0], "l1_ratios": [0.0], "cv": KFold(3)}
    found: Any = jl.LogisticRegressionCV(**options).fit(IRIS, SPECIES)
    for fold, (train, _) in enumerate(KFold(3).split(IRIS)):
        others = [name for name in range(3) if name != fold]
        other = jl.LogisticRegression(C=2.0).fit(IRIS[train], SPECIES[train])
        model = found.coefs_paths_[fold, 0, 1]
        # Both classes are penalised: half as much each as their difference.
        first, second = model[others]
        np.testing.assert_allclose(first, -second, atol=1e-6)
        np.testing.assert_allclose((second - first)[:-1], other.coef_[0], atol=1e-4)
        assert np.all(model[fold] == [0, 0, 0, 0, -np.inf])
    assert found.scores_.shape == (3, 1, 2)
    assert np.all(found.scores_ == 0)
    order = np.argsort(LABELS)
    found = jl.LogisticRegressionCV(**{**options, "cv": KFold(2)}).fit(
        Z[order], LABELS[order]
    )
    assert np.isinf(found.coefs_paths_[..., -1]).sum() in (0, 2)


def test_models_without_a_finite_score_are_not_chosen():
    y = np.r_[np.ones(20), Y[20:]]
    for folds in (KFold(4), LeaveOneOut()):
        for alphas in ([1e-3, 1e3], [1e3, 1e-3]):
            model = jl.RidgeCV(alphas, cv=folds)
            if isinstance(folds, LeaveOneOut):
                with (
                    pytest.raises(ValueError, match="R² needs two samples"),
                    pytest.warns(UserWarning, match="not well-defined"),
                ):
                    model.fit(X, y)
                continue
            expected = theirs("RidgeCV", X, y, alphas=alphas, cv=folds)
            assert model.fit(X, y).alpha_ == expected.alpha_
            assert model.best_score_ == pytest.approx(expected.best_score_)

    def undefined(model, x, y):
        return np.nan if np.abs(model.coef_).max() > 100 else model.score(x, y)

    model = jl.RidgeCV([1e-3, 1.0, 1e3], cv=3, scoring=undefined).fit(X, Y)
    assert (
        model.alpha_
        == model.cross_validation_.strengths[np.nanargmax(model.cross_validation_.mean)]
    )


@pytest.mark.parametrize(
    "model",
    [
        jl.LassoCV(cv=3),
        jl.ElasticNetCV(cv=3),
        jl.RidgeCV(),
        jl.RidgeCV(cv=3),
        jl.GroupLassoCV(cv=3, alphas=10),
        jl.LogisticRegressionCV(cv=3, Cs=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_weights_of_one_are_no_weights(model):
    """Ten samples in folds of 4, 3 and 3: folds count alike, whatever their weights.

    These choose another alpha if the first fold counts for more than the others.
    """
    rng = np.random.RandomState(44)
    x, y = rng.rand(10, 5), rng.rand(10)
    if "Logistic" in type(model).__name__:
        y = np.arange(10) % 2
    alike, weighted = (model.fit(x, y, w).__dict__.copy() for w in (None, np.ones(10)))
    for attribute in ("alpha_", "C_", "coef_", "mse_path_", "scores_", "best_score_"):
        if attribute in alike:
            np.testing.assert_allclose(alike[attribute], weighted[attribute], rtol=1e-9)


@pytest.mark.parametrize("name", ["LassoCV", "ElasticNetCV", "GroupLassoCV"])
def test_weights_are_repetitions_and_only_their_ratios_count(name):
    counts = np.random.default_rng(1).integers(1, 4, len(X))
    folds = list(KFold(3).split(X))
    repeated = np.repeat(np.arange(len(X)), counts)
    wide = [tuple(np.flatnonzero(np.isin(repeated, part)) for part in f) for f in folds]
    alphas = [10.0, 3.0, 1.0, 0.3]
    make = getattr(jl, name)
    expected = make(cv=wide, alphas=alphas).fit(X[repeated], Y[repeated])
    for weights in (counts, 0.37 * counts):
        found = make(cv=folds, alphas=alphas).fit(X, Y, weights)
        np.testing.assert_allclose(found.mse_path_, expected.mse_path_, rtol=1e-6)
        assert found.alpha_ == expected.alpha_
        np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-5, atol=1e-6)


def test_groups_of_one_have_the_errors_of_the_lasso():
    alphas = [10.0, 3.0, 1.0]
    found, other = (
        make(cv=3, alphas=alphas).fit(X, Y) for make in (jl.GroupLassoCV, jl.LassoCV)
    )
    np.testing.assert_allclose(found.mse_path_, other.mse_path_, rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        jl.LassoCV(cv=GroupKFold(3), alphas=5),
        jl.RidgeCV(cv=GroupKFold(3)),
        jl.GroupLassoCV(cv=GroupKFold(3), alphas=5),
        jl.LogisticRegressionCV(cv=GroupKFold(3), Cs=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_groups_of_samples_reach_the_splitter(model):
    x, y = data_of(type(model).__name__)
    groups = np.arange(len(x)) % 7
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        model.fit(x, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        model.fit(x, y, groups=groups)
    pairs = list(GroupKFold(3).split(x, y, groups))
    other: Any = sklearn.clone(model)
    expected = other.set_params(cv=pairs).fit(x, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)


@needs_new_form
def test_weights_reach_the_scorer_by_routing():
    options: Any = {"Cs": [0.1, 1.0], "cv": 3, "l1_ratios": [0.0]}
    plain = jl.LogisticRegressionCV(**options, scoring="accuracy").fit(Z, LABELS, WEIGHTS)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer: Any = sklearn.metrics.get_scorer("accuracy")
        model = jl.LogisticRegressionCV(
            **options, scoring=scorer.set_score_request(sample_weight=True)
        )
        model.set_fit_request(sample_weight=True).fit(Z, LABELS, sample_weight=WEIGHTS)
        weighted = model.score(Z, LABELS, sample_weight=WEIGHTS)
        model.set_params(scoring=scorer.set_score_request(sample_weight=False))
        with pytest.raises(TypeError, match="unexpected argument.*sample_weight"):
            model.score(Z, LABELS, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(model.scores_, plain.scores_)
    assert weighted == plain.score(Z, LABELS, sample_weight=WEIGHTS)
    # A class weight is part of the model, not of the score.
    balanced = jl.LogisticRegressionCV(**options, class_weight="balanced")
    expected = theirs(
        "LogisticRegressionCV",
        Z,
        LABELS,
        WEIGHTS,
        **options,
        class_weight="balanced",
        **NEW_FORM,
    )
    balanced.fit(Z, LABELS, WEIGHTS)
    np.testing.assert_allclose(balanced.scores_, expected.scores_)


def test_sparse_coefficients():
    model = jl.LogisticRegression(l1_ratio=1.0, C=0.1).fit(Z, LABELS)
    scores = model.decision_function(Z)
    assert model.sparsify().coef_.nnz < 5
    np.testing.assert_allclose(model.decision_function(Z), scores)
    assert isinstance(model.densify().coef_, np.ndarray)
    lasso = jl.Lasso(alpha=1.0).fit(X, Y)
    np.testing.assert_array_equal(lasso.sparse_coef_.toarray()[0], lasso.coef_)


TWICE = np.c_[X, X[:, 0]]
MISTAKES = {
    "a word among alphas": (
        lambda: jl.LassoCV(alphas=("1", 2.0)).fit(X, Y),
        TypeError,
        "alphas must be a real number",
    ),
    "words for targets": (
        lambda: jl.Lasso().fit(X, np.where(Y > 0, "yes", "no")),
        ValueError,
        "could not convert string to float",
    ),
    "infinite alpha": (
        lambda: jl.Lasso(alpha=np.inf).fit(X, Y),
        ValueError,
        "alpha must be finite",
    ),
    "no largest alpha": (
        lambda: jl.ElasticNetCV(l1_ratio=0).fit(X, Y),
        ValueError,
        "alphas must be given for l1_ratio=0",
    ),
    "large eps": (
        lambda: jl.LassoCV(eps=2.0).fit(X, Y),
        ValueError,
        "eps must be at most 1",
    ),
    "no penalty": (
        lambda: jl.Ridge(alpha=0).fit(TWICE, Y),
        ValueError,
        "of 6 features 5 are independent. Penalise them",
    ),
    "no ratios": (
        lambda: jl.ElasticNetCV(l1_ratio=[]).fit(X, Y),
        ValueError,
        "l1_ratio must be a number or a list",
    ),
    "errors that are no floats": (
        lambda: jl.RidgeCV().fit(X, 1e170 * Y),
        ValueError,
        "divide X and y by their standard deviations",
    ),
    "alphas for targets": (
        lambda: jl.Ridge(alpha=[1.0, 2.0, 3.0]).fit(X, np.c_[Y, Y]),
        ValueError,
        "one for each of the 2 targets, got 3",
    ),
    "stored folds": (
        lambda: jl.RidgeCV(cv=3, store_cv_results=True).fit(X, Y),
        ValueError,
        "store_cv_results must be False unless cv is None",
    ),
    "one versus rest": (
        lambda: jl.LogisticRegression(solver="liblinear").fit(IRIS, SPECIES),
        ValueError,
        "OneVsRestClassifier",
    ),
    "one versus rest by name": (
        lambda: jl.LogisticRegression(multi_class="ovr").fit(IRIS, SPECIES),
        ValueError,
        "OneVsRestClassifier",
    ),
    "both of two classes": (
        lambda: jl.LogisticRegression(multi_class="multinomial").fit(Z, LABELS),
        ValueError,
        "must be left out for two classes",
    ),
    "unknown solver": (
        lambda: jl.LogisticRegression(solver="newton").fit(Z, LABELS),
        ValueError,
        "solver must be one of 'lbfgs'",
    ),
    "unknown penalty": (
        lambda: jl.LogisticRegression(penalty="L1").fit(Z, LABELS),
        ValueError,
        "penalty must be one of 'l1', 'l2', 'elasticnet', None, got 'L1'",
    ),
    "no ratio": (
        lambda: jl.LogisticRegression(penalty="elasticnet", l1_ratio=None).fit(Z, LABELS),
        ValueError,
        "l1_ratio must be given",
    ),
    "two penalties": (
        lambda: jl.LogisticRegression("l1", groups=[0, 0, 1, 1, 1]).fit(Z, LABELS),
        ValueError,
        "a penalty of their own",
    ),
    "nothing to choose": (
        lambda: jl.LogisticRegressionCV(penalty=None).fit(Z, LABELS),
        ValueError,
        "penalty must be one of",
    ),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in square")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named_in_words_of_the_estimator(name):
    call, error, message = MISTAKES[name]
    with pytest.raises(error, match=message) as raised:
        call()
    assert "strength" not in str(raised.value)


def test_warnings_point_to_the_call():
    for model in (
        jl.LogisticRegression("l1", l1_ratio=0.5),
        jl.LogisticRegressionCV(Cs=2, penalty="l1", l1_ratios=[0.5], cv=2),
    ):
        with pytest.warns(UserWarning, match="has no effect beside penalty") as caught:
            model.fit(Z, LABELS)
        assert caught[0].filename == __file__


def test_warnings_are_in_words_of_the_estimator():
    with pytest.warns(RuntimeWarning, match="Not converged: gap") as caught:
        jl.LogisticRegression(C=1e12, tol=1e-30).fit(Z, LABELS)
    assert not any("strength" in str(w.message) for w in caught)


@pytest.mark.parametrize(
    ("part", "missing"), [("linear", "scikit-learn 1.6 or newer"), ("plot", "matplotlib")]
)
def test_what_to_install_is_said(part, missing):
    """Without a library that is an extra, importing names the extra."""
    extra, module = {"linear": ("sklearn", "sklearn"), "plot": ("plot", "matplotlib")}[part]
    code = f"import sys; sys.modules['{module}'] = None; import jaxreg.{part}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f'jaxreg.{part} needs {missing}: `pip install "jaxreg[{extra}]"`' in done.stderr
