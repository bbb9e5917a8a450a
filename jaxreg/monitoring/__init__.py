"""Seeing what is regularized, and what the weights do."""

from jaxreg.monitoring.statistics import (
    sparsity as sparsity,
    weight_stats as weight_stats,
)
from jaxreg.monitoring.table import describe as describe
