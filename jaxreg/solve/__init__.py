"""Solvers: the minimiser of a loss plus a penalty, with a certificate."""

from jaxreg.solve.losses import (
    HuberLoss as HuberLoss,
    LinearLoss as LinearLoss,
    LogisticLoss as LogisticLoss,
    MultinomialLoss as MultinomialLoss,
    PoissonLoss as PoissonLoss,
    SquaredLoss as SquaredLoss,
)
from jaxreg.solve.minimize import Solution as Solution, minimize as minimize
