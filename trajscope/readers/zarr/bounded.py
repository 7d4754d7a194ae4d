"""Zarr's codecs with a bound on what they unpack: a chunk of a kilobyte may claim terabytes."""

import asyncio
import bz2
import gzip
import io
import lzma
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.registry import register_codec
from zarr.storage import LocalStore

from trajscope.readers.files import is_here, open_regular, read_exactly
from trajscope.readers.zarr.metadata import ArrayMetadata, itemsize_of

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

_METADATA: Final = ("zarr.json", ".zarray")
_SLACK: Final = 1 << 20  # checksums, and the last block of a zstd frame
_PIECE: Final = 1 << 20
_OPENERS: Final[Mapping[str, Callable[[io.BytesIO], io.BufferedIOBase]]] = {
    "gzip": gzip.open,
    "bz2": bz2.open,
    "lzma": lzma.open,
}
_ZSTD_MAGIC, _ZSTD_BLOCK = 0xFD2FB528, 1 << 17
_ZSTD_SKIPPED = range(0x184D2A50, 0x184D2A60)
"""What frames begin with that hold no data and are passed over by decoders (RFC 8878, 3.1.2)."""


class TooLargeError(ValueError):
    """A chunk would unpack to more than it may hold."""


class _Bounded:
    """What a codec of zarr's does before it unpacks a chunk: look at what that would take."""

    packing: ClassVar[str]

    def _decode_sync(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> Any:  # zarr's own
        self._check(chunk_bytes, chunk_spec)
        return super()._decode_sync(chunk_bytes, chunk_spec)  # type: ignore[misc]  # of the codec

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> Any:
        if not _IN_SYNC:
            self._check(chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)  # type: ignore[misc]

    def _check(self, packed: "Buffer", spec: "ArraySpec") -> None:
        size = math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize
        check_unpacked(self.packing, packed.as_numpy_array().data, most_unpacked(size))


class Zstd(_Bounded, ZstdCodec):
    """Zstandard, bounded."""

    packing = "zstd"


class Gzip(_Bounded, GzipCodec):
    """Gzip, bounded."""

    packing = "gzip"


class Blosc(_Bounded, BloscCodec):
    """Blosc, bounded."""

    packing = "blosc"


class FolderStore(LocalStore):
    """A folder of a store, whose files are read as every file is: also from behind an address."""

    async def get(
        self,
        key: str,
        prototype: "BufferPrototype | None" = None,
        byte_range: "ByteRequest | None" = None,
    ) -> "Buffer | None":
        """The bytes at `key`, or a range of them."""
        if is_here(self.root):
            return await super().get(key, prototype, byte_range)
        return await asyncio.to_thread(self._fetched, key, prototype, byte_range)

    def get_sync(self, key: str, **options: Any) -> "Buffer | None":  # options of zarr's own
        """As `get`, in versions of zarr that read so."""
        if is_here(self.root):
            return super().get_sync(key, **options)
        return self._fetched(key, **options)

    async def get_partial_values(
        self,
        prototype: "BufferPrototype",
        key_ranges: "Iterable[tuple[str, ByteRequest | None]]",
    ) -> "list[Buffer | None]":
        """Several ranges at once."""
        wanted = (self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        return list(await asyncio.gather(*wanted))

    def _fetched(
        self,
        key: str,
        prototype: "BufferPrototype | None" = None,
        byte_range: "ByteRequest | None" = None,
    ) -> "Buffer | None":
        path = self.root / key
        if not path.is_file():
            return None
        size = path.stat().st_size
        first, last = 0, size
        if isinstance(byte_range, RangeByteRequest):
            first, last = byte_range.start, min(byte_range.end, size)
        elif isinstance(byte_range, OffsetByteRequest):
            first = byte_range.offset
        elif isinstance(byte_range, SuffixByteRequest):
            first = max(size - byte_range.suffix, 0)
        descriptor = open_regular(path)
        try:
            found = bytes(read_exactly(descriptor, path, first, max(last - first, 0)))
        finally:
            os.close(descriptor)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(found)


class BoundedStore(FolderStore):
    """A store of one array. Those of format 2 are not read by zarr's own codecs.

    So their chunks are judged as they come. `stand_in` is shown instead of the metadata.
    """

    def __init__(self, root: Any, *, compressor: str, most: int, stand_in: bytes) -> None:
        super().__init__(root, read_only=True)
        self._compressor, self._most, self._stand_in = compressor, most, stand_in

    async def get(
        self,
        key: str,
        prototype: "BufferPrototype | None" = None,
        byte_range: "ByteRequest | None" = None,
    ) -> "Buffer | None":
        """The bytes at `key`; TooLargeError if they are a chunk that unpacks to too much."""
        if self._stand_in and key in _METADATA:
            return (prototype or default_buffer_prototype()).buffer.from_bytes(self._stand_in)
        return self._judged(key, await super().get(key, prototype, byte_range))

    def get_sync(self, key: str, **options: Any) -> "Buffer | None":  # options of zarr's own
        """As `get`, in versions of zarr that read so."""
        if self._stand_in and key in _METADATA:
            return default_buffer_prototype().buffer.from_bytes(self._stand_in)
        return self._judged(key, super().get_sync(key, **options))

    def _judged(self, key: str, found: "Buffer | None") -> "Buffer | None":
        if found is not None and not key.rsplit("/", 1)[-1].startswith(".z"):
            check_unpacked(self._compressor, found.as_numpy_array().data, self._most)
        return found


def bounded_store(folder: Path, metadata: ArrayMetadata) -> BoundedStore:
    """The store of one array."""
    most = most_unpacked(math.prod(metadata.chunks) * itemsize_of(metadata.dtype))
    stand_in = metadata.stand_in.encode()
    return BoundedStore(folder, compressor=metadata.compressor, most=most, stand_in=stand_in)


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
    elif codec == "zlib" or codec in _OPENERS:
        size = _counted(codec, data, most)
    else:
        return
    if size > most:
        raise TooLargeError(
            f"a chunk of {len(data)} bytes decompresses to {size} bytes or more; at most {most} "
            "are expected"
        )


def _counted(codec: str, data: memoryview, most: int) -> int:
    """Bytes that the data unpacks to, counted until there are more than `most`."""
    total = 0
    try:
        for piece in _pieces(codec, data):
            total += len(piece)
            if total > most:
                break
    except (zlib.error, lzma.LZMAError, OSError, EOFError):
        pass  # damaged: the decoder will say so
    return total


def _pieces(codec: str, data: memoryview) -> Iterator[bytes]:
    """What the data unpacks to, of several streams behind one another too, as decoders read it."""
    if codec == "zlib":  # a single stream to zlib.decompress, and no file to Python
        unpacker, rest = zlib.decompressobj(), bytes(data)
        while piece := unpacker.decompress(rest, _PIECE):
            yield piece
            rest = unpacker.unconsumed_tail
        return
    with _OPENERS[codec](io.BytesIO(data)) as file:
        while piece := file.read(_PIECE):
            yield piece


def _zstd_size(data: memoryview) -> int:
    """At least what zstd frames unpack to: the sum of their claims, or of their blocks."""
    at = claimed = counted = 0
    while at + 8 <= len(data):  # no frame is shorter
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic in _ZSTD_SKIPPED:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if magic != _ZSTD_MAGIC:
            break
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
