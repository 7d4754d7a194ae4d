"""Arrays that are stored in boxes, and flat ranges of them: which elements lie in which box."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trajscope.errors import CheckpointError
from trajscope.readers.base import Values
from trajscope.readers.ranges import row_major

_SHORT = 64
"""Elements of a run below which all runs are placed at once, and one after another above."""


def boxes_of(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[slice, ...]]:
    """Boxes that together are exactly the flat elements ``start:stop``, in their order.

    At most two per dimension: the rest of the row it starts in, whole rows, the beginning of the
    last.
    """
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    first, last = start // row, stop // row
    if row == 1:
        yield (slice(start, stop), *(slice(0, 1) for _ in shape[1:]))
        return
    if start % row or first == last:
        end = min(stop, (first + 1) * row)
        for box in boxes_of(shape[1:], start - first * row, end - first * row):
            yield (slice(first, first + 1), *box)
        first += 1
    if first < last:
        yield (slice(first, last), *(slice(0, length) for length in shape[1:]))
    if last >= first and stop % row:
        for box in boxes_of(shape[1:], 0, stop - last * row):
            yield (slice(last, last + 1), *box)


def fill_from_box(
    out: Values,
    start: int,
    shape: tuple[int, ...],
    box: tuple[tuple[int, ...], tuple[int, ...]],
    read: Callable[[int, int], Values],
) -> None:
    """Put into `out` what a box of the array holds of its flat elements from `start` on.

    Parameters
    ----------
    out :
        (weight,), the elements ``start : start + len(out)`` of the flattened array.
    shape, box :
        Of the array, and offsets and sizes of the box within it.
    read :
        ``(first, last) -> (weight,)``, elements of the flattened box.
    """
    offsets, sizes = box
    strides = row_major(shape)
    axis = len(shape)
    while axis and sizes[axis - 1] == shape[axis - 1]:
        axis -= 1
    axis = max(axis - 1, 0)  # behind it, the box is as long as the array
    run, outer = math.prod(sizes[axis:]), sizes[:axis]
    base = sum(offset * stride for offset, stride in zip(offsets, strides, strict=True))

    def place(index: int) -> int:
        """Flat element that the run of this index begins with."""
        found = base
        for length, stride in zip(reversed(outer), reversed(strides[:axis]), strict=True):
            index, along = divmod(index, length)
            found += along * stride
        return found

    stop, runs = start + len(out), range(math.prod(outer) if run else 0)
    low, high = bisect_right(runs, start - run, key=place), bisect_left(runs, stop, key=place)
    if low >= high:
        return
    places = np.array([place(index) for index in range(low, high)], np.int64) - start
    skipped = max(-int(places[0]), 0)
    length = (high - 1 - low) * run + min(run, len(out) - int(places[-1]))
    values = read(low * run + skipped, low * run + length)
    if run < _SHORT:
        out[(places[:, np.newaxis] + np.arange(run)).ravel()[skipped:length]] = values
        return
    for number, first in enumerate(places.tolist()):
        own = slice(max(first, 0), min(first + run, len(out)))
        at = number * run - skipped + own.start - first
        out[own] = values[at : at + own.stop - own.start]


def check_boxes(
    shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    """Refuse boxes that do not make up an array, every element of it in exactly one.

    Raises
    ------
    CheckpointError
        Not quoted with any path: the caller knows whose boxes they are.
    """
    for offsets, sizes in boxes:
        if not len(offsets) == len(sizes) == len(shape) or any(
            offset + size > length
            for offset, size, length in zip(offsets, sizes, shape, strict=True)
        ):
            raise CheckpointError(f"a chunk of sizes {sizes} at {offsets} is outside {shape}")
    filled = [box for box in boxes if math.prod(box[1])]
    there = sum(math.prod(sizes) for _, sizes in filled)
    if there != math.prod(shape):
        raise CheckpointError(f"its chunks contain {there} of {math.prod(shape)} elements")
    first = np.array([offsets for offsets, _ in filled], np.int64).reshape(len(filled), len(shape))
    last = first + np.array([sizes for _, sizes in filled], np.int64).reshape(first.shape)
    for index in range(1, len(filled)):
        meets = (first[:index] < last[index]) & (first[index] < last[:index])
        if meets.all(axis=1).any():
            raise CheckpointError("two of its chunks overlap")
