"""A path over few features: all of them are looked at."""

import jax.numpy as jnp
import numpy as np

from jaxreg.solve.gaps import Factors, relative_gaps
from jaxreg.solve.lasso._homotopy import Quadratic, Solution, follow
from jaxreg.solve.lasso._pivots import fresh
from jaxreg.solve.lasso._sources import Moments

BLOCK = 16
SIZES = (16, 64, 128, 256)
"""Numbers of features that programs are compiled for; matrices are padded to them."""


def dense_path(
    known: Moments, factors: Factors, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients at falling strengths, an array (strengths, features), and their gaps.

    The gaps are relative to the mean square of the target.
    """
    l1, l2, positive = factors
    size, ridged = len(l1), l2 is not None
    slots = next(s for s in SIZES if s >= size)
    pad = (0, slots - size)
    arrays = (
        np.pad(known.gram, (pad, pad)),
        np.pad(known.correlations, pad),
        np.pad(l1, pad, constant_values=1),
        np.pad(l2, pad) if ridged else np.zeros(slots),
        positive,
    )
    problem = Quadratic(*map(jnp.asarray, arrays))
    line = jnp.zeros(slots)
    before = Solution(jnp.asarray(strengths[0]), line, line)
    parts, basis = [], fresh(problem.gram)
    for start in range(0, len(strengths), BLOCK):
        block = strengths[start : start + BLOCK]
        block = np.pad(block, (0, BLOCK - len(block)), mode="edge")
        found = follow(problem, basis, before, block, BLOCK, ridged)
        basis = found.basis
        before = Solution(jnp.asarray(block[-1]), found.w[-1], found.signs[-1])
        parts.append(np.asarray(found.w)[:, :size])
    w = np.concatenate(parts)[: len(strengths)]
    return w, relative_gaps(known, w, strengths, factors)
