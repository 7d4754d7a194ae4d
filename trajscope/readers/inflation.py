"""Pieces of a file that are stored or deflated, read from any byte of what they inflate to."""

import os
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.files import read_exactly

MAX_INFLATION = 1032
"""Most bytes that one byte of a deflate stream can stand for: the format's own bound."""

PIECE = 2**22
"""Bytes read at once where what is read is more than what is returned."""


def inflated(descriptor: int, path: Path, first: int, packed: int, size: int) -> bytearray:
    """The first `size` bytes of a deflate stream of `packed` bytes at byte `first`."""
    return Source(descriptor, path, first, packed).span(0, size)


@dataclass
class _Cursor:
    """A deflate stream that has been read up to some byte on either side."""

    stream: "zlib._Decompress"
    read: int = 0
    given: int = 0


class Source:
    """One piece of an open file: a deflate stream of `packed` bytes, or stored where that is 0."""

    def __init__(self, descriptor: int, path: Path, first: int, packed: int) -> None:
        self.descriptor, self.path = descriptor, path
        self.first, self.packed = first, packed

    def span(self, first: int, count: int) -> bytearray:
        """`count` bytes from byte `first` of the (inflated) data on."""
        if not self.packed:
            return read_exactly(self.descriptor, self.path, self.first + first, count)
        status = os.fstat(self.descriptor)
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, self.first)
        cursor = _parked(key, first) or _Cursor(zlib.decompressobj(-zlib.MAX_WBITS))
        while cursor.given < first:
            self._more(cursor, min(PIECE, first - cursor.given))
        pieces = []
        while (missing := first + count - cursor.given) > 0:
            pieces.append(self._more(cursor, min(PIECE, missing)))
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
                    f"{printable(self.path)} contains damaged compressed data. Write the file "
                    "again, or leave it out with --exclude."
                ) from error
            if piece:
                cursor.given += len(piece)
                return piece
            spent = cursor.read >= self.packed and not cursor.stream.unconsumed_tail
            if cursor.stream.eof or spent:
                raise CheckpointError(
                    f"{printable(self.path)} contains compressed data that is shorter than its "
                    "header says. Write the file again, or leave it out with --exclude."
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
