"""What one task does: read its weights block by block, and hand back only sums of them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import TrajectoryError
from trajscope.kernels.gram import Floats
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.directions import Directions
from trajscope.measure.piece import Piece
from trajscope.measure.plan import Segment, Wanted
from trajscope.measure.reductions import Sums, reductions_named
from trajscope.measure.still import Columns, Moving, as_slice, moving_weights
from trajscope.measure.trace import Trace

Key = tuple[int, int]
"""Number of a group, and of a part of the rows."""
GroupSums = dict[Key, dict[str, Floats]]
"""Sums of each group and part."""

WHOLE: Final = -1
"""Number of the group of all weights, for what cannot be added up from the groups."""
JOINT: Final[Key] = (-2, 0)
"""Where sums over all weights are found that no group has: over several runs, along directions."""


class NonFiniteError(TrajectoryError):
    """Some weight is NaN or infinite; which one, `scan_span` tells."""


def sum_span(  # noqa: PLR0913
    source: Any,  # an xarray Variable or a NumPy array
    *,
    task: Sequence[Segment],
    offset: int,
    width: int,
    wanted: Wanted,
    seed: int,
    directions: Directions | None = None,
) -> tuple[GroupSums, Trace | None]:
    """Sums over the weights of one task, and their trace if that is wanted.

    Parameters
    ----------
    source : (step, weight)
        Starts at weight number `offset`.
    width :
        Weights held in memory at once.
    wanted :
        What is summed of which rows.
    directions :
        Along which all rows are projected, of the weights of the task.

    Raises
    ------
    NonFiniteError
    """
    totals: GroupSums = {}
    trace = None
    # NaN and Inf go through every sum and are looked for once, at the end.
    with one_blas_thread(), np.errstate(all="ignore"):
        for start, stop in _blocks(task, width):
            block = _owned_block(source, start - offset, stop - offset)
            if wanted.watch is not None:
                trace = trace or Trace.empty(len(block))
                trace.see(block, start, wanted.watch, begin=task[0].start)
            if wanted.joint is not None:
                add_sums(totals.setdefault(JOINT, {}), wanted.joint.sums(block))
            if directions is not None:
                add_sums(totals.setdefault(JOINT, {}), directions.sums(block, start))
            _add_block(totals, block, (start, stop), task, wanted, seed)
            del block
    for sums in totals.values():
        if not all(np.isfinite(part).all() for part in sums.values()):
            raise NonFiniteError("Some of the weights are NaN or infinite.")
    return totals, trace


def _add_block(
    totals: GroupSums,
    block: NDArray[np.floating],
    ends: tuple[int, int],
    task: Sequence[Segment],
    wanted: Wanted,
    seed: int,
) -> None:
    """Add what is summed of one block, which is overwritten by its increments."""
    origins = [block[part.start].copy() for part in wanted.parts]
    firsts = [cut.first for cut in _pieces(task, *ends, 0)]
    moving = moving_weights(block, np.array(firsts))
    if moving is not None:
        block = moving.press(block)
    for of_increments, is_additive in product((False, True), (True, False)):
        if of_increments and is_additive:
            difference_in_place(block)
        for number, part in enumerate(wanted.parts):
            due = [
                each
                for each in reductions_named(part.reductions)
                if (each.of_increments, each.is_additive) == (of_increments, is_additive)
            ]
            if not due:
                continue
            # The increment behind the last row leads to another run, or to no row.
            rows = block[part.start : part.stop - of_increments]
            for cut in (_pieces if is_additive else _whole_groups)(task, *ends, number):
                piece = _piece(rows, origins[number], cut, moving, ends[0], seed)
                piece = replace(piece, is_compiled=wanted.is_compiled)
                for each in due:
                    add_sums(totals.setdefault((cut.group, number), {}), each.sums(piece))


class _Cut(NamedTuple):
    """Columns of a block of one group, the first of them, resolution, and the share sampled."""

    group: int
    columns: Columns
    first: int
    resolution: float
    share: float


def _piece(
    rows: NDArray[np.floating],
    origin: NDArray[np.floating],
    cut: _Cut,
    moving: Moving | None,
    start: int,
    seed: int,
) -> Piece:
    """What reductions are given of the rows of a block from weight `start`."""
    own, first = origin[cut.columns], start + cut.first
    if moving is None:
        return Piece(rows[:, cut.columns], cut.resolution, seed, own, first, cut.share)
    taken = moving.of(cut.columns)
    return Piece(
        rows[:, taken.columns], cut.resolution, seed, own[taken.chosen], first, cut.share,
        taken.chosen, origin[taken.at_rest],
    )  # fmt: skip


def scan_span(
    source: Any,  # an xarray Variable or a NumPy array
    *,
    task: Sequence[Segment],
    offset: int,
    width: int,
) -> dict[int, tuple[int, int]]:
    """For every step of one task with a NaN or infinite weight: how many, and the first of them.

    Returns
    -------
    dict
        Row number -> (count, number of the first weight).
    """
    found: dict[int, tuple[int, int]] = {}
    for start, stop in _blocks(task, width):
        for row, values in enumerate(_owned_block(source, start - offset, stop - offset)):
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                count, first = found.get(row, (0, start + int(bad[0])))
                found[row] = (count + len(bad), first)
    return found


def add_sums(total: dict[str, Floats], part: Sums) -> None:
    """Add `part` to `total`, in float64 and in place."""
    for name, values in part.items():
        if name in total:
            total[name] += values
        else:
            total[name] = np.array(values, dtype=np.float64)


def tree_sum(parts: Sequence[GroupSums]) -> GroupSums:
    """The sums of all `parts`, none of which is written to."""
    total: GroupSums = {}
    owned: set[Key] = set()
    for part in parts:
        for key, sums in part.items():
            if key not in total:
                total[key] = sums
            else:
                if key not in owned:
                    total[key] = {name: values.copy() for name, values in total[key].items()}
                    owned.add(key)
                add_sums(total[key], sums)
    return total


def difference_in_place(block: NDArray[np.floating]) -> NDArray[np.floating]:
    """The increments, written over all but the last of the positions they come from.

    Parameters
    ----------
    block : (step, weight)
        Is overwritten.

    Returns
    -------
    (interval, weight)
        A view of `block`.
    """
    for t in range(len(block) - 1):
        np.subtract(block[t + 1], block[t], out=block[t])
    return block[:-1]


def _blocks(task: Sequence[Segment], width: int) -> list[tuple[int, int]]:
    first, last = task[0].start, task[-1].stop
    return [(start, min(start + width, last)) for start in range(first, last, width)]


def _pieces(task: Sequence[Segment], start: int, stop: int, part: int) -> list[_Cut]:
    """Each segment that the block ``start:stop`` cuts."""
    cuts = []
    for segment in task:
        first, last = max(segment.start, start) - start, min(segment.stop, stop) - start
        if first < last:
            of_part = segment.resolutions[part] if segment.resolutions else segment.resolution
            cuts.append(_Cut(segment.group, slice(first, last), first, of_part, segment.share))
    return cuts


def _whole_groups(task: Sequence[Segment], start: int, stop: int, part: int) -> list[_Cut]:
    """Like `_pieces` for a block of every weight: each group whole, and the group of all."""
    cuts = _pieces(task, start, stop, part)
    parts: dict[int, list[_Cut]] = {}
    for cut in cuts:
        parts.setdefault(cut.group, []).append(cut)
    width = np.arange(stop - start)
    groups = [
        own[0]._replace(columns=as_slice(np.concatenate([width[each.columns] for each in own])))
        for own in parts.values()
    ]
    return [*groups, _Cut(WHOLE, slice(0, len(width)), 0, cuts[0].resolution, 1.0)]


def _owned_block(source: Any, start: int, stop: int) -> NDArray[np.floating]:
    """Weights ``start:stop`` at every step, as an array that may be written to."""
    part = source[:, start:stop]
    values = part if isinstance(part, np.ndarray) else part.to_numpy()
    is_single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    dtype = np.dtype(np.float32 if is_single else np.float64)
    is_ours = values is not part and values.flags.owndata and values.flags.writeable
    # Byte order counts too: only native numbers go through BLAS.
    return values if is_ours and values.dtype == dtype else np.array(values, dtype, order="C")
