"""The scales by which optimizers divide their steps, read from their states."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._tree import Params
from jaxreg.transforms._lift import is_number

Metric = Callable[[Any], Params]
"""From an optimizer's new state to the scales d of its step, a pytree or a scalar."""

Chosen = Callable[[Params], Params]
"""Takes the leaves that nobody asks for out of a pytree like the parameters."""


def with_metric(
    scaler: Any, metric: Metric | None
) -> tuple[optax.GradientTransformationExtraArgs, Callable[[Any, Chosen], Params]]:
    """A scaling and the function from its state to its metric at chosen leaves."""
    if isinstance(scaler, optax.GradientTransformation):
        if metric is None:
            raise ValueError(
                "A finished transformation needs `metric=`, a function from its state to "
                "the scales d of its step m/d; or pass the function that makes it, such as "
                "functools.partial(optax.scale_by_rms, decay=0.9). For an optimizer whose "
                "step is not of that form (Lion, Muon, ...) use orthant_wise."
            )
        return optax.with_extra_args_support(scaler), lambda state, _: metric(state)
    call = scaler if isinstance(scaler, partial) else partial(scaler)
    if metric is None and call.func not in _METRICS:
        known = ", ".join(sorted(function.__name__ for function in _METRICS))
        raise ValueError(
            f"The metric of {getattr(call.func, '__name__', call.func)!r} is not known. "
            f"Pass one of optax's functions {known}, or give `metric=`, a function from "
            "its state to the scales d of its step m/d. For an optimizer whose step is not "
            "of that form (Lion, Muon, ...) use orthant_wise."
        )
    scaling = optax.with_extra_args_support(scaler())
    if metric is not None:
        return scaling, lambda state, _: metric(state)
    bound = inspect.signature(call.func).bind(*call.args, **call.keywords)
    bound.apply_defaults()

    def of_known(state: Any, chosen: Chosen) -> Params:
        moments = {
            name: chosen(x) for name, x in state._asdict().items() if name != "count"
        }
        # Optax multiplies floats and counts, which JAX's strict mode forbids.
        with jax.numpy_dtype_promotion("standard"):
            return _METRICS[call.func](state._replace(**moments), **bound.arguments)

    return scaling, of_known


def _rooted(squares: Params, eps: Scalar, eps_root: Scalar = 0.0) -> Params:
    def rooted(v: Array) -> Array:
        return jnp.sqrt(v if is_number(eps_root, 0) else v + eps_root) + eps

    return jax.tree.map(rooted, squares)


def _adam(state: Any, *, b2: Scalar, eps: Scalar, eps_root: Scalar, **_: Any) -> Params:
    return _rooted(optax.tree.bias_correction(state.nu, b2, state.count), eps, eps_root)


def _amsgrad(state: Any, *, eps: Scalar, eps_root: Scalar, **_: Any) -> Params:
    return _rooted(state.nu_max, eps, eps_root)


def _belief(state: Any, *, b2: Scalar, eps: Scalar, **_: Any) -> Params:
    return _rooted(optax.tree.bias_correction(state.nu, b2, state.count), eps)


def _rms(
    state: Any,
    *,
    decay: Scalar,
    eps: Scalar,
    eps_in_sqrt: bool,
    bias_correction: bool,
    **_: Any,
) -> Params:
    def unbiased(moment: Params) -> Params:
        if not bias_correction:
            return moment
        return optax.tree.bias_correction(moment, decay, state.count)

    squares = unbiased(state.nu)
    if hasattr(state, "mu"):  # scale_by_stddev
        squares = jax.tree.map(lambda n, m: n - m**2, squares, unbiased(state.mu))
    return _rooted(squares, 0.0, eps) if eps_in_sqrt else _rooted(squares, eps)


def _rss(state: Any, *, eps: Scalar, **_: Any) -> Params:
    return _rooted(state.sum_of_squares, 0.0, eps)


_METRICS: dict[Any, Callable[..., Params]] = {
    optax.identity: lambda state: 1.0,
    optax.scale_by_adam: _adam,
    optax.scale_by_adamax: lambda state, **_: state.nu,
    optax.scale_by_amsgrad: _amsgrad,
    optax.scale_by_belief: _belief,
    optax.scale_by_rms: _rms,
    optax.scale_by_rss: _rss,
    optax.scale_by_stddev: _rms,
    optax.scale_by_yogi: _adam,
    optax.trace: lambda state, decay, **_: 1.0 - decay,
}
