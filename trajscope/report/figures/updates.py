"""The figure of updates beside weights: how far every layer moves at a time, along the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import exact, number
from trajscope.report.figures import canvas
from trajscope.report.figures.canvas import SHADES, WIDE
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, Plot
from trajscope.schema import GROUP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LAYERS: Final = 20
_MOST_COLUMNS: Final = 96
_NAMES: Final = 400
"""Pixels of the longest name at most."""
_ROW: Final = 20
"""Pixels of a layer; the title above and the steps below take `_ABOVE` and `_BELOW`."""
_ABOVE, _BELOW = 34, 44
_KEY_LEAST: Final = 150
"""Pixels of a figure of few layers, which the key needs."""
_RULE: Final = 1e-3
_WIDTHS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Of a shade, in powers of ten."""


@dataclass(frozen=True)
class Updates:
    """What is drawn: ``|y_t| / |x_t|`` of groups, in stretches of the run.

    Attributes
    ----------
    names :
        All weights first, then the largest layers, in the order of the result.
    edges : (stretch + 1,)
        Steps between the stretches.
    ratios : (group, stretch)
        Mean over the intervals of a stretch; NaN where the weights are zero.
    hidden :
        Layers that are not drawn.
    """

    names: Sequence[str]
    edges: Floats
    ratios: Floats
    hidden: int


def updates(curves: Curves) -> Updates:
    """Of every group, all weights first; of many layers, the largest."""
    sizes = curves.groups["n_weights"].values[1:]
    kept = [0, *sorted(np.argsort(-sizes, kind="stable")[:_MOST_LAYERS] + 1)]
    ratios = np.asarray(curves.groups["relative_increment"].values[kept], dtype=np.float64)
    starts = _starts(ratios.shape[1])
    known = np.isfinite(ratios)
    count = np.add.reduceat(known, starts, axis=1, dtype=np.intp)
    total = np.add.reduceat(np.where(known, ratios, 0), starts, axis=1)
    groups = [printable(name) for name in curves.groups[GROUP].values[kept]]
    return Updates(
        groups,
        np.r_[curves.steps[starts], curves.steps[-1]],
        np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0),
        sizes.size + 1 - len(kept),
    )


def rule_of_thumb(curves: Curves) -> tuple[float, float] | None:
    """From and to what ratio the rule allows between two checkpoints; `None` where unknown.

    Over k optimizer steps it is √k times as much for steps at right angles to each other, and k
    times as much for steps in one direction.
    """
    if curves.window.unit != "step":
        return None
    spacing = _spacing(curves)
    return _RULE * float(np.sqrt(spacing)), _RULE * spacing


def draw_updates(figure: "Figure", curves: Curves) -> None:
    """A row of shades for every group; beside it, the ratios that they stand for."""
    found = updates(curves)
    height = updates_height(curves)
    names, wide = canvas.row_names(found.names, _NAMES)
    left = (16 + wide) / WIDE
    box = (left, _BELOW / height, 0.86 - left, _tall(height) / height)
    axes = canvas.add_axes(figure, "update / weight, by layer", curves.step_title, box=box)
    levels = _levels(found.ratios, rule_of_thumb(curves))
    with np.errstate(divide="ignore"):
        powers = np.log10(np.where(found.ratios > 0, found.ratios, np.nan))
    places = np.clip(np.searchsorted(levels, powers, side="right") - 1, 0, levels.size - 2)
    places[~np.isfinite(powers)] = -1
    for place, shade in enumerate(_shades(levels)):
        _draw_cells(axes, places == place, found.edges, shade)
    axes.set_xlim(found.edges[0], found.edges[-1])
    axes.set_ylim(len(found.names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    canvas.plain_ticks(axes.xaxis, 6)
    _draw_key(figure, levels, rule_of_thumb(curves), height)


def updates_height(curves: Curves) -> int:
    """Pixels of the figure."""
    rows = min(curves.groups.sizes[GROUP], _MOST_LAYERS + 1)
    return max(_ROW * rows, _KEY_LEAST if rows > 1 else 2 * _ROW) + _ABOVE + _BELOW


def _tall(height: int) -> int:
    """Pixels of all rows."""
    return height - _ABOVE - _BELOW


def updates_title(curves: Curves) -> str:
    """Title with the median of all weights, and what the rule of thumb allows."""
    whole = curves["relative_increment"]
    known = whole[np.isfinite(whole)]
    median = number(float(np.median(known)), 2) if known.size else "unknown"
    rule = rule_of_thumb(curves)
    if rule is None:
        return f"Update to weight: median {median} from a checkpoint to the next"
    low, high = (number(each, 1 if rule[0] == rule[1] else 2) for each in rule)
    over = "a step" if low == high else f"over {exact(_spacing(curves))} steps"
    return (
        f"Update to weight: median {median} {over}; rule of thumb "
        f"{low if low == high else f'{low} to {high}'}"
    )


def updates_columns(curves: Curves) -> Columns:
    """What is drawn, a column for every group."""
    found = updates(curves)
    names = told_apart(found.names, 200)
    return {"step": found.edges[:-1]} | dict(zip(names, found.ratios, strict=True))


def updates_thinned(curves: Curves) -> str:
    """What is left out of the drawing."""
    found = updates(curves)
    hidden = f" {found.hidden:,} smaller layers are not drawn." if found.hidden else ""
    if curves.steps.size - 1 <= _MOST_COLUMNS:
        return hidden
    return f" Means over {found.edges.size - 1} stretches of the run.{hidden}"


def _spacing(curves: Curves) -> float:
    """Steps from a checkpoint to the next; the median where it changes."""
    return float(np.median(np.diff(curves.steps)))


def _starts(n_intervals: int) -> np.ndarray:
    count = min(n_intervals, _MOST_COLUMNS)
    return np.floor(np.arange(count) * n_intervals / count).astype(np.intp)


def _levels(ratios: Floats, rule: tuple[float, float] | None) -> Floats:
    """Edges of the shades as powers of ten: the narrowest that hold all ratios, and the rule."""
    powers = np.log10(ratios[np.isfinite(ratios) & (ratios > 0)])
    if not powers.size:
        return np.array([-1.0, 0.0])
    low, high = float(powers.min()), float(powers.max())
    if rule is not None and low - 1 <= np.log10(rule[1]) and np.log10(rule[0]) <= high + 1:
        low, high = min(low, float(np.log10(rule[0]))), max(high, float(np.log10(rule[1])))
    for width in _WIDTHS:
        first, last = np.floor(low / width + 1e-9), np.ceil(high / width - 1e-9)
        if last - first <= len(SHADES):
            break
    return width * np.arange(first, max(last, first + 1) + 1)


def _shades(levels: Floats) -> list[float]:
    places = np.linspace(0, len(SHADES) - 1, levels.size - 1)
    return [SHADES[int(place)] for place in np.rint(places)]


def _draw_cells(axes: "Axes", mask: np.ndarray, edges: Floats, shade: float) -> None:
    """Neighbouring cells of one shade as one bar."""
    rows, lefts, widths = [], [], []
    for row, own in enumerate(mask):
        changes = np.flatnonzero(np.diff(np.r_[False, own, False]))
        for start, stop in zip(changes[::2], changes[1::2], strict=True):
            rows.append(row)
            lefts.append(edges[start])
            widths.append(edges[stop] - edges[start])
    if rows:
        axes.barh(
            rows, widths, height=0.88, left=lefts, color=light("observed"), alpha=shade,
            linewidth=0, zorder=2,
        )  # fmt: skip


def _draw_key(
    figure: "Figure", levels: Floats, rule: tuple[float, float] | None, height: int
) -> None:
    """The shades beside the ratios that they stand for, and the rule of thumb."""
    tall = _tall(height)
    axes = canvas.add_axes(figure, "", "", box=(0.885, _BELOW / height, 0.02, tall / height))
    for low, high, shade in zip(levels[:-1], levels[1:], _shades(levels), strict=True):
        axes.bar(0, high - low, 1, low, color=light("observed"), alpha=shade, linewidth=0)
    axes.set_xlim(-0.5, 0.5)
    axes.set_ylim(levels[0], levels[-1])
    axes.set_xticks([])
    shown = levels[:: -(-levels.size * 16 // tall)]
    axes.set_yticks(shown, [number(10.0**each, 1 if each.is_integer() else 2) for each in shown])
    axes.yaxis.tick_right()
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    inside = [each for each in np.log10(rule or ()) if levels[0] <= each <= levels[-1]]
    for each in dict.fromkeys(inside):
        axes.axhline(each, color=light("ink"), linewidth=1.6, linestyle=":", zorder=4)


UPDATES: Final = Plot(
    "updates",
    "Update to weight",
    ("relative_increment",),
    2,
    draw_updates,
    updates_title,
    "Length of each increment over that of the weights it starts from, for all weights and layer "
    "by layer, stronger for larger, each shade an equal factor. Blank: nothing moved, or the "
    "weights are zero. Dotted in the key, where steps are counted: the rule of thumb.",
    "the rule of thumb of Stanford's CS231n notes, about 0.001 in one optimizer step, so √k times "
    "that over k steps that share no direction, and k times over a straight line. It is no test. A "
    "layer much fainter than the others hardly trains; one much stronger, or ever stronger, is "
    "trained at a large rate for its weights. Biases and norms, small at first, are strong "
    "without harm.",
    "|y(t)| / |x(t)|",
    updates_columns,
    height=updates_height,
    thinned=updates_thinned,
)
