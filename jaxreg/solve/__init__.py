"""Solvers: the minimiser of a loss plus a penalty, with a certificate."""

from jaxreg.solve._linear import LinearLoss as LinearLoss
from jaxreg.solve._solution import Solution as Solution
from jaxreg.solve.glm_path import (
    GLMPath as GLMPath,
    group_lasso_path as group_lasso_path,
    logistic_path as logistic_path,
    poisson_path as poisson_path,
)
from jaxreg.solve.lasso_knots import lasso_knots as lasso_knots
from jaxreg.solve.lasso_path import (
    LinearPath as LinearPath,
    elastic_net_path as elastic_net_path,
    lasso_path as lasso_path,
)
from jaxreg.solve.linear_cv import (
    elastic_net_cv as elastic_net_cv,
    lasso_cv as lasso_cv,
)
from jaxreg.solve.losses import (
    HuberLoss as HuberLoss,
    LogisticLoss as LogisticLoss,
    MultinomialLoss as MultinomialLoss,
    PoissonLoss as PoissonLoss,
    SquaredLoss as SquaredLoss,
)
from jaxreg.solve.minimize import minimize as minimize
