"""Regularization for JAX that does what the formula says."""

import importlib
import typing

from jaxreg.masks import (
    Mask as Mask,
    as_mask as as_mask,
    everything as everything,
    matrices as matrices,
    named as named,
    weights as weights,
)
from jaxreg.monitor import (
    describe as describe,
    sparsity as sparsity,
    weight_stats as weight_stats,
)
from jaxreg.operators import (
    firm_threshold as firm_threshold,
    group_norm as group_norm,
    group_soft_threshold as group_soft_threshold,
    hard_threshold as hard_threshold,
    magnitude as magnitude,
    soft_threshold as soft_threshold,
)
from jaxreg.penalties import (
    L0 as L0,
    L1 as L1,
    L2 as L2,
    MCP as MCP,
    SCAD as SCAD,
    CappedL1 as CappedL1,
    ElasticNet as ElasticNet,
    Entrywise as Entrywise,
    ExclusiveLasso as ExclusiveLasso,
    GroupLasso as GroupLasso,
    GroupMCP as GroupMCP,
    GroupSCAD as GroupSCAD,
    L1Linf as L1Linf,
    LHalf as LHalf,
    LogSum as LogSum,
    Penalty as Penalty,
    SparseGroupLasso as SparseGroupLasso,
    constant as constant,
    static as static,
)
from jaxreg.strength import (
    CrossValidation as CrossValidation,
    Fold as Fold,
    Stability as Stability,
    Sweep as Sweep,
    at_sparsity as at_sparsity,
    best_mean as best_mean,
    complementary_halves as complementary_halves,
    cross_validate as cross_validate,
    degrees_of_freedom as degrees_of_freedom,
    gaussian_deviance as gaussian_deviance,
    gaussian_scale as gaussian_scale,
    gaussian_strength as gaussian_strength,
    information_criterion as information_criterion,
    laplace_scale as laplace_scale,
    laplace_strength as laplace_strength,
    log_prior as log_prior,
    one_standard_error as one_standard_error,
    path as path,
    stability_selection as stability_selection,
    standardize as standardize,
    strength_grid as strength_grid,
    strength_max as strength_max,
    sweep as sweep,
    weighted_mean as weighted_mean,
)
from jaxreg.transforms import (
    add_l2_decay as add_l2_decay,
    decoupled_l1 as decoupled_l1,
    decoupled_weight_decay as decoupled_weight_decay,
    dual_averaging_adam as dual_averaging_adam,
    orthant_wise as orthant_wise,
    prox_adam as prox_adam,
    prox_preconditioned as prox_preconditioned,
    prox_sgd as prox_sgd,
    proximal as proximal,
    proximal_l1 as proximal_l1,
    target_sparsity as target_sparsity,
)

if typing.TYPE_CHECKING:
    from jaxreg import plot as plot


def __getattr__(name: str) -> object:
    """Import `jaxreg.plot`, and with it matplotlib, only when it is used."""
    if name == "plot":
        return importlib.import_module("jaxreg.plot")
    raise AttributeError(f"module 'jaxreg' has no attribute {name!r}")
