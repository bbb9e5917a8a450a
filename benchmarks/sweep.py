"""Claim: a sweep of 32 strengths takes at most 1/1.7 of 32 jitted trainings in a loop.

And 1/4.4 of 32 loops over minibatches with a jitted step, and 1/15 of the same loops in
PyTorch (of which one is timed; left out if it is not installed). One network on
scikit-learn's digits, 64-64-10, Adam with L1: `python benchmarks/sweep.py`. All are warm;
compilations are timed apart. On a CPU every core is a device of a mesh for the sweep: a
batch in one device keeps only part of them busy. The cores must be idle otherwise. On
accelerators the mesh is of all of them, and PyTorch computes on CUDA.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _measure import interleaved, is_cpu, print_environment, print_ratios
from sklearn.datasets import load_digits

import jaxreg as jr

LEARNING_RATE, HIDDEN, BATCH = 3e-3, 64, 128
MAXIMUM, RATIO = 1e-2, 1e-3
PYTORCH = "loop over PyTorch steps"


def load() -> tuple[np.ndarray, np.ndarray]:
    pixels, digits = map(np.asarray, load_digits(return_X_y=True))
    return (pixels / 16).astype(np.float32), digits.astype(np.int32)


def start(hidden: int) -> dict[str, Any]:
    first, second = jax.random.split(jax.random.key(0))
    he = jax.nn.initializers.he_normal()
    return {
        "first": {"kernel": he(first, (64, hidden)), "bias": jnp.zeros(hidden)},
        "second": {"kernel": he(second, (hidden, 10)), "bias": jnp.zeros(10)},
    }


def loss(params: Any, pixels: jax.Array, digits: jax.Array) -> jax.Array:
    hidden = pixels @ params["first"]["kernel"] + params["first"]["bias"]
    scores = jax.nn.relu(hidden) @ params["second"]["kernel"] + params["second"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, digits).mean()


def step(strength: Any, carry: Any, pixels: jax.Array, digits: jax.Array) -> Any:
    """One step of Adam in its own metric, with L1 of a strength."""
    params, state = carry
    optimizer = jr.prox_adam(LEARNING_RATE, jr.L1(strength))
    gradients = jax.grad(loss)(params, pixels, digits)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state


def begin(params: Any) -> Any:
    return params, jr.prox_adam(LEARNING_RATE, jr.L1(0.0)).init(params)


def train(strength: Any, data: Any) -> Any:
    """A whole training run, in one program."""
    params, pixels, digits, batches = data

    def body(carry: Any, batch: jax.Array) -> tuple[Any, None]:
        return step(strength, carry, pixels[batch], digits[batch]), None

    (params, _), _ = jax.lax.scan(body, begin(params), batches)
    return {"params": params, "zeros": jr.sparsity(params)}


def in_steps(
    strengths: np.ndarray, data: Any, donate: tuple[int, ...] = ()
) -> Callable[[], Any]:
    """The usual Python loop: a jitted step for each minibatch, cut out by numpy."""
    jitted = jax.jit(step, donate_argnums=donate)
    params, pixels, digits, batches = data
    pixels, digits = np.asarray(pixels), np.asarray(digits)

    def run() -> None:
        for strength in strengths:
            carry = jax.tree.map(jnp.copy, begin(params))
            for batch in batches:
                carry = jitted(strength, carry, pixels[batch], digits[batch])
            jax.block_until_ready(carry)

    return run


def in_torch(strengths: np.ndarray, data: Any) -> Callable[[], Any] | None:
    """The same loop in PyTorch, with L1 in the loss; one strength stands for all."""
    try:
        import torch
    except ImportError:
        return None
    device = "cpu" if is_cpu() else "cuda"
    params, *arrays = jax.tree.map(lambda x: np.array(x), data)
    pixels, digits, batches = (torch.from_numpy(array).to(device) for array in arrays)
    digits, batches = digits.long(), batches.long()
    hidden = params["first"]["bias"].size

    def run() -> None:
        model = torch.nn.Sequential(
            torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)
        ).to(device)
        optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        kernels = [weight for weight in model.parameters() if weight.ndim == 2]
        for batch in batches:
            optimizer.zero_grad()
            objective = torch.nn.functional.cross_entropy(
                model(pixels[batch]), digits[batch]
            )
            for kernel in kernels:
                objective = objective + float(strengths[0]) * kernel.abs().sum()
            objective.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strengths", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=HIDDEN)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    # Read when JAX first looks for devices.
    cores = f"--xla_force_host_platform_device_count={os.cpu_count()}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {cores}"
    print_environment()
    mesh = jax.make_mesh((len(jax.devices()),), ("runs",))

    pixels, digits = load()
    shape = options.steps, BATCH
    batches = np.random.default_rng(0).integers(0, len(digits), shape, np.int32)
    data = (start(options.hidden), jnp.asarray(pixels), jnp.asarray(digits), batches)
    strengths = np.asarray(jr.strength_grid(MAXIMUM, options.strengths, RATIO))
    whole = jax.jit(train)

    def swept() -> Any:
        return jr.sweep(train, strengths, data=data, mesh=mesh)

    def in_runs() -> Any:
        return [jax.block_until_ready(whole(strength, data)) for strength in strengths]

    runs: dict[str, Callable[[], Any]] = {
        "sweep": swept,
        "sweep on one device": lambda: jr.sweep(train, strengths, data=data),
        "loop over jitted runs": in_runs,
        "loop over jitted steps": in_steps(strengths, data),
        "the same, state donated": in_steps(strengths, data, donate=(1,)),
        "one run": lambda: jax.block_until_ready(whole(strengths[0], data)),
    }
    if (torch_run := in_torch(strengths, data)) is not None:
        runs[PYTORCH] = torch_run

    for name in ("sweep", "one run"):
        before = time.perf_counter()
        runs[name]()
        print(f"first {name}, with compilation: {time.perf_counter() - before:.2f} s")
    seconds = interleaved(runs, options.rounds)
    if PYTORCH in seconds:
        seconds[PYTORCH] = [options.strengths * one for one in seconds[PYTORCH]]
    title = (
        f"{options.strengths} strengths, {options.steps} steps, {options.hidden} hidden "
        f"units, on {jax.devices()[0].device_kind}"
    )
    print_ratios(title, seconds, "sweep")
    units = [a / b for a, b in zip(seconds["sweep"], seconds["one run"], strict=True)]
    print(f"the sweep costs {statistics.median(units):.1f} times one run")
    alone = np.array([float(run["zeros"]) for run in in_runs()])
    apart = np.max(np.abs(swept().results["zeros"] - alone))
    print(f"largest difference in the share of exact zeros: {apart:.1%}")


if __name__ == "__main__":
    main()
