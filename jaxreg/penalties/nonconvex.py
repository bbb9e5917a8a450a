"""Penalties that stop growing: exact zeros without shrinking what is large.

L1 makes zeros, but shrinks every weight. These penalties are flat for large
weights: what is kept is kept whole. The cost is convexity: a solution found is a local
one.

Each prox is the *global* minimiser of its one-dimensional problem, at every step. For long
steps a penalty is more concave than the proximal term is convex, and the prox jumps. Such
steps are routine under Adam, whose metric makes the step of a weight with small gradients
as long as it likes.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import times
from jaxreg._checks import Scalar
from jaxreg.operators import abs_zero_subgradient, hard_threshold, soft_threshold
from jaxreg.penalties.entrywise import L2, Entrywise
from jaxreg.penalties.fields import ONE, StrengthField, constant


class L0(Entrywise):
    """The number of weights that are not zero.

        strength · #{w ≠ 0}

    Its gradient is zero everywhere; only the prox sees it, hard-thresholding at
    √(2·step·strength).

    Args:
        strength: The penalty of one weight. Non-negative number, array or pytree prefix.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> L0(0.5)(jnp.array([3.0, 0.0, -0.5]))
        Array(1., dtype=float32)
        >>> L0(0.5).prox(jnp.array([3.0, 1.1, -0.9]))
        Array([3. , 1.1, 0. ], dtype=float32)

    References:
        Blumensath and Davies, *Iterative thresholding for sparse approximations* (2008),
        section 2.
    """

    is_convex = False

    strength: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        return times(self.strength, jnp.where(jnp.isnan(x), x, (x != 0).astype(x.dtype)))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        return hard_threshold(x, _root_of_twice(times(self.strength, step)))

    def slope_at_zero(self) -> Scalar:
        return jnp.where(jnp.asarray(self.strength) > 0, jnp.inf, 0.0)


class L0L2(Entrywise):
    """A penalty for every weight that is not zero, and decay of those that are not.

        l0 · #{w ≠ 0} + l2 · Σ w²        (no half)

    L0 alone overfits where signals are weak: it keeps what it keeps whole. A little L2
    mends that.

    Args:
        l0: The penalty of one weight. Non-negative number, array or pytree prefix.
        l2: Likewise, of the squares.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a strength is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN.

    Example:
        >>> L0L2(l0=0.5, l2=0.5)(jnp.array([2.0, 0.0]))
        Array(2.5, dtype=float32)
        >>> L0L2(l0=0.5, l2=0.5).prox(jnp.array([3.0, 1.3]))
        Array([1.5, 0. ], dtype=float32)

    References:
        Hazimeh and Mazumder, *Fast best subset selection* (2020), section 1.
    """

    is_convex = False

    l0: StrengthField = ONE
    l2: StrengthField = ONE

    def entry_value(self, x: Array) -> Array:
        return L0(self.l0).entry_value(x) + L2(self.l2).entry_value(x)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        shrinkage = 1 + 2 * times(self.l2, step)
        jump = times(_root_of_twice(times(self.l0, step)), jnp.sqrt(shrinkage))
        return hard_threshold(x, jump) / shrinkage

    def slope_at_zero(self) -> Scalar:
        return L0(self.l0).slope_at_zero()


def _root_of_twice(level: Any) -> Array:
    """√(2·level), where 2·level may be too large for a number."""
    return 2 * jnp.sqrt(jnp.asarray(level) / 2)


class MCP(Entrywise):
    """The minimax concave penalty: L1 near zero, flat beyond gamma · strength.

        Σ  strength·|w| − w²/(2·gamma)    where |w| ≤ gamma·strength
           gamma·strength²/2              beyond

    As gamma grows it becomes L1; as gamma goes to 0 its prox becomes hard thresholding.

    Args:
        strength: Slope at zero. Non-negative number, array or pytree prefix.
        gamma: How far it bends, in units of the strength; above 0.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `gamma` not above 0.

    Example:
        >>> MCP(1.0, gamma=2.0)(jnp.array([1.0, -5.0]))
        Array(1.75, dtype=float32)
        >>> MCP(1.0, gamma=2.0).prox(jnp.array([0.9, 1.5, -5.0]))
        Array([ 0.,  1., -5.], dtype=float32)

        With steps of `gamma` and more, the prox jumps:

        >>> MCP(1.0, gamma=2.0).prox(jnp.array([2.8, 2.9]), step=4.0)
        Array([0. , 2.9], dtype=float32)

    References:
        Zhang, *Nearly unbiased variable selection under minimax concave penalty* (2010),
        section 2; the jump from comparing the objective at 0 and at x.
    """

    is_convex = False

    strength: StrengthField = ONE
    gamma: Scalar = constant(default=3.0, above=0.0)

    def entry_value(self, x: Array) -> Array:
        absolute = jnp.minimum(abs_zero_subgradient(x), self.gamma * self.strength)
        return times(self.strength - absolute / self.gamma / 2, absolute)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        bends = step < self.gamma
        short = jnp.where(bends, step, 0.0)
        # A firm threshold, as the operator of this name; no product here is too large.
        soft = soft_threshold(x, times(self.strength, short))
        bent = soft * (self.gamma / (self.gamma - short))
        bent = jnp.where(jnp.abs(x) <= self.strength * self.gamma, bent, x)
        jump = self.strength * (jnp.sqrt(self.gamma) * jnp.sqrt(step))
        return jnp.where(bends, bent, hard_threshold(x, jump))

    def slope_at_zero(self) -> Scalar:
        return self.strength


class SCAD(Entrywise):
    """The smoothly clipped absolute deviation: L1, then a bend, then flat.

        Σ  strength·|w|                                       where |w| ≤ strength
           (2a·strength·|w| − w² − strength²)/(2(a − 1))      where |w| ≤ a·strength
           strength²·(a + 1)/2                                beyond

    Args:
        strength: Slope at zero. Non-negative number, array or pytree prefix.
        a: Where it becomes flat, in units of the strength; above 2.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `a` not above 2.

    Example:
        >>> SCAD(1.0, a=3.0)(jnp.array([1.0, -5.0]))
        Array(3., dtype=float32)
        >>> SCAD(1.0, a=3.0).prox(jnp.array([0.5, 1.5, 2.5, 4.0]))
        Array([0. , 0.5, 2. , 4. ], dtype=float32)

    References:
        Fan and Li, *Variable selection via nonconcave penalized likelihood* (2001),
        section 2; for steps of a − 1 and more from comparing the branches.
    """

    is_convex = False

    strength: StrengthField = ONE
    a: Scalar = constant(default=3.7, above=2.0)

    def entry_value(self, x: Array) -> Array:
        absolute, knee = abs_zero_subgradient(x), self.strength
        bent = jnp.clip(absolute - knee, 0.0, (self.a - 1) * knee)
        straight = times(knee, jnp.minimum(absolute, knee))
        return straight + times(knee - bent / (self.a - 1) / 2, bent)

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        absolute, knee, a = jnp.abs(x), self.strength, self.a
        soft = soft_threshold(x, knee * step)
        # Below a − 1 the middle branch holds a minimum. From there on it holds a maximum,
        # and the prox jumps from the first branch to the last.
        bends = step < a - 1
        short = jnp.where(bends, step, 0.0)
        pull = short * knee * (a / (a - 1))
        middle = (x - jnp.sign(x) * pull) * ((a - 1) / (a - 1 - short))
        bent = jnp.where(absolute <= (1 + step) * knee, soft, middle)
        bent = jnp.where(absolute <= a * knee, bent, x)
        far = jnp.sqrt(step) * jnp.sqrt(a + 1)
        jump = knee * jnp.where(step <= a + 1, (a + 1) / 2 + step / 2, far)
        return jnp.where(bends, bent, jnp.where(absolute <= jump, soft, x))

    def slope_at_zero(self) -> Scalar:
        return self.strength


class CappedL1(Entrywise):
    """L1 up to a cap: every weight beyond it is penalised the same.

        strength · Σ min(|w|, cap)

    Args:
        strength: Slope at zero. Non-negative number, array or pytree prefix.
        cap: The absolute value above which weights are not shrunk; above 0.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If a number is not real or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN, or `cap` not above 0.

    Example:
        >>> CappedL1(0.5, cap=2.0)(jnp.array([1.0, -5.0]))
        Array(1.5, dtype=float32)
        >>> CappedL1(0.5, cap=2.0).prox(jnp.array([0.3, -1.5, 2.3]))
        Array([ 0. , -1. ,  2.3], dtype=float32)

    References:
        Zhang, *Analysis of multi-stage convex relaxation for sparse regularization*
        (2010), section 2; the prox from comparing the branches.
    """

    is_convex = False

    strength: StrengthField = ONE
    cap: Scalar = constant(default=1.0, above=0.0)

    def entry_value(self, x: Array) -> Array:
        return times(self.strength, jnp.minimum(abs_zero_subgradient(x), self.cap))

    def entry_prox(self, x: Array, step: Scalar) -> Array:
        level = jnp.asarray(times(self.strength, step))
        far = _root_of_twice(level) * jnp.sqrt(self.cap)
        jump = jnp.where(level <= 2 * self.cap, self.cap + level / 2, far)
        return jnp.where(jnp.abs(x) <= jump, soft_threshold(x, level), x)

    def slope_at_zero(self) -> Scalar:
        return self.strength
