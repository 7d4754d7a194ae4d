"""What the ``.metadata`` of torch.distributed.checkpoint says: which chunk of what lies where."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import UNREADABLE, TensorSpec
from trajscope.readers.boxes import check_boxes
from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.ranges import PARTS, paired
from trajscope.readers.torch.records import DamagedPickleError, Dictionary, Global, Record
from trajscope.readers.torch.storages import ITEM_SIZES
from trajscope.readers.torch.unpickler import MAX_PICKLE, parse_pickle

METADATA = ".metadata"
SHARD_SUFFIX = ".distcp"

_MODULE = "torch.distributed.checkpoint.metadata"
_MAX_TENSORS = 200_000
_MOST_CHUNKS = 4096
_MOST_AXES = 64
_SCALAR_LEVELS = 2

Place = tuple[str, int, int]
"""File, first byte and length."""


class Chunk(NamedTuple):
    """A box of a tensor and the archive that holds it: `length` bytes at `first` of `file`."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    first: int
    length: int


class Plan(NamedTuple):
    """Tensors and lone scalars of a checkpoint by name, and where they lie."""

    tensors: tuple[tuple[str, TensorSpec], ...]
    scalars: tuple[tuple[str, Place], ...]


def read_plan(path: Path) -> Plan:
    """What the metadata at `path` lists, compared with the files beside it.

    Raises
    ------
    CheckpointError
        The metadata is damaged, its chunks do not make up a tensor, or a file is not there whole.
    """
    content = _content(path)
    paths, places = _paths(content), _places(path, content)
    tensors: list[tuple[str, TensorSpec]] = []
    scalars: list[tuple[str, Place]] = []
    for fqn, described in _pairs(content, "state_dict_metadata"):
        if not isinstance(fqn, str) or not isinstance(described, Record):
            continue
        levels = paths.get(fqn, (fqn,))
        if described.origin == Global(_MODULE, "TensorStorageMetadata"):
            tensors.append(("/".join(levels), _tensor(path, fqn, _state(described), places)))
        elif len(levels) <= _SCALAR_LEVELS and (fqn, ()) in places:
            scalars.append(("/".join(levels), places[fqn, ()]))
    if len(tensors) > _MAX_TENSORS or len({name for name, _ in tensors}) < len(tensors):
        raise refused(path, "it has too many tensors, or two with the same name")
    return Plan(tuple(tensors), tuple(scalars))


def refused(path: Path, what: str) -> CheckpointError:
    """The error that says what is wrong with a checkpoint."""
    return CheckpointError(
        f"{printable(path)} cannot be read as a distributed checkpoint: {what}. Write the "
        "checkpoint again, or leave it out with --exclude."
    )


def _content(path: Path) -> dict[str, object]:
    """The fields of the metadata."""
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_PICKLE:
            raise refused(path, f"its metadata has {size} bytes, more than {MAX_PICKLE}")
        raw = bytes(read_exactly(descriptor, path, 0, size))
    finally:
        os.close(descriptor)
    try:
        value = parse_pickle(raw).value
    except DamagedPickleError as error:
        raise refused(path, str(error)) from error
    if not isinstance(value, Record) or value.origin != Global(_MODULE, "Metadata"):
        raise refused(path, "its metadata is not that of a distributed checkpoint")
    return _state(value)


def _state(record: object) -> dict[str, object]:
    """The attributes of a record, by name."""
    state = record.state if isinstance(record, Record) else None
    pairs = state.pairs if isinstance(state, Dictionary) else []
    return {key: value for key, value in pairs if isinstance(key, str)}


def _pairs(content: Mapping[str, object], name: str) -> list[tuple[object, object]]:
    value = content.get(name)
    return value.pairs if isinstance(value, Dictionary) else []


def _paths(content: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """For each flat name the names of the containers around it, those that all share left out."""
    paths = {
        fqn: tuple(str(level) for level in levels)
        for fqn, levels in _pairs(content, "planner_data")
        if isinstance(fqn, str) and isinstance(levels, (tuple, list)) and levels
        if all(isinstance(level, (str, int)) for level in levels)
    }
    deepest = [levels for levels in paths.values() if len(levels) > 1]
    # {"app": {"model": ..., "optim": ...}}: the sections are one level down.
    shared = {levels[0] for levels in paths.values()}
    if len(shared) == 1 and deepest and all(len(levels) > 2 for levels in deepest):
        return {fqn: levels[1:] or levels for fqn, levels in paths.items()}
    return paths


def _places(path: Path, content: Mapping[str, object]) -> dict[tuple[str, tuple[int, ...]], Place]:
    """File, first byte and length for each tensor's name and offsets; ``()`` where it has none."""
    places: dict[tuple[str, tuple[int, ...]], Place] = {}
    sizes: dict[str, int] = {}
    for index, info in _pairs(content, "storage_data"):
        key, where = _state(index), _state(info)
        fqn, file = key.get("fqn"), where.get("relative_path")
        first, length = where.get("offset"), where.get("length")
        if not isinstance(fqn, str) or not isinstance(file, str):
            raise refused(path, "its list of chunks is invalid")
        if type(first) is not int or type(length) is not int or first < 0 or length < 0:
            raise refused(path, f"a chunk of '{printable(fqn)}' lacks a position")
        if where.get("transform_descriptors"):
            raise refused(
                path, (f"'{printable(fqn)}' is stored in a transformed form (by an extension)")
            )
        if first + length > _size(path, file, sizes):
            raise refused(
                path, f"'{printable(fqn)}' should end at byte {first + length} of "
                f"'{printable(file)}', which has {sizes[file]}"
            )  # fmt: skip
        places[fqn, _lengths(key.get("offset")) or ()] = file, first, length
    return places


def _size(path: Path, file: str, sizes: dict[str, int]) -> int:
    """Bytes of a file beside the metadata, which must be named plainly and lie in its folder."""
    if file not in sizes:
        own = path.parent / file
        if "/" in file or "\0" in file or file in {"", ".", ".."}:
            raise refused(
                path, (f"it names the file '{printable(file)}', which is not in its folder")
            )
        # In a cache of the Hub the metadata is a link too, and all files lie beside its target.
        folders = (path.parent.resolve(), path.resolve().parent)
        if not any(own.resolve().is_relative_to(folder) for folder in folders):
            raise refused(path, f"'{printable(file)}' is a link to a place outside its folder")
        descriptor = open_regular(own)
        sizes[file] = os.fstat(descriptor).st_size
        os.close(descriptor)
    return sizes[file]


def _lengths(value: object) -> tuple[int, ...] | None:
    """A ``torch.Size``."""
    arguments = value.arguments if isinstance(value, Record) else ()
    values = arguments[0] if isinstance(arguments, tuple) and arguments else value
    if not isinstance(values, (tuple, list)) or len(values) > _MOST_AXES:
        return () if isinstance(value, Record) and value.origin == Global("torch", "Size") else None
    if not all(type(length) is int and 0 <= length < 2**48 for length in values):
        return None
    return tuple(values)


def _tensor(
    path: Path,
    fqn: str,
    described: Mapping[str, object],
    places: Mapping[tuple[str, tuple[int, ...]], Place],
) -> TensorSpec:
    """One tensor, its chunks checked to make it up."""
    where = f"tensor '{printable(fqn)}'"
    shape, dtype = _lengths(described.get("size")), _dtype(described.get("properties"))
    listed = described.get("chunks")
    if shape is None or not isinstance(listed, list) or len(listed) > _MOST_CHUNKS:
        raise refused(path, f"{where} lacks a size, or has more than {_MOST_CHUNKS} chunks")
    if dtype == UNREADABLE:
        return TensorSpec(shape, dtype)
    chunks = []
    for each in map(_state, listed):
        offsets, sizes = _lengths(each.get("offsets")), _lengths(each.get("sizes"))
        if offsets is None or sizes is None:
            raise refused(path, f"{where} has a chunk that lacks a position")
        place = places.get((fqn, offsets))
        if place is None or place[2] < math.prod(sizes) * ITEM_SIZES[dtype]:
            raise refused(path, f"{where} has a chunk at {offsets} that is not in any file")
        chunks.append(Chunk(offsets, sizes, *place))
    try:
        check_boxes(shape, [(chunk.offsets, chunk.sizes) for chunk in chunks])
    except CheckpointError as error:
        raise refused(path, f"{where}: {error}") from error
    if dtype in PARTS:  # an archive lists its complex numbers in pairs as well
        chunks = [
            each._replace(offsets=(*each.offsets, 0), sizes=(*each.sizes, 2)) for each in chunks
        ]
    return paired(TensorSpec(shape, dtype, None, tuple(chunks)))


def _dtype(properties: object) -> str:
    state = properties.state if isinstance(properties, Record) else None
    dtype = state[0] if isinstance(state, tuple) and state else _state(properties).get("dtype")
    known = isinstance(dtype, Global) and dtype.module == "torch" and dtype.name in ITEM_SIZES
    return dtype.name if known and isinstance(dtype, Global) else UNREADABLE
