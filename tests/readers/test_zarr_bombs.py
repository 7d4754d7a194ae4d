"""Chunks of zarr arrays that would unpack to far more than they may hold."""

import bz2
import gzip
import lzma
import zlib
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from trajscope.errors import CheckpointError
from trajscope.readers.zarr.arrays import opened
from trajscope.readers.zarr.bounded import TooLargeError, check_unpacked
from trajscope.trajectory import open_trajectory

VALUES = np.random.default_rng(0).normal(size=(3, 4000)).astype("f4")
LARGE = bytes(1 << 26)
PACKED = {
    "zstd": bytes(numcodecs.Zstd().encode(LARGE)),
    "gzip": gzip.compress(LARGE),
    "zlib": zlib.compress(LARGE),
    "bz2": bz2.compress(LARGE),
    "lzma": lzma.compress(LARGE),
    "lz4": bytes(numcodecs.LZ4().encode(LARGE)),
    "blosc": bytes(numcodecs.Blosc().encode(LARGE)),
}
VERSION_3 = {"zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec()}
VERSION_2 = {
    "zstd": numcodecs.Zstd(),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "lz4": numcodecs.LZ4(),
    "blosc": numcodecs.Blosc(),
}


def write(folder: Path, zarr_format: int, codec: str, shards: bool = False) -> Path:
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    options: dict = {"chunks": (1, 4000)}
    if zarr_format == 3:
        options |= {"dimension_names": ("step", "w"), "compressors": (VERSION_3[codec],)}
        options |= {"shards": (3, 4000)} if shards else {}
    else:
        options |= {
            "compressors": VERSION_2[codec],
            "attributes": {"_ARRAY_DIMENSIONS": ["step", "w"]},
        }
    array = group.create_array("w", shape=VALUES.shape, dtype="f4", **options)
    array[:] = VALUES
    return folder


def chunks(folder: Path) -> list[Path]:
    return [p for p in (folder / "w").rglob("*") if p.is_file() and p.name[0] not in ".z"]


CASES = [(3, codec) for codec in VERSION_3] + [(2, codec) for codec in VERSION_2]


@pytest.mark.parametrize(("zarr_format", "codec"), CASES)
def test_a_chunk_that_unpacks_to_gigabytes_is_refused(zarr_format, codec, tmp_path):
    folder = write(tmp_path / "run.zarr", zarr_format, codec)
    np.testing.assert_array_equal(open_trajectory(folder)["weights"], VALUES)
    for path in chunks(folder):
        path.write_bytes(PACKED[codec])
    trajectory = open_trajectory(folder)
    with pytest.raises(
        CheckpointError, match=r"decompresses to \d+ bytes or more; at most \d+ are expected"
    ):
        trajectory["weights"].to_numpy()


@pytest.mark.parametrize("codec", VERSION_3)
def test_so_is_one_inside_a_shard(codec, tmp_path):
    folder = write(tmp_path / "run.zarr", 3, codec, shards=True)
    np.testing.assert_array_equal(open_trajectory(folder)["weights"], VALUES)
    (path,) = chunks(folder)
    inner = path.read_bytes()
    # The index at the end says where the chunks lie: now all of the bomb is the first of them.
    index = np.frombuffer(inner[-(3 * 16 + 4) : -4], "<u8").reshape(3, 2).copy()
    index[0] = 0, len(PACKED[codec])
    whole = np.ascontiguousarray(index).tobytes()
    from google_crc32c import value

    path.write_bytes(PACKED[codec] + inner + whole + value(whole).to_bytes(4, "little"))
    with pytest.raises(CheckpointError, match=r"decompresses to \d+ bytes or more"):
        open_trajectory(folder)["weights"][0].to_numpy()


def test_a_frame_that_claims_little_is_counted_by_its_blocks():
    # 65,536 blocks of one repeated byte each: 128 KiB from 4 bytes, 8 GiB in all, none claimed.
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 0x58]) + block * 65_536
    with pytest.raises(TooLargeError, match="decompresses to 8589934592 bytes or more"):
        check_unpacked("zstd", memoryview(frame), 1 << 30)


def test_frames_that_are_skipped_do_not_hide_those_behind_them():
    skipped = b"\x5f\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"any."
    small = bytes(numcodecs.Zstd().encode(bytes(1000)))
    for hidden in (skipped * 2 + PACKED["zstd"], small + skipped + PACKED["zstd"]):
        with pytest.raises(TooLargeError, match=r"decompresses to 67\d{6} bytes or more"):
            check_unpacked("zstd", memoryview(hidden), 1 << 20)


@pytest.mark.parametrize("codec", PACKED)
def test_damaged_bytes_are_left_to_the_decoder(codec):
    whole = PACKED[codec]
    for length in (0, 1, 3, 5, 9, len(whole) // 2):
        check_unpacked(codec, memoryview(whole[:length]), 1 << 40)
    check_unpacked(codec, memoryview(b"\xff" * 3), 1 << 40)


def test_streams_behind_one_another_are_counted_together():
    small = gzip.compress(bytes(1000))
    check_unpacked("gzip", memoryview(small * 3), 3000)
    with pytest.raises(TooLargeError):
        check_unpacked("gzip", memoryview(small * 3), 2999)


@pytest.mark.parametrize("name", ["numcodecs.zlib", "numcodecs.lzma", "numcodecs.blosc"])
def test_packing_that_nothing_bounds_is_refused(name, tmp_path):
    folder = write(tmp_path / "run.zarr", 3, "zstd")
    metadata = folder / "w/zarr.json"
    metadata.write_text(metadata.read_text().replace('"zstd"', f'"{name}"'))
    with pytest.raises(CheckpointError, match="which is not known to be safe"):
        open_trajectory(folder)


def test_filters_that_pack_once_more_are_refused(tmp_path):
    folder = write(tmp_path / "run.zarr", 2, "zlib")
    metadata = folder / "w/.zarray"
    text = metadata.read_text().replace(
        '"filters": null', '"filters": [{"id": "zlib", "level": 1}]'
    )
    metadata.write_text(text)
    with pytest.raises(CheckpointError, match="its filters compress it again"):
        open_trajectory(folder)


def test_the_users_own_zarr_is_as_before(tmp_path):
    folder = write(tmp_path / "run.zarr", 3, "zstd")
    opened(folder, "w")
    (codec,) = zarr.open_array(folder / "w", mode="r").compressors
    assert type(codec) is ZstdCodec


def test_a_raw_stream_which_nothing_bounds_is_refused(tmp_path):
    folder = write(tmp_path / "run.zarr", 2, "lzma")
    metadata = folder / "w/.zarray"
    metadata.write_text(metadata.read_text().replace('"format": 1', '"format": 3'))
    with pytest.raises(CheckpointError, match="it is compressed by lzma without a container, so"):
        open_trajectory(folder)
