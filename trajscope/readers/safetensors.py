"""Safetensors checkpoints: a length, a JSON header, then raw little-endian bytes.

The format: https://github.com/huggingface/safetensors#format. The header has no meaningful order,
so tensors are listed in the natural order of their names, ``layers.2`` before ``layers.10``.
"""

import json
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header, Reader, TensorSpec
from trajscope.readers.files import open_sized, read_exactly
from trajscope.readers.natural import natural_key
from trajscope.readers.ranges import paired, read_range

_MAX_HEADER = 100_000_000
"""The limit of the format itself."""

_MAX_BRACKETS = 4_000_000
"""Three per tensor; without a limit 100 MB of ``[],`` would become gigabytes of empty lists."""

# Stored dtype -> its name, and bits per element. Elements narrower than a byte are packed, so they
# are listed under a name that no library reads.
_DTYPES = {
    "F64": ("float64", 64),
    "F32": ("float32", 32),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F6_E2M3": ("packed_float6_e2m3fn", 6),
    "F6_E3M2": ("packed_float6_e3m2fn", 6),
    "F4": ("packed_float4_e2m1fn", 4),
    "C64": ("complex64", 64),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
}

CODES = {name: code for code, (name, _) in _DTYPES.items()}
"""What the format calls a dtype, by its name."""

_MOST_AXES = 64

# Tensors, metadata that did not stand first, and the byte where the data ends.
_Layout = tuple[dict[str, TensorSpec], dict[str, str], int]


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file starts with a header's length and a JSON object."""
    del path
    return len(first) >= 9 and first[8:9] == b"{" and int.from_bytes(first[:8], "little") < 2**40


def read_header(path: Path) -> Header:
    """Tensors and metadata of the file. Reads its header only.

    Files whose headers differ in nothing but the metadata share one `Header.tensors`.

    Raises
    ------
    CheckpointError
        The header is no safetensors header, or does not describe this file.
    """
    descriptor, file_size = open_sized(path)
    try:
        # One read brings the whole header of most files.
        start = _start(descriptor, path, min(file_size, 2**14))
        header_size = int.from_bytes(start[:8], "little")
        if file_size < 10 or header_size > file_size - 8:
            raise CheckpointError(
                f"{printable(path)} ends early: it has {file_size} bytes, its header alone needs "
                f"{header_size}. It may be unfinished; wait, or leave it out with --exclude."
            )
        if header_size > _MAX_HEADER:
            raise _refused(
                path, f"it has {header_size} bytes, more than the format's {_MAX_HEADER}"
            )
        raw = start[8 : 8 + header_size]
        if len(raw) < header_size:
            raw += read_exactly(descriptor, path, len(start), header_size - len(raw))
    finally:
        os.close(descriptor)
    try:
        first, rest = _split(raw)
        tensors, later, end = _tensors_of(rest, 8 + header_size)
        metadata = _metadata(_parsed(first)) | later
    except _HeaderError as error:
        raise _refused(path, str(error)) from error
    if end != file_size:
        raise CheckpointError(
            f"{printable(path)} does not have the length its header describes: {end} bytes are "
            f"expected, {file_size} are there. It may be unfinished; wait, or leave it out with "
            "--exclude."
        )
    return Header(tensors, metadata)


def _start(descriptor: int, path: Path, count: int) -> bytes:
    with suppress(OSError):
        start = os.pread(descriptor, count, 0)
        if len(start) == count:
            return start
    return bytes(read_exactly(descriptor, path, 0, count))  # which says what is wrong


READER = Reader("safetensors", (".safetensors",), recognises, read_header, read_range)


class _HeaderError(Exception):
    """What is wrong with a header, before it is known whose it is."""


def _refused(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{printable(path)} cannot be read as safetensors: its header is invalid: {what}. Write "
        "the file again, or leave it out with --exclude."
    )


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """The metadata's JSON, and the header without it.

    Writers put ``__metadata__`` first. Taking it off leaves bytes that are the same in every
    checkpoint of a run, which `_tensors_of` then parses once.
    """
    match = _METADATA.match(raw)
    return (match["text"], b"{" + raw[match.end() :]) if match else (b"{}", raw)


# A first entry that is an object of nothing but strings, and the comma or brace behind it.
_METADATA = re.compile(
    rb'\{\s*"__metadata__"\s*:\s*(?P<text>\{(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+\})\s*(?:,(?=\s*")|(?=\s*\}))',
    re.DOTALL,
)


def _tensors_of(raw: bytes, first: int) -> _Layout:
    """What a header says whose data starts at byte `first`."""
    return _recent(raw, first) if len(raw) <= 2**20 else _layout(raw, first)


def _layout(raw: bytes, first: int) -> _Layout:
    if raw.count(b"[") + raw.count(b"{") > _MAX_BRACKETS:
        raise _HeaderError("it is nested too deeply or too long")
    entries = _parsed(raw)
    metadata = _metadata(entries.pop("__metadata__", {}))
    specs = []
    for name, entry in entries.items():
        begin, end, spec = _tensor(name, entry, first)
        specs.append((begin, end, name, spec))
    position = 0
    for begin, end, name, _ in sorted(specs, key=lambda item: item[:2]):
        if begin != position:
            problem = "overlaps another" if begin < position else "leaves a gap before it"
            raise _HeaderError(f"the data of tensor '{printable(name)}' {problem}")
        position = end
    ordered = sorted(specs, key=lambda item: natural_key(item[2]))
    return {name: spec for _, _, name, spec in ordered}, metadata, first + position


_recent = lru_cache(maxsize=32)(_layout)


def _tensor(name: str, entry: object, first: int) -> tuple[int, int, TensorSpec]:
    """First and last byte of a tensor's data, and its description."""
    where = f"tensor '{printable(name)}'"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _HeaderError(f"{where} is expected to have exactly dtype, shape and data_offsets")
    known = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if known is None:
        raise _HeaderError(f"{where} has the unknown dtype {printable(entry['dtype'], limit=40)}")
    shape, offsets = _lengths(entry["shape"]), _lengths(entry["data_offsets"])
    if shape is None or len(shape) > _MOST_AXES or offsets is None or len(offsets) != 2:
        raise _HeaderError(f"{where} has an invalid shape or data_offsets")
    dtype, bits = known
    spec = TensorSpec(shape, dtype, first + offsets[0])
    if spec.size * bits != 8 * (offsets[1] - offsets[0]):
        raise _HeaderError(
            f"{where} of shape {shape} and dtype {dtype} has {offsets[1] - offsets[0]} bytes"
        )
    return offsets[0], offsets[1], paired(spec)


def _lengths(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    # type() and not isinstance(): true and false are integers to Python, but not to the format.
    if not all(type(length) is int and 0 <= length < 2**48 for length in value):
        return None
    return tuple(value)


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _HeaderError("its __metadata__ is not an object of strings")
    return value


def _parsed(raw: bytes) -> dict[str, object]:
    """A JSON object without duplicate keys."""
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except RecursionError as error:
        raise _HeaderError("it is nested too deeply") from error
    except ValueError as error:
        raise _HeaderError("it is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise _HeaderError("it is not a JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _HeaderError("it contains a name twice")
    return unique


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates)
