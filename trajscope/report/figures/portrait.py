"""The figure of position against increment: the phase portrait, and the areas that it sweeps."""

from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.report.content.curves import MOST_POINTS, Curves
from trajscope.report.content.numbers import decimal
from trajscope.report.figures import canvas
from trajscope.report.figures.components import strided
from trajscope.report.figures.palette import TIME, light
from trajscope.report.figures.record import Columns, Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_portrait(figure: "Figure", curves: Curves) -> None:
    """The path in position and increment along the first axis; areas along all of them."""
    plane = canvas.add_axes(figure, "increment", "position", box=(0.105, 0.155, 0.37, 0.745))
    position, increment = curves["phase_position"][:-1, 0], curves["phase_increment"][:, 0]
    stride = -(-len(position) // MOST_POINTS)
    cuts = np.linspace(0, len(position) - 1, len(TIME) + 1).astype(int)
    for (colour, _), start, stop in zip(TIME, cuts[:-1], cuts[1:], strict=True):
        part = slice(start, stop + 1, stride)
        plane.plot(position[part], increment[part], color=colour, linewidth=1.0)
    plane.margins(0.05, 0.05)
    canvas.plain_ticks(plane.xaxis, 4)
    canvas.plain_ticks(plane.yaxis, 5)
    areas = canvas.add_axes(figure, "signed area", "axis", box=(0.605, 0.155, 0.37, 0.745))
    found = curves["phase_area"]
    axes = np.arange(1, len(found) + 1, dtype=np.float64)
    areas.vlines(
        axes,
        curves["phase_area_low"],
        curves["phase_area_high"],
        color=light("null"),
        linewidth=2.5,
    )
    areas.plot(axes, found, "o", color=light("observed"), markersize=5)
    areas.set_xlim(0.4, len(found) + 0.6)
    low = min(-1.1, float(np.nanmin(np.r_[found, curves["phase_area_low"]])))
    high = max(-0.9, float(np.nanmax(np.r_[found, curves["phase_area_high"]])))
    areas.set_ylim(low - 0.15 * (high - low), high + 0.4 * (high - low))
    areas.xaxis.set_ticks(axes, [f"{int(axis)}" for axis in axes])
    canvas.plain_ticks(areas.yaxis, 5)
    canvas.label(areas, 0.04, 1.0, "this run", "observed")
    canvas.label(areas, 0.04, 0.92, "bars: permuted increments", "null")


def portrait_title(curves: Curves) -> str:
    """Title with the area along the first axis, and what it says."""
    area, p = float(curves["phase_area"][0]), float(curves["phase_area_p"][0])
    if p > _LEVEL:
        word = "as a random walk (−1)"
    else:
        word = "velocities persist" if area < -1 else "steps turn back"
    return f"Phase portrait: area {decimal(area)} per interval, {word}"


def portrait_columns(curves: Curves) -> Columns:
    """The path along the first axis."""
    return {
        "position": curves["phase_position"][:-1, 0],
        "increment": curves["phase_increment"][:, 0],
    }


_LEVEL: Final = 0.01

PORTRAIT: Final = Plot(
    "phase-portrait",
    "Phase portrait",
    ("phase_area", "phase_position", "phase_increment"),
    16,
    draw_portrait,
    portrait_title,
    "Left, increment against position along the direction in which increments vary most, from "
    "early (dark) to late (light). Right, the area that the path sweeps in such a plane for each "
    "of the leading directions, per interval and over the variance of the increments.",
    "−1, a random walk, and the bars, 99% of what permuted increments sweep. Towards −2 velocities "
    "persist, as with momentum between close checkpoints; towards 0 increments take each other "
    "back, as in a well that is fast beside the spacing. Every path turns this way: an area is no "
    "current.",
    "Σ (x(t) y(t+1) − y(t) x(t+1)) / Σ y(t)², x and y along principal axes of the increments, "
    "about their means (arXiv:2107.09133)",
    portrait_columns,
    thinned=lambda curves: strided(curves.steps.size - 1),
)
