"""The mathematics, on one array.

Formulas that know nothing of pytrees, masks or optimizers; `jaxreg.penalties` lifts them
to parameters. All are pure, and work under `jit`, `vmap` and `grad`.
"""

from jaxreg.operators.chains import (
    isotonic_regression as isotonic_regression,
    smoothness_prox as smoothness_prox,
    sorted_soft_threshold as sorted_soft_threshold,
    total_variation_prox as total_variation_prox,
)
from jaxreg.operators.matrices import (
    nuclear_norm as nuclear_norm,
    project_rank as project_rank,
    singular_value_threshold as singular_value_threshold,
)
from jaxreg.operators.projections import (
    project_cardinality as project_cardinality,
    project_l1_ball as project_l1_ball,
    project_l2_ball as project_l2_ball,
    project_n_of_m as project_n_of_m,
    project_simplex as project_simplex,
)
from jaxreg.operators.thresholds import (
    abs_zero_subgradient as abs_zero_subgradient,
    firm_threshold as firm_threshold,
    group_norm as group_norm,
    group_soft_threshold as group_soft_threshold,
    hard_threshold as hard_threshold,
    soft_threshold as soft_threshold,
)
