"""Regularization for JAX that does what the formula says."""

import importlib
import typing

from jaxreg.conversions import (
    alpha_from_c as alpha_from_c,
    coupled_weight_decay as coupled_weight_decay,
    decay_timescale as decay_timescale,
    from_sklearn as from_sklearn,
    independent_weight_decay as independent_weight_decay,
    normalized_weight_decay as normalized_weight_decay,
    scaled_to_width as scaled_to_width,
    to_sklearn as to_sklearn,
    weight_decay_of_timescale as weight_decay_of_timescale,
)
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
    isotonic_regression as isotonic_regression,
    magnitude as magnitude,
    nuclear_norm as nuclear_norm,
    project_cardinality as project_cardinality,
    project_l1_ball as project_l1_ball,
    project_l2_ball as project_l2_ball,
    project_n_of_m as project_n_of_m,
    project_rank as project_rank,
    project_simplex as project_simplex,
    singular_value_threshold as singular_value_threshold,
    smooth_chain as smooth_chain,
    soft_threshold as soft_threshold,
    sorted_soft_threshold as sorted_soft_threshold,
    taut_string as taut_string,
)
from jaxreg.penalties import (
    L0 as L0,
    L0L2 as L0L2,
    L1 as L1,
    L2 as L2,
    MCP as MCP,
    SCAD as SCAD,
    SLOPE as SLOPE,
    Berhu as Berhu,
    Box as Box,
    CappedL1 as CappedL1,
    Cardinality as Cardinality,
    ElasticNet as ElasticNet,
    Entrywise as Entrywise,
    ExclusiveLasso as ExclusiveLasso,
    FusedLasso as FusedLasso,
    GroupLasso as GroupLasso,
    GroupMCP as GroupMCP,
    GroupSCAD as GroupSCAD,
    Huber as Huber,
    L1Ball as L1Ball,
    L1Linf as L1Linf,
    L2Ball as L2Ball,
    LHalf as LHalf,
    LinfBall as LinfBall,
    LogSum as LogSum,
    Lp as Lp,
    MaxNorm as MaxNorm,
    NOfM as NOfM,
    NonNegative as NonNegative,
    NonNegativeL1 as NonNegativeL1,
    Nuclear as Nuclear,
    Orthogonal as Orthogonal,
    Penalty as Penalty,
    Rank as Rank,
    Simplex as Simplex,
    Smoothness as Smoothness,
    SparseGroupLasso as SparseGroupLasso,
    SpectralNorm as SpectralNorm,
    TotalVariation as TotalVariation,
    adaptive as adaptive,
    constant as constant,
    static as static,
)
from jaxreg.precision import decay_resolution as decay_resolution
from jaxreg.solve import (
    LinearPath as LinearPath,
    elastic_net_cv as elastic_net_cv,
    elastic_net_path as elastic_net_path,
    lasso_cv as lasso_cv,
    lasso_knots as lasso_knots,
    lasso_path as lasso_path,
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
    compensated as compensated,
    constrained_decay as constrained_decay,
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
    with_decay as with_decay,
)

if typing.TYPE_CHECKING:
    from jaxreg import linear as linear, plot as plot


def __getattr__(name: str) -> object:
    """Import what needs matplotlib or scikit-learn only when it is used."""
    if name in ("linear", "plot"):
        return importlib.import_module(f"jaxreg.{name}")
    raise AttributeError(f"module 'jaxreg' has no attribute {name!r}")
