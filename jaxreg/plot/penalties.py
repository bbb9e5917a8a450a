"""Pictures of penalties."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.penalties import Penalty
from jaxreg.plot._axes import BLUE, GREY, RED, Axes, axes, numbers


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
    losses = numbers(jax.vmap(jax.vmap(_loss))(plane))
    penalties = numbers(jax.vmap(jax.vmap(penalty))(plane))
    touching, level = float(_loss(solution)), float(penalty(solution)) * (1 + 1e-6)
    penalties = np.where(np.isfinite(penalties), penalties, level + 1)

    ax = axes(ax)
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
    ax.plot(*numbers(solution), "o", color="black", markersize=7, label="least sum")
    ax.legend(loc="lower right", fontsize="x-small", frameon=False, numpoints=1)
    ax.set(aspect="equal", xlabel="$w_1$", ylabel="$w_2$")
    x, y = numbers(solution)
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
