"""The grammar of every figure: axes, lines and labels by role, and the drawing as inline SVG."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from trajscope.report.content.curves import MOST_POINTS, Floats, binned
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import number
from trajscope.report.drawing.axis import plain_numbers, round_places
from trajscope.report.drawing.shapes import width_of
from trajscope.report.drawing.sheet import Sheet
from trajscope.report.figures.palette import VARIABLE_OF, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_SIZE = 12.5
WIDE: Final = 980
"""Pixels of a figure as wide as the page."""
HALF: Final = (480, 300)
"""Width and height of the others."""
SHADES: Final = (0.06, 0.2, 0.34, 0.48, 0.62, 0.76, 0.9)
"""Opacity of every level of what is shown by shades, the lowest first."""


def drawing(
    name: str,
    title: str,
    draw: Callable[["Figure"], None],
    *,
    size: tuple[int, int] = HALF,
    description: str = "",
) -> str:
    """Inline SVG of what `draw` puts on an empty figure; the same bytes for the same input.

    Parameters
    ----------
    name :
        Prefix of every id inside, so that several drawings share a page.
    title :
        Read aloud in place of the drawing.
    size :
        Width and height in CSS pixels at full width.
    description :
        Read aloud after the title: the numbers that are drawn.
    """
    sheet = Sheet(
        size, line=light("null"), ink=light("second"), font_size=FONT_SIZE, names=VARIABLE_OF
    )
    draw(cast("Figure", sheet))
    return sheet.svg(name, title, description)


def add_axes(
    figure: "Figure",
    y_title: str,
    x_title: str,
    *,
    box: tuple[float, float, float, float] = (0.105, 0.155, 0.875, 0.745),
) -> "Axes":
    """Axes with the title of y lying above them, and no frame at the top and the right."""
    axes = figure.add_axes(box)
    axes.set_title(y_title, loc="left", fontsize=FONT_SIZE, color=light("second"), pad=9)
    axes.set_xlabel(x_title, labelpad=4)
    axes.tick_params(length=3.5, pad=3)
    return axes


def observed(axes: "Axes", x: Floats, y: Floats, *, by_ratio: bool = False) -> None:
    """The observed curve, solid; where it was binned, thin bars from lowest to highest as well."""
    seen = binned(x, y, by_ratio=by_ratio)
    if seen.x.size < x.size:
        axes.vlines(seen.x, seen.low, seen.high, color=light("observed"), linewidth=0.5)
    axes.plot(seen.x, seen.mean, color=light("observed"), linewidth=1.9, zorder=3)


def observed_beside_band(axes: "Axes", x: Floats, y: Floats, low: Floats, high: Floats) -> None:
    """The observed curve over the band of its null; where it is outside, thicker, with diamonds."""
    observed(axes, x, y)
    beyond = np.fmax(y - high, low - y)
    outside = np.flatnonzero(beyond > 0)
    if not outside.size:
        return
    colour = light("outside")
    if x.size <= MOST_POINTS:
        axes.plot(x, np.where(beyond > 0, y, np.nan), color=colour, linewidth=2.6, zorder=3.2)
        outside = outside[_spread_out(outside)]
    else:  # the farthest of each bin
        outside = outside[np.argsort(-beyond[outside], kind="stable")]
        place = (x[outside] - x[0]) / (x[-1] - x[0]) * (MOST_POINTS - 1)
        outside = outside[np.unique(place.astype(int), return_index=True)[1]]
    axes.plot(x[outside], y[outside], "D", color=colour, markersize=4.5, zorder=3.6)


def _spread_out(places: NDArray[np.intp], every: int = 10) -> NDArray[np.bool_]:
    """The first and last of each unbroken row of places, and one in so many between."""
    first = np.diff(places, prepend=-2) > 1
    start = np.maximum.accumulate(np.where(first, places, 0))
    return np.asarray(first | np.roll(first, -1) | ((places - start) % every == 0))


def null_band(axes: "Axes", x: Floats, low: Floats, high: Floats) -> None:
    """Where whole curves from the null lie: flat grey, without an edge."""
    lower, upper = binned(x, low), binned(x, high)
    axes.fill_between(lower.x, lower.mean, upper.mean, color=light("band"), linewidth=0, zorder=1)


def spread(axes: "Axes", x: Floats, mean: Floats, sd: Floats) -> None:
    """One standard deviation over weights to both sides, as thin lines: only a null is filled."""
    for edge in (mean - sd, mean + sd):
        seen = binned(x, edge)
        axes.plot(seen.x, seen.mean, color=light("observed"), linewidth=0.8, zorder=2.5)


def null_mean(axes: "Axes", x: Floats, y: Floats) -> None:
    """What the null gives on average: dashed grey."""
    seen = binned(x, y)
    axes.plot(seen.x, seen.mean, color=light("null"), linewidth=1.3, dashes=(5, 3), zorder=3.5)


def theory(axes: "Axes", x: Floats, y: Floats) -> None:
    """A slope, an arch or a cut-off: dotted."""
    seen = binned(x, y)
    axes.plot(seen.x, seen.mean, color=light("null"), linewidth=1.4, linestyle=":", zorder=2)


def paper_lines(axes: "Axes", *levels: float) -> None:
    """The paper's criterion: thin straight lines, never filled."""
    for level in levels:
        axes.axhline(level, color=light("paper"), linewidth=1.1, zorder=2.2)


def label(
    axes: "Axes", x: float, y: float, text: str, role: str, **place: Any
) -> None:  # matplotlib's own placement words pass through
    """A word at a curve, in the curve's colour; (x, y) are fractions of the axes."""
    weight = "bold" if role == "observed" else "normal"
    settings = {"transform": axes.transAxes, "ha": "left", "va": "top", **place}
    axes.text(x, y, text, color=light(role), fontweight=weight, zorder=5, **settings)


def row_names(names: Sequence[object], most: float) -> tuple[list[str], float]:
    """Names of rows, shortened where the widest is wider than `most` pixels, and its width."""
    for limit in (60, 48, 38, 30, 24, 19, 15):
        shown = told_apart(names, limit)
        width = max(width_of(name, FONT_SIZE) for name in shown)
        if width <= most:
            break
    return shown, width


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis, whose limits must be set: decades, thirds where few."""
    decades = [10.0**power for power in range(-12, 13)]
    fine = sorted([*decades, *(3 * decade for decade in decades)])
    very_fine = sorted([*fine, *(2 * d for d in decades), *(5 * d for d in decades)])
    for ticks in (decades, fine, very_fine):
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) >= 4:
            break
    if len(shown) < 3:  # less than a factor of ten
        plain_ticks(axis, 5)
        return
    put_ticks(
        axis, shown[:: 1 + len(shown) // 8],
        lambda value: f"{value:,.12g}" if value >= 1e-4 else number(value, 1),
    )  # fmt: skip


def plain_ticks(axis: Any, most: int = 6) -> None:
    """Round numbers with thousands separated and equal decimals; the limits must be set."""
    low, high = axis.get_view_interval()
    places = round_places(low, high, most)
    if any("e" in f"{place:.10g}" for place in places):
        put_ticks(axis, places, number)
        return
    told = dict(zip(places, plain_numbers(places), strict=True))
    put_ticks(axis, places, told.__getitem__)


def put_ticks(axis: Any, places: Sequence[float], told: Callable[[float], str]) -> None:
    """Ticks at these places and no others, with what is told of each."""
    axis.set_ticks([], minor=True)
    axis.set_ticks(places, [told(place) for place in places])
