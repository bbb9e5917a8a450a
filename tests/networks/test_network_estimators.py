"""Networks that choose their inputs, as scikit-learn estimators."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_friedman1
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxreg import networks

SMALL: dict[str, Any] = {"max_iter": 200, "path_iter": 10, "n_strengths": 12}
SMALL["learning_rate"] = 0.02
WEIGHTS = "the split depends on how many samples there are"


# The other two share all but their folds and their targets with these.
@pytest.mark.sampled(8)
@pytest.mark.filterwarnings("ignore:No features were selected")
@parametrize_with_checks(
    [
        networks.SparseMLPRegressor((2,), **SMALL),
        networks.SparseMLPClassifierCV((4,), cv=2, **SMALL),
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS
    },
)
def test_estimators_pass_the_checks_of_sklearn(estimator, check):
    check(estimator)


def friedman(seed=0, inputs=10):
    """300 samples, of which the first five inputs matter; and 1000 without noise."""
    x, y = make_friedman1(300, inputs, noise=1.0, random_state=seed)
    new = make_friedman1(1000, inputs, noise=0.0, random_state=seed + 1000)
    return x, y, *new


@pytest.fixture(scope="module")
def fitted():
    """A fit to a data frame with names, in units of their own."""
    x, y, *_ = friedman()
    frame = pd.DataFrame(5 + 100 * x, columns=[f"x{i}" for i in range(10)])
    return networks.SparseMLPRegressor(random_state=0).fit(frame, 1000 * y), frame, y


def test_the_inputs_of_friedmans_function_are_found(fitted):
    model, frame, y = fitted
    assert model.selected_features_.tolist() == [0, 1, 2, 3, 4]
    _, _, new_x, new_y = friedman()
    new = pd.DataFrame(5 + 100 * new_x, columns=frame.columns)
    assert model.score(new, 1000 * new_y) > 0.95
    linear = LinearRegression().fit(frame, y).score(new, new_y)
    assert linear < 0.8


def test_importances_are_the_strengths_at_which_inputs_leave(fitted):
    model, *_ = fitted
    path, found = model.path_, model.feature_importances_
    assert np.min(found[:5]) > np.max(found[5:])
    for feature, importance in enumerate(found):
        later = path.strengths > importance
        assert not np.any(path.used[later, feature])
    kernels = path.networks["Dense_0"]["kernel"]
    np.testing.assert_array_equal(path.used, np.any(kernels != 0, axis=2))
    assert path.counts[-1] == 0  # To the last one.


def test_names_and_pipelines(fitted):
    model, frame, y = fitted
    assert model.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3", "x4"]
    assert model.get_support(indices=True).tolist() == [0, 1, 2, 3, 4]
    pipeline: Any = make_pipeline(model, LinearRegression()).fit(frame, y)
    assert pipeline[-1].coef_.shape == (5,)


def test_what_does_not_matter_is_exactly_ignored(fitted):
    model, frame, _ = fitted
    changed = frame.assign(**{f"x{i}": 1e6 for i in range(5, 10)})
    np.testing.assert_array_equal(model.predict(changed), model.predict(frame))


def test_the_network_of_the_choice_is_trained_on_all_samples(fitted):
    model, *_ = fitted
    losses = model.path_.validation.mean
    assert model.path_.best_index <= model.path_.index
    assert losses[model.path_.best_index] == np.min(
        losses[np.all(model.path_.used == model.path_.used[model.path_.index], axis=1)]
    )
