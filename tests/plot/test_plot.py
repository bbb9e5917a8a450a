"""What the pictures show is what the numbers are."""

import importlib
import itertools
import pathlib
import re
import sys
from typing import Any

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from flax import nnx
from matplotlib.colors import to_hex

import jaxreg
from jaxreg import plot
from jaxreg.plot import penalties

mpl.use("Agg")

KERNEL = np.array([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [-2.0, 0.0, -0.0], [0.5, 1.0, 2.0]])
GRID = np.array([8.0, 4.0, 2.0, 1.0])
COEFFICIENTS = np.array([[0.0, 0, 0], [0, 0, -1], [0, 2, -2], [0, 3, -1]])
VALIDATION = jaxreg.strength.CrossValidation(
    GRID, np.array([[9.0, 9.0], [3.5, 3.7], [2.0, 4.0], [2.5, 4.5]])
)
HISTORY = {
    "step": np.array([-1, 0, 0, 10, 20]),
    "a/kernel/norm": np.array([0.0, 4, 4, 2, 1]),
    "b/kernel/norm": np.array([0.0, 3, 3, 2, 1 / 64]),
    "total/norm": np.array([0.0, 5, 5, 3, 1]),
    "total/penalty": np.array([0.0, 2, 2, 1, 1]),
}
SMALL = jaxreg.compact(
    lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"],
    {"in": jnp.array([[1.0, 0.0, 2.0]]), "out": jnp.ones((3, 1))},
    jnp.ones((2, 1)),
)
PICTURES = {
    "histogram": lambda ax=None: plot.histogram({"kernel": KERNEL}, ax=ax),
    "before-after": lambda ax=None: plot.histogram(KERNEL, ax=ax, before=KERNEL + 1),
    "stats": lambda ax=None: plot.stats(HISTORY, "norm", ax=ax),
    "curves": lambda ax=None: plot.curves(jaxreg.MCP(0.5), ax=ax),
    "ball": lambda ax=None: plot.ball(jaxreg.L1(1.0), ax=ax),
    "geometry": lambda ax=None: plot.geometry(jaxreg.L1(0.5), ax=ax),
    "sparsity": lambda ax=None: plot.sparsity(KERNEL, ax=ax),
    "features": lambda ax=None: plot.features(KERNEL, ax=ax),
    "features-image": lambda ax=None: plot.features(KERNEL, shape=(2, 2), ax=ax),
    "path": lambda ax=None: plot.path(GRID, COEFFICIENTS, ax=ax, names="abc"),
    "trade-off": lambda ax=None: plot.trade_off(GRID, GRID, 1 / GRID, ax=ax),
    "compaction": lambda ax=None: plot.compaction(SMALL, ax=ax),
    "cross-validation": lambda ax=None: plot.cross_validation(VALIDATION, ax=ax),
}
every_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    plot.plt.close("all")


# On which axes.


@every_picture
def test_draws_on_the_axes_it_is_given(draw, monkeypatch):
    monkeypatch.setattr(plot.plt, "show", lambda: pytest.fail("show was called"))
    before = plot.plt.get_fignums()
    figure, (left, right) = plot.plt.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()
    assert plot.plt.get_fignums() == [*before, figure.number]
    figure.canvas.draw()


@pytest.mark.sampled(3)
@every_picture
def test_makes_a_figure_if_given_none(draw, monkeypatch):
    monkeypatch.setattr(plot.plt, "show", lambda: pytest.fail("show was called"))
    settings = mpl.rcParams.copy()
    ax = draw()
    ax.figure.canvas.draw()
    assert plot.plt.get_fignums() == [ax.figure.number]
    assert mpl.rcParams == settings


# The histogram.


def test_histogram_counts_exact_zeros_apart():
    params = {"kernel": KERNEL, "bias": np.zeros(100), "step": np.array(3)}
    ax = plot.histogram(params, bins=4)
    others, zero = ax.containers
    assert [bar.get_height() for bar in others] == [1, 0, 0, 0, 0, 1, 1, 2]
    assert [bar.get_x() for bar in others] == pytest.approx(np.arange(-2, 2, 0.5))
    assert [(bar.get_center()[0], bar.get_height()) for bar in zero] == [(0, 7)]
    assert ax.texts[0].get_text() == "58.3 % exactly zero"
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[1] > 7
    assert to_hex(zero[0].get_facecolor()) != to_hex(others[0].get_facecolor())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.ones(8), "0.0 % exactly zero"),
        (np.zeros(8), "100.0 % exactly zero"),
        ({}, "0.0 % exactly zero"),
    ],
)
def test_histogram_of_all_or_no_zeros(values, text):
    ax = plot.histogram(values)
    ax.figure.canvas.draw()
    assert ax.texts[0].get_text() == text


def test_histogram_adds_up_leaves_of_any_precision():
    leaves = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.zeros(5, jnp.float16)}
    ax = plot.histogram(leaves, mask=jaxreg.everything)
    assert sum(bar.get_height() for bar in ax.containers[0]) == 3
    assert ax.containers[1][0].get_height() == 5


def test_histogram_does_not_count_tiny_weights_as_zeros():
    ax = plot.histogram(np.array([1e-30, -1e-30, 1.0, 0.0]))
    assert ax.texts[0].get_text() == "25.0 % exactly zero"


def test_histograms_that_share_an_axis_all_fit():
    _, (left, right) = plot.plt.subplots(1, 2, sharey=True)
    plot.histogram(np.zeros(5000), ax=left)
    plot.histogram(np.ones(5), ax=right)
    assert left.get_ylim()[1] > 5000


def test_before_is_an_outline_in_the_same_bins():
    before = np.array([[4.0, 0.0, 0.0], [-1.0, 0.5, 3.0]])
    ax = plot.histogram(KERNEL, bins=4, before=before)
    outline: Any = next(patch for patch in ax.patches if patch.get_label() == "before")
    counts, edges, _ = outline.get_data()
    assert counts.tolist() == [0, 0, 0, 1, 1, 0, 0, 2]
    np.testing.assert_allclose(edges, np.arange(-4, 5))
    outlined_zeros, others, zeros = containers_of(ax)
    assert [bar.get_height() for bar in others] == [0, 0, 1, 0, 1, 2, 1, 0]
    assert [bar.get_height() for bar in (*outlined_zeros, *zeros)] == [2, 7]
    assert not outlined_zeros[0].get_fill()
    assert ax.texts[0].get_text() == "58.3 % exactly zero\n(33.3 % before)"
    assert legend_of(ax) == "before"


def test_histograms_side_by_side_have_the_same_bins_and_scales():
    models = {"dense": 4 + KERNEL, "sparse": KERNEL, "none": np.zeros(900)}
    drawn = plot.histograms(models, bins=3)
    figure: Any = drawn[0].figure
    figure.canvas.draw()
    assert [ax.get_title() for ax in drawn] == list(models)
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in drawn}) == 1
    assert drawn[0].get_ylim()[1] > 900
    bars = [[bar.get_height() for bar in containers_of(ax)[0]] for ax in drawn]
    assert bars == [[0, 0, 0, 0, 1, 11], [0, 0, 1, 3, 1, 0], [0] * 6]
    assert [containers_of(ax)[1][0].get_height() for ax in drawn] == [0, 7, 900]
    shares = [ax.texts[0].get_text() for ax in drawn]
    assert shares == [f"{x} % exactly zero" for x in (0.0, 58.3, 100.0)]


def test_histograms_on_given_axes():
    _, given = plot.plt.subplots(1, 2)
    drawn = plot.histograms({"a": KERNEL, "b": np.zeros(100)}, axes=given)
    assert all(map(lambda x, y: x is y, drawn, given))
    assert given[0].get_ylim() == given[1].get_ylim()
    with pytest.raises(ValueError, match="Axes for 1 models, got 2"):
        plot.histograms({"a": KERNEL}, axes=given)
    with pytest.raises(ValueError, match="must be a model to draw, got none"):
        plot.histograms({})


def test_histogram_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="must be finite.*diverge"):
        plot.histogram(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        plot.histogram(KERNEL, bins=0)
    with pytest.raises(ValueError, match="must choose at least one"):
        plot.histogram({"bias": np.ones(3)})


# The geometry.


def elastic_net_solution(l1, l2):
    """The best of the minimisers for every choice of signs, each in closed form."""
    centre, curvature = penalties._CENTRE, penalties._CURVATURE

    def objective(w):
        loss = 0.5 * (w - centre) @ curvature @ (w - centre)
        return loss + l1 * np.sum(np.abs(w)) + l2 * np.sum(w**2)

    candidates = []
    for signs in itertools.product((-1, 0, 1), repeat=2):
        sign = np.array(signs)
        on = sign != 0
        matrix = curvature[np.ix_(on, on)] + 2 * l2 * np.eye(np.sum(on))
        w = np.zeros(2)
        w[on] = np.linalg.solve(matrix, (curvature @ centre - l1 * sign)[on])
        candidates.append(w)
    return min(candidates, key=objective)


CASES = [
    (jaxreg.L1(1.0), (1.0, 0.0)),
    (jaxreg.L1(0.3), (0.3, 0.0)),
    (jaxreg.L2(0.5), (0.0, 0.5)),
    (jaxreg.ElasticNet(l1=0.7, l2=0.2), (0.7, 0.2)),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("penalty", "strengths"), CASES)
def test_geometry_marks_the_minimiser(penalty, strengths):
    expected = elastic_net_solution(*strengths)
    ax = plot.geometry(penalty)
    np.testing.assert_allclose(marked(ax, "least sum"), expected, atol=1e-5)
    np.testing.assert_allclose(marked(ax, "least loss"), penalties._CENTRE)
    x, y = expected
    assert ax.get_title() == f"{penalty!r}\nsolution ({x:.2f}, {y:.2f})"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("penalty", "strengths"), CASES)
def test_geometry_ball_and_loss_meet_at_the_solution(penalty, strengths):
    ax = plot.geometry(penalty)
    solution = marked(ax, "least sum")
    for colour, function in ((plot.BLUE, penalty), (plot.RED, penalties._loss)):
        curve = thick_contour(ax, colour)
        values = np.array([function(jnp.asarray(point)) for point in curve[::20]])
        np.testing.assert_allclose(
            values, float(function(jnp.asarray(solution))), rtol=0.02
        )
        distance = np.linalg.norm(curve - solution, axis=1)
        assert distance.min() < 0.02


@pytest.mark.parametrize("strength", [0.0, 50.0])
def test_geometry_at_the_extremes(strength):
    ax = plot.geometry(jaxreg.L1(strength))
    ax.figure.canvas.draw()
    expected = penalties._CENTRE if strength == 0 else np.zeros(2)
    np.testing.assert_allclose(marked(ax, "least sum"), expected, atol=1e-6)


def test_geometry_refuses_what_is_no_penalty():
    with pytest.raises(TypeError, match=r"jaxreg\.L1\(1e-4\), got 'L1'"):
        plot.geometry("L1")  # pyright: ignore[reportArgumentType]


def marked(ax, label):
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.array([line.get_xdata()[0], line.get_ydata()[0]], np.float32)


def thick_contour(ax, colour):
    (contour,) = [
        collection
        for collection in ax.collections
        if not collection.filled
        and collection.get_linewidth()[0] == 2
        and to_hex(collection.get_edgecolor()[0]) == colour.lower()
    ]
    return np.asarray(contour.get_paths()[0].vertices, np.float32)


def lines_of(ax) -> Any:
    return ax.lines


def containers_of(ax) -> Any:
    return ax.containers


def image_of(ax) -> Any:
    return ax.images[0].get_array()


# Statistics over training.


def test_stats_draws_each_leaf_and_the_total():
    ax = plot.stats(HISTORY, "norm")
    ax.figure.canvas.draw()
    drawn = {line.get_label(): line.get_ydata().tolist() for line in lines_of(ax)}
    assert drawn == {"a/kernel": [4, 2, 1], "b/kernel": [3, 2, 1 / 64], "total": [5, 3, 1]}
    assert all(line.get_xdata().tolist() == [0, 10, 20] for line in lines_of(ax))
    assert lines_of(ax)[-1].get_linewidth() > lines_of(ax)[0].get_linewidth()
    looks = {(line.get_color(), line.get_linestyle()) for line in lines_of(ax)}
    assert len(looks) == len({style for _, style in looks}) + 1 == 3
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "norm of the weights")


def test_stats_of_a_log_on_the_host():
    rows = [
        jaxreg.weight_stats({"w": KERNEL * x}, updates={"w": KERNEL}) for x in (1, 2, 4)
    ]
    ax = plot.stats(rows, "update_ratio")
    np.testing.assert_allclose(lines_of(ax)[0].get_ydata(), [1, 0.5, 0.25])
    assert lines_of(ax)[0].get_xdata().tolist() == [0, 1, 2]
    assert ax.get_yscale() == "linear"


def test_stats_of_the_total_alone():
    ax = plot.stats(HISTORY, "penalty")
    (line,) = lines_of(ax)
    assert line.get_ydata().tolist() == [2, 1, 1]
    assert ax.get_legend() is None
    bare = plot.stats([{"norm": 1.0}, {"norm": 2.0}], "norm")
    assert lines_of(bare)[0].get_ydata().tolist() == [1, 2]


def test_stats_names_only_a_few_of_many_leaves():
    history = {f"layer_{i}/norm": np.ones(2) * i for i in range(1, 12)}
    ax = plot.stats(history, "norm")
    legend: Any = ax.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [*(f"layer_{i}" for i in range(1, 9)), "and 3 more"]
    assert len([line for line in lines_of(ax) if len(line.get_xdata())]) == 11


def test_stats_refuses_what_is_not_there():
    with pytest.raises(ValueError, match="statistic 'nrom', but it has .*'norm'"):
        plot.stats(HISTORY, "nrom")
    with pytest.raises(ValueError, match="at least one step"):
        plot.stats({"step": np.array([-1]), "total/norm": np.zeros(1)}, "norm")


# Zeros of a matrix.


def test_sparsity_shows_where_the_zeros_are():
    ax = plot.sparsity(KERNEL)
    np.testing.assert_array_equal(image_of(ax), KERNEL != 0)
    shown = ax.images[0].to_rgba(image_of(ax))
    assert to_hex(shown[0, 0]) == "#ffffff"
    assert to_hex(shown[0, 1]) == plot.BLUE.lower()
    assert ax.get_title() == "58.3 % exactly zero"


def test_sparsity_of_other_shapes():
    convolution = np.arange(24.0).reshape(2, 3, 2, 2)
    image = image_of(plot.sparsity(convolution))
    np.testing.assert_array_equal(image, convolution.reshape(12, 2) != 0)
    image = image_of(plot.sparsity(np.arange(6.0), shape=(2, 3)))
    np.testing.assert_array_equal(image, [[False, True, True], [True, True, True]])


def test_sparsity_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"two axes or more, got shape \(5,\).*shape="):
        plot.sparsity(np.ones(5))
    with pytest.raises(ValueError, match=r"values to show, 12, got \(5, 5\)"):
        plot.sparsity(KERNEL, shape=(5, 5))


@pytest.mark.parametrize("draw", [plot.sparsity, plot.features])
def test_pictures_of_a_kernel_take_one_array(draw):
    with pytest.raises(TypeError, match=r"one array, got dict .*'kernel'.*jaxreg.sparsity"):
        draw({"kernel": KERNEL, "bias": KERNEL[0]})
    with pytest.raises(TypeError, match="one array, got str"):
        draw("kernel")
    alone = draw(KERNEL).get_title()
    assert draw({"kernel": KERNEL}).get_title() == alone
    assert draw(nnx.Param(jnp.asarray(KERNEL))).get_title() == alone


# Features in use.


def test_features_as_bars():
    ax = plot.features(KERNEL)
    heights = [bar.get_height() for bar in ax.containers[0]]
    np.testing.assert_allclose(heights, np.linalg.norm(KERNEL, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1])
    assert ax.get_title() == "1 of 4 features unused"


def test_features_as_an_image():
    ax = plot.features(KERNEL, shape=(2, 2))
    image = image_of(ax)
    np.testing.assert_array_equal(image.mask, [[False, True], [False, False]])
    norms = np.linalg.norm(KERNEL, axis=1)
    np.testing.assert_allclose(image.compressed(), norms[norms > 0], rtol=1e-6)
    crosses = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    np.testing.assert_array_equal(crosses, [[1], [0]])


def test_features_of_a_linear_model_and_of_a_convolution():
    coefficients = plot.features(np.array([0.0, -2.0, 0.0]))
    assert [bar.get_height() for bar in coefficients.containers[0]] == [0, 2, 0]
    kernel = np.ones((3, 3, 4, 6), np.float32)
    kernel[:, :, 1:3] = 0.0
    assert plot.features(kernel).get_title() == "2 of 4 features unused"
    share = jaxreg.weight_stats({"kernel": jnp.array(kernel)})["kernel/zero_features"]
    assert share == 0.5


def test_features_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="an axis that numbers the features, got a scalar"):
        plot.features(np.float32(1.0))
    with pytest.raises(ValueError, match=r"values to show, 4, got \(8, 8\)"):
        plot.features(KERNEL, shape=(8, 8))


# Strengths.


def legend_of(ax) -> Any:
    return ax.get_legend().get_texts()[0].get_text()


def heights_of(line) -> Any:
    return line.get_ydata()


def test_path_draws_coefficients_from_where_they_enter():
    ax = plot.path(GRID, COEFFICIENTS, names="abc", chosen={"mine": 2})
    zero, *lines, mark = ax.lines
    assert zero.get_ydata() == [0, 0]
    drawn = [np.asarray(line.get_ydata(), float) for line in lines]
    np.testing.assert_array_equal(drawn, [[np.nan] * 4, [3, 2, 0, np.nan], [-1, -2, -1, 0]])
    np.testing.assert_array_equal(lines[0].get_xdata(), [1, 2, 4, 8])
    assert mark.get_xdata() == [2, 2]
    assert legend_of(ax) == "mine: 2"
    assert [text.get_text() for text in ax.texts] == ["b", "c"]
    assert ax.get_xscale() == "log"
    assert plot.path([1.0, 0.0], np.ones((2, 3))).get_xscale() == "linear"


@pytest.mark.parametrize("last", [0.0, 0.001])
def test_names_of_coefficients_stand_beside_their_lines(last):
    names = ["b", "fractal dimension error", "age", "worst concave points"]
    ax = plot.path([1.0, 0.1, last], np.outer([0.0, 1, 2], [1, 0.5, -0.5, -1]), names=names)
    ax.figure.canvas.draw()
    left, _ = ax.transData.transform((last, 0))
    for text in ax.texts:
        box = text.get_window_extent()
        assert ax.bbox.x0 < box.x0 < box.x1 < left, text
        assert ax.bbox.y0 < box.y0 < box.y1 < ax.bbox.y1, text


def test_the_legend_of_a_trade_off_covers_neither_side():
    strengths = np.geomspace(1e-4, 1e-1, 20)
    zeros = np.linspace(0.2, 1.0, 20)
    ax = plot.trade_off(strengths, 1 - zeros**8, zeros, chosen={"90 % zeros": 17})
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    for side in ax.figure.axes:
        line = side.lines[0]
        points = side.transData.transform(np.c_[line.get_xdata(), line.get_ydata()])
        assert not any(box.contains(x, y) for x, y in points)


def test_trade_off_has_an_axis_for_each_side():
    scores = np.array([[0.1, 0.3], [0.4, 0.4], [0.5, 0.7], [0.8, 0.8]])
    ax = plot.trade_off(GRID, scores, np.array([0.9, 0.5, 0.2, 0.0]))
    (right,) = (other for other in ax.figure.axes if other is not ax)
    np.testing.assert_allclose(heights_of(ax.lines[-1]), [0.8, 0.6, 0.4, 0.2])
    np.testing.assert_allclose(heights_of(right.lines[-1]), [0, 20, 50, 90])
    assert len(ax.lines) == 3
    assert len(right.lines) == 1


def test_cross_validation_marks_what_the_rules_choose():
    for sign in (1, -1):
        scores = sign * VALIDATION.scores
        found = jaxreg.strength.CrossValidation(GRID, scores, higher_is_better=sign < 0)
        ax = plot.cross_validation(found)
        ax.figure.canvas.draw()
        marks = {line.get_label(): line.get_xdata() for line in ax.lines}
        assert marks["best mean: 2"] == [2, 2]
        assert marks["one standard error: 4"] == [4, 4]
        level = next(line for line in ax.lines if line.get_linestyle() == ":")
        assert level.get_ydata() == [sign * 4, sign * 4]
        bars: Any = ax.containers[0]
        np.testing.assert_allclose(heights_of(bars.lines[0]), found.mean[::-1])


def test_pictures_of_penalties_are_drawn_over_the_strength_that_changes():
    ax = plot.path(jaxreg.ElasticNet(l1=0.5, l2=GRID), COEFFICIENTS)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), GRID[::-1])


def test_pictures_of_strengths_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="coefficients for each of the 4 strengths, got 3"):
        plot.path(GRID, np.ones((3, 2)))
    with pytest.raises(ValueError, match="must name all 3 coefficients, got 2"):
        plot.path(GRID, COEFFICIENTS, names=["a", "b"])
    with pytest.raises(ValueError, match="score for each of the 4 strengths, got 2"):
        plot.trade_off(GRID, np.ones(2), np.ones(4))


# The curves and the ball of a penalty.


def test_curves_are_the_cost_and_the_prox():
    ax = plot.curves(jaxreg.SCAD(0.8), step=0.5, reach=4.0)
    lines = {line.get_label(): line for line in ax.lines}
    line = np.asarray(lines["weight"].get_xdata())
    costs, moved = (np.asarray(lines[name].get_ydata()) for name in ("penalty", "prox"))
    for i in range(0, len(line), 40):
        x = jnp.float32(line[i])
        np.testing.assert_allclose(costs[i], jaxreg.SCAD(0.8)(x), atol=1e-6)
        np.testing.assert_allclose(moved[i], jaxreg.SCAD(0.8).prox(x, 0.5), atol=1e-6)
    assert (line[0], line[-1]) == (-4.0, 4.0)


def test_curves_break_where_the_prox_jumps_and_where_a_constraint_forbids():
    jumping = plot.curves(jaxreg.L0(0.5)).lines[-1]
    line, moved = np.asarray(jumping.get_xdata()), np.asarray(jumping.get_ydata())
    np.testing.assert_allclose(np.abs(line[np.isnan(moved)]), 1.0, atol=0.02)
    forbidden = plot.curves(jaxreg.NonNegativeL1(0.5)).lines[-2]
    assert np.array_equal(np.isnan(forbidden.get_ydata()), line < 0)


def test_the_rim_of_the_ball_costs_the_level():
    for penalty, level in ((jaxreg.ElasticNet(0.7, 0.4), 0.8), (jaxreg.LHalf(1.0), 1.0)):
        path = plot.ball(penalty, level=level).collections[-1].get_paths()[0]
        costs = [
            float(penalty(jnp.asarray(point))) for point in np.asarray(path.vertices)[::20]
        ]
        np.testing.assert_allclose(costs, level, rtol=0.03)


def test_curves_and_ball_refuse_bad_numbers():
    with pytest.raises(TypeError, match="must be a jaxreg penalty"):
        plot.curves(0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="step must be non-negative"):
        plot.curves(jaxreg.L1(), step=-1.0)
    for draw in (plot.curves, plot.ball):
        with pytest.raises(ValueError, match="reach must be greater than 0"):
            draw(jaxreg.L1(), reach=0.0)


# matplotlib is optional.


def test_says_how_to_install_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in list(sys.modules):
        if name.startswith("jaxreg.plot"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r'pip install "jaxreg\[plot\]"'):
        importlib.import_module("jaxreg.plot")


def test_nothing_else_imports_matplotlib():
    package = pathlib.Path(jaxreg.__file__).parent
    users = {
        path.name
        for path in package.rglob("*.py")
        if re.search(r"(import|from) matplotlib", path.read_text())
    }
    assert users == {"_axes.py"}
