"""Solvers: the minimiser of a loss plus a penalty, with a certificate."""

from jaxreg.solve.general.minimize import minimize as minimize
from jaxreg.solve.general.solution import Solution as Solution
from jaxreg.solve.glm.multi_task import multi_task_path as multi_task_path
from jaxreg.solve.glm.paths import (
    group_lasso_path as group_lasso_path,
    logistic_path as logistic_path,
    poisson_path as poisson_path,
)
from jaxreg.solve.glm.result import GLMPath as GLMPath
from jaxreg.solve.lasso.knots import lasso_knots as lasso_knots
from jaxreg.solve.lasso.path import (
    LinearPath as LinearPath,
    elastic_net_path as elastic_net_path,
    lasso_path as lasso_path,
)
from jaxreg.solve.moments import Moments as Moments
from jaxreg.solve.targets import TargetPaths as TargetPaths
