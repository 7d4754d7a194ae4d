"""The members of a zip archive and where their bytes begin, read from its directory alone.

Own code because Python's zipfile believes what a directory says of itself, takes quadratic time
over a long extra field, and is slower once its answers are checked: docs/decisions/0003-reading.md.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trajscope.errors import CheckpointError, printable
from trajscope.readers.files import read_exactly
from trajscope.readers.inflation import MAX_INFLATION, inflated

# PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR64 = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")

_END_MARK = b"PK\x05\x06"

_STORED, _DEFLATED = 0, 8
_MAX_COMMENT = 2**16 - 1
_MAX_DIRECTORY = 2**26
_NOT_HERE = 2**32 - 1
"""A 32-bit size or offset that stands in a 64-bit field of the extra data instead."""


_Read = Callable[[int, int], bytearray]
"""Bytes of the archive: from which, and how many."""


class Member(NamedTuple):
    """One file inside a zip archive.

    `header` is the byte its local header starts at, `limit` the byte that its data must end
    before: where the next member or the directory starts.
    """

    name: bytes
    header: int
    limit: int
    packed: int
    size: int
    deflated: bool


def list_members(descriptor: int, path: Path, file_size: int, base: int = 0) -> dict[str, Member]:
    """Members by name, in the order of the directory. Reads the directory only.

    The archive is the `file_size` bytes from byte `base` of the file on.

    Raises
    ------
    CheckpointError
        There is no directory (the file may be unfinished), or it contradicts itself or the file.
    """

    def read(at: int, length: int) -> bytearray:
        return read_exactly(descriptor, path, base + at, length)

    first, count, size = _directory(read, path, file_size)
    data = bytes(read(first, size))
    entries = []
    position = 0
    try:
        for _ in range(count):
            member, position = _entry(data, position)
            entries.append(member)
    except (struct.error, ValueError) as error:
        raise _damaged(path, "its directory is damaged") from error
    return _checked(path, entries, first, base)


def data_start(descriptor: int, path: Path, member: Member) -> int:
    """First byte of the member's data, from its local header.

    Raises
    ------
    CheckpointError
        There is no such header, or the data would run into what follows.
    """
    head = read_exactly(descriptor, path, member.header, _LOCAL.size + len(member.name))
    signature, *_, name_size, extra_size = _LOCAL.unpack_from(head)
    start: int = member.header + _LOCAL.size + name_size + extra_size
    if (
        signature != b"PK\x03\x04"
        or head[_LOCAL.size :] != member.name
        or name_size != len(member.name)
        or start + member.packed > member.limit
    ):
        name = printable(_text(member.name))
        raise _damaged(path, f"its member '{name}' is not at the listed position")
    return start


def whole_member(descriptor: int, path: Path, member: Member, most: int) -> bytes:
    """All bytes of a member, which may be deflated but no larger than `most`."""
    if member.size > most:
        raise CheckpointError(
            f"{printable(path)}: '{printable(_text(member.name))}' has {member.size} bytes, more "
            f"than the limit of {most}. Leave the file out with --exclude."
        )
    start = data_start(descriptor, path, member)
    if member.deflated:
        return bytes(inflated(descriptor, path, start, member.packed, member.size))
    return bytes(read_exactly(descriptor, path, start, member.size))


def _directory(read: _Read, path: Path, file_size: int) -> tuple[int, int, int]:
    """First byte, number of entries and size of the central directory."""
    size = min(file_size, _END.size)
    tail = read(file_size - size, size)
    if not (
        tail.startswith(_END_MARK) and tail.endswith(b"\0\0")
    ):  # a comment follows, or it is no zip
        size = min(file_size, _END.size + _MAX_COMMENT)
        tail = read(file_size - size, size)
    at = tail.rfind(_END_MARK)
    while at >= 0 and not _ends_with_comment(tail, at):
        at = tail.rfind(_END_MARK, 0, at)  # the mark stood inside the comment
    if at < 0:
        raise CheckpointError(
            f"{printable(path)} starts like a zip archive but lacks a directory at its end. It "
            "may be unfinished; wait, or leave it out with --exclude."
        )
    _, _, _, _, count, size, first, _ = _END.unpack_from(tail, at)
    end = file_size - len(tail) + at
    if _NOT_HERE in (size, first) or count == 2**16 - 1:
        end, count, size, first = _directory64(read, path, end)
    if first + size > end:  # torch writes a 64-bit record in between, needed or not
        raise _damaged(path, "its directory is not at the recorded position")
    if size > _MAX_DIRECTORY or count * _ENTRY.size > size:
        raise _damaged(path, f"its directory claims {count} members in {size} bytes")
    return first, count, size


def _ends_with_comment(tail: bytearray, at: int) -> bool:
    """Whether the last record, if it is at `at`, has just the rest of the file as its comment."""
    length = int.from_bytes(tail[at + _END.size - 2 : at + _END.size], "little")
    return at + _END.size + length == len(tail)


def _directory64(read: _Read, path: Path, end: int) -> tuple[int, int, int, int]:
    """End, number of entries, size and first byte of the directory of a zip64 archive."""
    if end >= _LOCATOR64.size:
        locator = read(end - _LOCATOR64.size, _LOCATOR64.size)
        signature, _, record_at, _ = _LOCATOR64.unpack(locator)
        if signature == b"PK\x06\x07" and record_at + _END64.size <= end - _LOCATOR64.size:
            record = read(record_at, _END64.size)
            signature, *_, count, size, first = _END64.unpack(record)
            if signature == b"PK\x06\x06":
                return record_at, count, size, first
    raise _damaged(path, "its 64-bit directory record is missing")


def _entry(data: bytes, position: int) -> tuple[Member, int]:
    """The directory entry at `position`, and the position of the next."""
    fields = _ENTRY.unpack_from(data, position)
    signature, flags, method, packed, size = fields[0], fields[3], fields[4], fields[8], fields[9]
    name_size, extra_size, comment_size, header = fields[10], fields[11], fields[12], fields[16]
    name_end = position + _ENTRY.size + name_size
    extra_end = name_end + extra_size
    if signature != b"PK\x01\x02" or extra_end + comment_size > len(data):
        raise ValueError
    if flags & 1 or method not in (_STORED, _DEFLATED):  # encrypted, or a rare compression
        packed = size = -1
    elif _NOT_HERE in (packed, size, header):
        size, packed, header = _wide(data[name_end:extra_end], size, packed, header)
    name = data[position + _ENTRY.size : name_end]
    member = Member(name, header, 0, packed, size, method == _DEFLATED)
    return member, extra_end + comment_size


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three fields, those that are marked as absent taken from the zip64 extra data."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4 + length
        if kind == 1:
            wide = struct.iter_unpack("<Q", extra[position - length : position - length % 8])
            size, packed, header = (
                next(wide, (-1,))[0] if value == _NOT_HERE else value
                for value in (size, packed, header)
            )
            break
    return size, packed, header


def _checked(path: Path, entries: list[Member], directory: int, base: int) -> dict[str, Member]:
    """The entries by name, each with its limit, or the reason why they cannot all be true.

    From here on they lie where they do in the file, in which the archive begins at byte `base`.
    """
    limits: dict[int, int] = {}
    limit = directory
    for header in sorted((entry.header for entry in entries), reverse=True):
        limits[header] = limit
        limit = header
    members: dict[str, Member] = {}
    for entry in entries:
        name, limit = _text(entry.name), limits[entry.header]
        if entry.size < 0:
            raise _damaged(
                path,
                (
                    f"its member '{printable(name)}' is encrypted or compressed in an unsupported "
                    "way"
                ),
            )
        room = limit - entry.header - _LOCAL.size - len(entry.name)
        least, most = (0, entry.packed * MAX_INFLATION) if entry.deflated else (entry.packed,) * 2
        if entry.packed > room or not least <= entry.size <= most:
            raise _damaged(
                path,
                f"its member '{printable(name)}' claims {entry.size} bytes, more than the file "
                "contains",
            )
        if name in members:
            raise _damaged(path, f"it has two members named '{printable(name)}'")
        members[name] = entry._replace(header=entry.header + base, limit=limit + base)
    return members


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{printable(path)} cannot be read as a zip archive: {what}. Write the file again, or "
        "leave it out with --exclude."
    )
