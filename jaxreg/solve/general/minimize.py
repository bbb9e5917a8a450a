"""Minimising a smooth loss plus a penalty, to a certificate."""

import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from jaxreg._checks import Scalar, check_count, check_number, check_numbers, is_concrete
from jaxreg._tree import Params, check_distinct, leaves_of, listing, variables_of
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty
from jaxreg.solve.general._search import Goals, Inputs, solve, split
from jaxreg.solve.general.solution import Solution, Status


def minimize(
    loss: Callable[..., Scalar],
    penalty: Penalty,
    params: Params,
    *args: Any,
    tol: Scalar | None = None,
    gap_tol: Scalar | None = None,
    max_steps: int = 10_000,
    metric: Params | None = None,
) -> Solution:
    """Minimise loss(params, *args) + penalty(params), to a certificate.

    Accelerated proximal gradient steps with backtracking and restarts, compiled as one
    loop. It stops when the conditions of optimality hold to within `tol`, not when steps
    are small. Where a duality gap is known it must be small, too: relative to the loss of a
    constant predictor at most 1e-4 in float32 and 1e-6 in float64 (or 100 times `tol`, if
    that is more). Where the penalty is not convex, or the loss is not, the solution is a
    local one, and depends on the start.

    **Derivatives.** The solution is a differentiable function of the strengths, the
    arrays in `loss` and `args`, and whatever the loss captures (`jax.grad`, `jax.jvp`, at
    any order), by the equation that it solves, restricted to the support. That is how
    strengths are tuned by gradients. It has no derivative in `params`, the start. Give it a
    small `tol`: derivatives are about as exact as the solution.

    **Batches.** It may be put in `jit`, `vmap` (strengths, folds, data sets, starts) and
    `scan` (paths: start each where the last one ended). There, nothing can be raised or
    warned of: check `Solution.converged`.

    Args:
        loss: A smooth function of `(params, *args)` that returns a scalar. It is compiled
            once for each function, so define it outside of loops and pass what changes
            in `args`; or make it a pytree of arrays that can be called, as a `LinearLoss`
            and `jax.tree_util.Partial` are.
        penalty: A penalty with a prox; a sum that has one, too.
        params: Where to start. All floating-point arrays in it are optimised, penalised or
            not; whatever else it has stays as it is.
        *args: Further arguments of the loss: pytrees of arrays.
        tol: The largest `Solution.kkt` to accept; 1e-6 in float32 and 1e-10 in float64 by
            default. It bounds the error of the parameters.
        gap_tol: If given, it also stops once `Solution.gap` is at most this fraction of the
            objective. It bounds the error of the objective, and saves steps where the
            parameters need few digits; it has no effect where no gap is known.
        max_steps: The most steps; at least 1.
        metric: The curvature of the loss along each parameter, up to a common factor: a
            pytree of positive numbers, or of arrays, or a prefix of one. Steps are shorter
            where it is larger. It is known for a `LinearLoss`; elsewhere it saves many
            steps if parameters have very different scales.

    Returns:
        A `Solution`: the parameters, the objective, certificates, a status.

    Raises:
        TypeError: If `penalty` is no penalty, or an argument is of the wrong type.
        ValueError: If there is nothing to optimise, the prox is not known, an argument is
            out of range, or the loss is not finite or not smooth on the way.

    Warns:
        RuntimeWarning: If `max_steps` were not enough, or rounding keeps the duality gap
            large.

    Example:
        The lasso, whose solution here is known:

        >>> x, y = np.sqrt(3) * np.eye(3), np.sqrt(3) * np.array([2.0, -0.5, 1.0])
        >>> found = minimize(Squared(x, y), L1(0.5), jnp.zeros(3))
        >>> print(found.params.round(4), found.converged)
        [1.5 0.  0.5] True

        A path is a `vmap` over strengths, and a hypergradient a `grad`:

        >>> def size(strength):
        ...     found = minimize(Squared(x, y), L1(strength), jnp.zeros(3))
        ...     return jnp.sum(found.params)
        >>> print(jax.vmap(size)(jnp.array([0.0, 0.5, 3.0])).round(4))
        [2.5 2.  0. ]
        >>> print(jax.grad(size)(0.5).round(4))
        -2.0

    References:
        Beck and Teboulle, *A fast iterative shrinkage-thresholding algorithm* (2009),
        section 4; O'Donoghue and Candès, *Adaptive restart for accelerated gradient
        schemes* (2015), section 3.2; Bertrand and others, *Implicit differentiation for
        fast hyperparameter selection in non-smooth convex learning* (2022), section 3.
    """
    check_is_penalty(penalty)
    _check(loss, params, max_steps)
    for name, value in (("tol", tol), ("gap_tol", gap_tol)):
        if value is not None:
            check_number(name, value, above=0.0)
    if metric is not None:
        check_numbers("The metric", [x.value for x in leaves_of(metric)], above=0.0)
    static, arrays = split((loss, args))
    goals = Goals(tol, gap_tol, max_steps)
    solution = solve(static, Inputs(arrays, [], penalty, params, metric, goals))
    _report(solution)
    return solution


def _check(loss: Any, params: Params, max_steps: int) -> None:
    if not callable(loss):
        raise TypeError(f"loss must be a function of the parameters, got {loss!r}.")
    if not isinstance(max_steps, Tracer):
        check_count("max_steps", max_steps)
    check_distinct(leaves_of(params))
    variables, _ = variables_of(params)
    if not variables:
        raise ValueError(
            "params must have floating-point arrays to optimise, but has none: "
            f"{listing(leaves_of(params))}. (Integers: give them a floating-point dtype.)"
        )
    if any(jnp.iscomplexobj(x) for x in variables.values()):
        raise TypeError(
            "params must be real to be minimised over. Split complex arrays into real and "
            "imaginary parts: `optax.contrib.split_real_and_imaginary` shows how."
        )


def _report(solution: Solution) -> None:
    """Raise or warn if the search failed, unless the solution is traced."""
    if not is_concrete(solution.status):
        return
    status, steps = int(solution.status), int(solution.steps)
    if status == Status.FAILED:
        raise ValueError(
            f"The loss must be finite and smooth, but after {steps} steps no step lowers "
            f"it; loss + penalty is {float(solution.objective):g} there. Start where the "
            "loss is finite; standardize the data; put what is not smooth into the penalty."
        )
    if status == Status.INEXACT:
        warnings.warn(
            f"Not converged: the residual (kkt) is {float(solution.kkt):.1e}, but the "
            f"duality gap is {float(solution.gap):.1e}, and rounding keeps it from "
            "shrinking. Centre and standardize the features and the target, or use float64 "
            '(`jax.config.update("jax_enable_x64", True)`); very small strengths have '
            "large gaps, too.",
            RuntimeWarning,
            stacklevel=3,
        )
    if status == Status.OUT_OF_STEPS:
        warnings.warn(
            f"Not converged: after {steps} steps the residual (kkt) is "
            f"{float(solution.kkt):.1e}, the duality gap {float(solution.gap):.1e}. Raise "
            "max_steps, standardize the features or give a metric, or raise tol "
            "(float32 reaches about 1e-7).",
            RuntimeWarning,
            stacklevel=3,
        )
