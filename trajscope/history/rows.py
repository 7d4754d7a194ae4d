"""The file of weights of a history: one row for each checkpoint, written once and read often."""

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.checkpoints.manifest import Rows
from trajscope.errors import CheckpointError, printable
from trajscope.files import read_into
from trajscope.readers.base import Values
from trajscope.readers.files import open_regular

# Held in memory while rows are copied or verified.
_PIECE_BYTES = 1 << 25


@dataclass(frozen=True)
class KeptRows:
    """A trajectory in a file of rows, read like one in checkpoints.

    Attributes
    ----------
    path :
        The file.
    places :
        (step,): which row of the file each step is.
    """

    path: str
    dtype: np.dtype[np.floating]
    n_weights: int
    places: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return len(self.places), self.n_weights

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight).

        Raises
        ------
        CheckpointError
            The file is gone, or was cut.
        """
        block = np.empty((len(rows), max(stop - start, 0)), self.dtype)
        places = self.places[rows]
        apart = np.diff(places) != 1 if block.shape[1] == self.n_weights else np.True_
        cuts = np.flatnonzero(np.broadcast_to(apart, max(len(places) - 1, 0))) + 1
        descriptor = open_regular(self.path)
        try:
            for first, last in pairwise((0, *cuts.tolist(), len(places))):
                offset = int(places[first]) * self.n_weights + start if last > first else 0
                _fill(descriptor, self.path, block[first:last], offset * self.dtype.itemsize)
        finally:
            os.close(descriptor)
        return block


def checksums(path: Path, places: NDArray[np.int64], row_bytes: int) -> Iterator[int]:
    """CRC-32 of each row in the order of `places`.

    Raises
    ------
    CheckpointError
        It is no regular file, or too short.
    """
    buffer = np.empty(min(row_bytes, _PIECE_BYTES), np.uint8)
    descriptor = open_regular(path)
    try:
        for place in places.tolist():
            checksum = 0
            for start in range(0, row_bytes, len(buffer)):
                piece = buffer[: min(len(buffer), row_bytes - start)]
                _fill(descriptor, str(path), piece, place * row_bytes + start)
                checksum = zlib.crc32(piece.data, checksum)
            yield checksum
    finally:
        os.close(descriptor)


def write_rows(
    descriptor: int,
    first: int,
    weights: xr.Variable,
    rows: Rows,
    done: Callable[[int], None] = lambda _: None,
) -> list[int]:
    """Write steps of a trajectory behind one another, and return the CRC-32 of each.

    Parameters
    ----------
    first :
        Row of the file at which the first is written.
    weights : (step, weight)
    rows :
        Which steps, in which order.
    done :
        Called with the number of weights that were written.
    """
    n_weights, itemsize = weights.shape[1], weights.dtype.itemsize
    at_once = max(_PIECE_BYTES // (n_weights * itemsize), 1)
    width = max(min(n_weights, _PIECE_BYTES // itemsize), 1)
    sums: list[int] = []
    for begin in range(0, len(rows), at_once):
        some = rows[begin : begin + at_once]
        own = [0] * len(some)
        for start in range(0, n_weights, width):
            block = np.ascontiguousarray(weights[some, start : start + width].to_numpy())
            own = [zlib.crc32(row.data, known) for row, known in zip(block, own, strict=True)]
            _put(descriptor, block, ((first + begin) * n_weights + start) * itemsize)
            done(block.size)
        sums.extend(own)
    return sums


def _put(descriptor: int, block: NDArray[np.generic], offset: int) -> None:
    """Write all of `block` from byte `offset` on: one call may take less."""
    view = block.reshape(-1).view(np.uint8).data
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _fill(descriptor: int, path: str, block: NDArray[np.generic], offset: int) -> None:
    if missing := read_into(descriptor, block.reshape(-1).view(np.uint8).data, offset):
        raise CheckpointError(
            f"{printable(path)} ends early: {missing} bytes are missing at byte "
            f"{offset + block.nbytes - missing}. Run the analysis again, or with --history never."
        )
