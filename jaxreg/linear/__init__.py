"""Linear models as scikit-learn estimators (`pip install "jaxreg[sklearn]"`).

    from jaxreg.linear import LassoCV

Classes with the name of one of scikit-learn's take its arguments and have its attributes,
so that code moves over by an import. Solutions are exact, and computed in double precision
whatever JAX is set to.

Arguments that choose how an iterative solver reaches the solution, not which solution it
is, are accepted and have no effect:

| argument | why it has none |
|---|---|
| `max_iter`, `warm_start` | there is no iteration that the user has to stop or start |
| `tol` of least squares | solutions are exact; each has a certificate, `dual_gap_` |
| `selection`, `random_state` | nothing is drawn at random |
| `precompute`, `gcv_mode`, `dual`, `solver` | the algorithm is chosen from the data (but `solver="liblinear"` penalises the intercept, as scikit-learn's does) |
| `copy_X`, `check_input` | data are checked, and never written to |
| `n_jobs` | all folds run side by side on all cores |
| `verbose` | nothing is printed |
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'jaxreg.linear needs scikit-learn: `pip install "jaxreg[sklearn]"`.'
    ) from error

from jaxreg.linear.grouped import GroupLasso as GroupLasso, GroupLassoCV as GroupLassoCV
from jaxreg.linear.least_squares import ElasticNet as ElasticNet, Lasso as Lasso
from jaxreg.linear.least_squares_cv import ElasticNetCV as ElasticNetCV, LassoCV as LassoCV
from jaxreg.linear.logistic import LogisticRegression as LogisticRegression
from jaxreg.linear.logistic_cv import LogisticRegressionCV as LogisticRegressionCV
from jaxreg.linear.ridge import Ridge as Ridge
from jaxreg.linear.ridge_cv import RidgeCV as RidgeCV
