"""Paths of logistic, multinomial, Poisson and group-sparse models, each certified."""

from typing import Any, cast

import numpy as np

from jaxreg.losses import Logistic, Poisson, Squared
from jaxreg.penalties import GroupLasso, Penalty
from jaxreg.solve.again import solved_again
from jaxreg.solve.checks import check_data, check_samples
from jaxreg.solve.glm.core import loss_of_classes, loss_of_two_classes, solve_glm
from jaxreg.solve.glm.result import GLMPath
from jaxreg.solve.glm.targets import solve_targets
from jaxreg.solve.targets import columns_of
from jaxreg.strength.cross_validation import Folds


@solved_again
def logistic_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty | None = None,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    folds: Folds | None = None,
    score: str = "deviance",
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
    progress: bool = False,
) -> GLMPath:
    """Logistic regression at many strengths, and its cross-validation.

        min  mean of log(1 + exp(η)) − y·η  +  strength · penalty(w),   η = x @ w + bias

    Proximal Newton steps on the features that are or may become active, from large to
    small strengths; then the optimality conditions of all features are checked. Every
    solution is certified by its duality gap. Computed in float64, whatever JAX's default
    is. With three classes or more it is multinomial regression: log Σ exp(η_c) − η_y. No
    class is a reference; unpenalised coefficients and intercepts add up to zero over the
    classes.

    Sparse features are centred and scaled without becoming dense. A JAX array that a mesh
    divides over its samples stays on its devices, and in its dtype: only sums over the
    samples and what has a number for each sample are gathered. With `jax.distributed` all
    processes must call this.

    Args:
        x: Features, an array (samples, features), dense, sparse (SciPy's or JAX's) or
            sharded.
        y: For each sample its class: 0 or 1, bools, or 0, ..., k − 1, each of which occurs.
            Or several targets, an array (samples, targets) of 0 and 1: each column has a
            model, strengths and folds of its own. With up to 512 dense features, all
            targets and folds are solved together, which is several times as fast.
        strengths: Positive; or `None` for `num` of them, from the smallest one at which
            all coefficients are zero down to `ratio` times that.
        penalty: An `L1` (the default, of strength 1), `L2`, `ElasticNet` or `GroupLasso`.
            Its strengths are numbers, or arrays with one for each feature: 0 leaves the
            feature unpenalised, infinity leaves it out. `strengths` multiply them.
        intercept: Whether there is one. It is not penalised.
        standardize: Whether to penalise the coefficients of features of variance 1 (mean
            square 1 if there is no intercept), in each fold by its own samples.
            Coefficients are returned for the features as given. With folds, groups must not
            have several features.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation: a number, or pairs of indices; see `cross_validate`.
        score: What the scores of the folds are, in `validation`: "deviance" for
            scikit-learn's `log_loss`, half the deviance of a sample; or "auc" for its
            `roc_auc_score`, of two classes, where higher is better.
        num: How many strengths.
        ratio: The last strength as a fraction of the first. Larger than for `lasso_path`:
            coefficients of classes that a plane separates grow without bound below.
        tol: The duality gap to reach, relative to the loss of the null model; and the
            largest violation of the optimality conditions, relative to the error of the
            null model (or 1e-6, if `tol` is larger: coefficients need more digits than
            objectives).
        progress: Whether to show a bar (needs tqdm).

    Returns:
        A `GLMPath`; of several targets, `solve.TargetPaths` with one for each.

    Raises:
        TypeError: If the data are no real numbers; or `penalty` is another one.
        ValueError: If shapes do not fit, numbers are out of their range or not finite, or
            all samples are of one class, or a fold does not train on each class; or if the
            score is unknown, or is "auc" of more than two classes or of a fold that is
            scored on one; or if strengths must be given, for a penalty without L1 or
            groups.

    Warns:
        RuntimeWarning: If some solution did not converge; `converged` says which.

    Example:
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 0.0]])
        >>> found = logistic_path(x, np.array([0, 1, 0, 1, 1]), [0.3, 0.1, 0.01])
        >>> np.count_nonzero(found.coefficients, axis=1)
        array([1, 2, 2])
        >>> bool(np.all(found.gaps < 1e-9))
        True

    References:
        Lee, Sun and Saunders, *Proximal Newton-type methods for minimizing composite
        functions* (2014); Tibshirani and others, *Strong rules for discarding predictors
        in lasso-type problems* (2012).
    """
    columns = columns_of(y)
    first = y if columns is None else np.zeros(len(columns[0]))
    x, first, weights = check_data(x, first, sample_weight, sparse=True, kept=True)
    options: Any = {
        "penalty": penalty,
        "intercept": intercept,
        "standardize": standardize,
        "folds": folds,
        "score": score,
        "num": num,
        "ratio": ratio,
        "tol": tol,
        "progress": progress,
    }
    if columns is None:
        loss = loss_of_classes(first, weights)
        return solve_glm(loss, x, weights, strengths, **options)

    def loss_of(column: np.ndarray) -> Logistic:
        return loss_of_two_classes(column, weights)

    found = solve_targets(columns, loss_of, x, weights, strengths, **options)
    return cast(Any, found)


@solved_again
def poisson_path(
    x: Any,
    y: Any,
    strengths: Any = None,
    *,
    penalty: Penalty | None = None,
    offset: Any = None,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
    progress: bool = False,
) -> GLMPath:
    """Poisson regression of counts at many strengths, and its cross-validation.

        min  mean of exp(η) − y·η  +  strength · penalty(w),   η = offset + x @ w + bias

    Args:
        x: Features, an array (samples, features), dense, sparse (SciPy's or JAX's) or
            sharded.
        y: Counts (or rates), at least 0; or several targets, an array (samples, targets),
            as for `logistic_path`.
        strengths: As for `logistic_path`.
        penalty: As for `logistic_path`.
        offset: A known part of η for each sample: the logarithm of the exposure. For
            several targets it may be an array (samples, targets).
        intercept: Whether there is one. It is not penalised.
        standardize: As for `logistic_path`.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation; scores are scikit-learn's `mean_poisson_deviance`.
        num: How many strengths.
        ratio: The last strength as a fraction of the first. Larger than for `lasso_path`:
            coefficients of classes that a plane separates grow without bound below.
        tol: As for `logistic_path`; the loss of the null model is half its deviance.
        progress: Whether to show a bar (needs tqdm).

    Returns:
        A `GLMPath`; of several targets, `solve.TargetPaths` with one for each.

    Raises:
        TypeError: If the data are no real numbers; or `penalty` is another one.
        ValueError: If shapes do not fit, numbers are out of their range or not finite, or
            all counts are zero.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1, 2, 4])
        >>> found = poisson_path(x, y, [1e-6])
        >>> found.coefficients.round(3), np.exp(found.intercepts).round(3)
        (array([[0.693]]), array([1.]))

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010).
    """
    columns = columns_of(y)
    first = y if columns is None else np.zeros(len(columns[0]))
    x, first, weights = check_data(x, first, sample_weight, sparse=True, kept=True)
    options: Any = {
        "penalty": penalty,
        "intercept": intercept,
        "standardize": standardize,
        "folds": folds,
        "num": num,
        "ratio": ratio,
        "tol": tol,
        "progress": progress,
    }

    def loss_of(column: np.ndarray) -> Poisson:
        return _loss_of_counts(column, weights)

    if columns is not None:
        options["offset"] = offset
        found = solve_targets(columns, loss_of, x, weights, strengths, **options)
        return cast(Any, found)
    if offset is not None:
        options["offset"] = check_samples("offset", offset, len(first))[:, None]
    return solve_glm(loss_of(first), x, weights, strengths, **options)


def _loss_of_counts(y: np.ndarray, weights: np.ndarray | None) -> Poisson:
    """The loss of checked counts."""
    Poisson.check_targets(y, "y")
    if not np.any(y > 0 if weights is None else y * weights > 0):
        raise ValueError(
            "y must hold a count above 0: without one no rate is small enough."
        )
    return Poisson.of_targets(y[:, None])


@solved_again
def group_lasso_path(
    x: Any,
    y: Any,
    labels: Any,
    strengths: Any = None,
    *,
    scale: Any = "sqrt_size",
    intercept: bool = True,
    sample_weight: Any = None,
    folds: Folds | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-9,
    progress: bool = False,
) -> GLMPath:
    """The group lasso at many strengths, and its cross-validation.

        min  ½ · mean of (x @ w + bias − y)²  +  strength · Σ_g scale_g · ‖w_g‖₂

    For classes: `logistic_path` with `penalty=GroupLasso(labels=labels)`.

    Args:
        x: Features, an array (samples, features), dense, sparse (SciPy's or JAX's) or
            sharded.
        y: The target, one number for each sample.
        labels: An integer for each feature; equal labels make one group.
        strengths: As for `logistic_path`.
        scale: A factor for each group, as for `GroupLasso`: `"sqrt_size"`, `"none"`, a
            number, or one for each of the sorted labels: 0 for a group that is not
            penalised, infinity to leave one out.
        intercept: Whether there is one. It is not penalised.
        sample_weight: Non-negative numbers, one for each sample; `None` for ones.
        folds: For cross-validation; scores are mean squared errors.
        num: How many strengths.
        ratio: The last strength as a fraction of the first. Larger than for `lasso_path`:
            coefficients of classes that a plane separates grow without bound below.
        tol: As for `logistic_path`.
        progress: Whether to show a bar (needs tqdm).

    Returns:
        A `GLMPath`.

    Raises:
        TypeError: If the data are no real numbers.
        ValueError: If shapes do not fit, or numbers are out of their range or not finite.

    Example:
        >>> x = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0],
        ...               [-1.0, -1.0, -1.0]])
        >>> found = group_lasso_path(x, x @ [3.0, 4.0, 0.0], [0, 0, 1], [1.0], scale="none")
        >>> found.coefficients.round(3)
        array([[2.4, 3.2, 0. ]])

    References:
        Yuan and Lin, *Model selection and estimation in regression with grouped
        variables* (2006).
    """
    x, y, weights = check_data(x, y, sample_weight, sparse=True, kept=True)
    if len(np.shape(labels)) != 1 or len(labels) != x.shape[1]:
        raise ValueError(
            f"labels must hold an integer for each of the {x.shape[1]} features, got shape "
            f"{np.shape(labels)}."
        )
    return solve_glm(
        Squared.of_targets(y[:, None]),
        x,
        weights,
        strengths,
        penalty=GroupLasso(labels=labels, scale=scale),
        intercept=intercept,
        folds=folds,
        num=num,
        ratio=ratio,
        tol=tol,
        progress=progress,
    )
