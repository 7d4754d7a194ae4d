"""What a watcher keeps of a run: numbers and random sums of each checkpoint, two of them whole."""

import json
import math
import os
import re
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from trajscope.errors import CheckpointError
from trajscope.files import replaced
from trajscope.history.index import UnusableError
from trajscope.history.rows import checksums
from trajscope.kernels.folding import WIDTH
from trajscope.kernels.gram import Floats
from trajscope.readers.files import open_regular

LOG: Final = "log.json"
MOST_ROWS: Final = 1025
"""Checkpoints that are kept; then every second is dropped, neither the first nor the last."""
MOST_ALARMS: Final = 50

_VERSION = 1
_MOST_BYTES = 1 << 24
_FILE = re.compile(r"(?:sums|weights)-[0-9a-f]{32}\.raw")
_SUM_BYTES = 8 * WIDTH


@dataclass(frozen=True)
class Row:
    """One checkpoint that is kept.

    Attributes
    ----------
    checksum, sums_checksum :
        CRC-32 of its weights, and of its random sums.
    norm :
        ``|x|``.
    increment :
        ``|x - x'|``, x' the weights of the row before; NaN of the first.
    displacement :
        ``|x - x_0|``, x_0 those of the first row.
    estimated :
        Whether the increment is taken from the random sums, within some three percent.
    """

    step: float
    fingerprint: str
    checksum: int
    sums_checksum: int
    norm: float
    increment: float
    displacement: float
    estimated: bool = False


@dataclass(frozen=True)
class Alarm:
    """What a watcher raised an alarm about, at which step, and a sentence on it."""

    kind: str
    step: float
    text: str


@dataclass(frozen=True)
class Log:
    """What is known of a run.

    Attributes
    ----------
    columns :
        Digest of the tensors and their dtype.
    stride :
        Every so many checkpoints one is kept.
    since :
        Checkpoints that came after the last row.
    n_read :
        Checkpoints that were read in all.
    passed :
        Fingerprints of checkpoints that were read and not kept.
    restarted, restarted_step :
        Time of the last change, in nanoseconds, and step of the checkpoint with which training
        went another way; older ones of later steps are of the earlier course. Zero and infinity
        where it never did.
    sums, first, last :
        Names of the files of random sums, of the first row's weights, and of the last one's.
    last_step :
        Step of the row whose weights `last` holds; NaN where that is none of the rows any more.
    """

    columns: str
    unit: str
    dtype: str
    n_weights: int
    stride: int = 1
    since: int = 0
    n_read: int = 0
    rows: tuple[Row, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    passed: tuple[str, ...] = ()
    restarted: int = 0
    restarted_step: float = math.inf
    sums: str = ""
    first: str = ""
    last: str = ""
    last_step: float = math.nan

    def alarmed(self, *alarms: Alarm) -> "Log":
        """With more alarms, of which the oldest are dropped."""
        return replace(self, alarms=(*self.alarms, *alarms)[-MOST_ALARMS:])


def new_file(kind: str) -> str:
    """A name for another file: of "sums" or of "weights"."""
    return f"{kind}-{uuid4().hex}.raw"


def read_log(folder: Path) -> tuple[Log, Floats] | None:
    """The log in `folder` and the random sums, (row, sum); `None` where there is none.

    Raises
    ------
    UnusableError
        It is damaged, or of another version.
    """
    if not os.path.lexists(folder / LOG):
        return None
    try:
        log = _parsed(json.loads(_content(folder / LOG, _MOST_BYTES)))
        raw = _content(folder / log.sums, _SUM_BYTES * MOST_ROWS)[: _SUM_BYTES * len(log.rows)]
        sums = np.frombuffer(raw, "<f8").reshape(len(log.rows), WIDTH).astype(np.float64)
        if any(
            zlib.crc32(own.data) != row.sums_checksum
            for own, row in zip(sums, log.rows, strict=True)
        ):
            raise ValueError
        size = log.n_weights * np.dtype(log.dtype).itemsize
        ends = [(log.first, log.rows[0].checksum)]
        if log.last_step == log.rows[-1].step:
            ends.append((log.last, log.rows[-1].checksum))
        for name, checksum in ends:
            if list(checksums(folder / name, np.zeros(1, np.int64), size)) != [checksum]:
                raise ValueError
    except (CheckpointError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnusableError("it cannot be read") from error
    return log, sums


def write_log(folder: Path, log: Log) -> None:
    """Make `log` the one of the folder, all of it or nothing; files that it does not name go."""
    known = {"version": _VERSION, **asdict(log)}
    with replaced(folder / LOG, tidy=True) as unfinished:
        unfinished.write(json.dumps(known).encode())
    for path in folder.iterdir():
        if _FILE.fullmatch(path.name) and path.name not in (log.sums, log.first, log.last):
            with suppress(OSError):
                path.unlink()


def _content(path: Path, most: int) -> bytes:
    with open(open_regular(path), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError
    return content


def _parsed(known: Any) -> Log:
    """The log that the JSON holds; ValueError, TypeError or KeyError if it is none."""
    if not isinstance(known, dict) or known.pop("version") != _VERSION:
        raise ValueError
    log = Log(**known)
    log = replace(
        log,
        rows=tuple(Row(**row) for row in log.rows),  # type: ignore[arg-type]
        alarms=tuple(Alarm(**each) for each in log.alarms),  # type: ignore[arg-type]
        passed=tuple(log.passed),
    )
    _check(log, {str: ("columns", "unit", "dtype"), int: ("n_weights", "stride", "n_read")})
    _check(log, {int: ("since", "restarted"), float: ("last_step", "restarted_step")})
    for row in log.rows:
        _check(row, {str: ("fingerprint",), int: ("checksum", "sums_checksum")})
        _check(row, {float: ("step", "norm", "increment", "displacement"), bool: ("estimated",)})
    for each in log.alarms:
        _check(each, {str: ("kind", "text"), float: ("step",)})
    names = (log.sums, log.first, log.last)
    sound = (
        all(_FILE.fullmatch(name) for name in names)  # never a path
        and 1 <= len(log.rows) <= MOST_ROWS
        and len(log.alarms) <= MOST_ALARMS
        and all(isinstance(each, str) for each in log.passed)
        and log.dtype in ("float32", "float64")
        and log.stride > 0
    )
    if not sound:
        raise ValueError
    return log


def _check(record: Any, kinds: dict[type, tuple[str, ...]]) -> None:
    for kind, names in kinds.items():
        for name in names:
            value = getattr(record, name)
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TypeError
