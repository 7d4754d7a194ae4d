"""Safetensors files, written by the safetensors library or by hand."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.readers.reading import (
    at_most,
    everything,
    header_of,
    is_read_or_refused,
    refusal,
    values_of,
)
from trajscope.readers import reader_for

FLOATS = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float8_e4m3fn: "float8_e4m3fn",
    torch.float8_e5m2: "float8_e5m2",
    torch.float8_e4m3fnuz: "float8_e4m3fnuz",
    torch.float8_e5m2fnuz: "float8_e5m2fnuz",
    torch.float8_e8m0fnu: "float8_e8m0fnu",
}


def written(path: Path, header: object, data: bytes = b"", *, size: int | None = None) -> Path:
    """A file with any header, and any claim of that header's length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, shape: object = (1,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_dtype_is_read_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    stored = (torch.randn(5, 7, dtype=torch.float64) * 3).to(dtype)
    save_file({"w": stored}, tmp_path / "x.safetensors")
    assert header_of(tmp_path / "x.safetensors").tensors["w"].dtype == FLOATS[dtype]
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    found = values_of(tmp_path / "x.safetensors", "w")
    np.testing.assert_array_equal(found, stored.to(wide).numpy().ravel())
    assert found.dtype == (np.float64 if dtype is torch.float64 else np.float32)


def test_every_bit_pattern_of_bfloat16_survives(tmp_path: Path) -> None:
    patterns = np.arange(2**16, dtype=np.uint16)
    save_file({"w": torch.from_numpy(patterns).view(torch.bfloat16)}, tmp_path / "x.safetensors")
    expected = patterns.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(values_of(tmp_path / "x.safetensors", "w"), expected)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool, torch.uint16])
def test_arrays_that_are_no_floats_are_listed(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"w": torch.zeros(3, dtype=dtype)}, tmp_path / "x.safetensors")
    spec = header_of(tmp_path / "x.safetensors").tensors["w"]
    assert (spec.shape, spec.dtype) == ((3,), str(dtype).removeprefix("torch."))


def test_elements_narrower_than_a_byte_are_listed_under_a_name_nothing_reads(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "x.safetensors", {"w": entry(0, 2, [4], "F4")}, b"ab")
    assert header_of(path).tensors["w"].dtype == "packed_float4_e2m1fn"
    assert everything(path) == {}


def test_names_are_listed_in_natural_order_and_metadata_is_kept(tmp_path: Path) -> None:
    names = ["layers.10.w", "layers.2.w", "layers.2.b", "embed", "layers.002.w"]
    save_file(
        {name: torch.ones(1) for name in names},
        tmp_path / "x.safetensors",
        metadata={"step": "12", "note": 'a "quoted" } brace'},
    )
    header = header_of(tmp_path / "x.safetensors")
    ordered = ["embed", "layers.2.b", "layers.002.w", "layers.2.w", "layers.10.w"]
    assert sorted(header.tensors, key=list(header.tensors).index)[0] == ordered[0]
    assert [n for n in header.tensors if "002" not in n] == [n for n in ordered if "002" not in n]
    assert header.metadata == {"step": "12", "note": 'a "quoted" } brace'}


def test_metadata_may_stand_behind_the_tensors(tmp_path: Path) -> None:
    header = {"w": entry(0, 4), "__metadata__": {"step": "3"}}
    path = written(tmp_path / "x.safetensors", header, bytes(4))
    assert header_of(path).metadata == {"step": "3"}


def test_files_that_differ_only_in_metadata_share_their_layout(tmp_path: Path) -> None:
    for step in (10, 99):
        path = tmp_path / f"{step}.safetensors"
        save_file({"w": torch.full((3,), float(step))}, path, metadata={"step": str(step)})
    first, second = (header_of(tmp_path / f"{step}.safetensors") for step in (10, 99))
    assert first.tensors is second.tensors
    assert (first.metadata["step"], second.metadata["step"]) == ("10", "99")


def test_scalars_empty_tensors_and_an_empty_file_of_tensors_are_read(tmp_path: Path) -> None:
    save_file({"s": torch.tensor(2.5), "e": torch.zeros(0, 4)}, tmp_path / "x.safetensors")
    found = everything(tmp_path / "x.safetensors")
    assert found["s"].tolist() == [2.5]
    assert found["e"].shape == (0,)
    assert header_of(written(tmp_path / "y.safetensors", {})).tensors == {}


@given(st.data())
def test_any_range_is_the_slice_of_the_flat_tensor(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), max_size=4))
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    stored = torch.randn(shape).to(dtype)
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    save_file({"before": torch.randn(3), "w": stored}, path)
    start = data.draw(st.integers(0, stored.numel()))
    stop = data.draw(st.integers(start, stored.numel()))
    wide = stored.to(torch.float64 if dtype is torch.float64 else torch.float32)
    expected = wide.numpy().ravel()[start:stop]
    np.testing.assert_array_equal(values_of(path, "w", start, stop), expected)


HEADERS = {
    "it is not JSON": b"{'w': 1}",
    "it is not JSON in UTF-8": b'{"\xff": 1}',
    "it is nested too deeply": b'{"w":' + b"[" * 200_000,
    "it contains a name twice": b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    b'"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "overlaps another": {"a": entry(0, 4), "b": entry(2, 6)},
    "leaves a gap before it": {"a": entry(0, 4), "b": entry(8, 12)},
    r"of shape \(2,\) and dtype float32 has 4 bytes": {"w": entry(0, 4, [2])},
    "tensor 'n' has an invalid shape or data_offsets": {"n": entry(0, 4, [-1])},
    "tensor 'f' has an invalid shape": {"f": entry(0, 4, [1.0])},
    "tensor 'b' has an invalid shape": {"b": entry(0, 4, [True])},
    "tensor 's' has an invalid shape": {"s": entry(0, 4, "1")},
    "tensor 'h' has an invalid shape": {"h": entry(0, 4, [2**60])},
    "tensor 'd' has an invalid shape": {"d": entry(0, 4, [1] * 65)},
    "tensor 'o' has an invalid shape": {"o": {"dtype": "F32", "shape": [1], "data_offsets": [0]}},
    "has 18446744073709551612 bytes|has an invalid shape": {"w": entry(0, 2**64 - 4, [2**62 - 1])},
    "unknown dtype Q32": {"w": entry(0, 4, [1], "Q32")},
    r"unknown dtype \['F32'\]": {"w": entry(0, 4, [1], ["F32"])},
    "is expected to have exactly dtype, shape and data_offsets": {"w": {"dtype": "F32"}},
    "tensor 'w' is expected to have exactly": {"w": 3},
    "__metadata__ is not an object of strings": {"__metadata__": {"step": 3}},
    "its __metadata__ is not": {"__metadata__": {"step": {"a": "b"}}},
    "contains a name twice|__metadata__": b'{"__metadata__":{"a":"1","a":"2"}}',
}


@pytest.mark.parametrize("expected", HEADERS)
def test_a_header_that_lies_is_refused_with_its_reason(tmp_path: Path, expected: str) -> None:
    path = written(tmp_path / "x.safetensors", HEADERS[expected], bytes(12))
    message = refusal(path)
    assert "its header is invalid" in message
    assert re.search(expected, message)


def test_a_header_longer_than_the_format_allows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((150_000_000).to_bytes(8, "little") + b"{")
        file.truncate(200_000_000)  # sparse: takes no disk
    assert "150000000 bytes, more than the format's 100000000" in refusal(path)


def test_a_header_of_empty_lists_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", b'{"a":[' + b"[]," * 5_000_000 + b"[]]}")
    with at_most(70):  # the header itself, read and put together
        started = time.process_time()
        with pytest.raises(Exception, match="nested too deeply or too long"):
            header_of(path)
    assert time.process_time() - started < 5


def test_data_that_is_missing_or_too_long_is_refused(tmp_path: Path) -> None:
    short = written(tmp_path / "x.safetensors", {"w": entry(0, 8, [2])}, bytes(4))
    assert "does not have the length its header describes" in refusal(short)
    long = written(tmp_path / "y.safetensors", {"w": entry(0, 8, [2])}, bytes(12))
    assert "does not have the length its header describes" in refusal(long)
    claims = written(tmp_path / "z.safetensors", {"w": entry(0, 2**45, [2**43])}, bytes(4))
    assert "It may be unfinished" in refusal(claims)


def test_hostile_names_are_shown_and_not_acted_on(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"\x1b[2J\u202e\n": entry(0, 4, [2])}, bytes(4))
    message = refusal(path)
    assert r"\u001b[2J\u202e\u000a" in message
    assert "\x1b" not in message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file({"w": torch.arange(3.0), "b": torch.ones(2)}, whole, metadata={"step": "1"})
    content = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "may be unfinished" in refusal(path)


def test_a_tensor_that_vanishes_while_it_is_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.arange(3.0)}, path)
    reader = reader_for(path)
    assert reader is not None
    spec = reader.read_header(path).tensors["w"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Exception, match="was replaced while it was read"):
        reader.read_range(path, spec, 0, 3)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("valid") / "x.safetensors"
    save_file({"w": torch.arange(3.0), "b": torch.ones(2, 1)}, path, metadata={"step": "1"})
    return path.read_bytes()


@given(
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_a_file_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, valid: bytes, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(valid)
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    is_read_or_refused(path)


def test_a_small_header_is_read_in_microseconds(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({f"layers.{i}.w": torch.ones(4) for i in range(20)}, path)
    reader = reader_for(path)
    assert reader is not None
    assert _seconds(lambda: reader.read_header(path)) < 1e-3  # 20 us on a quiet machine


def _seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(100):
        action()
    return (time.process_time() - started) / 100
