"""Information criteria: choosing a strength without new data."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxreg._dtypes import raise_precision
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty

Criterion = Literal["aic", "bic", "ebic"]


def information_criterion(
    deviance: ArrayLike,
    df: ArrayLike,
    n_samples: int,
    kind: Criterion = "bic",
    *,
    features: int | None = None,
    gamma: float = 0.5,
) -> Array:
    """How badly a model fits, plus a penalty on its degrees of freedom; smallest is best.

        AIC   deviance + 2·df                     aims at prediction
        BIC   deviance + log(n_samples)·df        aims at the true model
        EBIC  BIC + 2·gamma·log C(features, df)   the same among many features

    Args:
        deviance: −2 · log likelihood; for linear models `gaussian_deviance`.
        df: The degrees of freedom, as `degrees_of_freedom` gives them.
        n_samples: How many samples the likelihood is about.
        kind: `"aic"`, `"bic"` or `"ebic"`.
        features: For EBIC: the number of features to choose from.
        gamma: For EBIC: between 0 (BIC) and 1.

    Returns:
        The criterion, of the shape of `deviance` and `df`.

    Raises:
        ValueError: If `kind` is none of them, or `features` is missing.

    Example:
        >>> information_criterion(10.0, df=2, n_samples=8, kind="aic")
        Array(14., dtype=float32)

    References:
        Chen and Chen, *Extended Bayesian information criteria for model selection with
        large model spaces* (2008), section 2; Zou, Hastie and Tibshirani, *On the degrees
        of freedom of the lasso* (2007), section 4.
    """
    deviance, df = raise_precision(deviance), raise_precision(df)
    if kind == "aic":
        return deviance + 2 * df
    bic = deviance + math.log(n_samples) * df
    if kind == "bic":
        return bic
    if kind != "ebic":
        raise ValueError(f"kind must be 'aic', 'bic' or 'ebic', got {kind!r}.")
    if features is None:
        raise ValueError("EBIC needs the number of features to choose from: features=.")
    log_gamma = jax.scipy.special.gammaln
    models = log_gamma(features + 1.0) - log_gamma(df + 1) - log_gamma(features - df + 1)
    return bic + 2 * gamma * models


def gaussian_deviance(
    squared_errors: ArrayLike, *, n_samples: int, noise_variance: ArrayLike
) -> Array:
    """−2 · log likelihood of a linear model with Gaussian noise of known variance.

        n_samples · log(2π · noise_variance) + squared_errors / noise_variance

    Args:
        squared_errors: The sum of the squared errors.
        n_samples: How many samples it is a sum over.
        noise_variance: The variance of the noise. The usual estimate is from least squares
            without a penalty: squared_errors / (n_samples − coefficients − intercept).

    Returns:
        The deviance.

    Example:
        >>> gaussian_deviance(4.0, n_samples=2, noise_variance=1 / (2 * np.pi))
        Array(25.132742, dtype=float32)
    """
    variance = raise_precision(noise_variance)
    return (
        n_samples * jnp.log(2 * jnp.pi * variance)
        + raise_precision(squared_errors) / variance
    )


def degrees_of_freedom(penalty: Penalty, x: ArrayLike, coefficients: ArrayLike) -> Array:
    """The effective number of parameters of a penalised linear model.

        tr(X_Aᵀ X_A (X_Aᵀ X_A + n · ∇²R_A)⁻¹)      A: the non-zero coefficients

    for the minimiser of `½ · mean squared error + R`, with n samples. For `L1` that is the
    number of non-zeros; for `L2` the trace of the hat matrix; for `ElasticNet` and
    `GroupLasso` the curvature of the penalty makes it smaller than the number of
    non-zeros. The intercept is not counted.

    Args:
        penalty: The penalty, at the strength that was used.
        x: The features, an array (samples, features), as the model was fitted to them;
            centred, if it has an intercept.
        coefficients: The solution, one number for each feature.

    Returns:
        A scalar. It may be computed inside `jit` and `vmap`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the shapes do not fit.

    Example:
        >>> x = jnp.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
        >>> degrees_of_freedom(L1(0.1), x, jnp.array([0.9, 0.0])).round(3)
        Array(1., dtype=float32)
        >>> degrees_of_freedom(L2(0.5), x, jnp.array([0.5, 0.5])).round(3)
        Array(1., dtype=float32)

    References:
        Vaiter, Deledalle, Fadili, Peyré and Dossal, *The degrees of freedom of partly
        smooth regularizers* (2017), theorem 2.
    """
    check_is_penalty(penalty)
    x, w = raise_precision(x), raise_precision(coefficients)
    if x.ndim != 2 or w.shape != x.shape[1:]:
        raise ValueError(
            "x must be (samples, features) and coefficients (features,), got shapes "
            f"{x.shape} and {w.shape}."
        )
    active = w != 0
    both = active[:, None] & active[None, :]
    gram = jnp.where(both, x.T @ x, 0.0)
    curvature = jnp.where(both, jax.hessian(penalty)(w), 0.0)
    inverse = jnp.linalg.pinv(gram + len(x) * curvature, hermitian=True)
    return jnp.sum(inverse * gram)
