"""Penalties: what is added to a loss, and how to step on it exactly.

A penalty is a small immutable value that says *what* (L1, elastic net, ...), *how much*
(its strengths) and *where* (its mask). It is a pure function of the parameters, so
`loss + penalty(params)` and `jax.grad(penalty)` work; `penalty.prox` is its proximal
operator, for exact steps; and it is a pytree of its strengths, so it passes through
`jit`, `vmap` and `grad`.

The objective everywhere is `mean loss + penalty(params)`. Every formula says whether it
has a half.
"""

from jaxreg.penalties.adaptive import adaptive as adaptive
from jaxreg.penalties.base import Penalty as Penalty
from jaxreg.penalties.budgets import (
    Cardinality as Cardinality,
    NOfM as NOfM,
    Rank as Rank,
)
from jaxreg.penalties.concave import LHalf as LHalf, LogSum as LogSum, Lp as Lp
from jaxreg.penalties.constraints import (
    Box as Box,
    L1Ball as L1Ball,
    L2Ball as L2Ball,
    LinfBall as LinfBall,
    MaxNorm as MaxNorm,
    NonNegative as NonNegative,
    Simplex as Simplex,
)
from jaxreg.penalties.entrywise import (
    L1 as L1,
    L2 as L2,
    Berhu as Berhu,
    ElasticNet as ElasticNet,
    Entrywise as Entrywise,
    Huber as Huber,
    NonNegativeL1 as NonNegativeL1,
)
from jaxreg.penalties.fields import constant as constant, static as static
from jaxreg.penalties.grouped import (
    ExclusiveLasso as ExclusiveLasso,
    GroupLasso as GroupLasso,
    GroupMCP as GroupMCP,
    GroupSCAD as GroupSCAD,
    L1Linf as L1Linf,
    SparseGroupLasso as SparseGroupLasso,
)
from jaxreg.penalties.lassonet import LassoNet as LassoNet
from jaxreg.penalties.nonconvex import (
    L0 as L0,
    L0L2 as L0L2,
    MCP as MCP,
    SCAD as SCAD,
    CappedL1 as CappedL1,
)
from jaxreg.penalties.spectral import (
    NuclearNorm as NuclearNorm,
    Orthogonality as Orthogonality,
    SpectralNorm as SpectralNorm,
)
from jaxreg.penalties.structured import (
    SLOPE as SLOPE,
    FusedLasso as FusedLasso,
    Smoothness as Smoothness,
    TotalVariation as TotalVariation,
)
