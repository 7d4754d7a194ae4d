"""Files written by ``torch.save``: a pickle, and the memory of the tensors it refers to.

Since torch 1.6 a file is a zip archive: ``NAME/data.pkl``, ``NAME/data/KEY`` per storage, and
``NAME/byteorder``. Before, it was a chain of five pickles with the storages behind. Both are read
without torch and, as `unpickler` explains, without running anything that the file says.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header, Reader, open_regular
from trajscope.readers.ranges import read_exactly, read_range
from trajscope.readers.torch.records import (
    DamagedPickleError,
    Global,
    Persistent,
    UnfinishedPickleError,
)
from trajscope.readers.torch.tensors import (
    ITEM_SIZES,
    STORAGE_DTYPES,
    Resolve,
    Storage,
    TensorError,
)
from trajscope.readers.torch.tree import flatten
from trajscope.readers.torch.unpickler import MAX_PICKLE, parse_pickle
from trajscope.readers.zip_members import Member, data_start, list_members, whole_member

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_MOST_LEGACY = 2 * MAX_PICKLE
"""Bytes that the pickles before the storages of the older form may have together."""


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file is a zip archive, or a pickle as the older form begins with."""
    name = path.name.lower()
    if first.startswith(b"PK\x03\x04"):
        return not name.endswith(".npz")
    # Any other pickle ends like this too; only of these endings it is worth a complaint.
    magic = _MAGIC_NUMBER.to_bytes(10, "little")
    return magic in first or (first[:1] == b"\x80" and name.endswith((".pt", ".pth")))


def read_header(path: Path) -> Header:
    """Tensors and scalars of the checkpoint, without reading any tensor.

    Raises
    ------
    CheckpointError
        It is unfinished, damaged, not written by ``torch.save``, or contradicts itself.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if read_exactly(descriptor, path, 0, min(size, 4)) == b"PK\x03\x04":
            return archive_header(descriptor, path, size)
        return _legacy_header(descriptor, path, size)
    except DamagedPickleError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read as a torch archive: {error}. Write the file again, "
            "or leave it out with --exclude."
        ) from error
    except TensorError as error:
        raise CheckpointError(
            f"{printable(path)} contradicts itself: {error}. Write the file again, or leave it out "
            "with --exclude."
        ) from error
    finally:
        os.close(descriptor)


def archive_header(descriptor: int, path: Path, size: int, base: int = 0) -> Header:
    """Tensors and scalars of the zip archive in the `size` bytes from byte `base` on.

    Raises
    ------
    CheckpointError
        It is no archive that torch wrote.
    TensorError
        A tensor lies outside its storage.
    """
    members = list_members(descriptor, path, size, base)
    root = _root(path, members)
    pickled = whole_member(descriptor, path, members[f"{root}data.pkl"], MAX_PICKLE)
    order = members.get(f"{root}byteorder")
    byteorder = whole_member(descriptor, path, order, 16) if order else b"little"
    if byteorder not in (b"little", b"big"):
        raise DamagedPickleError(f"its byte order is '{printable(byteorder)}'")
    prefix = f"{root}data/"
    storages = tuple(
        (
            name[len(prefix) :],
            member.size,
            data_start(descriptor, path, member),
            member.packed if member.deflated else 0,
        )
        for name, member in members.items()
        if name.startswith(prefix)
    )
    # Plain state dicts of one run differ in nothing but the weights.
    header = _recent_layout if len(pickled) <= 2**20 else _layout
    return header(pickled, storages, byteorder == b"big")


def pickled_content(descriptor: int, path: Path, size: int) -> object:
    """What the file holds, as inert records: tensors among them as they were asked for.

    Raises
    ------
    CheckpointError
        It is unfinished, damaged, or not written by ``torch.save``.
    """
    if read_exactly(descriptor, path, 0, min(size, 4)) == b"PK\x03\x04":
        members = list_members(descriptor, path, size)
        pickled = members[f"{_root(path, members)}data.pkl"]
        return parse_pickle(whole_member(descriptor, path, pickled, MAX_PICKLE)).value
    data = bytes(read_exactly(descriptor, path, 0, min(size, MAX_PICKLE)))
    end = 0
    for _ in range(3):  # the magic number, the protocol, what the machine was
        end = parse_pickle(data, end).end
    return parse_pickle(data, end).value


READER = Reader(
    "torch archive",
    (".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".tar"),
    recognises,
    read_header,
    read_range,
)


def _root(path: Path, members: dict[str, Member]) -> str:
    """What stands before ``data.pkl`` in the names of the members."""
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("data.pkl")]
    roots = [root for root in roots if root == "" or root.endswith("/")]
    if not roots:
        raise CheckpointError(
            f"{printable(path)} is a zip archive without the data.pkl that torch.save writes. "
            "Rename it if it is something else, or leave it out with --exclude."
        )
    roots.sort(key=lambda root: root.count("/"))
    if len(roots) > 1 and roots[0].count("/") == roots[1].count("/"):
        raise CheckpointError(
            f"{printable(path)} holds {len(roots)} checkpoints; one is expected in a file. "
            "Save them apart, or leave it out with --exclude."
        )
    return roots[0]


def _layout(
    pickled: bytes, storages: tuple[tuple[str, int, int, int], ...], big_endian: bool
) -> Header:
    found = {key: (size, first, packed) for key, size, first, packed in storages}

    def resolve(reference: object) -> Storage | None:
        described = _described(reference)
        if described is None:
            return None
        key, dtype, size = described
        there, first, packed = found.get(key, (0, 0, 0))
        if there != size:
            raise TensorError(
                f"needs {size} bytes of storage '{printable(key)}', which has {there}"
            )
        return Storage(key, dtype, size, first, packed, big_endian)

    return flatten(parse_pickle(pickled).value, resolve)


_recent_layout = lru_cache(maxsize=32)(_layout)


def _described(reference: object) -> tuple[str, str, int] | None:
    """Key, dtype and bytes of the storage that is referred to; `None` if it is not readable.

    ``("storage", class, key, location, elements[, view])``
    """
    identity = reference.identity if isinstance(reference, Persistent) else None
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] != "storage":
        return None
    kind, key, elements = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or not kind.module.startswith("torch"):
        return None
    dtype = STORAGE_DTYPES.get(kind.name)
    if dtype is None:
        return None
    if len(identity) == 6 and identity[5] is not None:
        raise TensorError("is a view in a form that only torch before 0.4 wrote")
    if not isinstance(key, str) or type(elements) is not int or not 0 <= elements < 2**60:
        raise TensorError("refers to a storage whose key or length is none")
    return key, dtype, elements * ITEM_SIZES.get(dtype, 1)


def _legacy_header(descriptor: int, path: Path, file_size: int) -> Header:
    """The older form; its pickles say nowhere how long they are, so ever more is read."""
    most = 2**18
    while True:
        data = bytes(read_exactly(descriptor, path, 0, min(most, file_size)))
        try:
            return _legacy_layout(data, descriptor, path, file_size)
        except UnfinishedPickleError as error:
            if most >= file_size:
                raise UnfinishedPickleError(
                    "its pickle ends early, it may still be being written"
                ) from error
            if most >= _MOST_LEGACY:
                raise DamagedPickleError(
                    f"its pickles have more than {_MOST_LEGACY} bytes, the most that is read"
                ) from error
        most *= 8


def _legacy_layout(data: bytes, descriptor: int, path: Path, file_size: int) -> Header:
    magic = parse_pickle(data)
    if magic.value != _MAGIC_NUMBER:
        raise DamagedPickleError("it is a pickle that torch.save did not write")
    protocol = parse_pickle(data, magic.end)
    if protocol.value != _PROTOCOL:
        raise DamagedPickleError(f"its protocol is not {_PROTOCOL}")
    system = parse_pickle(data, protocol.end)
    content = parse_pickle(data, system.end)
    keys = parse_pickle(data, content.end)
    storages = _legacy_storages(content.references, keys.value)
    places: dict[str, Storage] = {}
    position = keys.end
    for key, dtype, size in storages:
        elements = int.from_bytes(read_exactly(descriptor, path, position, 8), "little")
        position += 8
        if elements * ITEM_SIZES.get(dtype, 1) != size:
            raise TensorError(
                f"storage '{printable(key)}' has {elements} elements, others are promised"
            )
        places[key] = Storage(key, dtype, size, position)
        position += size
    if position > file_size:
        raise CheckpointError(
            f"{printable(path)} ends early: its tensors need {position} bytes, it has {file_size}. "
            "It may still be being written; wait, or leave it out with --exclude."
        )
    return flatten(content.value, _legacy_resolve(places))


def _legacy_storages(references: Iterable[Persistent], keys: object) -> list[tuple[str, str, int]]:
    """Key, dtype and bytes of every storage behind the pickles, in their order."""
    known: dict[str, tuple[str, str, int]] = {}
    for reference in references:
        identity = reference.identity
        described = _described(reference)
        if described is None:
            if isinstance(identity, tuple) and identity[:1] == ("storage",):
                raise DamagedPickleError("it has a storage of an unknown class")
        elif known.setdefault(described[0], described) != described:
            raise TensorError(f"storage '{printable(described[0])}' is described in two ways")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedPickleError("its list of storages is none")
    if len(set(keys)) != len(keys) or set(keys) != known.keys():
        raise DamagedPickleError("its list of storages is not that of its tensors")
    return [known[key] for key in keys]


def _legacy_resolve(places: dict[str, Storage]) -> Resolve:
    def resolve(reference: object) -> Storage | None:
        described = _described(reference)
        return None if described is None else places[described[0]]

    return resolve
