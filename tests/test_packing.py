"""Trajectories packed into one store, compared with the folders they came from."""

import json
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import xarray as xr
import zarr
from safetensors.numpy import load_file, save_file

from trajscope import average, packing
from trajscope.errors import CheckpointError, OptionError
from trajscope.packing import pack
from trajscope.trajectory import open_trajectory, tensor

SHAPES = {"fc.weight": (7, 5, 3), "fc.bias": (5,), "scale": (), "deep/er.w": (11,), "step": (2, 2)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    for step in (0, 5, 30):
        rng = np.random.default_rng(step)
        state = {name: rng.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
        save_file(state, tmp_path / f"run/step_{step}.safetensors", {"seed": "1"})
    return tmp_path / "run"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(packing, "_CHUNK_BYTES", 3 * 4 * 4)
    monkeypatch.setattr(packing, "_SLAB_BYTES", 3 * 4 * 10)


def compare(folder, store):
    before, after = open_trajectory(folder, include="*"), open_trajectory(store, strict=True)
    np.testing.assert_array_equal(after["step"], before["step"])
    for name in before["tensor"].values:
        expected = tensor(before, name).to_numpy()
        found = tensor(after, name).to_numpy()
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_a_packed_run_is_the_same_run(folder, small, tmp_path):
    told = []
    out = pack(folder, tmp_path / "run.zarr", include="*", progress=lambda *done: told.append(done))
    compare(folder, out)
    assert told[-1] == (105 + 5 + 1 + 11 + 4,) * 2
    assert told == sorted(told)
    assert not (tmp_path / "run.zarr.tmp").exists()
    with xr.open_zarr(out, consolidated=False) as dataset:
        assert dataset["fc.weight"].dims[0] == "step"


def test_every_command_finds_the_store_alone_in_its_folder(folder, tmp_path):
    pack(folder, tmp_path / "packed/run.zarr", steps=":6", exclude="deep*")
    opened = open_trajectory(tmp_path / "packed")
    assert list(opened["step"].values) == [0, 5]
    assert "deep/er.w" not in opened["tensor"].values


@pytest.mark.parametrize("after", [1, 3])
def test_what_was_interrupted_is_taken_up(after, folder, small, tmp_path, monkeypatch):
    real, calls = packing._store, []

    def store(*arguments):
        calls.append(arguments[2])
        if len(calls) == 3 * after:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(packing, "_store", store)
    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "run.zarr", include="*")
    (skipped,) = open_trajectory(tmp_path, include="*").attrs["skipped"]
    assert skipped["path"] == "run.zarr.tmp"
    first = json.loads((tmp_path / "run.zarr.tmp/trajscope-pack.json").read_bytes())["chunks"]
    out = pack(folder, tmp_path / "run.zarr", include="*")
    pieces = list(packing._pieces(open_trajectory(folder, include="*")))
    assert len(calls) - 3 * after == len(pieces) - first > 0
    compare(folder, out)


KILLED = """
import os, signal, sys
from trajscope.packing import pack
rename = os.replace
def replace(old, new, **options):
    if str(new).endswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(old, new, **options)
os.replace = replace
pack(sys.argv[1], sys.argv[2], include="*")
"""


@pytest.mark.parametrize("file", ["run.zarr.tmp/step/c/0", "fc.bias/c/0/0"])
def test_a_store_is_whole_after_a_process_that_was_killed_within_a_file(file, folder, tmp_path):
    out = tmp_path / "run.zarr"
    command = [sys.executable, "-c", KILLED, folder, out, file]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("run.zarr.tmp/**/*.partial"))  # it was killed where it should be
    pack(folder, out, include="*")
    compare(folder, out)
    assert not list(out.rglob("*.partial"))


def test_a_target_that_appears_meanwhile_is_not_replaced(folder, tmp_path):
    out = tmp_path / "run.zarr"

    def appears(*_):
        out.mkdir(exist_ok=True)

    with pytest.raises(OptionError, match=r"run\.zarr exists already"):
        pack(folder, out, include="*", progress=appears)
    assert not list(out.iterdir())
    out.rmdir()
    compare(folder, pack(folder, out, include="*"))


def test_another_run_is_not_mixed_in(folder, tmp_path):
    (tmp_path / "run.zarr.tmp").mkdir()
    with pytest.raises(CheckpointError, match="was started with other checkpoints"):
        pack(folder, tmp_path / "run.zarr")
    (tmp_path / "run.zarr").mkdir()
    with pytest.raises(OptionError, match="exists already"):
        pack(folder, tmp_path / "run.zarr")


def test_a_store_that_keeps_something_else_is_noticed(folder, tmp_path, monkeypatch):
    sums = iter(range(100))
    monkeypatch.setattr(packing.zlib, "crc32", lambda _: next(sums))
    with pytest.raises(CheckpointError, match="differs from what was written"):
        pack(folder, tmp_path / "run.zarr")


def test_damage_on_the_disk_is_noticed_later(folder, tmp_path):
    out = pack(folder, tmp_path / "run.zarr")
    chunk = next(path for path in (out / "fc.bias/c").rglob("*") if path.is_file())
    damaged = bytearray(chunk.read_bytes())
    damaged[0] ^= 1
    chunk.write_bytes(bytes(damaged))
    with pytest.raises(CheckpointError, match=r"'fc\.bias' cannot be read"):
        open_trajectory(out)["weights"].to_numpy()


@pytest.mark.parametrize(
    "names",
    [
        ["../../evil", "a//b", ".hidden", "__x", "zarr.json"],
        ["a", "a/b"],
        ["é <b>\x1b[31m", "%2F", "/"],
    ],
)
def test_hostile_names_stay_inside_the_store(names, tmp_path):
    for step in (1, 2):
        state = {name: np.full(2, step * 10 + i, "f4") for i, name in enumerate(names)}
        save_file(state, tmp_path / f"step_{step}.safetensors")
    (tmp_path / "packed").mkdir()
    out = pack(tmp_path, tmp_path / "packed/run.zarr")
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["run.zarr"]
    before = {path.name for path in tmp_path.iterdir()}
    assert before == {"packed", "step_1.safetensors", "step_2.safetensors"}
    opened = open_trajectory(out)
    assert opened.sizes["tensor"] == len(names)
    found = sorted(opened["weights"].values[0].tolist())
    assert found == sorted(10 + i for i in range(len(names)) for _ in range(2))


def test_a_name_that_no_folder_can_have_is_refused(tmp_path):
    for step in (1, 2):
        save_file({"x" * 300: np.ones(2)}, tmp_path / f"step_{step}.safetensors")
    with pytest.raises(CheckpointError, match="a name that is invalid for a folder"):
        pack(tmp_path, tmp_path / "run.zarr")


def test_the_dtype_of_the_checkpoints_is_remembered(tmp_path):
    for step in (1, 2):
        state = {"half": np.full(3, step, ml_dtypes.bfloat16), "full": np.full(2, step, "f8")}
        save_file(state, tmp_path / f"step_{step}.safetensors")
    opened = open_trajectory(pack(tmp_path, tmp_path / "run.zarr"))
    kept = dict(zip(opened["tensor"].values, opened["stored_dtype"].values, strict=True))
    assert kept == {"half": "bfloat16", "full": "float64"}
    assert opened["weights"].dtype == np.float64
    assert opened["weights"].values[1].tolist() == [2] * 5


@pytest.mark.parametrize(
    "claim", ["float64", "int8", "nonsense", "bfloat16|float64", 7, "x" * 9999]
)
def test_a_dtype_that_the_values_cannot_have_had_is_not_believed(claim, tmp_path):
    group = zarr.open_group(tmp_path / "run.zarr", mode="w")
    array = group.create_array(
        "w", data=np.ones((2, 3), "f4"), dimension_names=("step", "w.0"), chunks=(2, 3)
    )
    array.attrs["stored_dtype"] = claim
    assert open_trajectory(tmp_path / "run.zarr")["stored_dtype"].values.tolist() == ["float32"]


def test_several_dtypes_of_the_checkpoints_are_remembered(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (1, 2, 3):
        values = np.full(4, step + 0.5, "f4" if step > 1 else ml_dtypes.bfloat16)
        save_file({"w": values}, folder / f"step_{step}.safetensors")
    packed = pack(folder, tmp_path / "run.zarr")
    for source in (folder, packed):
        opened = open_trajectory(source)
        assert opened["stored_dtype"].values.tolist() == ["bfloat16|float32"]
        assert opened["weights"].values[:, 0].tolist() == [1.5, 2.5, 3.5]
        average(source, tmp_path / "average.safetensors", last=2)
        mean = load_file(tmp_path / "average.safetensors")["w"]
        assert (mean.dtype, mean.tolist()) == (np.float32, [3.0] * 4)
        (tmp_path / "average.safetensors").unlink()


NAMES = ["kernel:0", "größe", "c", "a b/c:d", "100%", "%41", ".hidden", "x//y", "step", "zarr.json"]


@pytest.mark.parametrize("more", [[], ["a b"], ["a%20b"]])
def test_names_of_any_signs_come_back(more, tmp_path):
    names = [*NAMES, *more]
    for step in (1, 2):
        state = {name: np.full(2, 10 * step + n, "f4") for n, name in enumerate(names)}
        save_file(state, tmp_path / f"step_{step}.safetensors")
    packed = pack(tmp_path, tmp_path / "run.zarr")
    again = pack(packed, tmp_path / "again.zarr")
    for source in (packed, again):
        opened = open_trajectory(source)
        assert set(opened["tensor"].values.tolist()) == set(names)
        for n, name in enumerate(names):
            assert tensor(opened, name).values[:, 0].tolist() == [10 + n, 20 + n]
