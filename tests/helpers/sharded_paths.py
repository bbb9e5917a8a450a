"""Paths of features that eight devices, or two processes, hold a part of.

`python -m tests.helpers.sharded_paths` prints differences from the paths of NumPy arrays,
as JSON; with `port rank`, in one of two processes of `jax.distributed`.
"""

import json
import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import jaxreg as jr
from jaxreg.solve import multi_task_path, sharded

SAMPLES, FEATURES = 160, 11
GRID: Any = {"num": 4, "ratio": 0.1}


def data():
    rng = np.random.default_rng(0)
    spreads, means = rng.random(FEATURES), 9 * rng.standard_normal(FEATURES)
    x = spreads * rng.standard_normal((SAMPLES, FEATURES)) + means
    x[:, 3] = 7.1  # A constant.
    x = x.astype(np.float32)
    return x, (predictor(x) + rng.standard_normal(SAMPLES)) > 0, rng.random(SAMPLES)


def predictor(x):
    eta = 4 * (x[:, :3] @ [1.0, -1.0, 0.5])
    return eta - eta.mean()


def paths(x, y, weights, every=True):
    """The paths of each model, with x, y and weights as they are given."""
    yield jr.logistic_path(x, y, sample_weight=weights, folds=2, **GRID)
    if not every:
        return
    yield jr.logistic_path(x, y, folds=2, score="auc", **GRID)
    eta = predictor(data()[0])
    classes = np.digitize(eta, [-0.7, 0.7])
    yield jr.logistic_path(x, classes, standardize=True, **GRID)
    options: Any = {"offset": weights, "intercept": False, **GRID}
    yield jr.poisson_path(x, np.exp(eta / 3), **options)
    yield jr.group_lasso_path(x, eta, np.arange(FEATURES) // 3, **GRID)
    yield multi_task_path(x, np.stack([eta, eta**2], axis=1), **GRID)
    several: Any = jr.logistic_path(x, np.stack([eta > 0, eta < 1], axis=1), **GRID)
    yield from several


def difference(found, x, expected, dense):
    if expected.validation is not None:
        found_scores, scores = found.validation.scores, expected.validation.scores
        np.testing.assert_allclose(found_scores, scores, rtol=1e-10)
    off = [
        found.strengths / expected.strengths - 1,
        found.coefficients - expected.coefficients,
        found.predict(x) - expected.predict(dense),
    ]
    return max(float(np.max(np.abs(part))) for part in off)


def on_a_mesh(mesh, every=True):
    with jax.enable_x64(True):
        split: Any = [jax.device_put(z, NamedSharding(mesh, P("data"))) for z in data()]
    pairs = zip(paths(*split, every=every), paths(*data(), every=every), strict=True)
    return [difference(found, split[0], expected, data()[0]) for found, expected in pairs]


def error_of(x):
    try:
        jr.logistic_path(x, data()[1])
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def main():
    sharded.BLOCK = 4 * SAMPLES // 8  # A few features at a time.
    if len(sys.argv) > 1:
        port, rank = sys.argv[1:]
        jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
        found = on_a_mesh(Mesh(jax.devices(), ("data",)), every=False)
        json.dump({"differences": found}, sys.stdout)
        return
    square = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    explicit = Mesh(jax.devices(), ("data",), axis_types=(AxisType.Explicit,))
    x, *_ = data()
    rows = NamedSharding(square, P("data"))
    report: Any = {
        "differences": on_a_mesh(Mesh(jax.devices(), ("data",))),
        "explicit": on_a_mesh(explicit, every=False),
        "rows over one axis": on_a_mesh(square, every=False),
        "split features": error_of(
            jax.device_put(x[:, :10], NamedSharding(square, P(None, "model")))
        ),
        "nan": error_of(jax.device_put(np.where(x > 8, np.nan, x), rows)),
        "complex": error_of(jax.device_put(x.astype(complex), rows)),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
