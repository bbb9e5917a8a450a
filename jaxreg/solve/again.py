"""Results that know how to solve at other strengths."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from jaxreg.solve.results import PathResult
from jaxreg.solve.targets import TargetPaths

P = ParamSpec("P")
R = TypeVar("R")


def solved_again(path: Callable[P, R]) -> Callable[P, R]:
    """Make the results of a path function know it and its arguments, for `coef_at`."""
    signature = inspect.signature(path)

    @functools.wraps(path)
    def solve(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        found: Any = path(*args, **kwargs)
        if not isinstance(found, TargetPaths):
            return _knowing(found, path, given)
        each = [
            _knowing(one, path, _of_target(given, number))
            for number, one in enumerate(found)
        ]
        return cast(R, TargetPaths(tuple(each)))

    return solve


def _knowing(found: Any, path: Callable[..., Any], given: dict[str, Any]) -> Any:
    def again(strengths: list[float]) -> PathResult:
        others = {"strengths": strengths, "folds": None, "progress": False}
        return path(**{**given, **others})

    return dataclasses.replace(found, again=again)


def _of_target(given: dict[str, Any], number: int) -> dict[str, Any]:
    """The arguments of the path of one target."""
    columns = {
        name: np.asarray(given[name])[:, number]
        for name in ("y", "offset")
        if name in given and np.ndim(given[name]) == 2
    }
    return {**given, **columns}
