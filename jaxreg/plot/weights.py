"""Pictures of weights."""

from collections.abc import Iterable, Mapping

import numpy as np
from jax.typing import ArrayLike

from jaxreg._checks import check_count
from jaxreg._tree import Params
from jaxreg.masks.roles import FEATURES, UNITS
from jaxreg.masks.selection import MaskLike, chosen_arrays, weights
from jaxreg.plot._axes import BLUE, RED, Axes, ListedColormap, axes, grid, kernel_of, shaped


def histogram(
    params: Params,
    mask: MaskLike = weights,
    ax: Axes | None = None,
    *,
    bins: int = 30,
    before: Params | None = None,
) -> Axes:
    r"""Draw how large the weights are, with the exact zeros as a bar of their own.

    Counts are on a logarithmic axis: a few large weights stay visible beside thousands of
    small ones. Zero is an edge of the bins, so the bar at zero holds exact zeros and
    nothing else; their fraction is written above.

    Args:
        params: A pytree of parameters.
        mask: Which leaves; by default `weights`.
        ax: Where to draw; a new figure if `None`.
        bins: Number of bins on each side of zero.
        before: The parameters as they were before, to draw as an outline.

    Returns:
        The Axes.

    Raises:
        ValueError: If `bins` is less than 1, the mask chooses nothing, or a chosen weight
            is infinite or NaN.

    Example:
        >>> ax = histogram({"kernel": jnp.array([0.0, 0.0, 0.0, -0.5])})
        >>> ax.texts[0].get_text()
        '75.0 % exactly zero'
        >>> ax = histogram(jnp.array([0.0, 1.0]), before=jnp.array([2.0, 1.0]))
        >>> ax.texts[0].get_text()
        '50.0 % exactly zero\n(0.0 % before)'
    """
    values = _values(params, mask)
    earlier = None if before is None else _values(before, mask)
    reach = max(map(_reach, [values] if earlier is None else [values, earlier]))
    ax = axes(ax)
    if earlier is not None:
        _outline(ax, earlier, _edges(reach, bins))
    _bars(ax, values, _edges(reach, bins))
    text = f"{_zero_share(values):.1f} % exactly zero"
    if earlier is not None:
        text += f"\n({_zero_share(earlier):.1f} % before)"
        ax.legend(loc="upper left", fontsize="x-small", frameon=False)
    ax.text(0.97, 0.95, text, transform=ax.transAxes, ha="right", va="top", color=RED)
    return ax


def histograms(
    models: Mapping[str, Params],
    mask: MaskLike = weights,
    axes: Iterable[Axes] | None = None,
    *,
    bins: int = 30,
) -> list[Axes]:
    """Draw the weights of several models side by side, in bins of the same width.

    Args:
        models: Pytrees of parameters, by what to call them.
        mask: Which leaves; by default `weights`.
        axes: Where to draw, one for each; a new figure with shared axes if `None`.
        bins: Number of bins on each side of zero.

    Returns:
        The Axes, one for each model.

    Raises:
        ValueError: As for `histogram`; if there is no model, or not an Axes for each.

    Example:
        >>> dense, sparse = jnp.array([1.0, -2.0]), jnp.array([0.0, -1.0])
        >>> for ax in histograms({"dense": dense, "L1": sparse}):
        ...     print(ax.get_title(), "|", ax.texts[0].get_text())
        dense | 0.0 % exactly zero
        L1 | 50.0 % exactly zero
    """
    values = {name: _values(params, mask) for name, params in models.items()}
    if not values:
        raise ValueError("There must be a model to draw, got none.")
    drawn = grid(len(values)) if axes is None else list(axes)
    if len(drawn) != len(values):
        raise ValueError(f"There must be Axes for {len(values)} models, got {len(drawn)}.")
    edges = _edges(max(map(_reach, values.values())), bins)
    for ax, (name, own) in zip(drawn, values.items(), strict=True):
        _bars(ax, own, edges)
        text = f"{_zero_share(own):.1f} % exactly zero"
        ax.text(0.97, 0.95, text, transform=ax.transAxes, ha="right", va="top", color=RED)
        ax.set_title(name)
        ax.label_outer()
    highest = max(ax.get_ylim()[1] for ax in drawn)
    for ax in drawn:
        ax.set_ylim(top=highest)
    return drawn


def _values(params: Params, mask: MaskLike) -> np.ndarray:
    """All chosen weights, one after the other."""
    arrays = [np.ravel(x) for x in chosen_arrays(params, mask).values()]
    values = np.concatenate([np.zeros(0, np.float32), *arrays])
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "The weights must be finite, but some are infinite or NaN: did the training "
            "diverge? `jaxreg.weight_stats` says in which leaves."
        )
    return values


def _reach(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0)) or 1.0


def _edges(reach: float, bins: int) -> np.ndarray:
    """Edges of bins, of which zero is one."""
    check_count("bins", bins)
    return np.linspace(-reach, reach, 2 * bins + 1)


def _zero_share(values: np.ndarray) -> float:
    return 100 * float(np.sum(values == 0)) / max(1, values.size)


def _bars(ax: Axes, values: np.ndarray, edges: np.ndarray) -> None:
    """Bars of the weights that are not zero, and a bar for those that are."""
    kept = values[values != 0]
    counts, zeros = np.histogram(kept, edges)[0], values.size - kept.size
    width = edges[1] - edges[0]
    ax.bar(edges[:-1], counts, width, align="edge", color=BLUE, label="other weights")
    ax.bar([0.0], [zeros], 0.8 * width, color=RED, label="exactly zero", zorder=3)
    # Axes that share this one may need more.
    ax.set_ylim(0.6, max(ax.get_ylim()[1], 8.0 * max(1, zeros, *counts)))
    ax.set_yscale("log")
    ax.set_xlabel("weight")
    ax.set_ylabel("count")


def _outline(ax: Axes, values: np.ndarray, edges: np.ndarray) -> None:
    """The outlines of the same bars, over those of another."""
    kept = values[values != 0]
    counts, zeros = np.histogram(kept, edges)[0], values.size - kept.size
    ax.stairs(counts, edges, color="black", linewidth=1.2, label="before", zorder=4)
    width = 0.8 * (edges[1] - edges[0])
    ax.bar([0.0], [zeros], width, fill=False, edgecolor="black", linewidth=1.2, zorder=4)
    ax.set_ylim(top=8.0 * max(1, zeros, *counts))


def sparsity(
    kernel: ArrayLike, shape: tuple[int, int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw which entries of a matrix are exactly zero: white; all others are blue.

    Rows and columns that are zero throughout stand out as white lines.

    Args:
        kernel: An array with inputs before outputs, as in Flax: of a Dense or Conv layer.
        shape: Rows and columns to show it as; by default its last axis is the columns.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Raises:
        TypeError: If `kernel` is a pytree of several arrays.
        ValueError: If `kernel` has fewer than two axes and no `shape` is given, or if
            `shape` does not fit it.

    Example:
        >>> ax = sparsity(jnp.array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]))
        >>> ax.get_title()
        '66.7 % exactly zero'
    """
    values = kernel_of(kernel)
    if shape is None and values.ndim < 2:
        raise ValueError(
            f"kernel must have two axes or more, got shape {values.shape}: pass the rows "
            "and columns to show it as, shape=(rows, columns)."
        )
    matrix = shaped(values, shape or (-1, values.shape[UNITS]))
    rows, columns = matrix.shape
    ax = axes(ax)
    ax.imshow(
        matrix != 0,
        cmap=ListedColormap(["white", BLUE]),
        vmin=0,
        vmax=1,
        interpolation="none",
        aspect="equal" if max(rows, columns) <= 3 * min(rows, columns) else "auto",
    )
    ax.set(xlabel="output", ylabel="input")
    ax.set_title(f"{100 * np.mean(matrix == 0):.1f} % exactly zero")
    return ax


def features(
    kernel: ArrayLike, shape: tuple[int, int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how much a layer uses each of its input features, and which it does not use.

    The importance of a feature is the norm √(Σ w²) of its weights. A feature whose
    weights are all exactly zero has no influence at all, and is marked by a cross.

    Args:
        kernel: An array with inputs before outputs, as in Flax: its last axis but one
            numbers the features, in a Dense layer the rows, in a Conv layer the channels.
            Or a vector: the coefficients of a linear model.
        shape: Rows and columns of the image whose pixels are the features; bars if `None`.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Raises:
        TypeError: If `kernel` is a pytree of several arrays.
        ValueError: If `kernel` is a scalar, or `shape` does not fit its features.

    Example:
        >>> ax = features(jnp.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]))
        >>> ax.get_title()
        '1 of 3 features unused'
    """
    values = kernel_of(kernel)
    if values.ndim < 1:
        raise ValueError(
            "kernel must have an axis that numbers the features, got a scalar."
        )
    axis = FEATURES if values.ndim > 1 else 0
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    importance = np.linalg.norm(rows, axis=1)
    unused = np.all(rows == 0, axis=1)
    image = None if shape is None else shaped(importance, shape)

    ax = axes(ax)
    if image is None:
        ax.bar(np.arange(len(importance)), importance, color=BLUE)
        crosses = np.flatnonzero(unused), np.zeros(np.sum(unused))
        ax.set(xlabel="feature", ylabel="norm of its weights")
    else:
        shown = np.ma.masked_array(image, unused.reshape(image.shape))
        ax.imshow(shown, cmap="Blues", vmin=0, interpolation="none")
        crosses = np.nonzero(unused.reshape(image.shape))[::-1]
        ax.set(xticks=[], yticks=[])
    (marks,) = ax.plot(*crosses, "x", color=RED, markeredgewidth=1.5, clip_on=False)
    marks.set_in_layout(False)
    ax.set_title(f"{np.sum(unused)} of {len(unused)} features unused")
    return ax
