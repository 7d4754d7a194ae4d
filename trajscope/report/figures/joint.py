"""Several runs in one space: their joint principal components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats, curves
from trajscope.report.content.numbers import percent
from trajscope.report.figures import canvas
from trajscope.report.figures.components import MOST_BARS, draw_shares
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, PartPlot
from trajscope.report.figures.runs import (
    DOTTED,
    Entry,
    dashes_of,
    draw_labels,
    line,
    role_of,
    run_entries,
)
from trajscope.schema import COMPONENT, RUN, cases_of, is_comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFINITION: Final = (
    "Joint components",
    "eigenvectors of the covariance of x over the checkpoints of all runs; dotted, the same of "
    "independent walks with ⟨x_a(t), x_b(s)⟩ = ⟨x_a(0), x_b(0)⟩ + [a = b] Σ |y_a(u)|² over "
    "u < min(t, s)",
)


@dataclass(frozen=True)
class Paths:
    """Runs along the first two of their joint components.

    Attributes
    ----------
    found, walk : run -> (point, component)
        Positions, and those of random walks from the same starts; by the place of the run.
    """

    found: dict[int, Floats]
    walk: dict[int, Floats]


def paths(compare: xr.Dataset, labels: Sequence[str]) -> Paths:
    """Of the runs whose weights were at hand; `labels` are those of all runs, as they are."""
    run = compare[RUN].values
    found, walk = (
        np.asarray(compare[name].isel({COMPONENT: slice(2)}).values, dtype=np.float64)
        for name in ("joint_component", "joint_component_walk")
    )
    here = {place: run == label for place, label in enumerate(labels) if (run == label).any()}
    return Paths(
        {place: found[mask] for place, mask in here.items()},
        {place: walk[mask] for place, mask in here.items()},
    )


def draw_joint(figure: "Figure", compare: xr.Dataset, labels: Sequence[str]) -> None:
    """The runs in the plane of their joint components, and the variance along each of them."""
    axes = canvas.add_axes(
        figure, "joint PC 2, weight units", "joint PC 1, weight units", box=(0.06, 0.125, 0.44, 0.8)
    )
    own = paths(compare, labels)
    axes.axhline(0, color=light("rule"), linewidth=1, zorder=1)
    axes.axvline(0, color=light("rule"), linewidth=1, zorder=1)
    for place, path in own.found.items():
        walk = own.walk[place]
        line(axes, walk[:, 0], walk[:, 1], role_of(place), DOTTED, width=1.2)
        line(axes, path[:, 0], path[:, 1], role_of(place), dashes_of(place))
        face, colour = light("background"), light(role_of(place))
        axes.plot(*path[0], "o", mfc=face, mec=colour, mew=2, ms=8, zorder=4)
        axes.plot(*path[-1], "o", mfc=colour, mec=colour, ms=8, zorder=4)
    _equal_scales(axes, np.concatenate([*own.found.values(), *own.walk.values()]))
    shares, walk = (
        100 * np.asarray(compare[f"joint_explained_variance{kind}"].values)[:MOST_BARS]
        for kind in ("", "_walk")
    )
    draw_shares(
        canvas.add_axes(figure, "joint PC", "% of variance", box=(0.7, 0.125, 0.28, 0.8)),
        shares, walk[: shares.size],
    )  # fmt: skip
    draw_labels(
        figure,
        run_entries([printable(label, limit=80) for label in labels], list(own.found)),
        [Entry("random walks", "null", DOTTED, 1.2), Entry("ring: first", ""),
         Entry("disc: last", ""), Entry("bar: all runs", ""), Entry("tick: walks", "ink", width=2)],
        box=(0.525, 0.125, 0.15, 0.8),
    )  # fmt: skip


def joint_title(compare: xr.Dataset) -> str:
    """Title with the share of the first two components."""
    shares, walk = (
        percent(float(np.asarray(compare[f"joint_explained_variance{kind}"].values)[:2].sum()))
        for kind in ("", "_walk")
    )
    return f"Joint components: the first two hold {shares} of the variance, of random walks {walk}"


def has_joint(compare: xr.Dataset) -> bool:
    """Whether the weights of two runs were at hand, and moved."""
    if compare.sizes.get(COMPONENT, 0) < 2:
        return False
    return bool((compare["joint_explained_variance"].values > 0).any())


def _equal_scales(axes: "Axes", points: Floats) -> None:
    """Limits around the points, so that a unit is as long along either axis, and ticks."""
    box = axes.get_window_extent()
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = np.ptp(points, axis=0) / 2 * 1.08
    shape = np.array([box.width, box.height])
    half = shape * max(float((reach / shape).max()), 1e-300)
    axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axes.set_ylim(middle[1] - half[1], middle[1] + half[1])
    canvas.plain_ticks(axes.xaxis, 5)
    canvas.plain_ticks(axes.yaxis, 5)


@dataclass(frozen=True)
class Compared:
    """The part of a comparison that these figures draw.

    Attributes
    ----------
    labels :
        Of all runs, as they are in the result.
    """

    compare: xr.Dataset
    labels: tuple[str, ...]
    step_title: str


def compared(results: xr.DataTree) -> Compared | None:
    """Of a result that compares runs."""
    if not is_comparison(results):
        return None
    cases = cases_of(results)
    labels = tuple(str(case.attrs.get("label", "")) for case in cases)
    return Compared(results["compare"].to_dataset(), labels, curves(cases[0]).step_title)


def _with_joint(results: xr.DataTree) -> Compared | None:
    found = compared(results)
    return found if found is not None and has_joint(found.compare) else None


def _joint_columns(found: Compared) -> Columns:
    own = paths(found.compare, found.labels)
    names = {"run": np.concatenate([np.full(len(p), k + 1.0) for k, p in own.found.items()])}
    for kind, each in (("", own.found), ("_walk", own.walk)):
        points = np.concatenate(list(each.values()))
        names |= {f"joint_pc_{k + 1}{kind}": points[:, k] for k in range(2)}
    return names


JOINT: Final = PartPlot(
    "joint-components",
    "Joint components",
    _with_joint,
    "compare the folders of the runs' checkpoints; finished results hold no weights.",
    lambda figure, found: draw_joint(figure, found.compare, found.labels),
    lambda found: joint_title(found.compare),
    _joint_columns,
    "All runs in the plane of their first two joint principal components, ring first, disc last, "
    "equal scales; right, the share of all runs' variance along each component.",
    "the dotted paths and the ticks: what random walks give that start where the runs do and have "
    "increments as long. Their directions are arbitrary where shares are alike.",
    lambda _: 420,
)
