"""Where other libraries are right, jaxreg agrees with them, in float64."""

import importlib
import warnings
from typing import Any

import jax
import numpy as np
import pytest

from jaxreg import (
    L1,
    L2,
    MCP,
    SCAD,
    ElasticNet,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    LHalf,
    LogSum,
    Lp,
    NonNegativeL1,
    SparseGroupLasso,
)

POINTS = [
    np.array([0.0, 0.31, -0.42, 1.2, -2.7, 5.0, -0.05]),
    np.array([-1.0, 0.999, 1.001, 0.6, 0.0, -3.3, 2.0]),
]
STEPS = [0.02, 0.5, 1.3]


def peer(module):
    """Another library, or a skipped test where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(module.partition(".")[0], exc_type=ImportError)
        return importlib.import_module(module)


def jaxopt(name, strengths):
    def load():
        prox = getattr(peer("jaxopt.prox"), name)
        return lambda x, step: prox(x, strengths, step), None

    return load


def skglm(name, *arguments):
    def load():
        penalty = getattr(peer("skglm.penalties.separable"), name)(*arguments)

        def prox(x, step):
            return [penalty.prox_1d(entry, step, 0) for entry in x]

        return prox, penalty.value

    return load


def skglm_group(name, *arguments):
    def load():
        penalty = getattr(peer("skglm.penalties.block_separable"), name)(*arguments)

        def prox(x, step):
            return penalty.prox_1feat(x, step, 0)

        return prox, lambda x: penalty.value(x[None])

    return load


def pyproximal(name, *arguments, **options):
    def load():
        operator = getattr(peer("pyproximal"), name)(*arguments, **options)
        return operator.prox, operator

    return load


def modopt(name, *arguments):
    def load():
        operator = getattr(peer("modopt.opt.proximity"), name)(*arguments)
        return lambda x, step: operator.op(x, extra_factor=step), None

    return load


def modopt_elastic_net():
    identity = peer("modopt.opt.linear").Identity()
    return modopt("ElasticNet", identity, 0.3, 0.4)()


WHOLE: dict[str, Any] = {"group_axis": (), "scale": "none"}

TABLE = {
    "jaxopt lasso": (L1(0.4), jaxopt("prox_lasso", 0.4)),
    "jaxopt ridge": (L2(0.2), jaxopt("prox_ridge", 0.4)),
    "jaxopt elastic net": (ElasticNet(0.4, 0.3), jaxopt("prox_elastic_net", (0.4, 1.5))),
    "jaxopt positive": (NonNegativeL1(0.4), jaxopt("prox_non_negative_lasso", 0.4)),
    "jaxopt group": (GroupLasso(0.4, **WHOLE), jaxopt("prox_group_lasso", 0.4)),
    "skglm L1": (L1(0.4), skglm("L1", 0.4)),
    "skglm elastic net": (ElasticNet(0.1, 0.15), skglm("L1_plus_L2", 0.4, 0.25)),
    "skglm positive L1": (NonNegativeL1(0.4), skglm("L1", 0.4, True)),
    "skglm MCP": (MCP(0.4, gamma=3.0), skglm("MCPenalty", 0.4, 3.0)),
    "skglm SCAD": (SCAD(0.4, a=3.7), skglm("SCAD", 0.4, 3.7)),
    "skglm L1/2": (LHalf(0.4), skglm("L0_5", 0.4)),
    "skglm L2/3": (Lp(0.4, p=2 / 3), skglm("L2_3", 0.4)),
    "skglm log-sum": (LogSum(0.4, scale=0.7), skglm("LogSumPenalty", 0.4, 0.7)),
    "skglm group": (GroupLasso(0.4, **WHOLE), skglm_group("L2_1", 0.4)),
    "skglm group MCP": (
        GroupMCP(0.4, 3.0, **WHOLE),
        skglm_group("BlockMCPenalty", 0.4, 3.0),
    ),
    "skglm group SCAD": (
        GroupSCAD(0.4, 3.7, **WHOLE),
        skglm_group("BlockSCAD", 0.4, 3.7),
    ),
    "pyproximal L1": (L1(0.4), pyproximal("L1", sigma=0.4)),
    "pyproximal Euclidean": (GroupLasso(0.4, **WHOLE), pyproximal("Euclidean", 0.4)),
    "pyproximal SCAD": (SCAD(0.4, a=3.7), pyproximal("SCAD", 0.4, 3.7)),
    "modopt elastic net": (ElasticNet(0.4, 0.3), modopt_elastic_net),
}


def prox(penalty, x, step):
    return jax.jit(type(penalty).prox)(penalty, x, step)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", TABLE)
def test_peers_agree(name):
    penalty, load = TABLE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        their_prox, their_value = load()
        with jax.enable_x64(True):
            for x in POINTS:
                for step in STEPS:
                    theirs = np.asarray(their_prox(x.copy(), step))
                    np.testing.assert_allclose(
                        prox(penalty, x, step), theirs, rtol=1e-9, atol=1e-12
                    )
                if their_value is not None:
                    inside = np.abs(x) if not penalty.is_finite else x
                    np.testing.assert_allclose(penalty(inside), their_value(inside))


def test_skglm_agrees_on_the_sparse_group_lasso():
    skglm = peer("skglm.penalties.block_separable")
    groups = {"grp_ptr": np.array([0, 7]), "grp_indices": np.arange(7)}
    with warnings.catch_warnings(), jax.enable_x64(True):
        warnings.simplefilter("ignore")
        theirs = skglm.WeightedL1GroupL2(0.4, np.ones(1), np.full(1, 0.2), **groups)
        for x in POINTS:
            for step in STEPS:
                ours = prox(SparseGroupLasso(0.2 * 0.4, 0.4, **WHOLE), x, step)
                np.testing.assert_allclose(ours, theirs.prox_1group(x, step, 0), rtol=1e-9)
