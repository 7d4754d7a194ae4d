"""How the pass is cut: how wide a block, which weights a task takes, which tasks are one sum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError
from trajscope.measure.joint import Joint
from trajscope.measure.paths import (
    PATHS,
    Path,
    Size,
    cost,
    is_possible,
    window_reductions,
    worker_counts,
)
from trajscope.measure.room import (
    FEWEST_IN_BLOCK,
    MIB,
    MOST_TASKS,
    NARROWEST_ROW,
    block_width,
    groups_held,
    least_memory,
    narrowest,
)
from trajscope.measure.trace import Watch

# What a process holds before the pass differs from one to the next, and from pass to pass.
_SLACK: Final = 64 * MIB
_MOST_NARROW: Final = 100
"""Blocks that may have fewer than `FEWEST_IN_BLOCK` weights."""
CHUNK_TASKS: Final = 16
"""Tasks summed by one tree; trees are added in order: rounding does not depend on the workers."""

Rows = tuple[int, int]
"""The first of neighbouring rows of a block, and the one after the last."""


@dataclass(frozen=True)
class Segment:
    """Neighbouring weights of one group, stored in one dtype.

    Attributes
    ----------
    resolution :
        Spacing at 1 of that dtype.
    resolutions :
        The same of every run, where several lie in the block.
    share :
        Of the weights of the group, how many are in the random sample.
    """

    group: int
    start: int
    stop: int
    resolution: float
    resolutions: tuple[float, ...] = ()
    share: float = 1.0


@dataclass(frozen=True)
class Part:
    """Neighbouring rows of a block that are measured on their own: a run, or a window of one.

    Attributes
    ----------
    start, stop :
        The first row, and the one after the last.
    reductions :
        Names of what is summed of them.
    """

    start: int
    stop: int
    reductions: tuple[str, ...]

    @property
    def n_steps(self) -> int:
        """Checkpoints."""
        return self.stop - self.start


@dataclass(frozen=True)
class Wanted:
    """What is summed of a block of weights.

    Attributes
    ----------
    parts :
        Rows that are measured on their own.
    joint :
        What is summed of rows of several runs together.
    watch :
        What the audit looks at.
    is_compiled :
        As of a `trajscope.measure.piece.Piece`.
    """

    parts: tuple[Part, ...]
    joint: Joint | None = None
    watch: Watch | None = None
    is_compiled: bool = False


@dataclass(frozen=True)
class Plan:
    """A cut of the weights into tasks, and of the tasks into chunks that are summed together.

    Attributes
    ----------
    workers :
        Tasks that may run at once in one process.
    width :
        Weights that a task holds in memory at once.
    chunks :
        Each a tuple of tasks, each a tuple of neighbouring segments.
    is_compiled :
        As of a `trajscope.measure.piece.Piece`.
    """

    path: Path
    workers: int
    width: int
    chunks: tuple[tuple[tuple[Segment, ...], ...], ...]
    is_compiled: bool = False

    def wanted(
        self,
        runs: Sequence[Rows],
        windows: Sequence[Rows] = (),
        joint: Joint | None = None,
        ends: NDArray[np.int64] | None = None,
    ) -> Wanted:
        """What is summed of every run, of every window, each given by its rows, and of all.

        With the `ends` of the tensors, what the audit looks at too.
        """
        whole = tuple(reduction.name for reduction in self.path.reductions)
        parts = (
            *(Part(*rows, whole) for rows in runs),
            *(
                Part(*rows, tuple(r.name for r in window_reductions(self.path, rows[1] - rows[0])))
                for rows in windows
            ),
        )
        watch = None if ends is None else Watch(ends, tuple(runs))
        return Wanted(parts, joint, watch, self.is_compiled)


def _choices(size: Size, paths: Sequence[Path]) -> list[tuple[Path, int]]:
    return [
        (path, workers)
        for path in paths
        if is_possible(size, path)
        for workers in worker_counts(size, path)
    ]


def _affordable(size: Size, paths: Sequence[Path]) -> list[tuple[Path, int]]:
    """The paths, with numbers of tasks at once, that fit the memory limit."""
    return [
        choice
        for choice in _choices(size, paths)
        if block_width(size, *choice) >= narrowest(size, choice[0])
        and not _falls_apart(size, choice[0])
    ]


def _falls_apart(size: Size, path: Path) -> bool:
    """Whether so few groups' sums have room that tasks of a few of them are blocks of few weights.

    Each block opens every file.
    """
    n_blocks = size.n_groups / groups_held(size, path)
    return n_blocks > _MOST_NARROW and size.n_weights < FEWEST_IN_BLOCK * n_blocks


def _enough(size: Size, paths: Sequence[Path]) -> int:
    """Mebibytes with which some path fits.

    With more memory more groups are held at once, which takes more in turn.
    """
    while not _affordable(size, paths):
        needed = min(least_memory(size, *choice) for choice in _choices(size, paths))
        size = replace(size, memory=max(needed, size.memory + max(MIB, size.memory // 64)))
    return math.ceil((size.memory + _SLACK) / MIB)


def _or_else(size: Size, paths: Sequence[Path]) -> str:
    """What would do instead of more memory, as the options that it takes; "" if nothing would."""
    smaller = (
        ("use fewer groups with --by none", replace(size, n_groups=1)),
        ("use fewer checkpoints with --steps", replace(size, n_steps=2, runs=(), windows=())),
    )
    return "".join(
        f", or {text}" for text, own in smaller if own != size and _affordable(own, paths)
    )


def make_plan(size: Size, segments: Sequence[Segment], paths: Sequence[Path] = PATHS) -> Plan:
    """The cheapest path that fits the memory limit, cut into tasks.

    Raises
    ------
    OptionError
        Nothing fits; the message says how much would.
    """
    affordable = _affordable(size, paths)
    if not affordable:
        raise OptionError(
            f"--memory {_given(size)} is too small for {size.n_steps} checkpoints {_of_what(size)}"
            f"in {size.n_groups} group{'s' if size.n_groups > 1 else ''}: at least "
            f"{_enough(size, paths)}MiB are needed. Raise --memory{_or_else(size, paths)}."
        )
    path, workers = min(affordable, key=lambda choice: cost(size, *choice))
    return cut(size, segments, path, workers)


def _given(size: Size) -> str:
    return f"{size.memory // MIB}MiB" if size.memory >= MIB else f"{size.memory}B"


def _of_what(size: Size) -> str:
    if len(size.lengths) > 1:
        return f"of {len(size.lengths)} runs "
    return f"and {len(size.windows)} windows of them " if size.windows else ""


def cut(size: Size, segments: Sequence[Segment], path: Path, workers: int) -> Plan:
    """The plan for a given path and number of tasks at once."""
    width = block_width(size, path, workers)
    per_weight = size.n_steps * size.itemsize
    task_bytes = min(max(per_weight * size.n_weights // CHUNK_TASKS, 32 * MIB), 256 * MIB)
    span = max(task_bytes // per_weight, size.n_weights // MOST_TASKS, NARROWEST_ROW)
    if path.needs_one_block or size.holds_tasks:
        span = width
    most_groups = groups_held(size, path)
    tasks = _tasks(segments, max(width, span - span % width), most_groups)
    # Of few weights everything is in memory at once, and transforms are the smaller part.
    is_compiled = size.is_compiled and not path.needs_one_block
    return Plan(path, workers, width, _chunks(tasks, most_groups), is_compiled)


def _tasks(segments: Sequence[Segment], span: int, most_groups: int) -> list[tuple[Segment, ...]]:
    tasks: list[tuple[Segment, ...]] = []
    current: list[Segment] = []
    groups: set[int] = set()
    room = span
    for segment in segments:
        start = segment.start
        while start < segment.stop:
            groups.add(segment.group)
            if current and (room == 0 or len(groups) > most_groups):
                tasks.append(tuple(current))
                current, groups, room = [], {segment.group}, span
            stop = min(segment.stop, start + room)
            current.append(replace(segment, start=start, stop=stop))
            room -= stop - start
            start = stop
    tasks.append(tuple(current))
    return tasks


def _chunks(
    tasks: Sequence[tuple[Segment, ...]], most_groups: int
) -> tuple[tuple[tuple[Segment, ...], ...], ...]:
    chunks: list[list[tuple[Segment, ...]]] = []
    groups: set[int] = set()
    for task in tasks:
        groups |= {segment.group for segment in task}
        if not chunks or len(chunks[-1]) == CHUNK_TASKS or len(groups) > most_groups:
            chunks.append([])
            groups = {segment.group for segment in task}
        chunks[-1].append(task)
    return tuple(tuple(chunk) for chunk in chunks)
