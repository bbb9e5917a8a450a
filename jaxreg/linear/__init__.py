"""Linear models as scikit-learn estimators (`pip install "jaxreg[sklearn]"`).

    from jaxreg.linear import LassoCV

Classes with the name of one of scikit-learn's take its arguments and have its attributes,
so that code moves over by an import. Solutions are exact, and computed in double precision
whatever JAX is set to. For X in float32, coefficients and predictions are rounded to it.

Arguments that choose how a solver reaches the solution, not which solution it is, are
accepted and have no effect. Solutions are exact, there is nothing to stop, to start or to
draw at random: `max_iter`, `warm_start`, `selection`, `random_state`, and `tol` of least
squares. The algorithm follows from the data: `precompute`, `gcv_mode`, `dual`, `solver`
(but `solver="liblinear"` penalises the intercept, as scikit-learn's does). Data are always
checked and never written to: `copy_X`, `check_input`. All folds run side by side on all
cores: `n_jobs`. `verbose` shows a bar in the `CV` classes, and nothing in the others.

Fits compile nothing, so that the first one is as fast as the next. With `n_jobs` the first
`GridSearchCV` or `cross_val_score` starts processes, which takes seconds.
"""

from jaxreg.linear.grouped import GroupLasso as GroupLasso, GroupLassoCV as GroupLassoCV
from jaxreg.linear.least_squares import ElasticNet as ElasticNet, Lasso as Lasso
from jaxreg.linear.least_squares_cv import ElasticNetCV as ElasticNetCV, LassoCV as LassoCV
from jaxreg.linear.logistic import LogisticRegression as LogisticRegression
from jaxreg.linear.logistic_cv import LogisticRegressionCV as LogisticRegressionCV
from jaxreg.linear.multi_task import (
    MultiTaskElasticNet as MultiTaskElasticNet,
    MultiTaskElasticNetCV as MultiTaskElasticNetCV,
    MultiTaskLasso as MultiTaskLasso,
    MultiTaskLassoCV as MultiTaskLassoCV,
)
from jaxreg.linear.ridge import Ridge as Ridge
from jaxreg.linear.ridge_cv import RidgeCV as RidgeCV
