"""What every path function returns: models at many strengths, each with a certificate."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from jaxreg._checks import is_real
from jaxreg.solve.checks import check_concrete, check_strengths, real_numbers
from jaxreg.solve.predictors import linear_predictors
from jaxreg.solve.sharded import ShardedFeatures, is_sharded
from jaxreg.solve.sparse import is_sparse, sparse_columns
from jaxreg.strength.cross_validation import CrossValidation
from jaxreg.strength.rules import index_by_rule


class PathModel(NamedTuple):
    """One model of a path.

    Attributes:
        coefficients: An array (features,); for several classes (features, classes).
        intercept: A number, or an array (classes,).
        gap: The bound on objective − minimum, as in `PathResult.gaps`.
    """

    coefficients: np.ndarray
    intercept: Any
    gap: float


def _matrix(x: Any) -> Any:
    """Features in float64; `sparse_columns` if they are sparse, or `ShardedFeatures`."""
    if is_sharded(x) and is_real(x) and x.ndim == 2:
        return ShardedFeatures.of(x)
    if not is_sparse(x):
        return real_numbers("x", x)
    check_concrete("x", x)
    return sparse_columns("x", x)


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PathResult:
    """Linear models at many strengths: the fields that all paths share.

    The null model has the intercept and the unpenalised features only.

    Attributes:
        strengths: An array (strengths,), in the order in which they were given.
        coefficients: An array (strengths, features); for several classes (strengths,
            features, classes).
        intercepts: An array (strengths,) or (strengths, classes); zeros without intercept.
        gaps: An array (strengths,): an upper bound on objective − minimum, as a fraction of
            `null_loss`. Rounding may make it slightly negative.
        null_loss: The mean loss of the null model, above the least possible loss;
            `gaps * null_loss` are in units of the objective.
        converged: An array (strengths,): whether |gap| is at most the tolerance.
        validation: With `folds`, the score of every strength on every fold.
        again: Solves at other strengths, for `coef_at`; `None` where it is not known how.
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray
    null_loss: float
    converged: np.ndarray
    validation: CrossValidation | None = None
    again: Callable[[list[float]], Any] | None = None

    def coef_at(self, strength: float) -> PathModel:
        """The model at any strength of the path's range, not only at those of its grid.

        It is solved, not interpolated: a path bends between the strengths of its grid where
        a feature enters or leaves. So it costs as much as one strength of a new path, and
        has a certificate of its own. The result keeps references to the data for this; do
        not write to them. Copies made by pickle, and results that belong to an estimator,
        are without the data.

        Args:
            strength: Between the smallest and the largest of `strengths`.

        Returns:
            A `PathModel`: coefficients, intercept, gap.

        Raises:
            TypeError: If the strength is no number.
            ValueError: If it is out of range; or not one of `strengths`, and the data are
                gone.

        Example:
            >>> from jaxreg.solve import lasso_path
            >>> x, y = np.eye(2), np.array([2.0, 1.0])
            >>> found = lasso_path(x, y, [0.75, 0.25], intercept=False)
            >>> found.coef_at(0.5).coefficients
            array([1., 0.])
        """
        strength = float(check_strengths(strength, name="strength")[0])
        smallest, largest = np.min(self.strengths), np.max(self.strengths)
        if not smallest <= strength <= largest:
            raise ValueError(
                f"strength must be between those of the path, {smallest:g} and "
                f"{largest:g}, got {strength:g}: solve a path that includes it."
            )
        same = np.flatnonzero(self.strengths == strength)
        if same.size:
            found, index = self, same[0]
        elif self.again is None:
            raise ValueError(
                f"strength must be one of `strengths`, got {strength:g}: this path is "
                "without its data (it was pickled, or belongs to an estimator). Call the "
                "path function with this strength."
            )
        else:
            found, index = self.again([strength]), 0
        return PathModel(
            found.coefficients[index], found.intercepts[index], float(found.gaps[index])
        )

    def select(self, rule: str = "best") -> int:
        """The index of the strength that cross-validation chooses.

        Args:
            rule: `"best"` for `select_best`, `"1se"` for `one_standard_error`.

        Returns:
            The index: `found.strengths[i]`, `found.coefficients[i]`.

        Raises:
            ValueError: If there was no cross-validation, or there is no such rule; and as
                the rule does.

        Example:
            >>> from jaxreg.solve import lasso_path
            >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
            >>> y = np.array([1.5, 1.5, 2.5, 4.5])
            >>> found = lasso_path(x, y, [1.0, 0.1], folds=2)
            >>> found.select("best"), found.select("1se")
            (1, 0)
        """
        if self.validation is None:
            raise ValueError("A rule chooses by cross-validation: give the path `folds`.")
        return index_by_rule(self.validation, rule)

    def without_data(self) -> Self:
        """The same models, without the references to the data that `coef_at` needs."""
        return dataclasses.replace(self, again=None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "again": None}  # Copies by pickle need no data.

    @property
    def absolute_gaps(self) -> np.ndarray:
        """|gaps| in units of the objective, an array (strengths,)."""
        gaps = np.abs(self.gaps)
        # Infinity bounds it, too; but no gap is no gap.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(gaps == 0, 0.0, gaps * self.null_loss)

    def predictor(self, x: Any) -> np.ndarray:
        """Linear predictors x @ coefficients + intercepts of all models.

        Args:
            x: Features, an array (samples, features), dense, sparse or sharded.

        Returns:
            An array (strengths, samples); for several classes (strengths, samples,
            classes).

        Raises:
            TypeError: If x holds no real numbers.
            ValueError: If x does not have as many features as the models.
        """
        x, features = _matrix(x), self.coefficients.shape[1]
        if x.ndim != 2 or x.shape[1] != features:
            raise ValueError(
                f"x must be an array (samples, {features} features), got shape {x.shape}."
            )
        # Classes, which come last, are models of their own here.
        w = np.moveaxis(self.coefficients, 1, -1)
        products = linear_predictors(x, w.reshape(-1, features))
        products = np.moveaxis(products.reshape(*w.shape[:-1], -1), -1, 1)
        return products + self.intercepts[:, None]

    def predict(self, x: Any) -> np.ndarray:
        """The mean response of all models.

        Args:
            x: Features, an array (samples, features), dense, sparse or sharded.

        Returns:
            An array of the shape of `predictor`.

        Raises:
            TypeError: If x holds no real numbers.
            ValueError: If x does not have as many features as the models.
        """
        return self.predictor(x)

    def __repr__(self) -> str:
        strengths, features = self.coefficients.shape[:2]
        return (
            f"{type(self).__name__} of {strengths} strengths and {features} features, gaps "
            f"at most {np.max(np.abs(self.gaps)):.0e}"
        )
