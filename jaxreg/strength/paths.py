"""Strengths in turn, each run starting from the parameters of the previous one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import is_concrete
from jaxreg._tree import Params
from jaxreg.strength.sweeps import strength_axis


def path(
    train: Callable[[Any, Params], tuple[Params, Any]], strengths: Any, params: Params
) -> Any:
    """Train with each strength in turn, from the parameters that the last one reached.

    Neighbouring strengths have neighbouring solutions, so each run needs few steps. From
    large to small strengths the weights enter one by one, the classic lasso path; from
    small to large, dense to sparse, they leave: better for networks, which cannot grow
    back from zero.

    All of it is one `lax.scan`, a pure function: put it into `jit`, and `vmap` it over
    folds, seeds or starts. If a run diverges, its results say so, and the next one starts
    from the last parameters that were finite.

    Args:
        train: A pure function `train(strength, params) -> (params, results)`. Results are
            any pytree of arrays; put the parameters in if you want them.
        strengths: As for `sweep`, but in order: falling or rising.
        params: Where the first run starts.

    Returns:
        The results, with an axis in front that numbers the strengths.

    Raises:
        TypeError: If strengths are no numbers, or `train` does not return parameters like
            those that it got.
        ValueError: If a strength is negative or NaN, or they are neither falling nor
            rising.

    Example:
        The lasso by three proximal steps per strength, on one weight with solution
        2 − strength:

        >>> def train(strength, w):
        ...     for _ in range(3):
        ...         w = L1(strength).prox(w - 0.8 * (w - 2.0), 0.8)
        ...     return w, {"w": w}
        >>> found = path(train, jnp.array([2.0, 1.0, 0.0]), jnp.zeros(()))
        >>> np.asarray(found["w"]).round(2)
        array([0.  , 0.99, 1.99], dtype=float32)

    References:
        Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear
        models via coordinate descent* (2010), section 2.5; Lemhadri and others,
        *LassoNet* (2021), section 3, for dense to sparse.
    """
    axis = strength_axis(strengths)
    _check_order(axis)

    def run(params: Params, strength: Any) -> tuple[Params, Any]:
        returned = train(strength, params)
        if not isinstance(returned, tuple) or len(returned) != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(returned).__name__
            raise TypeError(f"train must return a pair (params, results), got {kind}.")
        reached, results = returned
        reached = _like(params, reached)
        finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(reached) if _floats(x)]
        is_finite = jnp.all(jnp.stack(finite)) if finite else True
        kept = jax.tree.map(
            lambda new, old: jnp.where(is_finite, new, old), reached, params
        )
        return kept, results

    return jax.lax.scan(run, jax.tree.map(jnp.asarray, params), axis)[1]


def _floats(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _like(params: Params, reached: Params) -> Params:
    """Parameters in the dtypes of those before, which a scan requires."""
    before, after = jax.tree.structure(params), jax.tree.structure(reached)
    if before != after:
        raise TypeError(
            f"train must return parameters of the structure that it got, {before}, but "
            f"returned {after}."
        )
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(reached), strict=True):
        if np.shape(old) != np.shape(new):
            raise TypeError(
                "train must return parameters of the shapes that it got, but returned "
                f"{np.shape(new)} for {np.shape(old)}."
            )
    return jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), params, reached)


def _check_order(axis: Any) -> None:
    for leaf in jax.tree.leaves(axis):
        if not is_concrete(leaf):
            continue
        steps: Any = np.diff(np.asarray(leaf, float), axis=0)
        if np.any(steps > 0) and np.any(steps < 0):
            raise ValueError(
                "The strengths of a path must be falling or rising, so that each run can "
                f"start from the last one, got {np.asarray(leaf).tolist()}: sort them."
            )
