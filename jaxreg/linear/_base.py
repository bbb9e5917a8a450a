"""What all estimators share: validated data, fitted coefficients, predictions."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

Pair = tuple[np.ndarray, np.ndarray]


class LinearModel(BaseEstimator):
    """A linear model: scores are `X @ coef_.T + intercept_`.

    A subclass has the parameters in `__init__`, and a `fit` that calls `_validated` for
    the data and `_fitted` with what it found.
    """

    def _validated(self, X: Any, y: Any, **checks: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        """Dense arrays of 64-bit floats; also sets `n_features_in_`, `feature_names_in_`."""
        return validate_data(self, X, y, dtype=np.float64, **checks)

    def _fitted(self, coefficients: Any, intercept: Any, **attributes: Any) -> Self:
        """Keep what was found; further attributes by name, without the underscore."""
        self.coef_, self.intercept_ = coefficients, intercept
        for name, value in attributes.items():
            setattr(self, f"{name}_", value)
        return self

    def _scores(self, X: Any) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        return x @ self.coef_.T + self.intercept_


class LinearRegressor(RegressorMixin, LinearModel):
    """A linear model of numbers."""

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predictions.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            A number for each sample.
        """
        return self._scores(X)


def folds_of(cv: Any, x: np.ndarray, y: np.ndarray, *, classifier: bool = False) -> list[Pair]:
    """Indices for training and for the score, from what scikit-learn calls `cv`.

    Args:
        cv: `None` for five folds, their number, a splitter, or pairs of indices.
        x: The samples.
        y: The targets.
        classifier: Whether folds should have all classes alike.
    """
    return list(check_cv(cv, y, classifier=classifier).split(x, y))
