"""How the pass is cut: which path, how wide a block, which weights a task takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trajscope.errors import OptionError
from trajscope.measure.reductions import (
    AUTOCORRELATION,
    COUNTS,
    DUAL,
    GRAM,
    N_SKETCH_COLUMNS,
    POOLED,
    ROUNDING,
    SKETCH,
    SPECTRUM,
    STEPWISE,
    Reduction,
)

MIB: Final = 1 << 20
FAN_IN: Final = 4
"""Partial sums that one node of the summation tree adds."""
CHUNK_TASKS: Final = 16
"""Tasks summed by one tree; trees are added in order: rounding does not depend on the workers."""
_MAX_TASKS: Final = 900  # dask's own work per task grows past a thousand of them
_BLOCK_BYTES: Final = 64 * MIB
_NARROWEST_ROW: Final = 4096  # weights; opening a file costs as much as transforming this many
_SCRATCH: Final = 48 * MIB  # cache-sized pieces, FFT plans, and the interpreter's own growth
_SCRATCH_PER_STEP: Final = 2048  # bytes: the fewest columns a piece has, in transform
_LARGEST_DUAL: Final = 4096  # weights; beyond, the sketch is faster than the eigenvectors

# Seconds on one core of 2025, measured; only their ratios matter. Per T^2 P: the product of
# increments; per T^3: leading eigenvectors; per T P: transforms in float64; per T P^2: the dual.
_PRODUCT: Final = 1.5e-11
_EIGENVECTORS: Final = 1.5e-10
_TRANSFORM: Final = 4e-8
_DUAL_PRODUCT: Final = 5e-11

PER_WEIGHT: Final = (COUNTS, ROUNDING, SPECTRUM, AUTOCORRELATION)
"""On every path: means and spreads over weights, which no Gram matrix holds."""


@dataclass(frozen=True)
class Path:
    """One way to everything that is pooled over weights.

    Attributes
    ----------
    name :
        "gram" or "fft".
    components :
        Which small matrix the principal components come from: "gram", "dual" or "sketch".
    reductions :
        What is summed.
    """

    name: str
    components: str
    reductions: tuple[Reduction, ...]

    @property
    def needs_one_block(self) -> bool:
        """Whether every weight must be in memory at once."""
        return not all(reduction.is_additive for reduction in self.reductions)


PATHS: Final = (
    Path("gram", "gram", (*PER_WEIGHT, GRAM)),
    Path("fft", "dual", (*PER_WEIGHT, STEPWISE, POOLED, DUAL)),
    Path("fft", "sketch", (*PER_WEIGHT, STEPWISE, POOLED, SKETCH)),
)


@dataclass(frozen=True)
class Segment:
    """Neighbouring weights of one group, stored in one dtype."""

    group: int
    start: int
    stop: int
    resolution: float


@dataclass(frozen=True)
class Size:
    """What the plan depends on; `workers` only through the memory each of them may take."""

    n_steps: int
    n_weights: int
    n_groups: int
    itemsize: int
    memory: int
    workers: int
    resident: int


@dataclass(frozen=True)
class Plan:
    """A cut of the weights into tasks, and of the tasks into chunks that are summed together.

    Attributes
    ----------
    width :
        Weights that a task holds in memory at once.
    chunks :
        Each a tuple of tasks, each a tuple of neighbouring segments.
    """

    path: Path
    width: int
    chunks: tuple[tuple[tuple[Segment, ...], ...], ...]


def make_plan(size: Size, segments: Sequence[Segment]) -> Plan:
    """The cheapest path that fits the memory limit, cut into tasks.

    Raises
    ------
    OptionError
        Nothing fits; the message says how much would.
    """
    affordable = [path for path in PATHS if _block_width(size, path) >= _narrowest(size, path)]
    if not affordable:
        needed = min(_least_memory(size, path) for path in PATHS)
        raise OptionError(
            f"--memory {size.memory / MIB:.0f}MiB is too little for {size.n_steps} checkpoints "
            f"with {size.workers} worker{'s' if size.workers > 1 else ''}: at least "
            f"{needed / MIB:.0f}MiB are needed. Raise --memory, use fewer workers, "
            "or take fewer checkpoints with --steps."
        )
    path = min(affordable, key=lambda candidate: _cost(size, candidate))
    return cut(size, segments, path)


def cut(size: Size, segments: Sequence[Segment], path: Path) -> Plan:
    """The plan for a given path."""
    width = _block_width(size, path)
    total = size.n_steps * size.n_weights * size.itemsize
    task_bytes = min(max(total // CHUNK_TASKS, 32 * MIB), 256 * MIB)
    span = max(
        task_bytes // (size.n_steps * size.itemsize), size.n_weights // _MAX_TASKS, _NARROWEST_ROW
    )
    span = size.n_weights if path.needs_one_block else max(width, span - span % width)
    tasks = _tasks(segments, span, _groups_held(size, path))
    return Plan(path, min(width, size.n_weights), _chunks(tasks, _groups_held(size, path)))


def _tasks(segments: Sequence[Segment], span: int, most_groups: int) -> list[tuple[Segment, ...]]:
    tasks: list[tuple[Segment, ...]] = []
    current: list[Segment] = []
    room = span
    for segment in segments:
        start = segment.start
        while start < segment.stop:
            groups = {held.group for held in current} | {segment.group}
            if current and (room == 0 or len(groups) > most_groups):
                tasks.append(tuple(current))
                current, room = [], span
            stop = min(segment.stop, start + room)
            current.append(Segment(segment.group, start, stop, segment.resolution))
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


def _sums_bytes(size: Size, path: Path) -> int:
    return sum(reduction.n_bytes(size.n_steps) for reduction in path.reductions)


def _groups_held(size: Size, path: Path) -> int:
    """How many groups' sums may be in memory at once, in a task or in a chunk."""
    return max(1, size.memory // 8 // _sums_bytes(size, path))


def _fixed_bytes(size: Size, path: Path) -> int:
    """Everything but the blocks: interpreter, sums of every worker, the tree, what is kept."""
    sums = _sums_bytes(size, path)
    dual = 24 * size.n_weights**2 if path.needs_one_block else 0
    scratch = _SCRATCH + _SCRATCH_PER_STEP * size.n_steps
    return (
        size.resident
        + size.workers * (sums * min(size.n_groups, _groups_held(size, path)) + scratch)
        + (FAN_IN + 2) * sums
        + dual
    )


def _block_width(size: Size, path: Path) -> int:
    """Weights a block may hold: by memory, then no wider than is of use."""
    per_weight = size.n_steps * size.itemsize
    workers = 1 if path.needs_one_block else size.workers
    by_memory = (size.memory - _fixed_bytes(size, path)) // (workers * per_weight)
    if path.needs_one_block:
        fits = by_memory >= size.n_weights and size.n_weights <= _LARGEST_DUAL
        return size.n_weights if fits and size.n_weights < size.n_steps else 0
    wanted = max(_BLOCK_BYTES // per_weight, _NARROWEST_ROW)
    return int(max(0, min(by_memory, wanted, size.n_weights)))


def _narrowest(size: Size, path: Path) -> int:
    """The narrowest block worth reading: below 64 weights every page is read many times over."""
    return size.n_weights if path.needs_one_block else min(64, size.n_weights)


def _least_memory(size: Size, path: Path) -> int:
    return _fixed_bytes(size, path) + size.workers * (
        _narrowest(size, path) * size.n_steps * size.itemsize
    )


def _cost(size: Size, path: Path) -> float:
    """Seconds on one core that this path costs beyond what every path does."""
    steps, weights, groups = float(size.n_steps), float(size.n_weights), size.n_groups + 1
    if path.components == "gram":
        return steps**2 * weights * _PRODUCT + groups * steps**3 * _EIGENVECTORS
    transforms = steps * weights * _TRANSFORM
    if path.components == "dual":
        return transforms + 2 * steps * weights**2 * _DUAL_PRODUCT + weights**3 * _EIGENVECTORS
    columns = float(min(N_SKETCH_COLUMNS, size.n_steps))
    sketch = 2 * steps * weights * columns * _PRODUCT + groups * steps * columns**2 * _EIGENVECTORS
    # Approximate: taken over an exact path only where it is much cheaper.
    return 4 * (transforms + sketch)
