"""Paths of many targets on the same features."""

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

from jaxreg.solve.checks import real_numbers
from jaxreg.solve.results import PathResult
from jaxreg.solve.sparse import is_sparse
from jaxreg.strength.cross_validation import CrossValidation

R = TypeVar("R", bound=PathResult)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TargetPaths(Sequence[R], Generic[R]):
    """The paths of many targets: a sequence of the results of each, and their arrays.

    Every target is a model of its own, with its own strengths, certificate and
    cross-validation: `paths[3]` is what the path function returns for `y[:, 3]`. The
    attributes are those of the single results, stacked along a first axis of targets; each
    access makes a new array.

    Types do not tell how many axes y has, so path functions are annotated with the result
    of one target. For a type checker, `cast(TargetPaths[LinearPath], lasso_path(x, y))`.

    Attributes:
        paths: The result of each target.

    Example:
        >>> from jaxreg.solve import lasso_path
        >>> x, y = np.eye(2), np.array([[2.0, 0.0], [1.0, 3.0]])
        >>> found = lasso_path(x, y, [0.5, 0.25], intercept=False)
        >>> found
        TargetPaths of 2 targets, 2 strengths and 2 features, gaps at most 0e+00
        >>> found.coefficients.shape, found[0].coefficients[1]
        ((2, 2, 2), array([1.5, 0.5]))
    """

    paths: tuple[R, ...]

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> "TargetPaths[R]": ...
    def __getitem__(self, index: int | slice) -> "R | TargetPaths[R]":
        if isinstance(index, slice):
            return TargetPaths(self.paths[index])
        return self.paths[index]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def strengths(self) -> np.ndarray:
        """The strengths of each target, an array (targets, strengths)."""
        return self._stacked("strengths")

    @property
    def coefficients(self) -> np.ndarray:
        """An array (targets, strengths, features)."""
        return self._stacked("coefficients")

    @property
    def intercepts(self) -> np.ndarray:
        """An array (targets, strengths)."""
        return self._stacked("intercepts")

    @property
    def gaps(self) -> np.ndarray:
        """Bounds on objective − minimum, by `null_loss`, an array (targets, strengths)."""
        return self._stacked("gaps")

    @property
    def null_loss(self) -> np.ndarray:
        """The mean loss of the null model of each target, an array (targets,)."""
        return self._stacked("null_loss")

    @property
    def converged(self) -> np.ndarray:
        """Bools (targets, strengths)."""
        return self._stacked("converged")

    @property
    def absolute_gaps(self) -> np.ndarray:
        """|gaps| in units of the objective, an array (targets, strengths)."""
        return self._stacked("absolute_gaps")

    @property
    def validation(self) -> tuple[CrossValidation, ...] | None:
        """With `folds`, the cross-validation of each target."""
        each = [path.validation for path in self.paths]
        return None if None in each else tuple(v for v in each if v is not None)

    def select(self, rule: str = "best") -> np.ndarray:
        """For each target the index of the strength that cross-validation chooses.

        Args:
            rule: As for `PathResult.select`.

        Returns:
            Indices, an array (targets,): the chosen coefficients are
            `found.coefficients[np.arange(len(found)), found.select()]`.

        Raises:
            ValueError: If there was no cross-validation, or there is no such rule.
        """
        return np.array([path.select(rule) for path in self.paths])

    def predictor(self, x: Any) -> np.ndarray:
        """Linear predictors of all models.

        Args:
            x: Features, an array (samples, features), dense or sparse.

        Returns:
            An array (targets, strengths, samples).

        Raises:
            TypeError: If x holds no real numbers.
            ValueError: If x does not have as many features as the models.
        """
        return np.stack([path.predictor(x) for path in self.paths])

    def predict(self, x: Any) -> np.ndarray:
        """The mean response of all models.

        Args:
            x: Features, an array (samples, features), dense or sparse.

        Returns:
            An array (targets, strengths, samples).

        Raises:
            TypeError: If x holds no real numbers.
            ValueError: If x does not have as many features as the models.
        """
        return np.stack([path.predict(x) for path in self.paths])

    def _stacked(self, name: str) -> np.ndarray:
        return np.stack([getattr(path, name) for path in self.paths])

    def __repr__(self) -> str:
        targets, strengths, features = self.coefficients.shape
        return (
            f"TargetPaths of {targets} targets, {strengths} strengths and {features} "
            f"features, gaps at most {np.max(np.abs(self.gaps)):.0e}"
        )


def columns_of(y: Any) -> list[Any] | None:
    """The columns of several targets; `None` if y is one target.

    Raises:
        TypeError: If y is sparse, traced by JAX, or holds no real numbers.
        ValueError: If there is no target, or y is no matrix.
    """
    if np.ndim(y) < 2 and not is_sparse(y):
        return None
    y = real_numbers("y", y)
    if np.ndim(y) > 2 or 0 in np.shape(y):
        raise ValueError(
            "y must be an array (samples,), or (samples, targets) with one of each at "
            f"least, got shape {np.shape(y)}."
        )
    return list(y.T)


@contextlib.contextmanager
def naming_target(number: int) -> Generator[None]:
    """Say in errors which target they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"Target {number}, y[:, {number}]: {error}") from None
