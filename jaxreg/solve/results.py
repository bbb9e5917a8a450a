"""What every path function returns: models at many strengths, each with a certificate."""

import dataclasses
from typing import Any

import numpy as np

from jaxreg.solve.checks import check_concrete, real_numbers
from jaxreg.solve.sparse import is_sparse, sparse_columns
from jaxreg.strength.cross_validation import CrossValidation


def _matrix(x: Any) -> Any:
    """Features in float64; `sparse_columns` if they are sparse."""
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
    """

    strengths: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    gaps: np.ndarray
    null_loss: float
    converged: np.ndarray
    validation: CrossValidation | None = None

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
            x: Features, an array (samples, features), dense or sparse.

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
        active = np.any(self.coefficients != 0, axis=0).reshape(features, -1).any(axis=1)
        few = self.coefficients[:, active]
        if is_sparse(x):
            products = x[:, active] @ np.moveaxis(few, 1, 0).reshape(few.shape[1], -1)
            products = np.moveaxis(
                products.reshape(x.shape[0], len(few), *few.shape[2:]), 1, 0
            )
        else:
            products = np.moveaxis(np.tensordot(few, x[:, active], axes=(1, 1)), -1, 1)
        return products + self.intercepts[:, None]

    def predict(self, x: Any) -> np.ndarray:
        """The mean response of all models.

        Args:
            x: Features, an array (samples, features), dense or sparse.

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
