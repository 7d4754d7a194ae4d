"""What a figure is: one record of plain functions, and what may keep it from being drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import counted, number

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

Columns = Mapping[str, Floats]


@dataclass(frozen=True)
class Plot:
    """One figure: add a record to `FIGURES`, and the report has it.

    Attributes
    ----------
    name :
        Identifier on the page and in the table of curves; letters, digits, hyphens.
    quantity :
        Title where the figure cannot be drawn.
    needs :
        Observables that it draws; of the tests, where there is `untested`.
    least :
        Fewest checkpoints that make it meaningful.
    draw :
        ``(figure, curves)``: onto an empty matplotlib figure.
    title :
        ``curves -> str``: quantity, colon, conclusion with a number; at most 90 characters.
    caption :
        What is drawn, its scale and units.
    compare :
        What to hold it against, and what it does not mean.
    definition :
        The formula, for the methods.
    columns :
        ``curves -> {column: array}``: the numbers behind it, all of one length.
    untested :
        ``curves -> Obstacle``: why the tests do not hold what it draws; `None` where it draws
        observables.
    absent :
        ``curves -> Obstacle | None``: of what draws neither, why it cannot be drawn.
    height :
        ``curves -> int``: pixels of a figure as wide as the page; `None` for half of it.
    thinned :
        ``curves -> str``: a sentence for the caption on what is not drawn, "" for none; `None`
        where long curves are binned.
    """

    name: str
    quantity: str
    needs: tuple[str, ...]
    least: int
    draw: Callable[["Figure", Curves], None]
    title: Callable[[Curves], str]
    caption: str
    compare: str
    definition: str
    columns: Callable[[Curves], Columns]
    untested: Callable[[Curves], "Obstacle"] | None = None
    absent: Callable[[Curves], "Obstacle | None"] | None = None
    height: Callable[[Curves], int] | None = None
    thinned: Callable[[Curves], str] | None = None


@dataclass(frozen=True)
class PartPlot:
    """One figure of a part of the result that is there only where it was asked for.

    Attributes
    ----------
    name, quantity, caption, compare :
        As in `Plot`.
    part :
        ``results -> part``: what it draws; `None` where the result does not hold it.
    to_see :
        How to get it.
    draw, title, columns, height :
        As in `Plot`, of the part.
    """

    name: str
    quantity: str
    part: Callable[["xr.DataTree"], Any]
    to_see: str
    draw: Callable[["Figure", Any], None]
    title: Callable[[Any], str]
    columns: Callable[[Any], Columns]
    caption: str
    compare: str
    height: Callable[[Any], int] | None = None


@dataclass(frozen=True)
class Obstacle:
    """Why a figure cannot be drawn from this result, and what would help."""

    reason: str
    to_see: str


def obstacle(plot: Plot, curves: Curves) -> Obstacle | None:
    """What keeps `plot` from being drawn, or `None`."""
    if not curves.number("path_length") > 0:
        return Obstacle("No weight moved, so there is no curve.", "choose a window that moves.")
    if plot.absent is not None:
        return plot.absent(curves)
    if plot.untested is not None:
        held = all(curves.is_tested(name) for name in plot.needs)
        return None if held else plot.untested(curves)
    return _unmeasured(plot, curves)


def in_numbers(columns: Columns) -> str:
    """The curves of a figure for those who cannot see them: first, last, least and largest."""
    return " ".join(_in_numbers(name, values) for name, values in columns.items())


def _in_numbers(name: str, values: Floats) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"{name.replace('_', ' ')}: no number."
    first, last, least, largest = (
        number(float(each)) for each in (finite[0], finite[-1], finite.min(), finite.max())
    )
    return (
        f"{name.replace('_', ' ')}: {finite.size:,} values, first {first}, last {last}, "
        f"least {least}, largest {largest}."
    )


def not_tested(curves: Curves) -> Obstacle:
    """Why there is no test of this run."""
    if curves.verdict is None:
        reason = printable(
            curves.tests.attrs.get("reason") or "This result was made without tests."
        )
        return Obstacle(reason, "run 'trajscope analyze' again.")
    return Obstacle(curves.verdict.sentence, "keep more checkpoints, of a window that moves.")


def _unmeasured(plot: Plot, curves: Curves) -> Obstacle | None:
    """Why the observables do not hold what `plot` draws."""
    if curves.window.checkpoints < plot.least:
        return Obstacle(
            f"{counted(curves.window.checkpoints, 'checkpoint')} were read; this curve has no "
            f"shape with fewer than {plot.least}.",
            "keep more checkpoints.",
        )
    missing = [name for name in plot.needs if name not in curves.values]
    if missing:
        return Obstacle(
            f"This result does not hold {', '.join(missing)}.", "run 'trajscope analyze' again."
        )
    main = curves[plot.needs[0]]
    if not np.any(main[np.isfinite(main)]):
        return Obstacle(
            "Every value of it is zero or unknown in this run.", "look at the warnings above."
        )
    return None
