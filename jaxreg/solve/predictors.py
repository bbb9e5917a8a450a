"""Linear predictors of many models, of features in any of the forms that paths take."""

from typing import Any

import jax
import numpy as np

from jaxreg.solve.sharded import ShardedFeatures
from jaxreg.solve.sparse import is_sparse


def linear_predictors(x: Any, w: np.ndarray) -> np.ndarray:
    """The sums x @ w of many models, an array (models, samples), without intercepts.

    Args:
        x: Features, an array (samples, features), a `csc_array` or `ShardedFeatures`.
        w: Coefficients, an array (models, features); a feature that none uses is not read.
    """
    active = np.flatnonzero(np.any(w != 0, axis=0))
    few = w[:, active]
    if isinstance(x, ShardedFeatures):
        with jax.enable_x64(True):
            return x.rows(active).combined(few)
    if is_sparse(x):
        return (x[:, active] @ few.T).T
    return few @ x[:, active].T
