"""What is checked of a stored result before it is opened: it may come from a stranger."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trajscope.errors import ResultsError, printable

_METADATA = ".zmetadata"

# Filters that only rearrange bytes. Others exist that run code found in the file ("pickle").
_SAFE_FILTERS = frozenset({"vlen-utf8", "shuffle", "delta"})
_SAFE_COMPRESSORS = frozenset({"blosc", "zstd", "lz4", "zlib", "gzip"})
# Numbers, truth values and texts of a fixed width.
_DTYPES = re.compile(r"<f[48]|<i[1248]|<u[1248]|\|[iub]1|<U\d{1,9}", re.ASCII)
_MOST_BYTES: Final = 1 << 29
_MOST_GROWTH: Final = 100
"""Bytes in memory over bytes on disk above which a store is not opened, unless it is small."""


def root_attributes(place: Path) -> Mapping[str, object]:
    """The attributes of a store; none where they cannot be read."""
    if not (place / ".zattrs").is_file():  # a pipe would be waited for
        return {}
    try:
        found = json.loads((place / ".zattrs").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check_files(place: Path) -> None:
    """Refuse a store with a pipe or a device in it, which would be waited for."""
    for folder, _, names in os.walk(place):
        for path in (Path(folder, name) for name in names):
            if path.exists() and not path.is_file():
                raise ResultsError(
                    f"{printable(place)} is not opened: {printable(path.relative_to(place))} is "
                    "neither a file nor a folder. Make it again with 'trajscope analyze'."
                )


def check_metadata(place: Path) -> None:
    """Refuse a store that is no result, could run code, or would take gigabytes of memory.

    Raises
    ------
    ResultsError
    """
    if not place.exists():
        raise ResultsError(
            f"{printable(place)} does not exist; a results.zarr folder is expected. "
            "Make one with 'trajscope analyze'."
        )
    try:
        described = json.loads((place / _METADATA).read_bytes())["metadata"]
        arrays = {key: value for key, value in described.items() if key.endswith(".zarray")}
        codecs = [codec for array in arrays.values() for codec in _unsafe_codecs(array)]
        dtypes = [array["dtype"] for array in arrays.values()]
        n_bytes = sum(map(_bytes_in_memory, arrays.values()))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        inside = place / "results.zarr"
        hint = (
            f"Did you mean {printable(inside)}?"
            if inside.is_dir()
            else "Give the results.zarr folder."
        )
        raise ResultsError(
            f"{printable(place)} is not a result of trajscope: it lacks a readable {_METADATA}. "
            f"{hint}"
        ) from error
    if codecs:
        raise ResultsError(
            f"{printable(place)} is not opened: it uses the codec {printable(codecs[0])}, which "
            "trajscope never writes and which could execute code. Make the result again."
        )
    strange = [str(each) for each in dtypes if not _DTYPES.fullmatch(str(each))]
    if strange:
        raise ResultsError(
            f"{printable(place)} is not opened: it has an array of the dtype "
            f"{printable(strange[0], limit=40)}, which trajscope never writes. Make the result "
            "again."
        )
    stored = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    if n_bytes > max(_MOST_BYTES, _MOST_GROWTH * stored):
        raise ResultsError(
            f"{printable(place)} is not opened: its {stored:,} bytes would take {n_bytes:,} in "
            "memory. Make the result again."
        )


def _unsafe_codecs(array: Mapping[str, Any]) -> list[str]:
    filters = [item["id"] for item in array["filters"] or () if item["id"] not in _SAFE_FILTERS]
    compressor = array["compressor"]
    if compressor is not None and compressor["id"] not in _SAFE_COMPRESSORS:
        filters.append(compressor["id"])
    return filters


def _bytes_in_memory(array: Mapping[str, Any]) -> int:
    """What an array takes once it is read, chunks that are missing among it."""
    lengths = array["shape"]
    if not all(type(length) is int and length >= 0 for length in lengths):
        raise ValueError
    width = re.fullmatch(r".([A-Za-z])(\d{1,9})", str(array["dtype"]), re.ASCII)
    each: int = int(width[2]) * (4 if width[1] == "U" else 1) if width is not None else 0
    return int(math.prod(lengths)) * each
