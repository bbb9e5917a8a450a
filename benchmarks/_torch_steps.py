"""PyTorch's AdamW with a soft-threshold loop, for comparison."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from _measure import is_cpu
from _subjects import LEARNING_RATE


def torch_runs(params: Any, steps: int) -> dict[str, Callable[[], None]]:
    """Runs of some steps, none if PyTorch is not there or not for this device."""
    try:
        import torch
    except ImportError:
        return {}
    if not is_cpu() and not torch.cuda.is_available():
        return {}
    device = "cpu" if is_cpu() else "cuda"
    shapes = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(params)]

    def stepping(threshold: float, **kind: bool) -> Callable[[], None]:
        weights = [
            torch.full(shape, 0.1, dtype=getattr(torch, dtype), device=device)
            for shape, dtype in shapes
        ]
        for weight in weights:
            weight.grad = torch.full_like(weight, 0.01)
        adamw: Any = torch.optim.AdamW
        optimizer = adamw(weights, lr=LEARNING_RATE, **kind)
        kernels = [weight for weight in weights if weight.ndim > 1]

        def run() -> None:
            with torch.no_grad():
                for _ in range(steps):
                    optimizer.step()
                    if threshold:
                        for w in kernels:
                            w.sub_(w.clamp(-threshold, threshold))
            if device == "cuda":
                torch.cuda.synchronize()

        run()
        return run

    threshold = float(np.float32(1e-4 * LEARNING_RATE))
    return {
        "torch AdamW fused": stepping(0.0, fused=True),
        "torch AdamW fused, threshold": stepping(threshold, fused=True),
        "torch AdamW foreach, threshold": stepping(threshold, foreach=True),
    }
