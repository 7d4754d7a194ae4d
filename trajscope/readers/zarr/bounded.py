"""Zarr's codecs with a bound on what they unpack: a chunk of a kilobyte may claim terabytes."""

import bz2
import lzma
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.registry import register_codec
from zarr.storage import LocalStore

from trajscope.readers.zarr.metadata import ArrayMetadata

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, BufferPrototype

BOUNDED: Final = {
    f"codecs.{name}": f"{__name__}.{cls}"
    for name, cls in (("zstd", "Zstd"), ("gzip", "Gzip"), ("blosc", "Blosc"))
}
"""Zarr's configuration while an array of format 3 is opened, so that it decodes with these."""

_IN_SYNC: Final = hasattr(ZstdCodec, "_decode_sync")  # to which _decode_single then leads

_SLACK: Final = 1 << 20  # checksums, and the last block of a zstd frame
_PIECE: Final = 1 << 20
_ZSTD_MAGIC, _ZSTD_BLOCK = b"\x28\xb5\x2f\xfd", 1 << 17


class TooLargeError(ValueError):
    """A chunk would unpack to more than it may hold."""


class Zstd(ZstdCodec):
    """Zstandard, bounded."""

    def _decode_sync(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        _check_buffer("zstd", chunk_bytes, chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        if not _IN_SYNC:
            _check_buffer("zstd", chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class Gzip(GzipCodec):
    """Gzip, bounded."""

    def _decode_sync(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        _check_buffer("gzip", chunk_bytes, chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        if not _IN_SYNC:
            _check_buffer("gzip", chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class Blosc(BloscCodec):
    """Blosc, bounded."""

    def _decode_sync(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        _check_buffer("blosc", chunk_bytes, chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        if not _IN_SYNC:
            _check_buffer("blosc", chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class BoundedStore(LocalStore):
    """A store of format 2, whose chunks are judged as they come: its codecs are not zarr's own."""

    def __init__(self, root: Any, *, compressor: str, most: int) -> None:
        super().__init__(root, read_only=True)
        self._compressor, self._most = compressor, most

    async def get(
        self,
        key: str,
        prototype: "BufferPrototype | None" = None,
        byte_range: "ByteRequest | None" = None,
    ) -> "Buffer | None":
        """The bytes at `key`; TooLargeError if they are a chunk that unpacks to too much."""
        return self._judged(key, await super().get(key, prototype, byte_range))

    def get_sync(self, key: str, **options: Any) -> "Buffer | None":  # options of zarr's own
        """As `get`, in versions of zarr that read so."""
        return self._judged(key, super().get_sync(key, **options))

    def _judged(self, key: str, found: "Buffer | None") -> "Buffer | None":
        if found is not None and not key.rsplit("/", 1)[-1].startswith(".z"):
            check_unpacked(self._compressor, found.as_numpy_array().data, self._most)
        return found


def bounded_store(folder: Path, metadata: ArrayMetadata) -> BoundedStore:
    """The store of one array of format 2."""
    bits = int("".join(filter(str.isdigit, metadata.dtype)) or 8)
    most = most_unpacked(math.prod(metadata.chunks) * bits // 8)
    return BoundedStore(folder, compressor=metadata.compressor, most=most)


def most_unpacked(chunk_bytes: int) -> int:
    """Bytes to which a chunk of so many may unpack on the way."""
    return 2 * chunk_bytes + _SLACK


def check_unpacked(codec: str, data: memoryview, most: int) -> None:
    """Refuse packed bytes that stand for more than `most`, before anything is unpacked at once.

    Blosc and lz4 say at their beginning what they unpack to, and are held to it by their decoders.
    A zstd frame is made of blocks of at most 128 KiB, whose headers are counted. What the others
    stand for is known only by unpacking, which is done in pieces that are thrown away.

    Raises
    ------
    TooLargeError
    """
    if codec == "blosc":
        size = int.from_bytes(data[4:8], "little")
    elif codec == "lz4":
        size = int.from_bytes(data[:4], "little")
    elif codec == "zstd":
        size = _zstd_size(data)
    elif codec in ("gzip", "zlib", "bz2", "lzma"):
        size = _counted(codec, data, most)
    else:
        return
    if size > most:
        raise TooLargeError(
            f"a chunk of {len(data)} bytes unpacks to {size} or more, at most {most} were expected"
        )


def _check_buffer(codec: str, packed: "Buffer", spec: "ArraySpec") -> None:
    size = math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize
    check_unpacked(codec, packed.as_numpy_array().data, most_unpacked(size))


def _counted(codec: str, data: memoryview, most: int) -> int:
    """Bytes that the data unpacks to, counted until there are more than `most`."""
    total, rest = 0, bytes(data)
    try:
        while rest and total <= most:
            total, rest = _count_one(codec, rest, total, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return total  # damaged: the decoder will say so
    return total


def _count_one(codec: str, data: bytes, total: int, most: int) -> tuple[int, bytes]:
    """The count after one stream of several that may follow one another, and what follows."""
    unpacker: Any
    if codec in ("gzip", "zlib"):
        unpacker = zlib.decompressobj(wbits=31 if codec == "gzip" else 15)
        while not unpacker.eof and total <= most and (data or total == 0):
            piece = unpacker.decompress(data, _PIECE)
            total, data = total + len(piece), unpacker.unconsumed_tail
            if not piece and not data:
                break
    else:
        unpacker = bz2.BZ2Decompressor() if codec == "bz2" else lzma.LZMADecompressor()
        while not unpacker.eof and total <= most:
            piece = unpacker.decompress(data, _PIECE)
            total, data = total + len(piece), b""
            if not piece and unpacker.needs_input:
                break
    return total, unpacker.unused_data


def _zstd_size(data: memoryview) -> int:
    """At least what zstd frames unpack to: the sum of their claims, or of their blocks."""
    at = claimed = counted = 0
    while bytes(data[at : at + 4]) == _ZSTD_MAGIC and at + 5 <= len(data):
        flags = data[at + 4]
        single = flags >> 5 & 1
        width = (single, 2, 4, 8)[flags >> 6]
        at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
        claimed += int.from_bytes(data[at : at + width], "little")
        at += width
        last = False
        while not last and at + 3 <= len(data):
            header = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            counted += _ZSTD_BLOCK if kind == 2 else size
            at += 3 + (1 if kind == 1 else size)
        at += 4 * (flags >> 2 & 1)
    return max(claimed, counted)


for _name, _class in (("zstd", Zstd), ("gzip", Gzip), ("blosc", Blosc)):
    register_codec(_name, _class)
