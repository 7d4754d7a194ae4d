"""The ways to the pooled sums, and what memory and time each of them takes."""

from dataclasses import dataclass
from typing import Final

from trajscope.kernels.factors import N_PROJECTIONS, factor_width
from trajscope.measure.reductions import (
    AUTOCORRELATION,
    COUNTS,
    DUAL,
    FACTOR,
    GRAM,
    N_COMPONENTS,
    N_SKETCH_COLUMNS,
    PERIODOGRAM,
    POOLED,
    PROJECTION,
    ROUNDING,
    SKETCH,
    SPECTRUM,
    STEPWISE,
    Reduction,
)

MIB: Final = 1 << 20
FAN_IN: Final = 4
"""Partial sums that one node of the summation tree adds."""
MOST_TASKS: Final = 900
"""Dask's own work per task grows past a thousand of them."""
NARROWEST_ROW: Final = 4096
"""Weights; opening a file costs as much as transforming this many."""
_BLOCK_BYTES: Final = 32 * MIB  # stays in the last-level cache; 16 and 64 MiB took a tenth more
_SCRATCH: Final = 48 * MIB  # cache-sized pieces, FFT plans, and the interpreter's own growth
_SCRATCH_PER_STEP: Final = 2048  # bytes: the fewest columns a piece has, in transform
_CURVES_PER_STEP: Final = 8 * (N_COMPONENTS + 8)  # bytes of one group's observables
LAYER_COLUMNS: Final = 32
"""Of every layer: there may be hundreds, and a draw costs as many transforms."""
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
    Path("fft", "dual", (*PER_WEIGHT, STEPWISE, POOLED, DUAL, FACTOR)),
    Path("fft", "sketch", (*PER_WEIGHT, STEPWISE, POOLED, SKETCH, PROJECTION)),
)


@dataclass(frozen=True)
class Size:
    """What the plan depends on.

    Attributes
    ----------
    itemsize :
        Bytes of a weight once it is widened.
    memory :
        Bytes that one process may hold.
    workers, fewest_workers :
        Tasks that run at once in one process, and to how few the plan may lower that.
    resident :
        Bytes that a process holds before the pass.
    holds_tasks :
        Whether all weights of a task are in memory besides the block, as in dask's chunks.
    runs :
        Checkpoints of every run that lies in the block, one behind another; of one, `n_steps`.
    windows :
        Checkpoints of the parts of the run that are measured beside it.
    """

    n_steps: int
    n_weights: int
    n_groups: int
    itemsize: int
    memory: int
    workers: int
    fewest_workers: int
    resident: int
    holds_tasks: bool = False
    runs: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Checkpoints of every run."""
        return self.runs or (self.n_steps,)

    @property
    def shortest(self) -> int:
        """Checkpoints of the shortest run."""
        return min(self.lengths)


def is_possible(size: Size, path: Path) -> bool:
    """Whether a path suits the shape of the trajectory, memory aside."""
    return not path.needs_one_block or size.n_weights <= min(size.shortest - 1, _LARGEST_DUAL)


def window_reductions(path: Path, length: int) -> tuple[Reduction, ...]:
    """What is summed of a window of so many checkpoints beside the whole run.

    Beside its Gram matrix, of which those of windows are parts, counts only. Else what is pooled
    over weights, by the path or by a Gram matrix, whichever is smaller. Means and spreads over
    weights would double the time of the pass, and are those of a whole run only.
    """
    if path.components == "gram":
        return (COUNTS, ROUNDING)
    pooled = (PERIODOGRAM, *(each for each in path.reductions if each not in PER_WEIGHT))
    smaller = min(((GRAM,), pooled), key=lambda choice: sum(r.n_bytes(length) for r in choice))
    return (COUNTS, ROUNDING, *smaller)


def worker_counts(size: Size, path: Path) -> list[int]:
    """Numbers of tasks at once that are tried: all, half as many, and so on to the fewest."""
    counts = [1 if path.needs_one_block else size.workers]
    while counts[-1] > size.fewest_workers:
        counts.append(max(counts[-1] // 2, size.fewest_workers))
    return counts


def keeps_groups(size: Size, path: Path) -> bool:
    """Whether a result keeps the sums of every group: if they take at most an eighth of memory."""
    return size.n_groups * _kept_bytes(size, path) <= size.memory // 8


def layer_width(size: Size) -> int:
    """Columns that are kept of every layer's increments: up to 32, in a sixteenth of memory."""
    n = size.shortest - 1
    affordable = size.memory // (16 * 4 * sum(size.lengths) * size.n_groups)
    return max(2, min(factor_width(n), LAYER_COLUMNS, affordable))


def _factor_bytes(size: Size) -> int:
    kept = 0
    for n_steps in (*size.lengths, *size.windows):
        n = n_steps - 1
        kept += 4 * n * (factor_width(n) + size.n_groups * layer_width(size))
        kept += 8 * n * factor_width(n)
    return kept


def _sums_bytes(size: Size, path: Path) -> int:
    whole = sum(r.n_bytes(length) for length in size.lengths for r in path.reductions)
    return whole + sum(
        r.n_bytes(length) for length in size.windows for r in window_reductions(path, length)
    )


def _kept_bytes(size: Size, path: Path) -> int:
    dims = [dims for reduction in path.reductions for dims in reduction.kept.values()]
    return sum(8 * length ** len(each) for length in size.lengths for each in dims)


def groups_held(size: Size, path: Path) -> int:
    """How many groups' sums may be in memory at once, in a task or in a chunk."""
    if path.needs_one_block:
        return size.n_groups
    return min(size.n_groups, max(1, size.memory // 32 // _sums_bytes(size, path)))


def _fixed_bytes(size: Size, path: Path, workers: int) -> int:
    """Everything but the blocks: interpreter, sums of every task and of the tree, what is kept."""
    in_tree = 1 if path.needs_one_block else FAN_IN + 2
    sums = _sums_bytes(size, path) * groups_held(size, path)
    dual = 24 * size.n_weights**2 if path.needs_one_block else 0
    scratch = _SCRATCH + _SCRATCH_PER_STEP * size.n_steps
    # Twice: the curves, and the sums, of all groups are copied into one array at the end.
    curves = size.n_steps + sum(size.windows)
    kept = 2 * (size.n_groups + 1) * _CURVES_PER_STEP * curves
    if size.n_groups > 1 and keeps_groups(size, path):
        kept += 2 * size.n_groups * _kept_bytes(size, path)
    kept += _factor_bytes(size)
    return size.resident + workers * (sums + scratch) + in_tree * sums + dual + kept


def _block_bytes(size: Size, path: Path) -> int:
    """What one weight of a block takes, with the copies that are made of it."""
    copied = size.holds_tasks or (path.needs_one_block and size.n_groups > 1)
    return (2 if copied else 1) * size.n_steps * size.itemsize


def block_width(size: Size, path: Path, workers: int) -> int:
    """Weights a block may hold: by memory, then no wider than is of use."""
    free = size.memory - _fixed_bytes(size, path, workers)
    by_memory = max(0, free // (workers * _block_bytes(size, path)))
    if path.needs_one_block:
        return min(by_memory, size.n_weights)
    wanted = max(
        _BLOCK_BYTES // (size.n_steps * size.itemsize), NARROWEST_ROW, narrowest(size, path)
    )
    return min(by_memory, wanted, size.n_weights)


def narrowest(size: Size, path: Path) -> int:
    """The narrowest block worth reading: below 64 weights every page is read many times over."""
    if path.needs_one_block:
        return size.n_weights
    # A block that is a whole task must not make for too many tasks.
    return min(max(64, size.n_weights // MOST_TASKS if size.holds_tasks else 0), size.n_weights)


def least_memory(size: Size, path: Path, workers: int) -> int:
    """Bytes of memory with which a path would fit."""
    blocks = workers * narrowest(size, path) * _block_bytes(size, path)
    return _fixed_bytes(size, path, workers) + blocks


def cost(size: Size, path: Path, workers: int) -> float:
    """Seconds on one core: what every path does, and what this one adds.

    Cores that a path's memory leaves idle count against it; their number in itself does not, so
    that the same input takes the same path on any machine with enough memory.
    """
    return sum(_cost(size, path, float(length), size.workers / workers) for length in size.lengths)


def _cost(size: Size, path: Path, steps: float, idle: float) -> float:
    weights, groups = float(size.n_weights), size.n_groups + 1
    transforms = steps * weights * _TRANSFORM
    if path.components == "dual":
        return 3 * transforms + (
            3 * steps * weights**2 * _DUAL_PRODUCT + 2 * weights**3 * _EIGENVECTORS
        )
    if path.components == "gram":
        product = steps**2 * weights * _PRODUCT
        return idle * (2 * transforms + product) + groups * steps**3 * _EIGENVECTORS
    columns = min(float(N_SKETCH_COLUMNS), steps)
    product = steps * weights * (2 * columns + N_PROJECTIONS) * _PRODUCT
    # Approximate: taken over an exact path only where it is much cheaper.
    return idle * 2 * transforms + 4 * (
        idle * (transforms + product) + groups * steps * columns**2 * _EIGENVECTORS
    )
