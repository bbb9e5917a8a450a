"""Least squares of several targets that share their features: the multi-task lasso."""

import dataclasses
from typing import Any

from jaxreg.losses import Squared
from jaxreg.penalties import L1, L2, ElasticNet, Penalty
from jaxreg.solve.again import solved_again
from jaxreg.solve.checks import check_data, check_squares, real_numbers
from jaxreg.solve.glm.core import solve_glm
from jaxreg.solve.glm.result import GLMPath
from jaxreg.solve.sharded import of_all_processes
from jaxreg.strength.cross_validation import Folds


@solved_again
def multi_task_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty | None = None,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-3,
    tol: float = 1e-10,
    progress: bool = False,
) -> GLMPath:
    """Least squares of several targets, which use the same features.

        argmin_(w, b)  ½ · mean ‖y − x @ w − b‖² + strength · Σ_j (l1_j·‖w_j‖ + l2_j·‖w_j‖²)

    The norm is Euclidean, so that a feature is used for all targets or for none. The cost
    grows with the cube of active features × targets: it is meant for some tens of targets.
    `lasso_path` takes several targets too, each of which chooses its features alone.

    Args:
        x: Features, an array (samples, features), dense, sparse (SciPy's or JAX's) or
            sharded.
        y: The targets, an array (samples, targets).
        strengths: As for `logistic_path`.
        penalty: An `L1` (the default, of strength 1), `L2` or `ElasticNet`, with norms of
            rows in the place of absolute values. Its strengths are numbers, or arrays with
            one for each feature: 0 leaves the feature unpenalised, infinity leaves it out.
        intercept: Whether there is one for each target. It is not penalised.
        standardize: As for `logistic_path`.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation; scores are mean squared errors over samples and
            targets.
        num: How many strengths.
        ratio: The last strength as a fraction of the first.
        tol: As for `logistic_path`.
        progress: Whether to show a bar (needs tqdm).

    Returns:
        A `GLMPath`, with coefficients (strengths, features, targets) and intercepts
        (strengths, targets).

    Raises:
        TypeError: If the data are no real numbers; or `penalty` is another one.
        ValueError: If shapes do not fit, or numbers are out of their range or not finite;
            or if strengths must be given, for a penalty without L1.

    Warns:
        RuntimeWarning: If some solution did not converge; `converged` says which.

    Example:
        >>> x = np.sqrt(2) * np.eye(2)
        >>> y = np.sqrt(2) * np.array([[3.0, 4.0], [0.6, 0.8]])
        >>> multi_task_path(x, y, [2.0], intercept=False).coefficients.round(3)
        array([[[1.8, 2.4],
                [0. , 0. ]]])

    References:
        Obozinski, Taskar and Jordan, *Joint covariate selection and joint subspace
        selection for multiple classification problems* (2010).
    """
    targets = real_numbers("y", of_all_processes(y))
    if targets.ndim != 2 or 0 in targets.shape:
        raise ValueError(
            "y must be an array (samples, targets) with one of each at least, got shape "
            f"{targets.shape}. `lasso_path` is for one target, or for several, each with "
            "a penalty of its own."
        )
    check_squares("y", targets)
    x, _, weights = check_data(x, targets[:, 0], sample_weight, sparse=True, kept=True)
    if not isinstance(penalty, L1 | L2 | ElasticNet | None):
        raise TypeError(f"penalty must be an L1, L2 or ElasticNet, got {penalty!r}.")
    found = solve_glm(
        Squared.of_targets(targets),
        x,
        weights,
        strengths,
        penalty=penalty,
        intercept=intercept,
        standardize=standardize,
        folds=folds,
        num=num,
        ratio=ratio,
        tol=tol,
        rows=True,
        progress=progress,
    )
    outputs, validation = targets.shape[1], found.validation
    if validation is not None:  # The loss is a sum over targets.
        validation = dataclasses.replace(validation, scores=validation.scores / outputs)
    shape = len(found.strengths), x.shape[1], outputs
    return dataclasses.replace(
        found,
        coefficients=found.coefficients.reshape(shape),
        intercepts=found.intercepts.reshape(shape[0], outputs),
        validation=validation,
    )
