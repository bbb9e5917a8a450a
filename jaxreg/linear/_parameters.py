"""Checks of the parameters of an estimator, whose errors are caught as scikit-learn's are.

scikit-learn raises one error for a bad parameter, of wrong type or of wrong value. It is a
`ValueError` and a `TypeError` both, and so is the one here.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from jaxreg import _checks, _progress
from jaxreg.solve import checks

P = ParamSpec("P")
R = TypeVar("R")


class InvalidParameterError(ValueError, TypeError):
    """A parameter of an estimator has a wrong type."""


def _of_parameter(check: Callable[P, R]) -> Callable[P, R]:
    """A check whose `TypeError` is a `ValueError` too."""

    @functools.wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return check(*args, **kwargs)
        except TypeError as error:
            raise InvalidParameterError(str(error)) from None

    return checked


check_number = _of_parameter(_checks.check_number)
check_count = _of_parameter(_checks.check_count)
check_strengths = _of_parameter(checks.check_strengths)
shows_bar = _of_parameter(_progress.shows_bar)


def check_alpha(alpha: Any) -> None:
    """Refuse an `alpha` that is no finite, non-negative number."""
    check_number("alpha", alpha)
    if not np.isfinite(alpha):
        raise ValueError(f"alpha must be finite, got {alpha}.")


def check_ratio(l1_ratio: Any) -> float:
    """The `l1_ratio` if it is between 0 and 1, else an error."""
    check_number("l1_ratio", l1_ratio)
    if l1_ratio > 1:
        raise ValueError(f"l1_ratio must be at most 1, got {l1_ratio:g}.")
    return l1_ratio


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that scikit-learn does not allow for an argument."""
    if not _is_among(value, choices):
        # scikit-learn's default "deprecated" means that the argument was not given.
        words = ", ".join(repr(choice) for choice in choices if choice != "deprecated")
        raise ValueError(f"{name} must be one of {words}, got {value!r}.")


def _is_among(value: Any, choices: Sequence[Any]) -> bool:
    """Whether a value is one of some words (or `None`); an array of words is none."""
    return value is None and None in choices or isinstance(value, str) and value in choices


# Which parameters are true or false, and what else they may be: in scikit-learn's words,
# that they were left out.
_SWITCHES: dict[str, tuple[Any, ...]] = {
    "alpha_per_target": (),
    "fit_intercept": (),
    "positive": (),
    "refit": (),
    "store_cv_results": (None,),
    "store_cv_values": ("deprecated",),
    "use_legacy_attributes": ("warn",),
}


def check_switches(parameters: dict[str, Any]) -> None:
    """Refuse anything but true and false for the parameters that switch something.

    Numbers are allowed for `verbose`, see `shows_bar`.
    """
    shows_bar(parameters.get("verbose", False))
    for name in _SWITCHES.keys() & parameters.keys():
        value = parameters[name]
        if not (isinstance(value, bool | np.bool_) or _is_among(value, _SWITCHES[name])):
            raise InvalidParameterError(f"{name} must be True or False, got {value!r}.")


def check_class_weight(class_weight: Any) -> None:
    """Refuse what gives no weights of classes."""
    is_word = _is_among(class_weight, ("balanced", None))
    if not (is_word or isinstance(class_weight, dict)):
        raise InvalidParameterError(
            "class_weight must be 'balanced', a dictionary with a weight for each class, "
            f"or None, got {class_weight!r}."
        )
