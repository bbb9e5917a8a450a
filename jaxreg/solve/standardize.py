"""Data for the exact solvers: features as rows, centred, weighted and standardized."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg.solve.sparse import is_sparse, project_sparse

SMALL = 2**16
"""Arrays of fewer numbers are prepared by NumPy, which compiles nothing."""
BLOCK, COLUMNS = 2**16, 512
"""How many numbers are projected at a time, so that they stay in the cache; and how many
columns are copied at a time."""


def on_host(size: int) -> bool:
    """Whether NumPy prepares an array: if it is small, or JAX has no accelerator.

    NumPy works in place, and computes only half of a matrix times its own transpose.
    """
    return size < SMALL or jax.default_backend() == "cpu"


def _row_major(array: np.ndarray) -> np.ndarray:
    """A copy of a matrix in row-major order, made a few columns at a time."""
    copy = np.empty(array.shape)
    for start in range(0, array.shape[1], COLUMNS):
        part = slice(start, start + COLUMNS)
        copy[:, part] = array[:, part]
    return copy


class Prepared(NamedTuple):
    """The data of the penalised features alone, and how to undo the preparation.

    Attributes:
        xt: Features as rows, an array (features, samples): times the roots of the weights,
            projected onto the complement of the unpenalised columns (ones if there is an
            intercept, and the unpenalised features), divided by `scale`. Of sparse features
            a `Projected`.
        y: The target, weighted and projected likewise.
        scale: What each feature was divided by; empty if nothing.
        slopes: Least-squares coefficients of the features on the unpenalised columns, an
            array (columns, features).
        target_slopes: Those of the target, an array (columns,).
    """

    xt: Any
    y: Any
    scale: np.ndarray
    slopes: np.ndarray
    target_slopes: np.ndarray

    def restored(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the original features, and of the unpenalised columns."""
        if self.scale.size:
            active = np.flatnonzero(np.any(w != 0, axis=0))
            w[:, active] /= self.scale[active]
        return w, self.target_slopes - w @ self.slopes.T


def prepare(
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    *,
    intercept: bool,
    standardize: bool,
    unpenalised: np.ndarray,
) -> Prepared:
    """Project out the intercept and unpenalised features, and standardize the others.

    The penalty does not depend on what is projected out, so minimising over it first
    (least squares) leaves the same problem with projected features and target.

    Raises:
        ValueError: If the unpenalised features depend on each other.
    """
    samples, features = x.shape
    root = None if weights is None else _roots(weights)
    columns = [np.ones(samples)] if intercept else []
    others = x[:, unpenalised]
    columns += list((others.toarray() if is_sparse(x) else others).T)
    outside = np.stack(columns, 1) if columns else np.zeros((samples, 0))
    if root is not None:
        outside, y = outside * root[:, None], y * root
    q, r_inverse = _orthonormal(outside)
    if is_sparse(x):
        xt, inside, scale = project_sparse(x, root, q, standardize)
    elif columns or root is not None or standardize:
        project = _project_by_blocks if on_host(x.size) else _compiled_project
        xt, inside, scale = project(x, root, q, standardize)
    else:
        xt, inside, scale = x.T, np.zeros((0, features)), np.ones(0)
    along = q.T @ y
    raw, y = np.linalg.norm(y), y - q @ along
    y -= q @ (q.T @ y)
    # Zero, if nothing but rounding errors is left of it.
    y *= np.linalg.norm(y) > ROUNDING * raw
    slopes, target_slopes = r_inverse @ np.asarray(inside), r_inverse @ along
    return Prepared(xt, y, np.asarray(scale), slopes, target_slopes)


def _roots(weights: np.ndarray) -> np.ndarray:
    """Square roots of the weights, scaled to mean one."""
    # Scaled first: the sum of large weights overflows.
    weights = np.ldexp(weights, -np.frexp(np.max(weights))[1])
    return np.sqrt(weights * (len(weights) / np.sum(weights)))


def _orthonormal(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The QR decomposition of columns: q, and the inverse of r.

    Raises:
        ValueError: If the columns depend on each other.
    """
    q, r = np.linalg.qr(columns)
    diagonal = np.abs(np.diag(r))
    norms = np.linalg.norm(columns, axis=0)
    # More columns than samples always depend on each other.
    if len(diagonal) < len(norms) or np.any(diagonal <= 1e-12 * norms):
        raise ValueError(
            "Unpenalised features must not depend on each other (nor be constant, with an "
            "intercept): their coefficients are not unique. Penalise them."
        )
    return q, np.linalg.inv(r)


def _project(x: Any, root: Any, q: Any, standardize: bool, xp: Any = np) -> Any:
    """Features as rows without their parts in the span of q, these parts, and scales."""
    xt = x.T if root is None else x.T * root[None]
    raw = _norms(xt, xp)
    inside = xt @ q
    xt = xt - inside @ q.T
    # Twice is enough: the second projection removes the rounding errors of the first.
    again = xt @ q
    xt -= again @ q.T
    norms = _norms(xt, xp)
    gone = norms <= ROUNDING * raw
    scale = xp.where(gone, 1.0, norms / len(q) ** 0.5) if standardize else xp.ones(0)
    xt *= xp.where(gone, 0.0, 1 / scale if standardize else 1.0)[:, None]
    return xt, (inside + again).T, scale


def _project_by_blocks(x: Any, root: Any, q: Any, standardize: bool) -> Any:
    """`_project` for a few features at a time, which stay in the cache."""
    xt = _row_major(x.T)
    width = max(BLOCK // len(x), 1)
    parts = []
    for start in range(0, len(xt), width):
        block = slice(start, start + width)
        xt[block], *others = _project(xt[block].T, root, q, standardize)
        parts.append(others)
    insides, scales = zip(*parts, strict=True)
    return xt, np.concatenate(insides, axis=1), np.concatenate(scales)


def _norms(rows: Any, xp: Any) -> Any:
    return xp.sqrt(xp.einsum("ij,ij->i", rows, rows))


_compiled_project = jax.jit(functools.partial(_project, xp=jnp), static_argnums=3)
