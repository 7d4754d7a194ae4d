"""A figure of several runs: one curve of each over the others, by one record a figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trajscope.report.content.curves import MOST_POINTS, Curves, Floats, binned
from trajscope.report.figures import canvas
from trajscope.report.figures.record import Columns, Obstacle, Plot, in_numbers, obstacle
from trajscope.report.figures.runs import (
    BESIDE,
    Entry,
    dashes_of,
    draw_labels,
    line,
    role_of,
    run_entries,
)
from trajscope.report.figures.several import Several

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Line = tuple[Floats, Floats]


@dataclass(frozen=True)
class Reference:
    """What the runs are held against: x in the first run's checkpoints, y in units of the figure.

    Attributes
    ----------
    dashed, dotted :
        What a null gives on average; slopes and walks.
    band : (x, low, high)
        Where whole curves of a null lie.
    paper :
        Levels of the paper's criterion.
    """

    dashed: tuple[Line, ...] = ()
    dotted: tuple[Line, ...] = ()
    band: tuple[Floats, Floats, Floats] | None = None
    paper: tuple[float, ...] = ()


@dataclass(frozen=True)
class Overlay:
    """One figure of several runs: add a record to `OVERLAYS`, and the page has it.

    Attributes
    ----------
    plot :
        The figure of one run, which says what it needs and how it is defined.
    x_title :
        Without the unit, which `time` gives.
    time :
        Whether x is a length of time, a frequency, or a place along the run.
    logarithmic :
        The axes that are: "", "y" or "xy".
    line :
        ``run -> (x, y)``, x in checkpoints or steps of the run.
    reference :
        ``first run -> Reference``.
    entries :
        Labels of what `reference` holds.
    title :
        ``runs -> str``: quantity, colon, conclusion with a number; at most 90 characters.
    unit :
        ``first run -> float``: by what y of every run is divided.
    most :
        Points of a curve; one with more is averaged in so many bins.
    """

    plot: Plot
    y_title: str
    x_title: str
    time: Literal["length", "frequency", "run"]
    logarithmic: str
    line: Callable[[Curves], Line]
    reference: Callable[[Curves], Reference]
    entries: tuple[Entry, ...]
    title: Callable[[Sequence[Curves]], str]
    caption: str
    compare: str
    unit: Callable[[Curves], float] = lambda _: 1.0
    most: int = MOST_POINTS


def drawn(overlay: Overlay, runs: Several) -> list[int]:
    """Places of the runs whose curve can be drawn."""
    return [k for k, each in enumerate(runs.curves) if obstacle(overlay.plot, each) is None]


def hindrances(overlay: Overlay, runs: Several) -> list[tuple[str, Obstacle]]:
    """The runs whose curve cannot be drawn, and why."""
    found = zip(runs.labels, (obstacle(overlay.plot, each) for each in runs.curves), strict=True)
    return [(label, why) for label, why in found if why is not None]


def overlay_title(overlay: Overlay, runs: Several) -> str:
    """Of the runs that are drawn."""
    return overlay.title([runs.curves[place] for place in drawn(overlay, runs)])


def overlay_svg(overlay: Overlay, runs: Several) -> str:
    """The figure as inline SVG."""
    return canvas.drawing(
        overlay.plot.name,
        overlay_title(overlay, runs),
        lambda figure: draw_overlay(figure, overlay, runs),
        description=in_numbers(_spoken(overlay, runs)),
    )


def _spoken(overlay: Overlay, runs: Several) -> Columns:
    """The curve of every run that is drawn, by its label."""
    places = drawn(overlay, runs)
    return {runs.labels[place]: overlay.line(runs.curves[place])[1] for place in places}


def draw_overlay(figure: "Figure", overlay: Overlay, runs: Several) -> None:
    """The curves of all runs over one another, beside what they are held against."""
    axes = canvas.add_axes(figure, overlay.y_title, _x_title(overlay, runs), box=BESIDE)
    places = drawn(overlay, runs)
    first = runs.curves[places[0]]
    unit = overlay.unit(first)
    by_ratio = "x" in overlay.logarithmic
    axes.set_xscale("log" if by_ratio else "linear")
    axes.set_yscale("log" if "y" in overlay.logarithmic else "linear")
    for place in places:
        x, y = _line(overlay, runs, runs.curves[place])
        seen = binned(x, y / unit, by_ratio=by_ratio, most=overlay.most)
        line(axes, seen.x, seen.mean, role_of(place), dashes_of(place))
    entries = list(overlay.entries)
    if runs.pooled and overlay.plot.needs[0] in runs.pooled[0].values:
        for each, width in zip(runs.pooled, (2.6, 0.9, 0.9), strict=True):
            x, y = _line(overlay, runs, each)
            seen = binned(x, y / unit, by_ratio=by_ratio, most=overlay.most)
            line(axes, seen.x, seen.mean, "ink", width=width)
        entries += [Entry("mean of runs", "ink", width=2.6), Entry("± 1 sd", "ink", width=0.9)]
    _refer(axes, overlay, overlay.reference(first), _factor(overlay, runs, first))
    draw_labels(figure, run_entries(runs.labels, places), entries)


def _refer(axes: "Axes", overlay: Overlay, reference: Reference, factor: float) -> None:
    """The reference; on logarithmic axes it may lead far away, and sets no limits."""
    is_log = "y" in overlay.logarithmic
    if is_log:
        _limit(axes, overlay.logarithmic)
    for x, y in reference.dashed:
        canvas.null_mean(axes, x * factor, y)
    for x, y in reference.dotted:
        canvas.theory(axes, x * factor, y)
    if not is_log:
        _limit(axes, overlay.logarithmic)
    if reference.band is not None:
        x, low, high = reference.band
        canvas.null_band(axes, x * factor, np.maximum(low, axes.get_ylim()[0]), high)
    canvas.paper_lines(axes, *reference.paper)


def _line(overlay: Overlay, runs: Several, own: Curves) -> Line:
    x, y = overlay.line(own)
    if "y" in overlay.logarithmic:
        y = np.where(y > 0, y, np.nan)
    return x * _factor(overlay, runs, own), y


def _factor(overlay: Overlay, runs: Several, own: Curves) -> float:
    spacing = (own.window.spacing or 1.0) if runs.counts_steps else 1.0
    return {"length": spacing, "frequency": 1 / spacing, "run": 1.0}[overlay.time]


def _x_title(overlay: Overlay, runs: Several) -> str:
    if overlay.time == "run":
        return runs.curves[0].step_title
    if overlay.time == "frequency":
        return f"{overlay.x_title}, cycles per {runs.unit}"
    return f"{overlay.x_title}, {runs.unit}{'' if runs.unit == 'index' else 's'}"


def _limit(axes: "Axes", logarithmic: str) -> None:
    """Limits around what is drawn so far, and ticks."""
    x, y = (np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
            for parts in zip(*(one.get_data() for one in axes.lines), strict=True))  # fmt: skip
    y = y[np.isfinite(y)]
    left, right = float(x.min()), float(x.max())
    low, high = float(y.min()), float(y.max())
    if "x" in logarithmic:
        right = max(right, 1.1 * left)
        axes.set_xlim(left * 0.97, right * 1.03)
        canvas.log_ticks(axes.xaxis, left, right)
    else:
        axes.set_xlim(left, right if right > left else left + 1)
        canvas.plain_ticks(axes.xaxis, 5)
    if "y" in logarithmic:
        axes.set_ylim(0.6 * low, 1.6 * high)
        canvas.log_ticks(axes.yaxis, 0.6 * low, 1.6 * high)
    else:
        room = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - room if low else 0.0, high + room)
        canvas.plain_ticks(axes.yaxis)
