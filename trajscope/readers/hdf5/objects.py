"""What an HDF5 file holds, taken from it without following a link out of it or loading a plug-in.

The HDF5 library is asked for objects reached by hard links alone, and for data only where it lies
in the file itself, whole, and is decoded by filters that the library brings.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import stored_dtype
from trajscope.readers.boxes import boxes_of
from trajscope.readers.hdf5.opening import damaged, library, opened, start_of
from trajscope.readers.ranges import read_pairs

if TYPE_CHECKING:
    import h5py

Scalar = str | int | float | bool

_MAX_DEPTH = 32
_MAX_OBJECTS = 200_000
_MAX_CHUNK = 2**31
_MAX_ATTRIBUTE = 1000
_UNWRITTEN = "not all of it is written"
# deflate, shuffle, fletcher32, szip, nbit, scale-offset of the library, and h5py's own LZF.
_SAFE_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})


@dataclass(frozen=True)
class Array:
    """One dataset.

    Attributes
    ----------
    dtype :
        Its NumPy name, ``""`` where the elements are not plain numbers.
    offset :
        First byte in the file where the elements lie plainly, else `None`.
    big_endian :
        Whether they are stored most significant byte first.
    problem :
        Why it must not be read, ``""`` where it may.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int | None
    big_endian: bool
    problem: str


def list_arrays(path: Path) -> dict[str, Array]:
    """Every dataset by its path in the file.

    Raises
    ------
    CheckpointError
        The file is damaged, or holds more than any model.
    """
    base = start_of(path)
    try:
        with opened(path) as file:
            return {name: _array(each, base) for name, each in _datasets(path, file)}
    except CheckpointError:
        raise
    except Exception as error:  # the library raises whatever it likes on damaged files
        raise damaged(path, error) from error


def read_flat(
    dataset: "h5py.Dataset", start: int, stop: int, at: tuple[int, ...] = ()
) -> NDArray[np.generic]:
    """Elements ``start:stop`` of what is flattened behind the first indices, as (element,).

    Complex numbers are two elements each.
    """
    shape = dataset.shape[len(at) :]

    def read(first: int, last: int) -> NDArray[np.generic]:
        boxes = boxes_of(shape, first, last)
        return np.concatenate([np.asarray(dataset[(*at, *box)]).ravel() for box in boxes])

    return read_pairs(read, start, stop) if dataset.dtype.kind == "c" else read(start, stop)


def attributes_of(path: Path) -> dict[str, Scalar]:
    """The numbers and short texts among the attributes of the file."""
    found: dict[str, Scalar] = {}
    try:
        with opened(path) as file:
            attributes = file.attrs
            for name in list(attributes)[:_MAX_ATTRIBUTE]:
                own = attributes.get_id(name)
                if own.shape == () and own.get_storage_size() <= _MAX_ATTRIBUTE:
                    value = attributes[name]
                    value = value.item() if hasattr(value, "item") else value
                    if isinstance(value, (str, int, float)) and len(str(value)) <= _MAX_ATTRIBUTE:
                        found[name] = value
    except CheckpointError:
        raise
    except Exception as error:
        raise damaged(path, error) from error
    return found


def _datasets(path: Path, file: "h5py.File") -> Iterator[tuple[str, "h5py.Dataset"]]:
    """Datasets that hard links lead to, each group once."""
    h5py = library(path)
    root = file["/"]
    waiting, seen, count = [(root, "", 0)], {h5py.h5o.get_info(root.id).addr}, 0
    while waiting:
        group, prefix, depth = waiting.pop(0)
        for name in group:
            count += 1
            if count > _MAX_OBJECTS or depth > _MAX_DEPTH:
                raise CheckpointError(
                    f"{printable(path)} holds more than {_MAX_OBJECTS} objects, or is nested more "
                    f"than {_MAX_DEPTH} groups deep. Leave it out with --exclude."
                )
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if isinstance(found, h5py.Dataset):
                yield f"{prefix}{name}", found
            elif isinstance(found, h5py.Group) and address not in seen:
                seen.add(address)
                waiting.append((found, f"{prefix}{name}/", depth + 1))


def _array(dataset: "h5py.Dataset", base: int) -> Array:
    from h5py import h5d

    shape = dataset.shape if dataset.shape is not None else (0,)  # an empty dataset has none
    dtype = dataset.dtype
    plain = (
        dataset.shape is not None
        and dtype.kind in "biufc"
        and dtype.subdtype is None
        and stored_dtype(dtype.name)
    )
    if not plain:
        return Array(shape, "", None, big_endian=False, problem="its values are not plain numbers")
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    problem = _problem(dataset, properties, layout)
    offset = None
    if layout == h5d.CONTIGUOUS and not problem and math.prod(shape):
        offset = dataset.id.get_offset() + base
    return Array(shape, dtype.name, offset, big_endian=dtype.byteorder == ">", problem=problem)


def _problem(dataset: "h5py.Dataset", properties: Any, layout: int) -> str:  # an h5py plist
    """Why the elements of a dataset are not read, or ``""``."""
    from h5py import h5d

    if properties.get_external_count():
        return "its values are stored in another file"
    if layout == h5d.CONTIGUOUS:
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        return _UNWRITTEN if dataset.id.get_storage_size() != size else ""
    if layout == h5d.CHUNKED:
        return _problem_of_chunks(dataset, properties)
    return "" if layout == h5d.COMPACT else "its values are composed of other datasets"


def _problem_of_chunks(dataset: "h5py.Dataset", properties: Any) -> str:  # an h5py plist
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    if not filters <= _SAFE_FILTERS:
        return f"it uses the filter {min(filters - _SAFE_FILTERS)}, which the HDF5 library lacks"
    if math.prod(dataset.chunks) * dataset.dtype.itemsize > _MAX_CHUNK:
        return f"one of its chunks takes more than {_MAX_CHUNK} bytes"
    grid = (-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    return _UNWRITTEN if dataset.id.get_num_chunks() != math.prod(grid) else ""
