"""Strengths in other units: other libraries' conventions, and prior beliefs."""

from jaxreg.convert.conventions import (
    alpha_from_c as alpha_from_c,
    coupled_weight_decay as coupled_weight_decay,
    decay_timescale as decay_timescale,
    from_sklearn as from_sklearn,
    independent_weight_decay as independent_weight_decay,
    mup_scaling as mup_scaling,
    normalized_weight_decay as normalized_weight_decay,
    to_sklearn as to_sklearn,
    weight_decay_of_timescale as weight_decay_of_timescale,
)
from jaxreg.convert.priors import (
    gaussian_scale as gaussian_scale,
    gaussian_strength as gaussian_strength,
    laplace_scale as laplace_scale,
    laplace_strength as laplace_strength,
    log_prior as log_prior,
)
from jaxreg.convert.scaling import (
    batch_scaling as batch_scaling,
    horizon_scaling as horizon_scaling,
    width_scaling as width_scaling,
)
