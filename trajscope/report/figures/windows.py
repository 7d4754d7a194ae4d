"""Windows or phases of a run along its steps: the verdict on each, and how large its steps are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from trajscope.report.content.cases import label_of
from trajscope.report.content.curves import Curves, curves
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import counted, number
from trajscope.report.content.phases import phases
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, PartPlot
from trajscope.schema import cases_of, is_comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TALLEST: Final = 420
"""Pixels of the bars of all windows together."""
_ROW: Final = 24
_READABLE: Final = 15
_LABEL = 0.2
"""Share of the width that the longest verdict takes."""


@dataclass(frozen=True)
class Span:
    """One window.

    Attributes
    ----------
    first, last :
        Steps of its first and last checkpoint.
    variance :
        Mean squared increment of a weight.
    """

    label: str
    verdict: str
    first: float
    last: float
    variance: float


@dataclass(frozen=True)
class Timeline:
    """Windows or phases of a run, in order, and the run's own."""

    spans: tuple[Span, ...]
    whole: Span
    step_title: str
    what: str = "window"

    @property
    def moves(self) -> bool:
        """Whether any weight does: else there is nothing to draw."""
        return self.whole.variance > 0

    @property
    def height(self) -> int:
        """Pixels of the figure."""
        return 60 + self.rows + 230

    @property
    def rows(self) -> int:
        """Pixels of the bars."""
        return min(_ROW * len(self.spans), _TALLEST)


def timeline(results: xr.DataTree) -> Timeline | None:
    """Of a result whose cases are windows."""
    if is_comparison(results) or not cases_of(results):
        return None
    whole = curves(results)
    spans = tuple(_span(label_of(case), curves(case)) for case in cases_of(results))
    return Timeline(spans, _span("whole run", whole), whole.step_title)


def timeline_of_phases(results: xr.DataTree) -> Timeline | None:
    """Of a result whose verdict names phases."""
    if is_comparison(results) or not phases(results):
        return None
    whole = curves(results)
    squares = whole["increment_norm"] ** 2 / max(whole.number("n_weights"), 1)
    at = whole.steps[:-1]
    spans = []
    for number_, phase in enumerate(phases(results), 1):
        within = (at >= phase.first) & (at < phase.last)
        variance = float(squares[within].mean()) if within.any() else 0.0
        opens = phase.opens_with.partition(",")[0].removeprefix("learning ")
        spans.append(Span(f"{number_}: {opens}", phase.verdict, phase.first, phase.last, variance))
    return Timeline(tuple(spans), _span("whole run", whole), whole.step_title, "phase")


def timeline_title(found: Timeline) -> str:
    """Title with the number of different verdicts and the range of the variance."""
    verdicts = len({span.verdict for span in found.spans})
    what = counted(len(found.spans), found.what)
    heading = f"{found.what.capitalize()}s: {counted(verdicts, 'verdict')} in {what}"
    ratios = [span.variance / found.whole.variance for span in found.spans]
    low, high = number(min(ratios), 2), number(max(ratios), 2)
    return f"{heading}; variance {low if low == high else f'{low} to {high}'} times the run's"


def draw_timeline(figure: "Figure", found: Timeline) -> None:
    """A bar with its verdict for every window; below, its increment variance."""
    height = found.height
    bars = canvas.add_axes(
        figure, f"{found.what}, its steps and its verdict", "",
        box=(0.13, (height - 36 - found.rows) / height, 0.85, found.rows / height),
    )  # fmt: skip
    _draw_bars(bars, found)
    levels = canvas.add_axes(
        figure, "increment variance: mean squared increment of a weight, weight²", found.step_title,
        box=(0.13, 46 / height, 0.85, 150 / height),
    )  # fmt: skip
    _draw_levels(levels, found)


def _draw_bars(axes: "Axes", found: Timeline) -> None:
    place = np.arange(len(found.spans), dtype=np.float64)
    every = -(-_READABLE * len(found.spans) // found.rows)
    left, right = _range(found)
    axes.barh(
        place, [span.last - span.first for span in found.spans],
        left=[span.first for span in found.spans], height=0.7, color=light("band"), zorder=2,
    )  # fmt: skip
    for row, span in enumerate(found.spans[::every]):
        needed = _LABEL * (right - left)
        at, side = span.first, "left"  # on the bar, where there is no room beside it
        if right - span.last >= needed:
            at = span.last
        elif span.first - left >= needed:
            side = "right"
        axes.annotate(
            span.verdict, (at, row * every), (6 if side == "left" else -6, 0),
            textcoords="offset points", va="center", ha=side, color=light("ink"),
            fontweight="bold", zorder=5,
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(len(found.spans) - 0.4, -0.6)
    axes.set_yticks(place[::every], told_apart([span.label for span in found.spans[::every]], 15))
    axes.tick_params(axis="both", length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _draw_levels(axes: "Axes", found: Timeline) -> None:
    axes.set_yscale("log")
    known = [span for span in (*found.spans, found.whole) if span.variance > 0]
    for span in found.spans:
        if span.variance > 0:
            axes.plot([span.first, span.last], [span.variance] * 2, color=light("observed"),
                      linewidth=4, solid_capstyle="butt", zorder=3)  # fmt: skip
    left, right = _range(found)
    canvas.null_mean(axes, np.array([left, right]), np.full(2, found.whole.variance))
    axes.set_xlim(left, right)
    low, high = min(span.variance for span in known), max(span.variance for span in known)
    axes.set_ylim(low / 1.5, high * 2)
    canvas.plain_ticks(axes.xaxis)
    canvas.log_ticks(axes.yaxis, low / 1.5, high * 2)
    canvas.label(axes, 0.01, 1.0, f"each {found.what}", "observed")
    canvas.label(axes, 0.99, 1.0, "dashed: whole run", "null", ha="right")


def _range(found: Timeline) -> tuple[float, float]:
    return found.whole.first, found.whole.last


def _span(label: str, own: Curves) -> Span:
    return Span(
        label, own.verdict.word if own.verdict else "no verdict", own.window.first, own.window.last,
        own.number("increment_rms") ** 2,
    )  # fmt: skip


def _moving(found: Timeline | None) -> Timeline | None:
    return found if found is not None and found.moves else None


def _columns(found: Timeline) -> Columns:
    names = ("first", "last", "variance")
    return {
        name: np.array([getattr(span, name) for span in found.spans], dtype=np.float64)
        for name in names
    }


_CAPTION: Final = (
    "Top: the checkpoints of each {}, and its verdict on all weights. Bottom, logarithmic: mean "
    "squared increment of a weight, from a checkpoint to the next."
)
WINDOWS: Final = PartPlot(
    "timeline",
    "Windows",
    lambda results: _moving(timeline(results)),
    "trajscope analyze --windows 4, of a run that moves.",
    draw_timeline,
    timeline_title,
    _columns,
    _CAPTION.format("window"),
    "the dashed level of the whole run, and the windows beside it. A window is shorter than the "
    "run and sees less.",
    lambda found: found.height,
)
PHASES: Final = PartPlot(
    "phases-timeline",
    "Phases",
    lambda results: _moving(timeline_of_phases(results)),
    "a run whose learning rate, noise or drift changes.",
    draw_timeline,
    timeline_title,
    _columns,
    _CAPTION.format("phase, what it begins with"),
    "the dashed level of the whole run. Changes of noise and drift are found at the level of the "
    "tests; each phase is then tested alone, and a short one shows less.",
    lambda found: found.height,
)
