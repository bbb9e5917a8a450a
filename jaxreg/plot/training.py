"""Pictures of what statistics do while a model trains."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxreg.plot._axes import GREY, SEVERAL, Axes, MaxNLocator, axes, numbers, plt

# What is listed by name; more lines than that are drawn, but not named.
_NAMED = 8
_STYLES = ("-", "--", "-.", ":")

_WORDS = {
    "mean_abs": "mean |w|",
    "max_abs": "max |w|",
    "norm": "norm of the weights",
    "zero_fraction": "exact zeros (fraction)",
    "zero_units": "units that are zero (fraction)",
    "zero_features": "inputs that are unused (fraction)",
    "update_ratio": "update / weights (norms)",
    "gradient_norm": "norm of the gradients",
    "kkt_residual": "KKT residual",
    "penalty_fraction": "penalty / objective",
}


def stats(
    history: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    statistic: str = "zero_fraction",
    ax: Axes | None = None,
) -> Axes:
    """Draw a statistic over training: a line for each leaf, and a thick one in total.

    Where all values are positive and far apart, their axis is logarithmic.

    Args:
        history: Statistics at several steps: a dict of arrays, as `jax.lax.scan` stacks
            what `latest_stats` returns in it, or a list of dicts. Steps are read from
            `step`, if it is there, and drawn once each.
        statistic: Which, as `weight_stats` calls it.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Raises:
        ValueError: If the history has no such statistic, or no steps.

    Example:
        >>> logged = [weight_stats({"w": jnp.array([2.0, x])}) for x in (1.0, 0.0)]
        >>> ax = stats(logged, "zero_fraction")
        >>> [(line.get_label(), line.get_ydata().tolist()) for line in ax.lines]
        [('w', [0.0, 0.5]), ('total', [0.0, 0.5])]
    """
    columns = _columns(history)
    suffix = f"/{statistic}"
    lines = {
        name.removesuffix(suffix): values
        for name, values in columns.items()
        if name.endswith(suffix)
    }
    if statistic in columns:
        lines["weights"] = columns[statistic]
    if not lines:
        raise ValueError(
            f"The history must have the statistic {statistic!r}, but it has "
            f"{sorted({name.rpartition('/')[2] for name in columns})}."
        )
    count = len(next(iter(lines.values())))
    taken = columns.get("step", np.arange(count))
    steps, indices = np.unique(taken, return_index=True)
    steps, indices = steps[steps >= 0], indices[steps >= 0]
    if len(steps) == 0:
        raise ValueError("The history must have at least one step, got none.")
    total = lines.pop("total", None)
    ax = axes(ax)
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, max(1, len(lines))))
    if len(lines) <= len(SEVERAL):
        colours = SEVERAL
    for index, (name, values) in enumerate(lines.items()):
        label = name if index < _NAMED else f"_{name}"
        style = _STYLES[index % len(_STYLES)]
        ax.plot(steps, values[indices], style, color=colours[index], label=label)
    if len(lines) > _NAMED:
        ax.plot([], [], color=GREY, label=f"and {len(lines) - _NAMED} more")
    if total is not None:
        ax.plot(steps, total[indices], color="black", linewidth=2.5, label="total")
    _scale(ax, [*lines.values(), *([] if total is None else [total])], indices)
    ax.set(xlabel="step", ylabel=_WORDS.get(statistic, statistic.replace("_", " ")))
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if len(ax.lines) > 1:
        ax.legend(fontsize="x-small", framealpha=0.85, edgecolor="none")
    return ax


def _columns(
    history: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> dict[str, np.ndarray]:
    """Each statistic as an array over steps."""
    if not isinstance(history, Mapping):
        names = history[0].keys() if history else ()
        history = {name: np.stack([row[name] for row in history]) for name in names}
    return {name: np.atleast_1d(numbers(values)) for name, values in history.items()}


def _scale(ax: Axes, lines: Sequence[np.ndarray], indices: np.ndarray) -> None:
    values = np.concatenate([line[indices] for line in lines])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 100 * values.min():
        ax.set_yscale("log")
