"""The page's own axes beside those of matplotlib, onto which the same functions draw."""

import re

import matplotlib as mpl
import numpy as np
import pytest
from judged_results import judge
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from simulated_results import brownian, rotating

from trajscope.report.content.curves import curves
from trajscope.report.drawing.axes import Axes
from trajscope.report.drawing.axis import plain_numbers, round_places
from trajscope.report.drawing.sheet import Sheet
from trajscope.report.figures.canvas import FONT_SIZE, HALF, WIDE
from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.figures.known import draw_known
from trajscope.report.figures.onto import STYLE
from trajscope.report.figures.palette import VARIABLE_OF, light
from trajscope.report.figures.record import obstacle

NAMES = [plot.name for plot in FIGURES]


@pytest.fixture(scope="module")
def judged():
    return [curves(judge(walk)) for walk in (brownian(64, 100), rotating(300, 100))]


def both(draw, size):
    """The same drawing on a figure of matplotlib and on a sheet of ours."""
    sheet = Sheet(size, line=light("null"), ink=light("second"), font_size=FONT_SIZE,
                  names=VARIABLE_OF)  # fmt: skip
    draw(sheet)
    text = sheet.svg("name", "title", "numbers")
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        draw(figure)
        figure.draw_without_rendering()
    return figure, sheet, text


def same(figure, sheet, height):
    assert len(figure.axes) == len(sheet.axes)
    for theirs, ours in zip(figure.axes, sheet.axes, strict=True):
        for their_axis, our_axis in ((theirs.xaxis, ours.xaxis), (theirs.yaxis, ours.yaxis)):
            limits = their_axis.get_view_interval()
            np.testing.assert_allclose(our_axis.get_view_interval(), limits, rtol=1e-9, atol=1e-12)
            if ours.is_on:
                same_ticks(their_axis, our_axis, limits)
        assert len(theirs.lines) >= len(ours.lines)
        same_lines(theirs, ours, height)
        assert theirs.get_title(loc="left") == ours.title[0]
        assert theirs.get_xlabel() == ours.xaxis.title
        words = [each.get_text() for each in theirs.texts]
        assert words == [each.text for each in ours.words]


def same_ticks(theirs, ours, limits):
    low, high = sorted(limits)
    shown = [
        (tick, label.get_text())
        for tick, label in zip(
            theirs.get_majorticklocs(), theirs.get_majorticklabels(), strict=True
        )
        if low <= tick <= high
    ]
    room = 1e-9 * (high - low)
    kept = [(a, b) for a, b in zip(*ours.ticks(), strict=True) if low - room <= a <= high + room]
    np.testing.assert_allclose([a for a, _ in kept], [a for a, _ in shown], atol=1e-9)
    assert [b for _, b in kept] == [b for _, b in shown]


def same_lines(theirs, ours, height):
    """Every line at the same pixels; of matplotlib's those that are no level of the axes."""
    drawn = [
        line.get_transform().transform(line.get_xydata())
        for line in theirs.lines
        if line.get_transform() == theirs.transData
    ]
    assert len(drawn) == len(ours.lines)
    for points, line in zip(drawn, ours.lines, strict=True):
        known = np.isfinite(points).all(axis=1)
        np.testing.assert_allclose(ours.xaxis.at(line.x)[known], points[known, 0], atol=1e-6)
        np.testing.assert_allclose(
            ours.yaxis.at(line.y)[known], height - points[known, 1], atol=1e-6
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_has_the_limits_ticks_lines_and_words_that_matplotlib_gives_it(judged, name):
    plot = next(each for each in FIGURES if each.name == name)
    seen = [found for found in judged if obstacle(plot, found) is None]
    for found in seen:
        size = HALF if plot.height is None else (WIDE, plot.height(found))
        figure, sheet, text = both(lambda on, found=found: plot.draw(on, found), size)
        same(figure, sheet, size[1])
        assert "nan" not in text
        assert set(re.findall(r'clip-path="url\(#([^)]*)\)', text)) <= set(
            re.findall(r'clipPath id="([^"]*)"', text)
        )


def test_some_run_shows_every_figure_but_that_of_a_log(judged):
    shown = {plot.name for plot in FIGURES if any(obstacle(plot, each) is None for each in judged)}
    assert set(NAMES) - shown == {"training-log"}


def test_the_strip_of_known_processes_is_the_same_too():
    figure, sheet, _ = both(draw_known, (WIDE, 190))
    same(figure, sheet, 190)


@pytest.mark.parametrize("most", [3, 4, 5, 6, 9])
def test_round_places_are_those_of_matplotlib(most):
    rng = np.random.default_rng(most)
    for _ in range(300):
        low, high = np.sort(rng.normal(size=2) * 10.0 ** rng.integers(-6, 6))
        theirs = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        inside = [tick for tick in theirs if low <= tick <= high]
        np.testing.assert_allclose(round_places(low, high, most), inside, rtol=1e-9, atol=1e-15)


def test_plain_numbers_have_equal_decimals_and_no_minus_zero():
    assert plain_numbers(round_places(-0.5, 0.5, 4)) == ["−0.50", "−0.25", "0.00", "0.25", "0.50"]
    assert plain_numbers([1000.0, 2500.0]) == ["1,000", "2,500"]
    assert round_places(3.0, 3.0, 4) == [3.0]


def test_bars_areas_and_levels_lie_where_matplotlib_draws_them():
    def draw(on):
        axes = on.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.barh([1, 2], [3.0, 4.0], height=0.5, left=[0.5, 1.0], color="#0067a6")
        axes.bar(2, 3.0, 1, 1.0, color="#0067a6", alpha=0.5, linewidth=0)
        axes.set_xlim(0, 6)
        axes.set_ylim(5, 0)

    figure, _, text = both(draw, (200, 100))
    found = [
        [float(number) for number in box]
        for box in re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H", text)
    ]
    for patch, (x0, y0, x1, y1) in zip(figure.axes[0].patches, found, strict=True):
        box = patch.get_window_extent()
        np.testing.assert_allclose(sorted([x0, x1]), [box.x0, box.x1], atol=0.006)
        np.testing.assert_allclose(sorted([100 - y0, 100 - y1]), [box.y0, box.y1], atol=0.006)
    assert "fill-opacity: 0.5" in text


def test_a_line_is_interrupted_where_nothing_is_known_and_its_words_are_escaped():
    sheet = Sheet((100, 100), line="#5d636b", ink="#565b63", font_size=10, names={})
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot([0, 1, 2, 3, 4], [0, 1, np.nan, 1, np.inf], color="#0067a6")
    axes.set_xlim(0, 4)
    axes.set_ylim(0, 1)
    axes.text(1, 0.5, "<b> & 'c'", color="#1b1d21")
    text = sheet.svg("name", "a < b", "")
    assert 'd="M0 100L25 0M75 0"' in text
    assert "&lt;b&gt; &amp; 'c'</text>" in text
    assert '<title id="name-title">a &lt; b</title>' in text
    assert "aria-describedby" not in text


def test_what_matplotlib_would_do_otherwise_is_refused():
    axes = Axes((0, 0, 10, 10))
    with pytest.raises(NotImplementedError):
        axes.step([0, 1], [0, 1], where="pre", color="#0067a6")
    with pytest.raises(NotImplementedError):
        axes.annotate("word", (0, 0), (1, 1), textcoords="data", color="#0067a6")


@pytest.mark.filterwarnings("ignore:Data has no positive values")
@pytest.mark.parametrize("values", [[0.0, 1e-3, 5.0], [-1.0, 2.0, 30.0], [-3.0, -1.0, 0.0], []])
def test_a_scale_that_is_logarithmic_afterwards_leaves_out_what_is_not_positive(values):
    def draw(figure):
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.plot(np.arange(len(values)), values, color=light("ink"))
        axes.set_yscale("log")

    figure, sheet, text = both(draw, HALF)
    ours = sheet.axes[0].yaxis.get_view_interval()
    if any(value > 0 for value in values):
        np.testing.assert_allclose(ours, figure.axes[0].yaxis.get_view_interval(), rtol=1e-9)
    assert 0 < ours[0] < ours[1]
    assert "nan" not in text
