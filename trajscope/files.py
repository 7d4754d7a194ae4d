"""Files and folders that are written whole or not at all, and bytes that are read to the last."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from trajscope.errors import printable


@contextmanager
def replaced(target: Path, *, durable: bool = False, alone: bool = False) -> Iterator[Path]:
    """A path to write a file or a folder to, which takes the place of `target` once it is written.

    It lies beside `target`, hence on the same file system, under a hidden name that is never read
    as a checkpoint, and is gone afterwards. Whoever opens `target` finds the old one or the new,
    never half of one; the old one stays, or is put back, if anything fails. Missing folders above
    are made.

    Parameters
    ----------
    durable :
        Whether a file is on disk before it is renamed, so that not even a power cut leaves half
        of it. That takes some 20 ms.
    alone :
        Whether no other process writes the same target: the hidden name is then always the same
        one, so that the next call clears away what a killed one left.

    Raises
    ------
    OSError
        It cannot be written there.
    """
    unfinished = target.with_name(f".tmp-{target.name if alone else uuid4().hex}")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(unfinished)
    try:
        yield unfinished
        if durable:
            _sync(unfinished)
        if unfinished.is_dir():
            _swap(unfinished, target)
        else:
            unfinished.replace(target)
    finally:
        _remove(unfinished)


def obstacle(folder: Path) -> str:
    """What keeps a folder from being made or written to, ``""`` for nothing; it is not made yet."""
    above = folder.absolute()
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        return f"{printable(above)} is not a folder"
    may = os.access(above, os.W_OK | os.X_OK)
    return "" if may else f"{printable(above)} is not writable"


def read_into(descriptor: int, buffer: memoryview, offset: int) -> int:
    """How many bytes are missing once `buffer` holds those of an open file from `offset` on.

    Only those behind the file's end are: one call to the system may return less than was asked for.
    """
    while buffer and (count := os.preadv(descriptor, [buffer], offset)):
        buffer, offset = buffer[count:], offset + count
    return len(buffer)


def _swap(new: Path, target: Path) -> None:
    """The folder `new` in the place of `target`, which is put back if that fails."""
    # Under a name of its own: should even putting it back fail, the old one survives and is found.
    aside = target.with_name(f".{target.name}.old-{uuid4().hex}")
    with suppress(FileNotFoundError):
        target.replace(aside)
    try:
        new.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            aside.replace(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file or folder, where there is one and that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
