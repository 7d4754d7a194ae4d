"""Which reader a file gets, and files that are none."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from trajscope.errors import CheckpointError
from trajscope.readers import READERS, STORE_READERS, reader_for
from trajscope.readers.base import TensorSpec


def test_a_file_gets_the_reader_of_its_content(tmp_path: Path) -> None:
    save_file({"w": np.ones(2)}, tmp_path / "A.SafeTensors")
    np.savez(tmp_path / "a.npz", w=np.ones(2))
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth.tar")
    names = {}
    for path in tmp_path.iterdir():
        reader = reader_for(path)
        names[path.name] = reader and reader.name
    assert names == {
        "A.SafeTensors": "safetensors",
        "a.npz": "NumPy archive",
        "a.pth.tar": "torch archive",
    }
    assert [reader.name for reader in STORE_READERS] == [
        "zarr store",
        "HDF5 file with several steps",
    ]
    assert len({reader.name for reader in READERS}) == len(READERS)


@pytest.mark.parametrize(
    "name", ["notes.txt", "config.json", "weights.bin", "x.ckpt", "x.tar", "pt"]
)
def test_a_file_that_promises_nothing_gets_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"just some words that fill sixteen bytes")
    assert reader_for(tmp_path / name) is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "a file of 0 bytes (it may be unfinished)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "a file in the HDF5 format"),
        (b"\x1f\x8b" + bytes(20), "a gzip file"),
        (b"PK\x07\x08" + bytes(20), "a zip archive"),
        (b"\x93NUMPY" + bytes(20), "a file in the NumPy array format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer whose file was not"),
        (b"<!DOCTYPE html> not found", "something unknown"),
        ((2).to_bytes(8, "little") + b"{}      ", "a file in the safetensors format"),
    ],
)
def test_a_promise_that_is_not_kept_says_what_was_found(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        reader_for(path)
    assert "torch archive was expected" in str(refused.value)
    assert found in str(refused.value)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    os.mkfifo(path)
    messages = []

    def ask() -> None:
        with pytest.raises(CheckpointError) as refused:
            reader_for(path)
        messages.append(str(refused.value))
        for reader in READERS:
            with pytest.raises(CheckpointError, match="is not a regular file"):
                reader.read_header(path)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert "is not a regular file, so it is not read" in messages[0]


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").mkdir()
    with pytest.raises(CheckpointError, match="is not a regular file"):
        reader_for(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="cannot be opened: No such file"):
        reader_for(tmp_path / "y.pt")


def test_importing_the_readers_is_light() -> None:
    code = (
        "import sys, trajscope.readers; "
        "heavy = {'torch', 'zarr', 'xarray', 'dask', 'scipy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no file that fails")
def test_a_disk_that_fails_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.symlink_to("/proc/self/mem")  # a regular file; nothing is mapped at its first byte
    message = r"x\.pt cannot be read: Input/output error\. Check the disk"
    with pytest.raises(CheckpointError, match=message):
        reader_for(path)
    with pytest.raises(CheckpointError, match=message):
        READERS[0].read_range(path, TensorSpec((2,), "float32", 0), 0, 2)
