"""A picture of what a compaction left of each layer."""

import numpy as np

from jaxreg.compaction import Compaction
from jaxreg.plot._axes import BLUE, GREY, Axes, axes


def compaction(small: Compaction, ax: Axes | None = None) -> Axes:
    """Draw the widths of layers before and after a compaction.

    A layer is a leaf with at least two axes, and its width the length of its last one.

    Args:
        small: What `compact` returned.
        ax: Where to draw; a new figure if `None`.

    Returns:
        The Axes.

    Example:
        >>> params = {"hidden": jnp.array([[1.0, 0.0, 2.0]]), "out": jnp.ones((3, 1))}
        >>> def fn(params, x):
        ...     return jnp.tanh(x @ params["hidden"]) @ params["out"]
        >>> ax = compaction(compact(fn, params, jnp.ones((4, 1))))
        >>> [int(bar.get_width()) for bar in ax.patches]
        [3, 1, 2, 1]
    """
    ax = axes(ax)
    rows = [row for row in small.rows if len(row.before) > 1]
    places = np.arange(len(rows))
    before = [float(row.before[-1]) for row in rows]
    after = [float(row.after[-1]) for row in rows]
    ax.barh(places, before, color=GREY, alpha=0.4, label="before")
    ax.barh(places, after, height=0.5, color=BLUE, label="after")
    ax.set_yticks(places, [row.path for row in rows], fontsize=8)
    ax.invert_yaxis()
    if max(before, default=1) > 50 * min(before, default=1):
        ax.set_xscale("log")
    counts = small.parameters
    ax.set_xlabel("width")
    ax.set_title(f"{counts[0]:,} parameters, then {counts[1]:,}", fontsize=9)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    return ax
