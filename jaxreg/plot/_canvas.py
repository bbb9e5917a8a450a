"""What all pictures share: matplotlib, colours, axes, numbers."""

import numpy as np
from jax.typing import ArrayLike

from jaxreg._numbers import raise_precision

try:
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
except ImportError as error:
    raise ImportError(
        'jaxreg.plot needs matplotlib: `pip install "jaxreg[plot]"`.'
    ) from error

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def axes_for(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(5, 3.6), layout="constrained")[1] if ax is None else ax


def numbers(x: ArrayLike) -> np.ndarray:
    """`x` in host memory, in a dtype that numpy knows."""
    return np.asarray(raise_precision(x))
