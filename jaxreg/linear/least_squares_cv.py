"""Least squares with L1, or with L1 and L2, the strength chosen by cross-validation."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import column_or_1d

from jaxreg.convert.conventions import from_sklearn
from jaxreg.linear._base import LinearRegressor, Matrix, Vector
from jaxreg.linear._cross_validation import (
    RESCALE,
    CrossValidated,
    alphas_of,
    folds_of,
    index_by_rule,
)
from jaxreg.linear._parameters import check_ratio, check_strengths
from jaxreg.solve.lasso.path import elastic_net_path


class ElasticNetCV(CrossValidated, LinearRegressor):
    """The elastic net with the least cross-validated error, as scikit-learn's.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        l1_ratio: The fraction of L1, or several of them to choose from.
        eps: The smallest alpha by the largest, where they are not given.
        n_alphas: The name that scikit-learn before 1.9 has for a number of `alphas`.
        alphas: How many alphas, or the alphas themselves.
        fit_intercept: Whether there is an intercept.
        cv: Folds: their number, a splitter or pairs of indices; by default five.
        verbose: Whether to show a bar of the folds (needs tqdm), for each `l1_ratio`:
            `True` or a positive integer.
        positive: Whether coefficients must not be negative.
        rule: `"best"` for the least error; `"1se"` for the largest alpha whose error is
            within one standard error of it (with the `l1_ratio` of the best), see
            `one_standard_error`.

    Attributes:
        alpha_: The chosen alpha.
        l1_ratio_: The chosen ratio.
        coef_: The coefficients of the model with them, fitted to all samples.
        intercept_: Its intercept.
        alphas_: All alphas, (alphas,), or (ratios, alphas) if there are several ratios.
        mse_path_: Mean squared errors (ratios, alphas, folds), without the axes of which
            there is one.
        path_: The models at all alphas with the chosen ratio, a `LinearPath`:
            `plot.path(model.alphas_, model.path_.coefficients)`.
        cross_validation_: Their errors, a `CrossValidation`: for `one_standard_error` and
            `plot.cross_validation`.
        dual_gap_: An upper bound on how far the objective of `ElasticNet` is from its
            minimum.
        n_iter_: 1.
        n_features_in_: The number of features.

    Example:
        >>> x = np.arange(8.0)[:, None]
        >>> model = ElasticNetCV(cv=4, alphas=[100.0, 0.1]).fit(x, 2 * x[:, 0])
        >>> model.alpha_, model.coef_.round(3)
        (np.float64(0.1), array([1.972]))

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010).
    """

    _takes_sparse = True

    def __init__(
        self,
        *,
        l1_ratio: float | Sequence[float] = 0.5,
        eps: float = 1e-3,
        n_alphas: Any = "deprecated",
        alphas: Any = 100,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,  # noqa: N803
        verbose: bool | int = 0,
        n_jobs: int | None = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        rule: str = "best",
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.n_alphas = n_alphas
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.copy_X = copy_X
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
        self.rule = rule

    def fit(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None = None,
        **params: Any,
    ) -> Self:
        """Choose the strength, and fit the model with it.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: A number for each sample.
            sample_weight: Non-negative weights for the means, of errors too. Folds count
                alike, whatever their weights.
            params: Arguments of the splitter, if metadata routing is enabled.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        x, y, weights = self._validated(X, y, sample_weight, multi_output=True)
        if y.ndim > 1 and y.shape[1] > 1:
            raise ValueError(
                f"y must hold one number for each sample, got shape {y.shape}: each target "
                "has an alpha of its own, so fit one model for each, or all of them by "
                "`elastic_net_path` with folds."
            )
        y = column_or_1d(y, warn=True)
        every_ratio = check_strengths(self.l1_ratio, name="l1_ratio").tolist()
        ratios = [check_ratio(ratio) for ratio in every_ratio]
        alphas, grid = alphas_of(self.alphas, self.n_alphas, self.eps)
        if alphas is None and 0 in ratios:
            raise ValueError(
                "alphas must be given for l1_ratio=0: however large it is, no alpha makes "
                "all coefficients zero, so that there is no largest one to begin with."
            )
        folds = folds_of(self.cv, x, y, self._routed(sample_weight, params)[0])
        options: dict[str, Any] = {
            "intercept": self.fit_intercept,
            "positive": self.positive,
            "sample_weight": weights,
            "folds": folds,
            "progress": self._progress,
            **grid,
        }
        paths = [
            elastic_net_path(x, y, alphas, penalty=from_sklearn(1.0, ratio), **options)
            for ratio in ratios
        ]
        validations = [found.validation for found in paths if found.validation is not None]
        errors = np.stack([found.scores for found in validations])
        grids = np.stack([found.strengths for found in paths])
        which, index = index_by_rule(self.rule, -errors, grids, RESCALE)
        path = paths[which]
        return self._fitted_at(
            [path],
            [index],
            y,
            alpha=path.strengths[index],
            l1_ratio=ratios[which],
            alphas=grids if len(ratios) > 1 and alphas is None else grids[0],
            mse_path=np.squeeze(errors),
            path=path,
            cross_validation=path.validation,
        )


class LassoCV(ElasticNetCV):
    """The lasso with the least cross-validated error, as scikit-learn's.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        eps: As for `ElasticNetCV`.
        n_alphas: As for `ElasticNetCV`.
        alphas: As for `ElasticNetCV`.
        fit_intercept: As for `ElasticNetCV`.
        cv: As for `ElasticNetCV`.
        verbose: As for `ElasticNetCV`.
        positive: As for `ElasticNetCV`.
        rule: As for `ElasticNetCV`.

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
        n_alphas: Any = "deprecated",
        alphas: Any = 100,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,  # noqa: N803
        cv: Any = None,
        verbose: bool | int = False,
        n_jobs: int | None = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        rule: str = "best",
    ) -> None:
        self.eps = eps
        self.n_alphas = n_alphas
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.copy_X = copy_X
        self.cv = cv
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
        self.rule = rule
