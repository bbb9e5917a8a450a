"""The public names of jaxreg.networks and where they are defined."""

from jaxreg.networks.inputs import (
    InputPath as InputPath,
    select_inputs as select_inputs,
    squared_error as squared_error,
)
from jaxreg.networks.program import (
    Schedule as Schedule,
)
from jaxreg.networks.perceptrons import (
    SparseMLPClassifier as SparseMLPClassifier,
    SparseMLPClassifierCV as SparseMLPClassifierCV,
    SparseMLPRegressor as SparseMLPRegressor,
    SparseMLPRegressorCV as SparseMLPRegressorCV,
)
