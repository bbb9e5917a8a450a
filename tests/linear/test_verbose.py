"""`verbose` of the estimators that cross-validate: a bar, or nothing."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

from jaxreg import linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X[:, 0] + RNG.normal(size=40)
FOLDS = 3
CLASSES: dict[str, Any] = {
    name: value
    for name, value in vars(linear).items()
    if inspect.isclass(value) and "cv" in inspect.signature(value).parameters
}
NAMES = list(CLASSES)
STRENGTHS = {"Cs": [0.1, 1.0], "alphas": [1.0, 0.1]}


def fitted(name, **parameters):
    model = CLASSES[name](cv=FOLDS)
    known = model.get_params()
    model.set_params(**{key: v for key, v in STRENGTHS.items() if key in known})
    target = np.stack([Y, -(Y**2)], axis=1) if "MultiTask" in name else Y
    target = Y > 0 if "Logistic" in name else target
    return model.set_params(**parameters).fit(X, target)


def ends_of(text):
    """How far each bar was when it ended, and of how many steps."""
    return [re.findall(r"(\d+)/(\d+) \[", bar)[-1] for bar in text.split("\n") if bar]


def test_all_that_cross_validate_are_found():
    assert set(NAMES) == {name for name in vars(linear) if name.endswith("CV")}


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_counts_all_folds(name, capfd):
    quiet = fitted(name)
    assert capfd.readouterr() == ("", "")
    model = fitted(name, verbose=1)
    out, bars = capfd.readouterr()
    assert not out
    ((done, total),) = ends_of(bars)
    fits = FOLDS + 1
    assert done == total
    assert int(total) in (fits, 2 * fits)
    np.testing.assert_array_equal(model.coef_, quiet.coef_)


@pytest.mark.parametrize("verbose", [True, np.True_, 3, np.int64(2)])
def test_what_shows_a_bar(verbose, capfd):
    fitted("LassoCV", verbose=verbose)
    assert ends_of(capfd.readouterr().err) == [("4", "4")]


@pytest.mark.parametrize("verbose", [False, np.False_, 0, np.int64(0)])
def test_what_is_silent(verbose, capfd):
    fitted("LassoCV", verbose=verbose)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "ratios"),
    [
        ("ElasticNetCV", {"l1_ratio": [0.5, 1.0]}),
        ("MultiTaskElasticNetCV", {"l1_ratio": [0.5, 1.0]}),
        ("LogisticRegressionCV", {"l1_ratios": [0.5, 1.0]}),
    ],
)
def test_each_fraction_of_l1_has_a_bar(name, ratios, capfd):
    fitted(name, verbose=True, **ratios)
    ends = ends_of(capfd.readouterr().err)
    assert len(ends) == 2
    assert all(done == total for done, total in ends)


def test_ridge_counts_targets(capfd):
    y = np.stack([Y, -(Y**2)], axis=1)
    for cv, total in ((None, "2"), (FOLDS, "8")):
        linear.RidgeCV(cv=cv, verbose=True).fit(X, y)
        assert ends_of(capfd.readouterr().err) == [(total, total)]


@pytest.mark.parametrize("value", ["yes", None, 1.5, -1, [1]])
@pytest.mark.parametrize("name", [*NAMES, "LogisticRegression"])
def test_anything_else_is_refused(name, value):
    model: Any = getattr(linear, name)(verbose=value)
    message = rf"verbose must be True, False or a non-negative integer, got {value!r}\."
    with pytest.raises(ValueError, match=message.replace("[1]", r"\[1\]")):
        model.fit(X, Y > 0)
