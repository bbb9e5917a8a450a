"""The public names of jaxreg.networks and where they are defined."""

from jaxreg.networks.input_path import InputPath as InputPath
from jaxreg.networks.inputs import (
    select_inputs as select_inputs,
    squared_error as squared_error,
)
from jaxreg.networks.perceptrons import (
    SparseMLPClassifier as SparseMLPClassifier,
    SparseMLPClassifierCV as SparseMLPClassifierCV,
    SparseMLPRegressor as SparseMLPRegressor,
    SparseMLPRegressorCV as SparseMLPRegressorCV,
)
from jaxreg.networks.program import (
    Schedule as Schedule,
)
