"""The bytes of a file on disk: opened without waiting, and read exactly or not at all."""

import os
import stat
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.files import read_into


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


def read_exactly(descriptor: int, path: Path, first: int, count: int) -> bytearray:
    """`count` bytes of the file from byte `first` on.

    Raises
    ------
    CheckpointError
        The file ends first, or cannot be read.
    """
    buffer = bytearray(count)
    try:
        missing = read_into(descriptor, memoryview(buffer), first)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read: {error.strerror}. Check the disk, or leave the "
            "file out with --exclude."
        ) from error
    if missing:
        raise CheckpointError(
            f"{printable(path)} ends early: {count} bytes are expected at byte {first}, "
            f"{count - missing} are there. It may be unfinished, or was replaced while it "
            "was read; wait, or leave it out with --exclude."
        )
    return buffer
