"""Losses of linear models, with the duality gaps that certify their minimisers."""

from jaxreg.losses.distributions import (
    Huber as Huber,
    Logistic as Logistic,
    Multinomial as Multinomial,
    Poisson as Poisson,
    Squared as Squared,
)
from jaxreg.losses.linear import (
    LinearLoss as LinearLoss,
)
