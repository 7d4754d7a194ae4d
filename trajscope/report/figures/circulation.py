"""The plane in which a run circulates most, and the area that it sweeps there."""

from typing import TYPE_CHECKING

import numpy as np

from trajscope.report.content.curves import MOST_POINTS, Curves, Floats
from trajscope.report.content.numbers import counted, number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import TIME, light
from trajscope.report.figures.record import Obstacle, not_tested
from trajscope.schema import PLANE_STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_circulation(figure: "Figure", curves: Curves) -> None:
    """The path in its leading plane of circulation, and its signed area beside surrogates'."""
    _draw_plane(
        canvas.add_axes(figure, "axis 2, sd", "axis 1, sd", box=(0.02, 0.13, 0.43, 0.77)),
        curves.tested("plane_path"),
    )
    _draw_areas(
        canvas.add_axes(
            figure, "signed area swept, sd²", "checkpoint", box=(0.56, 0.155, 0.42, 0.745)
        ),
        curves,
    )


def circulation_title(curves: Curves) -> str:
    """Title with the area at the end, and those of the surrogates."""
    final = curves.tested("signed_area_surrogate")[:, -1]
    return (
        f"Signed area: {number(curves.tested('signed_area')[-1])} sd²; "
        f"{counted(final.size, 'reversible surrogate')} reach {number(final.min(), 2)} to "
        f"{number(final.max(), 2)}"
    )


def not_looked_for(curves: Curves) -> Obstacle:
    """Why this run was not asked for a circulation."""
    if curves.verdict is None or not curves.verdict.evidence:
        return not_tested(curves)
    times = next((g.finding for g in curves.verdict.gates if g.question == "settled?"), "")
    if times:
        return Obstacle(
            f"The window holds {times}; a circulation is tested from 3.5 on, since surrogates of "
            "a shorter one turn as far by chance.",
            "keep more checkpoints.",
        )
    return Obstacle(
        "A circulation is tested only in a run that is confined: a path that is not "
        f"mean-reverting has no loop to close. The verdict is {curves.verdict.word}.",
        "a longer window, if the run settles later; --burn-in leaves out its beginning.",
    )


def circulation_columns(curves: Curves) -> dict[str, Floats]:
    """The path, its area, and lowest, mean and highest area of the surrogates."""
    path, fan = curves.tested("plane_path"), curves.tested("signed_area_surrogate")
    return {
        "step": np.asarray(curves.tests[PLANE_STEP].values, dtype=np.float64),
        "axis_1": path[:, 0],
        "axis_2": path[:, 1],
        "signed_area": curves.tested("signed_area"),
        "surrogate_lowest": fan.min(axis=0),
        "surrogate_mean": fan.mean(axis=0),
        "surrogate_highest": fan.max(axis=0),
    }


def _draw_plane(axes: "Axes", path: Floats) -> None:
    shown = path[:: -(-len(path) // MOST_POINTS)]
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.axhline(0, color=light("rule"), linewidth=1, zorder=1)
    axes.axvline(0, color=light("rule"), linewidth=1, zorder=1)
    cuts = np.linspace(0, len(shown) - 1, len(TIME) + 1).astype(int)
    for (colour, _), start, stop in zip(TIME, cuts[:-1], cuts[1:], strict=True):
        part = shown[start : stop + 1]
        axes.plot(part[:, 0], part[:, 1], color=colour, linewidth=1.2, zorder=3)
    ring, disc, face = TIME[0][0], TIME[-1][0], light("background")
    axes.plot(*path[0], "o", mfc=face, mec=ring, mew=2, ms=8, zorder=4)
    axes.plot(*path[-1], "o", mfc=disc, mec=disc, ms=8, zorder=4)
    axes.margins(0.08, 0.08)
    axes.set_aspect("equal", adjustable="datalim")


def _draw_areas(axes: "Axes", curves: Curves) -> None:
    area, fan = curves.tested("signed_area"), curves.tested("signed_area_surrogate")
    checkpoint = np.arange(area.size, dtype=np.float64)
    stride = -(-area.size // MOST_POINTS)
    for one in fan:
        axes.plot(checkpoint[::stride], one[::stride], color=light("band"), linewidth=1.4, zorder=1)
    canvas.null_mean(axes, checkpoint, fan.mean(axis=0))
    canvas.observed_beside_band(
        axes, checkpoint, area, np.full_like(area, -np.inf), np.fmax.reduce(fan)
    )
    axes.set_xlim(0, float(checkpoint[-1]))
    low, high = min(0.0, float(area.min()), float(fan.min())), float(max(area.max(), fan.max()))
    axes.set_ylim(low - 0.02 * (high - low), high + 0.25 * (high - low))
    canvas.plain_ticks(axes.xaxis, 4)
    canvas.plain_ticks(axes.yaxis)
    canvas.label(axes, 0.03, 1.0, "this run", "observed")
    canvas.label(axes, 0.03, 0.92, f"grey: {len(fan)} reversible", "null")
    canvas.label(axes, 0.03, 0.85, "surrogates; dashed: mean", "null")
