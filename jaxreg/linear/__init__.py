"""Linear models as scikit-learn estimators (`pip install "jaxreg[sklearn]"`).

    from jaxreg.linear import LassoCV

Parameters, attributes and conventions are scikit-learn's, so that code moves over by an
import. Solutions are exact, and computed in double precision whatever JAX is set to.
"""

from jaxreg.linear.grouped import GroupLasso as GroupLasso, GroupLassoCV as GroupLassoCV
from jaxreg.linear.least_squares import (
    ElasticNet as ElasticNet,
    Lasso as Lasso,
    Ridge as Ridge,
)
from jaxreg.linear.least_squares_cv import (
    ElasticNetCV as ElasticNetCV,
    LassoCV as LassoCV,
    RidgeCV as RidgeCV,
)
from jaxreg.linear.logistic import (
    LogisticRegression as LogisticRegression,
    LogisticRegressionCV as LogisticRegressionCV,
)
