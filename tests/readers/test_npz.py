"""NumPy archives, written by NumPy or by hand."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.readers.reading import (
    at_most,
    everything,
    header_of,
    is_read_or_refused,
    refusal,
    values_of,
)
from trajscope.errors import CheckpointError
from trajscope.readers import reader_for

WRITERS: dict[str, Callable[..., None]] = {"stored": np.savez, "deflated": np.savez_compressed}


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def by_hand(text: str, data: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    """A .npy file with any header, and any claim of that header's length."""
    width = 2 if version == 1 else 4
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(width, "little") + text.encode() + data
    )


def archive(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
def test_every_float_is_read_in_every_layout(
    tmp_path: Path, writer: str, order: str, dtype: str
) -> None:
    stored = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(dtype, order=order)  # type: ignore[call-overload]
    WRITERS[writer](tmp_path / "x.npz", **{"a/w": stored, "row": stored[0]})
    found = everything(tmp_path / "x.npz")
    np.testing.assert_array_equal(found["a/w"], stored.ravel())
    np.testing.assert_array_equal(found["row"], stored[0].ravel())
    assert found["a/w"].dtype == (np.float64 if dtype.endswith("8") else np.float32)
    plain = writer == "stored" and order == "C" and dtype.startswith("<")
    assert (header_of(tmp_path / "x.npz").tensors["a/w"].offset is not None) == plain


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    path = archive(tmp_path / "x.npz", w=npy(np.arange(6.0).reshape(2, 3), version))
    assert values_of(path, "w").tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("writer", WRITERS)
def test_single_values_are_metadata_too(tmp_path: Path, writer: str) -> None:
    WRITERS[writer](
        tmp_path / "x.npz",
        step=np.int64(7),
        epoch=np.array([2.5]),
        name="run",
        done=np.array(True),
        z=np.array(1j),
        two=np.arange(2),
        big=np.array([3], ">i4"),
    )
    header = header_of(tmp_path / "x.npz")
    assert header.metadata == {"step": 7, "epoch": 2.5, "name": "run", "done": True, "big": 3}
    assert header.tensors["step"].dtype == "int64"
    assert header.tensors["name"].dtype == "str"


@pytest.mark.parametrize("writer", WRITERS)
def test_empty_arrays_and_an_empty_archive_are_read(tmp_path: Path, writer: str) -> None:
    WRITERS[writer](tmp_path / "x.npz", e=np.zeros((0, 3), np.float32))
    assert everything(tmp_path / "x.npz")["e"].shape == (0,)
    WRITERS[writer](tmp_path / "y.npz")
    assert header_of(tmp_path / "y.npz").tensors == {}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("writer", WRITERS)
def test_arrays_of_objects_and_records_are_listed_and_never_loaded(
    tmp_path: Path, writer: str
) -> None:
    marker = tmp_path / "marker"
    objects = np.array([Touch(marker)], dtype=object)
    records = np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")])
    path = tmp_path / "x.npz"
    WRITERS[writer](path, o=objects, r=records, w=np.ones(2), s=np.array(["a", "b"]))
    header = header_of(path)
    assert {name: spec.dtype for name, spec in header.tensors.items()} == {
        "o": "object",
        "r": "structured",
        "w": "float64",
        "s": "str",
    }
    assert set(everything(path)) == {"w"}
    assert not marker.exists()
    np.load(path, allow_pickle=True)["o"]
    assert marker.exists()


@given(st.data())
def test_any_range_is_the_slice_of_the_flat_array(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), max_size=4))
    stored = np.random.default_rng(1).normal(size=shape)
    stored = np.asarray(stored, order=data.draw(st.sampled_from("CF")))
    path = tmp_path_factory.mktemp("x") / "x.npz"
    WRITERS[data.draw(st.sampled_from(sorted(WRITERS)))](path, w=stored)
    for _ in range(3):  # one after the other, forwards and backwards through a deflated stream
        start = data.draw(st.integers(0, stored.size))
        stop = data.draw(st.integers(start, stored.size))
        expected = stored.ravel()[start:stop]
        np.testing.assert_array_equal(values_of(path, "w", start, stop), expected)


def test_blocks_of_a_large_deflated_array_are_read_in_any_order(tmp_path: Path) -> None:
    stored = np.random.default_rng(2).normal(size=1_000_000).round(2)
    np.savez_compressed(tmp_path / "x.npz", w=stored)
    for start in [0, 200_000, 400_000, 999_990, 100, 600_000]:
        stop = min(start + 200_000, stored.size)
        np.testing.assert_array_equal(
            values_of(tmp_path / "x.npz", "w", start, stop), stored[start:stop]
        )


HEADERS = {
    "it is not a .npy file": b"NUMPY nothing like it",
    "it is not a .npy file of version 1, 2 or 3": by_hand("{}", version=9),
    "its header has 65535 characters, more than 10000": by_hand("{}", length=65535),
    "its header has 4294967295 characters": by_hand("{}", version=2, length=2**32 - 1),
    "its header is longer than the array's file": by_hand("{}", length=5000),
    "is not a dict of descr, fortran_order and shape": by_hand("__import__('os').system('true')"),
    "its header is not a dict": by_hand("{'descr': '<f4', 'shape': (1,), }"),
    "header is not a dict of descr": by_hand(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}"
    ),
    "its fortran_order is neither": by_hand(
        "{'descr': '<f4', 'fortran_order': '1', 'shape': (1,), }"
    ),
    "its shape is invalid": by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': [1], }"),
    ": its shape is invalid": by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
    "its shape is invalid.": by_hand(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ",), }"
    ),
    "NumPy array: its shape is invalid": by_hand(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + "), }"
    ),
    "shape (1099511627776,) of 4-byte elements does not fit 4 bytes": by_hand(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", bytes(4)
    ),
    "shape (1,) of 4-byte elements does not fit 2 bytes": by_hand(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", bytes(2)
    ),
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("expected", HEADERS)
def test_a_header_that_lies_is_refused_with_its_reason(
    tmp_path: Path, expected: str, method: int
) -> None:
    message = refusal(archive(tmp_path / "x.npz", method, w=HEADERS[expected]))
    assert expected in message
    assert "'w'" in message


@pytest.mark.parametrize(
    "descr", ["<f16", "|V2", "<M8[ns]", "<f4,<f4", "O", "|S5", "<U99999", "f", ""]
)
def test_dtypes_without_plain_numbers_are_listed_and_not_read(tmp_path: Path, descr: str) -> None:
    content = by_hand(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (), }}", bytes(16))
    path = archive(tmp_path / "x.npz", w=content)
    assert header_of(path).tensors["w"].dtype in {"object", "structured"}
    assert everything(path) == {}


@pytest.mark.parametrize(
    ("descr", "data", "text"),
    [
        ("<U2", b"\xff" * 8, "\ufffd\ufffd"),
        ("<U1", b"\x00\xd8\x00\x00", "\ufffd"),
        (">U2", "ab".encode("utf-32-be"), "ab"),
        ("<U0", b"", ""),
        ("<U0", bytes(2**20), ""),
    ],
)
def test_text_of_any_bytes_is_read(tmp_path: Path, descr: str, data: bytes, text: str) -> None:
    content = by_hand(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (), }}", data)
    assert header_of(archive(tmp_path / "x.npz", w=content)).metadata == {"w": text}


def test_headers_of_other_writers_are_read(tmp_path: Path) -> None:
    text = '{"shape":(2L, 2L),"fortran_order":False,"descr":"<f4"}\n'
    data = np.arange(4, dtype=np.float32).tobytes()
    assert values_of(archive(tmp_path / "x.npz", w=by_hand(text, data)), "w").tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_a_bomb_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (26214400,), }"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("w.npy", "w") as member,
    ):
        member.write(by_hand(text))
        for _ in range(100):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    with at_most(16):
        assert values_of(path, "w", 26 * 10**6, 26 * 10**6 + 5).tolist() == [0] * 5


def test_sizes_that_deflate_cannot_reach_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, w=npy(np.zeros(100)))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    assert "'w.npy' claims 2147483648 bytes, more than the file contains" in refusal(path)


def test_deflated_data_that_is_damaged_or_short_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, w=np.random.default_rng(0).integers(0, 9, 5000) / 8)
    reader = reader_for(path)
    assert reader is not None
    spec = reader.read_header(path).tensors["w"]
    content = bytearray(path.read_bytes())
    content[1500:1900] = b"\xff" * 400
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"contains (damaged compressed data|compressed data that is shorter)"
    ):
        reader.read_range(path, spec, 0, 5000)
    short = archive(tmp_path / "y.npz", zipfile.ZIP_DEFLATED, w=npy(np.ones(4000)))
    content = bytearray(short.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    size = int.from_bytes(content[entry + 24 : entry + 28], "little")
    content[entry + 24 : entry + 28] = (size + 8).to_bytes(4, "little")
    short.write_bytes(content)
    assert "of 8-byte elements does not fit 32008 bytes" in refusal(short)


def test_a_deflated_stream_that_ends_early_is_reported(tmp_path: Path) -> None:
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (4001,), }"
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, w=by_hand(text, bytes(32000)))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    size = int.from_bytes(content[entry + 24 : entry + 28], "little")
    content[entry + 24 : entry + 28] = (size + 8).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is shorter than its header says"):
        values_of(path, "w")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, writer: str) -> None:
    WRITERS[writer](tmp_path / "whole.npz", w=np.arange(3.0), step=3)
    content = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "may be unfinished" in refusal(path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid")
    for name, write in WRITERS.items():
        write(folder / f"{name}.npz", w=np.arange(6.0).reshape(2, 3), step=3, n="run")
    return {name: (folder / f"{name}.npz").read_bytes() for name in WRITERS}


@given(
    writer=st.sampled_from(sorted(WRITERS)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_file_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    valid: dict[str, bytes],
    writer: str,
    changes: list[tuple[int, int]],
) -> None:
    content = bytearray(valid[writer])
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(content)
    with at_most(8):
        is_read_or_refused(path)
