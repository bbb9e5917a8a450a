"""Logistic regression, its strength and fraction of L1 chosen by cross-validation."""

import functools
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.metrics import make_scorer
from sklearn.utils.metadata_routing import (
    UNUSED,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import _check_method_params

from jaxreg.linear._cross_validation import (
    CrossValidated,
    Pair,
    best_of,
    folds_of,
    scorer_of,
    takes,
)
from jaxreg.linear._logistic import (
    RATIOS,
    Checked,
    LinearClassifier,
    LogisticModel,
    joined,
    ratio_of,
)
from jaxreg.linear._parameters import check_choice, check_count, check_strengths
from jaxreg.solve.glm.result import GLMPath
from jaxreg.strength import CrossValidation
from jaxreg.strength.rules import one_standard_error

REMEDY = "folds may be too small for the score. Take larger folds, or another `scoring`."


class LogisticRegressionCV(CrossValidated, LogisticModel):
    """scikit-learn's `LogisticRegressionCV`: all folds and strengths as one program.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        Cs: How many values of C between 1e-4 and 1e4, or the values.
        l1_ratios: Fractions of L1 to choose from.
        groups: A label for each feature; see `LogisticRegression`.
        fit_intercept: Whether there is an intercept, which is not penalised.
        cv: The number of (stratified) folds, a splitter or pairs of indices; five folds if
            `None`.
        penalty: `"l1"`, `"l2"` or `"elasticnet"`; see `LogisticRegression`.
        scoring: What the score is: a name or a function as scikit-learn takes them;
            accuracy if `None`.
        solver: No effect, but for `"liblinear"`; see `LogisticRegression`.
        tol: The duality gap to reach, as a fraction of the loss of the null model.
        class_weight: A weight for each class, in a dictionary; or `"balanced"`.
        verbose: Whether to show a bar of the Cs on all folds (needs tqdm), for each
            fraction of L1: `True` or a positive integer.
        refit: Whether the best model is fitted to all data. Otherwise coefficients,
            intercepts, C and fraction of L1 are means of those that are best on each fold.
        intercept_scaling: See `LogisticRegression`.
        multi_class: See `LogisticRegression`.
        use_legacy_attributes: Whether `C_`, `l1_ratio_`, `scores_`, `coefs_paths_` and
            `n_iter_` have the forms of scikit-learn before 1.8: arrays with an entry for
            each class, dictionaries by class, axes in the order (folds, Cs, ratios).
        rule: `"best"` for the best score; `"1se"` for the smallest C whose score is within
            one standard error of it (with the `l1_ratio` of the best), see
            `one_standard_error`. Only with `refit`.

    Attributes:
        classes_: The classes.
        coef_: An array (1, features), or (classes, features) of more than two.
        intercept_: An array (1,) or (classes,).
        C_: The best C.
        l1_ratio_: The best fraction of L1.
        Cs_: All values of C.
        l1_ratios_: All fractions of L1.
        scores_: An array (folds, ratios, Cs).
        coefs_paths_: Coefficients and then intercepts (if there are any) on each fold, an
            array (folds, ratios, Cs, classes, features + 1), one class of two. An
            intercept is infinite on a fold that trains on samples without the class.
        n_iter_: Newton steps on each fold, an array (folds, ratios, Cs).
        cross_validation_: The scores for the best fraction, for `one_standard_error` and
            `plot.cross_validation`; this and the next two only with `refit`.
        path_: The models of all C with the best fraction on all data, a `GLMPath`.
        dual_gap_: An upper bound on objective − minimum, in units of the objective of
            `LogisticRegression`.
        n_features_in_: The number of features.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
        >>> model = LogisticRegressionCV(Cs=3, l1_ratios=[1.0], cv=2).fit(x, x[:, 0] > 0.1)
        >>> model.C_, model.scores_.shape
        (1.0, (2, 1, 3))
    """

    __metadata_request__score = {"sample_weight": UNUSED}  # It is the scorer's.
    _scored_by = "fit", "score"
    scores_: Any
    coefs_paths_: Any
    n_iter_: Any
    C_: Any
    l1_ratio_: Any

    def __init__(
        self,
        *,
        Cs: Any = 10,  # noqa: N803
        l1_ratios: Any = (0.0,),
        groups: Any = None,
        fit_intercept: bool = True,
        cv: Any = None,
        dual: bool = False,
        penalty: str = "deprecated",
        scoring: Any = None,
        solver: str | None = "lbfgs",
        tol: float = 1e-9,
        max_iter: int | None = 100,
        class_weight: Any = None,
        n_jobs: int | None = None,
        verbose: bool | int = 0,
        refit: bool = True,
        intercept_scaling: float = 1.0,
        multi_class: str = "deprecated",
        random_state: Any = None,
        use_legacy_attributes: Any = False,
        rule: str = "best",
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.dual = dual
        self.penalty = penalty
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.refit = refit
        self.intercept_scaling = intercept_scaling
        self.multi_class = multi_class
        self.random_state = random_state
        self.use_legacy_attributes = use_legacy_attributes
        self.rule = rule

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        **params: Any,
    ) -> Self:
        """Choose C and the fraction of L1 by cross-validation, and fit the best model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: The class of each.
            sample_weight: Non-negative numbers; `None` for ones.
            params: Arguments of the splitter and the scorer, if metadata routing is
                enabled.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        data = self._checked(X, y, sample_weight)
        check_choice("rule", self.rule, ("best", "1se"))
        if self.rule == "1se" and not self.refit:
            raise ValueError("rule must be 'best' with refit=False, got '1se'.")
        self.Cs_, self.l1_ratios_ = self._grid()
        split, score = self._routed(sample_weight, params)
        labels = self.classes_[data[1].astype(int)]
        folds = folds_of(self.cv, data[0], labels, split, classifier=True)
        found = [self._on_folds(data, ratio, folds) for ratio in self.l1_ratios_]
        self.coefs_paths_ = np.stack([each.models for each in found], axis=1)
        self.n_iter_ = np.stack([each.steps for each in found], axis=1)
        self.scores_ = self._all_scores(data[0], labels, folds, score)
        if self.refit:
            self._fit_best([each.path for each in found], float(data[2].sum()))
        else:
            self._fit_means()
        if not self.fit_intercept:
            self.coefs_paths_ = self.coefs_paths_[..., :-1]
        if self.use_legacy_attributes and self.use_legacy_attributes != "warn":
            self._to_legacy_attributes()
        return self

    def score(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        **params: Any,
    ) -> float:
        """The score that `scoring` means.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: The class of each.
            sample_weight: Non-negative numbers; `None` for ones.
            params: Arguments of the scorer, if metadata routing is enabled.

        Returns:
            A number, higher for better models.
        """
        _raise_for_params(params, self, "score")
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        if _routing_enabled():
            params = process_routing(self, "score", **params).scorer.score
        return self._scorer()(self, X, y, **params)

    def _scorer(self) -> Any:
        default = isinstance(self.scoring, str) and self.scoring == "warn"
        return scorer_of(None if default else self.scoring, "accuracy")

    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """All C and all fractions of L1, as scikit-learn's `penalty` has them."""
        if np.ndim(self.Cs) == 0:
            check_count("Cs", self.Cs)
            cs = np.logspace(-4, 4, self.Cs)
        else:
            cs = check_strengths(self.Cs, 0.0, "Cs")
        check_choice("penalty", self.penalty, ("l1", "l2", "elasticnet", "deprecated"))
        if self._one_ratio:
            check_choice("l1_ratios", self.l1_ratios, (None, "warn"))
            ratios = [None if self.penalty == "elasticnet" else 0.0]
        else:
            ratios = check_strengths(self.l1_ratios, name="l1_ratios")
        # Not a comprehension, which is one more frame before Python 3.12.
        found = map(functools.partial(ratio_of, self.penalty, stacklevel=4), ratios)
        every = np.array(list(found))
        return cs, every[:1] if self.penalty in RATIOS else every

    @property
    def _one_ratio(self) -> bool:
        """Whether `l1_ratios` are left to scikit-learn's default before 1.10."""
        return self.l1_ratios is None or isinstance(self.l1_ratios, str)

    def _on_folds(self, data: Checked, ratio: float, folds: list[Pair]) -> "_Found":
        """Models of every fold, and of all data."""
        _, y, weights = data
        needed = np.unique(y[weights > 0])
        unpenalised = self.fit_intercept and not self._synthetic
        whole = [
            not unpenalised or len(np.unique(y[train][weights[train] > 0])) == len(needed)
            for train, _ in folds
        ]
        batch = [fold for fold, is_whole in zip(folds, whole, strict=True) if is_whole]
        options = {"folds": batch or None, "progress": self._progress}
        path = self._path(data, ratio, self.Cs_, **options)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        models = np.empty((len(folds), len(self.Cs_), outputs, data[0].shape[1] + 1))
        steps = np.empty(models.shape[:2], int)
        if path.validation is not None:
            results = path.validation.results
            parts = results["coefficients"], results["intercepts"]
            if outputs == 1:
                parts = tuple(part[..., None] for part in parts)
            models[whole] = np.swapaxes(joined(*parts), 0, 1)
            steps[whole] = results["steps"].T
        for k in np.flatnonzero(~np.array(whole)):
            lacking = self._without_classes(data, ratio, self.Cs_, folds[k][0])
            models[k], steps[k] = lacking
        return _Found(path, models, steps)

    def _all_scores(self, x: Any, y: Any, folds: list[Pair], score: Any) -> np.ndarray:
        """The score of every model on what its fold left out."""
        scorer = self._scorer()
        if takes(scorer, "labels"):  # Not every fold is scored on all classes.
            own = {"labels": self.classes_, **getattr(scorer, "_kwargs", {})}
            if len(self.classes_) == 2 and takes(scorer, "pos_label"):
                own = {"pos_label": self.classes_[1], **own}
            scorer = make_scorer(
                scorer._score_func,
                greater_is_better=scorer._sign == 1,
                response_method=scorer._response_method,
                **own,
            )
        scores = np.empty(self.coefs_paths_.shape[:3])
        for index in np.ndindex(scores.shape):
            test, weights = folds[index[0]][1], self.coefs_paths_[index]
            model = _Fixed(self.classes_, weights[:, :-1], weights[:, -1])
            scores[index] = scorer(
                model, x[test], y[test], **_check_method_params(x, score, test)
            )
        return scores

    def _fit_best(self, paths: list[GLMPath], total: float) -> None:
        """Keep the best model on all data; among ties the first C."""
        by_c = np.moveaxis(self.scores_, 0, -1).swapaxes(0, 1)
        best = best_of(by_c.reshape(-1, by_c.shape[-1]), REMEDY)
        index, ratio = divmod(best, len(paths))
        self.path_ = path = paths[ratio]
        self.cross_validation_ = CrossValidation(
            path.strengths, self.scores_[:, ratio].T, higher_is_better=True
        )
        if self.rule == "1se":
            index = one_standard_error(self.cross_validation_)
        self._fitted(
            path.coefficients[index].reshape(path.coefficients.shape[1], -1).T,
            np.atleast_1d(path.intercepts[index]),
            C=float(self.Cs_[index]),
            l1_ratio=float(self.l1_ratios_[ratio]),
            dual_gap=float(path.absolute_gaps[index] * total),
        )

    def _fit_means(self) -> None:
        """Keep the means of the models that are best on each fold."""
        by_c = np.swapaxes(self.scores_, 1, 2).reshape(len(self.scores_), -1)
        best = [best_of(scores[:, None], REMEDY) for scores in by_c]
        index, ratio = np.divmod(best, len(self.l1_ratios_))
        model = self.coefs_paths_[np.arange(len(best)), ratio, index].mean(axis=0)
        self._fitted(
            model[:, :-1],
            model[:, -1],
            C=float(self.Cs_[index].mean()),
            l1_ratio=float(self.l1_ratios_[ratio].mean()),
        )

    def _to_legacy_attributes(self) -> None:
        """Dictionaries by class, and axes in the order (folds, Cs, ratios)."""
        classes = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        scores = self.scores_.swapaxes(1, 2)
        models = np.moveaxis(self.coefs_paths_, (3, 2), (0, 2))
        steps = self.n_iter_.swapaxes(1, 2)[None]
        if self._one_ratio:
            scores, models, steps = scores[..., 0], models[..., 0, :], steps[..., 0]
        self.scores_ = dict.fromkeys(classes, scores)
        self.coefs_paths_ = dict(zip(classes, models, strict=True))
        self.n_iter_ = steps
        every = len(classes)
        chosen = {"C": np.full(every, self.C_), "l1_ratio": np.full(every, self.l1_ratio_)}
        self._fitted(self.coef_, self.intercept_, **chosen)


class _Found(NamedTuple):
    """The models of one fraction of L1.

    Attributes:
        path: On all data.
        models: On each fold, an array (folds, Cs, classes, features + 1).
        steps: Newton steps of these, an array (folds, Cs).
    """

    path: GLMPath
    models: np.ndarray
    steps: np.ndarray


class _Fixed(LinearClassifier):
    """A fitted model, for scorers."""

    def __init__(self, classes: Any, coefficients: Any, intercepts: Any) -> None:
        self.classes_, self.coef_, self.intercept_ = classes, coefficients, intercepts

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Does nothing: the model is fitted."""
        return self
