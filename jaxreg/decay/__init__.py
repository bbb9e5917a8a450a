"""Norms that stay, and decay that acts on matrices: what replaces weight decay.

| transform | what it does to the weights | its place |
|---|---|---|
| `with_fixed_norm` | turns matrices, whose norms stay (AdamH) | around an optimizer |
| `spectral_decay` | shrinks the largest singular value of each matrix | after it |
| `spectral_clip` | keeps singular values below a bound | after it |
| `selective_projection_decay` | holds layers back that go too far | around it |
| `lora_decay` | shrinks the product A·B, not its factors | after it |

The decays of single weights, `decoupled_weight_decay` and its like, are at the top.
`MatrixAxes` says what one matrix is: layers, experts and heads that a leaf stacks have a
norm each.
"""

from jaxreg.decay.fixed_norm import with_fixed_norm as with_fixed_norm
from jaxreg.decay.lora import lora_decay as lora_decay
from jaxreg.decay.selective import (
    selective_projection_decay as selective_projection_decay,
)
from jaxreg.decay.spectral import (
    spectral_clip as spectral_clip,
    spectral_decay as spectral_decay,
)
