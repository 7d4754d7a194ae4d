"""Files written by ``torch.save``: a pickle, and the memory of the tensors it refers to.

Since torch 1.6 a file is a zip archive: ``NAME/data.pkl``, ``NAME/data/KEY`` per storage, and
``NAME/byteorder``. Before, it was what `legacy` reads. Both are read without torch and, as
`unpickler` explains, without running anything that the file says.
"""

import os
from functools import lru_cache
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header, Reader
from trajscope.readers.files import expect, open_regular, read_exactly
from trajscope.readers.ranges import read_range
from trajscope.readers.torch.legacy import MAGIC_NUMBER, legacy_content, legacy_header
from trajscope.readers.torch.records import DamagedPickleError
from trajscope.readers.torch.storages import Storage, TensorError, described_storage
from trajscope.readers.torch.tree import flatten
from trajscope.readers.torch.unpickler import MAX_PICKLE, parse_pickle
from trajscope.readers.zip_members import Member, data_start, list_members, whole_member


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file is a zip archive, or a pickle as the older form begins with."""
    name = path.name.lower()
    if first.startswith(b"PK\x03\x04"):
        return not name.endswith(".npz")
    # Any other pickle ends like this too; only of these endings it is worth a complaint.
    magic = MAGIC_NUMBER.to_bytes(10, "little")
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
        return legacy_header(descriptor, path, size)
    except DamagedPickleError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read as a torch archive: {error}. Write the file again, "
            "or leave it out with --exclude."
        ) from error
    except TensorError as error:
        raise CheckpointError(
            f"{printable(path)} is inconsistent: {error}. Write the file again, or leave it out "
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
    expect(path, [(member.header, 2**8) for member in members.values()])
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
    lay_out = _recent_layout if len(pickled) <= 2**20 else _layout
    header = lay_out(pickled, storages, byteorder == b"big")
    if not header.tensors and any(name.startswith(f"{root}constants/") for name in members):
        raise CheckpointError(
            f"{printable(path)} is a frozen TorchScript module, whose weights are constants "
            "without names. Save the state_dict of the module as it was before torch.jit.freeze, "
            "or leave it out with --exclude."
        )
    return header


def pickled_content(descriptor: int, path: Path, size: int, most: int = MAX_PICKLE) -> object:
    """What the file holds, as inert records: tensors among them as they were asked for.

    No more than `most` bytes are unpickled.

    Raises
    ------
    CheckpointError
        It is unfinished, damaged, or not written by ``torch.save``.
    """
    if read_exactly(descriptor, path, 0, min(size, 4)) == b"PK\x03\x04":
        members = list_members(descriptor, path, size)
        pickled = members[f"{_root(path, members)}data.pkl"]
        return parse_pickle(whole_member(descriptor, path, pickled, most)).value
    return legacy_content(descriptor, path, min(size, most))


READER = Reader(
    "torch archive",
    (".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pth.tar", ".tar"),
    recognises,
    read_header,
    read_range,
)


def _root(path: Path, members: dict[str, Member]) -> str:
    """What stands before ``data.pkl`` in the names of the members."""
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("data.pkl")]
    roots = [root for root in roots if root == "" or root.endswith("/")]
    if not roots and any(name.endswith("/models/model.json") for name in members):
        raise CheckpointError(
            f"{printable(path)} is an archive of torch.export; a checkpoint that torch.save writes "
            "was expected. Save its weights: torch.save(torch.export.load(path).state_dict, ...)."
        )
    if not roots:
        raise CheckpointError(
            f"{printable(path)} is a zip archive without the data.pkl that torch.save writes. "
            "Rename it if it is not a torch file, or leave it out with --exclude."
        )
    roots.sort(key=lambda root: root.count("/"))
    if len(roots) > 1 and roots[0].count("/") == roots[1].count("/"):
        raise CheckpointError(
            f"{printable(path)} holds {len(roots)} checkpoints; one per file is expected. Save "
            "them separately, or leave it out with --exclude."
        )
    return roots[0]


def _layout(
    pickled: bytes, storages: tuple[tuple[str, int, int, int], ...], big_endian: bool
) -> Header:
    found = {key: (size, first, packed) for key, size, first, packed in storages}

    def resolve(reference: object) -> Storage | None:
        described = described_storage(reference)
        if described is None:
            return None
        key, dtype, size = described
        there, first, packed = found.get(key, (0, 0, 0))
        if there != size:
            raise TensorError(
                f"needs {size} bytes of storage '{printable(key)}', which contains {there}"
            )
        return Storage(key, dtype, size, first, packed, big_endian)

    return flatten(parse_pickle(pickled).value, resolve)


_recent_layout = lru_cache(maxsize=32)(_layout)
