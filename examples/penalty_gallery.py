"""Every penalty in one picture: what weights cost, where they are moved, where they may be.

Lines: penalties that look at one weight at a time, their cost (blue) and prox (red).
Weights become zero where the red line lies on the axis, and stay as they are where it lies
on the dashed one. Areas: penalties that look at several weights, here at two, and the
pairs that cost no more than 1. Corners on the axes make zeros, corners on the diagonal
make weights equal. Points: constraints, and the pairs to which their proxes move the
points of a circle. Penalties of matrices see (a, b) as [[a, b], [b, a]].

Prints the cost of three pairs under each, and saves the figure into examples/output.
"""

import argparse
import inspect
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg import plot

OUTPUT = pathlib.Path(__file__).parent / "output"

# Strengths at which the panels look good; other penalties are shown as they are by default.
LINES: list[jr.Penalty] = [
    jr.L1(1.0),
    jr.L2(0.5),
    jr.ElasticNet(0.6, 0.3),
    jr.Huber(1.0, delta=1.0),
    jr.penalties.Berhu(0.6, delta=0.6),
    jr.NonNegativeL1(0.8),
    jr.L0(0.7),
    jr.penalties.L0L2(0.5, 0.2),
    jr.MCP(1.0, gamma=2.0),
    jr.SCAD(0.7, a=3.0),
    jr.CappedL1(1.0, cap=1.2),
    jr.LogSum(1.2, scale=0.7),
    jr.LHalf(1.0),
    jr.Lp(1.0, p=0.75),
]
AREAS: list[jr.Penalty] = [
    jr.GroupLasso(1.0, group_axis=(), scale="none"),
    jr.SparseGroupLasso(0.5, 0.5, group_axis=(), scale="none"),
    jr.L1Linf(1.0, group_axis=()),
    jr.ExclusiveLasso(1.0, group_axis=()),
    jr.GroupMCP(1.2, gamma=2.0, group_axis=(), scale="none"),
    jr.GroupSCAD(1.0, a=3.0, group_axis=(), scale="none"),
    jr.SLOPE(1.0, weights=(1.0, 0.4)),
    jr.TotalVariation(2.0),
    jr.FusedLasso(0.5, 1.0),
    jr.Smoothness(1.0),
    jr.NuclearNorm(0.5),
    jr.SpectralNorm(1.0),
    jr.Orthogonality(0.5),
]
POINTS: list[jr.Penalty] = [
    jr.NonNegative(),
    jr.Box(-0.5, 1.0),
    jr.LinfBall(0.8),
    jr.L2Ball(0.8),
    jr.MaxNorm(0.8, group_axis=()),
    jr.L1Ball(1.0),
    jr.Simplex(1.0),
    jr.Cardinality(1),
    jr.NOfM(1, 2),
    jr.Rank(1),
    jr.penalties.LassoNet(0.5, hierarchy=2.0),
]
COLUMNS = 8

shown = {type(penalty) for penalty in (*LINES, *AREAS, *POINTS)}
for kind in (getattr(jr, name) for name in dir(jr)):
    is_penalty = isinstance(kind, type) and issubclass(kind, jr.Penalty)
    if is_penalty and not inspect.isabstract(kind) and kind not in shown:
        penalty: jr.Penalty = kind()
        panels = AREAS if penalty.is_finite else POINTS
        (LINES if isinstance(penalty, jr.penalties.Entrywise) else panels).append(penalty)


def seen_by(penalty: jr.Penalty, pair: jax.Array) -> jax.Array:
    """The pair, or the matrix that it stands for."""
    if isinstance(penalty, jr.penalties.LassoNet):  # Of one input: its θ and its W.
        return pair[None]
    return jnp.stack([pair, pair[::-1]]) if penalty.min_ndim > 1 else pair


def draw_projections(penalty: jr.Penalty, ax: Axes) -> None:
    """The points of a circle, and where the prox moves them."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False) + 0.01
    circle = jnp.asarray(1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    nearest = jax.vmap(lambda pair: penalty.prox(seen_by(penalty, pair)))(circle)
    nearest = nearest.reshape(len(angles), -1)[:, :2]
    plot.ball(lambda pair: penalty(seen_by(penalty, pair)), ax)
    for before, after in zip(circle, nearest, strict=True):
        ax.plot(*np.stack([before, after], axis=1), color=plot.GREY, linewidth=0.6)
    ax.plot(*nearest.T, ".", color=plot.RED, markersize=5)


def draw() -> Figure:
    """One panel for each penalty."""
    everyone = [*LINES, *AREAS, *POINTS]
    figure = Figure((1.75 * COLUMNS, 9.2), layout="constrained")
    panels = figure.subplots(-(-len(everyone) // COLUMNS), COLUMNS).flat
    for ax in panels[len(everyone) :]:
        ax.set_axis_off()
    for penalty, ax in zip(everyone, panels, strict=False):
        if penalty in LINES:
            plot.curves(penalty, ax, legend=False).set_aspect("equal")
        elif penalty in AREAS:
            plot.ball(lambda pair, of=penalty: of(seen_by(of, pair)), ax, reach=1.6)
        else:
            draw_projections(penalty, ax)
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
        ax.set_title(type(penalty).__name__)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and save the figure."""
    parser = argparse.ArgumentParser(description="Value, prox and ball of each penalty.")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    pairs = jnp.array([[1.0, 0.0], [0.5, 0.5], [1.0, -1.0]])
    print(f"{'cost of':60}", *(f"({a:g}, {b:g})".rjust(10) for a, b in pairs))
    for penalty in (*LINES, *AREAS, *POINTS):
        costs = (penalty(seen_by(penalty, pair)) for pair in pairs)
        print(f"{penalty!r:60}", *(f"{cost:10.3f}" for cost in costs))
    args.output.mkdir(parents=True, exist_ok=True)
    draw().savefig(args.output / "penalty_gallery.png", dpi=110)


if __name__ == "__main__":
    main()
