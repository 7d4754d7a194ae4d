"""A figure in its place on a page: drawn, or the reason why not."""

from dataclasses import dataclass

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.curves import Curves
from trajscope.report.figures.catalogue import caption, svg
from trajscope.report.figures.parts import PARTS
from trajscope.report.figures.record import Columns, Obstacle, PartPlot, Plot, obstacle

_NOT_HELD = "This result does not hold it."


@dataclass(frozen=True)
class Panel:
    """A figure in its place on the page.

    Attributes
    ----------
    number :
        Empty where figures are not counted.
    svg :
        Our own drawing, hence safe to put on the page as it is; empty where there is an obstacle.
    is_wide :
        Whether it is as wide as the page.
    """

    number: str
    name: str
    title: str
    svg: Markup
    caption: str
    compare: str
    obstacle: Obstacle | None
    is_wide: bool = False


def panel(place: int, plot: Plot, curves: Curves) -> Panel:
    """A figure of one run."""
    if (hindrance := obstacle(plot, curves)) is not None:
        return absent(str(place), plot, hindrance)
    return _drawn(str(place), plot, curves, caption(plot, curves))


def part_panel(number: str, plot: PartPlot, results: xr.DataTree) -> Panel:
    """A figure of a part of the result that may be missing."""
    found = plot.part(results)
    if found is None:
        return absent(number, plot, Obstacle(_NOT_HELD, plot.to_see))
    return _drawn(number, plot, found, plot.caption)


def absent(number: str, plot: Plot | PartPlot, hindrance: Obstacle) -> Panel:
    """The place of a figure that cannot be drawn."""
    title = f"{plot.quantity}: not drawn"
    return Panel(number, plot.name, title, Markup(""), "", "", hindrance)


def part_tables(results: xr.DataTree) -> dict[str, Columns]:
    """The numbers behind every figure of a part that the result holds."""
    found = {plot: plot.part(results) for plot in PARTS}
    return {plot.name: plot.columns(part) for plot, part in found.items() if part is not None}


def _drawn(number: str, plot: Plot | PartPlot, found: object, words: str) -> Panel:
    return Panel(
        number=number,
        name=plot.name,
        title=plot.title(found),  # type: ignore[arg-type]
        svg=Markup(svg(plot, found)),
        caption=words,
        compare=plot.compare,
        obstacle=None,
        is_wide=plot.height is not None,
    )
