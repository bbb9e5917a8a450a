"""Pictures of weights and penalties, drawn with matplotlib (`pip install "jaxreg[plot]"`).

    from jaxreg import plot
    plot.histogram(params).figure.savefig("weights.png")

Every function draws on the Axes it is given (or on a new one) and returns it. None of
them calls `show`, none of them changes matplotlib's settings. The colours are those of
Okabe and Ito, which colour-blind readers can tell apart.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxreg._numbers import raise_precision
from jaxreg._tree import Params
from jaxreg.masks import MaskLike, chosen_arrays, weights
from jaxreg.penalties import Penalty

try:
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
except ImportError as error:
    raise ImportError(
        'jaxreg.plot needs matplotlib: `pip install "jaxreg[plot]"`.'
    ) from error

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def histogram(
    params: Params, mask: MaskLike = weights, ax: Axes | None = None, *, bins: int = 30
) -> Axes:
    """Draw how large the weights are, with the exact zeros as a bar of their own.

    Counts are on a logarithmic axis: a few large weights stay visible beside thousands of
    small ones. Zero is an edge of the bins, so the bar at zero holds exact zeros and
    nothing else; their share is written above.

    Args:
        params: A pytree of parameters.
        mask: Which leaves; by default `weights`.
        ax: Where to draw; a new figure if `None`.
        bins: Number of bins on each side of zero.

    Returns:
        The Axes.

    Raises:
        ValueError: If `bins` is less than 1, the mask chooses nothing, or a chosen weight
            is infinite or NaN.

    Example:
        >>> ax = histogram({"kernel": jnp.array([0.0, 0.0, 0.0, -0.5])})
        >>> ax.texts[0].get_text()
        '75.0 % exactly zero'
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    arrays = [np.ravel(x) for x in chosen_arrays(params, mask).values()]
    values = np.concatenate([np.zeros(0, np.float32), *arrays])
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "The weights must be finite, but some are infinite or NaN: did the training "
            "diverge? `jaxreg.weight_stats` says in which leaves."
        )
    kept = values[values != 0]
    zeros = values.size - kept.size
    reach = float(np.max(np.abs(kept), initial=0.0)) or 1.0
    counts, edges = np.histogram(kept, 2 * bins, (-reach, reach))
    width = reach / bins

    ax = _axes(ax)
    ax.bar(edges[:-1], counts, width, align="edge", color=BLUE, label="other weights")
    ax.bar([0.0], [zeros], 0.8 * width, color=RED, label="exactly zero", zorder=3)
    # Axes that share this one may need more.
    ax.set_ylim(0.6, max(ax.get_ylim()[1], 8.0 * max(1, zeros, *counts)))
    ax.set_yscale("log")
    ax.set_xlabel("weight")
    ax.set_ylabel("count")
    share = 100 * zeros / max(1, values.size)
    ax.text(
        0.97,
        0.95,
        f"{share:.1f} % exactly zero",
        transform=ax.transAxes,
        ha="right",
        va="top",
        color=RED,
    )
    return ax


def geometry(penalty: Penalty, ax: Axes | None = None) -> Axes:
    """Draw why a penalty gives the solutions it gives: L1 corners, L2 a circle.

    In the plane of two weights, with a quadratic loss: its contours and its minimum, the
    point that minimises `loss + penalty`, and the ball of the penalty through that point.
    The solution is computed, by proximal gradient descent with `penalty.prox`.

    Args:
        penalty: A penalty of two weights, such as `L1(1.0)`. Strengths around 1 read
            best.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Raises:
        TypeError: If `penalty` is no penalty.

    Example:
        >>> ax = geometry(L1(1.0))
        >>> print(ax.get_title())
        L1(strength=1.0)
        solution (0.00, 1.07)

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996), figure 2.
    """
    if not isinstance(penalty, Penalty):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"penalty must be a jaxreg penalty such as jaxreg.L1(1.0), got {penalty!r}."
        )
    solution = _solution(penalty)
    line = np.linspace(-1.5, 2.5, 401)
    plane = jnp.stack(jnp.meshgrid(line, line), axis=-1)
    losses = _numbers(jax.vmap(jax.vmap(_loss))(plane))
    penalties = _numbers(jax.vmap(jax.vmap(penalty))(plane))
    touching, level = float(_loss(solution)), float(penalty(solution)) * (1 + 1e-6)
    penalties = np.where(np.isfinite(penalties), penalties, level + 1)

    ax = _axes(ax)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    rings = 0.08 * np.arange(1, 7) ** 2
    ax.contour(line, line, losses, rings, colors=[RED], linewidths=0.8, alpha=0.5)
    if touching > 0:
        ax.contour(line, line, losses, [touching], colors=[RED], linewidths=2)
    if level > penalties.min():
        ball = [penalties.min(), level]
        ax.contourf(line, line, penalties, ball, colors=[BLUE], alpha=0.25)
        ax.contour(line, line, penalties, [level], colors=[BLUE], linewidths=2)
    ax.plot([], [], color=BLUE, linewidth=2, label="same penalty")
    ax.plot([], [], color=RED, linewidth=2, label="same loss")
    ax.plot(*_CENTRE, "+", color=RED, markersize=11, markeredgewidth=2, label="least loss")
    ax.plot(*_numbers(solution), "o", color="black", markersize=7, label="least sum")
    ax.legend(loc="lower right", fontsize="x-small", frameon=False, numpoints=1)
    ax.set(aspect="equal", xlabel="$w_1$", ylabel="$w_2$")
    x, y = _numbers(solution)
    ax.set_title(f"{penalty!r}\nsolution ({x:.2f}, {y:.2f})")
    return ax


_CENTRE = np.array([0.7, 1.5])
_CURVATURE = np.array([[1.0, 0.5], [0.5, 1.5]])


def _loss(w: Array) -> Array:
    """The quadratic loss of `geometry`."""
    return 0.5 * (w - _CENTRE) @ _CURVATURE @ (w - _CENTRE)


def _solution(penalty: Penalty) -> Array:
    """The minimiser of `_loss + penalty`, by proximal gradient descent."""
    step = float(1 / np.linalg.norm(_CURVATURE, 2))

    def advance(_: Any, w: Array) -> Array:
        return penalty.prox(w - step * jax.grad(_loss)(w), step)

    return jax.lax.fori_loop(0, 1000, advance, jnp.asarray(_CENTRE))


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
        ValueError: If `kernel` has fewer than two axes and no `shape` is given, or if
            `shape` does not fit it.

    Example:
        >>> ax = sparsity(jnp.array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]))
        >>> ax.get_title()
        '66.7 % exactly zero'
    """
    values = _numbers(kernel)
    if shape is None and values.ndim < 2:
        raise ValueError(
            f"kernel must have two axes or more, got shape {values.shape}: pass the rows "
            "and columns to show it as, shape=(rows, columns)."
        )
    matrix = _shaped(values, shape or (-1, values.shape[-1]))
    rows, columns = matrix.shape
    ax = _axes(ax)
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
        kernel: An array whose first axis numbers the features: of a Dense layer, or the
            coefficients of a linear model.
        shape: Rows and columns of the image whose pixels are the features; bars if `None`.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Raises:
        ValueError: If `kernel` is a scalar, or `shape` does not fit its features.

    Example:
        >>> ax = features(jnp.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]))
        >>> ax.get_title()
        '1 of 3 features unused'
    """
    values = _numbers(kernel)
    if values.ndim < 1:
        raise ValueError(
            "kernel must have an axis that numbers the features, got a scalar."
        )
    rows = values.reshape(values.shape[0], -1)
    importance = np.linalg.norm(rows, axis=1)
    unused = np.all(rows == 0, axis=1)
    image = None if shape is None else _shaped(importance, shape)

    ax = _axes(ax)
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


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(5, 3.6), layout="constrained")[1] if ax is None else ax


def _numbers(x: ArrayLike) -> np.ndarray:
    """`x` in host memory, in a dtype that numpy knows."""
    return np.asarray(raise_precision(x))


def _shaped(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    try:
        return values.reshape(shape)
    except ValueError:
        raise ValueError(
            f"shape must have as many entries as there are values to show, "
            f"{values.size}, got {shape}."
        ) from None
