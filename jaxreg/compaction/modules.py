"""Modules of nnx and Equinox with smaller layers, in place of a function."""

import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.compaction._same import difference
from jaxreg.compaction.compact import compact
from jaxreg.compaction.result import Compaction


def compact_module(
    module: Any, *inputs: Any, call: Callable[..., Any] | None = None
) -> tuple[Any, Compaction]:
    """Make a smaller module of an nnx or Equinox module with zeros: the same function.

    The arrays are those of `compact`, and the sizes that layers keep as numbers
    (`out_features`, `num_heads`, `groups`, ...) are those of the arrays. Then the module is
    called, and must give what it gave before. It does not where `compact` had to change
    more than arrays: where constants were added, or a LayerNorm of Equinox or a mean has
    fewer channels to divide by, or the module's own code uses a number for a length. That
    is an error: keep to the function that `compact` makes, which is right for all of them.

    Args:
        module: An `nnx.Module` or `equinox.Module`, as it is used at inference.
        *inputs: Example inputs, pytrees of arrays.
        call: `call(module, *inputs)`; by default `module(*inputs)`. For a module of single
            samples `lambda module, x: jax.vmap(module)(x)`.

    Returns:
        A new module, and the `Compaction`: print it for a table.

    Raises:
        TypeError: If the module is of another kind. For linen, define it anew with
            `features` of what `compact` returns.
        ValueError: If the smaller module would compute something else; and as `compact`.

    Example:
        >>> import equinox as eqx
        >>> mlp = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
        >>> first = mlp.layers[0]
        >>> mlp = eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[0].bias), mlp,
        ...                   (first.weight.at[:3].set(0), first.bias.at[:3].set(0)))
        >>> small, _ = compact_module(mlp, jnp.ones(2))
        >>> small.layers[0].weight.shape, small.layers[0].out_features
        ((1, 2), 1)
    """
    call = call or (lambda module, *inputs: module(*inputs))
    params, merge = _split(module)
    small = compact(lambda params, *inputs: call(merge(params), *inputs), params, *inputs)
    smaller = merge(small.params)
    for old, new in zip(_layers(module), _layers(smaller), strict=True):
        for name, size in _new_sizes(old, new).items():
            object.__setattr__(new, name, size)  # Fields of Equinox are frozen.
    for given in (inputs, _random(inputs)):
        expected = call(module, *given)
        try:
            found = call(smaller, *given)
        except Exception as error:
            raise ValueError(_REFUSAL.format(f"it fails with: {error}")) from error
        problem = difference(expected, found)
        if problem:
            raise ValueError(_REFUSAL.format(f"its results differ by {problem}"))
    return smaller, small


_REFUSAL = (
    "The smaller module must compute the same with its own code, but {}. Its code uses "
    "sizes that cannot be rewritten exactly. Use the function that jaxreg.compact makes: "
    "small = jaxreg.compact(fn, params, *inputs); small(small.params, *inputs)."
)


def _split(module: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The arrays of a module, and a function that makes a module of such arrays."""
    names = [f"{base.__module__}.{base.__name__}" for base in type(module).__mro__]
    if any(name.startswith("flax.nnx.") and name.endswith(".Module") for name in names):
        from flax import nnx

        graph, state = nnx.split(module)
        return state, lambda state: nnx.merge(graph, state)
    if any(name.startswith("equinox.") and name.endswith(".Module") for name in names):
        import equinox as eqx

        params, static = eqx.partition(module, eqx.is_array)
        return params, lambda params: eqx.combine(params, static)
    raise TypeError(
        f"compact_module needs a module of nnx or Equinox, got {type(module).__name__}. A "
        "linen module checks shapes: define it anew, with the features of "
        "jaxreg.compact(module.apply, params, *inputs).features."
    )


def _random(inputs: Any) -> Any:
    """Normal numbers for all floating-point inputs: examples may be zeros."""
    rng = np.random.default_rng(0)

    def draw(x: Any) -> Any:
        dtype = jnp.result_type(x)
        if not jnp.issubdtype(dtype, jnp.floating):
            return x
        return jnp.asarray(rng.standard_normal(np.shape(x)), dtype)

    return jax.tree.map(draw, inputs)


def _layers(module: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """A module and all that is in it, in the same order for the same structure."""
    seen = set() if seen is None else seen
    if isinstance(module, (dict, list, tuple)):
        parts = list(module.values() if isinstance(module, dict) else module)
    elif hasattr(module, "__dict__") and not hasattr(module, "shape"):
        if id(module) in seen:  # Modules of nnx may be shared, or know their parents.
            return
        seen.add(id(module))
        yield module
        own = {str(name): part for name, part in vars(module).items()}
        parts = [own[name] for name in sorted(own) if not name.startswith("_")]
    else:
        return
    for part in parts:
        if not isinstance(part, (type, types.FunctionType)):
            yield from _layers(part, seen)


# How layers name the sizes of their arrays. Of each rule for a name that one is used which
# gives the number that the layer had.


def _shape(layer: Any, *names: str) -> tuple[int, ...]:
    """The shape of the first of some arrays that a layer has."""
    for name in names:
        x = getattr(layer, name, None)
        if x is not None:
            return tuple(x.shape)
    return ()


def _kernel(layer: Any) -> tuple[int, ...]:
    return _shape(layer, "kernel")


def _weight(layer: Any) -> tuple[int, ...]:
    return _shape(layer, "weight")


def _scale(layer: Any) -> tuple[int, ...]:
    return _shape(layer, "scale", "bias", "mean", "weight")


Rule = Callable[[Any], Any]
RULES: Mapping[str, tuple[Rule, ...]] = {
    "in_features": (
        lambda x: _kernel(x)[-2],
        lambda x: _weight(x)[1],
        lambda x: _shape(x.query, "kernel")[0],
        lambda x: _kernel(x)[: len(x.in_features)],
    ),
    "out_features": (
        lambda x: _kernel(x)[-1],
        lambda x: _weight(x)[0],
        lambda x: _shape(x.out, "kernel")[-1],
        lambda x: _kernel(x)[-len(x.out_features) :],
    ),
    "features": (lambda x: _shape(x, "embedding")[-1],),
    "embedding_size": (lambda x: _weight(x)[1],),
    "num_features": (lambda x: _scale(x)[-1],),
    "kernel_shape": (_kernel,),
    "in_channels": (lambda x: _weight(x)[1],),
    "out_channels": (lambda x: _weight(x)[0],),
    "channels": (lambda x: _weight(x)[0],),
    "shape": (_weight,),
    "input_size": (lambda x: _shape(x, "weight_ih")[1],),
    "hidden_size": (lambda x: _shape(x, "weight_hh")[1],),
    "in_kv_features": (lambda x: _shape(x.key, "kernel")[0],),
    "qkv_features": (lambda x: math.prod(_shape(x.query, "kernel")[-2:]),),
    "num_heads": (lambda x: _shape(x.query, "kernel")[-2],),
    "num_kv_heads": (lambda x: _shape(x.key, "kernel")[-2],),
}


def _new_sizes(old: Any, new: Any) -> dict[str, Any]:
    """The numbers of a layer that its smaller arrays change."""
    found: dict[str, Any] = {}
    for name, rules in RULES.items():
        for rule in rules if name in vars(old) else ():
            try:
                before, after = rule(old), rule(new)
            except (AttributeError, IndexError, TypeError):
                continue
            if before == getattr(old, name):
                found[name] = after
                break
    return found
