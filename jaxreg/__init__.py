"""Regularization for JAX that does what the formula says."""

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
    group_norm as group_norm,
    group_soft_threshold as group_soft_threshold,
    magnitude as magnitude,
    soft_threshold as soft_threshold,
)
from jaxreg.penalties import (
    L1 as L1,
    L2 as L2,
    ElasticNet as ElasticNet,
    Entrywise as Entrywise,
    ExclusiveLasso as ExclusiveLasso,
    GroupLasso as GroupLasso,
    GroupMCP as GroupMCP,
    GroupSCAD as GroupSCAD,
    L1Linf as L1Linf,
    Penalty as Penalty,
    SparseGroupLasso as SparseGroupLasso,
    constant as constant,
    static as static,
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
)
