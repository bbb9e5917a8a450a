"""What all pictures share: matplotlib, colours, axes, numbers."""

import numpy as np
from jax.typing import ArrayLike

from jaxreg._dtypes import raise_precision
from jaxreg._tree import leaves_of, listing

try:
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes as Axes
    from matplotlib.colors import ListedColormap as ListedColormap
    from matplotlib.ticker import MaxNLocator as MaxNLocator
except ImportError as error:
    raise ImportError(
        'jaxreg.plot needs matplotlib: `pip install "jaxreg[plot]"`.'
    ) from error

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
SEVERAL = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9")


def axes(ax: Axes | None) -> Axes:
    """The Axes given, or those of a new figure."""
    return plt.subplots(figsize=(5, 3.6), layout="constrained")[1] if ax is None else ax


def grid(count: int) -> list[Axes]:
    """Axes of a new figure, side by side, that share their scales."""
    columns = min(count, 4)
    rows = -(-count // columns)
    size = (1 + 2.8 * columns, 0.6 + 2.4 * rows)
    figure = plt.figure(figsize=size, layout="constrained")
    drawn = list(
        figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    )
    for ax in drawn[count:]:
        ax.remove()
    return drawn[:count]


def kernel_of(kernel: ArrayLike) -> np.ndarray:
    """One array in host memory; refuses a pytree of several."""
    leaves = leaves_of(kernel)
    if len(leaves) != 1 or not leaves[0].is_array:
        raise TypeError(
            f"kernel must be one array, got {type(kernel).__name__} with the leaves "
            f"{listing(leaves)}: pass one of them, params['layer']['kernel']. For all "
            "weights there are jaxreg.plot.histogram(params) and jaxreg.sparsity(params)."
        )
    return numbers(leaves[0].value)


def numbers(x: ArrayLike) -> np.ndarray:
    """`x` in host memory, in a dtype that numpy knows."""
    return np.asarray(raise_precision(x))


def shaped(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`values` in another shape, which must fit."""
    try:
        return values.reshape(shape)
    except ValueError:
        raise ValueError(
            f"shape must have as many entries as there are values to show, "
            f"{values.size}, got {shape}."
        ) from None
