"""A run that is still written: its new checkpoints are read once each, and what follows is kept."""

import math
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from trajscope.errors import CheckpointError, printable
from trajscope.files import open_own, replaced
from trajscope.history.index import UnusableError, columns_of
from trajscope.history.log import MOST_ROWS, Alarm, Log, Row, new_file, read_log, write_log
from trajscope.history.taking import Taken, take
from trajscope.kernels.folding import WIDTH
from trajscope.kernels.gram import Floats
from trajscope.schema import FINGERPRINT, STEP, WEIGHT

_SETTLED_NS: Final = 2 * 10**9
"""A file that was changed so lately may still be written."""
_LONG: Final = 4.0
"""Times the longest of the increments before that an increment is long which raises an alarm."""
_BEFORE: Final = 20
"""Increments that it is compared with, of which there are at least `_FEWEST`."""
_FEWEST: Final = 7


@dataclass
class Watched:
    """What is known of a run, in memory and in a folder.

    Attributes
    ----------
    log :
        `None` until the first checkpoint was read.
    sums : (row, sum)
        Random sums of every row of the log.
    note :
        What happened to an earlier log; empty where it could be used.
    """

    folder: Path
    log: Log | None = None
    sums: Floats | None = None
    note: str = ""

    @classmethod
    def resumed(cls, folder: Path) -> "Watched":
        """What an earlier watcher left in a folder.

        Raises
        ------
        OSError
            The folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = read_log(folder)
        except UnusableError as error:
            return cls(folder, note=f"What was kept in {printable(folder)} is not used: {error}.")
        return cls(folder) if found is None else cls(folder, *found)

    def take_new(self, trajectory: xr.Dataset) -> Iterator[None]:
        """Read the checkpoints that are new, in order, and yield behind each, when it is kept.

        One that vanishes or changes meanwhile is left for the next time.

        Raises
        ------
        OSError
            What is kept cannot be written.
        """
        if self.log is not None and self.log.columns != columns_of(trajectory):
            self.note = "The tensors or their dtype changed: everything is begun again."
            self.log = self.sums = None
        for row in self._new_rows(trajectory):
            target = self.folder / new_file("weights")
            try:
                try:
                    self._add(trajectory, row, target)
                finally:
                    if self.log is None or target.name not in (self.log.first, self.log.last):
                        target.unlink(missing_ok=True)
            except CheckpointError:
                continue
            yield

    def _new_rows(self, trajectory: xr.Dataset) -> list[int]:
        log = self.log
        known = {row.fingerprint for row in log.rows} | set(log.passed) if log else set()
        steps = trajectory[STEP].to_numpy().tolist()
        found = []
        for row, text in enumerate(trajectory[FINGERPRINT].to_numpy().tolist()):
            changed = _time_of(text)
            settled = abs(time.time_ns() - changed) >= _SETTLED_NS
            earlier = log and steps[row] > log.restarted_step and changed < log.restarted
            if text not in known and settled and not earlier:
                found.append(row)
        return found

    def _add(self, trajectory: xr.Dataset, row: int, target: Path) -> None:
        step = float(trajectory[STEP].to_numpy()[row])
        text = str(trajectory[FINGERPRINT].to_numpy()[row])
        log = self.log or Log(
            columns_of(trajectory),
            str(trajectory.attrs["step_unit"]),
            str(trajectory["weights"].dtype),
            trajectory.sizes[WEIGHT],
        )
        kept = [each for each in log.rows if each.step < step]
        previous = self.folder / log.last if kept and kept[-1].step == log.last_step else None
        first = self.folder / log.first if kept else None
        taken = take(trajectory, row, target, previous=previous, first=first)
        log = replace(log, n_read=log.n_read + 1)
        present = set(trajectory[FINGERPRINT].to_numpy().tolist())
        passed = (*(each for each in log.passed if each in present), text)
        same = next((r for r in log.rows if r.checksum == taken.checksum
                     and r.sums_checksum == zlib.crc32(taken.sums.data)), None)  # fmt: skip
        if taken.n_nonfinite:
            log = replace(log, passed=passed).alarmed(_nonfinite(trajectory, step, taken))
        elif same is not None and same.step == step:  # its file was touched, or copied
            rows = tuple(replace(r, fingerprint=text) if r is same else r for r in log.rows)
            log = replace(log, rows=rows)
        elif same is not None:
            log = replace(log, passed=passed).alarmed(_copy(step, same.step))
        elif len(kept) == len(log.rows) and log.since + 1 < log.stride:
            log = replace(log, passed=passed, since=log.since + 1)
        else:
            log = self._with_row(log, kept, taken, Row(step, text, *_of(taken)), target)
        if log.rows:
            write_log(self.folder, log)
        self.log = log

    def _with_row(self, log: Log, kept: list[Row], taken: Taken, new: Row, target: Path) -> Log:
        """The log with one more row, and the random sums of all its rows on disk."""
        if len(kept) < len(log.rows):
            dropped = log.rows[len(kept) :]
            log = replace(log, restarted=_time_of(new.fingerprint), restarted_step=new.step)
            if _time_of(new.fingerprint) > max(_time_of(row.fingerprint) for row in dropped):
                log = log.alarmed(_restart(new.step, dropped[-1].step))
        before = np.empty((0, WIDTH)) if self.sums is None else self.sums[: len(kept)]
        if kept and math.isnan(new.increment):
            moved = float(np.linalg.norm(taken.sums - before[-1]))
            new = replace(new, increment=moved, estimated=True)
        log = log.alarmed(*_jumps(kept, new))
        sums, rows = np.vstack([before, taken.sums]), [*kept, new]
        grows = len(kept) == len(log.rows) and log.sums
        if len(rows) >= MOST_ROWS:
            rows, sums, grows = *_thinned(rows, sums), ""
            log = replace(log, stride=2 * log.stride)
        name = log.sums if grows else new_file("sums")
        if grows:
            _append(self.folder / name, sums, len(kept))
        else:
            with replaced(self.folder / name) as file:
                file.write(np.ascontiguousarray(sums, "<f8").data)
        self.sums = sums
        return replace(
            log, rows=tuple(rows), since=0, sums=name, last=target.name, last_step=new.step,
            first=log.first if kept else target.name,
        )  # fmt: skip


def _of(taken: Taken) -> tuple[int, int, float, float, float]:
    squares = (taken.squared_norm, taken.squared_increment, taken.squared_displacement)
    norm, increment, displacement = (math.sqrt(each) for each in squares)
    far = 0.0 if math.isnan(displacement) else displacement
    return taken.checksum, zlib.crc32(taken.sums.data), norm, increment, far


def _thinned(rows: list[Row], sums: Floats) -> tuple[list[Row], Floats]:
    """Every second row, the increments between them taken from the random sums."""
    sums = np.ascontiguousarray(sums[::2])
    lengths = np.linalg.norm(np.diff(sums, axis=0), axis=1).tolist()
    first, *others = rows[::2]
    return [
        first,
        *(
            replace(row, increment=length, estimated=True)
            for row, length in zip(others, lengths, strict=True)
        ),
    ], sums


def _append(path: Path, sums: Floats, row: int) -> None:
    descriptor = open_own(path)
    try:
        line = np.ascontiguousarray(sums[row], "<f8")
        os.pwrite(descriptor, line.data, row * line.nbytes)
    finally:
        os.close(descriptor)


def _time_of(fingerprint: str) -> int:
    """When the files of a checkpoint were last changed, in nanoseconds; 0 where nothing tells."""
    with suppress(ValueError):
        return int(fingerprint.partition("-")[0])
    return 0


def _nonfinite(trajectory: xr.Dataset, step: float, taken: Taken) -> Alarm:
    ends = np.cumsum(trajectory["row_size"].to_numpy())
    place = int(np.searchsorted(ends, taken.first_nonfinite, side="right"))
    name = printable(trajectory["tensor"].to_numpy()[place])
    n = taken.n_nonfinite
    what = "1 weight is NaN or infinite" if n == 1 else f"{n:,} weights are NaN or infinite"
    text = f"{what}, the first in tensor '{name}'. The checkpoint is left out."
    return Alarm("nonfinite", step, text)


def _copy(step: float, other: float) -> Alarm:
    return Alarm("identical", step, f"All weights equal those at step {other:g}. It is left out.")


def _restart(step: float, last: float) -> Alarm:
    text = f"Training went another way from here on: it had come to step {last:g} before."
    return Alarm("restart", step, text)


def _jumps(kept: list[Row], new: Row) -> list[Alarm]:
    """An alarm where the increment is far longer than those before, also for its time."""
    if len(kept) <= _FEWEST:
        return []
    steps = np.array([row.step for row in kept] + [new.step])
    gaps = np.diff(steps)[-_BEFORE - 1 :]
    before = max(row.increment for row in kept[1:][-_BEFORE:])
    pace = min(1.0, float(np.median(gaps[:-1]) / gaps[-1]))  # of a straight motion
    if new.increment * pace <= _LONG * before:
        return []
    times = new.increment / before if before > 0 else math.inf
    text = f"The increment is {times:.3g} times as long as the longest of those before it."
    return [Alarm("jump", new.step, text)]
