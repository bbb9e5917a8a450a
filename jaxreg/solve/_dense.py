"""A path on the Gram matrix of all features, for as many as it can hold."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.solve._gaps import duality_gaps
from jaxreg.solve._homotopy import Quadratic, Solution, follow
from jaxreg.solve._pivots import Basis, fresh
from jaxreg.solve._standardize import on_host

BLOCK = 16
SIZES = (16, 64, 128, 256, 512, 768, 1024)
"""Numbers of features that programs are compiled for; matrices are padded to them."""


class Moments(NamedTuple):
    """Mean products of features, of features and target, and of the target."""

    gram: np.ndarray
    correlations: np.ndarray
    square: float


def moments(xt: Any, y: Any) -> Moments:
    """Those of features as rows."""
    samples = len(y)
    if on_host(xt.size):
        gram, along = _products(np.asarray(xt), np.asarray(y))
    else:
        gram, along = map(np.asarray, _compiled_products(xt, y))
    return Moments(gram / samples, along / samples, float(y @ y) / samples)


def _products(xt: Any, y: Any) -> tuple[Any, Any]:
    return xt @ xt.T, xt @ y


_compiled_products = jax.jit(_products)


@functools.partial(jax.jit, static_argnums=4)
def _follow(
    problem: Quadratic, basis: Basis, before: Solution, strengths: Any, anew: bool
) -> Any:
    if anew:
        basis = fresh(problem.gram + jnp.diag(2 * strengths[-1] * problem.l2))
    return follow(problem, basis, before, strengths, len(strengths))


def dense_path(
    known: Moments,
    factors: tuple[np.ndarray, np.ndarray],
    positive: bool,
    strengths: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients at falling strengths, an array (strengths, features), and their gaps.

    The gaps are relative to the mean square of the target.
    """
    size = len(known.correlations)
    slots = next((s for s in SIZES if s >= size), size)
    pad = (0, slots - size)
    arrays = (
        np.pad(known.gram, (pad, pad)),
        np.pad(known.correlations, pad),
        np.pad(factors[0], pad, constant_values=1),
        np.pad(factors[1], pad),
        positive,
    )
    problem = Quadratic(*map(jnp.asarray, arrays))
    line = jnp.zeros(slots)
    before = Solution(jnp.asarray(strengths[0]), line, line)
    parts, basis = [], fresh(problem.gram)
    ridged = bool(np.any(factors[1] > 0))
    for start in range(0, len(strengths), BLOCK):
        block = strengths[start : start + BLOCK]
        block = np.pad(block, (0, BLOCK - len(block)), mode="edge")
        found = _follow(problem, basis, before, block, ridged)
        basis = found.basis
        before = Solution(jnp.asarray(block[-1]), found.w[-1], found.signs[-1])
        parts.append(np.asarray(found.w)[:, :size])
    w = np.concatenate(parts)[: len(strengths)]
    return w, dense_gaps(known, factors, positive, strengths, w)


def dense_gaps(
    known: Moments, factors: Any, positive: bool, strengths: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """Duality gaps of coefficients, relative to the mean square of the target."""
    image = w @ known.gram
    c = known.correlations - image
    explained = w @ known.correlations
    squares = known.square - 2 * explained + np.sum(w * image, axis=1)
    sizes = np.abs(w) @ factors[0] + w**2 @ factors[1]
    pull = np.maximum(c, 0.0) if positive else np.abs(c)
    along = known.square - explained
    gaps = duality_gaps(sizes, pull, squares, along, factors, strengths, np)
    return gaps / known.square if known.square > 0 else np.zeros(len(w))
