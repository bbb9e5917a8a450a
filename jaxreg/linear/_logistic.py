"""The base of `LogisticRegression` and `LogisticRegressionCV`."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from jaxreg.convert.conventions import from_sklearn
from jaxreg.linear._base import LinearModel, Vector
from jaxreg.linear._cross_validation import takes
from jaxreg.linear._parameters import (
    check_choice,
    check_class_weight,
    check_number,
    check_ratio,
)
from jaxreg.linear.grouped import labels_of
from jaxreg.losses import LinearLoss, Multinomial
from jaxreg.penalties import GroupLasso, Penalty
from jaxreg.solve.glm.core import loss_of_classes, solve_glm
from jaxreg.solve.glm.result import GLMPath
from jaxreg.solve.sparse import is_sparse

Checked = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features, numbers of classes, and weights of the samples."""

SOLVERS = "lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga", None
RATIOS = {"l1": 1.0, "l2": 0.0}
"""The `l1_ratio` of each `penalty` that leaves no choice."""


class LinearClassifier(SparseCoefMixin, ClassifierMixin, LinearModel):
    """Classes and their probabilities from linear scores."""

    _takes_sparse = True

    classes_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Linear scores: of two classes, the log odds of the second one.

        Args:
            X: Samples, an array (samples, features), dense or sparse.

        Returns:
            An array (samples,), or (samples, classes) of more than two.
        """
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class.

        Args:
            X: Samples, an array (samples, features), dense or sparse.

        Returns:
            A class for each sample.
        """
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else np.argmax(scores, axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class.

        Args:
            X: Samples, an array (samples, features), dense or sparse.

        Returns:
            An array (samples, classes).
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The logarithms of the probabilities.

        Args:
            X: Samples, an array (samples, features), dense or sparse.

        Returns:
            An array (samples, classes).
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return -np.logaddexp(0.0, np.stack([scores, -scores], axis=1))
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


class LogisticModel(LinearClassifier):
    """The objective of logistic regression, in scikit-learn's parameters."""

    penalty: Any
    groups: Any
    class_weight: Any
    tol: float
    solver: Any
    intercept_scaling: float
    multi_class: Any

    def _checked(self, x: Any, y: Vector, sample_weight: Any) -> Checked:
        """Validated data; sets `classes_`."""
        x, y, _ = self._validated(x, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in y, but the "
                f"data contains only one class: {self.classes_[0]!r}."
            )
        self._check_options()
        weights = _check_sample_weight(
            sample_weight, x, dtype=np.float64, ensure_non_negative=True
        )
        if self.class_weight is not None:
            # scikit-learn 1.6 balances classes by the numbers of their samples alone.
            weighted = takes(compute_class_weight, "sample_weight")
            options = {"sample_weight": sample_weight} if weighted else {}
            each = compute_class_weight(
                self.class_weight, classes=self.classes_, y=y, **options
            )
            weights = weights * each[numbers]
            if not (np.all(np.isfinite(weights)) and np.all(weights >= 0)):
                raise ValueError(
                    "class_weight must hold finite, non-negative numbers, got "
                    f"{self.class_weight!r}."
                )
        return x, numbers.astype(float), weights

    def _check_options(self) -> None:
        """Refuse options that mean another model than the one that is solved."""
        check_number("tol", self.tol, above=0.0)
        check_class_weight(self.class_weight)
        check_choice("solver", self.solver, SOLVERS)
        check_choice(
            "multi_class", self.multi_class, ("auto", "ovr", "multinomial", "deprecated")
        )
        several = len(self.classes_) > 2
        if several and (self.multi_class == "ovr" or self.solver == "liblinear"):
            raise ValueError(
                f"{type(self).__name__} fits one multinomial model to three classes or "
                "more, not one classifier for each class (multi_class='ovr', "
                "solver='liblinear'): leave the argument out, or wrap the estimator in "
                "sklearn.multiclass.OneVsRestClassifier."
            )
        if not several and self.multi_class == "multinomial":
            raise ValueError(
                "multi_class='multinomial' must be left out for two classes: it would "
                "penalise the coefficients of both, not of the second one."
            )
        if self.groups is not None and (self._synthetic or self.penalty in RATIOS):
            raise ValueError(
                "groups are a penalty of their own: leave out `penalty`, and any "
                "solver='liblinear', which would penalise the intercept."
            )

    @property
    def _synthetic(self) -> bool:
        """Whether the intercept belongs to a penalised feature, as in liblinear."""
        return self.solver == "liblinear" and self.fit_intercept

    def _penalty(self, l1_ratio: float, features: int) -> Penalty:
        if self.groups is None:
            return from_sklearn(1.0, l1_ratio)
        return GroupLasso(group_axis=0, labels=labels_of(self.groups, features))

    def _path(
        self, data: Checked, l1_ratio: float, cs: np.ndarray, **options: Any
    ) -> GLMPath:
        """Models for all C: the objective has the sum of the losses, not the mean.

        Args:
            data: What `_checked` returns.
            l1_ratio: The fraction of L1.
            cs: All C.
            options: Of `solve_glm`: folds, and whether there is a bar.
        """
        loss = loss_of_classes(data[1], data[2])
        return self._solved(loss, data, l1_ratio, cs, **options)

    def _solved(
        self,
        loss: LinearLoss,
        data: Checked,
        l1_ratio: float,
        cs: np.ndarray,
        **options: Any,
    ) -> GLMPath:
        x, _, weights = data
        penalty = self._penalty(l1_ratio, x.shape[1])
        synthetic = self._synthetic
        if np.all(np.isinf(cs)):
            penalty, cs, synthetic = penalty * 0.0, np.ones_like(cs), False
        if synthetic:
            check_number("intercept_scaling", self.intercept_scaling, above=0.0)
            ones = np.full((len(data[1]), 1), self.intercept_scaling)
            x = sparse.hstack([x, ones], "csc") if is_sparse(x) else np.hstack([x, ones])
        intercept = self.fit_intercept and not synthetic
        path = solve_glm(
            loss,
            x,
            weights,
            1 / (cs * weights.sum()),
            penalty=penalty,
            intercept=intercept,
            tol=self.tol,
            of_sum=True,
            **options,
        )
        return _without_synthetic(path, self.intercept_scaling) if synthetic else path

    def _without_classes(
        self, data: Checked, l1_ratio: float, cs: np.ndarray, train: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Models of samples that lack a class, and the numbers of Newton steps.

        A class without samples has probability 0: its intercept is −∞ and its coefficients
        are 0. A model of the other classes gives their coefficients.

        Returns:
            Arrays (Cs, classes, features + 1), of two classes (Cs, 1, features + 1), and
            (Cs,).
        """
        x, y, weights = (part[train] for part in data)
        present = np.unique(y[weights > 0]).astype(int)
        classes, features = len(self.classes_), x.shape[1]
        models = np.zeros((len(cs), classes, features + 1))
        models[..., -1] = -np.inf
        models[:, present, -1] = 0.0
        steps = np.zeros(len(cs), int)
        if classes == 2:
            models[:, 1, -1] = np.inf if 1 in present else -np.inf
            return models[:, 1:], steps
        if len(present) > 1:
            loss = Multinomial.of_targets((y[:, None] == present).astype(float))
            path = self._solved(loss, (x, y, weights), l1_ratio, cs)
            models[:, present] = joined(path.coefficients, path.intercepts)
            steps = path.steps
        return models, steps


def ratio_of(penalty: Any, l1_ratio: Any, stacklevel: int = 3) -> float:
    """The fraction of L1 given by scikit-learn's `penalty` and `l1_ratio`.

    Before scikit-learn 1.8 `penalty` chooses, and `l1_ratio` is used for "elasticnet" only;
    later `penalty` is left out.
    """
    check_choice("penalty", penalty, ("l1", "l2", "elasticnet", None, "deprecated"))
    if l1_ratio is None and penalty == "elasticnet":
        raise ValueError("l1_ratio must be given for penalty='elasticnet'.")
    ratio = check_ratio(0.0 if l1_ratio is None else l1_ratio)
    if penalty in RATIOS and 0 < ratio < 1:
        warnings.warn(
            f"l1_ratio={ratio:g} has no effect beside penalty={penalty!r}, which says the "
            "ratio itself: leave one of them out.",
            UserWarning,
            stacklevel=stacklevel,
        )
    return RATIOS.get(penalty, ratio)


def joined(coefficients: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Coefficients (..., features, classes) and intercepts (..., classes) as one array.

    Returns:
        An array (..., classes, features + 1).
    """
    both = np.concatenate([coefficients, intercepts[..., None, :]], axis=-2)
    return np.swapaxes(both, -1, -2)


def _without_synthetic(path: GLMPath, scaling: float) -> GLMPath:
    """The path with the last feature, a constant one, as the intercept."""

    def split(coefficients: np.ndarray, axis: int) -> dict[str, np.ndarray]:
        features = coefficients.shape[axis] - 1
        kept, last = np.split(coefficients, [features], axis=axis)
        return {"coefficients": kept, "intercepts": scaling * np.squeeze(last, axis)}

    validation = path.validation
    if validation is not None:
        results = validation.results
        results = {**results, **split(results["coefficients"], 2)}
        validation = dataclasses.replace(validation, results=results)
    return dataclasses.replace(path, **split(path.coefficients, 1), validation=validation)
