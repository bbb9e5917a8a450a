"""Seeing what is regularized, and what the weights do."""

from jaxreg.monitoring.record import latest_stats as latest_stats
from jaxreg.monitoring.resolution import decay_resolution as decay_resolution
from jaxreg.monitoring.statistics import (
    sparsity as sparsity,
    weight_stats as weight_stats,
)
from jaxreg.monitoring.table import describe as describe
