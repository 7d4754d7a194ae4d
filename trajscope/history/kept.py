"""The trajectory of a folder with as many of its weights as possible from an earlier analysis."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from trajscope.checkpoints.lazy import lazy_weights
from trajscope.errors import CheckpointError, printable
from trajscope.history.index import (
    Index,
    UnusableError,
    columns_of,
    read_index,
    row_bytes,
    write_index,
)
from trajscope.history.rows import KeptRows, checksums
from trajscope.history.update import Progress, Split, extended, split_steps
from trajscope.schema import FINGERPRINT, STEP, WEIGHT

MOST_BYTES: Final = 1 << 30
"""Weights that are kept, unless they always are."""

_SHARE_OF_DISK: Final = 10


@dataclass(frozen=True)
class Remembered:
    """A trajectory that reads from a history, or the one that was given where there is none.

    Attributes
    ----------
    line :
        For the user: what was read, or why nothing is kept.
    """

    trajectory: xr.Dataset
    line: str
    is_kept: bool


@contextmanager
def remembered(
    trajectory: xr.Dataset,
    folder: str | os.PathLike[str],
    *,
    always: bool = True,
    progress: Progress = lambda *_: None,
) -> Iterator[Remembered]:
    """The same trajectory, its weights from the history in a folder, which is brought up to date.

    Checkpoints are known by their fingerprints. Those that the history holds are not opened; all
    others are read once, whole, and added to it. What is damaged, or of other tensors, is made
    again. A history that cannot be kept costs nothing but itself.

    Parameters
    ----------
    trajectory :
        As `open_trajectory` returned it; its weights must not have been changed since.
    folder :
        Where the history is, or will be.
    always :
        Keep it whatever its size; else up to `MOST_BYTES` and a tenth of the disk that is free.
    progress :
        Called with the number of weights read of the new checkpoints, and of all.

    Raises
    ------
    CheckpointError
        A new checkpoint cannot be read.
    """
    path = Path(folder).absolute()
    with ExitStack() as held:
        try:
            found = _brought_up_to_date(trajectory, path, held, progress, always=always)
        except OSError as error:
            line = f"No history is kept in {printable(path)}: {printable(error.strerror)}."
            found = Remembered(trajectory, line, is_kept=False)
        yield found


def _brought_up_to_date(
    trajectory: xr.Dataset, folder: Path, held: ExitStack, progress: Progress, *, always: bool
) -> Remembered:
    if not trajectory[FINGERPRINT].to_numpy().astype(bool).any():
        told = "No history is kept: changes of these checkpoints cannot be detected."
        return Remembered(trajectory, told, is_kept=False)
    if not (always or _fits(trajectory, folder)):
        told = f"No history is kept in {printable(folder)}: it would take "
        told += f"{_size(trajectory) / 2**30:.1f} GiB. Use --history always to keep it."
        return Remembered(trajectory, told, is_kept=False)
    folder.mkdir(parents=True, exist_ok=True)
    held.callback(os.close, _locked(folder))
    index, reason = _usable(folder, trajectory)
    known = index or Index(columns_of(trajectory), "", ())
    split = split_steps(trajectory, known)
    line = _told(split, folder, reason, _written_again(trajectory, split, known))
    places = split.places
    if len(split.new):
        known, places = extended(folder, known, split, trajectory, progress)
        write_index(folder, known)
    weights = trajectory["weights"]
    kept = KeptRows(str(folder / known.data), weights.dtype, trajectory.sizes[WEIGHT], places)
    return Remembered(trajectory.assign(weights=lazy_weights(kept)), line, is_kept=True)


def _size(trajectory: xr.Dataset) -> int:
    return trajectory.sizes[STEP] * row_bytes(trajectory)


def _fits(trajectory: xr.Dataset, folder: Path) -> bool:
    """Whether the weights are few enough for this disk."""
    above = folder
    while not above.exists():
        above = above.parent
    most = min(MOST_BYTES, shutil.disk_usage(above).free // _SHARE_OF_DISK)
    return _size(trajectory) <= most


def _locked(folder: Path) -> int:
    """File descriptor that holds the history of this folder until it is closed."""
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(folder / "lock", flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(error.errno, "another analysis is using it") from error
    return descriptor


def _usable(folder: Path, trajectory: xr.Dataset) -> tuple[Index | None, str]:
    """The index of a history that can be trusted for this trajectory, or why there is none."""
    try:
        index = read_index(folder)
        if index is None:
            return None, ""
        if index.columns != columns_of(trajectory):
            raise UnusableError("the tensors or their dtype changed")
        fingerprints = set(trajectory[FINGERPRINT].to_numpy().tolist())
        needed = [place for place, row in enumerate(index.rows) if row.fingerprint in fingerprints]
        found = checksums(folder / index.data, np.array(needed, np.int64), row_bytes(trajectory))
        if any(
            index.rows[place].checksum != sum_ for place, sum_ in zip(needed, found, strict=True)
        ):
            raise UnusableError("the weights differ from what was written")
    except UnusableError as error:
        return None, str(error)
    except CheckpointError:
        return None, "the weights cannot be read"
    return index, ""


def _written_again(trajectory: xr.Dataset, split: Split, index: Index) -> int:
    """How many of the steps to be read the history knows as they were before."""
    known = {row.path for row in index.rows}
    return sum(path in known for path in trajectory["path"].to_numpy()[split.new].tolist())


def _told(split: Split, folder: Path, reason: str, n_again: int) -> str:
    """What was read from where, in one line."""
    where, n_new = printable(folder), len(split.new)
    n_old = len(split.places) - n_new
    if reason:
        return (
            f"Read all {n_new:,} checkpoints for a new history in {where}: the old one cannot be "
            f"used: {reason}."
        )
    if not n_old:
        kept = len(split.settled)
        return f"Read {n_new:,} checkpoints; {kept:,} are kept in the history in {where}."
    if not n_new:
        return f"All {n_old:,} checkpoints were read from the history in {where}."
    again = f", {n_again:,} of them written again" if n_again else ""
    plural = "" if n_new == 1 else "s"
    return f"Read {n_new:,} new checkpoint{plural}{again}; {n_old:,} from the history in {where}."
