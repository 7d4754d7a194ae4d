"""How far apart several runs are, at the steps that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats, binned
from trajscope.report.content.numbers import counted, number
from trajscope.report.figures import canvas
from trajscope.report.figures.joint import Compared, compared
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, PartPlot
from trajscope.report.figures.runs import (
    DOTTED,
    Entry,
    dashes_of,
    draw_labels,
    line,
    role_of,
    short_names,
)
from trajscope.schema import PAIR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PAIRS: Final = 4
"""Pairs whose distances are drawn: with more, those that end nearest and farthest."""

DEFINITION: Final = (
    "Distance",
    "|x_a(t) − x_b(t)|; dotted, sqrt(|x_a(0) − x_b(0)|² + Σ |y_a(u)|² + |y_b(u)|² over u < t)",
)


def draw_distances(figure: "Figure", compare: xr.Dataset, step_title: str) -> None:
    """Distance of every pair of runs at the steps that they share, with that of random walks."""
    axes = canvas.add_axes(
        figure, "distance between two runs, weight units", step_title,
        box=(0.06, 0.155, 0.66, 0.745),
    )  # fmt: skip
    pairs = known_pairs(compare)
    shown = _shown_pairs(pairs)
    thin = 0.6 if len(pairs) <= 20 else 0.25
    for pair in pairs:
        if pair not in shown:
            seen = binned(pair.steps, pair.distance)
            axes.plot(seen.x, seen.mean, color=light("null"), linewidth=thin, zorder=1)
    for place, pair in enumerate(shown):
        line(axes, pair.steps, pair.walk, role_of(place), DOTTED, width=1.3)
        line(axes, pair.steps, pair.distance, role_of(place), dashes_of(place))
    steps = np.concatenate([pair.steps for pair in pairs])
    highest = max(float(max(pair.distance.max(), pair.walk.max())) for pair in pairs)
    axes.set_xlim(float(steps.min()), float(steps.max()))
    axes.set_ylim(0, 1.06 * highest)
    canvas.plain_ticks(axes.xaxis)
    canvas.plain_ticks(axes.yaxis)
    others = [Entry("random walks, same pair", "null", DOTTED, 1.3)]
    if len(shown) < len(pairs):
        others.append(Entry(f"{len(pairs) - len(shown)} pairs between", "null", width=thin))
    draw_labels(
        figure,
        [Entry(pair.name, role_of(k), dashes_of(k)) for k, pair in enumerate(shown)], others,
        box=(0.74, 0.155, 0.26, 0.745),
    )  # fmt: skip


def distance_title(compare: xr.Dataset) -> str:
    """Title with the distances at the last common step."""
    pairs = known_pairs(compare)
    ends, walks = (
        [number(float(value), 3) for value in (min(values), max(values))]
        for values in (
            [pair.distance[-1] for pair in pairs],
            [pair.walk[-1] for pair in pairs],
        )
    )
    found, walk = (low if low == high else f"{low} to {high}" for low, high in (ends, walks))
    return f"Distance: {found} at the last step shared; random walks {walk}"


@dataclass(frozen=True, eq=False)
class Pair:
    """Distances of two runs at the steps that they share.

    Attributes
    ----------
    steps, distance, walk : (meeting,)
    start :
        "the same" or "different".
    """

    name: str
    steps: Floats
    distance: Floats
    walk: Floats
    start: str


def known_pairs(compare: xr.Dataset) -> list[Pair]:
    """The pairs whose weights were at hand and that share a step."""
    if "distance" not in compare:
        return []
    steps, distances, walks = (
        np.asarray(compare[name].transpose(PAIR, ...).values, dtype=np.float64)
        for name in ("meeting_step", "distance", "distance_walk")
    )
    ends = [
        [printable(label, limit=80) for label in compare[end].values] for end in ("first", "second")
    ]
    labels = list(dict.fromkeys([*ends[0], *ends[1]]))
    short = dict(zip(labels, short_names(labels), strict=True))
    pairs = []
    for place, known in enumerate(np.isfinite(steps) & np.isfinite(distances)):
        if known.any():
            pairs.append(
                Pair(
                    " – ".join(short[end[place]] for end in ends),
                    steps[place, known],
                    distances[place, known],
                    walks[place, known],
                    str(compare["start"].values[place]),
                )
            )
    return pairs


def starts_in_words(compare: xr.Dataset) -> str:
    """How many pairs start at the same place."""
    pairs = known_pairs(compare)
    alike = sum(pair.start == "the same" for pair in pairs)
    if len(pairs) == 1:
        return f"The two runs start at {'the same place' if alike else 'different places'}."
    return f"{alike} of {counted(len(pairs), 'pair')} start at the same place."


def _shown_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    if len(pairs) <= MOST_PAIRS:
        return list(pairs)
    order = sorted(pairs, key=lambda pair: float(pair.distance[-1]))
    half = MOST_PAIRS // 2
    return [*order[:half], *order[-half:]]


def _apart(results: xr.DataTree) -> Compared | None:
    found = compared(results)
    if found is None:
        return None
    pairs = known_pairs(found.compare)
    return found if any(pair.distance.any() for pair in pairs) else None


def _distance_columns(found: Compared) -> Columns:
    pairs = known_pairs(found.compare)
    pair = np.concatenate([np.full(each.steps.size, k) for k, each in enumerate(pairs, 1)])
    names = {"pair": pair.astype(np.float64)}
    return names | {
        name: np.concatenate([getattr(each, name) for each in pairs])
        for name in ("steps", "distance", "walk")
    }


DISTANCE: Final = PartPlot(
    "distance",
    "Distance",
    _apart,
    "compare the folders of runs that differ and have checkpoints at the same steps.",
    lambda figure, found: draw_distances(figure, found.compare, found.step_title),
    lambda found: distance_title(found.compare),
    _distance_columns,
    "Distance between the weights of two runs at the same step.",
    "the dotted distance of random walks from the same starts with increments as long. Below it "
    "the runs stay together, or each is mean-reverting; above it they drift apart.",
    lambda _: 300,
)
