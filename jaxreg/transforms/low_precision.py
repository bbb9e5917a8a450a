"""Steps that low-precision parameters are too coarse to take."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._dtypes import promoted, raise_precision, rounded, spacing
from jaxreg._tree import Leaf, Params, check_distinct, leaves_of
from jaxreg.transforms._arguments import check_arguments
from jaxreg.transforms._lift import check_params
from jaxreg.transforms._nesting import warn_of_threshold_after_adaptive
from jaxreg.transforms._states import CompensatedState, unused

# A remainder counts 65,536ths of the spacing of the parameter's dtype.
_PARTS = 2.0**16


def with_kahan_compensation(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Make every step count in bf16 and f16: steps, decay and zeros as in float32.

    bfloat16 has 8 digits, so a step below 1/512 of a weight rounds to none at all: decay
    by 0.001 · 0.1 leaves all weights as they are for ever, and L1 never reaches zero. This
    wrapper keeps what rounding leaves out, 16 bits for each weight, in its state:

        w ← the parameter + its remainder         in float32
        w ← w + u                                 u: the optimizer's update at w
        parameter ← w rounded to its dtype;  remainder ← w − parameter

    The optimizer inside computes in float32, with float32 gradients and moments; what
    leaves are float32 or float64 already passes through. The weights are those of
    training in float32, at the memory of float32 weights, while the model computes in its
    own dtype; only a step that is longer than the weight is itself rounded, to the digits
    of the dtype of the updates. Exact zeros stay exact. Nothing is random (unlike in
    stochastic rounding), and no second copy can disagree with parameters that are changed
    from outside.

    Put it around the whole optimizer, decay and proximal step included. Around the last
    link of a chain it saves the update of that link, while the optimizer before it works in
    low precision. Nothing may scale or clip the updates after it; `optax.MultiSteps`
    and `optax.apply_if_finite` go around it.

    Args:
        optimizer: Any finished optimizer, or a transform that ends a chain.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `optimizer` is no finished optimizer.
        ValueError: When used, if `params` is missing.

    Warns:
        UserWarning: If a proximal step comes after an adaptive optimizer inside.

    Example:
        A decay by 0.001 in a step does nothing in bf16 otherwise:

        >>> decayed = with_decay(optax.sgd(0.01), 0.1, learning_rate=0.01)
        >>> optimizer = with_kahan_compensation(decayed)
        >>> w = jnp.array([1.0, 3.0], jnp.bfloat16)
        >>> state = optimizer.init(w)
        >>> for _ in range(1000):
        ...     updates, state = optimizer.update(jnp.zeros_like(w), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> w.astype(jnp.float32) / jnp.array([1.0, 3.0])  # 0.999¹⁰⁰⁰ = 0.3677
        Array([0.367..., 0.367...], dtype=float32)

    References:
        Zamirai et al., *Revisiting bfloat16 training* (2020), section 4 (Kahan
        summation), with the remainder in fixed point.
    """
    check_arguments(with_kahan_compensation, optimizer=optimizer)
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Params) -> CompensatedState:
        tree, rebuilt = leaves_of(params), jax.tree.structure(params).unflatten
        check_distinct(tree)
        exact = [raise_precision(x.value) if _is_narrow(x) else x.value for x in tree]
        remainders = [
            jnp.zeros_like(x.value, jnp.int16) if _is_narrow(x) else unused(x) for x in tree
        ]
        state = inner.init(rebuilt(exact))
        warn_of_threshold_after_adaptive(state)
        return CompensatedState(rebuilt(remainders), state)

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, CompensatedState]:
        params = check_params(params, updates)
        tree, structure = leaves_of(params), jax.tree.structure(params)
        given = structure.flatten_up_to(updates)
        remainders = structure.flatten_up_to(state.remainders)
        exact = [leaf.value for leaf in tree]
        raised = list(given)
        narrow = [i for i, leaf in enumerate(tree) if _is_narrow(leaf)]
        moving = [i for i in narrow if given[i] is not None]
        for i in narrow:
            exact[i] = _with_remainder(exact[i], remainders[i])
        for i in moving:
            raised[i] = raise_precision(given[i])
        stepped, inner_state = inner.update(
            structure.unflatten(raised),
            state.inner,
            structure.unflatten(exact),
            **extra_args,
        )
        moved = structure.flatten_up_to(stepped)
        for i in moving:
            dtype = promoted(tree[i].value.dtype, given[i].dtype)
            step = _split(tree[i].value, exact[i] + moved[i], dtype)
            moved[i], remainders[i] = step
        return structure.unflatten(moved), CompensatedState(
            structure.unflatten(remainders), inner_state
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _is_narrow(leaf: Leaf) -> bool:
    """Whether a leaf is a parameter of fewer digits than float32."""
    return (
        leaf.is_parameter
        and jnp.issubdtype(leaf.value.dtype, jnp.floating)
        and jnp.finfo(leaf.value.dtype).bits < 32
    )


def _with_remainder(parameter: Array, remainder: Array) -> Array:
    """The weight that a parameter and its remainder stand for, in float32."""
    p = raise_precision(parameter)
    return p + remainder.astype(p.dtype) * (spacing(p, parameter.dtype) / _PARTS)


def _split(parameter: Array, target: Array, dtype: Any) -> tuple[Array, Array]:
    """The update, in `dtype`, that brings a parameter near a weight, and what remains.

    The remainder is counted from where the parameter lands when the update is added to it
    in `dtype`, which for steps longer than the weight may not be its nearest neighbour.
    """
    p = raise_precision(parameter)
    update = rounded(target, parameter.dtype) - p
    if jnp.finfo(dtype).bits < 32:
        update = rounded(update, dtype)
    landed = rounded(p + update, parameter.dtype)
    parts = jnp.round((target - landed) * (_PARTS / spacing(landed, parameter.dtype)))
    remainder = jnp.clip(parts, -_PARTS / 2, _PARTS / 2 - 1)
    return update.astype(dtype), remainder.astype(jnp.int16)
