"""Linear models as scikit-learn estimators (`pip install "jaxreg[sklearn]"`).

Parameters, attributes and conventions are scikit-learn's, so that code moves over by an
import; solutions are exact, in double precision whatever JAX is set to.
"""

from jaxreg.linear.grouped import GroupLasso as GroupLasso, GroupLassoCV as GroupLassoCV
from jaxreg.linear.logistic import (
    LogisticRegression as LogisticRegression,
    LogisticRegressionCV as LogisticRegressionCV,
)
