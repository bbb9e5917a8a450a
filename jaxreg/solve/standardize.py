"""Data as the solvers want it: features as rows, centred, weighted, in one precision."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
    root = None if weights is None else _roots(weights)
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


def _roots(weights: np.ndarray) -> np.ndarray:
    """Roots of weights with mean one."""
    # Weights may be so large that their sum is not a float.
    weights = np.ldexp(weights, -np.frexp(np.max(weights))[1])
    return np.sqrt(weights * (len(weights) / np.sum(weights)))


def _orthonormal(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis of columns, and coefficients on them of what it spans.

    Raises:
        ValueError: If the columns depend on each other.
    """
    q, r = np.linalg.qr(columns)
    size = np.abs(np.diag(r))
    norms = np.linalg.norm(columns, axis=0)
    # More columns than samples depend on each other, too.
    if len(size) < len(norms) or np.any(size <= 1e-12 * norms):
        raise ValueError(
            "Features without a penalty must not depend on each other (nor be constant, "
            "beside an intercept): their coefficients are not unique. Penalise them."
        )
    return q, np.linalg.inv(r)


def _project(x: Any, root: Any, q: Any, standardize: bool, xp: Any = np) -> Any:
    """Features as rows, less their parts in the span of q; these parts; and scales."""
    xt = x.T if root is None else x.T * root[None]
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
