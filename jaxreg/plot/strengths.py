"""Pictures of what strengths do, for choosing one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxreg.plot._axes import BLUE, GREEN, GREY, RED, Axes, axes, numbers, plt
from jaxreg.strength import CrossValidation, one_standard_error, select_best
from jaxreg.strength.sweeps import strength_axis

Chosen = Mapping[str, int]
"""Indices of strengths to mark, by what to call them."""


def path(
    strengths: Any,
    coefficients: ArrayLike,
    ax: Axes | None = None,
    *,
    names: Iterable[str] = (),
    chosen: Chosen | None = None,
) -> Axes:
    """Draw how each coefficient changes with the strength.

    A coefficient that is exactly zero is not drawn: lines start where it enters. Names
    stand at the left end, where strengths are small, as far as they fit.

    Args:
        strengths: The strengths, as for `sweep`.
        coefficients: An array (strengths, ...) of the coefficients at each of them.
        ax: Where to draw; a new figure if `None`.
        names: A name for each coefficient.
        chosen: Indices of strengths to mark, by name: `{"one SE": one_standard_error(cv)}`.

    Returns:
        The Axes.

    Raises:
        ValueError: If there are not as many rows as strengths, or names as coefficients.

    Example:
        >>> ax = path(np.array([1.0, 0.1]), np.array([[0.0, 0.0], [2.0, -1.0]]))
        >>> len(ax.lines), ax.get_xscale()
        (3, 'log')
    """
    values, names = numbers(coefficients), list(names)
    scalars = _scalars(strengths, len(values), "coefficients")
    values = values.reshape(len(values), -1)[np.argsort(scalars)]
    if names and len(names) != values.shape[1]:
        raise ValueError(
            f"names must name all {values.shape[1]} coefficients, got {len(names)} names."
        )
    ax = axes(ax)
    order = np.sort(scalars)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, values.shape[1]))
    for column, colour in zip(values.T, colours, strict=True):
        # Where a coefficient enters, its line starts from zero.
        beside = np.r_[column[1:] != 0, False] | np.r_[False, column[:-1] != 0]
        shown = np.where((column != 0) | beside, column, np.nan)
        ax.plot(order, shown, color=colour, linewidth=1.5)
    _finish(ax, scalars, chosen)
    if names:
        _name(ax, order[0], values[0], names)
    ax.set_ylabel("coefficient")
    return ax


def _name(ax: Axes, x: float, ends: np.ndarray, names: Sequence[str]) -> None:
    """Write names left of the lines: the largest first, none upon another."""
    apart = 0.05 * np.ptp(ends)
    taken: list[float] = []
    for column in np.argsort(-np.abs(ends)):
        end = float(ends[column])
        if end != 0 and all(abs(end - other) >= apart for other in taken):
            taken.append(end)
            ax.annotate(
                names[int(column)],
                (x, end),
                xytext=(-3, 0),
                textcoords="offset points",
                horizontalalignment="right",
                verticalalignment="center",
                fontsize="x-small",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )
    # The axis begins further left, by the width of the longest name at 4 points a letter.
    letters = max([len(text.get_text()) for text in ax.texts], default=0)
    width = ax.bbox.width * 72 / ax.figure.dpi
    scale = ax.xaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_xlim()))
    low = high - (high - low) / (1 - min(0.5, 4 * letters / width))
    ax.set_xlim(left=scale.inverted().transform(np.array([low])).item())


def trade_off(
    strengths: Any,
    scores: ArrayLike,
    zero_fractions: ArrayLike,
    ax: Axes | None = None,
    *,
    chosen: Chosen | None = None,
) -> Axes:
    """Draw what a strength costs and what it buys: score, and fraction of exact zeros.

    Args:
        strengths: The strengths, as for `sweep`.
        scores: A score for each of them; with more axes, several runs, of which the mean
            is drawn as a line over the runs.
        zero_fractions: Fractions of exact zeros, likewise.
        ax: Where to draw; a new figure if `None`. Zeros get an axis of their own on the
            right.
        chosen: Indices of strengths to mark, by name.

    Returns:
        The Axes of the scores.

    Raises:
        ValueError: If there is not a score and a fraction for each strength.

    Example:
        >>> ax = trade_off(np.array([1.0, 0.1]), np.array([0.8, 0.9]), np.array([0.7, 0.1]))
        >>> ax.get_ylabel(), [twin.get_ylabel() for twin in ax.figure.axes[1:]]
        ('score', ['exact zeros (%)'])
    """
    ax = axes(ax)
    right = ax.twinx()
    both = (
        (ax, scores, BLUE, "score", 1),
        (right, zero_fractions, RED, "exact zeros (%)", 100),
    )
    for side, given, colour, label, factor in both:
        values = factor * numbers(given)
        scalars = _scalars(strengths, len(values), label)
        order = np.argsort(scalars)
        runs = values.reshape(len(values), -1)[order]
        if runs.shape[1] > 1:
            side.plot(scalars[order], runs, ".", color=colour, markersize=3, alpha=0.4)
        side.plot(scalars[order], runs.mean(axis=1), color=colour, linewidth=1.8)
        side.set_ylabel(label, color=colour)
        side.tick_params(axis="y", labelcolor=colour)
    # "best" knows only the lines of one side. At small strengths both are far from here.
    _finish(ax, _scalars(strengths, None, ""), chosen, legend="center left")
    return ax


def cross_validation(
    found: CrossValidation, ax: Axes | None = None, *, chosen: Chosen | None = None
) -> Axes:
    """Draw mean scores with their standard errors, and the strengths that rules choose.

    Args:
        found: Scores of strengths on folds.
        ax: Where to draw; a new figure if `None`.
        chosen: Indices of strengths to mark, by name; by default `select_best`, and
            `one_standard_error` with the level that it allows.

    Returns:
        The Axes.

    Raises:
        ValueError: If every strength has diverged on some fold.

    Example:
        >>> scores = np.array([[9.0, 9.0], [3.5, 3.5], [2.0, 4.0]])
        >>> ax = cross_validation(CrossValidation(np.array([10.0, 1.0, 0.1]), scores))
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['best mean: 0.1', 'one standard error: 1']
    """
    scalars = _scalars(found.strengths, len(found.scores), "scores")
    ax = axes(ax)
    order = np.argsort(scalars)
    mean, error = found.mean, found.standard_error
    ax.errorbar(
        scalars[order],
        mean[order],
        yerr=error[order],
        color=RED,
        ecolor=GREY,
        elinewidth=0.9,
        capsize=2,
        marker=".",
        linewidth=1.2,
    )
    if chosen is None:
        best = select_best(found)
        chosen = {"best mean": best}
        if found.scores.shape[1] > 1:
            chosen["one standard error"] = one_standard_error(found)
            worse = -error[best] if found.higher_is_better else error[best]
            ax.axhline(mean[best] + worse, color=GREY, linewidth=0.8, linestyle=":")
    _finish(ax, scalars, chosen)
    ax.set_ylabel("score" if found.higher_is_better else "loss")
    return ax


def _scalars(strengths: Any, rows: int | None, what: str) -> np.ndarray:
    """The strengths as numbers: of a penalty, the first that is not always the same."""
    leaves = [numbers(x) for x in jax.tree.leaves(strength_axis(strengths))]
    scalars = next((x for x in leaves if np.ndim(x) == 1 and np.ptp(x) > 0), leaves[0])
    if rows is not None and rows != len(scalars):
        raise ValueError(
            f"There must be one of the {what} for each of the {len(scalars)} strengths, "
            f"got {rows}."
        )
    return scalars


def _finish(
    ax: Axes,
    scalars: np.ndarray,
    chosen: Chosen | None,
    legend: Literal["best", "center left"] = "best",
) -> None:
    """A logarithmic axis of strengths, and marks at the chosen ones."""
    if np.all(scalars > 0):
        ax.set_xscale("log")
    ax.set_xlabel("strength")
    styles = zip((BLUE, GREEN, RED), ("--", "-.", ":"), strict=True)
    for (name, index), (colour, style) in zip((chosen or {}).items(), styles, strict=False):
        label = f"{name}: {scalars[index]:.3g}"
        ax.axvline(scalars[index], color=colour, linestyle=style, label=label)
    if chosen:
        ax.legend(loc=legend, fontsize="small", framealpha=1.0, edgecolor="none")
