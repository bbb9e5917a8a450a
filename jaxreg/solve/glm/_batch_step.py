"""Quadratic models with an L1 term, many of them at once: see `_lasso_step` for one.

For fixed signs a model is minimised by one linear system; its solution is projected onto
these signs, and zeros that violate the optimality conditions enter. From a good start few
rounds end this. It may cycle, so models that have not ended after some rounds are left to
`lasso_step`, which cannot.

Shapes: B problems, p coefficients.
"""

import numpy as np

from jaxreg.solve.glm._lasso_step import DAMPING, lasso_step

_ROUNDS = 12


def lasso_steps(
    h: np.ndarray,
    gradient: np.ndarray,
    w: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    tol: np.ndarray,
) -> np.ndarray:
    """The minimisers z of gradient·(z − w) + ½(z − w)ᵀh(z − w) + Σ l1·|z| + ½ Σ l2·z².

    Args:
        h: Hessians, an array (B, p, p).
        gradient: The gradients at `w`, without the terms in l1 and l2, an array (B, p).
        w: The starts, an array (B, p).
        l1: An array (B, p); 0 for an unpenalised coefficient.
        l2: An array (B, p).
        tol: The largest violations of the optimality conditions to accept, an array (B,).
    """
    z, left = w.copy(), np.arange(len(w))
    for _ in range(_ROUNDS):
        step = z[left] - w[left]
        g = (
            gradient[left]
            + np.matmul(h[left], step[..., None])[..., 0]
            + l2[left] * z[left]
        )
        off = ~(violations(z[left], g, l1[left]) <= tol[left])  # NaN is off, too.
        left, g = left[off], g[off]
        if not left.size:
            return z
        z[left] = _projected(h[left], g, z[left], l1[left], l2[left])
    for b in left:
        z[b] = lasso_step(h[b], gradient[b], w[b], l1[b], l2[b], tol[b])
    return z


def violations(z: np.ndarray, gradient: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """The largest violation of the optimality conditions, an array (B,).

    Args:
        z: Coefficients, an array (B, p).
        gradient: Of the smooth part, l2 included, an array (B, p).
        l1: An array (B, p).
    """
    finite = np.where(np.isinf(l1), 0.0, l1)
    off = np.maximum(abs(gradient) - l1, 0.0)
    on = abs(gradient + finite * np.sign(z))
    return np.max(np.where(z == 0, off, on), axis=1, initial=0.0)


def _projected(
    h: np.ndarray, g: np.ndarray, z: np.ndarray, l1: np.ndarray, l2: np.ndarray
) -> np.ndarray:
    """Newton steps in the active coefficients; those that would cross zero become zero."""
    active = (z != 0) | (abs(g) > l1) | (l1 == 0)
    sign = np.where(z != 0, np.sign(z), -np.sign(g))
    target = np.where(active, -g - np.where(active, l1, 0.0) * sign, 0.0)
    matrix = h * (active[:, :, None] & active[:, None, :])
    diagonal = np.einsum("bii->bi", matrix)
    damping = np.where(diagonal > 0, DAMPING * diagonal, 1.0)
    diagonal += np.where(active, l2, 0.0) + damping
    try:
        d = np.linalg.solve(matrix, target[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.full_like(z, np.nan)
    return np.where((l1 > 0) & ((z + d) * sign <= 0), 0.0, z + d)
