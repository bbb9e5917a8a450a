"""Pictures of penalties: what they cost, what their prox does, and why zeros appear."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg._checks import check_number
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import check_is_penalty
from jaxreg.plot._axes import BLUE, GREY, RED, Axes, axes, numbers


def curves(
    penalty: Penalty,
    ax: Axes | None = None,
    *,
    step: float = 1.0,
    reach: float = 3.0,
    legend: bool = True,
) -> Axes:
    """Draw what a penalty costs one weight, and where its prox moves the weight.

    The dashed line is no change. Where the prox jumps its line is broken, and where a
    constraint forbids the weight the cost is not drawn.

    Args:
        penalty: A penalty, seen at a single weight.
        ax: Where to draw; a new figure if `None`.
        step: That of the prox.
        reach: Weights are shown from `-reach` to `reach`.
        legend: Whether to say which line is which.

    Returns:
        The Axes.

    Raises:
        TypeError: If `penalty` is no penalty.
        ValueError: If `step` is negative, or `reach` not positive.

    Example:
        >>> ax = curves(L1(1.0))
        >>> cost, prox = (line.get_ydata() for line in ax.lines[-2:])
        >>> [float(y[0]) for y in (cost, prox)]
        [3.0, -2.0]
    """
    check_is_penalty(penalty)
    check_number("reach", reach, above=0.0)
    line = np.linspace(-reach, reach, 601)
    points = jnp.asarray(line)[:, None]
    costs = numbers(jax.vmap(penalty)(points))
    moved = numbers(jax.vmap(lambda x: penalty.prox(x, step))(points))[:, 0]
    jumps = np.abs(np.diff(moved, append=moved[-1:])) > 0.1 * reach

    ax = axes(ax)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.plot(line, line, "--", color=GREY, linewidth=1, label="weight")
    shown = np.where(np.isfinite(costs), costs, np.nan)
    ax.plot(line, shown, color=BLUE, linewidth=2, label="penalty")
    ax.plot(line, np.where(jumps, np.nan, moved), color=RED, linewidth=2, label="prox")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="weight")
    if legend:
        ax.legend(loc="lower right", fontsize="x-small", frameon=False)
    return ax


def ball(
    penalty: Callable[[Array], Array],
    ax: Axes | None = None,
    *,
    level: float = 1.0,
    reach: float = 1.5,
) -> Axes:
    """Draw the ball of a penalty: the pairs of weights that cost no more than `level`.

    Corners and edges on the axes are where zeros come from.

    Args:
        penalty: A penalty, or another function of an array of two weights.
        ax: Where to draw; a new figure if `None`.
        level: The cost at the rim.
        reach: Weights are shown from `-reach` to `reach`.

    Returns:
        The Axes.

    Raises:
        ValueError: If `reach` is not positive.

    Example:
        >>> ax = ball(L1(1.0))
        >>> ax.get_aspect()
        1.0
    """
    check_number("reach", reach, above=0.0)
    line = np.linspace(-reach, reach, 401)
    ax = _plane(ax)
    _fill_ball(ax, line, penalty, level)
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
    check_is_penalty(penalty)
    solution = _solution(penalty)
    line = np.linspace(-1.5, 2.5, 401)
    losses = _on_the_plane(_loss, line)
    touching, level = float(_loss(solution)), float(penalty(solution)) * (1 + 1e-6)

    ax = _plane(ax)
    rings = 0.08 * np.arange(1, 7) ** 2
    ax.contour(line, line, losses, rings, colors=[RED], linewidths=0.8, alpha=0.5)
    if touching > 0:
        ax.contour(line, line, losses, [touching], colors=[RED], linewidths=2)
    _fill_ball(ax, line, penalty, level)
    ax.plot([], [], color=BLUE, linewidth=2, label="same penalty")
    ax.plot([], [], color=RED, linewidth=2, label="same loss")
    ax.plot(*_CENTRE, "+", color=RED, markersize=11, markeredgewidth=2, label="least loss")
    ax.plot(*numbers(solution), "o", color="black", markersize=7, label="least sum")
    ax.legend(loc="lower right", fontsize="x-small", frameon=False, numpoints=1)
    x, y = numbers(solution)
    ax.set_title(f"{penalty!r}\nsolution ({x:.2f}, {y:.2f})")
    return ax


def _plane(ax: Axes | None) -> Axes:
    """Axes for two weights."""
    ax = axes(ax)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.set(aspect="equal", xlabel="$w_1$", ylabel="$w_2$")
    return ax


def _on_the_plane(function: Callable[[Array], Array], line: np.ndarray) -> np.ndarray:
    plane = jnp.stack(jnp.meshgrid(line, line), axis=-1)
    return numbers(jax.vmap(jax.vmap(function))(plane))


def _fill_ball(
    ax: Axes, line: np.ndarray, penalty: Callable[[Array], Array], level: float
) -> None:
    costs = _on_the_plane(penalty, line)
    costs = np.where(np.isfinite(costs), costs, level + 1)
    if level > costs.min():
        inside = [costs.min(), level]
        ax.contourf(line, line, costs, inside, colors=[BLUE], alpha=0.25)
        ax.contour(line, line, costs, [level], colors=[BLUE], linewidths=2)


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
