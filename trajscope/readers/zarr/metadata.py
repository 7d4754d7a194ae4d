"""What a zarr store on disk says of its arrays, formats 2 and 3, believed only where it is safe."""

import json
import lzma
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import stored_dtype, widened_dtype
from trajscope.readers.files import open_regular, read_exactly

ORIGINAL_DTYPE = "stored_dtype"
"""Attribute of an array: the dtype of the checkpoints its values were copied from."""

_MAX_METADATA = 2**24
_LONGEST_ATTRIBUTE = 1000
_MOST_AXES = 32
_LONGEST_AXIS = 2**48

_MAX_CHUNK = 2**31
"""Bytes of one chunk in memory; decoding makes that much whatever is asked for."""

_SAFE_CODECS = frozenset(
    {"bytes", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32"}
    | {"blosc", "gzip", "zlib", "zstd", "lz4", "bz2", "lzma"}
    | {"shuffle", "delta", "bitround", "fixedscaleoffset", "quantize"}
)
"""Codecs that turn bytes into numbers and do nothing else; not ``pickle``, nor one unheard of."""

_PACKING = frozenset({"blosc", "gzip", "zlib", "zstd", "lz4", "bz2", "lzma"})
"""Those whose output is larger than their input; `zarr_bounded` says by how much it may be."""

_LZMA_CONTAINERS = (lzma.FORMAT_AUTO, lzma.FORMAT_XZ, lzma.FORMAT_ALONE)

_NUMBERS = re.compile(r"[<>|](?P<code>b1|[iu][1248]|f[248]|c8|c16)")
_NAMES = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_V3_DTYPES = frozenset(
    {"bool", "float16", "float32", "float64", "complex64", "complex128"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
# As TensorStore calls them in both formats: little-endian, and a byte for each narrower value.
_SMALL = re.compile(r"bfloat16|u?int[124]|float[468]_\w+", re.ASCII)
# What NumPy calls bfloat16, the only dtype of two bytes that it does not know but orders bytes of.
_BFLOAT16 = "<V2"


@dataclass(frozen=True)
class ArrayMetadata:
    """One array of a store.

    `dtype` is empty where the elements are not numbers, `dimensions` where they have no names;
    `problem` says why the array must not be read, empty where it may; `chunks` are the lengths of
    what is one file; `original` is the dtype, narrower or equal, that the values had before;
    `compressor` is the name of that of format 2. `stand_in` is the metadata to show to the zarr
    library where it does not know the dtype: that of whole numbers of the same size. `named` is
    what the store calls the dtype.
    """

    shape: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]
    problem: str
    chunks: tuple[int, ...]
    original: str = ""
    compressor: str = ""
    stand_in: str = ""
    named: str = "other"


def array_metadata(folder: Path) -> ArrayMetadata | None:
    """The array in a folder, `None` if there is a group or something else.

    Raises
    ------
    CheckpointError
        The metadata is damaged.
    """
    try:
        if (metadata := _json(folder / "zarr.json")) is not None:
            return _version_3(metadata) if metadata.get("node_type") == "array" else None
        if (metadata := _json(folder / ".zarray")) is not None:
            return _version_2(metadata, _json(folder / ".zattrs") or {})
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _not_understood(folder, error) from error
    return None


def itemsize_of(dtype: str) -> int:
    """Bytes of a number of this dtype; 1 where there is none."""
    stored = stored_dtype(dtype) if dtype else None
    return stored.itemsize if stored is not None else 1


def attributes_of(folder: Path) -> dict[str, str | int | float | bool]:
    """The numbers and short texts among the attributes of a group or array.

    Raises
    ------
    CheckpointError
        The metadata is damaged.
    """
    try:
        metadata = _json(folder / "zarr.json")
        found = _json(folder / ".zattrs") if metadata is None else metadata.get("attributes")
    except (ValueError, RecursionError) as error:
        raise _not_understood(folder, error) from error
    return {
        name: value
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_ATTRIBUTE
    }


def _not_understood(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{printable(folder)} contains invalid zarr metadata ({printable(error, limit=80)}). "
        "Write it again, or leave it out with --exclude."
    )


def _json(path: Path) -> dict[str, object] | None:
    """The object in a metadata file, `None` if there is no such file."""
    if not path.exists():
        return None
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > _MAX_METADATA:
            raise ValueError(f"{size} bytes")
        value = json.loads(bytes(read_exactly(descriptor, path, 0, size)))
    finally:
        os.close(descriptor)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _version_3(metadata: dict[str, object]) -> ArrayMetadata:
    shape = _lengths(metadata["shape"])
    dtype = metadata["data_type"]
    named = printable(dtype, limit=40)
    small = _small(dtype)
    name = dtype if isinstance(dtype, str) and (small or dtype in _V3_DTYPES) else ""
    grid = _object(metadata["chunk_grid"])
    chunks: tuple[int, ...] = ()
    problem = _unsafe_codecs(metadata["codecs"]) or _packed(metadata.get("attributes"))
    if grid.get("name") != "regular":
        problem = problem or "its chunks are not a regular grid"
    else:
        chunks = _lengths(_object(grid["configuration"])["chunk_shape"])
        problem = problem or _too_large(shape, chunks, name)
    if metadata.get("storage_transformers"):
        problem = problem or "it uses a storage transformer"
    dimensions = _names(metadata.get("dimension_names"), shape)
    original = _original(metadata.get("attributes"), name)
    stand_in = ""
    if small is not None:
        fill = _bits(metadata.get("fill_value"), small)
        stand_in = json.dumps(
            {**metadata, "data_type": f"uint{8 * small.itemsize}", "fill_value": fill}
        )
    return ArrayMetadata(shape, name, dimensions, problem, chunks, original, "", stand_in, named)


def _version_2(metadata: dict[str, object], attributes: dict[str, object]) -> ArrayMetadata:
    shape, chunks = _lengths(metadata["shape"]), _lengths(metadata["chunks"])
    dtype = metadata["dtype"]
    match = _NUMBERS.fullmatch(dtype) if isinstance(dtype, str) else None
    code = match["code"] if match else ""
    small = _small("bfloat16" if dtype == _BFLOAT16 else dtype)
    name = "bool" if code == "b1" else f"{_NAMES[code[0]]}{8 * int(code[1:])}" if code else ""
    stand_in = ""
    if small is not None:
        name, fill = small.name, _bits(metadata.get("fill_value"), small)
        code = "|u1" if small.itemsize == 1 else f"<u{small.itemsize}"
        stand_in = json.dumps({**metadata, "dtype": code, "fill_value": fill})
    compressor, filters = metadata.get("compressor"), metadata.get("filters")
    codecs = [
        *([compressor] if compressor else []),
        *(filters if isinstance(filters, list) else []),
    ]
    problem = _unsafe_codecs(codecs) or _packed(attributes) or _too_large(shape, chunks, name)
    packing = [str(_object(codec).get("id")) for codec in codecs]
    if any(each in _PACKING for each in packing[1 if compressor else 0 :]):
        problem = problem or "its filters compress it again"
    if packing[:1] == ["lzma"] and _object(codecs[0]).get("format", 1) not in _LZMA_CONTAINERS:
        problem = problem or "it is compressed by lzma without a container, so its size is unknown"
    dimensions = _names(attributes.get("_ARRAY_DIMENSIONS"), shape)
    packed_by = packing[0] if compressor else ""
    named = printable(dtype, limit=40)
    return ArrayMetadata(shape, name, dimensions, problem, chunks, "", packed_by, stand_in, named)


def _small(dtype: object) -> np.dtype[np.generic] | None:
    """The dtype of this name if NumPy lacks it and ml_dtypes has it."""
    known = isinstance(dtype, str) and len(dtype) < 40 and _SMALL.fullmatch(dtype)
    return stored_dtype(str(dtype)) if known else None


def _bits(fill: object, dtype: np.dtype[np.generic]) -> int:
    """A fill value as the whole number that has the same bits."""
    if isinstance(fill, str) and fill.startswith("0x"):
        return int(fill, 16) % (1 << 8 * dtype.itemsize)
    number = float(fill) if isinstance(fill, (str, int, float)) else 0.0
    bits: int = np.array(number).astype(dtype).view(f"u{dtype.itemsize}").item()
    return bits


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object is expected")
    return value


def _lengths(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MOST_AXES:
        raise ValueError("a shape is expected")
    # type() and not isinstance(): true is an integer to Python, but no length.
    if not all(type(length) is int and 0 <= length < _LONGEST_AXIS for length in value):
        raise ValueError("a shape is expected")
    return tuple(value)


def _names(value: object, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the dimensions; empty unless every one has a name."""
    if not isinstance(value, list) or len(value) != len(shape):
        return ()
    return tuple(value) if all(isinstance(name, str) for name in value) else ()


def _unsafe_codecs(codecs: object) -> str:
    if not isinstance(codecs, list):
        raise TypeError("a list of codecs is expected")
    for codec in codecs:
        details = {"name": codec} if isinstance(codec, str) else _object(codec)
        name = details.get("name", details.get("id"))
        plain = name.removeprefix("numcodecs.") if isinstance(name, str) else ""
        if plain not in _SAFE_CODECS or (plain != name and plain in _PACKING):
            return f"it uses the codec '{printable(name, limit=40)}', which is not known to be safe"
        configuration = _object(details.get("configuration") or {})
        for nested in ("codecs", "index_codecs"):
            if problem := _unsafe_codecs(configuration.get(nested) or []):
                return problem
    return ""


def _packed(attributes: object) -> str:
    """Why the numbers that are stored are not the values meant (CF conventions 8.1), or ``""``."""
    packing = {"scale_factor", "add_offset"} & _object(attributes or {}).keys()
    return f"its values are compressed by {' and '.join(sorted(packing))}" if packing else ""


def _original(attributes: object, dtype: str) -> str:
    """What `ORIGINAL_DTYPE` says, if all values of the dtypes named there fit into `dtype`."""
    claimed = attributes.get(ORIGINAL_DTYPE) if isinstance(attributes, dict) else None
    if not isinstance(claimed, str) or len(claimed) > _LONGEST_ATTRIBUTE or "float" not in dtype:
        return ""
    wide = [widened_dtype(name) for name in claimed.split("|")]
    fits = all(each is not None and each.itemsize <= int(dtype[5:]) // 8 for each in wide)
    return claimed if fits else ""


def _too_large(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> str:
    if len(chunks) != len(shape) or not all(chunks):
        return "its chunks have a different number of dimensions, or are empty"
    size = math.prod(chunks) * itemsize_of(dtype)
    if size > _MAX_CHUNK:
        return f"one of its chunks takes {size} bytes, more than {_MAX_CHUNK}"
    return ""
