"""Logistic regression for scikit-learn: any mixture of L1 and L2, or groups of features."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from jaxreg._numbers import check_count, check_number
from jaxreg.conversions import from_sklearn
from jaxreg.linear._base import LinearModel, folds_of
from jaxreg.penalties import GroupLasso, Penalty
from jaxreg.solve._checks import check_strengths
from jaxreg.solve._glm_model import GLMPath, classes_of, model_of, solve_model
from jaxreg.strength import CrossValidation

Checked = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features, numbers of classes, and weights of the samples."""


class LinearClassifier(ClassifierMixin, LinearModel):
    """Logistic regression: classes and their probabilities from linear scores."""

    classes_: np.ndarray
    class_weight: Any
    fit_intercept: bool
    tol: float

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Linear scores: of two classes, the log odds of the second one.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            An array (samples,), or (samples, classes) of more than two.
        """
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            A class for each sample.
        """
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else np.argmax(scores, axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            An array (samples, classes).
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The logarithms of the probabilities.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            An array (samples, classes).
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return -np.logaddexp(0.0, np.stack([scores, -scores], axis=1))
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    def _checked(self, x: Any, y: Any, sample_weight: Any) -> Checked:
        x, y, _ = self._validated(x, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in y, but the "
                f"data contains only one class: {self.classes_[0]!r}."
            )
        weights = _check_sample_weight(
            sample_weight, x, dtype=np.float64, ensure_non_negative=True
        )
        if self.class_weight is not None:
            each = compute_class_weight(
                self.class_weight, classes=self.classes_, y=y, sample_weight=sample_weight
            )
            weights = weights * each[numbers]
            if not (np.all(np.isfinite(weights)) and np.all(weights >= 0)):
                raise ValueError(
                    "class_weight must hold finite, non-negative numbers, got "
                    f"{self.class_weight!r}."
                )
        return x, numbers.astype(float), weights

    def _path(self, data: Checked, penalty: Penalty, cs: Any, folds: Any = None) -> GLMPath:
        """Models for all C, whose strengths stand beside the sum of the losses."""
        x, y, weights = data
        family, targets = classes_of(y, weights)
        model = model_of(family, x, targets, weights, penalty, self.fit_intercept, False)
        strengths = 1 / (np.asarray(cs, float) * weights.sum())
        return solve_model(model._replace(of_sum=True), strengths, folds, 0, 1.0, self.tol)


def _shaped(coefficients: np.ndarray, intercepts: np.ndarray) -> Any:
    """In scikit-learn's shapes, (classes, features) and (classes,)."""
    return coefficients.reshape(len(coefficients), -1).T, np.atleast_1d(intercepts)


def _penalty(l1_ratio: Any, groups: Any, features: int) -> Penalty:
    if groups is None:
        return from_sklearn(1.0, l1_ratio)
    labels = np.asarray(groups)
    if labels.shape != (features,):
        raise ValueError(
            f"groups must hold a label for each of the {features} features, got shape "
            f"{labels.shape}."
        )
    return GroupLasso(axis=0, labels=np.unique(labels, return_inverse=True)[1])


class LogisticRegression(LinearClassifier):
    """scikit-learn's `LogisticRegression`, exact for every mixture of L1 and L2.

        min  Σ loss  +  1/C · (l1_ratio · Σ |w| + ½ (1 − l1_ratio) · Σ w²)

    or, with `groups`, 1/C · Σ_g √size_g · ‖w_g‖₂. There is one solver, which ends when the
    duality gap is small. Three classes or more are one multinomial model, in which each of
    them has its coefficients.

    Args:
        C: The inverse of the strength, positive; infinity for no penalty.
        l1_ratio: The share of L1, between 0 (ridge, the default) and 1 (lasso).
        groups: A label for each feature: features with the same label are one group, zero
            together and for all classes. `l1_ratio` does not matter then.
        fit_intercept: Whether there is an intercept, which is not penalised.
        class_weight: A weight for each class, in a dictionary; or `"balanced"`.
        tol: The duality gap to reach, relative to the loss without features.
        solver: Not used, as the next three: there so that code moves over.
        max_iter: Not used.
        random_state: Not used.
        n_jobs: Not used.

    Attributes:
        classes_: The classes.
        coef_: An array (1, features), or (classes, features) of more than two.
        intercept_: An array (1,) or (classes,).
        dual_gap_: The relative duality gap that was reached.
        n_iter_: The number of Newton steps.
        n_features_in_: The number of features.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["no", "yes", "no", "yes"]
        >>> model = LogisticRegression(C=2.0, l1_ratio=1.0).fit(x, y)
        >>> print(*model.predict([[0.0], [5.0]]))
        no yes
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
    ) -> None:
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
            X: Samples, an array (samples, features).
            y: The class of each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        data = self._checked(X, y, sample_weight)
        check_number("C", self.C, above=0.0)
        penalty, c = _penalty(self.l1_ratio, self.groups, data[0].shape[1]), self.C
        if np.isinf(c):
            penalty, c = penalty * 0.0, 1.0
        found = self._path(data, penalty, [c])
        coefficients, intercept = _shaped(found.coefficients[0], found.intercepts[0])
        return self._fitted(
            coefficients, intercept, dual_gap=float(found.gaps[0]), n_iter=found.steps
        )


class LogisticRegressionCV(LinearClassifier):
    """scikit-learn's `LogisticRegressionCV`: all folds and strengths as one program.

    Its attributes are those of scikit-learn's with `use_legacy_attributes=False`.

    Args:
        Cs: How many values of C between 1e-4 and 1e4, or the values.
        l1_ratios: Shares of L1 to choose from.
        groups: A label for each feature; see `LogisticRegression`.
        fit_intercept: Whether there is an intercept, which is not penalised.
        cv: The number of (stratified) folds, a splitter or pairs of indices; five folds if
            `None`.
        scoring: What the score is: a name or a function as scikit-learn takes them;
            accuracy if `None`.
        refit: Must be true: the best model is fitted to all data.
        class_weight: A weight for each class, in a dictionary; or `"balanced"`.
        tol: The duality gap to reach, relative to the loss without features.
        solver: Not used, as the next three: there so that code moves over.
        max_iter: Not used.
        random_state: Not used.
        n_jobs: Not used.

    Attributes:
        classes_: The classes.
        coef_: An array (1, features), or (classes, features) of more than two.
        intercept_: An array (1,) or (classes,).
        C_: The best C.
        l1_ratio_: The best share of L1.
        Cs_: All values of C.
        l1_ratios_: All shares of L1.
        scores_: An array (folds, shares, Cs).
        coefs_paths_: Coefficients and then intercepts on each fold, an array (folds,
            shares, Cs, classes, features + 1).
        cross_validation_: The scores for the best share, for `one_standard_error` and
            `plot.cross_validation`.
        path_: The models of all C with the best share on all data, a `GLMPath`.
        dual_gap_: The relative duality gap that was reached.
        n_iter_: Newton steps on all data, an array (Cs,).
        n_features_in_: The number of features.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
        >>> model = LogisticRegressionCV(Cs=3, l1_ratios=[1.0], cv=2).fit(x, x[:, 0] > 0.1)
        >>> model.C_, model.scores_.shape
        (1.0, (2, 1, 3))
    """

    def __init__(
        self,
        *,
        Cs: Any = 10,  # noqa: N803
        l1_ratios: Any = (0.0,),
        groups: Any = None,
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: Any = None,
        refit: bool = True,
        class_weight: Any = None,
        tol: float = 1e-9,
        solver: Any = None,
        max_iter: Any = None,
        random_state: Any = None,
        n_jobs: Any = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.class_weight = class_weight
        self.tol = tol
        self.solver = solver
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Choose C and the share of L1 by cross-validation, and fit the best model.

        Args:
            X: Samples, an array (samples, features).
            y: The class of each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        data = self._checked(X, y, sample_weight)
        if not self.refit:
            raise ValueError("refit must be true: averages of models are not offered.")
        if np.ndim(self.Cs) == 0:
            check_count("Cs", self.Cs)
            self.Cs_ = np.logspace(-4, 4, self.Cs)
        else:
            self.Cs_ = check_strengths(self.Cs, 0.0, "Cs")
        self.l1_ratios_ = check_strengths(self.l1_ratios, name="l1_ratios")
        folds = folds_of(
            self.cv, data[0], self.classes_[data[1].astype(int)], classifier=True
        )
        paths = [
            self._path(
                data, _penalty(ratio, self.groups, data[0].shape[1]), self.Cs_, folds
            )
            for ratio in self.l1_ratios_
        ]
        self.coefs_paths_ = np.stack([_of_folds(path) for path in paths], axis=1)
        self.scores_ = self._all_scores(data, folds, sample_weight)
        means = self.scores_.mean(axis=0)
        if np.all(np.isnan(means)):
            raise ValueError(
                f"scoring={self.scoring!r} must give numbers, but is NaN on some fold for "
                "every C: the folds may be too small for it."
            )
        ratio, best = np.unravel_index(np.nanargmax(means), means.shape)
        path = paths[ratio]
        self.path_ = path
        self.cross_validation_ = CrossValidation(
            path.strengths, self.scores_[:, ratio].T, higher_is_better=True
        )
        coefficients, intercept = _shaped(path.coefficients[best], path.intercepts[best])
        return self._fitted(
            coefficients,
            intercept,
            C=float(self.Cs_[best]),
            l1_ratio=float(self.l1_ratios_[ratio]),
            dual_gap=float(path.gaps[best]),
            n_iter=path.steps,
        )

    def _all_scores(self, data: Checked, folds: Any, sample_weight: Any) -> np.ndarray:
        """The score of every model on what its fold left out."""
        x, y = data[0], self.classes_[data[1].astype(int)]
        scorer: Any = check_scoring(_Fixed(self.classes_, None, None), self.scoring)
        scores = np.empty(self.coefs_paths_.shape[:3])
        for place in np.ndindex(scores.shape):
            test, weights = folds[place[0]][1], self.coefs_paths_[place]
            model = _Fixed(self.classes_, weights[:, :-1], weights[:, -1])
            options = {} if sample_weight is None else {"sample_weight": data[2][test]}
            scores[place] = scorer(model, x[test], y[test], **options)
        return scores


class _Fixed(LinearClassifier):
    """A model that is fitted already."""

    def __init__(self, classes: Any, coefficients: Any, intercepts: Any) -> None:
        self.classes_, self.coef_, self.intercept_ = classes, coefficients, intercepts

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Nothing is left to do."""
        return self


def _of_folds(path: GLMPath) -> np.ndarray:
    """Coefficients and intercepts, an array (folds, strengths, classes, features + 1)."""
    assert path.validation is not None
    coefficients = path.validation.results["coefficients"]
    intercepts = path.validation.results["intercepts"]
    if coefficients.ndim == 3:
        coefficients, intercepts = coefficients[..., None], intercepts[..., None]
    joined = np.concatenate([coefficients, intercepts[..., None, :]], axis=2)
    return joined.transpose(1, 0, 3, 2)
