"""The result of `minimize`."""

import enum
from typing import Any, NamedTuple

from jax import Array


class Status(enum.IntEnum):
    """How a search ended."""

    CONVERGED = 0
    OUT_OF_STEPS = 1
    FAILED = 2
    INEXACT = 3


class Solution(NamedTuple):
    """A minimiser with its certificates.

    Attributes:
        params: The minimiser, in at least float32; what is not optimised is as it was.
        objective: loss(params) + penalty(params).
        kkt: How far the conditions of optimality are from holding, as a relative error:
            max |w − z| / (max |w| + max |t·∇f(w)|), where z = prox(w − t·∇f(w)) with a
            step t of about 1/curvature. 0 at a minimiser and only there.
        gap: An upper bound on `objective` − minimum, in units of the objective, from
            duality; ∞ where none is known.
        steps: How many steps were taken.
        status: 0 if `kkt` is at most `tol` and `gap`, where it is known, is small
            relative to the loss of a constant predictor (see `minimize`); 1 if
            `max_steps` were too few; 2 if the loss was not finite or not smooth; 3 if only
            the gap is too large, and rounding keeps it from shrinking.

    Example:
        >>> from jaxreg import minimize
        >>> from jaxreg.losses import Squared
        >>> loss = Squared(np.eye(2), np.array([3.0, 0.2]))
        >>> found = minimize(loss, L1(0.5), jnp.zeros(2))
        >>> print(found.params.round(4), found.objective.round(4), found.converged)
        [2. 0.] 1.26 True
    """

    params: Any
    objective: Array
    kkt: Array
    gap: Array
    steps: Array
    status: Array

    @property
    def converged(self) -> Array:
        """Whether `kkt` and the gap, if it is known, are small enough."""
        return self.status == Status.CONVERGED
