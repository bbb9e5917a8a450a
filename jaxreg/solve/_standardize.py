"""Data as the solvers want it: features as rows, centred, weighted, in one precision."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._numbers import check_numbers, is_real
from jaxreg.masks import chosen_arrays
from jaxreg.penalties import Penalty
from jaxreg.penalties._fields import strength_fields

SMALL = 2**16
"""Fewer numbers than this are prepared by numpy, which compiles nothing."""
GONE = 1e-13
"""Of a feature or the target less than this share is left by rounding alone."""
PART, COLUMNS = 2**16, 512
"""So many numbers are prepared at a time, and so many columns copied."""


def on_host(size: int) -> bool:
    """Whether numpy prepares so many numbers: if they are few, or JAX has no accelerator.

    It works in place and, of a matrix with its own transpose, computes half.
    """
    return size < SMALL or jax.default_backend() == "cpu"


def empty(shape: tuple[int, ...]) -> np.ndarray:
    """Doubles in memory that JAX can read where it is, for it begins at 64 bytes."""
    size = int(np.prod(shape))
    room = np.empty(size + 7)
    first = -room.ctypes.data % 64 // room.itemsize
    return room[first : first + size].reshape(shape)


def copied(array: np.ndarray) -> np.ndarray:
    """A matrix in such memory, whatever its order was."""
    made = empty(array.shape)
    for start in range(0, array.shape[1], COLUMNS):
        part = slice(start, start + COLUMNS)
        made[:, part] = array[:, part]
    return made


def shared(array: Any) -> Any:
    """A matrix for JAX, not to be written to: on a CPU in memory that both use.

    What is not where JAX can read it is copied here: JAX itself takes four times as long.
    """
    if isinstance(array, np.ndarray) and array.size >= SMALL:
        ready = array.ctypes.data % 64 == 0 and array.flags.c_contiguous
        array = array if ready else copied(array)
    return jax.device_put(array, may_alias=True)


class Prepared(NamedTuple):
    """Data of the penalised problem, and the way back to the coefficients that are asked.

    Attributes:
        xt: Features as rows, without what `free` ones explain, times roots of the weights.
        y: The target, likewise.
        scale: What each feature was divided by.
        slopes: Coefficients of the features on what nothing is paid for (ones if there is
            an intercept, and features): an array (columns, features).
        start: Those of the target.
    """

    xt: Any
    y: Any
    scale: np.ndarray
    slopes: np.ndarray
    start: np.ndarray

    def back(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients in the units of the data, and those of the free columns."""
        if self.scale.size:
            w = w / self.scale
        return w, self.start - w @ self.slopes.T


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


def prepare(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    *,
    intercept: bool,
    standardize: bool,
    free: np.ndarray,
) -> Prepared:
    """Take out the intercept and free features, and bring features to one scale."""
    samples, features = x.shape
    root = None if weights is None else np.sqrt(weights * (samples / np.sum(weights)))
    columns = [np.ones(samples)] if intercept else []
    columns += list(x[:, free].T)
    outside = np.stack(columns, 1) if columns else np.zeros((samples, 0))
    if root is not None:
        outside, y = outside * root[:, None], y * root
    q, r = _orthonormal(outside)
    if columns or root is not None or standardize:
        project = _project_by_parts if on_host(x.size) else _projected
        xt, inside, scale = project(x, root, q, standardize)
    else:
        xt, inside, scale = x.T, np.zeros((0, features)), np.ones(0)
    along = q.T @ y
    raw, y = np.linalg.norm(y), y - q @ along
    y -= q @ (q.T @ y)
    y *= np.linalg.norm(y) > GONE * raw
    return Prepared(xt, y, np.asarray(scale), r @ np.asarray(inside), r @ along)


def _orthonormal(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis of columns, and coefficients on them of what it spans.

    Raises:
        ValueError: If the columns depend on each other.
    """
    q, r = np.linalg.qr(columns)
    size = np.abs(np.diag(r))
    if np.any(size <= 1e-12 * np.linalg.norm(columns, axis=0)):
        raise ValueError(
            "Features without a penalty must not depend on each other (nor be constant, "
            "beside an intercept): their coefficients are not unique. Penalise them."
        )
    return q, np.linalg.inv(r)


def _project(x: Any, root: Any, q: Any, standardize: bool, xp: Any = np) -> Any:
    """Features as rows, less their parts in the span of q; these parts; and scales."""
    xt = x.T if root is None else x.T * root
    raw = _norms(xt, xp)
    inside = xt @ q
    xt = xt - inside @ q.T
    again = xt @ q
    xt -= again @ q.T
    left = _norms(xt, xp)
    # What rounding leaves of a feature that the others explain is no feature.
    gone = left <= GONE * raw
    scale = xp.where(gone, 1.0, left / len(q) ** 0.5) if standardize else xp.ones(0)
    xt *= xp.where(gone, 0.0, 1 / scale if standardize else 1.0)[:, None]
    return xt, (inside + again).T, scale


def _project_by_parts(x: Any, root: Any, q: Any, standardize: bool) -> Any:
    """The same, of a few features at a time, which are in a cache then."""
    xt = copied(x.T)
    width = max(PART // len(x), 1)
    found = []
    for start in range(0, len(xt), width):
        part = slice(start, start + width)
        xt[part], *others = _project(xt[part].T, root, q, standardize)
        found.append(others)
    insides, scales = zip(*found, strict=True)
    return xt, np.concatenate(insides, axis=1), np.concatenate(scales)


def _norms(rows: Any, xp: Any) -> Any:
    return xp.sqrt(xp.einsum("ij,ij->i", rows, rows))


_projected = jax.jit(functools.partial(_project, xp=jnp), static_argnums=3)
