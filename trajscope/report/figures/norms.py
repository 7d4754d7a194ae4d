"""Figures of the positions themselves: their norm, where they point, how far apart they lie."""

from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, Plot
from trajscope.schema import LANDMARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def walk_norm(curves: Curves) -> Floats:
    """Norm of a random walk from the same start, with increments of the lengths of this run's.

    ``sqrt(|x_0|^2 + sum_{s < t} |y_s|^2)``: in many directions increments are at right angles to
    the position.
    """
    norm: Floats = np.sqrt(curves["norm"][0] ** 2 + _squared_path(curves))
    return norm


def walk_cosine(curves: Curves) -> Floats:
    """Cosine of such a walk to its first checkpoint, ``|x_0|`` over its norm."""
    norm = walk_norm(curves)
    ratio: Floats = np.divide(norm[0], norm, out=np.full_like(norm, np.nan), where=norm > 0)
    return ratio


def draw_norm(figure: "Figure", curves: Curves) -> None:
    """Norm of the weights along the run, and the cosine to the first and to the last checkpoint."""
    box = (0.105, 0.155, 0.36, 0.745)
    axes = canvas.add_axes(figure, "norm, weight units", curves.step_title, box=box)
    walk = walk_norm(curves)
    canvas.theory(axes, curves.steps, walk)
    canvas.observed(axes, curves.steps, curves["norm"])
    ends = np.concatenate([curves["norm"], walk])
    low, high = float(ends.min()), float(ends.max())
    room = max(high - low, 1e-3 * high)
    axes.set_ylim(max(low - 0.1 * room, 0), high + 0.35 * room)
    _along(axes, curves)
    canvas.label(axes, 0.04, 1.0, "this run", "observed")
    canvas.label(axes, 0.04, 0.92, "dotted: random walk", "null")
    box = (0.605, 0.155, 0.375, 0.745)
    axes = canvas.add_axes(figure, "cosine of the weights", curves.step_title, box=box)
    canvas.theory(axes, curves.steps, walk_cosine(curves))
    for name in ("cosine_to_first", "cosine_to_last"):
        canvas.observed(axes, curves.steps, curves[name])
    both = np.concatenate([curves["cosine_to_first"], curves["cosine_to_last"]])
    known = both[np.isfinite(both)]
    lowest = min(float(known.min(initial=1.0)), float(np.nanmin(walk_cosine(curves), initial=1.0)))
    room = max(1 - lowest, 1e-3)
    axes.set_ylim(lowest - 0.2 * room, 1 + 0.2 * room)
    _along(axes, curves)
    canvas.label(axes, 0.04, 1.0, "to first", "observed")
    canvas.label(axes, 0.96, 1.0, "to last", "observed", ha="right")
    canvas.label(axes, 0.04, 0.02, "dotted: walk, to first", "null", va="bottom")


def norm_title(curves: Curves) -> str:
    """Title with the norms at both ends, and that of a random walk."""
    norm = curves["norm"]
    return (
        f"Norm: {number(norm[0])} to {number(norm[-1])}, a random walk's "
        f"{number(walk_norm(curves)[-1])}; balance {number(curves.number('norm_balance'))}"
    )


def norm_columns(curves: Curves) -> Columns:
    """The curves of the figure."""
    return {
        "step": curves.steps,
        "norm": curves["norm"],
        "norm_random_walk": walk_norm(curves),
        "cosine_to_first": curves["cosine_to_first"],
        "cosine_to_last": curves["cosine_to_last"],
        "cosine_to_first_random_walk": walk_cosine(curves),
    }


def walk_distances(curves: Curves) -> Floats:
    """(landmark, landmark) distance of checkpoints of a random walk with these increments.

    ``sqrt(sum_{s <= u < t} |y_u|^2)``
    """
    passed = _squared_path(curves)[np.searchsorted(curves.steps, _marks(curves))]
    apart: Floats = np.sqrt(np.abs(passed - passed[:, np.newaxis]))
    return apart


def draw_distances(figure: "Figure", curves: Curves) -> None:
    """Distances of every two checkpoints below the diagonal, those of a random walk above it."""
    axes = canvas.add_axes(
        figure, curves.step_title, curves.step_title, box=(0.13, 0.155, 0.58, 0.745)
    )
    marks, found, walk = _marks(curves), curves["distance"], walk_distances(curves)
    levels = np.linspace(0, max(float(found.max()), float(walk.max())), len(canvas.SHADES) + 1)
    above = np.tri(marks.size, dtype=bool)  # row by row upwards
    for values, is_shown, role in ((found, above.T, "observed"), (walk, above, "null")):
        shades = [(light(role), shade) for shade in canvas.SHADES]
        shown = np.ma.array(values, mask=~is_shown)
        axes.contourf(marks, marks, shown, levels=levels, colors=shades, corner_mask=True)
    axes.plot(marks[[0, -1]], marks[[0, -1]], color=light("ink"), linewidth=0.9)
    axes.set_xlim(marks[0], marks[-1])
    axes.set_ylim(marks[0], marks[-1])
    canvas.plain_ticks(axes.xaxis, 4)
    canvas.plain_ticks(axes.yaxis, 4)
    _draw_key(figure, levels)


def _draw_key(figure: "Figure", levels: Floats) -> None:
    """The shades of both, beside the distances that they stand for."""
    axes = canvas.add_axes(figure, "distance", "", box=(0.755, 0.155, 0.15, 0.745))
    for place, role in enumerate(("observed", "null")):
        for low, high, shade in zip(levels[:-1], levels[1:], canvas.SHADES, strict=True):
            axes.bar(place, high - low, 1, low, color=light(role), alpha=shade, linewidth=0)
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(0, float(levels[-1]))
    axes.set_xticks([0, 1], ["run", "walk"])
    axes.tick_params(axis="x", length=0)
    axes.yaxis.tick_right()
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    canvas.plain_ticks(axes.yaxis, 5)


def distances_title(curves: Curves) -> str:
    """Title with the distance of the ends over that of a random walk."""
    found, walk = curves["distance"][0, -1], walk_distances(curves)[0, -1]
    times = number(float(found / walk), 2) if walk > 0 else "unknown"
    return f"Distances: first to last {number(found)}, {times} times that of a random walk"


def distances_columns(curves: Curves) -> Columns:
    """Every pair of checkpoints that is drawn, the later one second."""
    first, second = np.triu_indices(_marks(curves).size, 1)
    marks = _marks(curves)
    return {
        "step": marks[first],
        "other_step": marks[second],
        "distance": curves["distance"][first, second],
        "distance_random_walk": walk_distances(curves)[first, second],
        "cosine": curves["cosine"][first, second],
    }


def _squared_path(curves: Curves) -> Floats:
    squares: Floats = np.r_[0.0, np.cumsum(curves["increment_norm"] ** 2)]
    return squares


def _marks(curves: Curves) -> Floats:
    """(landmark,) steps between which distances are known."""
    return np.asarray(curves.values[LANDMARK].values, dtype=np.float64)


def _along(axes: "Axes", curves: Curves) -> None:
    axes.set_xlim(curves.window.first, curves.window.last)
    canvas.plain_ticks(axes.xaxis, 3)
    canvas.plain_ticks(axes.yaxis, 5)


NORM: Final = Plot(
    "norm",
    "Norm",
    ("norm", "cosine_to_first", "cosine_to_last", "norm_balance", "increment_norm"),
    2,
    draw_norm,
    norm_title,
    "Length of the vector of all weights along the run; right, the cosine of the angle between it "
    "and that of the first and of the last checkpoint.",
    "the dotted random walk from the same start, whose increments have the same lengths and are at "
    "right angles to the weights. Balance: 0 for that walk, 1 where the norm is kept, as where "
    "weight decay, or a scale-invariant loss with decay, has reached its stationary state.",
    "|x(t)|; dotted, sqrt(|x(0)|² + Σ |y(s)|²) over s < t; balance 1 − (|x(T−1)|² − |x(0)|²) / "
    "Σ |y|²; cosine ⟨x(0), x(t)⟩ / (|x(0)| |x(t)|)",
    norm_columns,
)
DISTANCES: Final = Plot(
    "distances",
    "Distances",
    ("distance", "cosine", "increment_norm"),
    3,
    draw_distances,
    distances_title,
    "Distance of every two checkpoints over all weights, below the diagonal, stronger for farther; "
    "of more than 64 checkpoints, 64 evenly chosen ones.",
    "the grey half above the diagonal: a random walk with increments of the same lengths. A run "
    "that mirrors it moves like one in many directions; squares along the diagonal are plateaus, "
    "stripes that fade far from it are returns.",
    "|x(s) − x(t)|; grey, sqrt(Σ |y(u)|²) over s ≤ u < t",
    distances_columns,
    thinned=lambda _: "",
)
