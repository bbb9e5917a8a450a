"""The base classes of all estimators: validated data, coefficients, predictions."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from jaxreg.linear._parameters import check_switches
from jaxreg.solve.lasso.path import LinearPath
from jaxreg.solve.results import PathResult
from jaxreg.solve.sparse import is_sparse

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        'jaxreg.linear needs scikit-learn 1.6 or newer: `pip install "jaxreg[sklearn]"`.'
    ) from error

Matrix = Any
"""What scikit-learn takes for an array (samples, features)."""
FLOATS = np.float64, np.float32
"""The dtypes of X that stay; all others become the first one."""
Vector = Any
"""What scikit-learn takes for a number for each sample."""


class LinearModel(BaseEstimator):
    """A linear model: scores are `X @ coef_.T + intercept_`.

    A subclass has the parameters in `__init__`, and a `fit` that calls `_validated` for
    the data and `_fitted` with what it found.
    """

    coef_: np.ndarray
    intercept_: Any
    alpha_: Any
    fit_intercept: bool
    _takes_sparse = False
    """Whether X may be sparse."""
    _dtype: Any = np.dtype(np.float64)
    """The dtype of the coefficients: float32 for such X, although solved in float64."""

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()
        tags.input_tags.sparse = self._takes_sparse
        return tags

    def _validated(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None = None,
        **checks: Any,
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Arrays of 64-bit floats; sets `n_features_in_` and `feature_names_in_`.

        Args:
            X: Samples.
            y: Targets.
            sample_weight: Weights of the samples, or `None`.
            checks: More arguments of scikit-learn's `validate_data`.
        """
        check_switches(self.get_params(deep=False))
        formats = "csc" if self._takes_sparse else False
        checks = {
            **{"dtype": FLOATS, "y_numeric": True, "accept_sparse": formats},
            **checks,
        }
        found: Any = validate_data(self, X, y, **checks)
        x, y = found
        self._dtype = x.dtype
        x = x.astype(np.float64, copy=False)
        x, y = x if is_sparse(x) else np.asarray(x), np.asarray(y)
        if checks["y_numeric"] and y.dtype.kind in "US":
            y = y.astype(np.float64)  # A ValueError for words, as scikit-learn's.
        if sample_weight is None:
            return x, y, None
        weights = np.asarray(_check_sample_weight(sample_weight, x, dtype=np.float64))
        return x, y, weights

    def _fitted(self, coefficients: Any, intercept: Any, **attributes: Any) -> Self:
        """Set the fitted attributes; others by name, without the underscore."""
        self.coef_ = coefficients.astype(self._dtype, copy=False)
        self.intercept_ = intercept
        if np.size(intercept) and self._dtype != np.float64:
            cast = np.asarray(intercept).astype(self._dtype)
            self.intercept_ = cast if cast.ndim else cast[()]
        for name, value in attributes.items():
            # An estimator does not keep its training data alive.
            setattr(self, f"{name}_", _without_data(value))
        return self

    def _scores(self, X: Matrix) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        formats = "csr" if self._takes_sparse else False
        checks: Any = {"dtype": FLOATS, "reset": False, "accept_sparse": formats}
        x = validate_data(self, X, **checks)
        return x @ self.coef_.T + self.intercept_


class LinearRegressor(RegressorMixin, LinearModel):
    """A linear model of numbers."""

    def predict(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """Predictions.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            A number for each sample (and target).
        """
        return self._scores(X)

    def _fitted_at(
        self,
        paths: Sequence[LinearPath],
        indices: Sequence[int],
        y: np.ndarray,
        unit: float = 1.0,
        **attributes: Any,
    ) -> Self:
        """Set the attributes from one model of a path for each target.

        Args:
            paths: One for each column of y.
            indices: Which of its models.
            y: The target, or an array (samples, targets).
            unit: The factor from the objective of the path to that of the class.
            attributes: More attributes, without the underscore.
        """
        every = list(zip(paths, indices, strict=True))
        coefficients = np.stack([path.coefficients[i] for path, i in every])
        intercepts = np.array([path.intercepts[i] for path, i in every])
        # A gap below zero is rounding error of that absolute value.
        gaps = np.array([unit * path.absolute_gaps[i] for path, i in every])
        several = len(every) > 1
        if not self.fit_intercept:
            intercepts = 0.0
        elif y.ndim == 1:
            intercepts = intercepts[0]
        return self._fitted(
            coefficients if several else coefficients[0],
            intercepts,
            dual_gap=gaps if several else float(gaps[0]),
            n_iter=[1] * len(every) if several else 1,
            **attributes,
        )


def _without_data(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_data(each) for each in value]
    return value.without_data() if isinstance(value, PathResult) else value


def targets_of(y: np.ndarray) -> np.ndarray:
    """The targets, an array (targets, samples)."""
    return y.reshape(len(y), -1).T
