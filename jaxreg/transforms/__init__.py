"""Optax transformations that regularize while an optimizer runs.

| transform | what it does to the weights | its place in a chain |
|---|---|---|
| `add_l2_decay` | adds `weight_decay · w` to the gradients | before the optimizer |
| `decoupled_weight_decay` | shrinks them by `learning_rate · weight_decay` | after it |
| `proximal_l1` | soft-thresholds them by `learning_rate · strength` | last, after SGD |
| `proximal` | takes the proximal step of any penalty | last, after SGD |

All of them need `params` in `update`, choose leaves by a mask of the parameters, keep
integers, keys and `None` leaves as they are, and work in `jit`, `scan` and `vmap`.
"""

from jaxreg.transforms.adaptive import (
    prox_adam as prox_adam,
    prox_preconditioned as prox_preconditioned,
    prox_sgd as prox_sgd,
)
from jaxreg.transforms.decay import (
    add_l2_decay as add_l2_decay,
    decoupled_weight_decay as decoupled_weight_decay,
)
from jaxreg.transforms.proximal import (
    decoupled_l1 as decoupled_l1,
    proximal as proximal,
    proximal_l1 as proximal_l1,
)
