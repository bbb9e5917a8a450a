"""What all estimators share: validated data, fitted coefficients, predictions."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from jaxreg._numbers import check_number
from jaxreg.solve.lasso_path import LinearPath

Matrix = Any
"""What scikit-learn takes for an array (samples, features)."""
Vector = Any
"""What scikit-learn takes for a number for each sample."""
Pair = tuple[np.ndarray, np.ndarray]


class LinearModel(BaseEstimator):
    """A linear model: scores are `X @ coef_.T + intercept_`.

    A subclass has the parameters in `__init__`, and a `fit` that calls `_validated` for
    the data and `_fitted` with what it found.
    """

    coef_: np.ndarray
    intercept_: Any
    alpha_: float

    def _validated(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None = None,
        **checks: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Dense arrays of 64-bit floats; sets `n_features_in_` and `feature_names_in_`.

        Args:
            X: Samples.
            y: Targets.
            sample_weight: Weights of the samples, or `None`.
            checks: More arguments of scikit-learn's `validate_data`.
        """
        checks = {"dtype": np.float64, "y_numeric": True, **checks}
        x, y = map(np.asarray, validate_data(self, X, y, **checks))
        if sample_weight is None:
            return x, y, None
        weights = np.asarray(_check_sample_weight(sample_weight, x, dtype=np.float64))
        return x, y, weights

    def _fitted(self, coefficients: Any, intercept: Any, **attributes: Any) -> Self:
        """Keep what was found; further attributes by name, without the underscore."""
        self.coef_, self.intercept_ = coefficients, intercept
        for name, value in attributes.items():
            setattr(self, f"{name}_", value)
        return self

    def _scores(self, X: Matrix) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        return x @ self.coef_.T + self.intercept_


class LinearRegressor(RegressorMixin, LinearModel):
    """A linear model of numbers."""

    def predict(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """Predictions.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            A number for each sample.
        """
        return self._scores(X)

    def _fitted_at(
        self,
        found: LinearPath,
        index: int,
        y: np.ndarray,
        weights: np.ndarray | None,
        **attributes: Any,
    ) -> Self:
        """Keep one of the models of a path."""
        centre = np.average(y, weights=weights) if found.intercepts.any() else 0.0
        square = np.average((y - centre) ** 2, weights=weights)
        return self._fitted(
            found.coefficients[index],
            found.intercepts[index],
            dual_gap=float(found.gaps[index] * square),
            n_iter=1,
            **attributes,
        )


def folds_of(
    cv: Any, x: np.ndarray, y: np.ndarray, *, classifier: bool = False
) -> list[Pair]:
    """Indices for training and for the score, from what scikit-learn calls `cv`.

    Args:
        cv: `None` for five folds, their number, a splitter, or pairs of indices.
        x: The samples.
        y: The targets.
        classifier: Whether folds should have all classes alike.
    """
    splitter: Any = check_cv(cv, y, classifier=classifier)
    return list(splitter.split(x, y))


def check_ratio(l1_ratio: float) -> float:
    """An `l1_ratio`, if it may be one."""
    check_number("l1_ratio", l1_ratio)
    if l1_ratio > 1:
        raise ValueError(f"l1_ratio must be at most 1, got {l1_ratio:g}.")
    return l1_ratio
