"""Linear models as scikit-learn's estimators: the same parameters, exact solutions."""

from jaxreg.linear.logistic import LogisticRegression as LogisticRegression
