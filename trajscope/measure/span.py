"""What one task does: read its weights block by block, and hand back only sums of them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import TrajectoryError
from trajscope.kernels.gram import Floats
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.directions import Directions
from trajscope.measure.plan import Segment, Wanted
from trajscope.measure.reductions import Piece, Reduction, Sums, reductions_named
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
    for of_increments in (False, True):
        values = difference_in_place(block) if of_increments else block
        for number, part in enumerate(wanted.parts):
            # The increment behind the last row leads to another run, or to no row.
            own = _Own(values[part.start : part.stop - of_increments], origins[number], number)
            for reduction in reductions_named(part.reductions):
                if reduction.of_increments != of_increments:
                    continue
                for piece, group in _pieces_of(reduction, own, task, ends, seed):
                    sums = totals.setdefault((group, number), {})
                    add_sums(sums, reduction.sums(piece))


class _Own(NamedTuple):
    """Rows of a block that belong to one part, its first position, and its number."""

    rows: NDArray[np.floating]
    origin: NDArray[np.floating]
    part: int


def _pieces_of(
    reduction: Reduction,
    own: _Own,
    task: Sequence[Segment],
    block: tuple[int, int],
    seed: int,
) -> Iterator[tuple[Piece, int]]:
    """What a reduction is given of the rows of one block, and the number of the group."""
    additive = reduction.is_additive
    cuts = _pieces(task, *block, own.part) if additive else _whole_groups(task, *block)
    for group, columns, resolution, share in cuts:
        first = block[0] + (columns.start if isinstance(columns, slice) else 0)
        rows, origin = own.rows[:, columns], own.origin[columns]
        yield Piece(rows, resolution, seed, origin, first, share), group


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


Cut = tuple[int, NDArray[np.intp] | slice, float, float]
"""Number of a group, columns of a block, resolution of what is stored there, share sampled."""


def _pieces(task: Sequence[Segment], start: int, stop: int, part: int) -> list[Cut]:
    """Each segment that the block ``start:stop`` cuts."""
    return [
        (
            segment.group,
            slice(max(segment.start, start) - start, min(segment.stop, stop) - start),
            segment.resolutions[part] if segment.resolutions else segment.resolution,
            segment.share,
        )
        for segment in task
        if segment.start < stop and segment.stop > start
    ]


def _whole_groups(task: Sequence[Segment], start: int, stop: int) -> list[Cut]:
    """Like `_pieces` for a block of every weight: each group whole, and the group of all."""
    segments: dict[int, list[Segment]] = {}
    for segment in task:
        segments.setdefault(segment.group, []).append(segment)
    groups: list[Cut] = [
        (group, _columns(parts, start), parts[0].resolution, parts[0].share)
        for group, parts in segments.items()
    ]
    return [*groups, (WHOLE, slice(0, stop - start), task[0].resolution, 1.0)]


def _columns(segments: Sequence[Segment], start: int) -> NDArray[np.intp] | slice:
    """Where they lie in a block from weight `start`; a slice, which copies nothing, if possible."""
    first, last = segments[0].start - start, segments[-1].stop - start
    if last - first == sum(segment.stop - segment.start for segment in segments):
        return slice(first, last)
    return np.concatenate([np.arange(each.start, each.stop) - start for each in segments])


def _owned_block(source: Any, start: int, stop: int) -> NDArray[np.floating]:
    """Weights ``start:stop`` at every step, as an array that may be written to."""
    part = source[:, start:stop]
    values = part if isinstance(part, np.ndarray) else part.to_numpy()
    is_single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    dtype = np.dtype(np.float32 if is_single else np.float64)
    is_ours = values is not part and values.flags.owndata and values.flags.writeable
    # Byte order counts too: only native numbers go through BLAS.
    return values if is_ours and values.dtype == dtype else np.array(values, dtype, order="C")
