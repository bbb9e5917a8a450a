"""Moments of rows that eight devices, or two processes, hold a part of.

`python -m tests.helpers.moments` prints differences from the moments of the whole, as JSON;
with `port rank`, in one of two processes of `jax.distributed`.
"""

import json
import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from jaxreg.solve import Moments


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5)).astype(np.float32)
    return x, rng.standard_normal(64).astype(np.float32), rng.random(64)


def difference(found, expected):
    pairs = zip(vars(found).values(), vars(expected).values(), strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)


def on_a_mesh(mesh):
    """With x, y and weights sharded over rows, and x alone."""
    x, y, weights = data()
    with jax.enable_x64(True):
        split = [jax.device_put(part, NamedSharding(mesh, P("data"))) for part in data()]
    expected = Moments.of(x, y, weights)
    found = {"all": difference(Moments.of(*split), expected)}
    if jax.process_count() == 1:
        found["x alone"] = difference(Moments.of(split[0], y, weights), expected)
        copies = jax.device_put(x, NamedSharding(mesh, P()))
        found["copies"] = difference(Moments.of(copies, y, weights), expected)
    return found


def main():
    if len(sys.argv) > 1:
        port, rank = sys.argv[1:]
        jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
        json.dump(on_a_mesh(Mesh(jax.devices(), ("data",))), sys.stdout)
        return
    report: Any = on_a_mesh(Mesh(jax.devices(), ("data",)))
    # Programs that read rows of one device hold no whole x.
    square = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    report["rows over one axis"] = on_a_mesh(square)["all"]
    x, y, _ = data()
    wide = jax.device_put(
        np.pad(x, ((0, 0), (0, 1))), NamedSharding(square, P(None, "model"))
    )
    try:
        Moments.of(wide, y)
    except ValueError as error:
        report["split features"] = str(error)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
