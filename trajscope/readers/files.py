"""The bytes of a file, here or behind an address: read without waiting, exactly or not at all.

What lies behind an address is listed in a folder here, of hollow files of the same names and sizes.
Whoever looks at names and sizes needs to know no more; whoever reads bytes reads them through this
module, which fetches them.
"""

import filecmp
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.files import read_into
from trajscope.readers.blocks import Blocks

_MIXING = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio."""

_standing: dict[str, tuple[Blocks, Mapping[str, int]]] = {}
"""What the hollow files below a folder stand for, and how many first bytes some of them have."""


def open_regular(path: Path | str) -> int:
    """File descriptor of a regular file, opened for reading; never waits on a pipe or device.

    Raises
    ------
    CheckpointError
        The path is gone, unreadable, or no regular file.
    """
    return open_sized(path)[0]


def open_sized(path: Path | str) -> tuple[int, int]:
    """As `open_regular`, and the bytes that the file has."""
    try:
        # O_NONBLOCK: opening a FIFO without a writer would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be opened: {error.strerror}. "
            "Check the permissions, or leave it out with --exclude."
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise CheckpointError(
            f"{printable(path)} is not a regular file, so it is not read. "
            "Leave it out with --exclude."
        )
    return descriptor, status.st_size


def state_of(status: os.stat_result) -> int:
    """A number that changes whenever a file is written, replaced, or given the times of another.

    Of its inode and its times of change, the one of the inode too, which no program can set.
    """
    # Mixed by odd factors, since it is asked for at every block: a digest takes ten times as long.
    mixed = (status.st_mtime_ns * _MIXING + status.st_ctime_ns) * _MIXING + status.st_ino
    return mixed % 2**64


def read_exactly(descriptor: int, path: Path, first: int, count: int) -> bytearray:
    """`count` bytes of the file from byte `first` on.

    Raises
    ------
    CheckpointError
        The file ends first, or cannot be read.
    """
    buffer = _read(descriptor, path, first, count)
    missing = count - len(buffer)
    if missing:
        raise CheckpointError(
            f"{printable(path)} ends early: {count} bytes are expected at byte {first}, "
            f"{count - missing} are there. It may be unfinished, or was replaced while it "
            "was read; wait, or leave it out with --exclude."
        )
    return buffer


def beginning(path: Path, most: int) -> bytes:
    """The first `most` bytes of a regular file, or all that it has.

    Raises
    ------
    CheckpointError
        It cannot be opened or read.
    """
    descriptor, size = open_sized(path)
    try:
        # The system says of some files that they have none, and they have.
        return bytes(_read(descriptor, path, 0, min(max(size, 2**10), most)))
    finally:
        os.close(descriptor)


def expect(path: Path, spans: list[tuple[int, int]]) -> None:
    """Fetch short spans, each of a first byte and a number of them, that are read next, at once.

    Of a file that is here nothing is done.
    """
    if _standing and (found := _behind(path, sys.maxsize)) is not None:
        found[0].expect(found[1], spans)


def same_content(first: Path, second: Path) -> bool:
    """Whether two files are equal byte by byte; of those behind an address, if that is known."""
    here, there = _behind(first, sys.maxsize), _behind(second, sys.maxsize)
    if here is None or there is None:
        return filecmp.cmp(first, second, shallow=False)
    return here[0] is there[0] and here[0].are_equal(here[1], there[1])


def is_here(path: Path) -> bool:
    """Whether the bytes of a path are on this machine, and not behind an address."""
    return not _standing or _behind(path, sys.maxsize) is None


def stand_for(folder: str, blocks: Blocks, present: Mapping[str, int]) -> None:
    """From now on the files below `folder` are hollow ones, whose bytes `blocks` fetches.

    Of some of them so many first bytes are `present`.
    """
    _standing[folder.rstrip("/") + "/"] = blocks, present


def stand_no_longer(folder: str) -> None:
    """Forget what `stand_for` said."""
    _standing.pop(folder.rstrip("/") + "/", None)


def _read(descriptor: int, path: Path, first: int, count: int) -> bytearray:
    """`count` bytes of the file, or as many as there are."""
    if _standing and (found := _behind(path, first + count)) is not None:
        return bytearray(found[0].read(found[1], first, count))
    buffer = bytearray(count)
    try:
        missing = read_into(descriptor, memoryview(buffer), first)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read: {error.strerror}. Check the disk, or leave the "
            "file out with --exclude."
        ) from error
    if missing:
        del buffer[count - missing :]
    return buffer


def _behind(path: Path | str, last: int) -> tuple[Blocks, str] | None:
    """What the hollow file at `path` stands for, and its name there; `None` of any other.

    And of one that has its first `last` bytes.
    """
    text = os.fspath(path)
    for folder, (blocks, present) in list(_standing.items()):
        if text.startswith(folder):
            name = text[len(folder) :]
            return None if last <= present.get(name, 0) else (blocks, name)
    return None
