"""Solvers: the minimiser of a loss plus a penalty, with a certificate."""

from jaxreg.solve._linear import LinearLoss as LinearLoss
from jaxreg.solve._solution import Solution as Solution
from jaxreg.solve.losses import (
    HuberLoss as HuberLoss,
    LogisticLoss as LogisticLoss,
    MultinomialLoss as MultinomialLoss,
    PoissonLoss as PoissonLoss,
    SquaredLoss as SquaredLoss,
)
from jaxreg.solve.minimize import minimize as minimize
