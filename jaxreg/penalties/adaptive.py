"""Strengths from a first fit: the adaptive lasso and its relatives."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxreg._arithmetic import times
from jaxreg._checks import Scalar, check_number
from jaxreg._prefixes import nested, values_at
from jaxreg._tree import Params
from jaxreg.penalties.base import Penalty, Sum, check_is_penalty

P = TypeVar("P", bound=Penalty)


def adaptive(penalty: P, params: Params, gamma: Scalar = 1.0, *, eps: Scalar = 0.0) -> P:
    """A penalty that shrinks small weights of a first fit more than large ones.

        strengthᵢ = strength / (|wᵢ| + eps)^gamma          for L1, ElasticNet's l1, ...
        strength_g = strength / (‖w_g‖₂ + eps)^gamma       for group penalties

    With a consistent first fit (least squares, ridge, a lasso chosen by cross-validation)
    a second fit with these strengths finds the right support and does not shrink what is
    large: the oracle property, by convex problems alone. Strengths of squares (`l2`) stay
    as they are.

    Args:
        penalty: `L1`, `NonNegativeL1`, `ElasticNet`, `GroupLasso`, `SparseGroupLasso`, a
            sum of these, or a penalty of your own with `array_norms`.
        params: The first fit w, a pytree of parameters.
        gamma: The power; above 0. 1 is usual, and 2 after a poor first fit.
        eps: Added to the norms. With 0, what the first fit made exactly zero gets an
            infinite strength and stays out for good.

    Returns:
        A penalty of the same kind, with a strength per coordinate or per group.

    Raises:
        TypeError: If `penalty` has no strengths that can adapt, or a number is none.
        ValueError: If `gamma` is not above 0 or `eps` is negative.

    Example:
        >>> second = adaptive(L1(0.1), jnp.array([2.0, 0.1, 0.0]))
        >>> second.prox(jnp.array([2.0, 0.9, 5.0]))
        Array([1.95, 0.  , 0.  ], dtype=float32)

    References:
        Zou, *The adaptive lasso and its oracle properties* (2006), section 3; Wang and
        Leng, *A note on adaptive group lasso* (2008), section 2; Zou and Zhang, *On the
        adaptive elastic-net* (2009), section 2.
    """
    check_is_penalty(penalty)
    check_number("gamma", gamma, above=0.0)
    check_number("eps", eps)
    if isinstance(penalty, Sum):
        terms = (adaptive(term, params, gamma, eps=eps) for term in penalty.terms)
        return penalty.replace(terms=tuple(terms))
    bound = penalty.bind(params)
    values = [leaf.value for leaf in bound.tree]
    factors: dict[str, dict[int, Any]] = {}
    for block in bound.blocks:
        for name, norms in block.term.array_norms(block.arrays(values)).items():
            for i, part in zip(block.indices, jax.tree.leaves(norms), strict=True):
                factors.setdefault(name, {})[i] = jnp.power(part + eps, -gamma)
    scaled: dict[str, Any] = {}
    for name, own in factors.items():
        needed = [i in own for i in range(len(bound.tree))]
        what = f"{type(penalty).__name__}.{name}"
        strengths = values_at(
            getattr(penalty, name), bound.tree, needed, what, by_pattern=True
        )
        scaled[name] = nested(
            {bound.tree[i].names: times(strengths[i], factor) for i, factor in own.items()}
        )
    return penalty.replace(**scaled)
