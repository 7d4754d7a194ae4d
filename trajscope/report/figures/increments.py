"""The size of the increments along the run, and where the noise changes its scale."""

import math
from typing import TYPE_CHECKING

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import exact, number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def relative_size(curves: Curves) -> Floats:
    """(interval,) squared length of every increment over its mean."""
    squared = curves["increment_norm"] ** 2
    relative: Floats = squared / squared.mean()
    return relative


def change_step(curves: Curves) -> float | None:
    """The step from which on the noise has another scale, `None` where it is steady."""
    if curves.verdict is None or curves.verdict.code != "noise_scale_changes":
        return None
    told = curves.tests.attrs.get("summary", {}).get("noise_scale", {}).get("change_step")
    if isinstance(told, (int, float)) and math.isfinite(told):
        return float(told)
    change = curves.verdict.evidence.get("change", math.nan)
    if not 0 <= change < curves.steps[:: curves.stride].size:
        return None
    return float(curves.steps[:: curves.stride][round(change)])


def draw_increment_size(figure: "Figure", curves: Curves) -> None:
    """Squared increments along the run; with a change, the level of both sides."""
    at, size = curves.steps[:-1], relative_size(curves)
    axes = canvas.add_axes(figure, "squared increment, mean = 1", curves.step_title)
    axes.set_yscale("log")
    positive = size[size > 0]
    low, high = 0.4 * float(positive.min()), 3.5 * float(positive.max())
    canvas.null_mean(axes, at, np.ones_like(at))
    canvas.observed(axes, at, np.where(size > 0, size, np.nan))
    change = change_step(curves)
    if change is not None and at[0] < change:
        axes.axvline(change, color=light("outside"), linewidth=1.6, zorder=3.4)
        for side in (at < change, at >= change):
            level = float(size[side].mean())
            axes.plot(at[side][[0, -1]], [level, level], color=light("outside"), lw=2.6, zorder=3.6)
    axes.set_xlim(curves.window.first, curves.window.last)
    axes.set_ylim(low, high)
    canvas.plain_ticks(axes.xaxis, 5)
    canvas.log_ticks(axes.yaxis, low, high)
    canvas.label(axes, 0.02, 1.0, "this run", "observed")
    canvas.label(axes, 0.98, 1.0, "dashed: steady noise", "null", ha="right")
    if change is not None:
        canvas.label(axes, 0.98, 0.02, "orange: change, and mean of each side", "outside-text",
                     ha="right", va="bottom")  # fmt: skip


def increment_size_title(curves: Curves) -> str:
    """Title with the change, or with the p-value of a steady scale, or the range."""
    told = curves.verdict.evidence if curves.verdict else {}
    change = change_step(curves)
    if change is not None:
        ratio = number(told.get("noise_ratio", math.nan))
        return (
            f"Increment size: variance changes {ratio}-fold at {curves.window.unit} {exact(change)}"
        )
    if "noise_scale" in told:
        return f"Increment size: no change of noise variance seen, p = {told['noise_scale']:.2g}"
    size = relative_size(curves)
    return (
        f"Increment size: squares from {number(size.min(), 2)} to {number(size.max(), 2)} of mean"
    )
