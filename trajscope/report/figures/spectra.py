"""The figure of singular values: the largest matrix at its first and its last checkpoint."""

from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import binned
from trajscope.report.content.numbers import exact
from trajscope.report.content.spectra import spectra_of
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import TIME, light
from trajscope.report.figures.record import Columns, PartPlot
from trajscope.schema import MATRIX, RANK, STEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def largest(results: xr.DataTree) -> xr.Dataset | None:
    """The matrix with the most entries among those that are not zero at either end."""
    found = spectra_of(results)
    if found is None:
        return None
    norms = found["spectral_norm"].values[[0, -1]].min(axis=0)
    sizes = np.where(norms > 0, found["rows"].values * found["columns"].values, -1)
    place = int(np.argmax(sizes))
    return found.isel({MATRIX: place}) if sizes[place] > 0 else None


def draw_spectrum(figure: "Figure", own: xr.Dataset) -> None:
    """Singular values over the edge of noise, at the first and the last checkpoint."""
    axes = canvas.add_axes(figure, "singular value, edge of noise = 1", "number")
    low, high = np.inf, 1.0
    ends = {0: "first", own.sizes[STEP] - 1: "last"}
    for line, (row, word) in enumerate(ends.items()):
        at = own.isel({STEP: row})
        values = at["singular_value"].values / float(at["random_edge"])
        values = values[np.isfinite(values) & (values > 1e-6 * np.nanmax(values))]
        seen = binned(np.arange(1.0, values.size + 1), values, by_ratio=True)
        colour = TIME[-1 if word == "last" else 0][0]
        axes.plot(seen.x, seen.mean, color=colour, linewidth=1.9, zorder=3)
        step = exact(float(own[STEP].values[row]))
        axes.text(
            0.97, 0.97 - 0.08 * line, f"step {step}", color=colour, transform=axes.transAxes,
            ha="right", va="top", fontweight="bold",
        )  # fmt: skip
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        last = float(values.size)
    axes.axhline(1, color=light("null"), linewidth=1.4, linestyle=":", zorder=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.9, 1.1 * last)
    low = max(low, 1e-3 * high)
    axes.set_ylim(0.8 * low, 1.6 * high)
    canvas.log_ticks(axes.xaxis, 1, last)
    canvas.log_ticks(axes.yaxis, 0.8 * low, 1.6 * high)
    canvas.label(axes, 0.03, 0.04, "dotted: Marchenko–Pastur edge", "null", va="bottom")


def spectrum_title(own: xr.Dataset) -> str:
    """Title with the number of singular values above the edge."""
    above = [exact(float(own["n_above_edge"].isel({STEP: end}))) for end in (0, -1)]
    name = printable(own[MATRIX].item(), limit=28)
    return f"Singular values of {name}: {above[0]} above the edge at first, {above[1]} at last"


def spectrum_columns(own: xr.Dataset) -> Columns:
    """Singular values over the edge, at both ends."""
    ends = {"first": own.isel({STEP: 0}), "last": own.isel({STEP: -1})}
    rank = np.arange(1.0, own.sizes[RANK] + 1)
    return {"rank": rank} | {
        f"{word}, over the edge": at["singular_value"].values / float(at["random_edge"])
        for word, at in ends.items()
    }


MATRIX_SPECTRUM: Final = PartPlot(
    "matrix-spectrum",
    "Singular values",
    largest,
    "trajscope analyze --spectra 20%,100%",
    draw_spectrum,
    spectrum_title,
    spectrum_columns,
    "Singular values of the matrix with the most entries, the largest first, over the edge; "
    "logarithmic.",
    "the dotted edge, where the largest singular value of a matrix of independent entries with the "
    "same Frobenius norm lies. Values above it are structure; values below it are no evidence of "
    "noise.",
)
