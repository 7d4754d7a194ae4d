"""The figures of several runs in one space, in their places on the page."""

from dataclasses import replace
from typing import Final

import xarray as xr

from trajscope.report.figures import apart, joint
from trajscope.report.figures.record import Obstacle
from trajscope.report.page.panels import Panel, absent, part_panel

_NO_WEIGHTS: Final = Obstacle(
    "Finished results hold no weights, so two of them have no common space.",
    "compare the folders of their checkpoints.",
)
_NOTHING_MOVES: Final = Obstacle(
    "All runs lie at one place, and no weight moves.", "choose windows that move."
)


def joint_panels(results: xr.DataTree) -> tuple[Panel, Panel]:
    """Joint components and distances, drawn, or with the reason why not."""
    compare = results["compare"].to_dataset()
    plane = part_panel("1", joint.JOINT, results)
    if plane.obstacle is not None:
        nothing_moves = "joint_component" in compare
        plane = absent("1", joint.JOINT, _NOTHING_MOVES if nothing_moves else _NO_WEIGHTS)
    distance = part_panel("2", apart.DISTANCE, results)
    if (hindrance := _no_distance(compare)) is not None:
        distance = absent("2", apart.DISTANCE, hindrance)
    else:
        caption = f"{distance.caption} {apart.starts_in_words(compare)}"
        distance = replace(distance, caption=caption)
    return plane, distance


def _no_distance(compare: xr.Dataset) -> Obstacle | None:
    if "distance" not in compare:
        return _NO_WEIGHTS
    pairs = apart.known_pairs(compare)
    if not pairs:
        return Obstacle("No two runs have a checkpoint at one step.", "choose runs that do.")
    if not any(pair.distance.any() for pair in pairs):
        return Obstacle(
            "All runs lie at the same place at every step they share.", "choose runs that differ."
        )
    return None
