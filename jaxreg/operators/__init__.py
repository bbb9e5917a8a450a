"""The mathematics, on one array.

Formulas that know nothing of pytrees, masks or optimizers; `jaxreg.penalties` lifts them
to parameters. All are pure, and work under `jit`, `vmap` and `grad`.
"""

from jaxreg.operators.projections import (
    project_cardinality as project_cardinality,
    project_l1_ball as project_l1_ball,
    project_l2_ball as project_l2_ball,
    project_n_of_m as project_n_of_m,
    project_simplex as project_simplex,
)
from jaxreg.operators.thresholds import (
    firm_threshold as firm_threshold,
    group_norm as group_norm,
    group_soft_threshold as group_soft_threshold,
    hard_threshold as hard_threshold,
    magnitude as magnitude,
    soft_threshold as soft_threshold,
)
