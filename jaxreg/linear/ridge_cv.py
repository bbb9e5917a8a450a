"""Ridge regression, its strength chosen by cross-validation."""

import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.utils.metadata_routing import _routing_enabled
from sklearn.utils.validation import _check_method_params

from jaxreg._progress import Tick, progress_bar
from jaxreg.linear._base import LinearRegressor, Matrix, Vector, targets_of
from jaxreg.linear._cross_validation import (
    RESCALE,
    CrossValidated,
    Pair,
    folds_of,
    index_by_rule,
    scorer_of,
    takes,
)
from jaxreg.linear._parameters import check_strengths
from jaxreg.linear.ridge import Ridge, ridge_of, total_of
from jaxreg.solve.lasso.path import LinearPath
from jaxreg.solve.lasso.ridge import leave_one_out_errors
from jaxreg.strength.cross_validation import CrossValidation

REMEDY = (
    "a score like R² needs two samples or more that differ. Take larger folds, or "
    "scoring='neg_mean_squared_error'."
)


class RidgeCV(MultiOutputMixin, CrossValidated, LinearRegressor):
    """Ridge regression with the best cross-validated score, as scikit-learn's.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        alphas: Positive numbers to choose from; with `cv` also 0.
        fit_intercept: Whether there is an intercept.
        scoring: What the score is: a name or a function as scikit-learn takes them. By
            default minus the mean squared error; with `cv` the coefficient of
            determination, R².
        cv: Folds: their number, a splitter or pairs of indices. By default each sample is
            predicted from all others, by a formula.
        store_cv_results: Whether to keep `cv_results_`; for `cv=None`.
        alpha_per_target: Whether each target has its own alpha; for `cv=None`.
        store_cv_values: The name that scikit-learn before 1.7 has for `store_cv_results`.
        verbose: Whether to show a bar of the folds (needs tqdm): `True` or a positive
            integer. scikit-learn's class has no such argument.
        rule: `"best"` for the best score; `"1se"` for the largest alpha whose score is
            within one standard error of it, see `one_standard_error`; for folds (`cv`).

    Attributes:
        alpha_: The chosen alpha, or one for each target.
        coef_: The coefficients of the model with it, fitted to all samples.
        intercept_: Its intercept.
        best_score_: The best (mean) score, or one for each target.
        cv_results_: For each sample (and target) and alpha the squared error; if there is
            `scoring`, the prediction.
        path_: The models at all alphas, a `LinearPath`; of several targets a list.
        cross_validation_: The scores, a `CrossValidation` of (alphas, folds): by default
            of all samples as one fold. Not with `alpha_per_target`.
        dual_gap_: An upper bound on how far the objective of `Ridge` is from its minimum.
        n_iter_: 1.
        n_features_in_: The number of features.

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
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        scoring: Any = None,
        cv: Any = None,
        gcv_mode: str | None = None,
        store_cv_results: bool | None = False,
        alpha_per_target: bool = False,
        store_cv_values: Any = "deprecated",
        verbose: bool | int = False,
        rule: str = "best",
    ) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.scoring = scoring
        self.cv = cv
        self.gcv_mode = gcv_mode
        self.store_cv_results = store_cv_results
        self.alpha_per_target = alpha_per_target
        self.store_cv_values = store_cv_values
        self.verbose = verbose
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
            X: Samples, an array (samples, features).
            y: A number for each sample; or several, an array (samples, targets).
            sample_weight: Non-negative weights for the sums, and for scores.
            params: Arguments of the splitter and the scorer, if metadata routing is
                enabled.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid, or no alpha has a finite score.
        """
        x, y, weights = self._validated(
            X, y, sample_weight, multi_output=True, ensure_min_samples=2
        )
        self._check_options()
        alphas = check_strengths(self.alphas, 0.0 if self.cv is None else None, "alphas")
        split, score = self._routed(sample_weight, params)
        folds = [] if self.cv is None else folds_of(self.cv, x, y, split)
        total = len(targets_of(y)) * (len(folds) + 1)
        with progress_bar(self._progress, total, "fit") as tick:
            data = _Data(x, y, weights, alphas, score, tick)
            left_out = self.cv is None
            scores = self._left_out(data) if left_out else self._on_folds(data, folds)
            paths = self._paths(data)
        remedy = REMEDY if self.cv is not None or self.scoring is not None else RESCALE
        best = [
            index_by_rule(self.rule, part[None], alphas[None], remedy)[1] for part in scores
        ]
        every = best if len(best) > 1 else best * len(paths)
        values = [
            part.mean(axis=1)[index] for part, index in zip(scores, best, strict=True)
        ]
        if not self.alpha_per_target or len(paths) == 1:
            self.cross_validation_ = CrossValidation(alphas, scores[0], True)
        several = len(best) > 1
        return self._fitted_at(
            paths,
            every,
            y,
            unit=2 * total_of(y, weights),
            alpha=alphas[best] if several else alphas[best[0]],
            best_score=np.array(values) if several else values[0],
            path=paths if len(paths) > 1 else paths[0],
        )

    @property
    def _stores(self) -> bool:
        earlier = self.store_cv_values
        return bool(self.store_cv_results if earlier == "deprecated" else earlier)

    def _check_options(self) -> None:
        for name, value in [
            ("store_cv_results", self._stores),
            ("alpha_per_target", self.alpha_per_target),
        ]:
            if value and self.cv is not None:
                raise ValueError(
                    f"{name} must be False unless cv is None: it is about samples that are "
                    "left out one by one."
                )

    def _scorer(self) -> Any:
        scorer = scorer_of(self.scoring, "r2")
        if self.scoring is None and _routing_enabled():
            scorer.set_score_request(sample_weight=True)
        return scorer

    def _left_out(self, data: "_Data") -> list[np.ndarray]:
        """Scores (alphas, 1) of predictions from all other samples; or for each target."""
        x, y, weights, alphas, score, _ = data
        targets = targets_of(y)
        errors = leave_one_out_errors(x, targets.T, alphas, self.fit_intercept, weights)
        if self.scoring is None:
            results = errors**2 * (1.0 if weights is None else weights[:, None])
            means = -np.mean(results, axis=1)
            joint = np.mean(means, axis=1)
        else:
            results = targets.T - errors
            scorer = self._scorer()

            def scored(predicted: np.ndarray, truth: np.ndarray) -> float:
                return scorer(_Predicted(), predicted, truth, **score)

            shaped = results[..., 0] if y.ndim == 1 else results
            joint = np.array([scored(each, y) for each in shaped])
            means = np.array(
                [
                    [scored(p, t) for p, t in zip(each.T, targets, strict=True)]
                    for each in (results if self.alpha_per_target else results[:0])
                ]
            )
        if self._stores:
            self.cv_results_ = np.moveaxis(results, 0, -1)
            if y.ndim == 1:
                self.cv_results_ = self.cv_results_[:, 0]
        if self.alpha_per_target and len(targets) > 1:
            return [part[:, None] for part in means.T]
        return [joint[:, None]]

    def _paths(self, data: "_Data", chosen: Any = slice(None)) -> list[LinearPath]:
        """The models of each target, fitted to the chosen samples."""
        weights = None if data.weights is None else data.weights[chosen]
        paths = []
        for target in targets_of(data.y[chosen]):
            given = data.x[chosen], target, data.alphas, self.fit_intercept, weights
            paths.append(ridge_of(*given))
            data.tick()
        return paths

    def _on_folds(self, data: "_Data", folds: list[Pair]) -> list[np.ndarray]:
        """Scores (alphas, folds)."""
        x, y, _, alphas, score, _ = data
        scorer = self._scorer()
        if "sample_weight" in score and not takes(scorer, "sample_weight"):
            warnings.warn(
                f"scoring={self.scoring!r} takes no sample_weight: samples count alike in "
                "the score.",
                UserWarning,
                stacklevel=3,
            )
            score = {name: v for name, v in score.items() if name != "sample_weight"}
        scores = []
        for train, test in folds:
            paths = self._paths(data, train)
            model = Ridge(fit_intercept=self.fit_intercept)
            given = _check_method_params(x, score, test)
            scores.append([])
            for index in range(len(alphas)):
                model._fitted_at(paths, [index] * len(paths), y[train])
                scores[-1].append(scorer(model, x[test], y[test], **given))
        return [np.array(scores).T]


class _Data(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    alphas: np.ndarray
    score: dict[str, Any]
    tick: Tick


class _Predicted(Ridge):
    """A model whose samples are its predictions already."""

    def predict(self, X: Matrix) -> np.ndarray:  # noqa: N803
        return X
