"""The figure of the theory: variances over predicted ones along eigenvectors of the Hessian."""

from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.report.content.dynamics import dynamics_of
from trajscope.report.content.numbers import exact, number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, PartPlot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ratios_of(results: xr.DataTree) -> xr.Dataset | None:
    """The part of a result that holds ratios to draw."""
    found = dynamics_of(results)
    there = found is not None and "variance_ratio" in found and bool(_kept(found).any())
    return found if there else None


def draw_ratios(figure: "Figure", found: xr.Dataset) -> None:
    """Measured over predicted variance of every direction with its 95% interval."""
    axes = canvas.add_axes(
        figure, "variance, measured over predicted", "eigenvalue of the Hessian, loss/weight²"
    )
    kept = _kept(found)
    values = found["hessian_eigenvalue"].values[kept]
    ratio, low, high = (found[f"variance_ratio{end}"].values[kept] for end in ("", "_low", "_high"))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axhline(1, color=light("null"), linewidth=1.4, linestyle=":", zorder=2)
    colour = light("observed")
    for place, lower, upper in zip(values, low, high, strict=True):
        axes.plot([place, place], [lower, upper], color=colour, linewidth=1.1, zorder=3)
    axes.plot(values, ratio, "o", color=colour, markersize=3.5, zorder=4)
    ends = (float(values.min()) / 1.2, float(values.max()) * 1.2)
    heights = (min(float(low.min()), 0.5) / 1.1, max(float(high.max()), 2.0) * 1.1)
    axes.set_xlim(*ends)
    axes.set_ylim(*heights)
    canvas.log_ticks(axes.xaxis, *ends)
    canvas.log_ticks(axes.yaxis, *heights)
    canvas.label(axes, 0.03, 0.04, "dotted: as predicted", "null", va="bottom")


def ratios_title(found: xr.Dataset) -> str:
    """Title with the geometric mean, and how many intervals hold 1."""
    kept = _kept(found)
    low, high = (found[f"variance_ratio{end}"].values[kept] for end in ("_low", "_high"))
    held = int(((low <= 1) & (high >= 1)).sum())
    mean = number(float(found["volume_ratio"]))
    return f"Variances: {mean} times the predicted; {held} of {exact(int(kept.sum()))} hold 1"


def ratios_columns(found: xr.Dataset) -> Columns:
    """The ratios that are drawn, and their intervals."""
    kept = _kept(found)
    names = ("hessian_eigenvalue", "variance_ratio", "variance_ratio_low", "variance_ratio_high")
    return {name: found[name].values[kept] for name in names}


def _kept(found: xr.Dataset) -> NDArray[np.bool_]:
    parts = np.array([found[f"variance_ratio{end}"].values for end in ("", "_low", "_high")])
    kept: NDArray[np.bool_] = (np.isfinite(parts) & (parts > 0)).all(axis=0)
    return kept


THEORY: Final = PartPlot(
    "theory-variances",
    "Variances, measured over predicted",
    ratios_of,
    "trajscope analyze --problem, with --lr, --batch-size and --momentum",
    draw_ratios,
    ratios_title,
    ratios_columns,
    "Stationary variance along leading eigenvectors of the Hessian over that which linear theory "
    "predicts from the Hessian, the gradient noise and the optimizer; lines: 95% intervals from "
    "simulated windows of the predicted law.",
    "the dotted line at 1. Above it in flat directions: a drift; everywhere: another temperature.",
)
