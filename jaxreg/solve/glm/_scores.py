"""Scores of folds: the mean loss, or the area under the ROC curve."""

import numpy as np

from jaxreg.losses import Logistic
from jaxreg.solve.glm._data import GLM
from jaxreg.solve.predictors import linear_predictors

SCORES = "deviance", "auc"


def check_score(model: GLM, test: np.ndarray | None) -> None:
    """Refuse a score that is unknown, or not defined for a model or for its folds.

    Args:
        model: The model.
        test: Weights of the samples for the score, an array (folds, n); `None` without
            folds.

    Raises:
        ValueError: If so.
    """
    if model.score not in SCORES:
        names = " or ".join(map(repr, SCORES))
        raise ValueError(f"score must be {names}, got {model.score!r}.")
    if model.score != "auc":
        return
    if not isinstance(model.loss, Logistic):
        raise ValueError(
            "score='auc' needs the two classes of a logistic model, got a "
            f"{type(model.loss).__name__} loss: use score='deviance'."
        )
    positive = model.loss.y[:, 0] > 0
    for number, weights in enumerate(() if test is None else test):
        if len(np.unique(positive[weights > 0])) < 2:
            raise ValueError(
                "score='auc' needs both classes in the part of each fold that is scored, "
                f"but fold {number} has one there. Shuffle the samples, split each class "
                "alike (StratifiedKFold), or use score='deviance'."
            )


def areas_of(model: GLM, test: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The areas under the ROC curves on each fold, an array (strengths, folds).

    Intercepts do not matter: they keep the order of the samples.

    Args:
        model: A logistic model.
        test: Weights of the samples for the score, an array (folds, n).
        coefficients: An array (folds, strengths, p).
    """
    areas = np.empty(coefficients.shape[1::-1])
    positive = model.loss.y[:, 0] > 0
    for fold, (weights, w) in enumerate(zip(test, coefficients, strict=True)):
        samples = np.flatnonzero(weights)
        predictors = linear_predictors(model.x, w) + model.offset.T
        for strength, predictor in enumerate(predictors[:, samples]):
            given = predictor, positive[samples], weights[samples]
            areas[strength, fold] = area_under_curve(*given)
    return areas


def area_under_curve(
    predictor: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> float:
    """The weighted fraction of pairs of both classes that are in the right order.

        Σ s·s′·([η > η′] + ½·[η = η′]) / Σ s·s′    over positive and negative samples

    Args:
        predictor: η, an array (n,).
        positive: Whether samples are of the positive class, bools (n,).
        weights: An array (n,).
    """
    _, label = np.unique(predictor, return_inverse=True)
    above = np.bincount(label, weights * positive)
    below = np.bincount(label, weights * ~positive)
    right = above @ (np.cumsum(below) - below / 2)
    return float(right / (np.sum(above) * np.sum(below)))
