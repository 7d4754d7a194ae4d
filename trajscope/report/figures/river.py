"""The figure of averages over windows: the river that they show, and a random walk's."""

from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import decimal, exact, percent
from trajscope.report.content.river import NUMBERS, chosen, walk_of
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, Plot
from trajscope.schema import WINDOW_LENGTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS: Final = (
    ("river_share", "variance in PC 1, %", 100.0),
    ("river_cosine", "cosine of successive steps", 1.0),
)


def draw_river(figure: "Figure", curves: Curves) -> None:
    """Share and cosine of averages against the length of their windows, beside a random walk's."""
    lengths = _lengths(curves)
    for place, (name, title, unit) in enumerate(_PANELS):
        box = (0.105 + 0.5 * place, 0.155, 0.37, 0.745)
        axes = canvas.add_axes(figure, title, "checkpoints per average", box=box)
        found, walk = unit * curves[name], unit * walk_of(curves.values, name)
        axes.plot(
            lengths, walk, color=light("null"), linewidth=1.4, linestyle=":", marker="o", ms=3
        )
        axes.plot(lengths, found, color=light("observed"), linewidth=1.9, marker="o", ms=5)
        axes.set_xscale("log")
        axes.set_xlim(float(lengths[0]) / 1.5, float(lengths[-1]) * 1.5)
        both = np.concatenate([found, walk])
        low, high = float(both.min()), float(both.max())
        room = max(high - low, 0.05 * unit)
        axes.set_ylim(low - 0.3 * room, high + 0.4 * room)
        canvas.log_ticks(axes.xaxis, float(lengths[0]), float(lengths[-1]))
        axes.xaxis.set_ticks(lengths, [f"{int(w):,}" for w in lengths])
        canvas.plain_ticks(axes.yaxis, 5)
        canvas.label(axes, 0.04, 1.0, "this run", "observed")
        canvas.label(axes, 0.04, 0.92, "dotted: random walk", "null")


def river_title(curves: Curves) -> str:
    """Title with the numbers at the length that differs most from a random walk."""
    place = chosen(curves.values)
    share, cosine = (float(curves[name][place]) for name, *_ in _PANELS)
    walk = percent(float(walk_of(curves.values, "river_share")[place]))
    return (
        f"River: averages of {exact(float(_lengths(curves)[place]))} have {percent(share)} in "
        f"PC 1, a random walk's {walk}; cosine {decimal(cosine)}"
    )


def river_columns(curves: Curves) -> Columns:
    """All four numbers, and those of a random walk."""
    columns = {"checkpoints_per_average": _lengths(curves)}
    for name in NUMBERS:
        columns |= {name: curves[name], f"{name}_random_walk": walk_of(curves.values, name)}
    return columns


def _lengths(curves: Curves) -> Floats:
    return np.asarray(curves.values[WINDOW_LENGTH].values, dtype=np.float64)


RIVER: Final = Plot(
    "river",
    "River",
    (*NUMBERS, "increment_norm"),
    16,
    draw_river,
    river_title,
    "Averages of the weights over windows of checkpoints: the share of their variance along their "
    "first principal component, and the mean cosine between successive steps from average to "
    "average, against the length of a window.",
    "the dotted random walk in many directions: averages of pure noise have over half their "
    "variance in one component and a cosine near +0.25. Only what lies above both is a river. Hill "
    "energy, speed and p are in the table of norms and directions.",
    "a(j) = mean of x(t) over window j of w checkpoints; λ₁ / Σ λ of the averages; cosine "
    "⟨s(j), s(j+1)⟩ / (|s(j)| |s(j+1)|) of steps s(j) = a(j+1) − a(j); dotted, the same of the "
    "expected inner products of a random walk's averages",
    river_columns,
)
