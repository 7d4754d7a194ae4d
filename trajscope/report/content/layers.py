"""One row per group of tensors: its growth of displacement, its tests as dots in bands."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from trajscope.report.content.curves import Floats
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import number, percent
from trajscope.report.content.standings import Standing, layer_tests, standings_of
from trajscope.report.content.verdict import codes, sentences, verdict
from trajscope.schema import GROUP, LAG

MOST_ROWS = 40
"""With more groups than this only the `LARGEST` are shown at once; the others unfold."""
LARGEST = 20
MOST_SENTENCES = 200

_WIDTH, _HEIGHT, _POINTS = 96, 24, 32
_MEDIAN, _EDGE, _END = 14.0, 44.0, 78.0
"""Places in a cell of the median of the null, of its edge, and of the farthest dot."""


@dataclass(frozen=True)
class Dot:
    """A statistic beside the band of its null.

    Attributes
    ----------
    place :
        Of the dot in the cell; `None` where the null has no spread.
    p_value :
        Corrected for the number of layers, in words.
    spoke :
        Whether the null is rejected: a diamond.
    far :
        Whether the dot stands at the end of the cell because it lies beyond.
    is_used :
        Whether the test says anything of this layer; else no dot is shown.
    """

    place: float | None
    p_value: str
    spoke: bool
    far: bool
    is_used: bool


@dataclass(frozen=True)
class Row:
    """A group: its name and numbers in words, and the SVG path of its line.

    Attributes
    ----------
    dots :
        One for each of the tests of `Layers`; `None` where it was not run.
    verdict, sentence :
        Empty where there is none.
    """

    name: str
    weights: str
    line: str
    exponent: str
    first_component: str
    zero: str
    path_ratio: str
    dots: tuple[Dot | None, ...]
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Layers:
    """The rows shown at once, all rows where those are not all, and the line of a random walk.

    Attributes
    ----------
    walk :
        Height of the level line in every cell, on the same scale.
    tests :
        Labels of the tests that are shown; empty without tests.
    """

    shown: tuple[Row, ...]
    all: tuple[Row, ...]
    walk: float
    tests: tuple[str, ...]
    edge: float = _EDGE
    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def hidden(self) -> int:
        """How many rows are folded away."""
        return len(self.all) - len(self.shown)

    @property
    def said(self) -> tuple[Row, ...]:
        """Rows whose sentences are written out, at most `MOST_SENTENCES`."""
        return tuple(row for row in self.all if row.sentence)[:MOST_SENTENCES]


def layers(results: xr.DataTree) -> Layers:
    """A row for every group but the first, which holds all weights."""
    observables = results["observables"].to_dataset()
    groups = observables.isel({GROUP: slice(1, None)})
    lines = _relative_growth(groups)
    finite = lines[np.isfinite(lines)]
    low, high = (min(finite.min(), -0.3), max(finite.max(), 0.3)) if finite.size else (-1.0, 1.0)
    heights = _HEIGHT - 2 - (_HEIGHT - 4) * (lines - low) / (high - low)
    walk = _HEIGHT - 2 - (_HEIGHT - 4) * (0 - low) / (high - low)
    decided = verdict(results)
    tests, alpha = results["tests"].to_dataset(), decided.alpha if decided else float("nan")
    words, said = codes(results), sentences(results)
    columns = layer_tests(tests) if words else {}
    # Plain arrays: selecting one of thousands of layers with its labels takes milliseconds.
    values = {name: groups[name].values for name in _NEEDED}
    labels = [str(each) for each in groups[GROUP].values]
    names = told_apart(labels, 200)
    n = len(labels)
    found = standings_of(tests, alpha, range(1, n + 1)) if words else [()] * n
    rows = tuple(
        _row(
            {name: each[place] for name, each in values.items()},
            heights[place],
            found[place],
            tuple(columns),
            words.get(label, ""),
            said.get(label, ""),
            name=names[place],
        )
        for place, label in enumerate(labels)
    )
    shown = tuple(columns.values())
    if len(rows) <= MOST_ROWS:
        return Layers(rows, rows, walk, shown)
    largest = np.argsort(-groups["n_weights"].values, kind="stable")[:LARGEST]
    return Layers(tuple(rows[place] for place in largest), rows, walk, shown)


_NEEDED = (
    GROUP,
    "displacement",
    "path_length",
    "explained_variance",
    "n_weights",
    "diffusion_exponent",
    "zero_increment_fraction",
)


def _row(  # noqa: PLR0913 - a row has as many parts
    group: Mapping[str, Any],
    heights: Floats,
    found: tuple[Standing, ...],
    columns: tuple[str, ...],
    decided: str,
    said: str,
    *,
    name: str,
) -> Row:
    moved = float(group["displacement"][-1])
    path = float(group["path_length"])
    first = group["explained_variance"][:1]
    shown = {one.test: _dot(one) for one in found}
    return Row(
        name=name,
        weights=f"{int(group['n_weights']):,}",
        line=_svg_path(heights),
        exponent=number(float(group["diffusion_exponent"]), 2),
        first_component=percent(float(first[0])) if first.size else "unknown",
        zero=percent(float(group["zero_increment_fraction"]), 1),
        path_ratio=number(path / moved, 2) if moved > 0 else "never changed",
        dots=tuple(shown.get(test) for test in columns),
        verdict=decided.replace("_", " "),
        sentence=said,
    )


def _dot(one: Standing) -> Dot:
    place = _MEDIAN + (_EDGE - _MEDIAN) * one.ratio
    return Dot(
        place=round(min(max(place, 5.0), _END), 1) if math.isfinite(place) else None,
        p_value=f"{one.p_value:.2g}",
        spoke=one.spoke,
        far=place > _END,
        is_used=one.is_used,
    )


def _relative_growth(groups: xr.Dataset) -> Floats:
    """(group, point): log10 of mean squared displacement per lag, 0 at one checkpoint.

    Level for a random walk, falling for a confined path, rising for a straight line; lags in equal
    ratios up to a quarter of the window, beyond which few windows are averaged.
    """
    moved = groups[LAG].values > 0
    lag = groups[LAG].values[moved]
    growth = groups["mean_squared_displacement"].values[:, moved] / lag
    longest = max(np.searchsorted(lag, lag[-1] / 4, side="right"), min(2, lag.size))
    wanted = np.geomspace(lag[0], lag[longest - 1], _POINTS)
    chosen = np.unique(np.searchsorted(lag, wanted * (1 - 1e-9)))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative: Floats = np.log10(growth[:, chosen] / growth[:, :1])
    return relative


def _svg_path(heights: Floats) -> str:
    if heights.size < 2 or not np.isfinite(heights).all():
        return ""
    across = np.linspace(1, _WIDTH - 1, heights.size)
    points = [f"{x:.1f} {y:.1f}" for x, y in zip(across, heights, strict=True)]
    return "M" + "L".join(points)
