"""What memory each way to the pooled sums takes, and how wide a block may be."""

import math
from typing import Final

from trajscope.kernels.directions import MOST_LANDMARKS
from trajscope.kernels.factors import factor_width
from trajscope.measure.paths import Path, Size, window_reductions
from trajscope.measure.reductions import N_COMPONENTS
from trajscope.schema import LANDMARK, LANDMARK_OTHER

MIB: Final = 1 << 20
FAN_IN: Final = 4
"""Partial sums that one node of the summation tree adds."""
MOST_TASKS: Final = 900
"""Dask's own work per task grows past a thousand of them."""
FEWEST_IN_BLOCK: Final = 64
"""Weights: with fewer, every page is read many times over."""
NARROWEST_ROW: Final = 4096
"""Weights; opening a file costs as much as transforming this many."""
# Stays in the last-level cache, and below the 32 MiB from which glibc takes every array anew from
# the system; 16 and 64 MiB took a tenth more.
_BLOCK_BYTES: Final = 30 * MIB
_SCRATCH: Final = 48 * MIB  # cache-sized pieces, FFT plans, and the interpreter's own growth
_SCRATCH_PER_STEP: Final = 2048  # bytes: the fewest columns a piece has, in transform
_CURVES_PER_STEP: Final = 8 * (N_COMPONENTS + 18)  # bytes of one group's observables and moves
_MATRICES_PER_LANDMARK: Final = 16  # bytes: distances and cosines of two landmarks
LAYER_COLUMNS: Final = 32
"""Of every layer: there may be hundreds, and a draw costs as many transforms."""


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
    return sum(8 * _values(each, length) for length in size.lengths for each in dims)


def _values(dims: tuple[str, ...], length: int) -> int:
    """Numbers of an array of a run of so many checkpoints."""
    few = min(length, MOST_LANDMARKS)
    return math.prod(few if dim in (LANDMARK, LANDMARK_OTHER) else length for dim in dims)


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
    lengths = (*size.lengths, *size.windows)
    pairs = sum(min(length, MOST_LANDMARKS) ** 2 for length in lengths)
    curves = _CURVES_PER_STEP * sum(lengths) + _MATRICES_PER_LANDMARK * pairs
    kept = 2 * (size.n_groups + 1) * curves
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
        _BLOCK_BYTES // (max(size.lengths) * size.itemsize), NARROWEST_ROW, narrowest(size, path)
    )
    return min(by_memory, wanted, size.n_weights)


def narrowest(size: Size, path: Path) -> int:
    """The narrowest block worth reading: below 64 weights every page is read many times over."""
    if path.needs_one_block:
        return size.n_weights
    # A block that is a whole task must not make for too many tasks.
    return min(
        max(FEWEST_IN_BLOCK, size.n_weights // MOST_TASKS if size.holds_tasks else 0),
        size.n_weights,
    )


def taken_by(size: Size, path: Path, workers: int, width: int) -> int:
    """Bytes that a process takes with blocks of this width."""
    return _fixed_bytes(size, path, workers) + workers * width * _block_bytes(size, path)


def least_memory(size: Size, path: Path, workers: int) -> int:
    """Bytes of memory with which a path would fit."""
    return taken_by(size, path, workers, narrowest(size, path))
