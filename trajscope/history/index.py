"""What a history says of itself: which checkpoints it holds, of which weights, with checksums."""

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import xarray as xr

from trajscope.errors import CheckpointError
from trajscope.files import replaced
from trajscope.readers.files import open_regular
from trajscope.schema import TENSOR, WEIGHT

INDEX = "history.json"

_VERSION = 1
_MOST_BYTES = 1 << 28
_DATA = re.compile(r"weights-[0-9a-f]{32}\.raw")


class UnusableError(Exception):
    """Why a history is made again; never leaves this package."""


@dataclass(frozen=True)
class Row:
    """One checkpoint: its path, its `schema.FINGERPRINT`, the CRC-32 of its weights."""

    path: str
    fingerprint: str
    checksum: int


@dataclass(frozen=True)
class Index:
    """What the file of weights holds.

    Attributes
    ----------
    columns :
        Digest of the tensors, their order and the dtype.
    data :
        Name of the file of weights: one row behind another, little-endian, without a header.
    rows :
        In the order of the file, whose bytes behind the last of them mean nothing.
    """

    columns: str
    data: str
    rows: tuple[Row, ...]


def columns_of(trajectory: xr.Dataset) -> str:
    """Digest of what every row of a trajectory is: its tensors in their order, and the dtype."""
    content = [
        str(trajectory["weights"].dtype),
        trajectory[TENSOR].to_numpy().tolist(),
        trajectory["shape"].to_numpy().tolist(),
    ]
    return hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()


def row_bytes(trajectory: xr.Dataset) -> int:
    """Bytes that one checkpoint takes in the file of weights."""
    return trajectory.sizes[WEIGHT] * trajectory["weights"].dtype.itemsize


def new_data() -> str:
    """A name for another file of weights."""
    return f"weights-{uuid4().hex}.raw"


def read_index(folder: Path) -> Index | None:
    """The index in `folder`, `None` where there is none. What it claims of files is not checked.

    Raises
    ------
    UnusableError
        It is damaged, or of another version.
    """
    if not os.path.lexists(folder / INDEX):
        return None
    try:
        with open(open_regular(folder / INDEX), "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError
        return _parsed(json.loads(content))
    except (CheckpointError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnusableError("the index cannot be read") from error


def write_index(folder: Path, index: Index) -> None:
    """Make `index` the one of the history, all of it or nothing; other files of weights go."""
    with replaced(folder / INDEX, durable=True, tidy=True) as unfinished:
        unfinished.write(json.dumps({"version": _VERSION, **asdict(index)}).encode())
    for path in folder.iterdir():
        if _DATA.fullmatch(path.name) and path.name != index.data:
            with suppress(OSError):
                path.unlink()


def _parsed(known: object) -> Index:
    """The index that the JSON holds; ValueError, TypeError or KeyError if it is none."""
    if not isinstance(known, dict) or known["version"] != _VERSION:
        raise ValueError
    rows = tuple(
        Row(_text(row["path"]), _text(row["fingerprint"]), _number(row["checksum"]))
        for row in known["rows"]
    )
    data = _text(known["data"])
    if not _DATA.fullmatch(data):  # never a path: a forged index must not reach other files
        raise ValueError
    return Index(_text(known["columns"]), data, rows)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value
