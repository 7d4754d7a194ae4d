"""Files and folders that are written whole or not at all, and bytes that are read to the last."""

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from trajscope.errors import printable

_LONGEST = 150
"""Bytes of a target's name that are repeated in a hidden one: a file system has room for 255."""


@contextmanager
def replaced(target: Path, *, durable: bool = False, tidy: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `target` once it is written.

    It lies beside `target`, hence on the same file system, under a hidden random name that is never
    read as a checkpoint, and is gone afterwards. It is made new: what already has its name, a link
    or a pipe, is never opened. Whoever opens `target` finds the old one or the new, never half of
    one; the old one stays if anything fails. Missing folders above are made.

    Parameters
    ----------
    durable :
        Whether the file is on disk before it is renamed, and its name afterwards, so that not even
        a power cut leaves half of it. That takes some 20 ms.
    tidy :
        Whether to clear away first what killed processes left of the same target, which takes a
        look at the whole folder.

    Raises
    ------
    OSError
        It cannot be written there.
    """
    with _new(target, _new_file, tidy=tidy) as (unfinished, descriptor):
        with open(os.dup(descriptor), "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
        # Closed before: some file systems say only then that the disk is full.
        unfinished.replace(target)
    if durable:
        _sync_folder(target.parent)


@contextmanager
def replaced_folder(target: Path, *, tidy: bool = False) -> Iterator[Path]:
    """A new empty folder, which takes the place of `target` once it is filled; as `replaced`.

    An old folder is set aside for a moment, and put back if the new one cannot be renamed; if the
    process is killed in between, by the next `clear_left`.

    Raises
    ------
    OSError
        It cannot be written there.
    """
    with _new(target, _new_folder, tidy=tidy) as (unfinished, _):
        yield unfinished
        _swap(unfinished, target)


def clear_left(target: Path) -> None:
    """Clear away what killed processes left of `target`, and put back what they had set aside.

    Those that still run hold a lock on what they write. Numbers of processes say nothing: they
    repeat in containers.
    """
    unfinished = re.compile(rf"\.tmp-{re.escape(_repeated(target))}-[0-9a-f]{{32}}")
    aside = re.compile(rf"\.{re.escape(_repeated(target))}\.old-[0-9a-f]{{32}}")
    try:
        names = [path.name for path in target.parent.iterdir()]
    except OSError:
        return
    for name in names:
        if not (unfinished.fullmatch(name) or aside.fullmatch(name)):
            continue
        path = target.with_name(name)
        with suppress(OSError), _unlocked(path):
            if aside.fullmatch(name) and not os.path.lexists(target):
                path.rename(target)
            else:
                _remove(path)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """A folder that no other process holds at the same time; it is made where it is missing.

    Nothing is written into it, and it is removed again if nothing came into it. Whoever holds it
    may hold it once more. A file system that has no such locks is taken as it is.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        It cannot be made or opened.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, _FOLDER)
    status = os.fstat(descriptor)
    identity = status.st_dev, status.st_ino
    try:
        if identity in _held:  # by a caller of ours
            yield
            return
        _lock(descriptor)
        _held.add(identity)
        try:
            yield
        finally:
            _held.remove(identity)
    finally:
        os.close(descriptor)
        for each in made:  # where nothing came of it
            with suppress(OSError):
                each.rmdir()


def open_own(path: Path | str, flags: int = 0) -> int:
    """File descriptor of a file that is written in place; what it is made with are more `flags`.

    Raises
    ------
    OSError
        It is a link, or no regular file; a pipe is not waited for.
    """
    safe = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, safe | flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is not a regular file")
    return descriptor


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


_held: set[tuple[int, int]] = set()
"""Folders that this process holds."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def _new(target: Path, make: Callable[[Path], int], *, tidy: bool) -> Iterator[tuple[Path, int]]:
    """A new file or folder for `target`, and its descriptor, which holds a lock on it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if tidy:
        clear_left(target)
    while True:
        unfinished = target.with_name(f".tmp-{_repeated(target)}-{uuid4().hex}")
        descriptor = make(unfinished)
        _lock(descriptor, wait=True)
        if os.path.lexists(unfinished):
            break
        os.close(descriptor)  # somebody cleared it away before it was locked
    try:
        yield unfinished, descriptor
    finally:
        _remove(unfinished)
        os.close(descriptor)


def _new_file(path: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def _new_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, _FOLDER | os.O_NOFOLLOW)


def _repeated(target: Path) -> str:
    return os.fsdecode(os.fsencode(target.name)[:_LONGEST])


@contextmanager
def _unlocked(path: Path) -> Iterator[None]:
    """A file or folder that nobody writes any more.

    Raises
    ------
    OSError
        Somebody does, or it is neither, or the file system has no locks to tell.
    """
    # O_NONBLOCK: a pipe would be waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if not (path.is_dir() or path.is_file()):
            raise OSError(0, "neither a file nor a folder")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> None:
    """Lock, or raise BlockingIOError; nothing where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        pass


def _swap(new: Path, target: Path) -> None:
    """The folder `new` in the place of `target`, which is put back if that fails."""
    if not os.path.lexists(target):
        new.replace(target)
        return
    # Under a name of its own: should even putting it back fail, the old one survives and is found.
    aside = target.with_name(f".{_repeated(target)}.old-{uuid4().hex}")
    descriptor = os.open(target, _FOLDER)
    try:
        _lock(descriptor, wait=True)
        target.replace(aside)
        try:
            new.replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                aside.replace(target)
            raise
        _remove(aside)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, _FOLDER)
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
