"""A figure of the page drawn onto the axes of somebody else's matplotlib figure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import xarray as xr

from trajscope.errors import ResultsError
from trajscope.report.content.curves import curves
from trajscope.report.figures.canvas import FONT_SIZE
from trajscope.report.figures.overlay import draw_overlay, drawn, hindrances, overlay_title
from trajscope.report.figures.overlays import OVERLAYS
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import PartPlot, Plot, obstacle
from trajscope.report.figures.several import several
from trajscope.schema import check_results, is_comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE: Final = (8.0, 4.6)
"""Inches of a figure that is made here."""
# Any: matplotlib's stubs want each key as a literal type.
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.size": FONT_SIZE,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": light("null"),
    "axes.linewidth": 0.9,
    "axes.facecolor": "none",
    "xtick.color": light("null"),
    "ytick.color": light("null"),
    "xtick.labelcolor": light("second"),
    "ytick.labelcolor": light("second"),
    "text.color": light("second"),
    "axes.labelcolor": light("second"),
    "lines.solid_joinstyle": "round",
}
"""The looks of the page's figures; whoever owns the axes decides on fonts and backgrounds."""
Box = tuple[float, float, float, float]
Record = Plot | PartPlot


def drawn_onto(record: Record, results: xr.DataTree, axes: "Axes | None") -> "Axes":
    """The axes with the figure on them; new ones, below its title, where none are given.

    Where the figure has several panels, they lie inside `axes`, which itself becomes invisible.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or does not hold what the figure draws.
    """
    title, draw = _ready(record, results)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        boxes = _panels(draw)
        if axes is None:
            from matplotlib import pyplot as plt

            figure, axes = plt.subplots(figsize=_SIZE, layout="constrained")
            figure.suptitle(
                title, x=0.02, ha="left", fontsize=FONT_SIZE - 1, weight="bold", color=light("ink")
            )
        draw(cast("Figure", _Panels(axes, boxes)))
    return axes


def _ready(record: Record, results: xr.DataTree) -> tuple[str, Callable[["Figure"], None]]:
    """The title, and what draws the figure onto an empty one."""
    check_results(results)
    if isinstance(record, PartPlot):
        part, found = record, record.part(results)
        if found is None:
            _refuse(part.quantity, "This result does not hold it.", part.to_see)
        return part.title(found), lambda figure: part.draw(figure, found)
    if is_comparison(results):
        return _overlaid(record, results)
    plot, seen = record, curves(results)
    if (hindrance := obstacle(plot, seen)) is not None:
        _refuse(plot.quantity, hindrance.reason, hindrance.to_see)
    return plot.title(seen), lambda figure: plot.draw(figure, seen)


def _overlaid(plot: Plot, results: xr.DataTree) -> tuple[str, Callable[["Figure"], None]]:
    """The same of runs that are compared, their curves over one another."""
    overlay = next((each for each in OVERLAYS if each.plot is plot), None)
    if overlay is None:
        raise ResultsError(
            f"{plot.quantity} is drawn of one run, and this result compares several. Give one of "
            "its runs: results['cases/1']."
        )
    runs = several(results)
    if not drawn(overlay, runs):
        why = hindrances(overlay, runs)[0][1]
        _refuse(plot.quantity, why.reason, why.to_see)
    return overlay_title(overlay, runs), lambda figure: draw_overlay(figure, overlay, runs)


def _refuse(quantity: str, reason: str, to_see: str) -> None:
    raise ResultsError(f"{quantity} cannot be drawn: {reason} To see it: {to_see}")


def _panels(draw: Callable[["Figure"], None]) -> list[Box]:
    """Where the panels of a figure lie, as fractions of it."""
    from matplotlib.figure import Figure

    figure = Figure()
    draw(figure)
    return [cast("Box", each.get_position().bounds) for each in figure.axes]


class _Panels:
    """The axes in the place of an empty figure, which the drawing puts its panels on."""

    def __init__(self, axes: "Axes", boxes: list[Box]) -> None:
        self.axes, self.is_single = axes, len(boxes) == 1
        left, bottom = (min(box[k] for box in boxes) for k in (0, 1))
        right, top = (max(box[k] + box[k + 2] for box in boxes) for k in (0, 1))
        self.whole = left, bottom, right - left, top - bottom
        if not self.is_single:
            axes.set_axis_off()

    dpi = 72
    """Pixels per inch, as on the page, where a point is a pixel."""

    def get_figwidth(self) -> float:
        """Inches of the figure whose panels would lie as those on the axes do."""
        return float(self._size[0])

    def get_figheight(self) -> float:
        """Inches, likewise."""
        return float(self._size[1])

    @property
    def _size(self) -> tuple[float, float]:
        extent, inch = self.axes.get_window_extent(), self.axes.figure.dpi
        return extent.width / inch / self.whole[2], extent.height / inch / self.whole[3]

    def add_axes(self, box: Box, **how: Any) -> "Axes":
        """The axes themselves, or a panel inside them."""
        if self.is_single:
            self.axes.spines[["top", "right"]].set_visible(False)
            return self.axes
        left, bottom, width, height = self.whole
        inside = (
            (box[0] - left) / width,
            (box[1] - bottom) / height,
            box[2] / width,
            box[3] / height,
        )
        return self.axes.inset_axes(inside, **how)
