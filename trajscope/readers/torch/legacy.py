"""Files that torch before 1.6 saved: five pickles behind one another, and then the storages."""

from collections.abc import Iterable
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header
from trajscope.readers.files import read_exactly
from trajscope.readers.torch.records import DamagedPickleError, Persistent, UnfinishedPickleError
from trajscope.readers.torch.storages import (
    ITEM_SIZES,
    Resolve,
    Storage,
    TensorError,
    described_storage,
)
from trajscope.readers.torch.tree import flatten
from trajscope.readers.torch.unpickler import MAX_PICKLE, parse_pickle

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""The value of the first pickle."""

_PROTOCOL = 1001

_MOST_LEGACY = 2 * MAX_PICKLE
"""Bytes that the pickles before the storages may have together."""


def legacy_header(descriptor: int, path: Path, file_size: int) -> Header:
    """Tensors and scalars of such a file.

    Raises
    ------
    CheckpointError
        It is unfinished, damaged, or not written by ``torch.save``.
    TensorError
        A tensor or storage contradicts another.
    """
    most = 2**18  # the pickles say nowhere how long they are, so ever more is read
    while True:
        data = bytes(read_exactly(descriptor, path, 0, min(most, file_size)))
        try:
            return _layout(data, descriptor, path, file_size)
        except UnfinishedPickleError as error:
            if most >= file_size:
                raise UnfinishedPickleError(
                    "its pickle ends early: it may be unfinished"
                ) from error
            if most >= _MOST_LEGACY:
                raise DamagedPickleError(
                    f"its pickles have more than {_MOST_LEGACY} bytes, the limit"
                ) from error
        most *= 8


def legacy_content(descriptor: int, path: Path, size: int) -> object:
    """What such a file holds, as inert records.

    Raises
    ------
    CheckpointError
        It is unfinished or damaged.
    """
    data = bytes(read_exactly(descriptor, path, 0, min(size, MAX_PICKLE)))
    end = 0
    for _ in range(3):  # the magic number, the protocol, what the machine was
        end = parse_pickle(data, end).end
    return parse_pickle(data, end).value


def _layout(data: bytes, descriptor: int, path: Path, file_size: int) -> Header:
    magic = parse_pickle(data)
    if magic.value != MAGIC_NUMBER:
        raise DamagedPickleError("it is a pickle that torch.save did not write")
    protocol = parse_pickle(data, magic.end)
    if protocol.value != _PROTOCOL:
        raise DamagedPickleError(f"its protocol is not {_PROTOCOL}")
    system = parse_pickle(data, protocol.end)
    content = parse_pickle(data, system.end)
    keys = parse_pickle(data, content.end)
    storages = _storages(content.references, keys.value)
    places: dict[str, Storage] = {}
    position = keys.end
    for key, dtype, size in storages:
        elements = int.from_bytes(read_exactly(descriptor, path, position, 8), "little")
        position += 8
        if elements * ITEM_SIZES.get(dtype, 1) != size:
            raise TensorError(
                f"storage '{printable(key)}' has {elements} elements, but its tensors expect "
                "another number"
            )
        places[key] = Storage(key, dtype, size, position)
        position += size
    if position > file_size:
        raise CheckpointError(
            f"{printable(path)} ends early: its tensors need {position} bytes, it has "
            f"{file_size}. It may be unfinished; wait, or leave it out with --exclude."
        )
    return flatten(content.value, _resolve(places))


def _storages(references: Iterable[Persistent], keys: object) -> list[tuple[str, str, int]]:
    """Key, dtype and bytes of every storage behind the pickles, in their order."""
    known: dict[str, tuple[str, str, int]] = {}
    for reference in references:
        identity = reference.identity
        described = described_storage(reference)
        if described is None:
            if isinstance(identity, tuple) and identity[:1] == ("storage",):
                raise DamagedPickleError("it contains a storage of an unknown class")
        elif known.setdefault(described[0], described) != described:
            raise TensorError(
                f"storage '{printable(described[0])}' has two conflicting descriptions"
            )
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedPickleError("its list of storages is invalid")
    if len(set(keys)) != len(keys) or set(keys) != known.keys():
        raise DamagedPickleError("its list of storages does not match its tensors")
    return [known[key] for key in keys]


def _resolve(places: dict[str, Storage]) -> Resolve:
    def resolve(reference: object) -> Storage | None:
        described = described_storage(reference)
        return None if described is None else places[described[0]]

    return resolve
