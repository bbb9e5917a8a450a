"""Pictures of which inputs are selected."""

from collections.abc import Iterable

import numpy as np

from jaxreg.networks import InputPath
from jaxreg.plot._axes import BLUE, GREY, RED, Axes, axes
from jaxreg.strength import Stability


def inputs(found: InputPath, ax: Axes | None = None) -> Axes:
    """Draw the score against the number of inputs in use, and mark the chosen network.

    Of the strengths with the same number of inputs the best score is drawn, with its
    standard error.

    Args:
        found: What `select_inputs` returns, or `path_` of an estimator.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Example:
        >>> from jaxreg.networks import InputPath
        >>> grid, losses = np.array([0.1, 1.0]), np.array([[2.0, 3.0], [4.0, 5.0]])
        >>> used = np.array([[True, True], [True, False]])
        >>> scores = CrossValidation(grid, losses)
        >>> found = InputPath(grid, used, scores, {}, 0, 0.0, 100)
        >>> ax = inputs(found)
        >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
        ('inputs in use', ['chosen: 2 inputs'])
    """
    ax = axes(ax)
    mean, error = found.validation.mean, found.validation.standard_error
    finite = np.isfinite(mean)
    numbers = np.unique(found.counts[finite])
    best = [
        min(np.flatnonzero((found.counts == n) & finite), key=lambda i: mean[i])
        for n in numbers
    ]
    ax.errorbar(
        numbers,
        mean[best],
        yerr=error[best],
        color=RED,
        ecolor=GREY,
        elinewidth=0.9,
        capsize=2,
        marker=".",
        linewidth=1.2,
    )
    count = len(found.chosen)
    label = f"chosen: {count} input{'' if count == 1 else 's'}"
    ax.axvline(count, color=BLUE, linestyle="--", label=label)
    ax.legend(fontsize="small", framealpha=1.0, edgecolor="none")
    ax.set(xlabel="inputs in use", ylabel="loss")
    return ax


def stability(
    found: Stability,
    ax: Axes | None = None,
    *,
    threshold: float | None = None,
    names: Iterable[str] = (),
) -> Axes:
    """Draw how often each input was selected, the most stable first.

    The colour says which are chosen.

    Args:
        found: What `stability_selection` returns.
        ax: Where to draw; a new figure if `None`.
        threshold: The threshold that it was given, for a line.
        names: A name for each input.

    Returns:
        The Axes.

    Raises:
        ValueError: If there are not as many names as inputs.

    Example:
        >>> ax = stability(stability_selection(np.array([[True, False], [True, True]])))
        >>> [float(bar.get_height()) for bar in ax.patches]
        [1.0, 0.5]
    """
    probabilities, chosen = np.asarray(found.probabilities), np.asarray(found.chosen)
    labels = list(names)
    if labels and len(labels) != len(probabilities):
        raise ValueError(
            f"names must name all {len(probabilities)} inputs, got {len(labels)} names."
        )
    ax = axes(ax)
    order = np.argsort(-probabilities, kind="stable")
    colours = [BLUE if chosen[i] else GREY for i in order]
    ax.bar(np.arange(len(order)), probabilities[order], color=colours)
    if threshold is not None:
        ax.axhline(threshold, color=RED, linewidth=0.9, linestyle=":")
    if labels:
        ax.set_xticks(np.arange(len(order)), [labels[i] for i in order], rotation=90)
    ax.set(ylabel="fraction of runs that select it", ylim=(0, 1.05))
    ax.set_xlabel("input" if labels else "inputs, most stable first")
    return ax
