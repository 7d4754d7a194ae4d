"""Stores that grow during training, read back by zarr and as trajectories."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
import zarr

from trajscope import dense
from trajscope.dense import CheckpointStore
from trajscope.errors import CheckpointError, OptionError
from trajscope.trajectory import open_trajectory, tensor


def state(step: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(step)
    return {"fc.weight": chance.normal(size=(2, 3)).astype("f4"), "b": np.full(2, step, "f4")}


def filled(path, steps, **options):
    with CheckpointStore(path, **options) as store:
        for step in steps:
            store.save(state(step), step=step)
    return path


def check(path, steps):
    opened = open_trajectory(path, strict=True)
    assert opened["step"].values.tolist() == list(steps)
    for name in ("fc.weight", "b"):
        expected = np.stack([state(step)[name] for step in steps])
        np.testing.assert_array_equal(tensor(opened, name).to_numpy(), expected)


@pytest.fixture
def small(monkeypatch):
    """Chunks of four checkpoints of `state`, whose tensors have 32 bytes."""
    monkeypatch.setattr(dense, "_MOST_BYTES", 4 * 32)


def test_a_run_that_is_saved_often_is_one_store(tmp_path, small):
    steps = range(0, 70, 7)
    path = filled(tmp_path / "run.zarr", steps)
    check(path, steps)
    assert zarr.open_group(path)["fc.weight"].chunks == (4, 2, 3)
    assert zarr.open_group(path)["b"].metadata.codecs[-1].to_dict()["name"] == "crc32c"


def test_what_is_saved_is_copied_at_once(tmp_path):
    weights = {"w": np.zeros((1, 2), "f4")}
    model = torch.nn.Linear(2, 1)
    with (
        CheckpointStore(tmp_path / "a.zarr") as of_arrays,
        CheckpointStore(tmp_path / "b.zarr") as of_module,
    ):
        for step in range(3):
            weights["w"][:] = step
            with torch.no_grad():
                model.weight.fill_(step)
            of_arrays.save(weights, step=step)
            of_module.save(model, step=step)
    for name, found in (("a", "w"), ("b", "weight")):
        opened = open_trajectory(tmp_path / f"{name}.zarr")
        assert tensor(opened, found).values[:, 0, 0].tolist() == [0, 1, 2]


def test_dtypes_names_and_scalars_are_kept_as_readers_take_them(tmp_path):
    values = {
        "brain": np.arange(3).astype(ml_dtypes.bfloat16),
        "half": np.arange(3).astype("f2"),
        "double": np.arange(3.0),
        "scalar": np.float32(2),
        "step": np.ones(3, "f4"),
        "deep/er": np.ones(3, "f4"),
        "count": np.int64(7),
    }
    with CheckpointStore(tmp_path / "run.zarr") as store:
        for step in (1, 2):
            store.save(values, step=step)
    opened = open_trajectory(tmp_path / "run.zarr", by="tensor", strict=True)
    stored = dict(zip(opened["tensor"].values, opened["stored_dtype"].values, strict=True))
    assert stored == {
        "brain": "bfloat16", "half": "float16", "double": "float64", "scalar": "float32",
        "step": "float32", "deep/er": "float32",
    }  # fmt: skip
    assert tensor(opened, "brain").values[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kept", [0, 3, 5, 9])
def test_a_run_that_goes_on_drops_what_was_behind(tmp_path, small, kept):
    path = filled(tmp_path / "run.zarr", range(10))
    filled(path, range(kept + 1, 13), after=kept)
    check(path, range(13))


def test_a_store_that_keeps_nothing_begins_anew(tmp_path):
    path = tmp_path / "run.zarr"
    filled(path, [3, 4], after=-1)  # nor needs there be one
    with CheckpointStore(path, after=2) as store:
        for step in (3, 5):
            store.save({"other": np.full(4, step, "f4")}, step=step)
    opened = open_trajectory(path)
    assert opened["tensor"].values.tolist() == ["other"]
    assert opened["step"].values.tolist() == [3, 5]


@pytest.mark.filterwarnings("ignore:.*of the step axis are unwritten")
def test_readers_see_whole_steps_while_the_store_grows(tmp_path, small, monkeypatch):
    path, seen = filled(tmp_path / "run.zarr", range(1, 8, 2)), []
    write = {name: getattr(zarr.Array, name) for name in ("resize", "__setitem__")}

    def looked_at(name):
        def changed(array, *arguments):
            write[name](array, *arguments)
            opened = open_trajectory(path)
            seen.append(opened["step"].values.tolist())
            last = state(seen[-1][-1])["b"]
            np.testing.assert_array_equal(tensor(opened, "b")[-1].to_numpy(), last)

        return changed

    for name in write:
        monkeypatch.setattr(zarr.Array, name, looked_at(name))
    with CheckpointStore(path, after=4) as store:
        for step in range(6, 12):
            store.save(state(step), step=step)
    whole = [1, 3, *range(6, 12)]
    assert seen[-1] == whole
    assert all(each == whole[: len(each)] for each in seen)
    assert [len(each) for each in seen[:2]] == [2, 2]


def test_what_was_flushed_outlives_the_process(tmp_path):
    script = (
        "import os, sys, numpy as np, trajscope\n"
        "store = trajscope.CheckpointStore(sys.argv[1])\n"
        "for step in range(6):\n"
        "    store.save({'w': np.full((2, 2), step, 'f4')}, step=step)\n"
        "    step == 3 and store.flush()\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "run.zarr")], check=False)
    assert open_trajectory(tmp_path / "run.zarr")["step"].values.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("after", [None, 5])
def test_a_place_that_holds_something_else_is_refused(tmp_path, after):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array("w", data=np.ones((3, 2)))
    for name in ("file", "folder", "other.zarr"):
        with pytest.raises(OptionError, match=f"{name} exists already; .* as after=1200"):
            CheckpointStore(tmp_path / name, after=after)
    assert (zarr.open_group(tmp_path / "other.zarr")["w"][:] == 1).all()


def test_a_store_that_exists_is_not_written_to_unasked(tmp_path):
    path = filled(tmp_path / "run.zarr", range(3))
    with pytest.raises(OptionError, match="exists already; a new name was expected"):
        CheckpointStore(path)
    check(path, range(3))


@pytest.mark.parametrize("again", [False, True])
def test_other_tensors_than_before_are_refused(tmp_path, again):
    path = tmp_path / "run.zarr"
    store = CheckpointStore(path)
    store.save(state(0), step=0)
    if again:
        store.flush()
        store = CheckpointStore(path, after=0)
    wider = {**state(1), "b": np.ones(3, "f4")}
    with pytest.raises(OptionError, match=r"'b' is float32 of shape \(3,\); float32 of shape \(2"):
        store.save(wider, step=1)
    with pytest.raises(OptionError, match="'b' is missing; float32 of shape"):
        store.save({"fc.weight": wider["fc.weight"]}, step=1)
    with pytest.raises(OptionError, match=r"'new' is float64 of .*; no such tensor was expected"):
        store.save({**state(1), "new": np.ones(1)}, step=1)
    store.save(state(1), step=1)
    store.flush()
    check(path, [0, 1])


def test_a_step_that_is_not_larger_is_refused(tmp_path):
    store = CheckpointStore(tmp_path / "run.zarr")
    store.save(state(5), step=5)
    with pytest.raises(OptionError, match=r"has step 5 already; a larger .* after=4 to replace"):
        store.save(state(5), step=5)
    with pytest.raises(OptionError, match="a whole number of at least 0"):
        store.save(state(5), step=-1)


def test_a_disk_that_is_full_is_named(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path / "run.zarr")
    store.save(state(0), step=0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "resize", full)
    with pytest.raises(CheckpointError, match=r"run\.zarr cannot be written: .*No space left"):
        store.flush()
    assert os.path.lexists(tmp_path / "run.zarr")
