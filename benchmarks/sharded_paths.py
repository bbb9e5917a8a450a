"""Claim: a logistic path of rows on several devices gathers no features, and is as exact.

`python benchmarks/sharded_paths.py` fits the same float32 rows as a NumPy array and sharded
over CPU devices, each in a fresh process. Memory is what the process uses at most, less
what it used when the data were there.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import numpy as np

FEATURES = 100


def memory() -> float:
    """The most memory that this process has used, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(samples: int, is_sharded: bool) -> None:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    import jaxreg as jr

    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, FEATURES), dtype=np.float32)
    y = x[:, :10].sum(axis=1) + rng.logistic(size=samples).astype(np.float32) > 0
    size = x.nbytes / 1e6
    if is_sharded:
        mesh = jax.make_mesh((jax.device_count(),), ("data",))
        features = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        del x
    else:
        features = x
    before, start = memory(), time.perf_counter()
    jr.logistic_path(features, y, num=20, ratio=0.05)
    between = time.perf_counter()
    found = jr.logistic_path(features, y, num=20, ratio=0.05)
    times = between - start, time.perf_counter() - between
    print(
        f"{jax.device_count()} devices, sharded: {is_sharded}, {size:.0f} MB of features: "
        f"first {times[0]:.1f} s, second {times[1]:.1f} s, {memory() - before:.0f} MB, "
        f"gaps at most {np.max(found.gaps):.0e}, sum of coefficients "
        f"{np.sum(found.coefficients):.12f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--kind", choices=["dense", "sharded"])
    options = parser.parse_args()
    if options.kind is not None:
        fit(options.samples, options.kind == "sharded")
        return
    flags = f"--xla_force_host_platform_device_count={options.devices}"
    for kind in ("dense", "sharded"):
        subprocess.run(
            [sys.executable, __file__, f"--samples={options.samples}", f"--kind={kind}"],
            env={**os.environ, "XLA_FLAGS": flags},
            check=True,
        )


if __name__ == "__main__":
    main()
