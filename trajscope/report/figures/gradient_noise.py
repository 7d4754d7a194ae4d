"""Figures of the gradient noise: eigenvalues of D, and loss and gradient norm along the run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from trajscope.report.content.curves import MOST_POINTS, Floats
from trajscope.report.content.gradient_noise_summary import is_computed, trend_of
from trajscope.report.content.numbers import exact, number, percent
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import TIME, light
from trajscope.report.figures.record import Columns, PartPlot
from trajscope.schema import COMPONENT, STEP, is_comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECADES: Final = 18
"""Below lambda_max: smaller eigenvalues are rounding in any dtype."""


def draw_spectra(figure: "Figure", found: xr.Dataset) -> None:
    """Eigenvalues of D in descending order, both axes logarithmic, the checkpoints over another."""
    axes = canvas.add_axes(
        figure, "eigenvalue of D, loss²/weight²", "number of the eigenvalue, from the largest"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    spectra = np.asarray(found["eigenvalue"].values, dtype=np.float64)
    largest = float(np.nanmax(spectra))
    low = max(float(np.nanmin(spectra[spectra > 0])), largest * 10.0**-_DECADES)
    mean = float(found["eigenvalue_mean"].values[-1])
    # With fewer samples than weights most eigenvalues are zero, and the mean may lie below all.
    low = min(low, mean) if mean > 0 else low
    order = np.arange(1, found.sizes[COMPONENT] + 1, dtype=np.float64)
    for row, (colour, _) in enumerate(_colours(len(spectra))):
        kept = _drawn(order) & (spectra[row] >= low)
        axes.plot(order[kept], spectra[row][kept], color=colour, linewidth=1.7, zorder=3 + row / 99)
    axes.set_xlim(1, max(float(order[-1]), 2))
    axes.set_ylim(low / 3, largest * 6)
    _thresholds(axes, found, low)
    canvas.theory(axes, order[[0, -1]], np.array([mean, mean]))
    canvas.log_ticks(axes.xaxis, 1, float(order[-1]))
    _decade_ticks(axes, low / 3, largest * 6)
    _label_steps(axes, found)


def spectra_title(found: xr.Dataset) -> str:
    """Title with the number of directions that hold most of the trace."""
    held = float(found["directions_90"].values[-1])
    n_weights = int(found.attrs["n_weights"])
    return f"Eigenvalues of D: {exact(held)} of {n_weights:,} directions hold 90% of the trace"


def draw_descent(figure: "Figure", found: xr.Dataset) -> None:
    """Loss and gradient norm at many checkpoints, both logarithmic."""
    steps = np.asarray(found["checkpoint"].values, dtype=np.float64)
    for name, words, left in (
        ("gradient_norm", "|mean gradient| / √d", 0.105),
        ("loss", "loss", 0.605),
    ):
        axes = canvas.add_axes(figure, words, "step", box=(left, 0.155, 0.375, 0.745))
        series = np.asarray(found[f"checkpoint_{name}"].values, dtype=np.float64)
        canvas.observed(axes, steps, series)
        positive = series[series > 0]
        axes.set_xlim(float(steps[0]), float(max(steps[-1], steps[0] + 1)))
        if positive.size:
            axes.set_yscale("log")
            low, high = float(positive.min()) / 1.3, float(positive.max()) * 1.3
            axes.set_ylim(low, high)
            canvas.log_ticks(axes.yaxis, low, high)
        canvas.plain_ticks(axes.xaxis, 4)


def descent_title(found: xr.Dataset) -> str:
    """Title with the factor by which the gradient changed, and whether it is a trend."""
    norms = np.asarray(found["checkpoint_gradient_norm"].values, dtype=np.float64)
    finite = norms[np.isfinite(norms)]
    p_value = trend_of(found, "gradient_norm").get("p_value", np.nan)
    known = f"trend p = {number(p_value, 2)}" if np.isfinite(p_value) else "too few points to test"
    if not finite.size or not finite.min() > 0:
        return f"Gradient norm: {known}"
    return f"Gradient norm: {number(float(finite[-1] / finite[0]), 2)} of its first value; {known}"


def _part(needs: str) -> Callable[[xr.DataTree], xr.Dataset | None]:
    """The diffusion part of a result, where it holds this variable and not zeros alone."""

    def part(results: xr.DataTree) -> xr.Dataset | None:
        if is_comparison(results):
            return None
        found = results["diffusion"].to_dataset()
        is_there = is_computed(found) and needs in found
        return found if is_there and bool((found[needs].values > 0).any()) else None

    return part


def _spectra_columns(found: xr.Dataset) -> Columns:
    order = np.arange(1, found.sizes[COMPONENT] + 1, dtype=np.float64)
    shown = _drawn(order)
    return {"number": order[shown]} | {
        f"step {exact(float(step))}": values[shown]
        for step, values in zip(found[STEP].values, found["eigenvalue"].values, strict=True)
    }


def _descent_columns(found: xr.Dataset) -> Columns:
    names = ("checkpoint", "checkpoint_gradient_norm", "checkpoint_loss")
    return {
        name.removeprefix("checkpoint_"): np.asarray(found[name].values, dtype=np.float64)
        for name in names
    }


FIGURES: Final = (
    PartPlot(
        "noise-spectrum",
        "Eigenvalues of D",
        _part("eigenvalue"),
        "trajscope analyze --problem",
        draw_spectra,
        spectra_title,
        _spectra_columns,
        "All eigenvalues of the covariance of per-sample gradients (the paper's Figs. 1 and 2), "
        "checkpoints from dark to light, both axes logarithmic. Dashed: thresholds below which "
        "the rank does not count, as a share of the largest eigenvalue.",
        "the dotted level, where all would lie if the noise were the same in every direction. "
        "Curves over one another: the noise changes little along the run. Where the curve "
        "crosses a threshold depends on the dtype's epsilon, not on the network alone.",
    ),
    PartPlot(
        "noise-descent",
        "Gradient norm and loss",
        _part("checkpoint_gradient_norm"),
        "trajscope analyze --problem, with --mode eval and --every above 0.",
        draw_descent,
        descent_title,
        _descent_columns,
        "Length of the mean gradient over the square root of the number of weights, and the loss "
        "(the paper's Fig. 3c), at the checkpoints; the network in eval mode, logarithmic.",
        "zero, where a run that has converged to a critical point would go. A gradient that stays "
        "large while the loss does not fall is driven by noise. The trend is Mann-Kendall on "
        "points 3 correlation times apart.",
    ),
)
"""In the order of the page."""


def _thresholds(axes: "Axes", found: xr.Dataset, low: float) -> None:
    largest = float(found["lambda_max"].values[-1])
    for name, words in (("rank_eps32", "float32"), ("rank_eps64", "float64")):
        level = largest * float(found[f"{name}_threshold"])
        if low / 3 < level < largest:
            counted = float(found[name].values[-1]) / int(found.attrs["n_weights"])
            axes.axhline(level, color=light("null"), linewidth=1.1, dashes=(5, 3), zorder=2)
            text = f"{words} ε: rank {percent(counted, 2)} of d"
            # Clear of the dotted mean, which is often just above.
            side = "top" if level > 100 * low else "bottom"
            place = {"transform": axes.get_yaxis_transform(), "va": side}
            canvas.label(axes, 0.02, level, text, "null", **place)


def _decade_ticks(axes: "Axes", low: float, high: float) -> None:
    """Some six powers of ten: eigenvalues reach over more of them than have plain numbers."""
    first, last = int(np.ceil(np.log10(low))), int(np.floor(np.log10(high)))
    stride = max(-(-(last - first) // 6), 1)
    decades = [10.0**n for n in range(first, last + 1, stride)]
    canvas.put_ticks(axes.yaxis, decades, lambda value: number(value, 1))


def _label_steps(axes: "Axes", found: xr.Dataset) -> None:
    """The steps in the colours of their curves, at most six of them."""
    colours, steps = _colours(found.sizes[STEP]), found[STEP].values
    for line, row in enumerate(np.unique(np.linspace(0, len(steps) - 1, 6).round().astype(int))):
        axes.text(
            0.98, 0.99 - 0.075 * line, f"step {exact(float(steps[row]))}",
            transform=axes.transAxes, ha="right", va="top", color=colours[row][0], zorder=5,
        )  # fmt: skip


def _colours(count: int) -> list[tuple[str, str]]:
    places = np.linspace(0, len(TIME) - 1, count) if count > 1 else np.array([0])
    return [TIME[int(place)] for place in np.rint(places)]


def _drawn(order: Floats) -> "np.ndarray":
    """Which points of a long curve are drawn: evenly many on a logarithmic axis, none changed."""
    if order.size <= MOST_POINTS:
        return np.ones(order.size, bool)
    drawn = np.zeros(order.size, bool)
    drawn[np.unique(np.geomspace(1, order.size, MOST_POINTS).astype(int)) - 1] = True
    return drawn
