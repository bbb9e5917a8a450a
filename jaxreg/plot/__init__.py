"""Pictures of weights and penalties, drawn with matplotlib (`pip install "jaxreg[plot]"`).

    from jaxreg import plot
    plot.histogram(params).figure.savefig("weights.png")

Every function draws on the Axes it is given (or on a new one) and returns it. None of
them calls `show`, none of them changes matplotlib's settings. The colours are those of
Okabe and Ito, which colour-blind readers can tell apart.
"""

from jaxreg.plot._axes import (
    BLUE as BLUE,
    GREEN as GREEN,
    GREY as GREY,
    RED as RED,
    plt as plt,
)
from jaxreg.plot.compaction import compaction as compaction
from jaxreg.plot.penalties import ball as ball, curves as curves, geometry as geometry
from jaxreg.plot.selection import inputs as inputs, stability as stability
from jaxreg.plot.strengths import (
    cross_validation as cross_validation,
    path as path,
    trade_off as trade_off,
)
from jaxreg.plot.training import stats as stats
from jaxreg.plot.weights import (
    features as features,
    histogram as histogram,
    histograms as histograms,
    sparsity as sparsity,
)
