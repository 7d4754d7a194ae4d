"""Flat ranges of one stored array, wherever in a file its elements lie."""

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import TensorSpec, Values, open_regular, stored_dtype, widened

MAX_INFLATION = 1032
"""Most bytes that one byte of a deflate stream can stand for: the format's own bound."""

_PIECE = 2**22
"""Bytes read at once where what is read is more than what is returned."""

_BATCH = 2**19
"""Elements whose places are computed at once."""


class Place(NamedTuple):
    """Where an array lies that is no plain run of little-endian bytes; a `TensorSpec.locator`.

    Attributes
    ----------
    first :
        First byte in the file of the data, deflated or not.
    packed :
        Bytes of the deflate stream there; 0 where the data is stored as it is.
    lead :
        Bytes of the (inflated) data before the array's memory.
    start :
        Element of that memory that is the array's first.
    strides :
        Elements from one index to the next along each dimension.
    big_endian :
        Whether the elements are stored most significant byte first.
    """

    first: int
    packed: int
    lead: int
    start: int
    strides: tuple[int, ...]
    big_endian: bool


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array whose last index varies fastest."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie behind one another in the order of the indices."""
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length == 0:
            return True
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


def read_exactly(descriptor: int, path: Path, first: int, count: int) -> bytearray:
    """`count` bytes of the file from byte `first` on.

    Raises
    ------
    CheckpointError
        The file ends first, or cannot be read.
    """
    buffer = bytearray(count)
    done = 0
    try:
        while done < count and (
            got := os.preadv(descriptor, [memoryview(buffer)[done:]], first + done)
        ):
            done += got
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read: {error.strerror}. Check the disk, or leave the "
            "file out with --exclude."
        ) from error
    if done < count:
        raise CheckpointError(
            f"{printable(path)} ends early: {count} bytes are expected at byte {first}, {done} are "
            "there. It may still be being written, or was replaced while it was read; wait, or "
            "leave it out with --exclude."
        )
    return buffer


def read_range(path: Path, spec: TensorSpec, start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor as (weight,), widened to float32 or float64.

    Raises
    ------
    CheckpointError
        The file is shorter than its header said, gone, or its compressed data is damaged.
    """
    dtype = stored_dtype(spec.dtype)
    if dtype is None:
        raise TypeError(f"no values can be read from dtype {spec.dtype}")
    if not 0 <= start <= stop <= spec.size:
        raise IndexError(f"{start}:{stop} is outside a tensor of {spec.size} elements")
    descriptor = open_regular(path)
    try:
        if spec.offset is not None:
            first = spec.offset + start * dtype.itemsize
            raw = read_exactly(descriptor, path, first, (stop - start) * dtype.itemsize)
            return widened(np.frombuffer(raw, dtype))
        place = Place(*spec.locator)  # type: ignore[arg-type]  # opaque outside the readers
        elements = dtype.newbyteorder(">") if place.big_endian else dtype
        source = _Source(descriptor, path, place)
        if is_row_major(spec.shape, place.strides):
            first = place.lead + (place.start + start) * dtype.itemsize
            raw = source.span(first, (stop - start) * dtype.itemsize)
            return widened(np.frombuffer(raw, elements))
        return widened(_gathered(source, spec.shape, place, elements, (start, stop)))
    finally:
        os.close(descriptor)


def inflated(descriptor: int, path: Path, first: int, packed: int, size: int) -> bytearray:
    """The first `size` bytes of a deflate stream of `packed` bytes at byte `first`."""
    return _Source(descriptor, path, Place(first, packed, 0, 0, (), big_endian=False)).span(0, size)


def _gathered(
    source: "_Source",
    shape: tuple[int, ...],
    place: Place,
    dtype: np.dtype[np.generic],
    span: tuple[int, int],
) -> NDArray[np.generic]:
    """Elements ``start:stop``, in index order, of an array with any strides."""
    start, stop = span
    values = np.empty(stop - start, dtype)
    for low in range(start, stop, _BATCH):
        high = min(low + _BATCH, stop)
        places = _places(shape, place, low, high)
        batch = values[low - start : high - start]
        for first, last in _runs(places, max(_PIECE // dtype.itemsize, 1)):
            count = (last - first) * dtype.itemsize
            raw = source.span(place.lead + first * dtype.itemsize, count)
            inside = (places >= first) & (places < last)
            batch[inside] = np.frombuffer(raw, dtype)[places[inside] - first]
    return values


def _places(shape: tuple[int, ...], place: Place, low: int, high: int) -> NDArray[np.int64]:
    """Element of the memory that each of the flat indices ``low:high`` is stored at."""
    rest = np.arange(low, high, dtype=np.int64)
    places = np.full(high - low, place.start, np.int64)
    for length, stride in zip(reversed(shape), reversed(place.strides), strict=True):
        rest, index = np.divmod(rest, length)
        places += index * stride
    return places


def _runs(places: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """Stretches of memory, none longer than `longest`, that together hold all places."""
    remaining = np.sort(places)
    while remaining.size:
        first = int(remaining[0])
        count = int(np.searchsorted(remaining, first + longest))
        yield first, int(remaining[count - 1]) + 1
        remaining = remaining[count:]


@dataclass
class _Cursor:
    """A deflate stream that has been read up to some byte on either side."""

    stream: "zlib._Decompress"
    read: int = 0
    given: int = 0


class _Source:
    """The bytes of one stored or deflated piece of an open file."""

    def __init__(self, descriptor: int, path: Path, place: Place) -> None:
        self.descriptor, self.path = descriptor, path
        self.first, self.packed = place.first, place.packed

    def span(self, first: int, count: int) -> bytearray:
        """`count` bytes from byte `first` of the (inflated) data on."""
        if not self.packed:
            return read_exactly(self.descriptor, self.path, self.first + first, count)
        status = os.fstat(self.descriptor)
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, self.first)
        cursor = _parked(key, first) or _Cursor(zlib.decompressobj(-zlib.MAX_WBITS))
        while cursor.given < first:
            self._more(cursor, min(_PIECE, first - cursor.given))
        pieces = []
        while (missing := first + count - cursor.given) > 0:
            pieces.append(self._more(cursor, min(_PIECE, missing)))
        _park(key, cursor)
        return bytearray().join(pieces)

    def _more(self, cursor: _Cursor, most: int) -> bytes:
        """At least one and at most `most` further bytes of the stream."""
        while True:
            waiting: bytes | bytearray = cursor.stream.unconsumed_tail
            if not waiting:
                count = min(2**16, self.packed - cursor.read)
                waiting = read_exactly(self.descriptor, self.path, self.first + cursor.read, count)
                cursor.read += count
            try:
                piece = cursor.stream.decompress(waiting, most)
            except zlib.error as error:
                raise CheckpointError(
                    f"{printable(self.path)} holds compressed data that is damaged. Write the "
                    "file again, or leave it out with --exclude."
                ) from error
            if piece:
                cursor.given += len(piece)
                return piece
            spent = cursor.read >= self.packed and not cursor.stream.unconsumed_tail
            if cursor.stream.eof or spent:
                raise CheckpointError(
                    f"{printable(self.path)} holds compressed data that is shorter than its header "
                    "says. Write the file again, or leave it out with --exclude."
                )


# A pass over a trajectory asks every file for one range after the other: going on where the last
# range ended saves inflating each stream from its start for every block. A cursor holds some 50 kB.
_MOST_PARKED = 512
_parking: OrderedDict[tuple[int, ...], _Cursor] = OrderedDict()
_parking_lock = threading.Lock()


def _parked(key: tuple[int, ...], first: int) -> _Cursor | None:
    """The cursor left at or before byte `first`, taken out so that no other thread moves it."""
    with _parking_lock:
        cursor = _parking.pop(key, None)
    return cursor if cursor is not None and cursor.given <= first else None


def _park(key: tuple[int, ...], cursor: _Cursor) -> None:
    with _parking_lock:
        _parking[key] = cursor
        while len(_parking) > _MOST_PARKED:
            _parking.popitem(last=False)
