"""Checks of the arguments of paths: data, strengths, penalties."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxreg._checks import check_numbers, is_real
from jaxreg.masks.selection import chosen_arrays
from jaxreg.penalties import Penalty
from jaxreg.penalties.fields import strength_fields
from jaxreg.solve.sharded import ShardedFeatures, is_sharded, of_all_processes
from jaxreg.solve.sparse import is_sparse, sparse_columns


def check_data(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    rescaled: bool = False,
    sparse: bool = False,
    kept: bool = False,
) -> tuple[Any, np.ndarray, Any]:
    """Arrays of 64-bit floats.

    Args:
        x: Features.
        y: The target.
        sample_weight: Weights, or `None`.
        rescaled: Whether numbers of any magnitude are allowed, because they are rescaled
            next. Then `units_of` checks that x is finite, in its pass over x.
        sparse: Whether x may be sparse; then it is returned as `sparse_columns`.
        kept: Whether a sharded x stays so, as `ShardedFeatures`, and a dense x of 32-bit
            floats as it is.

    Raises:
        TypeError: If they are sparse, complex or no numbers, or are traced by JAX; or if
            there is no target.
        ValueError: If shapes do not fit, or numbers are not finite.
    """
    if y is None:
        raise TypeError(
            "y must be given, a number for each sample: only Moments are without it."
        )
    if sparse and is_sparse(x):
        check_concrete("x", x)
        x = sparse_columns("x", x)
    elif kept and is_sharded(x) and is_real(x) and x.ndim == 2:
        x = ShardedFeatures.of(x)
    else:
        x = real_numbers("x", x, single=kept)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            "x must be an array (samples, features) with one of each at least, got shape "
            f"{x.shape}."
        )
    if isinstance(x, ShardedFeatures):
        _check_sharded("x", x)
    elif not rescaled:
        check_squares("x", x.data if is_sparse(x) else x)
    y = check_samples("y", y, x.shape[0], rescaled=rescaled)
    if sample_weight is None:
        return x, y, None
    weights = check_samples("sample_weight", sample_weight, len(y), rescaled=True)
    check_weights(weights)
    if not np.any(weights > 0):
        raise ValueError(
            "sample_weight must be non-negative, with a positive sum, got zeros only."
        )
    return x, y, weights


def check_weights(weights: np.ndarray) -> None:
    """Refuse negative weights of samples."""
    if not np.all(weights >= 0):
        raise ValueError(
            "sample_weight must be non-negative, with a positive sum, got a least of "
            f"{np.min(weights)}."
        )


def check_samples(
    name: str, value: Any, samples: int, *, rescaled: bool = False
) -> np.ndarray:
    """An array of finite 64-bit floats, one for each sample.

    With `rescaled`, their squares may overflow or underflow.
    """
    array = real_numbers(name, of_all_processes(value))
    if array.shape != (samples,):
        raise ValueError(
            f"{name} must hold one number for each of the {samples} samples, got shape "
            f"{array.shape}."
        )
    if not rescaled:
        check_squares(name, array)
    elif not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, but has NaN or infinite entries.")
    return array


def check_squares(name: str, array: np.ndarray) -> None:
    """Refuse numbers that are not finite, or whose squares overflow or all underflow."""
    flat = array.ravel(order="K")
    # Not flat @ flat: the threads of BLAS stay busy for a while, which slows JAX's down.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = np.einsum("i,i", flat, flat, dtype=np.float64)
    _check_square(name, square, not np.any(flat))


def _check_sharded(name: str, x: ShardedFeatures) -> None:
    """The same of features on several devices."""
    with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
        square = np.sum(x.mean_squares(np.ones(x.shape[0]), None))
        largest = np.max(x.largest())
    _check_square(name, square, largest == 0)


def _check_square(name: str, square: float, is_zero: bool) -> None:
    if not np.isfinite(square) or (square < np.finfo(float).tiny and not is_zero):
        raise ValueError(
            f"{name} must be finite, and the sum of squares must neither overflow nor "
            "underflow: got NaN, infinity, or numbers too large or too small. Divide these "
            "by their standard deviation."
        )


def check_concrete(name: str, value: Any) -> None:
    """Refuse values that JAX traces.

    Raises:
        TypeError: If there is a tracer in it.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        raise TypeError(
            f"{name} must be known numbers, but JAX traces it (jit, vmap, grad, scan): "
            "paths and cross-validation choose features and programs by the data. Call "
            "them outside; or use `minimize`, with a loss such as `Squared`, which can "
            "be traced."
        )


def check_strengths(
    strengths: Any, above: float | None = None, name: str = "strengths"
) -> np.ndarray:
    """An array of finite numbers, greater than `above` or at least 0."""
    check_concrete(name, strengths)
    values = np.atleast_1d(np.asarray(strengths))
    check_numbers(name, values, above=above)
    if values.ndim != 1 or not values.size or not np.all(np.isfinite(values)):
        raise ValueError(
            f"{name} must be a number or a list of finite numbers, got shape "
            f"{values.shape}, up to {np.max(values, initial=0.0)}."
        )
    return values.astype(np.float64)


def check_penalty(penalty: Penalty, shape: tuple[int, ...]) -> None:
    """Refuse a penalty that does not act on the coefficients, which are one array.

    Raises:
        TypeError: If a strength is no number or array of numbers.
        ValueError: If its mask leaves the coefficients out.
    """
    check_concrete(type(penalty).__name__, penalty)
    chosen_arrays(np.zeros(shape), penalty.mask)
    for name in strength_fields(type(penalty)):
        if not is_real(value := getattr(penalty, name)):
            raise TypeError(
                f"{type(penalty).__name__}.{name} must be a number or an array of them "
                f"(coefficients are one array), got {value!r}."
            )


def real_numbers(name: str, value: Any, *, single: bool = False) -> np.ndarray:
    """A dense array of 64-bit floats; with `single`, one of 32 bits stays as it is.

    Raises:
        TypeError: If it is sparse, traced by JAX, or holds no real numbers.
    """
    if is_sparse(value):
        raise TypeError(
            f"{name} must be a dense array, got {type(value).__name__}: pass "
            f"{name}.toarray()."
        )
    check_concrete(name, value)
    array = np.asarray(value)
    # NumPy's dtype kinds do not cover bfloat16.
    if not (array.dtype == bool or is_real(array)):
        raise TypeError(f"{name} must hold real numbers, got an array of {array.dtype}.")
    keep = single and array.dtype == np.float32
    return array if keep else np.asarray(array, np.float64)
