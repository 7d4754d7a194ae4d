"""NumPy archives (.npz): a zip of .npy files, one for each array."""

import os
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header, Reader, TensorSpec
from trajscope.readers.files import expect, open_regular, read_exactly
from trajscope.readers.inflation import inflated
from trajscope.readers.npy import ArrayError, Scalar, read_array
from trajscope.readers.ranges import read_range
from trajscope.readers.zip_members import Member, data_start, list_members

_MAX_METADATA = 1000


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file is a zip archive whose name ends like a NumPy archive's."""
    return first.startswith((b"PK\x03\x04", b"PK\x05\x06")) and path.name.lower().endswith(".npz")


def read_header(path: Path) -> Header:
    """Arrays of the archive, and the values of those that hold a single number or string.

    Raises
    ------
    CheckpointError
        It is no complete zip archive, or an array's header contradicts the archive.
    """
    descriptor = open_regular(path)
    try:
        members = list_members(descriptor, path, os.fstat(descriptor).st_size)
        expect(path, [(member.header, 2**9) for member in members.values()])
        tensors: dict[str, TensorSpec] = {}
        metadata: dict[str, Scalar] = {}
        for member_name, member in members.items():
            if not member_name.endswith(".npy"):
                continue
            name = member_name.removesuffix(".npy")
            spec, value = _array(descriptor, path, member, name)
            tensors[name] = spec
            if value is not None and len(metadata) < _MAX_METADATA:
                metadata[name] = value
    finally:
        os.close(descriptor)
    return Header(tensors, metadata)


READER = Reader("NumPy archive", (".npz",), recognises, read_header, read_range)


def _array(
    descriptor: int, path: Path, member: Member, name: str
) -> tuple[TensorSpec, Scalar | None]:
    """One array, and its value where it is a single one."""
    start = data_start(descriptor, path, member)
    packed = member.packed if member.deflated else 0

    def beginning(count: int) -> bytes:
        if packed:
            return bytes(inflated(descriptor, path, start, packed, count))
        return bytes(read_exactly(descriptor, path, start, count))

    try:
        return read_array(beginning, member.size, start, packed)
    except ArrayError as error:
        raise CheckpointError(
            f"{printable(path)} holds the array '{printable(name)}' that cannot be read as a "
            f"NumPy array: {error}. Write the file again, or leave it out with --exclude."
        ) from error
