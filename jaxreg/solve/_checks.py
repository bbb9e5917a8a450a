"""What is checked before a path is solved: data, strengths, penalties."""

from typing import Any

import numpy as np

from jaxreg._numbers import check_numbers, is_real
from jaxreg.masks import chosen_arrays
from jaxreg.penalties import Penalty
from jaxreg.penalties._fields import strength_fields


def check_data(x: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, Any]:
    """Arrays of 64-bit floats.

    Raises:
        TypeError: If they are sparse, complex or no numbers.
        ValueError: If shapes do not fit, or numbers are not finite.
    """
    x = _floats("x", x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            "x must be an array (samples, features) with one of each at least, got shape "
            f"{x.shape}."
        )
    _check_finite("x", x)
    y = check_samples("y", y, len(x))
    if sample_weight is None:
        return x, y, None
    weights = check_samples("sample_weight", sample_weight, len(x))
    if not (np.all(weights >= 0) and np.any(weights > 0)):
        raise ValueError(
            "sample_weight must be non-negative, with a positive sum, got a least of "
            f"{np.min(weights)} and a sum of {np.sum(weights)}."
        )
    return x, y, weights


def check_samples(name: str, value: Any, samples: int) -> np.ndarray:
    """An array of finite 64-bit floats, one for each sample."""
    array = _floats(name, value)
    if array.shape != (samples,):
        raise ValueError(
            f"{name} must hold one number for each of the {samples} samples, got shape "
            f"{array.shape}."
        )
    _check_finite(name, array)
    return array


def _check_finite(name: str, array: np.ndarray) -> None:
    flat = array.ravel(order="K")
    # Not flat @ flat: threads of BLAS stay awake for a while, and keep JAX's from working.
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.einsum("i,i", flat, flat)
    if not np.isfinite(square):
        raise ValueError(
            f"{name} must be finite, and so must the sum of squares: got NaN, infinity or "
            "numbers too large. Divide these by their size."
        )


def check_strengths(
    strengths: Any, above: float | None = None, name: str = "strengths"
) -> np.ndarray:
    """An array of finite numbers, greater than `above` or at least 0."""
    values = np.atleast_1d(np.asarray(strengths))
    check_numbers(name, values, above=above)
    if values.ndim != 1 or not values.size or not np.all(np.isfinite(values)):
        raise ValueError(
            f"{name} must be a number or a list of finite numbers, got shape "
            f"{values.shape}, up to {np.max(values, initial=0.0)}."
        )
    return values.astype(np.float64)


def check_penalty(penalty: Penalty, shape: tuple[int, ...]) -> None:
    """Refuse one that is not about all coefficients, which are one array.

    Raises:
        TypeError: If a strength is no number or array of numbers.
        ValueError: If the mask leaves the coefficients out.
    """
    chosen_arrays(np.zeros(shape), penalty.mask)
    for name in strength_fields(type(penalty)):
        if not is_real(value := getattr(penalty, name)):
            raise TypeError(
                f"{type(penalty).__name__}.{name} must be a number or an array of them "
                f"(coefficients are one array), got {value!r}."
            )


def _floats(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "tocsr") or hasattr(value, "todense"):
        raise TypeError(
            f"{name} must be a dense array, got {type(value).__name__}: pass "
            f"{name}.toarray()."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got an array of {array.dtype}.")
    return np.asarray(array, np.float64)
