"""The area under the ROC curve as the score of folds, beside scikit-learn's."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

import jaxreg as jr
from jaxreg.solve.glm._scores import area_under_curve
from jaxreg.solve.glm.core import solve_glm

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 8)) * (RNG.random((60, 8)) < 0.5)
Y = (X[:, 0] - X[:, 1] + RNG.standard_normal(60) > 0.3).astype(int)
WEIGHTS = 0.5 + RNG.random(60)
FOLDS = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, Y))
STRENGTHS = [0.5, 0.05, 0.01]  # At the first one all predictions are ties.


def expected(weights: Any) -> np.ndarray:
    """Scores by one path for each fold, an array (strengths, folds)."""
    areas = []
    for train, test in FOLDS:
        given = None if weights is None else weights[train]
        found = jr.logistic_path(X[train], Y[train], STRENGTHS, sample_weight=given)
        scored = None if weights is None else weights[test]
        areas.append(
            [
                roc_auc_score(Y[test], each, sample_weight=scored)
                for each in found.predict(X[test])
            ]
        )
    return np.array(areas).T


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_areas_are_those_of_scikit_learn(kind: Any, weights: Any):
    options: Any = {"folds": FOLDS, "sample_weight": weights, "score": "auc"}
    validation: Any = jr.logistic_path(kind(X), Y, STRENGTHS, **options).validation
    assert validation.higher_is_better
    np.testing.assert_allclose(validation.scores, expected(weights), atol=1e-12)
    assert jr.select_best(validation) == np.argmax(expected(weights).mean(1))


def test_the_deviance_is_the_default():
    test = FOLDS[0][1]
    each: list[dict[str, Any]] = [{}, {"score": "deviance"}, {"score": "auc"}]
    found = [jr.logistic_path(X, Y, STRENGTHS, folds=FOLDS, **more) for more in each]
    default: Any = found[0].validation
    deviance: Any = found[1].validation
    np.testing.assert_array_equal(default.scores, deviance.scores)
    assert not deviance.higher_is_better
    w, b = (deviance.results[name][1, 0] for name in ("coefficients", "intercepts"))
    probability = 1 / (1 + np.exp(-(X[test] @ w + b)))
    assert deviance.scores[1, 0] == pytest.approx(log_loss(Y[test], probability))
    np.testing.assert_array_equal(found[0].coefficients, found[2].coefficients)
    again = [path.coef_at(0.1) for path in found]
    np.testing.assert_array_equal(again[0][0], again[2][0])


def test_several_targets():
    both = np.stack([Y, 1 - Y], 1)
    options: Any = {"folds": FOLDS, "score": "auc"}
    each: Any = jr.logistic_path(X, both, STRENGTHS, **options)
    for path in each:
        np.testing.assert_allclose(path.validation.scores, expected(None), atol=1e-7)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_ties_count_half(levels: int):
    predictor = RNG.integers(0, levels, 200).astype(float)
    positive, weights = RNG.random(200) < 0.3, RNG.random(200)
    theirs = roc_auc_score(positive, predictor, sample_weight=weights)
    assert area_under_curve(predictor, positive, weights) == pytest.approx(theirs)


def test_what_has_no_area_is_refused():
    path: Any = jr.logistic_path
    with pytest.raises(ValueError, match="score must be 'deviance' or 'auc', got 'AUC'"):
        path(X, Y, folds=3, score="AUC")
    with pytest.raises(ValueError, match="score must be 'deviance' or 'auc', got None"):
        path(X, Y, score=None)
    one = np.flatnonzero(Y == 0)[:10]
    folds = [FOLDS[0], (np.setdiff1d(np.arange(60), one), one)]
    for targets in (Y, np.stack([Y, Y], 1)):
        with pytest.raises(ValueError, match="fold 1 has one there"):
            path(X, targets, folds=folds, score="auc")
    path(X, Y, STRENGTHS, folds=folds)
    three = np.arange(60) % 3
    with pytest.raises(ValueError, match="two classes of a logistic model, got a Multi"):
        path(X, three, folds=3, score="auc")
    counts = jr.losses.Poisson.of_targets(three[:, None].astype(float))
    with pytest.raises(ValueError, match="logistic model, got a Poisson loss"):
        solve_glm(counts, X, None, [0.1], score="auc")
