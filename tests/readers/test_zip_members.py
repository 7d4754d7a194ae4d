"""The directory of a zip archive, compared with Python's zipfile, and archives that lie."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajscope.errors import CheckpointError
from trajscope.readers.files import open_regular
from trajscope.readers.zip_members import Member, list_members, whole_member


def members_of(path: Path) -> dict[str, Member]:
    descriptor = open_regular(path)
    try:
        return list_members(descriptor, path, path.stat().st_size)
    finally:
        os.close(descriptor)


def content_of(path: Path, name: str) -> bytes:
    descriptor = open_regular(path)
    try:
        return whole_member(descriptor, path, members_of(path)[name], 2**20)
    finally:
        os.close(descriptor)


@given(
    contents=st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1),
        st.binary(max_size=50),
        max_size=5,
    ),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    comment=st.binary(max_size=30) | st.just(b"PK\x05\x06" + b"x" * 18),
)
def test_members_are_those_that_zipfile_wrote(
    tmp_path_factory: pytest.TempPathFactory,
    contents: dict[str, bytes],
    method: int,
    comment: bytes,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.comment = comment
        for name, content in contents.items():
            file.writestr(name, content)
    assert list(members_of(path)) == list(contents)
    for name, content in contents.items():
        assert content_of(path, name) == content


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("one", b"1" * 10)
        file.writestr("two", b"2" * 20)
    return path


def changed(path: Path, marker: bytes, offset: int, value: bytes) -> None:
    """Overwrite bytes behind the last occurrence of a record."""
    content = bytearray(path.read_bytes())
    at = content.rindex(marker) + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)


ENTRY, END, LOCAL = b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"

LIES: dict[str, Callable[[Path], None]] = {
    "its directory is not at the recorded position": lambda p: changed(
        p, END, 16, b"\xff\xff\xff\x00"
    ),
    r"claims 60000 members in \d+ bytes": lambda p: changed(p, END, 10, b"\x60\xea"),
    "its directory is damaged": lambda p: changed(p, ENTRY, 0, b"QK"),
    "directory is damaged": lambda p: changed(p, ENTRY, 28, b"\xff\xff"),
    "'two' is encrypted or compressed in an unsupported way": lambda p: changed(
        p, ENTRY, 8, b"\x01"
    ),
    "encrypted or compressed in an unsupported way": lambda p: changed(p, ENTRY, 10, b"\x0e"),
    "'two' claims 255 bytes, more than the file contains": lambda p: changed(
        p, ENTRY, 20, b"\xff\0\0\0\xff"
    ),
    "claims 21 bytes, more than the file contains": lambda p: changed(p, ENTRY, 24, b"\x15"),
    "claims 20 bytes, more than the file contains": lambda p: changed(
        p, ENTRY, 42, b"\xff\xff\xff\x00"
    ),
    "two members named 'one'": lambda p: changed(p, ENTRY, 46, b"one"),
    "its 64-bit directory record is missing": lambda p: changed(p, END, 16, b"\xff" * 4),
    "lacks a directory at its end": lambda p: changed(p, END, 0, b"QK"),
    "claims 4294967294 bytes": lambda p: changed(p, ENTRY, 20, b"\xfe\xff\xff\xff" * 2),
}


@pytest.mark.parametrize("expected", LIES)
def test_a_directory_that_lies_is_refused(whole: Path, expected: str) -> None:
    LIES[expected](whole)
    with pytest.raises(CheckpointError, match=expected):
        members_of(whole)


@pytest.mark.parametrize(
    ("offset", "value"), [(0, b"QK"), (26, b"\x09"), (28, b"\xff"), (30, b"own")]
)
def test_a_member_that_is_not_where_it_should_be_is_refused(
    whole: Path, offset: int, value: bytes
) -> None:
    changed(whole, LOCAL, offset, value)
    with pytest.raises(CheckpointError, match="its member 'two' is not at the listed position"):
        content_of(whole, "two")


def test_members_that_overlap_are_refused(whole: Path) -> None:
    content = whole.read_bytes()
    changed(whole, ENTRY, 42, content.index(LOCAL).to_bytes(4, "little"))
    with pytest.raises(CheckpointError):
        content_of(whole, "two")
