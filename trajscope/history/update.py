"""Bringing a history up to date: what it holds already, and the rows that it lacks."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time_ns
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.checkpoints.lazy import check_unchanged, lazy_weights
from trajscope.files import open_own
from trajscope.history.index import Index, Row, new_data, row_bytes
from trajscope.history.rows import KeptRows, write_rows
from trajscope.schema import FINGERPRINT, WEIGHT

# A file that was changed so lately may change again without another time of change: some file
# systems count in steps of two seconds.
_SETTLED_NS: Final = 2 * 10**9

_NONE: Final = -1

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Split:
    """Which steps of a trajectory a history holds.

    Attributes
    ----------
    places :
        (step,): its row in the history, or `_NONE`.
    settled, recent :
        The steps to be read; the weights of recent ones may still change, and are not kept.
    """

    places: NDArray[np.int64]
    settled: NDArray[np.intp]
    recent: NDArray[np.intp]

    @property
    def new(self) -> NDArray[np.intp]:
        """All steps to be read, settled ones first."""
        return np.concatenate([self.settled, self.recent])


def split_steps(trajectory: xr.Dataset, index: Index) -> Split:
    """Which steps the index has by their fingerprints, and which are to be read."""
    place_of = {row.fingerprint: place for place, row in enumerate(index.rows)}
    fingerprints = trajectory[FINGERPRINT].to_numpy().tolist()
    places = np.full(len(fingerprints), _NONE)
    settled = np.zeros(len(fingerprints), bool)
    latest = time_ns() - _SETTLED_NS
    for step, text in enumerate(fingerprints):
        places[step] = place_of.get(text, _NONE) if text else _NONE
        settled[step] = bool(text) and int(text.partition("-")[0]) < latest
    missing = places == _NONE
    return Split(places, np.flatnonzero(missing & settled), np.flatnonzero(missing & ~settled))


def extended(
    folder: Path, known: Index, split: Split, trajectory: xr.Dataset, progress: Progress
) -> tuple[Index, NDArray[np.int64]]:
    """The index with the new rows written behind the old ones, and the row of every step.

    Where more than half of the rows would be of no use, those that are go to another file.
    """
    weights = trajectory["weights"].variable
    old = np.flatnonzero(split.places != _NONE)
    rows, data = list(known.rows), known.data
    moves = not rows or len(rows) > 2 * len(old)
    if moves:
        rows, data = [rows[place] for place in split.places[old]], new_data()
    told = _counted(progress, (len(split.new) + moves * len(old)) * trajectory.sizes[WEIGHT])
    places = split.places.copy()
    with _written(folder / data, len(known.rows) * row_bytes(trajectory), new=moves) as descriptor:
        if moves and len(old):
            kept = KeptRows(str(folder / known.data), weights.dtype, weights.shape[1], split.places)
            write_rows(descriptor, 0, lazy_weights(kept), old, told)
            places[old] = np.arange(len(old))
        places[split.new] = len(rows) + np.arange(len(split.new))
        sums = write_rows(descriptor, len(rows), weights, split.new, told)
        check_unchanged(weights[split.new])
        os.fsync(descriptor)
    paths, fingerprints = (trajectory[name].to_numpy().tolist() for name in ("path", FINGERPRINT))
    rows += [
        Row(paths[step], fingerprints[step], checksum)
        for step, checksum in zip(split.settled.tolist(), sums, strict=False)
    ]
    return replace(known, data=data, rows=tuple(rows)), places


@contextmanager
def _written(path: Path, size: int, *, new: bool) -> Iterator[int]:
    """A file of rows, open for writing; cut to its former size if that fails."""
    descriptor = open_own(path, os.O_CREAT | os.O_EXCL if new else 0)
    try:
        yield descriptor
    except BaseException:
        with suppress(OSError):
            path.unlink() if new else os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)


def _counted(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return add
