"""What several runs share: their common tensors, read together by one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import xarray as xr

from trajscope.analysis.sources import Compared
from trajscope.errors import TrajectoryError, printable
from trajscope.measure.groups import Groups
from trajscope.measure.joint import Joint
from trajscope.measure.plan import Rows, Segment
from trajscope.measure.stack import Stack
from trajscope.readers.base import resolution
from trajscope.schema import STEP, TENSOR

Item = TypeVar("Item")

_MOST_POINTS = 120
"""Checkpoints of all runs in the joint components: their products cost little beside the pass."""
_MOST_OF_ONE = 40
_MOST_MEETINGS = 100
"""Steps at which the distance of two runs is taken."""


@dataclass(frozen=True)
class Shared:
    """The tensors that all runs have, in the order of the first.

    Attributes
    ----------
    runs :
        Of these tensors only, without the weights.
    """

    runs: tuple[xr.Dataset, ...]
    stack: Stack
    groups: Groups

    @property
    def rows(self) -> list[Rows]:
        """Where each run lies along the steps of the stack."""
        ends = np.cumsum([0, *(run.sizes[STEP] for run in self.runs)]).tolist()
        return list(pairwise(ends))

    def joint(self, meetings: Sequence[Sequence[tuple[int, int]]]) -> Joint:
        """Inner products of some checkpoints of every run, and the distances where two meet.

        Parameters
        ----------
        meetings :
            Of every pair of runs, as `meetings` gives them, in rows of the stack.
        """
        pairs = [meeting for pair in meetings for meeting in pair]
        return Joint(tuple(row for rows in self.points for row in rows), tuple(pairs))

    @property
    def points(self) -> list[list[int]]:
        """Rows of the checkpoints of every run that are seen in the joint components."""
        most = min(_MOST_OF_ONE, _MOST_POINTS // len(self.runs))
        return [_thinned(list(range(*rows)), max(most, 2)) for rows in self.rows]

    def meetings(self, first: int, second: int) -> list[tuple[int, int]]:
        """Rows of the checkpoints of two runs at the same steps, at most 100 of them."""
        rows = self.rows
        a, b = (self.runs[number][STEP].values for number in (first, second))
        _, one, other = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        both = list(zip((rows[first][0] + one).tolist(), (rows[second][0] + other).tolist(),
                        strict=True))  # fmt: skip
        return _thinned(both, _MOST_MEETINGS)


def shared(runs: Sequence[Compared]) -> tuple[Shared, list[dict[str, object]]]:
    """What the runs share, and what is left out of the comparison, in words.

    Raises
    ------
    TrajectoryError
        They have no tensor of one name and shape.
    """
    layouts = [_layout(run.trajectory) for run in runs]
    common = [name for name in layouts[0] if all(_same(name, layouts[0], x) for x in layouts)]
    if not common:
        example = ", ".join(
            f"'{printable(run.label)}' has {printable(next(iter(layout)))!r}"
            for run, layout in zip(runs, layouts, strict=True)
        )
        raise TrajectoryError(
            f"The runs share no tensor with the same name and size: {example}, for example. Are "
            "they of different models? Select tensors with --include, or analyze each run "
            "separately."
        )
    guards: list[dict[str, object]] = []
    for run, layout in zip(runs, layouts, strict=True):
        alone = [name for name in layout if name not in common]
        if alone:
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            names = ", ".join(printable(name, limit=60) for name in alone[:5])
            guards.append(
                {
                    "code": "left_out_tensors",
                    "runs": [run.label],
                    "group": "",
                    "reason": (
                        f"{len(alone)} of {len(layout)} tensors are missing or have another shape "
                        f"in some runs, and are left out: {names}{more}."
                    ),
                }
            )
    places = [[layout[name].stretch for name in common] for layout in layouts]
    stack = Stack([run.trajectory["weights"].variable for run in runs], places)
    kept = tuple(
        run.trajectory.drop_vars("weights").isel({TENSOR: [layout[name].number for name in common]})
        for run, layout in zip(runs, layouts, strict=True)
    )
    return Shared(kept, stack, _groups(kept)), guards


@dataclass(frozen=True)
class _Place:
    number: int
    stretch: tuple[int, int]
    shape: str


def _layout(trajectory: xr.Dataset) -> dict[str, _Place]:
    """Where every tensor lies, by its name."""
    ends = np.cumsum(trajectory["row_size"].values).tolist()
    shapes = trajectory["shape"].values if "shape" in trajectory else [""] * len(ends)
    names = trajectory[TENSOR].values
    return {
        str(name): _Place(number, (start, stop), str(shape))
        for number, (name, start, stop, shape) in enumerate(
            zip(names, [0, *ends[:-1]], ends, shapes, strict=True)
        )
    }


def _same(name: str, one: dict[str, _Place], other: dict[str, _Place]) -> bool:
    if name not in other:
        return False
    a, b = one[name], other[name]
    is_long_as = a.stretch[1] - a.stretch[0] == b.stretch[1] - b.stretch[0]
    return is_long_as and ("" in (a.shape, b.shape) or a.shape == b.shape)


def _groups(runs: Sequence[xr.Dataset]) -> Groups:
    """Groups of the first run; spacings of the stored dtypes of all."""
    first = runs[0]
    names: dict[str, int] = {}
    segments: list[Segment] = []
    start = 0
    for tensor, (group, size) in enumerate(
        zip(first["group"].values, first["row_size"].values, strict=True)
    ):
        number = names.setdefault(str(group), len(names))
        spacings = tuple(resolution(str(run["stored_dtype"].values[tensor])) for run in runs)
        stop = start + int(size)
        last = segments[-1] if segments else None
        if last and (last.group, last.resolutions) == (number, spacings):
            start = last.start
            segments.pop()
        segments.append(Segment(number, start, stop, spacings[0], spacings))
        start = stop
    return Groups(tuple(names), tuple(segments)).sampled()


def _thinned(items: list[Item], most: int) -> list[Item]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]
