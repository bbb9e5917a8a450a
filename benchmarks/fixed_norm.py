"""Claim: fixed norms cost what sums over the update cost, and a step of Muon 1.05 ×.

The optimizer alone, without a model, jitted with donated buffers, on stacked square
matrices: `python benchmarks/fixed_norm.py`. `--clock process` counts the time on all cores
without that of other processes, for a shared machine.

The rows "by hand" are the least that can be done after Adam in plain JAX on arrays, for the
one shape here: no masks, no state, no rounding is corrected. XLA for CPUs writes one array
in a pass. Adam moves ten of them through memory: three for each moment, four for the
weights. What needs a sum of the update before it can be used stores it:

* one sum: 13 (three to make the update, one to sum it, three for the weights);
* three sums, of ‖u‖², ⟨W, u⟩ and R² − ‖W‖²: 14 in one pass, which `with_fixed_norm` makes
  too, and 18 in three, for which XLA stores the update twice;
* spectral norms: 15, and two for each round of power iteration, of W as of u.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _measure import interleaved, print_environment, print_ratios, repeated

import jaxreg as jr

AXES = (-2, -1)


def muon(rate: float) -> optax.GradientTransformation:
    def dimensions(params: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(*AXES), params)

    return optax.contrib.muon(rate, muon_weight_dimension_numbers=dimensions)


def by_hand(finish: Callable[[Any, Any], Any]) -> optax.GradientTransformation:
    """Adam, and `finish(w, u)` of its updates."""
    adam = optax.adam(1e-3)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        updates, state = adam.update(updates, state)
        return jax.tree.map(finish, params, updates), state

    return optax.GradientTransformation(adam.init, update)


def norm(x: Any) -> Any:
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=AXES, keepdims=True))


def one_sum(w: Any, u: Any) -> Any:
    """A step of the right length, which leaves the sphere."""
    return u * (0.01 * w.shape[-1] / norm(u))


def three_sums(w: Any, u: Any) -> Any:
    def total(x: Any) -> Any:
        return jnp.sum(x, axis=AXES, keepdims=True)

    count = w.shape[-1] ** 2  # R², as the weights are of size 1.
    scale = 0.01 * jnp.sqrt(count / total(u * u))
    added = scale * (2 * total(w * u) + scale * total(u * u)) - total(1 - w * w)
    back = jnp.sqrt(count / (count + added)) - 1
    return w * back + u * (scale + scale * back)


def one_round(w: Any, u: Any) -> Any:
    """Spectral norms by one round each, from vectors that do not change."""

    def sigma(x: Any) -> Any:
        left = jnp.sum(x, axis=-1, keepdims=True)
        return norm(jnp.sum(x * left, axis=-2, keepdims=True)) / norm(left)

    radius = 2 * w.shape[-1] ** 0.5
    reached = w + u * (0.01 * radius / sigma(u))
    return reached * (radius / sigma(reached)) - w


def optimizers() -> dict[str, optax.GradientTransformation]:
    fixed = jr.decay.with_fixed_norm
    adam, decay = optax.adam(1e-3), jr.decay.spectral_decay
    return {
        "adam": adam,
        "adamw": optax.adamw(1e-3),
        "by hand, one sum": by_hand(one_sum),
        "by hand, three sums": by_hand(three_sums),
        "AdamH": fixed(adam, 0.01, matrix_axes=AXES),
        "AdamH, arc": fixed(adam, 0.01, matrix_axes=AXES, path="arc"),
        "by hand, one round": by_hand(one_round),
        "AdamH, spectral": fixed(adam, 0.01, matrix_axes=AXES, norm="spectral"),
        "adam, spectral_decay": optax.chain(
            adam, decay(0.1, learning_rate=1e-3, matrix_axes=AXES)
        ),
        "muon": muon(1e-3),
        "MuonH": fixed(muon(1.0), 0.01, matrix_axes=AXES),
        "MuonH, spectral": fixed(muon(1.0), 0.01, matrix_axes=AXES, norm="spectral"),
    }


def stepping(
    optimizer: optax.GradientTransformation, params: Any, steps: int
) -> Callable[[], None]:
    """A run of some donated steps on its own copy of the parameters."""
    gradients = jax.tree.map(lambda w: 0.01 * w[::-1], params)

    def step(carry: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    carry = jax.tree.map(lambda w: w + 0, params), optimizer.init(params)
    return repeated(jax.jit(step, donate_argnums=0), carry, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=("wall", "process"), default="wall")
    parser.add_argument("--rows", nargs="*", help="only these optimizers")
    options = parser.parse_args()
    print_environment()
    shape = options.layers, options.width, options.width
    params = {"kernel": jax.random.normal(jax.random.key(0), shape)}
    runs = {
        name: stepping(optimizer, params, options.steps)
        for name, optimizer in optimizers().items()
        if not options.rows or name in options.rows
    }
    clock = time.process_time if options.clock == "process" else time.perf_counter
    seconds = interleaved(runs, options.rounds, clock)
    title = f"{options.layers} matrices of {options.width} × {options.width}, float32"
    baselines = [name for name in ("adam", "muon") if name in runs]
    print_ratios(title, seconds, *baselines, steps=options.steps)


if __name__ == "__main__":
    main()
