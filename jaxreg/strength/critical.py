"""The largest useful strength, and grids below it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import Scalar, check_count, check_number, is_concrete
from jaxreg._dtypes import raise_precision
from jaxreg._tree import Params, variables_of
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import Toward, check_is_penalty
from jaxreg.strength._newton import minimise

# A proximal step of this length moves whatever a penalty acts on.
_LONG_STEP = 1e6


def strength_max(
    loss: Callable[[Params], Scalar], penalty: Penalty, params: Params
) -> Array:
    """The smallest strength at which all penalised parameters are zero.

    It sets them to zero, *optimises the others there* (intercepts, biases, parameters
    whose strength is 0; by Newton steps), and evaluates `penalty.strength_max`
    at the gradients there:

        max |∂loss/∂w|     for `L1`;  for groups the largest ratio of norm to scale, ...

    For a convex loss, all penalised parameters are zero at this strength and above, and
    some are not below it. **For a network it is only local**: zero kernels hide the inputs
    from the layers above, so the value depends on those layers and may even be 0. There,
    start from a trained dense model and raise the strength (`path`) instead.

    Args:
        loss: The mean loss, a smooth function of the parameters alone.
        penalty: A penalty with its mask. If its only strength is a number, the result is
            in the units of that strength, whatever its present value; otherwise it is the
            factor c at which `penalty * c` is critical.
        params: A pytree of parameters: where the search for the others starts.

    Returns:
        A scalar; infinity if no strength makes everything zero, as for `L2`. It may be
        computed inside `jit` and `vmap`.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If the loss is not finite where the penalised parameters are zero, or
            if the mask chooses nothing.

    Example:
        The lasso with an intercept, which changes what the largest useful strength is:

        >>> x, y = jnp.array([[1.0], [2.0], [4.0]]), jnp.array([3.0, 4.0, 8.0])
        >>> def loss(params):
        ...     errors = x @ params["kernel"] + params["bias"] - y
        ...     return jnp.mean(errors**2) / 2
        >>> start = {"kernel": jnp.zeros(1), "bias": jnp.zeros(())}
        >>> print(f"{strength_max(loss, L1(), start):.4f}")
        2.6667

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010), section 2.5.
    """
    check_is_penalty(penalty)
    variables, full = variables_of(params)
    held = _held(penalty, full, variables)
    zeros = _zeros(penalty, params, variables)
    others = {
        place: value
        for place, value in variables.items()
        if not (is_concrete(held[place]) and np.all(np.asarray(held[place])))
    }

    def point(values: dict[int, Array]) -> dict[int, Array]:
        """All variables: the penalised at zero, the others as given."""
        merged = {
            place: jnp.where(held[place], zeros[place], value)
            for place, value in values.items()
        }
        return {**zeros, **merged}

    def value(values: dict[int, Array]) -> Array:
        return jnp.asarray(loss(full(point(values))))

    @jax.jit
    def at_optimum(others: dict[int, Array]) -> tuple[Array, Array]:
        solution = point(minimise(value, others) if others else {})
        objective, gradients = jax.value_and_grad(
            lambda values: jnp.asarray(loss(full(values)))
        )(solution)
        return objective, penalty.strength_max(full(gradients))

    objective, critical = at_optimum(others)
    if is_concrete(objective) and not np.isfinite(objective):
        raise ValueError(
            "The loss must be finite where the penalised parameters are zero and the "
            f"others at their optimum, got {float(objective)}."
        )
    return critical


def _held(
    penalty: Penalty,
    full: Callable[[dict[int, Array]], Params],
    variables: dict[int, Array],
) -> dict[int, Array]:
    """For each variable, which entries the penalty acts on: those that its prox moves."""
    probe = {
        place: jnp.asarray(
            1 + 0.5 * np.cos(1 + np.arange(x.size)).reshape(x.shape), x.dtype
        )
        for place, x in variables.items()
    }

    @jax.jit
    def moves(probe: dict[int, Array]) -> dict[int, Array]:
        moved = penalty.bind(full(probe)).prox(_LONG_STEP)
        return {place: moved[place] != probe[place] for place in probe}

    return moves(probe)


def _zeros(
    penalty: Penalty, params: Params, variables: dict[int, Array]
) -> dict[int, Array]:
    """Where the penalty holds each variable: at zero, or at its reference."""
    terms = penalty.bind(params).terms
    points = {
        place: term.reference if isinstance(term := terms[place], Toward) else 0.0
        for place in variables
    }
    return {
        place: jnp.broadcast_to(jnp.asarray(points[place], x.dtype), x.shape)
        for place, x in variables.items()
    }


def strength_grid(maximum: Scalar, num: int = 100, ratio: float = 1e-3) -> Array:
    """Strengths from the largest useful one downwards, in equal ratios.

        maximum · ratio^(i/(num − 1)),   i = 0, ..., num − 1

    The grid of scikit-learn's `LassoCV` (`eps=1e-3`) and of glmnet (1e-4 with more samples
    than features, otherwise 0.01).

    Args:
        maximum: The first strength, as `strength_max` gives it: positive and finite.
        num: How many, at least 1.
        ratio: The last strength as a fraction of the first, between 0 and 1.

    Returns:
        An array of `num` strengths, falling.

    Raises:
        TypeError: If `maximum` or `ratio` is no number.
        ValueError: If a number is out of its range.

    Example:
        >>> strength_grid(10.0, num=4)
        Array([10.  ,  1.  ,  0.1 ,  0.01], dtype=float32)

        For a penalty with several strengths, a path of multiples of it:

        >>> factors = strength_grid(2.0, num=3, ratio=0.25)
        >>> jax.vmap(lambda c: ElasticNet(l1=1.0, l2=0.5) * c)(factors).l2
        Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    check_number("maximum", maximum, above=0.0)
    if is_concrete(maximum) and not np.isfinite(maximum):
        raise ValueError(
            f"maximum must be finite, got {float(maximum)}: no strength makes all "
            "parameters exactly zero under this penalty (L2, say). Choose the largest "
            "strength by hand."
        )
    fractions = grid_fractions(num, ratio)
    dtype = raise_precision(maximum).dtype
    if is_concrete(maximum):
        return jnp.asarray(np.float64(maximum) * fractions, dtype)
    return jnp.asarray(maximum, dtype) * fractions


def grid_fractions(num: int, ratio: float) -> np.ndarray:
    """The strengths of `strength_grid` as fractions of the first.

    Raises:
        TypeError: If `num` is no whole number, or `ratio` no number.
        ValueError: If one is out of its range.
    """
    check_number("ratio", ratio, above=0.0)
    if ratio > 1:
        raise ValueError(f"ratio must be at most 1, got {ratio:g}.")
    check_count("num", num)
    return ratio ** np.linspace(0.0, 1.0, num)
