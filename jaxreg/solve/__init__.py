"""Convex problems solved to machine precision."""

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
