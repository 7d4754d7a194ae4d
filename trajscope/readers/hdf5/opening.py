"""An HDF5 file, opened as the bytes that it has and no others: by itself, or in a Keras archive."""

import atexit
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from trajscope.errors import CheckpointError, printable
from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.zip_members import data_start, list_members

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"

# Files that HDF5 has open. One that still is when Python has ended is a segmentation fault, since
# HDF5 closes it then, through Python.
_left_open: "WeakValueDictionary[int, h5py.File]" = WeakValueDictionary()
_numbers = count()
# Held while a file is in use. h5py lets one thread at a time into HDF5 anyway.
_in_use = RLock()


def library(path: Path) -> Any:  # the module h5py, which may have no types
    """The package h5py.

    Raises
    ------
    CheckpointError
        It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise CheckpointError(
            f"{printable(path)} is an HDF5 file, but the package h5py is not installed. Install "
            "it: pip install 'trajscope[hdf5]'."
        ) from error
    return h5py


@contextmanager
def opened(path: Path) -> Iterator["h5py.File"]:
    """The HDF5 file at `path`, or the one that a Keras archive there holds, for use inside.

    It stays open afterwards, to be used again.

    Raises
    ------
    CheckpointError
        It is no whole HDF5 file, or h5py is missing.
    """
    size, mtime_ns = _state(path)
    with _in_use:
        yield _open(path, size, mtime_ns)


def start_of(path: Path) -> int:
    """Byte at which the HDF5 file begins: 0, or where it lies in a Keras archive."""
    return _extent(path, *_state(path))[0]


def damaged(path: Path, error: BaseException) -> CheckpointError:
    """The error for a file that the library cannot make sense of."""
    return CheckpointError(
        f"{printable(path)} cannot be read as an HDF5 file: {printable(error)}. It may be "
        "unfinished; wait, or leave it out with --exclude."
    )


def status_of(path: Path) -> os.stat_result:
    """What the system says of a file.

    Raises
    ------
    CheckpointError
        It is gone, or unreachable.
    """
    try:
        return path.stat()
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be opened: {error.strerror}. "
            "Check the permissions, or leave it out with --exclude."
        ) from error


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the last change."""
    status = status_of(path)
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _open(path: Path, size: int, mtime_ns: int) -> "h5py.File":
    h5py = library(path)
    _end_before_h5py()
    first, length = _extent(path, size, mtime_ns)
    try:
        file = h5py.File(_Window(path, first, length), "r")
    except Exception as error:
        raise damaged(path, error) from error
    _left_open[next(_numbers)] = file
    return file


def _forget_threads() -> None:
    """No thread but the one that forked lives on in the child, and none of them holds the lock."""
    global _in_use  # noqa: PLW0603
    _in_use = RLock()


os.register_at_fork(after_in_child=_forget_threads)


@cache
def _end_before_h5py() -> None:
    """Have the files closed at exit before h5py leaves the library, without its own lock.

    What is registered last is called first, and h5py registers itself when it is imported.
    """
    atexit.register(_close_all)


def _close_all() -> None:
    """Close every file, and let no thread that is still running open another."""
    _in_use.acquire()
    for file in list(_left_open.values()):
        with suppress(Exception):  # the others are to be closed all the same
            file.close()


@lru_cache(maxsize=1024)
def _extent(path: Path, size: int, mtime_ns: int) -> tuple[int, int]:
    """First byte and length of the HDF5 file in a file of `size` bytes."""
    del mtime_ns
    descriptor = open_regular(path)
    try:
        if size < 8 or read_exactly(descriptor, path, 0, 2) != b"PK":
            return 0, size
        member = list_members(descriptor, path, size).get(KERAS_MEMBER)
        if member is None or member.deflated:
            raise CheckpointError(
                f"{printable(path)} is a zip archive without the plainly stored '{KERAS_MEMBER}' "
                "that Keras writes. Save it again with Keras, or leave it out with --exclude."
            )
        return data_start(descriptor, path, member), member.size
    finally:
        os.close(descriptor)


class _Window(io.RawIOBase):
    """Bytes of a regular file as a file of their own."""

    def __init__(self, path: Path, first: int, length: int) -> None:
        self.path, self.descriptor = path, open_regular(path)
        self.first, self.length, self.position = first, length, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be moved in."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.length}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        """The byte that is read next."""
        return self.position

    def readinto(self, buffer: Any) -> int:  # whatever holds bytes
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        count = max(min(len(view), self.length - self.position), 0)
        view[:count] = read_exactly(self.descriptor, self.path, self.first + self.position, count)
        self.position += count
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self.descriptor)
        super().close()
