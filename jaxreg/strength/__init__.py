"""How much: choosing the strength of a regularizer.

| question | answer |
|---|---|
| which strengths are worth trying? | `strength_max`, `strength_grid` |
| what do they all give? | `sweep`, at once; `path`, one from the other |
| which is best on new data? | `cross_validate`, `select_best` or `one_standard_error` |
| which without new data? | `information_criterion`, `stability_selection` |
| which features, with few false ones? | `stability_selection`, `knockoff_filter` |
| which gives so many zeros? | `select_by_sparsity`; in one training, `target_sparsity` |
| what does it mean? | `jaxreg.convert`: `gaussian_scale`, `log_prior`, ... |
"""

from jaxreg.strength.criteria import (
    degrees_of_freedom as degrees_of_freedom,
    gaussian_deviance as gaussian_deviance,
    information_criterion as information_criterion,
)
from jaxreg.strength.critical import (
    strength_grid as strength_grid,
    strength_max as strength_max,
)
from jaxreg.strength.cross_validation import (
    CrossValidation as CrossValidation,
    Fold as Fold,
    cross_validate as cross_validate,
    standardize as standardize,
    weighted_mean as weighted_mean,
)
from jaxreg.strength.knockoffs import (
    Knockoffs as Knockoffs,
    entry_strengths as entry_strengths,
    gaussian_knockoffs as gaussian_knockoffs,
    knockoff_filter as knockoff_filter,
    knockoff_importances as knockoff_importances,
)
from jaxreg.strength.paths import (
    path as path,
)
from jaxreg.strength.rules import (
    one_standard_error as one_standard_error,
    select_best as select_best,
    select_by_sparsity as select_by_sparsity,
)
from jaxreg.strength.stability import (
    Stability as Stability,
    complementary_pairs as complementary_pairs,
    stability_selection as stability_selection,
)
from jaxreg.strength.sweeps import (
    Sweep as Sweep,
    sweep as sweep,
)
