"""Duality gaps: upper bounds on objective − minimum.

For a linear model with loss f(η) and penalty R, any slopes u bound the minimum from below
(Fenchel):

    f(η) + R(w)  ≥  −f*(u) − R*(−xᵀu)

Here u are the slopes at w, scaled down until R* is finite. The difference is computed as
two sums of non-negative terms, which stay exact when targets are large:

    (f(η) + f*(u) − u·η)  +  (R(w) + R*(−xᵀu) + xᵀu·w)
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import quotient
from jaxreg._checks import Scalar
from jaxreg._tree import Params
from jaxreg.losses.linear import LinearLoss, beside_samples
from jaxreg.penalties import L2, ElasticNet, Entrywise, Penalty


def duality_gap(loss: object, penalty: Penalty, params: Params) -> Array:
    """An upper bound on objective − minimum.

    Args:
        loss: The loss; bounds are known for a `LinearLoss` that has conjugates.
        penalty: A norm or squares or both on the kernel, and nothing on the intercept.
        params: Where to look.

    Returns:
        A scalar, in units of the objective; infinity where no bound is known (unpenalised
        weights, or slopes whose squares underflow). It is the absolute value of the
        computed difference: a negative one shows rounding of that size.
    """
    unknown = jnp.full((), jnp.inf)
    if not isinstance(loss, LinearLoss):
        return unknown
    bound = penalty.bind(params)
    tree, blocks = bound.tree, bound.blocks
    kernel = next(i for i, leaf in enumerate(tree) if leaf.names != ("bias",))
    if [block.indices for block in blocks] != [(kernel,)]:
        return unknown
    term = blocks[0].term
    if not (term.is_norm or type(term) in (L2, ElasticNet)):
        return unknown
    predictor = loss.predictor(params)
    slopes = loss.sample_slopes(predictor)
    if len(tree) > 1:  # The intercept is unpenalised: the mean of the slopes must be zero.
        slopes = loss.balanced(slopes)
    pull = loss.pullback(slopes)["kernel"]
    excess = _excess(term, pull)
    scale = 1 / jnp.maximum(excess, 1.0)
    rest = loss.mean(loss.sample_gaps(predictor, scale * slopes))
    weights = penalty(params) + _conjugate(term, scale * pull)
    gap = jnp.abs(rest + weights + scale * jnp.sum(pull * tree[kernel].value))
    largest, info = jnp.max(jnp.abs(slopes)), jnp.finfo(slopes.dtype)
    underflows = (largest > 0) & (largest < (info.tiny / info.eps) ** 0.5)
    return jnp.where(underflows | jnp.isinf(excess), jnp.inf, gap)


def null_loss(loss: object, params: Params) -> Array:
    """The loss of a constant predictor, above its smallest possible value.

    Gaps are compared with it. The constant is the mean of the linear predictor if there is
    an intercept, and 0 otherwise.

    Args:
        loss: The loss; 0 if it is no `LinearLoss`.
        params: Where to look.

    Returns:
        A scalar.
    """
    if not isinstance(loss, LinearLoss):
        return jnp.zeros(())
    predictor = loss.predictor(params)
    constant = jnp.zeros_like(predictor)
    if isinstance(params, Mapping) and "bias" in params:
        constant = beside_samples(jnp.add, constant, loss.pullback(predictor)["bias"])
    return loss.mean(loss.sample_gaps(constant, jnp.zeros_like(constant)))


def _excess(term: Penalty, pull: Array) -> Array:
    """The smallest c for which R*(pull/c) is finite."""
    if not term.is_norm:
        l1, l2 = _strengths(term)
        return jnp.max(jnp.where(l2 > 0, 0.0, quotient(jnp.abs(pull), l1)))
    critical = term.array_critical_scale(pull)
    if isinstance(term, Entrywise):  # Unpenalised weights need not be at their optimum.
        return jnp.where(jnp.min(jnp.asarray(term.slope_at_zero())) > 0, critical, jnp.inf)
    return critical


def _conjugate(term: Penalty, pull: Array) -> Scalar:
    """R*(pull), where it is finite."""
    if term.is_norm:
        return 0.0
    l1, l2 = _strengths(term)
    squares = jnp.square(jnp.maximum(jnp.abs(pull) - l1, 0.0)) / (4 * l2)
    return jnp.sum(jnp.where(l2 > 0, squares, 0.0))


def _strengths(term: Penalty) -> tuple[Array, Array]:
    """l1 and l2 of a term l1·Σ |w| + l2·Σ w²."""
    if isinstance(term, ElasticNet):
        return jnp.asarray(term.l1), jnp.asarray(term.l2)
    assert isinstance(term, L2)
    return jnp.zeros(()), jnp.asarray(term.strength)
