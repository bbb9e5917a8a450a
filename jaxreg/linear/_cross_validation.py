"""scikit-learn's cross-validation: splitters, scorers, metadata routing."""

import inspect
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)

from jaxreg.linear._parameters import (
    check_choice,
    check_count,
    check_number,
    check_strengths,
    shows_bar,
)
from jaxreg.strength.cross_validation import CrossValidation
from jaxreg.strength.rules import mean_losses, one_standard_error

Pair = tuple[np.ndarray, np.ndarray]

RESCALE = "divide X and y by their standard deviations."
"""The remedy where squared errors are too large for float64."""


class CrossValidated:
    """Passes further arguments of `fit` to the splitter and to the scorer.

    This is scikit-learn's metadata routing, which users enable by
    `sklearn.set_config(enable_metadata_routing=True)`: then `fit(X, y, groups=groups)`
    reaches `cv=GroupKFold()`.
    """

    cv: Any
    verbose: Any
    _scored_by: tuple[str, ...] = ("fit",)
    """The methods that call the scorer."""

    @property
    def _progress(self) -> bool:
        """The `progress` of path functions."""
        return shows_bar(self.verbose)

    def _scorer(self) -> Any:
        """The scorer of a model on a fold, for classes that take `scoring`."""
        return None

    def get_metadata_routing(self) -> MetadataRouter:
        """Which arguments of `fit` and `score` go to the splitter, and to the scorer.

        Returns:
            scikit-learn's `MetadataRouter`.
        """
        router: Any = MetadataRouter(owner=self).add_self_request(self)
        router.add(
            splitter=check_cv(self.cv),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        if (scorer := self._scorer()) is not None:
            mapping: Any = MethodMapping()
            for caller in self._scored_by:
                mapping.add(caller=caller, callee="score")
            router.add(scorer=scorer, method_mapping=mapping)
        return router

    def _routed(self, sample_weight: Any, given: dict[str, Any]) -> tuple[Any, Any]:
        """The arguments of the splitter, and those of the scorer."""
        _raise_for_params(given, self, "fit")
        if not _routing_enabled():
            return {}, {} if sample_weight is None else {"sample_weight": sample_weight}
        routed: Any = process_routing(self, "fit", sample_weight=sample_weight, **given)
        scorer = routed.scorer.score if "scorer" in routed else {}
        return routed.splitter.split, scorer


def folds_of(
    cv: Any, x: np.ndarray, y: np.ndarray, split: Any = None, *, classifier: bool = False
) -> list[Pair]:
    """Indices for training and for the score, from what scikit-learn calls `cv`.

    Args:
        cv: `None` for five folds, their number, a splitter, or pairs of indices.
        x: The samples.
        y: The targets.
        split: More arguments of the splitter: groups of samples.
        classifier: Whether folds should have all classes alike.
    """
    splitter: Any = check_cv(cv, y, classifier=classifier)
    return list(splitter.split(x, y, **(split or {})))


def index_by_rule(
    rule: str, scores: np.ndarray, strengths: np.ndarray, remedy: str
) -> tuple[int, int]:
    """Which variant of a model, and which strength, a rule chooses.

    Args:
        rule: `"best"`; or `"1se"` for `one_standard_error` among the strengths of the
            variant that has the best one.
        scores: An array (variants, strengths, folds); higher is better.
        strengths: An array (variants, strengths).
        remedy: What to do if no model has a finite score on every fold.

    Raises:
        ValueError: If there is no such rule, none has, or there is only one fold for
            `"1se"`.
    """
    check_choice("rule", rule, ("best", "1se"))
    best = best_of(scores.reshape(-1, scores.shape[-1]), remedy)
    which, index = divmod(best, scores.shape[1])
    if rule == "1se":
        index = one_standard_error(CrossValidation(strengths[which], scores[which], True))
    return which, index


def best_of(scores: np.ndarray, remedy: str) -> int:
    """The index of the best mean score, the first among ties; see `mean_losses`.

    Args:
        scores: An array (models, folds); higher is better.
        remedy: What to do if no model has a finite score on every fold.

    Raises:
        ValueError: If none has.
    """
    return int(np.argmin(mean_losses(scores, True, name="model", remedy=remedy)))


def alphas_of(
    alphas: Any, n_alphas: Any, eps: Any, above: float | None = None
) -> tuple[np.ndarray | None, Any]:
    """The given alphas, falling; or `None`, and the `num` and `ratio` of a grid.

    Args:
        alphas: How many, or the alphas themselves.
        n_alphas: How many, for scikit-learn before 1.9, where `alphas` may be `None`; or
            `"deprecated"`.
        eps: The smallest alpha of a grid by the largest.
        above: A bound that given alphas must exceed; without it they may be 0.
    """
    if isinstance(alphas, str) and alphas == "warn":
        alphas = None
    if not (isinstance(n_alphas, str) and n_alphas == "deprecated"):
        check_count("n_alphas", n_alphas)
        if alphas is None or (np.ndim(alphas) == 0 and alphas == 100):
            alphas = n_alphas
    if np.ndim(alphas) > 0:
        return -np.sort(-check_strengths(alphas, above, "alphas")), {}
    alphas = 100 if alphas is None else alphas
    check_count("alphas", alphas)
    check_number("eps", eps, above=0.0)
    if eps > 1:
        raise ValueError(f"eps must be at most 1, got {eps:g}.")
    return None, {"num": int(alphas), "ratio": eps}


def takes(scorer: Any, argument: str) -> bool:
    """Whether a scorer, or the metric that it is made from, takes an argument."""
    function = getattr(scorer, "_score_func", scorer)
    return argument in inspect.signature(function).parameters


def scorer_of(scoring: Any, default: str) -> Any:
    """The scorer that scikit-learn means by `scoring`, a name or a function."""
    return get_scorer(default if scoring is None else scoring)
