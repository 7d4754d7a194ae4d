"""What an HDF5 file holds, taken from it without following a link out of it or loading a plug-in.

The HDF5 library parses the file; it is asked for objects reached by hard links alone, and for data
only where it lies in the file itself, whole, and is decoded by filters that the library brings.
"""

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import open_regular, stored_dtype
from trajscope.readers.ranges import read_exactly
from trajscope.readers.zip_members import data_start, list_members

if TYPE_CHECKING:
    import h5py

Scalar = str | int | float | bool

SIGNATURE = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"

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
            f"{printable(path)} is an HDF5 file, and the package h5py that reads them is not "
            "installed. Install it: pip install 'trajscope[hdf5]'."
        ) from error
    return h5py


def open_file(path: Path) -> "h5py.File":
    """The HDF5 file at `path`, or the one that a Keras archive there holds.

    Raises
    ------
    CheckpointError
        It is no whole HDF5 file, or h5py is missing.
    """
    status = path.stat()
    return _open(path, status.st_size, status.st_mtime_ns)


def list_arrays(path: Path) -> dict[str, Array]:
    """Every dataset by its path in the file.

    Raises
    ------
    CheckpointError
        The file is damaged, or holds more than any model.
    """
    file = open_file(path)
    base = start_of(path)
    try:
        return {name: _array(each, base) for name, each in _datasets(path, file)}
    except CheckpointError:
        raise
    except Exception as error:  # the library raises whatever it likes on damaged files
        raise damaged(path, error) from error


def attributes_of(path: Path) -> dict[str, Scalar]:
    """The numbers and short texts among the attributes of the file."""
    found: dict[str, Scalar] = {}
    try:
        attributes = open_file(path).attrs
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


def start_of(path: Path) -> int:
    """Byte at which the HDF5 file begins: 0, or where it lies in a Keras archive."""
    status = path.stat()
    return _extent(path, status.st_size, status.st_mtime_ns)[0]


def damaged(path: Path, error: BaseException) -> CheckpointError:
    """The error for a file that the library cannot make sense of."""
    return CheckpointError(
        f"{printable(path)} cannot be read as an HDF5 file: {printable(error)}. It may still be "
        "being written; wait, or leave it out with --exclude."
    )


@lru_cache(maxsize=64)
def _open(path: Path, size: int, mtime_ns: int) -> "h5py.File":
    h5py = library(path)
    first, length = _extent(path, size, mtime_ns)
    try:
        return h5py.File(_Window(path, first, length), "r")
    except Exception as error:
        raise damaged(path, error) from error


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
        self.descriptor = open_regular(path)
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
        done = os.preadv(self.descriptor, [view[:count]], self.first + self.position)
        self.position += done
        return done

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self.descriptor)
        super().close()


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
        return Array(shape, "", None, big_endian=False, problem="its values are no plain numbers")
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
        return "its values lie in another file"
    if layout == h5d.CONTIGUOUS:
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        return _UNWRITTEN if dataset.id.get_storage_size() != size else ""
    if layout == h5d.CHUNKED:
        return _problem_of_chunks(dataset, properties)
    return "" if layout == h5d.COMPACT else "its values are put together from other datasets"


def _problem_of_chunks(dataset: "h5py.Dataset", properties: Any) -> str:  # an h5py plist
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    if not filters <= _SAFE_FILTERS:
        return f"it uses the filter {min(filters - _SAFE_FILTERS)}, which the HDF5 library lacks"
    if math.prod(dataset.chunks) * dataset.dtype.itemsize > _MAX_CHUNK:
        return f"one of its chunks takes more than {_MAX_CHUNK} bytes"
    grid = (-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    return _UNWRITTEN if dataset.id.get_num_chunks() != math.prod(grid) else ""
