"""Zarr groups and arrays that hold the weights at one step, Orbax's among them.

Orbax writes a folder of arrays beside a file ``_METADATA``, or by default one database (OCDBT)
that only the tensorstore library reads.
"""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import (
    FolderReader,
    Header,
    Reader,
    TensorSpec,
    Values,
    widened,
    widened_dtype,
)
from trajscope.readers.boxes import boxes_of
from trajscope.readers.ranges import paired, read_pairs
from trajscope.readers.zarr.arrays import opened
from trajscope.readers.zarr.files import Survey, survey
from trajscope.readers.zarr.metadata import ArrayMetadata, array_metadata, attributes_of
from trajscope.readers.zarr.tree import list_arrays

ANCHORS = ("zarr.json", ".zgroup", ".zarray")
"""Files that stand for a group or array."""

_ORBAX = "_METADATA"
_DATABASE = "manifest.ocdbt"


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file is the metadata of a group or array."""
    return path.name in ANCHORS and first[:1] == b"{"


def read_header(path: Path) -> Header:
    """Arrays below the folder of `path`, and the numbers and texts among its attributes.

    Raises
    ------
    CheckpointError
        The metadata is damaged or unsafe, or a file of the store is none.
    """
    folder = path.parent
    arrays, found = _arrays(folder), survey(folder)
    partial = _partial(arrays, found)
    return Header(_tensors(folder, arrays), attributes_of(folder), found.digest, partial)


def recognises_orbax(path: Path, first: bytes) -> bool:
    """Whether the file is what Orbax writes beside the arrays of a tree."""
    return path.name == _ORBAX and first[:1] == b"{"


def anchor_orbax(names: frozenset[str]) -> str:
    """The name of that file, if a folder of these names is an item of Orbax's."""
    whole = _ORBAX in names and not names.isdisjoint({_DATABASE, "_sharding", "array_metadatas"})
    return _ORBAX if whole else ""


def read_orbax_header(path: Path) -> Header:
    """Arrays that Orbax wrote; the first level of their tree is joined by ``/``, as sections are.

    Raises
    ------
    CheckpointError
        As `read_header`, or they are in a database.
    """
    if (path.parent / _DATABASE).exists():
        raise CheckpointError(
            f"{printable(path.parent)} is an Orbax checkpoint in one OCDBT database, which only "
            "tensorstore reads. Restore it with Orbax and save it again with "
            "PyTreeCheckpointHandler(use_ocdbt=False)."
        )
    arrays, found = _arrays(path.parent), survey(path.parent)
    tensors = {_section(name): spec for name, spec in _tensors(path.parent, arrays).items()}
    partial = {_section(name): chunks for name, chunks in _partial(arrays, found).items()}
    return Header(_shared(tuple(tensors.items())), {}, found.digest, partial)


def read_range(path: Path, spec: TensorSpec, start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor.

    Raises
    ------
    CheckpointError
        A chunk is damaged, or the array has changed.
    """
    folder, name = path.parent, str(spec.locator[0])
    array = opened(folder, name)
    shape, kind = array.shape, spec.original or spec.dtype
    if array.dtype.name != kind or paired(TensorSpec(shape, kind)).shape != spec.shape:
        raise CheckpointError(
            f"{printable(folder)}: {_called(name)} was written again after the "
            f"trajectory was opened: shape {spec.shape} of {spec.dtype} is expected, "
            f"{array.shape} of {array.dtype.name} is there. Open the trajectory again after "
            "training has finished."
        )
    if start >= stop:
        return np.empty(0, widened_dtype(spec.dtype))

    def read(first: int, last: int) -> NDArray[np.generic]:
        pieces = [array.read(*box).ravel() for box in boxes_of(shape, first, last)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    try:
        values = read_pairs(read, start, stop) if spec.original else read(start, stop)
    # Codecs and stores raise whatever they like on damaged chunks.
    except Exception as error:
        raise CheckpointError(
            f"{printable(folder)}: {_called(name)} cannot be read: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error
    return widened(values)


READER = Reader("zarr group", ANCHORS, recognises, read_header, read_range)
ORBAX = FolderReader(
    Reader("Orbax zarr", (_ORBAX,), recognises_orbax, read_orbax_header, read_range),
    anchor_orbax,
)


def _arrays(folder: Path) -> dict[str, ArrayMetadata]:
    """Arrays by their path in the folder, ``""`` if it is one itself."""
    root = array_metadata(folder)
    return list_arrays(folder) if root is None else {"": root}


def _called(name: str) -> str:
    """An array in words; one that is a store itself has no name in it."""
    return f"array '{printable(name)}'" if name else "its array"


def _section(name: str) -> str:
    return name.replace(".", "/", 1)


def _partial(arrays: dict[str, ArrayMetadata], found: Survey) -> dict[str, frozenset[str]]:
    """The chunks that are there of the arrays that should have more."""
    return {
        name: chunks
        for name, chunks in found.chunks(arrays).items()
        if len(chunks) < _n_chunks(arrays[name])
    }


def _n_chunks(array: ArrayMetadata) -> int:
    """Number of chunks of the whole array; 0 where they are no regular grid."""
    if len(array.chunks) != len(array.shape) or not all(array.chunks):
        return 0
    return math.prod(-(-n // chunk) for n, chunk in zip(array.shape, array.chunks, strict=True))


def _tensors(folder: Path, arrays: dict[str, ArrayMetadata]) -> dict[str, TensorSpec]:
    return _shared(tuple((name, _spec(folder, name, each)) for name, each in arrays.items()))


def _spec(folder: Path, name: str, array: ArrayMetadata) -> TensorSpec:
    spec = paired(TensorSpec(array.shape, array.dtype or array.named, None, (name,)))
    if array.problem and widened_dtype(spec.dtype) is not None:
        raise CheckpointError(
            f"{printable(folder)}: {_called(name)} is not read, since {array.problem}. "
            "Write the store again with the usual settings."
        )
    return spec


@lru_cache(maxsize=32)
def _shared(specs: tuple[tuple[str, TensorSpec], ...]) -> dict[str, TensorSpec]:
    """One table for all checkpoints that are laid out alike."""
    return dict(specs)
