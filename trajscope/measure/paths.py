"""The ways to the pooled sums, and what time each of them takes."""

from dataclasses import dataclass
from typing import Final

from trajscope.kernels.factors import N_PROJECTIONS
from trajscope.measure.reductions import (
    COUNTS,
    CURVES,
    DIRECTIONS,
    DUAL,
    FACTOR,
    FIRST,
    GRAM,
    N_SKETCH_COLUMNS,
    PERIODOGRAM,
    POOLED,
    POSITIONS,
    PROJECTION,
    ROUNDING,
    SKETCH,
    STEPWISE,
    Reduction,
)

_LARGEST_DUAL: Final = 4096  # weights; beyond, the sketch is faster than the eigenvectors

# Seconds on one core of 2025, measured; only their ratios matter. Per T^2 P: the product of
# increments; per T^3: leading eigenvectors; per T P: transforms in float64; per T P^2: the dual.
_PRODUCT: Final = 1.5e-11
_EIGENVECTORS: Final = 1.5e-10
_TRANSFORM: Final = 4e-8
_DUAL_PRODUCT: Final = 5e-11

PER_WEIGHT: Final = (COUNTS, ROUNDING, POSITIONS, CURVES)
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
    Path("gram", "gram", (*PER_WEIGHT, GRAM, FIRST)),
    Path("fft", "dual", (*PER_WEIGHT, STEPWISE, POOLED, DIRECTIONS, DUAL, FACTOR)),
    Path("fft", "sketch", (*PER_WEIGHT, STEPWISE, POOLED, DIRECTIONS, SKETCH, PROJECTION)),
)
AUDIT: Final = (Path("audit", "none", (POSITIONS, STEPWISE)),)
"""For an audit alone."""


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
    is_compiled :
        As of a `trajscope.measure.piece.Piece`.
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
    is_compiled: bool = False

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
    smaller = min(
        ((GRAM, FIRST), pooled), key=lambda choice: sum(r.n_bytes(length) for r in choice)
    )
    return (COUNTS, ROUNDING, POSITIONS, *smaller)


def worker_counts(size: Size, path: Path) -> list[int]:
    """Numbers of tasks at once that are tried: all, half as many, and so on to the fewest."""
    counts = [1 if path.needs_one_block else size.workers]
    while counts[-1] > size.fewest_workers:
        counts.append(max(counts[-1] // 2, size.fewest_workers))
    return counts


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
