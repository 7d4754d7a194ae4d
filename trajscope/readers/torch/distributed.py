"""Checkpoints of torch.distributed.checkpoint: a folder of shards and a pickled ``.metadata``.

The metadata says for every tensor in which chunks it was saved, and for every chunk in which file
and where; a chunk is what ``torch.save`` writes. Torch's own reader unpickles the metadata, which
runs whatever the file says; here it is read as data, as `unpickler` explains.
"""

import hashlib
import os
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from trajscope.errors import CheckpointError
from trajscope.readers.base import FolderReader, Header, Reader, TensorSpec, Values, widened_dtype
from trajscope.readers.boxes import fill_from_box
from trajscope.readers.files import expect, open_regular
from trajscope.readers.ranges import read_range
from trajscope.readers.torch.archive import archive_header
from trajscope.readers.torch.distributed_plan import (
    METADATA,
    SHARD_SUFFIX,
    Chunk,
    Place,
    Plan,
    read_plan,
    refused,
)
from trajscope.readers.torch.records import DamagedPickleError
from trajscope.readers.torch.storages import TensorError
from trajscope.readers.torch.unpickler import parse_pickle
from trajscope.readers.zip_members import list_members, whole_member

Scalar = str | int | float | bool

_MOST_SCALARS = 64
_LONGEST_SCALAR = 2**14
_ENDS = 2**12
"""Bytes at either end of a chunk's archive that hold all of it but the elements."""


def anchor(names: frozenset[str]) -> str:
    """The metadata's name, if a folder of these names is such a checkpoint."""
    whole = METADATA in names and any(name.endswith(SHARD_SUFFIX) for name in names)
    return METADATA if whole else ""


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file is a pickle of this name."""
    return path.name == METADATA and first[:1] == b"\x80"


def read_header(path: Path) -> Header:
    """Tensors and scalars of the checkpoint whose metadata is `path`. Reads no tensor.

    Levels of nested containers are joined by ``/``; a level that holds everything is left out.

    Raises
    ------
    CheckpointError
        The metadata is damaged, its chunks do not make up a tensor, or a file is not there whole.
    """
    found = read_plan(path)
    scalars: dict[str, Scalar] = {}
    wanted = defaultdict(list)
    for _, (file, first, length) in found.scalars[:_MOST_SCALARS]:
        wanted[file].append((first, min(length, _LONGEST_SCALAR)))
    for file, spans in wanted.items():
        expect(path.parent / file, spans)
    for name, place in found.scalars[:_MOST_SCALARS]:
        value = _scalar(path, place)
        if value is not None:
            scalars[name] = value
    return Header(_table(found.tensors), scalars, _digest(path.parent, found))


def _digest(folder: Path, plan: Plan) -> str:
    """Of the sizes and times of the files that hold what is listed."""
    chunks = (chunk for _, spec in plan.tensors for chunk in spec.locator)
    names = sorted({chunk.file for chunk in chunks if isinstance(chunk, Chunk)})
    try:
        found = [(name, (folder / name).stat()) for name in names]
    except OSError as error:
        raise refused(folder / METADATA, f"a file went away: {error.strerror}") from error
    described = [(name, status.st_size, status.st_mtime_ns) for name, status in found]
    return hashlib.sha256(repr(described).encode("utf-8", "backslashreplace")).hexdigest()


def read_chunks(path: Path, spec: TensorSpec, start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor, from all chunks that hold some of them."""
    dtype = widened_dtype(spec.dtype)
    if dtype is None:
        raise TypeError(f"unsupported dtype {spec.dtype}")
    out = np.empty(max(stop - start, 0), dtype)
    for chunk in spec.locator:
        assert isinstance(chunk, Chunk)  # opaque outside this module

        def read(first: int, last: int, chunk: Chunk = chunk) -> Values:
            own = path.parent / chunk.file
            return read_range(own, _archived(own, chunk, spec.dtype), first, last)

        fill_from_box(out, start, spec.shape, (chunk.offsets, chunk.sizes), read)
    return out


READER = FolderReader(
    Reader("torch distributed checkpoint", (METADATA,), recognises, read_header, read_chunks),
    anchor,
)


@lru_cache(maxsize=32)
def _table(specs: tuple[tuple[str, TensorSpec], ...]) -> dict[str, TensorSpec]:
    """One table for all checkpoints that are laid out alike."""
    return dict(specs)


def _archived(path: Path, chunk: Chunk, dtype: str) -> TensorSpec:
    """The tensor inside the archive of a chunk."""
    status = path.stat()
    spec = _looked_up(path, chunk.first, chunk.length, (status.st_size, status.st_mtime_ns))
    if spec.shape != chunk.sizes or spec.dtype != dtype:
        raise refused(
            path,
            f"at byte {chunk.first} a tensor of {chunk.sizes} {dtype} is expected, but "
            f"{spec.shape} {spec.dtype} was found",
        )
    return spec


@lru_cache(maxsize=2**15)
def _looked_up(path: Path, first: int, length: int, version: tuple[int, int]) -> TensorSpec:
    del version
    descriptor = open_regular(path)
    try:
        expect(path, [(first, _ENDS), (first + length - _ENDS, _ENDS)])
        tensors = archive_header(descriptor, path, length, first).tensors
    except (DamagedPickleError, TensorError) as error:
        raise refused(path, f"the archive at byte {first} is damaged: {error}") from error
    finally:
        os.close(descriptor)
    if len(tensors) != 1:
        raise refused(
            path, (f"the archive at byte {first} holds {len(tensors)} tensors; one was expected")
        )
    return next(iter(tensors.values()))


def _scalar(path: Path, place: Place) -> Scalar | None:
    """A number or text that was saved on its own; `None` if it is anything else."""
    file, first, length = place
    if length > _LONGEST_SCALAR:
        return None
    own = path.parent / file
    descriptor = open_regular(own)
    try:
        members = list_members(descriptor, own, length, first)
        name = next((name for name in members if name.endswith("data.pkl")), None)
        if name is None:
            return None
        value = parse_pickle(whole_member(descriptor, own, members[name], _LONGEST_SCALAR)).value
    except CheckpointError:
        return None
    finally:
        os.close(descriptor)
    return value if isinstance(value, (str, int, float)) else None
