"""Whether a stored result is whole: a list of its files with sizes and checksums, written last."""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from trajscope.errors import ResultsError, printable

MANIFEST: Final = "manifest.json"
_MOST_BYTES: Final = 1 << 26
_PIECE: Final = 1 << 20
# What the zarr library would read if it lay there: chunks and metadata.
_READ = re.compile(r"\d+(\.\d+)*|\.z\w+", re.ASCII)


def write_manifest(store: Path) -> str:
    """Write the list of all files of a store into it, and return what `mark_of` will."""
    files = {name: _described(store / name) for name in _names(store) if name != MANIFEST}
    content = json.dumps({"files": files}, indent=0, sort_keys=True).encode()
    (store / MANIFEST).write_bytes(content)
    return _mark(content)


def check_complete(store: Path) -> str:
    """Refuse a store of which files are missing, cut or changed; returns its `mark_of`.

    Raises
    ------
    ResultsError
        The message names the first of them; or the list itself is missing.
    """
    content, listed = _read(store)
    there = set(_names(store))
    wrong = {
        name: what
        for name, expected in listed.items()
        if (what := "it is missing" if name not in there else _differs(store / name, expected))
    }
    for name in sorted(there - listed.keys()):
        if _READ.fullmatch(PurePosixPath(name).name):
            wrong[name] = "it does not belong to it"
    if wrong:
        first = next(iter(wrong))
        raise ResultsError(
            f"{printable(store)} is damaged or was copied only in part: {len(wrong)} of its "
            f"{len(listed)} files {'is' if len(wrong) == 1 else 'are'} not as written, the first "
            f"{printable(first)}: {wrong[first]}. Copy it again, or make it again with 'trajscope "
            "analyze'."
        )
    return _mark(content)


def mark_of(store: Path) -> str:
    """Digest that tells one result from another; its summary and its page have it too.

    Raises
    ------
    ResultsError
        The list is missing.
    """
    return _mark(_read(store)[0])


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _names(store: Path) -> Iterator[str]:
    for folder, _, names in os.walk(store):
        for name in names:
            yield Path(folder, name).relative_to(store).as_posix()


def _read(store: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    try:
        with (store / MANIFEST).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        files = json.loads(content)["files"]
        return content, {_name(name): _numbers(*each) for name, each in files.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{printable(store)} lacks a readable {MANIFEST}, which is written last: it was copied "
            "only in part, or made by an earlier version. Copy it again, or make it again with "
            "'trajscope analyze'."
        ) from error


def _name(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError
    return name


def _numbers(size: object, checksum: object) -> tuple[int, int]:
    if type(size) is not int or type(checksum) is not int:
        raise TypeError
    return size, checksum


def _described(path: Path) -> tuple[int, int]:
    """Size and CRC-32 of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return size, checksum


def _differs(path: Path, expected: tuple[int, int]) -> str:
    """What is wrong with a file, ``""`` for nothing."""
    try:
        size = path.stat().st_size
        if size != expected[0]:
            return f"it has {size} bytes, {expected[0]} are expected"
        return "" if _described(path) == expected else "its content is another"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
