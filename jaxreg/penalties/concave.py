"""Penalties that grow ever more slowly: between L1, which shrinks, and L0, which counts.

Each prox is the global minimiser of its one-dimensional problem, at every step, found by
comparing the stationary point of larger absolute value with zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._arithmetic import times
from jaxreg._checks import Scalar, is_concrete
from jaxreg.operators import abs_zero_subgradient
from jaxreg.penalties.entrywise import Entrywise
from jaxreg.penalties.fields import ONE, StrengthField, constant


class LogSum(Entrywise):
    """The sum of logarithms: ever flatter, between L1 and L0.

        strength · Σ log(1 + |w|/scale)

    Args:
        strength: Non-negative number, array or pytree prefix; the slope at zero is
            strength/scale.
        scale: The absolute value at which it begins to flatten; above 0.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `scale` not above 0.

    Example:
        >>> print(f"{LogSum(1.0, scale=1.0)(jnp.array([1.0, 0.0])):.4f}")
        0.6931
        >>> [round(float(w), 3) for w in LogSum(1.0).prox(jnp.array([0.9, 3.0]))]
        [0.0, 2.732]

    References:
        Candès, Wakin and Boyd, *Enhancing sparsity by reweighted ℓ1 minimization* (2008),
        section 2.2; the prox from the larger root of (z − x)(z + scale) + strength = 0.
    """

    is_convex = False

    strength: StrengthField = ONE
    scale: Scalar = constant(default=1.0, above=0.0)

    def entry_value(self, x: Array) -> Array:
        return times(self.strength, _log1p_ratio(abs_zero_subgradient(x), self.scale))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        """|x| − t, where t is the smaller root of  t² − (|x| + scale)·t + level = 0.

        With h = (|x| + scale)/2 that is t = (level/h)/(1 + √(1 − level/h²)), a formula in
        which nothing cancels. Zero is better if  level·log(1 + z/scale) ≥ (x² − t²)/2,
        which is z·(|x| − z/2) for z = |x| − t.
        """
        absolute, level = jnp.abs(x), times(self.strength, step)
        half = absolute / 2 + self.scale / 2
        slope = level / half
        bend = slope / half
        # Where there is no root everything is removed; 1 keeps the derivative finite.
        root = jnp.sqrt(jnp.where(bend < 1, 1 - bend, 1.0))
        kept = absolute - slope / (1 + root)
        found = jnp.where(kept > 0, kept, 1.0)
        cost = level * (_log1p_ratio(found, self.scale) / found)
        removed = (
            (bend >= 1) | (kept <= 0) | (cost >= absolute - found / 2)
        )  # False for NaN
        return jnp.where(removed, 0.0, jnp.sign(x) * kept)

    def slope_at_zero(self) -> Scalar:
        return self.strength / self.scale


def _log1p_ratio(x: Array, scale: Scalar) -> Array:
    """log(1 + x/scale) for x ≥ 0, also where x/scale is too large for a number."""
    is_large = x / scale > 1 / jnp.finfo(x.dtype).eps
    large = jnp.log(jnp.where(is_large, x, 1.0)) - jnp.log(scale)
    return jnp.where(is_large, large, jnp.log1p(jnp.where(is_large, 0.0, x / scale)))


class LHalf(Entrywise):
    """The sum of square roots: sparser than L1, with a closed prox.

        strength · Σ √|w|

    Its slope at zero is infinite: zero is always a local minimum.

    Args:
        strength: Non-negative number, array or pytree prefix.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> LHalf(0.5)(jnp.array([4.0, 0.0]))
        Array(1., dtype=float32)
        >>> [round(float(w), 3) for w in LHalf(1.0).prox(jnp.array([1.4, 4.0]))]
        [0.0, 3.742]

    References:
        Xu, Chang, Xu and Zhang, *L1/2 regularization: a thresholding representation
        theory and a fast solver* (2012), theorem 1, there without the ½.
    """

    is_convex = False

    strength: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        absolute = abs_zero_subgradient(x)
        positive = absolute > 0
        root = jnp.sqrt(jnp.where(positive, absolute, 1.0))
        return times(self.strength, jnp.where(positive, root, absolute))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        absolute, level = jnp.abs(x), jnp.asarray(times(self.strength, step), x.dtype)
        unpenalised = level == 0
        root = jnp.cbrt(jnp.where(unpenalised, 1.0, level))
        ratio = root / jnp.where(absolute == 0, 1.0, absolute) * root
        removed = (
            (ratio >= 2 / 3) | (absolute == 0)
        ) & ~unpenalised  # False for NaN, which stays
        ratio = jnp.where(removed | unpenalised, 0.0, ratio)
        angle = jnp.arccos(-0.75 * jnp.sqrt(3.0) * ratio**1.5)
        return jnp.where(removed, 0.0, 2 / 3 * x * (1 + jnp.cos(2 / 3 * angle)))

    def slope_at_zero(self) -> Scalar:
        return jnp.where(jnp.asarray(self.strength) > 0, jnp.inf, 0.0)


class Lp(Entrywise):
    """The sum of powers below one, the bridge between L1 and L0.

        strength · Σ |w|^p,    0 < p ≤ 1

    `p = 1` is `L1`, `p = ½` is `LHalf` (which has a closed form, and no p to choose), and
    `p = ⅔` is the prior of natural images' gradients. Below 1 the slope at zero is
    infinite: zero is always a local minimum.

    Args:
        strength: Non-negative number, array or pytree prefix.
        p: The power; above 0, at most 1. Not scaled by `penalty * c`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `p` not between 0 and 1.

    Example:
        >>> Lp(0.5, p=0.5)(jnp.array([4.0, 0.0]))
        Array(1., dtype=float32)
        >>> [round(float(w), 3) for w in Lp(1.0, p=2 / 3).prox(jnp.array([1.4, 4.0]))]
        [0.0, 3.564]

    References:
        Frank and Friedman, *A statistical view of some chemometrics regression tools*
        (1993), section 5; Marjanovic and Solo, *On ℓq optimization and matrix completion*
        (2012), theorem 1, for the jump.
    """

    is_convex = False

    strength: StrengthField = ONE
    p: Scalar = constant(default=2 / 3, above=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for p in jax.tree.leaves(self.p):
            if is_concrete(p) and np.any(np.asarray(p) > 1):
                raise ValueError(
                    f"Lp.p must be at most 1, got {p}. Beyond 1 nothing becomes zero: for "
                    "small weights use L2."
                )

    def entry_value(self, x: Array) -> Array:
        absolute = abs_zero_subgradient(x)
        positive = absolute > 0
        power = jnp.where(positive, absolute, 1.0) ** self.p
        return times(self.strength, jnp.where(positive, power, absolute))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        """|x|·k, where k is the larger root of  k − 1 + p·ratio^(2 − p)·k^(p − 1) = 0.

        The ratio is level^(1/(2 − p))/|x|: no power in it is too large or too small.
        """
        absolute, level = jnp.abs(x), jnp.asarray(times(self.strength, step), x.dtype)
        p, unpenalised = self.p, level == 0
        length = jnp.where(unpenalised, 1.0, level) ** (1 / (2 - p))
        ratio = length / jnp.where(absolute == 0, 1.0, absolute)
        jump = (2 - p) / (2 * (1 - p)) ** ((1 - p) / (2 - p))
        removed = (
            (ratio * jump >= 1) | (absolute == 0)
        ) & ~unpenalised  # False for NaN, which stays
        is_still = removed | unpenalised
        pull = jnp.where(is_still, 0.0, p * jnp.where(is_still, 1.0, ratio) ** (2 - p))
        kept = jnp.ones_like(absolute)
        for _ in range(_NEWTON_STEPS):
            excess = kept - 1 + pull * kept ** (p - 1)
            kept = kept - excess / (1 - (1 - p) * pull * kept ** (p - 2))
        return jnp.where(unpenalised, x, jnp.where(removed, 0.0, x * kept))

    def slope_at_zero(self) -> Scalar:
        strength = jnp.asarray(self.strength)
        return jnp.where((strength > 0) & (jnp.asarray(self.p) < 1), jnp.inf, strength)


# From |x|, which lies above the root of a convex increasing function, so that no step
# passes the root; 6 reach the precision of float64 for all p.
_NEWTON_STEPS = 6
