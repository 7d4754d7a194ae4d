"""Formats: bytes of one file, or of one store, to named tensors."""

import stat
from contextlib import suppress
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers import npy, npz, safetensors
from trajscope.readers.base import FolderReader, Header, Reader, StoreReader
from trajscope.readers.files import beginning
from trajscope.readers.hdf5 import file as hdf5
from trajscope.readers.hdf5 import store as hdf5_store
from trajscope.readers.torch import archive as torch_archive
from trajscope.readers.torch import distributed as torch_distributed
from trajscope.readers.zarr import group as zarr_group
from trajscope.readers.zarr import store as zarr_store

READERS: tuple[Reader, ...] = (
    safetensors.READER,
    torch_archive.READER,
    npz.READER,
    npy.READER,
    hdf5.READER,
)
FOLDER_READERS: tuple[FolderReader, ...] = (torch_distributed.READER, zarr_group.ORBAX)
STORE_READERS: tuple[StoreReader, ...] = (zarr_store.READER, hdf5_store.READER)

_ENDINGS = tuple(
    (reader, tuple(map(str.lower, reader.suffixes)))
    for reader in (*READERS, *(each.reader for each in FOLDER_READERS), zarr_group.READER)
)

# Endings that other programs use for other things: a stranger's file is then no broken checkpoint.
_SHARED_SUFFIXES = (".bin", ".ckpt", ".tar")

_LONGEST_START = 16

_FOREIGN = (
    (b"\x1f\x8b", "a gzip file"),
    (b"PK", "a zip archive"),
    (b"version https://", "a git-lfs pointer whose file was not fetched"),
)


def read_file(path: Path) -> tuple[Reader, Header] | None:
    """The format and the header of a file; `None` and errors as `reader_for`.

    Raises
    ------
    CheckpointError
        As `reader_for`, or the header cannot be read.
    """
    if path.name.lower().endswith(safetensors.READER.suffixes):
        # Its header is like nothing else, and a run may have 20,000: one opening instead of two.
        with suppress(CheckpointError):
            return safetensors.READER, safetensors.READER.read_header(path)
    reader = reader_for(path)
    return None if reader is None else (reader, reader.read_header(path))


def reader_for(path: Path) -> Reader | None:
    """The format of a file, by its ending and its first bytes; `None` if it is no checkpoint.

    Raises
    ------
    CheckpointError
        The ending promises a checkpoint, but the file is empty, no regular file, cannot be
        opened, or holds something else. Endings that are used for much besides checkpoints
        (``.bin``, ``.ckpt``, ``.tar``) promise nothing: `None` if the content is another.
    """
    name = path.name.lower()
    readers = [reader for reader, endings in _ENDINGS if name.endswith(endings)]
    if not readers:
        return None
    first = _first_bytes(path)
    for reader in readers:
        if reader.recognises(path, first):
            return reader
    if name.endswith(_SHARED_SUFFIXES):
        return None
    raise CheckpointError(
        f"{printable(path)} does not match its extension: {readers[0].name} was expected, "
        f"{_found(path, first)} was found. Rename it, or leave it out with --exclude."
    )


def _first_bytes(path: Path) -> bytes:
    """Up to 16 bytes of a regular file; others are never opened, since that may act or wait."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        regular = True  # opening it fails too, and says why
    if not regular:
        raise CheckpointError(
            f"{printable(path)} is not a regular file, so it is not read. "
            "Leave it out with --exclude."
        )
    return beginning(path, _LONGEST_START)


def _found(path: Path, first: bytes) -> str:
    """What the file holds instead, in words."""
    if len(first) < _LONGEST_START:
        return f"a file of {len(first)} bytes (it may be unfinished)"
    for reader in READERS:
        if reader.recognises(path, first):
            return f"a file in the {reader.name} format"
    for start, name in _FOREIGN:
        if first.startswith(start):
            return name
    return "something unknown"
