"""One new checkpoint of a watched run: read once, in pieces, for all that is kept of it."""

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.checkpoints.lazy import check_unchanged
from trajscope.errors import CheckpointError, printable
from trajscope.files import open_own, read_into
from trajscope.kernels.folding import WIDTH, add_folded
from trajscope.kernels.gram import Floats
from trajscope.readers.files import open_regular
from trajscope.schema import WEIGHT

_PIECE: Final = 1 << 20
"""Weights that are held at once; a multiple of `WIDTH`."""
_SEED: Final = 0


@dataclass(frozen=True)
class Taken:
    """What one reading of a checkpoint gave.

    Attributes
    ----------
    sums : (sum,)
        `add_folded`.
    checksum :
        CRC-32 of its weights.
    squared_norm, squared_increment, squared_displacement :
        ``|x|^2``, and squared distances from the weights that were given; NaN without.
    n_nonfinite, first_nonfinite :
        How many weights are NaN or infinite, and the number of the first.
    """

    sums: Floats
    checksum: int
    squared_norm: float
    squared_increment: float
    squared_displacement: float
    n_nonfinite: int
    first_nonfinite: int


def take(
    trajectory: xr.Dataset, row: int, target: Path, *, previous: Path | None, first: Path | None
) -> Taken:
    """Read one checkpoint, and copy its weights to the new file `target`.

    Parameters
    ----------
    row :
        Its number in the trajectory.
    previous, first :
        Files of the weights that distances are taken from.

    Raises
    ------
    CheckpointError
        It cannot be read, or changed meanwhile; a file of weights is damaged.
    OSError
        The copy cannot be written.
    """
    weights = trajectory["weights"].variable[row : row + 1]
    n_weights, dtype = trajectory.sizes[WEIGHT], weights.dtype
    totals = np.zeros(3)
    sums, checksum, n_bad, first_bad = np.zeros(WIDTH), 0, 0, -1
    with ExitStack() as opened, np.errstate(all="ignore"):
        descriptor = open_own(target, os.O_CREAT | os.O_EXCL)
        opened.callback(os.close, descriptor)
        others = [_pieces(each, n_weights, dtype, opened) for each in (previous, first)]
        for start in range(0, n_weights, _PIECE):
            piece = np.ascontiguousarray(weights[0, start : start + _PIECE].to_numpy())
            checksum = zlib.crc32(piece.data, checksum)
            os.pwrite(descriptor, piece.data, start * dtype.itemsize)
            add_folded(sums, piece, first=start, seed=_SEED)
            totals += [_square(piece), *(_distance(piece, next(each)) for each in others)]
            if not math.isfinite(totals[0]):
                bad = np.flatnonzero(~np.isfinite(piece))
                first_bad = start + int(bad[0]) if len(bad) and first_bad < 0 else first_bad
                n_bad += len(bad)
        check_unchanged(weights)
    norm, increment, displacement = totals.tolist()
    return Taken(sums, checksum, norm, increment, displacement, n_bad, first_bad)


def _pieces(
    path: Path | None, n_weights: int, dtype: "np.dtype[np.floating]", opened: ExitStack
) -> "Iterator[NDArray[np.floating] | None]":
    """The weights in a file, as many at a time as are read of the checkpoint."""
    if path is None:
        while True:
            yield None
    descriptor = open_regular(path)
    opened.callback(os.close, descriptor)
    for start in range(0, n_weights, _PIECE):
        piece = np.empty(min(_PIECE, n_weights - start), dtype)
        if read_into(descriptor, piece.view(np.uint8).data, start * dtype.itemsize):
            raise CheckpointError(
                f"{printable(path)} ends early. Remove its folder, and watch the run again."
            )
        yield piece


def _square(values: "NDArray[np.floating]") -> float:
    values = values.astype(np.float64)
    return float(values @ values)


def _distance(piece: "NDArray[np.floating]", other: "NDArray[np.floating] | None") -> float:
    """Squared distance from another piece; NaN where there is none."""
    return math.nan if other is None else _square(np.subtract(piece, other, dtype=np.float64))
