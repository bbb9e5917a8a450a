"""Least squares with a penalty, its strength chosen by cross-validation."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from jax.typing import ArrayLike

from jaxreg.conversions import from_sklearn
from jaxreg.linear._base import LinearRegressor, Matrix, Vector, check_ratio, folds_of
from jaxreg.linear.least_squares import ridge_of
from jaxreg.solve._ridge import left_out
from jaxreg.solve.lasso_path import elastic_net_path
from jaxreg.solve.linear_cv import elastic_net_cv
from jaxreg.strength.cross_validation import CrossValidation


class ElasticNetCV(LinearRegressor):
    """The elastic net with the least cross-validated error, as scikit-learn's.

    Args:
        l1_ratio: The share of L1, or several of them to choose from.
        eps: The smallest alpha by the largest, where they are not given.
        alphas: How many of them, or the alphas themselves.
        fit_intercept: Whether there is an intercept.
        max_iter: Not used; here for scikit-learn's sake, as solutions are exact.
        tol: Not used, likewise.
        cv: Folds: their number, a splitter or pairs of indices; by default five.
        positive: Whether coefficients must not be negative.

    Attributes:
        alpha_: The chosen alpha.
        l1_ratio_: The chosen ratio.
        coef_: The coefficients of the model with them, fitted to all samples.
        intercept_: Its intercept.
        alphas_: All alphas, (alphas,), or (ratios, alphas) if there are several ratios.
        mse_path_: Mean squared errors, (alphas, folds) or (ratios, alphas, folds).
        path_: The models at all alphas with the chosen ratio, a `LinearPath`:
            `plot.path(model.alphas_, model.path_.coefficients)`.
        cross_validation_: Their errors, a `CrossValidation`: for `one_standard_error` and
            `plot.cross_validation`.
        dual_gap_: How far the objective is from its minimum at most.
        n_iter_: 1.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = ElasticNetCV(cv=4, alphas=[100.0, 0.1]).fit(x, 2 * x[:, 0])
        >>> model.alpha_, model.coef_.round(3)
        (np.float64(0.1), array([1.972]))

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010).
    """

    def __init__(
        self,
        *,
        l1_ratio: float | Sequence[float] = 0.5,
        eps: float = 1e-3,
        alphas: int | ArrayLike = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        positive: bool = False,
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.positive = positive

    def fit(self, X: Matrix, y: Vector, sample_weight: Vector | None = None) -> Self:  # noqa: N803
        """Choose the strength, and fit the model with it.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each sample.
            sample_weight: Non-negative weights for the means, of errors too.

        Returns:
            The fitted estimator.
        """
        x, target, weights = self._validated(X, y, sample_weight)
        folds = folds_of(self.cv, x, target)
        options: dict[str, Any] = {
            "intercept": self.fit_intercept,
            "positive": self.positive,
            "sample_weight": weights,
        }
        given = isinstance(self.alphas, int | np.integer)
        grid: dict[str, Any] = {"num": self.alphas, "ratio": self.eps} if given else {}
        strengths = None if given else -np.sort(-np.asarray(self.alphas, float).ravel())
        several = np.ndim(self.l1_ratio) > 0
        ratios = [check_ratio(r) for r in np.atleast_1d(np.asarray(self.l1_ratio)).tolist()]
        penalties = [from_sklearn(1.0, ratio) for ratio in ratios]
        every = [
            elastic_net_cv(x, target, penalty, strengths, folds, **options, **grid)
            for penalty in penalties
        ]
        # Each fold counts as much as the samples that it is scored on.
        counts = [
            len(test) if weights is None else weights[test].sum() for _, test in folds
        ]
        if weights is None:
            counts = None
        means = np.stack([np.average(f.scores, axis=1, weights=counts) for f in every])
        which, index = np.unravel_index(np.argmin(means), means.shape)
        chosen = every[which]
        path = elastic_net_path(x, target, penalties[which], chosen.strengths, **options)
        alphas = np.stack([found.strengths for found in every])
        errors = np.stack([found.scores for found in every])
        return self._fitted_at(
            path,
            int(index),
            target,
            weights,
            alpha=chosen.strengths[index],
            l1_ratio=ratios[which],
            alphas=alphas if several and strengths is None else alphas[0],
            mse_path=errors if several else errors[0],
            path=path,
            cross_validation=chosen,
        )


class LassoCV(ElasticNetCV):
    """The lasso with the least cross-validated error, as scikit-learn's.

    Args:
        eps: As for `ElasticNetCV`.
        alphas: As for `ElasticNetCV`.
        fit_intercept: As for `ElasticNetCV`.
        max_iter: As for `ElasticNetCV`.
        tol: As for `ElasticNetCV`.
        cv: As for `ElasticNetCV`.
        positive: As for `ElasticNetCV`.

    Attributes:
        alpha_: As for `ElasticNetCV`; so are all others.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = LassoCV(cv=4, alphas=[100.0, 0.1]).fit(x, 2 * x[:, 0])
        >>> model.alpha_, model.coef_.round(3)
        (np.float64(0.1), array([1.981]))

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996).
    """

    l1_ratio: float | Sequence[float] = 1.0

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: int | ArrayLike = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        positive: bool = False,
    ) -> None:
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.positive = positive


class RidgeCV(LinearRegressor):
    """Ridge regression with the best cross-validated score, as scikit-learn's.

    Args:
        alphas: Positive numbers to choose from.
        fit_intercept: Whether there is an intercept.
        cv: Folds: their number, a splitter or pairs of indices. By default each sample is
            predicted from all others, by a formula.

    Attributes:
        alpha_: The chosen alpha.
        coef_: The coefficients of the model with it, fitted to all samples.
        intercept_: Its intercept.
        best_score_: Its score: minus the mean squared error by default; with `cv` the mean
            coefficient of determination, R².
        path_: The models at all alphas, a `LinearPath`.
        cross_validation_: Mean squared errors: for the default, of all samples as one fold.
        dual_gap_: How far half the objective by n is from its minimum at most.
        n_iter_: 1.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = RidgeCV().fit(x, 2 * x[:, 0])
        >>> model.alpha_, model.coef_.round(3)
        (np.float64(0.1), array([1.995]))

    References:
        Golub, Heath and Wahba, *Generalized cross-validation as a method for choosing a
        good ridge parameter* (1979).
    """

    def __init__(
        self,
        alphas: Sequence[float] | np.ndarray = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        cv: Any = None,
    ) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.cv = cv

    def fit(self, X: Matrix, y: Vector, sample_weight: Vector | None = None) -> Self:  # noqa: N803
        """Choose the strength, and fit the model with it.

        Args:
            X: Samples, an array (samples, features).
            y: A number for each sample.
            sample_weight: Non-negative weights for the sums.

        Returns:
            The fitted estimator.
        """
        x, target, weights = self._validated(X, y, sample_weight)
        alphas = np.atleast_1d(np.asarray(self.alphas, float))
        if not (alphas.size and np.all(alphas > 0)):
            raise ValueError(f"alphas must be positive, got {self.alphas!r}.")
        if self.cv is None:
            errors = left_out(x, target, alphas, self.fit_intercept, weights)
            errors, scores = errors[:, None], -errors
        else:
            errors, scores = self._on_folds(x, target, alphas, weights)
        index = int(np.argmax(scores))
        path = ridge_of(x, target, alphas, self.fit_intercept, weights)
        return self._fitted_at(
            path,
            index,
            target,
            weights,
            alpha=alphas[index],
            best_score=scores[index],
            path=path,
            cross_validation=CrossValidation(alphas, errors),
        )

    def _on_folds(
        self, x: np.ndarray, y: np.ndarray, alphas: np.ndarray, weights: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Errors (alphas, folds), and mean coefficients of determination."""
        errors, scores = [], []
        for train, test in folds_of(self.cv, x, y):
            part = None if weights is None else weights[train]
            found = ridge_of(x[train], y[train], alphas, self.fit_intercept, part)
            kept = None if weights is None else weights[test]
            error = np.average((found.predict(x[test]) - y[test]) ** 2, 1, kept)
            centre = np.average(y[test], weights=kept)
            errors.append(error)
            scores.append(1 - error / np.average((y[test] - centre) ** 2, weights=kept))
        return np.stack(errors, 1), np.mean(scores, axis=0)
