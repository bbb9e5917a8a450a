"""Pictures of which inputs are selected."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxreg import plot
from jaxreg.networks import InputPath
from jaxreg.strength import CrossValidation, Stability

mpl.use("Agg")

GRID = np.array([0.1, 0.2, 1.0, 5.0])
SCORES = np.array([[2.0, 3.0], [1.0, 3.0], [4.0, 5.0], [np.nan, 9.0]])
USED = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]], bool)
FOUND = InputPath(GRID, USED, CrossValidation(GRID, SCORES), {}, 2, 0.0, 100)
STABLE = Stability(np.array([0.2, 1.0, 0.8]), np.array([False, True, True]), 0.1)


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    plot.plt.close("all")


@pytest.mark.parametrize(
    "draw", [lambda ax: plot.inputs(FOUND, ax), lambda ax: plot.stability(STABLE, ax)]
)
def test_draws_on_the_axes_it_is_given(draw):
    _, (left, right) = plot.plt.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()
    assert draw(None).figure is not right.figure


def test_the_best_score_of_each_number_of_inputs_is_drawn():
    ax = plot.inputs(FOUND)
    line = ax.lines[0]
    # Of the two strengths with three inputs the second; the last has no finite score.
    np.testing.assert_array_equal(np.asarray(line.get_xdata()), [1, 3])
    np.testing.assert_array_equal(np.asarray(line.get_ydata()), [4.5, 2.0])
    legend: Any = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["chosen: 1 input"]


def test_the_most_stable_inputs_come_first_and_the_chosen_are_blue():
    ax = plot.stability(STABLE, threshold=0.75, names="abc")
    bars: Any = ax.containers[0]
    assert [bar.get_height() for bar in bars] == [1.0, 0.8, 0.2]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["b", "c", "a"]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in bars]
    assert colours == [plot.BLUE, plot.BLUE, plot.GREY]
    assert np.asarray(ax.lines[0].get_ydata()).tolist() == [0.75, 0.75]
    with pytest.raises(ValueError, match="names must name all 3 inputs, got 2"):
        plot.stability(STABLE, names="ab")
