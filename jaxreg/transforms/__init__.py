"""Optax transformations that regularize while an optimizer runs.

| transform | what it does to the weights | its place |
|---|---|---|
| `add_l2_decay` | adds `weight_decay · w` to the gradients | before the optimizer |
| `decoupled_weight_decay` | shrinks them by `learning_rate · weight_decay` | after it |
| `constrained_parameter_regularization` | keeps norms below a bound | after it |
| `proximal` | the proximal step of a penalty | last, after plain SGD |
| `decoupled_l1` | shrinks them by a constant; not the lasso | last, after any optimizer |
| `prox_sgd`, `prox_adam` | gradient and proximal step in one metric | an optimizer |
| `prox_preconditioned` | the same for RMSProp, Adagrad, AMSGrad, ... | an optimizer |
| `dual_averaging_adam` | the same, with zeros that withstand noise | an optimizer |
| `target_sparsity` | the same, at the strength that makes so many zeros | an optimizer |
| `with_decay` | decoupled weight decay | around any optimizer |
| `orthant_wise` | exact L1 | around any optimizer |
| `monitor` | leaves them as they are, and keeps statistics of them | around any optimizer |
| `with_kahan_compensation` | keeps small steps in bf16 and f16 | around all of these |

All of them need `params` in `update`, choose leaves by a mask of the parameters, and work
in `jit`, `scan` and `vmap`. Those beside an optimizer leave integers, keys and `None` as
they are; the optimizers treat them as `optax.adam` does: filter them out first. Leaves
whose gradient is `None` are frozen: they stay, and penalties of several leaves together
(groups, budgets) leave them out, as if they had been filtered.

States have one `count` and arrays at every leaf, so that `optax.tree.get` and
`optax.tree.map_params` work; where a transform has nothing to remember of a leaf, that
array takes one byte for each parameter.
"""

from jaxreg.transforms.adaptive import (
    dual_averaging_adam as dual_averaging_adam,
    prox_adam as prox_adam,
    prox_preconditioned as prox_preconditioned,
    prox_sgd as prox_sgd,
)
from jaxreg.transforms.constrained import (
    constrained_parameter_regularization as constrained_parameter_regularization,
)
from jaxreg.transforms.control import target_sparsity as target_sparsity
from jaxreg.transforms.decay import (
    add_l2_decay as add_l2_decay,
    decoupled_weight_decay as decoupled_weight_decay,
    with_decay as with_decay,
)
from jaxreg.transforms.low_precision import (
    with_kahan_compensation as with_kahan_compensation,
)
from jaxreg.transforms.monitoring import monitor as monitor
from jaxreg.transforms.orthant import orthant_wise as orthant_wise
from jaxreg.transforms.proximal import (
    decoupled_l1 as decoupled_l1,
    proximal as proximal,
)
