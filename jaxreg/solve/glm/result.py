"""The result of a path of generalised linear models."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxreg.losses import LinearLoss
from jaxreg.solve.results import PathResult


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GLMPath(PathResult):
    """Generalised linear models at many strengths.

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
        converged: An array (strengths,): whether |gap| is at most `tol`.
        validation: With `folds`, the score of every strength on every fold: scikit-learn's
            `log_loss` of classes, `mean_poisson_deviance` of counts, `mean_squared_error`
            of numbers.
        residuals: The largest violation of the optimality conditions, for features of
            variance 1, as a fraction of the null model's root mean square slope.
        steps: Newton steps of each strength.
        loss: The loss, a class of `jaxreg.losses`.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
        >>> found = logistic_path(x, y, [0.1, 0.01])
        >>> found
        GLMPath of 2 strengths and 1 features, gaps at most ...
        >>> found.predict([[1.5]]).round(3)
        array([[0.5], [0.5]])
    """

    residuals: np.ndarray
    steps: np.ndarray
    loss: type[LinearLoss]

    def predict(self, x: Any) -> np.ndarray:
        """The mean response of all models: probabilities of classes, rates of counts.

        Args:
            x: Features, an array (samples, features), dense, sparse or sharded.

        Returns:
            An array (strengths, samples): the probability of class 1, or the mean of y
            (without an offset); for three classes or more (strengths, samples, classes).

        Raises:
            TypeError: If x holds no real numbers.
            ValueError: If x does not have as many features as the models.
        """
        predictor = self.predictor(x)
        with jax.enable_x64(True):
            return np.asarray(self.loss.mean_response(jax.numpy.asarray(predictor)))
