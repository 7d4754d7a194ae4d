"""Axes of the figures, and how they are written."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def panels(n: int = 1, *, title: str = "") -> "list[Axes]":
    """Empty axes beside one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * n if n == 1 else 4.4 * n, 3.8), layout="constrained")
    figure.suptitle(title, fontsize=11)
    return [figure.add_subplot(1, n, index + 1) for index in range(n)]


def save(axes: "Axes", path: Path) -> None:
    """Write the figure of these axes as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.get_figure(root=True).savefig(path, dpi=110)


def thinned(n: int, most: int = 600) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """At most so many of the places 0 ... n - 1, evenly spaced by ratio."""
    return np.unique(np.geomspace(1, n, most).round().astype(int)) - 1


def binned(values: Floats, n_bins: int = 300) -> Floats:
    """Means over bins of neighbours, as (bin, ...); short series as they are."""
    size = max(len(values) // n_bins, 1)
    kept = len(values) // size * size
    return values[:kept].reshape(kept // size, size, *values.shape[1:]).mean(axis=1)


def log_binned(values: Floats, n_bins: int = 150) -> Floats:
    """The same over bins that grow by one ratio."""
    starts = thinned(len(values), n_bins)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])
