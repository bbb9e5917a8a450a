"""Logistic regression for scikit-learn: any mixture of L1 and L2, or groups of features."""

import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from jaxreg.conversions import from_sklearn
from jaxreg.penalties import GroupLasso, Penalty
from jaxreg.solve.glm_path import GLMPath, classes_of, model_of, solve_model
from jaxreg.strength import CrossValidation, best_mean


class _Logistic(LinearClassifierMixin, BaseEstimator):
    """What logistic regressions have in common: data in, probabilities out."""

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class.

        Args:
            X: Features, an array (samples, features).

        Returns:
            An array (samples, classes).
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The logarithms of the probabilities.

        Args:
            X: Features, an array (samples, features).

        Returns:
            An array (samples, classes).
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return -np.logaddexp(0.0, np.stack([scores, -scores], axis=1))
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    def _data(self, x: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
        """Checked arrays: features, numbers of classes, and weights."""
        x, y = validate_data(self, x, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, numbered = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in y, but the "
                f"data contains only one class: {self.classes_[0]!r}."
            )
        weights = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        if self.class_weight is not None:
            each = compute_class_weight(
                self.class_weight, classes=self.classes_, y=y, sample_weight=sample_weight
            )
            weights = weights * each[numbered]
        return x, numbered.astype(float), weights

    def _path(
        self,
        data: tuple[np.ndarray, ...],
        penalty: Penalty,
        strengths: Any,
        folds: Any = None,
    ) -> GLMPath:
        x, y, weights = data
        family, targets = classes_of(y, weights)
        model = model_of(
            family, x, targets, weights, penalty, self.fit_intercept, standardize=False
        )
        model = model._replace(of_sum=True)
        return solve_model(model, strengths, folds, len(strengths), 1.0, self.tol)

    def _take(self, coefficients: np.ndarray, intercepts: np.ndarray) -> None:
        """Keep a solution in scikit-learn's shapes."""
        features = len(coefficients)
        self.coef_ = coefficients.reshape(features, -1).T
        self.intercept_ = np.atleast_1d(intercepts)


def _penalty(l1_ratio: float, groups: Any, features: int, outputs: int) -> Penalty:
    if not 0 <= l1_ratio <= 1:
        raise ValueError(f"l1_ratio must be between 0 and 1, got {l1_ratio}.")
    if groups is None:
        return from_sklearn(1.0, l1_ratio)
    labels = np.asarray(groups)
    if labels.shape != (features,):
        raise ValueError(
            f"groups must hold a label for each of the {features} features, got shape "
            f"{labels.shape}."
        )
    return GroupLasso(axis=0, labels=np.unique(labels, return_inverse=True)[1])


class LogisticRegression(_Logistic):
    """scikit-learn's `LogisticRegression`, exact for every mixture of L1 and L2.

        min  Σ loss  +  1/C · (l1_ratio · Σ |w| + ½ (1 − l1_ratio) · Σ w²)

    or, with `groups`, 1/C · Σ_g √size_g · ‖w_g‖₂. There is one solver, which ends when the
    duality gap is small; three classes or more are one multinomial model.

    Args:
        C: The inverse of the strength, positive; infinity for no penalty.
        l1_ratio: The share of L1, between 0 (ridge, the default) and 1 (lasso).
        groups: A label for each feature; equal labels make one group, whose coefficients
            (for all classes) are zero together. `l1_ratio` is not used then.
        fit_intercept: Whether there is an intercept, which is not penalised.
        class_weight: As in scikit-learn: a dictionary, `"balanced"` or `None`.
        tol: The duality gap to reach, relative to the loss without features.
        solver: Not used, like the next three: there so that code moves over.
        max_iter: Not used.
        random_state: Not used.
        n_jobs: Not used.

    Attributes:
        classes_: The classes.
        coef_: An array (1, features), or (classes, features) of more than two.
        intercept_: An array (1,) or (classes,).
        dual_gap_: The certificate: the relative duality gap.
        n_features_in_: How many features there are.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["no", "yes", "no", "yes"]
        >>> model = LogisticRegression(C=2.0, l1_ratio=1.0).fit(x, y)
        >>> model.coef_.round(3), model.predict([[0.0], [5.0]])
        (array([[0.418]]), array(['no', 'yes'], dtype='<U3'))
    """

    def __init__(
        self,
        *,
        C: float = 1.0,  # noqa: N803
        l1_ratio: float = 0.0,
        groups: Any = None,
        fit_intercept: bool = True,
        class_weight: Any = None,
        tol: float = 1e-9,
        solver: Any = None,
        max_iter: Any = None,
        random_state: Any = None,
        n_jobs: Any = None,
    ):
        self.C = C
        self.l1_ratio = l1_ratio
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.solver = solver
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Features, an array (samples, features).
            y: A class for each sample.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        data = self._data(X, y, sample_weight)
        if not self.C > 0:
            raise ValueError(f"C must be greater than 0, got {self.C!r}.")
        outputs = len(self.classes_)
        penalty = _penalty(self.l1_ratio, self.groups, data[0].shape[1], outputs)
        if np.isinf(self.C):
            penalty, strength = penalty * 0.0, 1.0
        else:
            strength = 1 / (self.C * data[2].sum())
        found = self._path(data, penalty, [strength])
        self._take(found.coefficients[0], found.intercepts[0])
        self.dual_gap_ = float(found.gaps[0])
        self.n_iter_ = found.steps[:1]
        return self
