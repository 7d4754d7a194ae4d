"""The figures of several runs in one space, in their places on the page."""

from collections.abc import Sequence
from typing import Final

import xarray as xr
from markupsafe import Markup

from trajscope.report.figures import joint
from trajscope.report.figures.canvas import drawing
from trajscope.report.figures.record import Obstacle
from trajscope.report.page.render import Panel

_NO_WEIGHTS: Final = Obstacle(
    "Finished results hold no weights, so two of them have no common space.",
    "compare the folders of their checkpoints.",
)
_NOTHING_MOVES: Final = Obstacle(
    "All runs lie at one place, and no weight moves.", "choose windows that move."
)


def joint_panels(
    compare: xr.Dataset, labels: Sequence[str], step_title: str
) -> tuple[Panel, Panel]:
    """Joint components and distances, drawn, or with the reason why not.

    Parameters
    ----------
    labels :
        Of all runs, as they are in the result.
    """
    return _joint(compare, labels), _distances(compare, step_title)


def _joint(compare: xr.Dataset, labels: Sequence[str]) -> Panel:
    if not joint.has_joint(compare):
        hindrance = _NOTHING_MOVES if "joint_component" in compare else _NO_WEIGHTS
        title = "Joint components: not drawn"
        return Panel(1, "joint-components", title, Markup(""), "", "", hindrance)
    title = joint.joint_title(compare)
    svg = drawing(
        "joint-components", title, lambda figure: joint.draw_joint(figure, compare, labels),
        size=(980, 420),
    )  # fmt: skip
    caption = (
        "All runs in the plane of their first two joint principal components, ring first, disc "
        "last, equal scales; right, the share of all runs' variance along each component."
    )
    against = (
        "the dotted paths and the ticks: what random walks give that start where the runs do and "
        "have increments as long. Their directions are arbitrary where shares are alike."
    )
    return Panel(1, "joint-components", title, Markup(svg), caption, against, None)


def _distances(compare: xr.Dataset, step_title: str) -> Panel:
    hindrance = _no_distance(compare)
    if hindrance is not None:
        return Panel(2, "distance", "Distance: not drawn", Markup(""), "", "", hindrance)
    title = joint.distance_title(compare)
    svg = drawing(
        "distance", title, lambda figure: joint.draw_distances(figure, compare, step_title),
        size=(980, 300),
    )  # fmt: skip
    starts = joint.starts_in_words(compare)
    caption = f"Distance between the weights of two runs at the same step. {starts}"
    against = (
        "the dotted distance of random walks from the same starts with increments as long. Below "
        "it the runs stay together, or each is mean-reverting; above it they drift apart."
    )
    return Panel(2, "distance", title, Markup(svg), caption, against, None)


def _no_distance(compare: xr.Dataset) -> Obstacle | None:
    if "distance" not in compare:
        return _NO_WEIGHTS
    pairs = joint.known_pairs(compare)
    if not pairs:
        return Obstacle("No two runs have a checkpoint at one step.", "choose runs that do.")
    if not any(pair.distance.any() for pair in pairs):
        return Obstacle(
            "All runs lie at the same place at every step they share.", "choose runs that differ."
        )
    return None
